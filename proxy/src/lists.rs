//! Lists of endpoints that are published apart from the routing document (`endpointsFrom`).
//!
//! They change far more often than routes do, so a change of one ends here: it becomes new endpoints of the pools and
//! backends that name it, and nothing else is built anew. A list that is missing has no endpoints yet. A faulty one
//! leaves the last good one in force.

use std::sync::Arc;

use penstock_config::{
    BackendEndpoint, BackendSpec, EndpointSpec, Endpoints, Engine, Fault, Faults, PoolSpec, Snapshot,
};
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};

/// All lists that are known, and what became of them.
#[derive(Debug, Default)]
pub struct Lists {
    texts: FxHashMap<Arc<str>, Arc<str>>,
    /// By reference and by the engine of servers that name none.
    pools: FxHashMap<(Arc<str>, Engine), Compiled<EndpointSpec>>,
    backends: FxHashMap<Arc<str>, Compiled<BackendEndpoint>>,
}

/// The last good state of a list, for one of its uses.
#[derive(Debug)]
struct Compiled<E> {
    /// The text that was judged last.
    text: Option<Arc<str>>,
    good: Endpoints<E>,
    /// What is wrong with that text, if it is not what `good` came from.
    faults: Vec<Fault>,
}

impl Lists {
    /// Takes over what a list says now; `None` if it is not there. Whether that changed.
    pub fn set(&mut self, reference: &str, text: Option<&str>) -> bool {
        if self.texts.get(reference).map(|known| &**known) == text {
            return false;
        }
        match text {
            Some(text) => self.texts.insert(reference.into(), text.into()),
            None => self.texts.remove(reference),
        };
        true
    }

    /// Forgets lists that `snapshot` does not name.
    pub fn retain(&mut self, snapshot: &Snapshot) {
        let named: FxHashSet<Arc<str>> = snapshot.endpoint_lists().collect();
        self.texts.retain(|reference, _| named.contains(reference));
        self.pools.retain(|(reference, _), _| named.contains(reference));
        self.backends.retain(|reference, _| named.contains(reference));
    }

    /// A pool with the endpoints of its lists, scraped as seldom as `replicas` gateways side by side have to.
    pub fn pool(&mut self, spec: &Arc<PoolSpec>, replicas: u32) -> Arc<PoolSpec> {
        if spec.endpoints_from.is_empty() && replicas == 1 {
            return spec.clone();
        }
        let compile = |text: &str| Endpoints::compile_for_pool(text, spec.engine);
        for reference in &spec.endpoints_from {
            let known = self.pools.entry((reference.clone(), spec.engine)).or_default();
            known.update(reference, self.texts.get(reference), compile);
        }
        let lists = spec.endpoints_from.iter();
        let lists = lists.filter_map(|reference| self.pools.get(&(reference.clone(), spec.engine)));
        let own = std::iter::once(&spec.endpoints[..]);
        let mut whole = PoolSpec::clone(spec);
        whole.endpoints = EndpointSpec::union(own.chain(lists.map(|list| &list.good.endpoints[..])));
        whole.metrics.min_interval *= replicas;
        whole.metrics.max_interval *= replicas;
        Arc::new(whole)
    }

    /// A backend with the endpoints of its lists.
    pub fn backend(&mut self, spec: &Arc<BackendSpec>) -> Arc<BackendSpec> {
        if spec.endpoints_from.is_empty() {
            return spec.clone();
        }
        for reference in &spec.endpoints_from {
            let known = self.backends.entry(reference.clone()).or_default();
            known.update(reference, self.texts.get(reference), Endpoints::compile_for_backend);
        }
        let lists = spec.endpoints_from.iter().filter_map(|reference| self.backends.get(reference));
        let own = std::iter::once(&spec.endpoints[..]);
        let endpoints = BackendEndpoint::union(own.chain(lists.map(|list| &list.good.endpoints[..])));
        Arc::new(BackendSpec { endpoints, ..BackendSpec::clone(spec) })
    }

    /// How many lists are faulty.
    pub fn faulty(&self) -> usize {
        let pools = self.pools.values().filter(|list| !list.faults.is_empty()).count();
        pools + self.backends.values().filter(|list| !list.faults.is_empty()).count()
    }

    /// What is known of each list, for people.
    pub fn report(&self) -> Value {
        let pools = self.pools.iter().map(|((reference, _), list)| list.report(reference));
        let backends = self.backends.iter().map(|(reference, list)| list.report(reference));
        let mut all: Vec<Value> = pools.chain(backends).collect();
        all.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        Value::Array(all)
    }
}

/// Whether `reference` is among `names`.
pub fn names(names: &[Arc<str>], reference: &str) -> bool {
    names.iter().any(|name| **name == *reference)
}

impl<E> Default for Compiled<E> {
    fn default() -> Self {
        let good = Endpoints { name: None, generation: None, endpoints: Vec::new() };
        Self { text: None, good, faults: Vec::new() }
    }
}

impl<E> Compiled<E> {
    fn update(
        &mut self,
        reference: &str,
        text: Option<&Arc<str>>,
        compile: impl FnOnce(&str) -> Result<Endpoints<E>, Faults>,
    ) {
        if self.text.as_ref() == text {
            return;
        }
        self.text = text.cloned();
        match text.map(|text| compile(text)) {
            None => *self = Self::default(),
            Some(Ok(good)) => (self.good, self.faults) = (good, Vec::new()),
            Some(Err(faults)) => {
                for fault in &faults {
                    tracing::error!(list = reference, %fault, "list of endpoints refused; the one before stays");
                }
                self.faults = faults.iter().cloned().collect();
            }
        }
    }

    fn report(&self, reference: &str) -> Value {
        json!({
            "name": reference,
            "is_there": self.text.is_some(),
            "generation": self.good.generation,
            "endpoints": self.good.endpoints.len(),
            "faults": self.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use penstock_config::NoProfileCheck;

    use super::*;

    const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: Endpoints\n";

    fn list(addresses: &[&str]) -> String {
        let endpoints: Vec<String> = addresses.iter().map(|at| format!("{{address: '{at}'}}")).collect();
        format!("{HEAD}endpoints: [{}]\n", endpoints.join(", "))
    }

    fn pool() -> Arc<PoolSpec> {
        Arc::new(PoolSpec { endpoints_from: vec!["a".into(), "b".into()], ..PoolSpec::new("p") })
    }

    fn addresses(pool: &PoolSpec) -> Vec<String> {
        pool.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
    }

    #[test]
    fn a_pool_is_the_union_of_its_lists_in_their_order() {
        let mut lists = Lists::default();
        assert!(addresses(&lists.pool(&pool(), 1)).is_empty(), "no list is there yet");
        assert!(lists.set("b", Some(&list(&["10.0.0.2:1", "10.0.0.1:1"]))));
        assert!(lists.set("a", Some(&list(&["10.0.0.1:1"]))));
        assert!(!lists.set("a", Some(&list(&["10.0.0.1:1"]))), "nothing changed");
        assert_eq!(addresses(&lists.pool(&pool(), 1)), ["10.0.0.1:1", "10.0.0.2:1"]);
        lists.set("b", None);
        assert_eq!(addresses(&lists.pool(&pool(), 1)), ["10.0.0.1:1"]);
    }

    #[test]
    fn a_faulty_list_leaves_the_last_good_one_and_is_shown() {
        let mut lists = Lists::default();
        lists.set("a", Some(&list(&["10.0.0.1:1"])));
        lists.pool(&pool(), 1);
        lists.set("a", Some("kind: nonsense"));
        assert_eq!(addresses(&lists.pool(&pool(), 1)), ["10.0.0.1:1"]);
        assert_eq!(lists.faulty(), 1);
        assert!(!lists.report()[0]["faults"].as_array().unwrap().is_empty());
        lists.set("a", Some(&list(&["10.0.0.3:1"])));
        assert_eq!(addresses(&lists.pool(&pool(), 1)), ["10.0.0.3:1"]);
        assert_eq!(lists.faulty(), 0);
    }

    #[test]
    fn side_by_side_gateways_scrape_less_often() {
        let spec = Arc::new(PoolSpec::new("p"));
        let scaled = Lists::default().pool(&spec, 3);
        assert_eq!(scaled.metrics.min_interval, spec.metrics.min_interval * 3);
        assert_eq!(scaled.metrics.max_interval, spec.metrics.max_interval * 3);
        assert!(Arc::ptr_eq(&Lists::default().pool(&spec, 1), &spec));
    }

    #[test]
    fn lists_that_nothing_names_are_forgotten() {
        let text = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlisteners: [{name: a, address: \
                    '127.0.0.1:0'}]\nbackends: [{name: b, endpointsFrom: [x]}]\n";
        let snapshot = Snapshot::compile(text, &NoProfileCheck).unwrap();
        let mut lists = Lists::default();
        lists.set("x", Some(&format!("{HEAD}endpoints: [{{host: h, port: 1}}]\n")));
        lists.set("y", Some(""));
        lists.retain(&snapshot);
        assert_eq!(lists.backend(&snapshot.backends[0]).endpoints.len(), 1);
        assert!(!lists.texts.contains_key("y"));
    }
}
