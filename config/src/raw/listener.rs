//! Listeners.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::knob::Address;
use crate::raw::RawHeaderEdits;
use crate::settings::{EscapedSlashes, HeadersWithUnderscores, ProxyProtocol, RequestIds, TargetHeaders};

mod limits;
mod tls;

pub use limits::RawListenerLimits;
pub use tls::{RawCertificate, RawCertificateName, RawClientCertificates, RawListenerTls};

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
    /// Limits, where they differ from the document's.
    #[serde(default, skip_serializing_if = "RawListenerLimits::is_default")]
    pub limits: RawListenerLimits,
    /// Whether connections begin with a header of the PROXY protocol, version 1 or 2, that says where they come from. It
    /// is believed whoever sends it: keep others than proxies away. Listeners that share an address have the same.
    #[serde(default, skip_serializing_if = "ProxyProtocol::is_default")]
    pub proxy_protocol: ProxyProtocol,
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
    /// How many proxies there are in front of the gateway, wherever they are. The client's address is then that entry of
    /// `x-forwarded-for`, counted from its end, and the connection's where there are fewer; headers that tell of clients
    /// are believed, whoever sends them. Not beside `trustedProxies`.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 64))]
    pub trusted_hops: u32,
    /// A header that says who the client is, in place of `x-forwarded-for`. Not beside `trustedProxies` and `trustedHops`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<RawClientAddress>,
    /// Whether the ids that clients give their requests (`x-request-id`) are kept.
    #[serde(default, skip_serializing_if = "RequestIds::is_default")]
    pub request_ids: RequestIds,
    /// What happens to requests with an escaped slash (`%2f`, `%5c`) in their paths: servers differ in whether it is one.
    #[serde(default, skip_serializing_if = "EscapedSlashes::is_default")]
    pub escaped_slashes: EscapedSlashes,
    /// A path at which load balancers may ask for the gateway's health by `GET` or `HEAD`, such as `/healthz`: 200 while it
    /// takes requests, 503 while it drains. No rule sees such requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub health_path: Option<String>,
    /// Regular expressions, for any case, of which one matches the whole name of each header that is taken out of requests:
    /// before `requestHeaders`, and before anything looks at them. Headers that frame a message, and `host`, stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    pub drop_headers: Vec<String>,
    /// Changes to the headers of requests, before anything looks at them.
    #[serde(default, skip_serializing_if = "RawHeaderEdits::is_empty")]
    pub request_headers: RawHeaderEdits,
    /// Changes to the headers of responses, after all others; those that the gateway answers itself included.
    #[serde(default, skip_serializing_if = "RawHeaderEdits::is_empty")]
    pub response_headers: RawHeaderEdits,
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

/// The header in which a proxy in front of the gateway says who its client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawClientAddress {
    /// Its name. The header has one IP address. Whoever can connect may send it: keep others than that proxy away.
    #[schemars(length(min = 1, max = 255))]
    pub header: String,
    /// Whether requests that do not have it, or have something else in it, are answered with 403. Otherwise the connection's
    /// address counts.
    #[serde(default)]
    pub required: bool,
}

impl RawListener {
    /// A plain listener of this name and address.
    pub fn new(name: impl Into<String>, address: Address) -> Self {
        Self {
            name: name.into(),
            address,
            hostname: None,
            protocol: RawProtocol::Http,
            tls: None,
            limits: RawListenerLimits::default(),
            proxy_protocol: ProxyProtocol::default(),
            trusted_proxies: Vec::new(),
            trusted_hops: 0,
            client_address: None,
            request_ids: RequestIds::default(),
            headers_with_underscores: HeadersWithUnderscores::default(),
            escaped_slashes: EscapedSlashes::default(),
            health_path: None,
            drop_headers: Vec::new(),
            request_headers: RawHeaderEdits::default(),
            response_headers: RawHeaderEdits::default(),
            policies: Vec::new(),
            target_headers: TargetHeaders::default(),
        }
    }
}

impl RawListener {
    /// The fields in which it differs from another of its address that have to be the same, since they hold before it is
    /// known which of them a request is for.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'static str> + 'a {
        let tls = |listener: &Self| listener.tls.as_ref().map(RawListenerTls::of_connections);
        let fields = [
            ("limits", self.limits.of_connections() != other.limits.of_connections()),
            ("proxyProtocol", self.proxy_protocol != other.proxy_protocol),
            ("tls", tls(self) != tls(other)),
        ];
        fields.into_iter().filter(|(_, is_different)| *is_different).map(|(field, _)| field)
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
