//! Pools and backends of the documents: made when a route first leads there, and once for all routes and Gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use penstock_config::raw::{RawBackend, RawHeaderEdits, RawPool};

use super::context::{Context, RefError, Secrets};
use super::output::EndpointSource;
use super::policies::Policies;
use super::pools::Pools;
use super::{ai_backend, backend, names, service};
use crate::world::Key;

/// What a route can lead to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum UpstreamKey {
    /// An InferencePool.
    Pool(Key),
    /// An Envoy Gateway Backend.
    Backend(Key),
    /// An AIServiceBackend, whose Backend has its own credentials here.
    AiBackend(Key),
    /// A port of a Service.
    Service(Key, u16),
}

/// A pool or backend of the documents.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    /// Its name in documents.
    pub(super) name: String,
    /// What documents say of it.
    pub(super) raw: RawUpstream,
    /// Where its endpoints come from; `None` if they are all in `raw`.
    pub(super) source: Option<EndpointSource>,
    /// What documents name in it.
    pub(super) secrets: Secrets,
    /// What stands in place of `v1` in paths there, if it is something else.
    pub(super) prefix: Option<String>,
    /// Changes to headers of requests that go there.
    pub(super) headers: RawHeaderEdits,
}

/// What documents say of an upstream.
#[derive(Debug, Clone)]
pub(super) enum RawUpstream {
    /// A pool.
    Pool(Box<RawPool>),
    /// A backend.
    Backend(Box<RawBackend>),
}

/// All upstreams made so far.
pub(super) struct Upstreams<'a, 'c> {
    context: &'c Context<'a>,
    policies: &'c Policies<'a>,
    pools: &'c Pools<'a>,
    made: BTreeMap<UpstreamKey, Result<Rc<Upstream>, RefError>>,
    names: BTreeSet<String>,
    asked: BTreeSet<UpstreamKey>,
}

impl<'a, 'c> Upstreams<'a, 'c> {
    pub(super) fn new(context: &'c Context<'a>, policies: &'c Policies<'a>, pools: &'c Pools<'a>) -> Self {
        Self {
            context,
            policies,
            pools,
            made: BTreeMap::new(),
            names: BTreeSet::new(),
            asked: BTreeSet::new(),
        }
    }

    /// The upstream that a route leads to.
    ///
    /// # Errors
    /// It does not exist or cannot be used.
    pub(super) fn get(&mut self, key: &UpstreamKey) -> Result<Rc<Upstream>, RefError> {
        self.asked.insert(key.clone());
        if let Some(made) = self.made.get(key) {
            return made.clone();
        }
        let name = self.name(key);
        let made = match key {
            UpstreamKey::Pool(pool) => self.pools.upstream(self.context, self.policies, pool, name),
            UpstreamKey::Backend(key) => backend::upstream(self.context, self.policies, key, name),
            UpstreamKey::AiBackend(key) => ai_backend::upstream(self.context, self.policies, key, name),
            UpstreamKey::Service(key, port) => {
                service::upstream(self.context, self.policies, key, *port, name)
            }
        };
        let made = made.map(Rc::new);
        self.made.insert(key.clone(), made.clone());
        made
    }

    /// What was asked for since the last time, usable or not.
    pub(super) fn take_asked(&mut self) -> BTreeSet<UpstreamKey> {
        std::mem::take(&mut self.asked)
    }

    /// All that can be used, by name.
    pub(super) fn into_usable(self) -> BTreeMap<String, (UpstreamKey, Rc<Upstream>)> {
        let usable = self.made.into_iter().filter_map(|(key, made)| Some((key, made.ok()?)));
        usable.map(|(key, upstream)| (upstream.name.clone(), (key, upstream))).collect()
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
