//! A pool or backend of the documents, and what it is made from.

use penstock_config::raw::{RawBackend, RawBodyEdits, RawHeaderEdits, RawPool};

use crate::context::Secrets;
use crate::output::EndpointSource;
use crate::world::{Key, Kind, ObjectId};

/// What a route can lead to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UpstreamKey {
    /// An InferencePool.
    Pool(Key),
    /// An Envoy Gateway Backend.
    Backend(Key),
    /// An AIServiceBackend, whose Backend has its own credentials here.
    AiBackend(Key),
    /// A port of a Service.
    Service(Key, u16),
}

impl UpstreamKey {
    /// The object.
    pub(crate) fn object(&self) -> ObjectId {
        let (kind, key) = match self {
            Self::Pool(key) => (Kind::InferencePool, key),
            Self::Backend(key) => (Kind::Backend, key),
            Self::AiBackend(key) => (Kind::AiServiceBackend, key),
            Self::Service(key, _) => (Kind::Service, key),
        };
        ObjectId { kind, key: key.clone() }
    }
}

/// A pool or backend of the documents.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// Its name in documents.
    pub(crate) name: String,
    /// What documents say of it.
    pub(crate) raw: RawUpstream,
    /// Where its endpoints come from; `None` if they are all in `raw`.
    pub(crate) source: Option<EndpointSource>,
    /// What documents name in it.
    pub(crate) secrets: Secrets,
    /// Changes to headers of requests that go there.
    pub(crate) headers: RawHeaderEdits,
    /// Changes to bodies of requests that go there.
    pub(crate) body: RawBodyEdits,
    /// Whose credential it is shown, if any.
    pub(crate) grant: Option<Grant>,
}

/// A BackendSecurityPolicy, and what it grants.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// The policy.
    pub(crate) policy: Key,
    /// Whether it is the data plane's own identity.
    pub(crate) is_own_identity: bool,
}

/// What documents say of an upstream.
#[derive(Debug, Clone)]
pub(crate) enum RawUpstream {
    /// A pool.
    Pool(Box<RawPool>),
    /// A backend.
    Backend(Box<RawBackend>),
}
