//! The compiled route table.
//!
//! A request finds its rule by hash lookups: its host, then its path, then whichever exact condition of a rule is the
//! rarest among the rules of that host and path (its model, a header, a query parameter). So the cost does not grow
//! with the number of rules, unless they differ by regular expressions only. A trie over paths was turned down: the
//! distinct lengths of prefixes are few, and one probe for each is simpler.

mod bucket;
mod condition;
mod host;
mod index;

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::spec::{HostPattern, Lookup, Matched, ModelEntry, RequestModel, RouteRequest, Rule, bare_host};

pub(crate) use condition::{Alternative, Conditions, NamedTest, ValueTest};

use bucket::HostTable;
use condition::RequestView;
use host::LowerHost;

/// The rules of one listener.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// If set, requests for other hosts match nothing.
    hostname: Option<HostPattern>,
    exact: FxHashMap<Box<str>, HostTable>,
    wildcard: FxHashMap<Box<str>, HostTable>,
    /// The distinct lengths of the wildcards' suffixes, longest first.
    wildcard_lengths: Box<[usize]>,
    any: HostTable,
}

/// Gathers the rules of one listener.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    hostname: Option<HostPattern>,
    hosts: FxHashMap<Option<HostPattern>, bucket::HostTableBuilder>,
}

impl TableBuilder {
    /// For a listener with this hostname.
    pub(crate) fn new(hostname: Option<HostPattern>) -> Self {
        Self { hostname, hosts: FxHashMap::default() }
    }

    /// Adds one alternative of a rule for a host (`None` is every host), in document order. `is_listed` says whether a
    /// model that it is for is told to whoever asks for models.
    pub(crate) fn add(
        &mut self,
        host: Option<&HostPattern>,
        alternative: &Arc<Alternative>,
        is_listed: bool,
    ) {
        self.hosts.entry(host.cloned()).or_default().add(alternative, is_listed);
    }

    /// Compiles the table. `models` has the position of each model in the snapshot's list.
    pub(crate) fn build(self, models: &FxHashMap<&str, usize>) -> Table {
        let mut table = Table { hostname: self.hostname, ..Table::default() };
        for (host, builder) in self.hosts {
            let built = builder.build(models);
            match host {
                None => table.any = built,
                Some(HostPattern::Exact(host)) => drop(table.exact.insert(host, built)),
                Some(HostPattern::Wildcard(suffix)) => drop(table.wildcard.insert(suffix, built)),
            }
        }
        table.wildcard_lengths = bucket::distinct_lengths(table.wildcard.keys());
        table
    }
}

impl Table {
    /// Where a request goes.
    pub(crate) fn route<'a>(&'a self, rules: &'a [Rule], request: &RouteRequest<'_>) -> Lookup<'a> {
        let host = LowerHost::new(bare_host(request.host));
        if self.hostname.as_ref().is_some_and(|own| !own.matches(host.as_str())) {
            return Lookup::NoRoute;
        }
        let view = RequestView::new(request);
        let is_unread = request.model == RequestModel::Unread;
        let mut is_model_at_fault = false;
        for host_table in self.hosts(host.as_str()) {
            for (bucket, prefix) in host_table.buckets(request.path) {
                let found = if is_unread { bucket.best_for_some_model(&view) } else { bucket.best(&view) };
                match found {
                    Some(found) if is_unread && found.model.is_some() => return Lookup::NeedsModel,
                    Some(found) => return Lookup::Rule(Matched { rule: &rules[found.rule], prefix }),
                    None if is_unread => {}
                    None => {
                        is_model_at_fault = is_model_at_fault || bucket.best_for_some_model(&view).is_some()
                    }
                }
            }
        }
        if is_model_at_fault { Lookup::UnknownModel } else { Lookup::NoRoute }
    }

    /// The rule that a request goes to if it asks for the right model: of several that differ by models only, the first.
    pub(crate) fn route_of_some_model<'a>(
        &self,
        rules: &'a [Rule],
        request: &RouteRequest<'_>,
    ) -> Option<&'a Rule> {
        let host = LowerHost::new(bare_host(request.host));
        if self.hostname.as_ref().is_some_and(|own| !own.matches(host.as_str())) {
            return None;
        }
        let view = RequestView::new(request);
        let mut buckets = self.hosts(host.as_str()).flat_map(|table| table.buckets(request.path));
        let found = buckets.find_map(|(bucket, _)| bucket.best_for_some_model(&view));
        found.map(|found| &rules[found.rule])
    }

    /// The models that requests for a host can ask for.
    pub(crate) fn models<'a>(&self, models: &'a [ModelEntry], host: &str) -> Vec<&'a ModelEntry> {
        let host = LowerHost::new(bare_host(host));
        if self.hostname.as_ref().is_some_and(|own| !own.matches(host.as_str())) {
            return Vec::new();
        }
        let mut positions: Vec<usize> = self.hosts(host.as_str()).flat_map(HostTable::models).collect();
        positions.sort_unstable();
        positions.dedup();
        positions.into_iter().map(|position| &models[position]).collect()
    }

    /// The tables that hold for a host, the most specific first.
    fn hosts<'a, 'h>(&'a self, host: &'h str) -> impl Iterator<Item = &'a HostTable> + use<'a, 'h> {
        let suffixes = self.wildcard_lengths.iter().filter_map(move |length| {
            let dot = host.len().checked_sub(length + 1).filter(|dot| *dot > 0)?;
            (host.as_bytes()[dot] == b'.').then(|| self.wildcard.get(&host[dot + 1..])).flatten()
        });
        self.exact.get(host).into_iter().chain(suffixes).chain(std::iter::once(&self.any))
    }
}
