//! Active health checks of a backend's endpoints.
//!
//! Thresholds and bookkeeping are pingora's. The check itself is ours, because pingora's has one host
//! name for all endpoints, takes a certificate at build time only, and reads an endless answer.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use memchr::memmem;
use penstock_config::{BackendSpec, HealthCheckKind, HealthCheckSpec, UpstreamProtocol};
use pingora_core::{
    connectors::{TransportConnector, http::Connector},
    upstreams::peer::HttpPeer,
};
use pingora_error::{Error, ErrorType};
use pingora_load_balancing::{Backend, HealthRegistry, health_check::HealthCheck};
use xxhash_rust::xxh3::xxh3_64;

use super::{Shared, endpoint::Endpoint, members::Members};
use crate::{
    credential::Credential,
    peers,
    probe::{Get, ProbeError},
    tls::UpstreamContext,
};

/// The most bytes of an answer that are read. What a check answers is a word, if anything.
const ANSWER_LIMIT_BYTES: usize = 64 << 10;

/// The health of a backend's endpoints, by address. Survives changes that leave the checks alone.
#[derive(Clone)]
pub(super) struct Registry {
    pub(super) inner: Arc<HealthRegistry>,
    /// Where the check finds the names of addresses.
    members: Arc<ArcSwap<Members>>,
}

impl Registry {
    /// In which all endpoints are healthy until checked.
    pub(super) fn new(
        spec: &BackendSpec,
        check: HealthCheckSpec,
        asked: Asked,
        connector: Arc<Connector>,
        members: Arc<Members>,
    ) -> Self {
        let members = Arc::new(ArcSwap::new(members));
        let protocol = spec.protocol;
        let (backend, transport) = (spec.name.clone(), TransportConnector::new(None));
        let check = Check { backend, check, protocol, asked, connector, transport, members: members.clone() };
        let inner = HealthRegistry::with_equivalence(|backend| {
            // The address alone: a change of weight is not another endpoint.
            xxh3_64(backend.addr.to_string().as_bytes())
        });
        inner.set_health_check(Box::new(check));
        Self { inner: Arc::new(inner), members }
    }

    /// The same health, for the backend's members from now on.
    pub(super) fn handed_over(&self, members: Arc<Members>) -> Self {
        self.members.store(members);
        self.clone()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Registry").field(&self.inner.target_count()).finish()
    }
}

/// Checks all endpoints for ever.
pub(super) async fn keep_checking(shared: Arc<Shared>, interval: Duration) {
    loop {
        shared.selection.check_health().await;
        tokio::time::sleep(interval).await;
    }
}

/// How endpoints are asked: as by requests.
pub(super) struct Asked {
    pub(super) tls: Option<Arc<UpstreamContext>>,
    pub(super) credential: Option<Arc<Credential>>,
}

/// Asks endpoints.
struct Check {
    backend: Arc<str>,
    check: HealthCheckSpec,
    protocol: UpstreamProtocol,
    asked: Asked,
    connector: Arc<Connector>,
    /// For checks that only connect.
    transport: TransportConnector,
    members: Arc<ArcSwap<Members>>,
}

impl Check {
    async fn ask(&self, endpoint: &Endpoint) -> Result<(), String> {
        let mut peer = HttpPeer::new(endpoint.address, false, String::new());
        if let Some(tls) = &self.asked.tls {
            tls.configure(&mut peer, &endpoint.name.host);
        }
        peer.options.alpn = peers::protocol(self.protocol).alpn();
        match self.check.kind {
            HealthCheckKind::Http => self.ask_by_request(endpoint, &peer).await,
            HealthCheckKind::Tcp => self.ask_by_connecting(&peer).await,
        }
    }

    async fn ask_by_request(&self, endpoint: &Endpoint, peer: &HttpPeer) -> Result<(), String> {
        let HealthCheckSpec { path, timeout, host, statuses, contains, .. } = &self.check;
        let (limit_bytes, timeout) = (ANSWER_LIMIT_BYTES, *timeout);
        let authority = if host.is_empty() { &endpoint.name.authority } else { host };
        let shown = self.asked.credential.as_ref().and_then(|credential| credential.header());
        let method = self.check.method.name();
        let get = Get { authority, method, path, headers: shown.as_slice(), limit_bytes, timeout };
        let answer = get.send(&self.connector, peer).await.map_err(|error| error.to_string())?;
        let is_expected = match statuses.iter().next() {
            None => answer.status.is_success(),
            Some(_) => statuses.contains(answer.status),
        };
        if !is_expected {
            return Err(format!("answered {}", answer.status));
        }
        if memmem::find(&answer.body, contains.as_bytes()).is_none() {
            return Err("its answer does not contain what is expected".to_owned());
        }
        Ok(())
    }

    async fn ask_by_connecting(&self, peer: &HttpPeer) -> Result<(), String> {
        let timeout = self.check.timeout;
        match tokio::time::timeout(timeout, self.transport.new_stream(peer)).await {
            Ok(Ok(_stream)) => Ok(()),
            Ok(Err(error)) => Err(ProbeError::from(error).to_string()),
            Err(_) => Err(ProbeError::TimedOut(timeout).to_string()),
        }
    }
}

#[async_trait]
impl HealthCheck for Check {
    async fn check(&self, target: &Backend) -> pingora_error::Result<()> {
        let table = self.members.load().table();
        let Some(endpoint) = target.addr.as_inet().and_then(|address| table.get(address)) else {
            // It went between the start of this round and now.
            return Ok(());
        };
        let result = self.ask(endpoint).await;
        *endpoint.check_error.lock() = result.as_ref().err().cloned();
        result.map_err(|reason| Error::explain(ErrorType::Custom("HealthCheckFailed"), reason))
    }

    fn backend_summary(&self, target: &Backend) -> String {
        format!("endpoint {} of backend {}", target.addr, self.backend)
    }

    fn health_threshold(&self, is_success: bool) -> usize {
        let HealthCheckSpec { healthy_threshold, unhealthy_threshold, .. } = self.check;
        (if is_success { healthy_threshold } else { unhealthy_threshold }) as usize
    }
}
