//! Listeners.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::knob::Address;
use crate::settings::{HeadersWithUnderscores, TargetHeaders};

/// An address on which clients are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawListener {
    /// Its name, by which routes choose it. Lower case letters, digits, `-` and `.`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The IP address and port to listen on. Port 0 lets the system choose one. Several listeners may share an address
    /// if they speak the same protocol and differ in their hostnames; a request belongs to the one whose hostname is the
    /// most specific that matches. With TLS, one whose `Host` belongs to another of them than the name in its
    /// connection's handshake is answered with 421.
    pub address: Address,
    /// Serve only requests for this host; `*.example.com` stands for every host below `example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,
    /// What clients speak.
    #[serde(default)]
    pub protocol: RawProtocol,
    /// The certificates. Needed with `protocol: HTTPS`, and only there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawListenerTls>,
    /// What happens to requests with headers like `x_forwarded_for`: many servers make that the same as
    /// `x-forwarded-for`, behind the back of whoever checked the latter.
    #[serde(default, skip_serializing_if = "HeadersWithUnderscores::is_default")]
    pub headers_with_underscores: HeadersWithUnderscores,
    /// The addresses of proxies in front of the gateway, such as `10.0.0.0/8`. What they say in `x-forwarded-for`,
    /// `x-forwarded-proto`, `x-forwarded-host`, `x-forwarded-port`, `x-forwarded-client-cert`, `x-real-ip`, `forwarded` and
    /// `x-envoy-external-address` is believed and passed on; from others these headers are removed. The client's address is
    /// the last one in `x-forwarded-for` that is no trusted proxy's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub trusted_proxies: Vec<Cidr>,
    /// A path at which load balancers may ask for the gateway's health by `GET` or `HEAD`, such as `/healthz`: 200 while it
    /// takes requests, 503 while it drains. No rule sees such requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub health_path: Option<String>,
    /// The names of policies that every request has to pass, before its body is read where they do not need it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub policies: Vec<String>,
    /// When responses tell which targets were tried and which one answered.
    #[serde(default, skip_serializing_if = "TargetHeaders::is_default")]
    pub target_headers: TargetHeaders,
}

/// What clients speak to a listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum RawProtocol {
    /// HTTP/1.1, and HTTP/2 by prior knowledge, on the same port.
    #[default]
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS.
    Https,
}

/// How a listener terminates TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawListenerTls {
    /// At least one. The name that a client asks for (SNI) chooses among them, and among those of all listeners that
    /// share the address; the first serves whoever matches none.
    #[schemars(length(min = 1, max = 1024))]
    pub certificates: Vec<RawCertificate>,
}

/// A certificate and its key. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawCertificate {
    /// The path of a PEM file, or `secret:KEY`, with the certificate, followed by its chain.
    #[schemars(length(min = 1, max = 4096))]
    pub certificate_file: String,
    /// The path of a PEM file, or `secret:KEY`, with the private key.
    #[schemars(length(min = 1, max = 4096))]
    pub private_key_file: String,
}
