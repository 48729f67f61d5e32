//! Where clients connect to.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::{HeaderEdits, HostPattern, Pattern, PolicyIndex};
use crate::cidr::Cidr;
use crate::settings::{
    CertificateNameKind, CertificateNameMatch, CipherSuite, ClientProof, ClientProtocol, EscapedSlashes,
    HeadersWithUnderscores, Limits, ProxyProtocol, RequestIds, TargetHeaders, TlsVersion,
};

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
    /// What holds in place of the snapshot's limits, if anything differs.
    pub limits: Option<Box<Limits>>,
    /// The most connections that clients may have open at its address.
    pub connections: Option<u32>,
    /// Whether connections begin with a header that says where they come from.
    pub proxy_protocol: ProxyProtocol,
    /// What happens to requests that have such headers.
    pub headers_with_underscores: HeadersWithUnderscores,
    /// Where proxies are that may speak for their clients.
    pub trusted_proxies: Box<[Cidr]>,
    /// How many proxies there are, wherever they are; 0 if that is not known.
    pub trusted_hops: usize,
    /// Where a proxy says who the client is.
    pub client_address: Option<ClientAddressHeader>,
    /// Whether the ids of clients are kept.
    pub request_ids: RequestIds,
    /// What happens to requests that have such paths.
    pub escaped_slashes: EscapedSlashes,
    /// Patterns of names of headers that are taken out of requests.
    pub drop_headers: Box<[Pattern]>,
    /// Changes to requests, before anything looks at them.
    pub request_headers: HeaderEdits,
    /// Changes to responses, after all others.
    pub response_headers: HeaderEdits,
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
    /// What clients have to show.
    pub clients: Option<ClientCertificates>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The newest.
    pub max_version: TlsVersion,
    /// The cipher suites of TLS 1.2; all if there are none.
    pub ciphers: Vec<CipherSuite>,
    /// What is offered by ALPN, the best first; never empty.
    pub protocols: Vec<ClientProtocol>,
    /// How long a handshake may take, where that is not as long as a head.
    pub handshake_timeout: Option<Duration>,
}

/// What clients have to show of themselves in a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whether they need a certificate, and what is looked at.
    pub proof: ClientProof,
    /// PEM files of authorities; none only where nobody has to vouch for clients.
    pub authorities: Vec<PathBuf>,
    /// The SHA-256 of certificates of which it is one, unless its key is one of `key_hashes`.
    pub certificate_hashes: Vec<[u8; 32]>,
    /// The SHA-256 of keys of which it has one, unless it is one of `certificate_hashes`.
    pub key_hashes: Vec<[u8; 32]>,
    /// Names of which it is for one.
    pub names: Vec<CertificateName>,
    /// PEM files with lists of revoked certificates.
    pub revocations: Vec<PathBuf>,
    /// Whether only the client's own certificate is looked for in these.
    pub revocations_of_clients_only: bool,
}

/// A condition on the names of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateName {
    /// What kind of name.
    pub kind: CertificateNameKind,
    /// How it is compared.
    pub how: CertificateNameMatch,
    /// What it is compared with. Never empty.
    pub value: Box<str>,
}

/// A header in which a proxy says who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAddressHeader {
    /// Its name.
    pub name: HeaderName,
    /// Whether requests without an address there are refused.
    pub is_required: bool,
}

/// Where a certificate lies. This crate does not open the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// A PEM file: the certificate, then its chain.
    pub certificate: PathBuf,
    /// A PEM file: the private key.
    pub private_key: PathBuf,
}

impl ListenerTls {
    /// TLS that says nothing beside its certificates.
    pub fn serving(certificates: Vec<CertificateFiles>) -> Self {
        Self {
            certificates,
            clients: None,
            min_version: TlsVersion::V12,
            max_version: TlsVersion::V13,
            ciphers: Vec::new(),
            protocols: vec![ClientProtocol::H2, ClientProtocol::Http1],
            handshake_timeout: None,
        }
    }
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
