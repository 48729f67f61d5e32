//! Lowering which requests a limit is for.

use http::HeaderName;
use rustc_hash::FxHashMap;

use super::Lowering;
use crate::lower::matching::method;
use crate::lower::policy::authorization::{check_tag_values, warn_of_nobody};
use crate::lower::policy::{boxed, check_distinct, model_names};
use crate::lower::text;
use crate::raw::{RawLimitMatch, RawLimitPath, RawPathMatchType, RawTextMatch, RawTextMatchType};
use crate::report::FieldPath;
use crate::spec::{Comparison, LimitMatch, PathComparison, PathMatch, Pattern, TextMatch};

/// The most different regular expressions that limits of a document may have. Each takes milliseconds to compile.
const MAX_PATTERNS: usize = 1_000;

/// The regular expressions of limits, each compiled once.
#[derive(Default)]
pub(in crate::lower::policy) struct Patterns(FxHashMap<Box<str>, Result<Pattern, String>>);

impl Patterns {
    fn get(&mut self, source: &str) -> Result<Pattern, String> {
        if let Some(known) = self.0.get(source) {
            return known.clone();
        }
        if self.0.len() >= MAX_PATTERNS {
            return Err(format!("limits have more than {MAX_PATTERNS} different regular expressions"));
        }
        let compiled = Pattern::new(source).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "the regular expression is too large: shorten it or its repetitions".to_owned()
            }
            error => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("not a regular expression: {reason}")
            }
        });
        self.0.insert(source.into(), compiled.clone());
        compiled
    }
}

impl Lowering<'_, '_> {
    /// What a limit asks of requests, at `place`.
    pub(super) fn condition(&mut self, raw: &RawLimitMatch, place: &FieldPath<'_>) -> LimitMatch {
        let tags_place = place.field("tags");
        check_tag_values(&raw.tags, &tags_place, self.report);
        check_distinct(&raw.consumers, &place.field("consumers"), self.report);
        warn_of_nobody(&raw.consumers, &raw.tags, self.known, place, self.warnings);
        let models = &raw.models;
        let models = (!models.is_empty())
            .then(|| model_names(models, self.known.model_bytes, &place.field("models"), self.report));
        let tags = raw.tags.iter().map(|(tag, values)| (tag.as_str().into(), boxed(values))).collect();
        LimitMatch {
            methods: raw.methods.iter().copied().map(method).collect(),
            models,
            consumers: boxed(&raw.consumers),
            tags,
            addresses: raw.addresses.as_slice().into(),
            other_addresses: raw.not_addresses.as_slice().into(),
            headers: self.headers(&raw.headers, &place.field("headers")),
            query: self.query(&raw.query_params, &place.field("queryParams")),
            paths: self.paths(&raw.paths, &place.field("paths")),
            other_methods: raw.not_methods.iter().copied().map(method).collect(),
        }
    }

    /// What is asked of headers, at `place`.
    pub(in crate::lower::policy) fn headers(
        &mut self,
        raw: &[RawTextMatch],
        place: &FieldPath<'_>,
    ) -> Box<[TextMatch<HeaderName>]> {
        let mut headers = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let place = place.index(index);
            let value = self.comparison(raw, &place);
            match (text::header_name(&raw.name), value) {
                (Ok(name), Some(value)) => headers.push(TextMatch { name, value, is_inverted: raw.invert }),
                (Ok(_), None) => {}
                (Err(message), _) => self.report.add(&place.field("name"), || message),
            }
        }
        headers.into()
    }

    fn query(&mut self, raw: &[RawTextMatch], place: &FieldPath<'_>) -> Box<[TextMatch<Box<str>>]> {
        let one = |(index, raw): (usize, &RawTextMatch)| {
            let value = self.comparison(raw, &place.index(index))?;
            Some(TextMatch { name: raw.name.as_str().into(), value, is_inverted: raw.invert })
        };
        raw.iter().enumerate().filter_map(one).collect()
    }

    /// What a value is compared with, if it is. `None` was reported.
    fn comparison(&mut self, raw: &RawTextMatch, place: &FieldPath<'_>) -> Option<Option<Comparison>> {
        let place = place.field("value");
        match (raw.kind, &raw.value) {
            (RawTextMatchType::Present, None) => Some(None),
            (RawTextMatchType::Present, Some(_)) => {
                let message = || "has no meaning with type: Present, which any value meets".to_owned();
                self.report.add(&place, message);
                None
            }
            (_, None) => {
                let message = || "is missing: write what is compared, or type: Present".to_owned();
                self.report.add(&place, message);
                None
            }
            (RawTextMatchType::Exact, Some(value)) => Some(Some(Comparison::Exact(value.as_str().into()))),
            (RawTextMatchType::RegularExpression, Some(value)) => {
                self.pattern(value, &place).map(|pattern| Some(Comparison::Regex(pattern)))
            }
        }
    }

    fn paths(&mut self, raw: &[RawLimitPath], place: &FieldPath<'_>) -> Box<[PathMatch]> {
        let one = |(index, raw): (usize, &RawLimitPath)| {
            let item = place.index(index);
            let value = self.path(raw, &item.field("value"))?;
            Some(PathMatch { value, is_inverted: raw.invert })
        };
        raw.iter().enumerate().filter_map(one).collect()
    }

    fn path(&mut self, raw: &RawLimitPath, place: &FieldPath<'_>) -> Option<PathComparison> {
        if raw.kind == RawPathMatchType::RegularExpression {
            return self.pattern(&raw.value, place).map(PathComparison::Regex);
        }
        if let Err(message) = text::path(&raw.value) {
            self.report.add(place, || message);
            return None;
        }
        Some(match raw.kind {
            RawPathMatchType::Exact => PathComparison::Exact(raw.value.as_str().into()),
            _ => PathComparison::Prefix(raw.value.trim_end_matches('/').into()),
        })
    }

    fn pattern(&mut self, source: &str, place: &FieldPath<'_>) -> Option<Pattern> {
        self.patterns.get(source).map_err(|message| self.report.add(place, || message)).ok()
    }
}
