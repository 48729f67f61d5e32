//! The validated, compiled form of a document, on which the proxy runs.

use std::sync::Arc;

use crate::fault::Fault;
use crate::settings::{AccessLog, AdminSpec, Limits, PeekSpec, ShutdownSpec, Telemetry};
use crate::spec::{
    BackendSpec, Consumer, LimitStore, Listener, ListenerIndex, Lookup, ModelEntry, PolicySpec, PoolSpec,
    Price, RouteRequest, Rule, SecretUse, Secrets, bare_host,
};
use crate::table::Table;

/// A sound configuration. Only [`Snapshot::compile`] makes one, so a snapshot is proof that its document was sound: every
/// reference resolves, every pattern is compiled and every number is in its range.
#[derive(Debug)]
pub struct Snapshot {
    /// `metadata.name`.
    pub name: Option<Arc<str>>,
    /// `metadata.generation`: what the publisher calls this state of the document.
    pub generation: Option<u64>,
    /// The [`digest`](crate::digest) of the document's text.
    pub digest: Arc<str>,
    /// How many gateways serve the document side by side; at least 1.
    pub replicas: u32,
    /// What `secretsFrom` names.
    pub secrets: Option<Secrets>,
    /// Every place at which a key of it is used.
    pub secret_uses: Vec<SecretUse>,
    /// Where clients connect to, in document order.
    pub listeners: Vec<Listener>,
    /// Groups of model servers, in document order.
    pub pools: Vec<Arc<PoolSpec>>,
    /// Plain upstreams, in document order.
    pub backends: Vec<Arc<BackendSpec>>,
    /// Who asks, in document order.
    pub consumers: Vec<Arc<Consumer>>,
    /// What listeners and rules ask of requests, in document order.
    pub policies: Vec<Arc<PolicySpec>>,
    /// What models cost, in document order.
    pub prices: Vec<Price>,
    /// The file that has more of them.
    pub prices_file: Option<std::path::PathBuf>,
    /// Where gateways share the counters of limits; `None`: each has its own.
    pub limit_store: Option<LimitStore>,
    /// Limits on what clients send.
    pub limits: Limits,
    /// What the body scanner gathers.
    pub peek: PeekSpec,
    /// The access log.
    pub access_log: AccessLog,
    /// What others' tools expect to see of requests.
    pub telemetry: Telemetry,
    /// The admin listener.
    pub admin: AdminSpec,
    /// What happens at SIGTERM.
    pub shutdown: ShutdownSpec,
    pub(crate) rules: Vec<Rule>,
    pub(crate) models: Vec<ModelEntry>,
    pub(crate) tables: Vec<Table>,
    pub(crate) redacted: serde_json::Value,
    pub(crate) warnings: Vec<Fault>,
}

impl Snapshot {
    /// Where a request goes. Costs about the same whatever the number of rules, and allocates only where a condition
    /// looks at a header that was sent several times or at an encoded query parameter. An unknown listener has no routes.
    pub fn route<'a>(&'a self, listener: ListenerIndex, request: &RouteRequest<'_>) -> Lookup<'a> {
        self.tables.get(listener.0).map_or(Lookup::NoRoute, |table| table.route(&self.rules, request))
    }

    /// The rule that a request goes to if it asks for the right model: of several that differ by models only, the first.
    pub fn route_of_some_model(&self, listener: ListenerIndex, request: &RouteRequest<'_>) -> Option<&Rule> {
        self.tables.get(listener.0).and_then(|table| table.route_of_some_model(&self.rules, request))
    }

    /// The first listener of each address: there is one socket for all that share it.
    pub fn sockets(&self) -> impl Iterator<Item = ListenerIndex> + '_ {
        let is_first = |index: &usize| {
            let own = &self.listeners[*index];
            !own.shares_address || self.listeners[..*index].iter().all(|other| other.address != own.address)
        };
        (0..self.listeners.len()).filter(is_first).map(ListenerIndex)
    }

    /// The listeners that share the address of `at`, that one included, in document order.
    pub fn listeners_at(&self, at: ListenerIndex) -> impl Iterator<Item = &Listener> + '_ {
        let own = &self.listeners[at.0];
        self.listeners.iter().filter(move |other| {
            std::ptr::eq(*other, own) || own.shares_address && other.address == own.address
        })
    }

    /// The listener that a request for `host` belongs to, of those that share the address of `at`: the one whose
    /// hostname is the most specific that matches. `at` itself if none matches; it has no route for the request then.
    pub fn listener_for(&self, at: ListenerIndex, host: &str) -> ListenerIndex {
        match self.listeners.get(at.0) {
            Some(own) if own.shares_address => self.owner_of(own, host).unwrap_or(at),
            _ => at,
        }
    }

    /// Whether a request for `host` belongs to another listener at the address of `at` than `server_name`, the name in
    /// the connection's TLS handshake, does. Not if one of them is nobody's: to connect again would not help then.
    /// (Gateway API: a listener's `hostname`; RFC 9110, 15.5.20.)
    pub fn is_misdirected(&self, at: ListenerIndex, server_name: &str, host: &str) -> bool {
        let Some(own) = self.listeners.get(at.0).filter(|own| own.shares_address) else { return false };
        if bare_host(host).eq_ignore_ascii_case(server_name) {
            return false;
        }
        let (shown, asked) = (self.owner_of(own, server_name), self.owner_of(own, host));
        shown.is_some() && asked.is_some() && shown != asked
    }

    /// The listener at the address of `own` whose hostname is the most specific that matches `host`.
    fn owner_of(&self, own: &Listener, host: &str) -> Option<ListenerIndex> {
        let host = bare_host(host).to_ascii_lowercase();
        let sharing = self.listeners.iter().enumerate().filter(|(_, other)| other.address == own.address);
        let matching = sharing.filter_map(|(index, other)| match &other.hostname {
            None => Some((0, index)),
            Some(pattern) => pattern.matches(&host).then(|| (pattern.specificity(), index)),
        });
        matching.max_by_key(|(specificity, _)| *specificity).map(|(_, index)| ListenerIndex(index))
    }

    /// What holds at a listener of what the document's limits say.
    pub fn limits_at(&self, at: ListenerIndex) -> &Limits {
        self.listeners.get(at.0).and_then(|listener| listener.limits.as_deref()).unwrap_or(&self.limits)
    }

    /// The models that `host` can ask for on a listener: those that rules name exactly, in document order.
    pub fn models(&self, listener: ListenerIndex, host: &str) -> Vec<&ModelEntry> {
        self.tables.get(listener.0).map_or_else(Vec::new, |table| table.models(&self.models, host))
    }

    /// All rules, in document order; [`Rule::index`] is the position in it.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The pool with this name.
    pub fn pool(&self, name: &str) -> Option<&Arc<PoolSpec>> {
        self.pools.iter().find(|pool| &*pool.name == name)
    }

    /// The lists of endpoints that pools and backends name, each as often as it is named.
    pub fn endpoint_lists(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        let pools = self.pools.iter().flat_map(|pool| &pool.endpoints_from);
        pools.chain(self.backends.iter().flat_map(|backend| &backend.endpoints_from)).cloned()
    }

    /// What is legal and probably not meant, in document order.
    pub fn warnings(&self) -> &[Fault] {
        &self.warnings
    }

    /// The document with its defaults filled in, for people to read. It holds no secrets: paths of key files stay,
    /// values of headers and parameters that carry credentials do not.
    pub fn redacted(&self) -> &serde_json::Value {
        &self.redacted
    }
}
