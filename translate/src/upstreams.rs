//! Pools and backends of the documents: made when a route first leads there, and once for all routes and Gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::backend::Backends;
use crate::context::{Context, RefError};
use crate::policies::Policies;
use crate::pools::Pools;
use crate::unsupported::Unsupported;
use crate::upstream::{Upstream, UpstreamKey};
use crate::{ai_backend, names, service};

/// All upstreams made so far.
pub(crate) struct Upstreams<'a, 'c, 'p> {
    context: &'c Context<'a>,
    policies: &'c Policies<'a>,
    unsupported: &'c Unsupported<'a>,
    pools: &'p Pools<'a>,
    backends: Backends<'a, 'c>,
    made: BTreeMap<UpstreamKey, Made>,
    names: BTreeSet<String>,
    references: BTreeSet<UpstreamKey>,
}

/// An upstream, or why it cannot be used.
type Made = Result<Rc<Upstream>, RefError>;

/// All upstreams that routes refer to, once no more are made.
pub(crate) struct MadeUpstreams<'a, 'c> {
    /// Those that can be used, by their names in documents.
    pub(crate) by_name: BTreeMap<String, (UpstreamKey, Rc<Upstream>)>,
    /// The Backends among them or behind them.
    pub(crate) backends: Backends<'a, 'c>,
    faults: BTreeMap<UpstreamKey, RefError>,
}

impl<'a, 'c, 'p> Upstreams<'a, 'c, 'p> {
    pub(crate) fn new(
        context: &'c Context<'a>,
        policies: &'c Policies<'a>,
        unsupported: &'c Unsupported<'a>,
        pools: &'p Pools<'a>,
    ) -> Self {
        Self {
            context,
            policies,
            unsupported,
            pools,
            backends: Backends::new(context, policies),
            made: BTreeMap::new(),
            names: BTreeSet::new(),
            references: BTreeSet::new(),
        }
    }

    /// The upstream that a route leads to.
    ///
    /// # Errors
    /// It does not exist or cannot be used.
    pub(crate) fn get(&mut self, key: &UpstreamKey) -> Result<Rc<Upstream>, RefError> {
        self.references.insert(key.clone());
        if let Some(made) = self.made.get(key) {
            return made.clone();
        }
        let name = self.name(key);
        let id = key.object();
        if let Some(error) = self.unsupported.on_upstream(id.kind, &id.key) {
            self.made.insert(key.clone(), Err(error.clone()));
            return Err(error);
        }
        let made = match key {
            UpstreamKey::Pool(pool) => self.pools.upstream(self.context, self.policies, pool, name),
            UpstreamKey::Backend(key) => self.backends.get(key).map(|backend| backend.upstream(name)),
            UpstreamKey::AiBackend(key) => {
                ai_backend::upstream(self.context, self.policies, &mut self.backends, key, name)
            }
            UpstreamKey::Service(key, port) => {
                service::upstream(self.context, self.policies, key, *port, name)
            }
        };
        let made = made.map(Rc::new);
        self.made.insert(key.clone(), made.clone());
        made
    }

    /// What upstreams are reached by.
    pub(crate) fn policies(&self) -> &'c Policies<'a> {
        self.policies
    }

    /// What was referred to since the last time, usable or not.
    pub(crate) fn take_references(&mut self) -> BTreeSet<UpstreamKey> {
        std::mem::take(&mut self.references)
    }

    /// All that was made.
    pub(crate) fn finish(self) -> MadeUpstreams<'a, 'c> {
        let mut by_name = BTreeMap::new();
        let mut faults = BTreeMap::new();
        for (key, made) in self.made {
            match made {
                Ok(upstream) => drop(by_name.insert(upstream.name.clone(), (key, upstream))),
                Err(error) => drop(faults.insert(key, error)),
            }
        }
        MadeUpstreams { by_name, backends: self.backends, faults }
    }

    /// A name that no other upstream has.
    fn name(&mut self, key: &UpstreamKey) -> String {
        let base = match key {
            UpstreamKey::Pool(key) | UpstreamKey::Backend(key) | UpstreamKey::AiBackend(key) => {
                names::in_document([key.namespace.as_str(), &key.name])
            }
            UpstreamKey::Service(key, port) => {
                names::in_document([key.namespace.as_str(), &key.name, &port.to_string()])
            }
        };
        let kind = match key {
            UpstreamKey::Pool(_) => "pool",
            UpstreamKey::Backend(_) => "backend",
            UpstreamKey::AiBackend(_) => "ai",
            UpstreamKey::Service(..) => "service",
        };
        let candidates = std::iter::once(base.clone())
            .chain(std::iter::once(names::in_document([base.as_str(), kind])))
            .chain((2_u32..).map(|number| names::in_document([base.as_str(), kind, &number.to_string()])));
        let mut free = candidates.filter(|name| !self.names.contains(name));
        let name = free.next().unwrap_or(base);
        self.names.insert(name.clone());
        name
    }
}

impl MadeUpstreams<'_, '_> {
    /// Why an upstream cannot be used, if so.
    pub(crate) fn fault(&self, key: &UpstreamKey) -> Option<&RefError> {
        self.faults.get(key)
    }
}
