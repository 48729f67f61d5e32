//! Where clients connect to.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::{HostPattern, PolicyIndex};
use crate::cidr::Cidr;
use crate::settings::{HeadersWithUnderscores, TargetHeaders};

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
    /// Whether other listeners have the same address. They all speak TLS, or none does.
    pub shares_address: bool,
    /// What happens to requests that have such headers.
    pub headers_with_underscores: HeadersWithUnderscores,
    /// Where proxies are that may speak for their clients.
    pub trusted_proxies: Box<[Cidr]>,
    /// Where load balancers ask for the gateway's health.
    pub health_path: Option<Box<str>>,
    /// What every request has to pass, in this order.
    pub policies: Box<[PolicyIndex]>,
    /// When responses tell which targets were tried and which one answered.
    pub target_headers: TargetHeaders,
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

impl Listener {
    /// Whether clients speak TLS here.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether a proxy at this address may speak for its clients.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(address))
    }
}
