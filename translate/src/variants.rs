//! Backends as the rules of a document want them: policies are for routes, what they say of backends is for these.
//!
//! A document has a backend once for each way in which its rules want it: as it is, or with what a policy changes. All that
//! want it in the same way share it, so that what is counted there (failures, what is under way) is counted once.

use std::collections::BTreeMap;

use penstock_config::raw::RawRule;

use crate::names;
use crate::traffic::Backing;

/// The ways in which a document's rules want backends.
pub(crate) struct Variants<'t> {
    is_taken: &'t dyn Fn(&str) -> bool,
    /// By the name of the backend: the ways, each with its name in the document.
    ways: BTreeMap<String, Vec<(Backing, String)>>,
    /// By the name in the document: the backend, and the way.
    by_name: BTreeMap<String, (String, Backing)>,
}

impl<'t> Variants<'t> {
    /// None yet. `is_taken` says which names others have.
    pub(crate) fn new(is_taken: &'t dyn Fn(&str) -> bool) -> Self {
        Self { is_taken, ways: BTreeMap::new(), by_name: BTreeMap::new() }
    }

    /// Lets a rule lead to its backends in the way in which it wants them. Mirrors have them as they are.
    pub(crate) fn lead(&mut self, rule: &mut RawRule, backing: &Backing) {
        let backing = &backing.essence();
        for name in rule.targets.iter_mut().filter_map(|target| target.backend.as_mut()) {
            *name = self.name(name, backing);
        }
        for name in rule.mirrors.iter_mut().filter_map(|mirror| mirror.backend.as_mut()) {
            *name = self.name(name, &Backing::default());
        }
    }

    /// The backend that has this name in the document, and what is changed of it; `None` if it is as it is.
    pub(crate) fn of(&self, name: &str) -> Option<&(String, Backing)> {
        self.by_name.get(name)
    }

    /// The name of a backend in a way. The first way has the backend's own.
    fn name(&mut self, backend: &str, backing: &Backing) -> String {
        let ways = self.ways.entry(backend.to_owned()).or_default();
        if let Some((_, name)) = ways.iter().find(|(known, _)| known == backing) {
            return name.clone();
        }
        let numbered = (2_u32..).map(|number| names::in_document([backend, "traffic", &number.to_string()]));
        let is_free = |name: &String| !(self.is_taken)(name) && !self.by_name.contains_key(name);
        let name = match ways.is_empty() {
            true => backend.to_owned(),
            false => numbered.into_iter().find(is_free).unwrap_or_else(|| backend.to_owned()),
        };
        ways.push((backing.clone(), name.clone()));
        self.by_name.insert(name.clone(), (backend.to_owned(), backing.clone()));
        name
    }
}

#[cfg(test)]
mod tests {
    use penstock_config::raw::RawBackend;
    use serde_json::json;

    use super::*;
    use crate::traffic::Traffic;

    fn backing(most: u32) -> Backing {
        let settings = json!({"circuitBreaker": {"maxConnections": most}});
        Traffic::read(&serde_json::from_value(settings).unwrap()).unwrap().unwrap().backing().clone()
    }

    #[test]
    fn who_wants_a_backend_in_the_same_way_shares_it_and_others_have_their_own() {
        let taken = |name: &str| name == "ns.b.traffic.2";
        let mut variants = Variants::new(&taken);
        let (plain, one, two) = (Backing::default(), backing(1), backing(2));
        assert_eq!(variants.name("ns.b", &one), "ns.b");
        assert_eq!(variants.name("ns.b", &plain), "ns.b.traffic.3", "another has the second");
        assert_eq!(variants.name("ns.b", &two), "ns.b.traffic.4");
        assert_eq!(variants.name("ns.b", &one), "ns.b");
        assert_eq!(variants.name("ns.c", &two), "ns.c");
        let (of, way) = variants.of("ns.b.traffic.4").unwrap();
        let mut raw: RawBackend = crate::service::raw_backend("b".to_owned());
        way.apply(&mut raw);
        assert_eq!((of.as_str(), raw.circuit_breaker.unwrap().max_connections), ("ns.b", Some(2)));
    }
}
