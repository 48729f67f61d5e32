//! Alternatives by their rarest exact condition.

use std::hash::Hash;
use std::sync::Arc;

use http::header::HeaderName;
use rustc_hash::FxHashMap;

use super::condition::{Alternative, Conditions, NamedTest, RequestView, ValueTest};

/// Alternatives for one host and path, in order of precedence.
#[derive(Debug)]
pub(super) struct Index {
    alternatives: Box<[Arc<Alternative>]>,
    /// Whether conditions on the model count.
    is_model_known: bool,
    by_model: Values,
    by_header: FxHashMap<HeaderName, Values>,
    by_param: FxHashMap<Box<str>, Values>,
    /// Alternatives without an exact condition.
    rest: Vec<u32>,
}

/// Positions of alternatives, in order of precedence, by the value that they ask for.
type Values = FxHashMap<Box<[u8]>, Vec<u32>>;

/// An exact condition that alternatives can be found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key<'a> {
    Model(&'a str),
    Header(&'a HeaderName, &'a str),
    Param(&'a str, &'a str),
}

impl Index {
    /// Builds an index of alternatives that are in order of precedence.
    pub(super) fn new(alternatives: Vec<Arc<Alternative>>, is_model_known: bool) -> Self {
        let mut index = Self {
            alternatives: Box::default(),
            is_model_known,
            by_model: Values::default(),
            by_header: FxHashMap::default(),
            by_param: FxHashMap::default(),
            rest: Vec::new(),
        };
        let mut frequency: FxHashMap<Key<'_>, usize> = FxHashMap::default();
        for key in alternatives.iter().flat_map(|alternative| keys(alternative, is_model_known)) {
            *frequency.entry(key).or_default() += 1;
        }
        for (position, alternative) in (0_u32..).zip(&alternatives) {
            let rarest = keys(alternative, is_model_known).min_by_key(|key| frequency[key]);
            let (values, value) = match rarest {
                None => {
                    index.rest.push(position);
                    continue;
                }
                Some(Key::Model(model)) => (&mut index.by_model, model),
                Some(Key::Header(name, value)) => (index.by_header.entry(name.clone()).or_default(), value),
                Some(Key::Param(name, value)) => (index.by_param.entry(name.into()).or_default(), value),
            };
            values.entry(value.as_bytes().into()).or_default().push(position);
        }
        index.alternatives = alternatives.into();
        index
    }

    /// The first alternative, in order of precedence, that a request meets.
    pub(super) fn best(&self, request: &RequestView<'_>) -> Option<&Alternative> {
        let mut best = self.first(&self.rest, u32::MAX, request);
        if let Some(positions) = request.model.and_then(|model| self.by_model.get(model.as_bytes())) {
            best = self.first(positions, best, request);
        }
        // Whichever are fewer: the headers that rules ask for, or those of the request.
        if self.by_header.len() <= request.headers.keys_len() {
            for (name, values) in &self.by_header {
                best = self.first_by_header(name, values, best, request);
            }
        } else {
            for name in request.headers.keys() {
                if let Some(values) = self.by_header.get(name) {
                    best = self.first_by_header(name, values, best, request);
                }
            }
        }
        for (name, values) in &self.by_param {
            if let Some(positions) = request.param(name).and_then(|value| values.get(&*value)) {
                best = self.first(positions, best, request);
            }
        }
        self.alternatives.get(best as usize).map(|alternative| &**alternative)
    }

    fn first_by_header(
        &self,
        name: &HeaderName,
        values: &Values,
        best: u32,
        request: &RequestView<'_>,
    ) -> u32 {
        match request.header(name).and_then(|value| values.get(&*value)) {
            Some(positions) => self.first(positions, best, request),
            None => best,
        }
    }

    /// The first of `positions` that a request meets, if it is before `best`.
    fn first(&self, positions: &[u32], best: u32, request: &RequestView<'_>) -> u32 {
        let is_met = |position: u32| {
            let alternative = &self.alternatives[position as usize];
            if self.is_model_known {
                alternative.matches(request)
            } else {
                alternative.matches_for_some_model(request)
            }
        };
        positions
            .iter()
            .copied()
            .take_while(|position| *position < best)
            .find(|position| is_met(*position))
            .unwrap_or(best)
    }
}

/// The exact conditions of an alternative.
fn keys(alternative: &Alternative, is_model_known: bool) -> impl Iterator<Item = Key<'_>> {
    let Conditions { headers, params, .. } = &*alternative.conditions;
    let model = alternative.model.as_ref().filter(|_| is_model_known).and_then(exact).map(Key::Model);
    let headers = headers.iter().filter_map(|NamedTest { name, test }| Some(Key::Header(name, exact(test)?)));
    let params = params.iter().filter_map(|NamedTest { name, test }| Some(Key::Param(name, exact(test)?)));
    model.into_iter().chain(headers).chain(params)
}

fn exact(test: &ValueTest) -> Option<&str> {
    match test {
        ValueTest::Exact(value) => Some(value),
        ValueTest::Pattern(_) => None,
    }
}
