//! One address of a backend, and what is known of it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64},
    },
};

use parking_lot::Mutex;
use penstock_config::{BackendEndpoint, BackendHost};
use penstock_picker::Failures;

pub(super) use super::ejection::Admission;
use super::ejection::Ejection;

/// What an endpoint is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendAddress {
    /// The DNS name, or the IP address without brackets: what TLS asks for.
    pub host: Arc<str>,
    /// Host and port as `Host` has them; the port is left out where the scheme implies it.
    pub authority: Arc<str>,
}

impl BackendAddress {
    /// The name of `endpoint`, spoken to in TLS or not.
    pub(super) fn new(endpoint: &BackendEndpoint, is_tls: bool) -> Self {
        let (host, in_authority): (Arc<str>, _) = match &endpoint.host {
            BackendHost::Dns(name) => (name.clone(), name.to_string()),
            BackendHost::Ip(ip @ IpAddr::V4(_)) => (ip.to_string().into(), ip.to_string()),
            BackendHost::Ip(ip @ IpAddr::V6(_)) => (ip.to_string().into(), format!("[{ip}]")),
        };
        let implied_port = if is_tls { 443 } else { 80 };
        let authority = match endpoint.port {
            port if port == implied_port => in_authority,
            port => format!("{in_authority}:{port}"),
        };
        Self { host, authority: authority.into() }
    }
}

/// One address of a backend. Lives as long as the backend has the address.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) name: BackendAddress,
    pub(super) in_flight: AtomicU32,
    /// Attempts since the endpoint is known.
    pub(super) requests: AtomicU64,
    /// How many of them failed.
    pub(super) failures: AtomicU64,
    pub(super) ejection: Ejection,
    /// Why the last health check failed; `None` after one that did not.
    pub(super) check_error: Mutex<Option<String>>,
    /// Why attempts at it failed.
    pub(super) causes: Failures,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, name: BackendAddress) -> Self {
        Self {
            address,
            name,
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            ejection: Ejection::default(),
            check_error: Mutex::new(None),
            causes: Failures::default(),
        }
    }
}
