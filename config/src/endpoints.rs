//! `Endpoints` documents: the endpoints of one pool or backend, published apart from the routes.

use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::fault::Faults;
use crate::lower;
use crate::parse;
use crate::raw::{BackendEndpointsDocument, PoolEndpointsDocument, RawMetadata};
use crate::report::Report;
use crate::settings::Engine;
use crate::spec::{BackendEndpoint, EndpointSpec};

/// A sound list of endpoints. `E` is [`EndpointSpec`] for a pool's and [`BackendEndpoint`] for a backend's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints<E> {
    /// `metadata.name`.
    pub name: Option<Arc<str>>,
    /// `metadata.generation`: what the publisher calls this state of the list.
    pub generation: Option<u64>,
    /// The endpoints, in document order.
    pub endpoints: Vec<E>,
}

impl Endpoints<EndpointSpec> {
    /// Compiles a list of a pool's model servers, in YAML or JSON. `engine` is that of servers that name none.
    ///
    /// # Errors
    /// All that is wrong with the document, each fault with its path.
    pub fn compile_for_pool(text: &str, engine: Engine) -> Result<Self, Faults> {
        let (document, report) = parse::document::<PoolEndpointsDocument>(text)?;
        let mut lowering = Report::default();
        let endpoints = lower::pool_endpoints(&document, engine, &mut lowering);
        Self::new(document.metadata, endpoints, report, lowering)
    }
}

impl Endpoints<BackendEndpoint> {
    /// Compiles a list of a backend's endpoints, in YAML or JSON.
    ///
    /// # Errors
    /// All that is wrong with the document, each fault with its path.
    pub fn compile_for_backend(text: &str) -> Result<Self, Faults> {
        let (document, report) = parse::document::<BackendEndpointsDocument>(text)?;
        let mut lowering = Report::default();
        let endpoints = lower::backend_endpoints(&document, &mut lowering);
        Self::new(document.metadata, endpoints, report, lowering)
    }
}

impl<E> Endpoints<E> {
    fn new(
        metadata: RawMetadata,
        endpoints: Vec<E>,
        mut report: Report,
        lowering: Report,
    ) -> Result<Self, Faults> {
        report.append(lowering);
        match report.into_faults() {
            Some(faults) => Err(faults),
            None => {
                Ok(Self { name: metadata.name.map(Into::into), generation: metadata.generation, endpoints })
            }
        }
    }
}

impl EndpointSpec {
    /// Several lists as one. Of an address that is listed twice, the first counts.
    pub fn union<'a>(lists: impl IntoIterator<Item = &'a [Self]>) -> Vec<Self> {
        let mut seen: FxHashSet<SocketAddr> = FxHashSet::default();
        let all = lists.into_iter().flatten();
        all.filter(|endpoint| seen.insert(endpoint.address)).cloned().collect()
    }
}

impl BackendEndpoint {
    /// Several lists as one. Of a host and port that are listed twice, the first counts.
    pub fn union<'a>(lists: impl IntoIterator<Item = &'a [Self]>) -> Vec<Self> {
        let mut seen = FxHashSet::default();
        let all = lists.into_iter().flatten();
        all.filter(|endpoint| seen.insert((&endpoint.host, endpoint.port))).cloned().collect()
    }
}

/// Whether a text is an `Endpoints` document rather than a routing document, and if so what is wrong with it whichever
/// of the two kinds of list it is. For tools that are handed any document.
///
/// # Errors
/// All that is wrong with it.
pub fn check_endpoints(text: &str) -> Option<Result<(), Faults>> {
    let value = parse::value(text).ok()?;
    if value["kind"] != "Endpoints" {
        return None;
    }
    let is_backend = value["endpoints"][0].get("host").is_some();
    Some(if is_backend {
        Endpoints::compile_for_backend(text).map(drop)
    } else {
        Endpoints::compile_for_pool(text, Engine::default()).map(drop)
    })
}
