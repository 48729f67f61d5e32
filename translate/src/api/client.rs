//! Envoy Gateway: ClientTrafficPolicy.

use std::ops::Deref;

use serde::Deserialize;
use serde_json::Value;

use super::{Body, HeaderModifier, HttpHeader, PolicyTargets, SecretRef};

/// `ClientTrafficPolicy`: how clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ClientTrafficPolicy {
    /// What it is for.
    #[serde(flatten)]
    pub targets: PolicyTargets,
    /// What of it is acted on.
    #[serde(flatten)]
    pub settings: ClientSettings,
}

impl Body for ClientTrafficPolicy {
    fn ignored(spec: &Value) -> Vec<String> {
        let mut ignored = Vec::new();
        let note = |path: serde_ignored::Path<'_>| ignored.push(path.to_string());
        // Whether it can be read is not asked here.
        let _ = serde_ignored::deserialize::<_, _, ClientSettings>(spec, note);
        ignored
    }
}

impl Deref for ClientTrafficPolicy {
    type Target = PolicyTargets;

    fn deref(&self) -> &PolicyTargets {
        &self.targets
    }
}

/// How clients connect, and what is believed of what they say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientSettings {
    /// Who the client is, where proxies stand before the gateway.
    #[serde(rename = "clientIPDetection")]
    pub client_ip_detection: Option<ClientDetection>,
    /// How many connections, and how much of them is kept.
    pub connection: Option<ClientConnection>,
    /// Whether connections begin with a header of the PROXY protocol. Out of use, and understood.
    pub enable_proxy_protocol: Option<bool>,
    /// Whether they do, if it is there.
    pub proxy_protocol: Option<ClientProxyProtocol>,
    /// What happens to headers.
    pub headers: Option<ClientHeaders>,
    /// Where load balancers ask for the gateway's health.
    pub health_check: Option<ClientHealthCheck>,
    /// HTTP/2.
    pub http2: Option<ClientHttp2>,
    /// What happens to paths.
    pub path: Option<ClientPath>,
    /// What upstreams are told of how clients connect: `Preserve` or `MatchBackend`.
    pub scheme: Option<String>,
    /// Deadlines.
    pub timeout: Option<ClientTimeout>,
    /// TLS.
    pub tls: Option<ClientTls>,
}

/// Who the client is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientDetection {
    /// By `x-forwarded-for`.
    pub x_forwarded_for: Option<ClientForwardedFor>,
    /// By a header of a proxy's own.
    pub custom_header: Option<ClientHeader>,
}

/// Who the client is, by `x-forwarded-for`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientForwardedFor {
    /// How many proxies there are.
    pub num_trusted_hops: Option<u32>,
    /// Where they are.
    #[serde(rename = "trustedCIDRs")]
    pub trusted_cidrs: Vec<String>,
}

/// A header that says who the client is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientHeader {
    /// Its name.
    pub name: String,
    /// Whether others are answered with 403.
    pub fail_closed: Option<bool>,
}

/// How many connections, and how much of them is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientConnection {
    /// How many.
    pub connection_limit: Option<ClientConnectionLimit>,
    /// How much of a connection is kept in memory, as Kubernetes writes numbers of bytes.
    pub buffer_limit: Option<Value>,
}

/// How many connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientConnectionLimit {
    /// At one time.
    pub value: Option<i64>,
    /// How long a stream of one may take.
    pub max_stream_duration: Option<String>,
}

/// How connections begin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientProxyProtocol {
    /// Whether the header may be left out.
    pub optional: Option<bool>,
}

/// What happens to headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientHeaders {
    /// `Allow`, `RejectRequest` or `DropHeader`.
    pub with_underscores_action: Option<String>,
    /// What happens to what proxies say of clients' certificates.
    pub x_forwarded_client_cert: Option<ClientForwardedCert>,
    /// `PreserveOrGenerate`, `Preserve`, `Generate` or `Disable`.
    #[serde(rename = "requestID")]
    pub request_id: Option<String>,
    /// Whether ids of clients are kept. Out of use, and understood.
    #[serde(rename = "preserveXRequestID")]
    pub preserve_x_request_id: Option<bool>,
    /// Changes to requests, before anything else.
    pub early_request_headers: Option<ClientHeaderModifier>,
    /// Changes to responses, after everything else.
    pub late_response_headers: Option<HeaderModifier>,
}

/// Changes to the headers of requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientHeaderModifier {
    /// Replaced.
    pub set: Vec<HttpHeader>,
    /// Added.
    pub add: Vec<HttpHeader>,
    /// Removed.
    pub remove: Vec<String>,
    /// Removed by their names.
    pub remove_on_match: Vec<StringMatch>,
}

/// What happens to what proxies say of clients' certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientForwardedCert {
    /// `Sanitize` if left out.
    pub mode: Option<String>,
}

/// Where load balancers ask for the gateway's health.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientHealthCheck {
    /// The path.
    pub path: String,
}

/// HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientHttp2 {
    /// Of one connection.
    pub max_concurrent_streams: Option<u32>,
}

/// What happens to paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientPath {
    /// `KeepUnchanged`, `RejectRequest`, `UnescapeAndForward` or `UnescapeAndRedirect`.
    pub escaped_slashes_action: Option<String>,
    /// Whether `//` stays.
    pub disable_merge_slashes: Option<bool>,
}

/// Deadlines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTimeout {
    /// Of HTTP.
    pub http: Option<ClientHttpTimeout>,
}

/// Deadlines of HTTP. `0s` is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientHttpTimeout {
    /// Until a request is here.
    pub request_received_timeout: Option<String>,
    /// Until its head is.
    pub request_headers_received_timeout: Option<String>,
    /// Of a connection without requests.
    pub idle_timeout: Option<String>,
    /// Between two pieces of a response.
    pub stream_idle_timeout: Option<String>,
}

/// TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTls {
    /// `Auto`, `1.0`, `1.1`, `1.2` or `1.3`.
    pub min_version: Option<String>,
    /// The same.
    pub max_version: Option<String>,
    /// Cipher suites of TLS 1.2, as OpenSSL calls them, some of them equal (`[a|b]`).
    pub ciphers: Vec<String>,
    /// What is offered by ALPN.
    pub alpn_protocols: Option<Vec<String>>,
    /// What clients have to show.
    pub client_validation: Option<ClientValidation>,
}

/// What clients have to show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientValidation {
    /// Whether they may show nothing. Out of use, and understood.
    pub optional: Option<bool>,
    /// `Request`, `RequireAny`, `VerifyIfGiven` or `RequireAndVerify`.
    pub mode: Option<String>,
    /// Secrets or ConfigMaps with `ca.crt`.
    pub ca_certificate_refs: Vec<SecretRef>,
    /// The SHA-256 of certificates in hexadecimal digits, of which clients show one, or of a key in `spki_hashes`.
    pub certificate_hashes: Vec<String>,
    /// The SHA-256 of keys in Base64.
    pub spki_hashes: Vec<String>,
    /// Names of which a certificate is for one.
    pub subject_alt_names: Option<ClientNames>,
    /// Lists of revoked certificates.
    pub crl: Option<ClientRevocations>,
}

/// Names of which a client's certificate is for one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientNames {
    /// DNS names.
    pub dns_names: Vec<StringMatch>,
    /// Addresses of mail.
    pub email_addresses: Vec<StringMatch>,
    /// IP addresses.
    pub ip_addresses: Vec<StringMatch>,
    /// URIs.
    pub uris: Vec<StringMatch>,
}

/// What is asked of a text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// `Exact` (if left out), `Prefix`, `Suffix` or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What it is compared with.
    pub value: String,
}

/// Lists of revoked certificates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientRevocations {
    /// Secrets or ConfigMaps with `ca.crl`.
    pub refs: Vec<SecretRef>,
    /// Whether only clients' own certificates are looked for.
    pub only_verify_leaf_certificate_crl: Option<bool>,
}
