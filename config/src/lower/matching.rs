//! Lowering what rules ask of requests.

use std::sync::Arc;

use http::Method;
use http::header::HeaderName;
use rustc_hash::{FxHashMap, FxHashSet};

use super::{models, text};
use crate::knob::Size;
use crate::pattern::{PathCondition, Pattern};
use crate::raw::{
    RawHeaderMatch, RawMatch, RawMethod, RawPathMatch, RawPathMatchType, RawRule, RawValueMatchType,
};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::MODEL_HEADER;
use crate::table::{Alternative, Conditions, NamedTest, ValueTest};

/// The most ways to match that all rules together may have. Each takes some hundred bytes.
const MAX_ALTERNATIVES: usize = 250_000;

/// The most different regular expressions that a document may have. Each takes milliseconds to compile.
const MAX_PATTERNS: usize = 1_000;

/// What lowering the matches of one rule after the other keeps.
pub(super) struct Matching {
    patterns: FxHashMap<Box<str>, Result<Pattern, String>>,
    alternatives: usize,
    model_bytes: Size,
}

impl Matching {
    /// `model_bytes` is the longest name of a model that requests can have.
    pub(super) fn new(model_bytes: Size) -> Self {
        Self { patterns: FxHashMap::default(), alternatives: 0, model_bytes }
    }

    /// The ways to match a rule, in document order.
    pub(super) fn alternatives(
        &mut self,
        raw: &RawRule,
        rule: usize,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Vec<Arc<Alternative>> {
        let everything = [RawMatch::default()];
        let matches = if raw.matches.is_empty() { &everything[..] } else { &raw.matches };
        let before = self.alternatives;
        self.alternatives += matches.len() * raw.models.len().max(1);
        if self.alternatives > MAX_ALTERNATIVES {
            if before <= MAX_ALTERNATIVES {
                report.add(place, || {
                    format!("the matches and models of all rules multiply to more than {MAX_ALTERNATIVES}")
                });
            }
            return Vec::new();
        }
        let models = self.models(raw, place, report);
        let mut alternatives = Vec::with_capacity(self.alternatives - before);
        for (index, raw_match) in matches.iter().enumerate() {
            let matches_place = place.field("matches");
            let place = matches_place.index(index);
            let Some((path, conditions, model)) = self.one(raw_match, &place, report) else { continue };
            if model.is_some() && !raw.models.is_empty() {
                let message = || {
                    format!(
                        "has a condition on {MODEL_HEADER}, and so has the rule's `models`: keep one of them"
                    )
                };
                report.add(&place.field("headers"), message);
            }
            let conditions = Arc::new(conditions);
            let models =
                if models.is_empty() { vec![model] } else { models.iter().cloned().map(Some).collect() };
            for model in models {
                let order = before + alternatives.len();
                let (path, conditions) = (path.clone(), conditions.clone());
                alternatives.push(Arc::new(Alternative { rule, order, path, model, conditions }));
            }
        }
        alternatives
    }

    /// The short form.
    fn models(&self, raw: &RawRule, place: &FieldPath<'_>, report: &mut Report) -> Vec<ValueTest> {
        let place = place.field("models");
        let mut seen = FxHashSet::default();
        for (index, model) in raw.models.iter().enumerate() {
            let place = place.index(index);
            self.check_model(model, &place, report);
            if !seen.insert(model.as_str()) {
                report.add(&place, || format!("{} is given twice", Quoted(model)));
            }
        }
        raw.models.iter().map(|model| ValueTest::Exact(model.as_str().into())).collect()
    }

    fn check_model(&self, model: &str, place: &FieldPath<'_>, report: &mut Report) {
        if let Err(message) = models::check_name(model, self.model_bytes) {
            report.add(place, || message);
        }
    }

    fn one(
        &mut self,
        raw: &RawMatch,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Option<(PathCondition, Conditions, Option<ValueTest>)> {
        let path = match &raw.path {
            Some(path) => self.path(path, &place.field("path"), report),
            None => Some(PathCondition::Prefix("".into())),
        };
        let (headers, model) = self.headers(&raw.headers, &place.field("headers"), report);
        let params = self.params(raw, &place.field("queryParams"), report);
        let conditions = Conditions { method: raw.method.map(method), headers, params };
        Some((path?, conditions, model))
    }

    fn path(
        &mut self,
        raw: &RawPathMatch,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Option<PathCondition> {
        let place = place.field("value");
        if raw.kind == RawPathMatchType::RegularExpression {
            return self.pattern(&raw.value, &place, report).map(PathCondition::Pattern);
        }
        if let Err(message) = text::path(&raw.value) {
            report.add(&place, || message);
            return None;
        }
        Some(match raw.kind {
            RawPathMatchType::Exact => PathCondition::Exact(raw.value.as_str().into()),
            _ => PathCondition::Prefix(raw.value.trim_end_matches('/').into()),
        })
    }

    fn headers(
        &mut self,
        raw: &[RawHeaderMatch],
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> (Vec<NamedTest<HeaderName>>, Option<ValueTest>) {
        let (mut headers, mut model) = (Vec::new(), None);
        let mut seen = FxHashSet::default();
        for (index, header) in raw.iter().enumerate() {
            let place = place.index(index);
            let name = match text::header_name(&header.name) {
                Ok(name) => name,
                Err(message) => {
                    report.add(&place.field("name"), || message);
                    continue;
                }
            };
            if !seen.insert(name.clone()) {
                report.add(&place.field("name"), || {
                    format!("the header {name} has a condition in this match already")
                });
            }
            let value_place = place.field("value");
            if name == MODEL_HEADER {
                if header.kind == RawValueMatchType::Exact {
                    self.check_model(&header.value, &value_place, report);
                }
                model = self.test(header.kind, &header.value, &value_place, report);
                continue;
            }
            if let (RawValueMatchType::Exact, Err(message)) = (header.kind, text::header_value(&header.value))
            {
                report.add(&value_place, || message);
            }
            headers.extend(
                self.test(header.kind, &header.value, &value_place, report)
                    .map(|test| NamedTest { name, test }),
            );
        }
        headers.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        (headers, model)
    }

    fn params(
        &mut self,
        raw: &RawMatch,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Vec<NamedTest<Box<str>>> {
        let mut params: Vec<NamedTest<Box<str>>> = Vec::new();
        let mut seen = FxHashSet::default();
        for (index, param) in raw.query_params.iter().enumerate() {
            let place = place.index(index);
            if !seen.insert(param.name.as_str()) {
                let message =
                    || format!("the parameter {} has a condition in this match already", Quoted(&param.name));
                report.add(&place.field("name"), message);
            }
            let test = self.test(param.kind, &param.value, &place.field("value"), report);
            params.extend(test.map(|test| NamedTest { name: param.name.as_str().into(), test }));
        }
        params.sort_by(|a, b| a.name.cmp(&b.name));
        params
    }

    fn test(
        &mut self,
        kind: RawValueMatchType,
        value: &str,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Option<ValueTest> {
        match kind {
            RawValueMatchType::Exact => Some(ValueTest::Exact(value.into())),
            RawValueMatchType::RegularExpression => {
                self.pattern(value, place, report).map(ValueTest::Pattern)
            }
        }
    }

    fn pattern(&mut self, source: &str, place: &FieldPath<'_>, report: &mut Report) -> Option<Pattern> {
        if !self.patterns.contains_key(source) {
            if self.patterns.len() >= MAX_PATTERNS {
                report.add(place, || {
                    format!("the document has more than {MAX_PATTERNS} different regular expressions")
                });
                return None;
            }
            let compiled = Pattern::new(source).map_err(|error| error.to_string());
            self.patterns.insert(source.into(), compiled);
        }
        match &self.patterns[source] {
            Ok(pattern) => Some(pattern.clone()),
            Err(message) => {
                report.add(place, || message.clone());
                None
            }
        }
    }
}

/// The method.
pub(super) fn method(raw: RawMethod) -> Method {
    match raw {
        RawMethod::Get => Method::GET,
        RawMethod::Head => Method::HEAD,
        RawMethod::Post => Method::POST,
        RawMethod::Put => Method::PUT,
        RawMethod::Delete => Method::DELETE,
        RawMethod::Connect => Method::CONNECT,
        RawMethod::Options => Method::OPTIONS,
        RawMethod::Trace => Method::TRACE,
        RawMethod::Patch => Method::PATCH,
    }
}
