//! The validated, compiled form of a document, on which the proxy runs.
//!
//! Only [`Snapshot::compile`] makes one, so a snapshot is proof that its document was sound: every reference
//! resolves, every pattern is compiled and every number is in its range.

mod edit;
mod host;
mod rule;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::fault::{Faults, ProfileCheck};
use crate::settings::{AccessLog, AdminSpec, Limits, PeekSpec, ShutdownSpec};

pub use edit::HeaderEdits;
pub use host::HostPattern;
pub use rule::{
    Action, PathRewrite, Redirect, RedirectTarget, RetryPolicy, Rewrite, Rule, StatusSet, Target, Tier,
    Upstream,
};
pub use upstream::{
    BackendEndpoint, BackendHost, BackendSpec, Balancing, ClientCertificate, EndpointSpec, Engine, Objective,
    PoolSpec, SaturationAction, SaturationSpec, UpstreamProtocol, UpstreamTls,
};

/// The position of a listener in [`Snapshot::listeners`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerIndex(pub usize);

/// The position of a pool in [`Snapshot::pools`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolIndex(pub usize);

/// The position of a backend in [`Snapshot::backends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendIndex(pub usize);

/// A sound configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// `metadata.name`.
    pub name: Option<Arc<str>>,
    /// `metadata.generation`: what the publisher calls this state of the document.
    pub generation: Option<u64>,
    /// Where clients connect to, in document order.
    pub listeners: Vec<Listener>,
    /// Groups of model servers, in document order.
    pub pools: Vec<Arc<PoolSpec>>,
    /// Plain upstreams, in document order.
    pub backends: Vec<Arc<BackendSpec>>,
    /// Limits on what clients send.
    pub limits: Limits,
    /// What the body scanner gathers.
    pub peek: PeekSpec,
    /// The access log.
    pub access_log: AccessLog,
    /// The admin listener.
    pub admin: AdminSpec,
    /// What happens at SIGTERM.
    pub shutdown: ShutdownSpec,
    redacted: serde_json::Value,
}

/// An address on which clients are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, unique in the document.
    pub name: Arc<str>,
    /// Where it listens. Port 0 lets the system choose.
    pub address: SocketAddr,
    /// If set, requests for other hosts find no route here.
    pub hostname: Option<HostPattern>,
    /// The certificates, for `protocol: HTTPS`. `None` is plain HTTP.
    pub tls: Option<ListenerTls>,
}

/// How a listener terminates TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// At least one. SNI chooses among them; the first serves whoever matches none.
    pub certificates: Vec<CertificateFiles>,
}

/// Where a certificate lies. This crate does not open the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// A PEM file: the certificate, then its chain.
    pub certificate: PathBuf,
    /// A PEM file: the private key.
    pub private_key: PathBuf,
}

/// What of a request decides where it goes.
#[derive(Debug, Clone, Copy)]
pub struct RouteRequest<'a> {
    /// The `Host` header or `:authority`; a port in it is ignored, and so is case.
    pub host: &'a str,
    /// The path without its query.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a http::Method,
    /// The headers. An `x-ai-eg-model` among them decides nothing.
    pub headers: &'a http::HeaderMap,
    /// The model, as far as it is known.
    pub model: RequestModel<'a>,
}

/// What is known of the model that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestModel<'a> {
    /// The body was not read yet.
    Unread,
    /// The body was read and names none.
    Absent,
    /// The body names this one.
    Named(&'a str),
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub enum Lookup<'a> {
    /// This rule serves it.
    Rule(Matched<'a>),
    /// The model was [`RequestModel::Unread`] and decides: read the body and ask again.
    NeedsModel,
    /// A rule would serve it if it asked for another model.
    UnknownModel,
    /// No rule would serve it whatever the model.
    NoRoute,
}

/// The rule that a request matched, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The path prefix that matched, without its final slash (so `/` is empty); `None` if the rule matched by an
    /// exact path or a pattern.
    pub prefix: Option<&'a str>,
}

/// A model that a listener serves, as `GET /v1/models` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name that clients ask for.
    pub id: Arc<str>,
    /// Seconds since the Unix epoch.
    pub created: u64,
    /// Who offers it.
    pub owned_by: Arc<str>,
}

impl Snapshot {
    /// Compiles a document, in YAML or JSON.
    ///
    /// # Errors
    /// All that is wrong with the document, each fault with its path.
    pub fn compile(text: &str, profiles: &dyn ProfileCheck) -> Result<Self, Faults> {
        let _ = (text, profiles);
        Err(Faults::one(crate::fault::Fault::new("", "not built yet")))
    }

    /// Where a request goes. Costs about the same whatever the number of rules, and allocates nothing.
    pub fn route<'a>(&'a self, listener: ListenerIndex, request: &RouteRequest<'_>) -> Lookup<'a> {
        let _ = (listener, request);
        Lookup::NoRoute
    }

    /// The models that `host` can ask for on a listener: those that rules name exactly, in document order.
    pub fn models(&self, listener: ListenerIndex, host: &str) -> Vec<&ModelEntry> {
        let _ = (listener, host);
        Vec::new()
    }

    /// All rules, in document order; [`Rule::index`] is the position in it.
    pub fn rules(&self) -> &[Rule] {
        &[]
    }

    /// The pool with this name.
    pub fn pool(&self, name: &str) -> Option<&Arc<PoolSpec>> {
        self.pools.iter().find(|pool| &*pool.name == name)
    }

    /// The document with its defaults filled in, for people to read. It holds no secrets: paths of key files stay,
    /// values of headers that carry credentials do not.
    pub fn redacted(&self) -> &serde_json::Value {
        &self.redacted
    }
}

impl Listener {
    /// Whether clients speak TLS here.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}
