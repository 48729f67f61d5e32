//! The rules of one host, by path.

use std::cmp::Reverse;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::condition::{Alternative, Conditions, RequestView, ValueTest};
use super::index::Index;
use crate::pattern::{PathCondition, Pattern};

/// The rules of one host.
#[derive(Debug, Default)]
pub(super) struct HostTable {
    exact: FxHashMap<Box<str>, Bucket>,
    prefix: FxHashMap<Box<str>, Bucket>,
    /// The distinct lengths of the prefixes, longest first.
    prefix_lengths: Box<[usize]>,
    pattern: Option<Bucket>,
    models: Box<[usize]>,
}

/// The rules of one host and one path (or all patterns of paths).
#[derive(Debug)]
pub(super) struct Bucket {
    /// All alternatives.
    full: Index,
    /// Those that are left when conditions on the model are disregarded; `None` if there are no such conditions.
    modelless: Option<Index>,
}

/// Gathers the rules of one host.
#[derive(Debug, Default)]
pub(super) struct HostTableBuilder {
    exact: FxHashMap<Box<str>, Vec<Arc<Alternative>>>,
    prefix: FxHashMap<Box<str>, Vec<Arc<Alternative>>>,
    pattern: Vec<Arc<Alternative>>,
    models: Vec<Arc<Alternative>>,
}

/// The distinct lengths of some texts, longest first.
pub(super) fn distinct_lengths<'a>(texts: impl Iterator<Item = &'a Box<str>>) -> Box<[usize]> {
    let mut lengths: Vec<usize> = texts.map(|text| text.len()).collect();
    lengths.sort_unstable_by_key(|length| Reverse(*length));
    lengths.dedup();
    lengths.into()
}

impl HostTableBuilder {
    /// Adds an alternative. `is_listed` says whether a model that it is for is listed.
    pub(super) fn add(&mut self, alternative: &Arc<Alternative>, is_listed: bool) {
        let bucket = match &alternative.path {
            PathCondition::Exact(path) => self.exact.entry(path.clone()).or_default(),
            PathCondition::Prefix(prefix) => self.prefix.entry(prefix.clone()).or_default(),
            PathCondition::Pattern(_) => &mut self.pattern,
        };
        bucket.push(alternative.clone());
        if is_listed && matches!(alternative.model, Some(ValueTest::Exact(_))) {
            self.models.push(alternative.clone());
        }
    }

    /// Compiles the table.
    pub(super) fn build(self, models: &FxHashMap<&str, usize>) -> HostTable {
        let position = |alternative: Arc<Alternative>| match &alternative.model {
            Some(ValueTest::Exact(model)) => models.get(&**model).copied(),
            _ => None,
        };
        let mut positions: Vec<usize> = self.models.into_iter().filter_map(position).collect();
        positions.sort_unstable();
        positions.dedup();
        let build = |(path, alternatives)| (path, Bucket::new(alternatives));
        HostTable {
            prefix_lengths: distinct_lengths(self.prefix.keys()),
            exact: self.exact.into_iter().map(build).collect(),
            prefix: self.prefix.into_iter().map(build).collect(),
            pattern: (!self.pattern.is_empty()).then(|| Bucket::new(self.pattern)),
            models: positions.into(),
        }
    }
}

impl HostTable {
    /// The buckets that hold for a path, the most specific first, each with the prefix that it stands for.
    pub(super) fn buckets<'a, 'p>(
        &'a self,
        path: &'p str,
    ) -> impl Iterator<Item = (&'a Bucket, Option<&'a str>)> + use<'a, 'p> {
        // The root prefix holds for everything, `*` of `OPTIONS *` included.
        let is_boundary =
            |length: usize| length == 0 || matches!(path.as_bytes().get(length), None | Some(b'/'));
        let prefixes = self.prefix_lengths.iter().filter_map(move |length| {
            // A boundary is ASCII or the end, so that the cut is never inside a character.
            let prefix = path.get(..*length).filter(|_| is_boundary(*length))?;
            self.prefix.get_key_value(prefix).map(|(prefix, bucket)| (bucket, Some(&**prefix)))
        });
        let exact = self.exact.get(path).map(|bucket| (bucket, None));
        exact.into_iter().chain(prefixes).chain(self.pattern.iter().map(|bucket| (bucket, None)))
    }

    /// The positions of the models that these rules name exactly, as far as they are listed.
    pub(super) fn models(&self) -> impl Iterator<Item = usize> + '_ {
        self.models.iter().copied()
    }
}

impl Bucket {
    fn new(mut alternatives: Vec<Arc<Alternative>>) -> Self {
        alternatives.sort_by_key(|alternative| precedence(alternative));
        let has_models = alternatives.iter().any(|alternative| alternative.model.is_some());
        let modelless = has_models.then(|| Index::new(first_of_each_kind(&alternatives), false));
        Self { modelless, full: Index::new(alternatives, true) }
    }

    /// The most specific alternative that a request meets.
    pub(super) fn best(&self, request: &RequestView<'_>) -> Option<&Alternative> {
        self.full.best(request)
    }

    /// The most specific alternative that a request would meet if it asked for the right model.
    pub(super) fn best_for_some_model(&self, request: &RequestView<'_>) -> Option<&Alternative> {
        self.modelless.as_ref().unwrap_or(&self.full).best(request)
    }
}

/// Of alternatives that differ by their model only, the first.
#[expect(clippy::mutable_key_type, reason = "patterns are equal, and hash alike, by their source")]
fn first_of_each_kind(alternatives: &[Arc<Alternative>]) -> Vec<Arc<Alternative>> {
    let mut seen: FxHashSet<(Option<&Pattern>, &Conditions)> = FxHashSet::default();
    let mut kept = Vec::new();
    for alternative in alternatives {
        let pattern = match &alternative.path {
            PathCondition::Pattern(pattern) => Some(pattern),
            PathCondition::Exact(_) | PathCondition::Prefix(_) => None,
        };
        if seen.insert((pattern, &alternative.conditions)) {
            kept.push(alternative.clone());
        }
    }
    kept
}

/// The order among alternatives for the same host and path (Gateway API's `HTTPRouteRule.matches`).
fn precedence(alternative: &Alternative) -> (bool, Reverse<usize>, Reverse<usize>, usize) {
    let Conditions { method, headers, params } = &*alternative.conditions;
    let header_count = headers.len() + usize::from(alternative.model.is_some());
    (method.is_none(), Reverse(header_count), Reverse(params.len()), alternative.order)
}
