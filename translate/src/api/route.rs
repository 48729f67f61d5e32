//! Gateway API: HTTPRoute.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Body, ExternalAuthBackendRef, LocalRef, ObjectRef, ParentRef};

/// `HTTPRoute`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// What it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// The hosts it is for; all if empty.
    pub hostnames: Vec<String>,
    /// Its rules.
    pub rules: Vec<HttpRule>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRule {
    /// Its name.
    pub name: Option<String>,
    /// A request must meet one of these; every request does if empty.
    pub matches: Vec<HttpMatch>,
    /// What is done with requests and responses.
    pub filters: Vec<HttpFilter>,
    /// Where requests go.
    pub backend_refs: Vec<HttpBackendRef>,
    /// Deadlines.
    pub timeouts: Option<HttpTimeouts>,
    /// Retries.
    pub retry: Option<HttpRetry>,
}

/// Conditions on a request, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// On its path.
    pub path: Option<HttpPathMatch>,
    /// On its headers.
    pub headers: Vec<HttpValueMatch>,
    /// On its query parameters.
    pub query_params: Vec<HttpValueMatch>,
    /// On its method.
    pub method: Option<String>,
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPathMatch {
    /// `PathPrefix` if left out, `Exact` or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `/` if left out.
    pub value: Option<String>,
}

/// A condition on a header or a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpValueMatch {
    /// `Exact` if left out, or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// The value or pattern.
    pub value: String,
}

/// Something that is done with requests or responses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFilter {
    /// Which of the following it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// Changes to the request's headers.
    pub request_header_modifier: Option<HeaderModifier>,
    /// Changes to the response's headers.
    pub response_header_modifier: Option<HeaderModifier>,
    /// A copy of requests.
    pub request_mirror: Option<RequestMirror>,
    /// A redirect.
    pub request_redirect: Option<HttpRedirect>,
    /// Changes to host and path.
    pub url_rewrite: Option<HttpUrlRewrite>,
    /// Which web pages may ask.
    pub cors: Option<CorsFilter>,
    /// A server that is asked whether requests may be served.
    pub external_auth: Option<ExternalAuthFilter>,
    /// A filter that is an object of its own.
    pub extension_ref: Option<LocalRef>,
}

/// Which web pages may ask, and see answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsFilter {
    /// Their origins.
    pub allow_origins: Vec<String>,
    /// Whether requests may have what browsers hold for the gateway.
    pub allow_credentials: Option<bool>,
    /// Methods that they may use.
    pub allow_methods: Vec<String>,
    /// Headers that they may send.
    pub allow_headers: Vec<String>,
    /// Headers of answers that they may read.
    pub expose_headers: Vec<String>,
    /// For how many seconds browsers may keep this in mind; 5 if left out.
    pub max_age: Option<u32>,
}

/// A server that is asked whether requests may be served (GEP-1494).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalAuthFilter {
    /// `GRPC` or `HTTP`.
    pub protocol: String,
    /// Where it is.
    pub backend_ref: ExternalAuthBackendRef,
    /// With `GRPC`.
    pub grpc: Option<ExternalAuthGrpc>,
    /// With `HTTP`.
    pub http: Option<ExternalAuthHttp>,
    /// Bodies that it is shown.
    pub forward_body: Option<ExternalAuthBody>,
}

/// What a server sees by gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalAuthGrpc {
    /// Headers that it is shown; all if left out.
    pub allowed_headers: Vec<String>,
}

/// What a server sees by HTTP, and may say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalAuthHttp {
    /// What stands before the request's path.
    pub path: Option<String>,
    /// Headers that it is shown.
    pub allowed_headers: Vec<String>,
    /// Headers of its answer that upstreams get.
    pub allowed_response_headers: Vec<String>,
}

/// Bodies that a server is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalAuthBody {
    /// Longer ones are answered with 413; 0 shows none.
    pub max_size: Option<u64>,
}

/// Changes to headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderModifier {
    /// Replaced.
    pub set: Vec<HttpHeader>,
    /// Added.
    pub add: Vec<HttpHeader>,
    /// Removed.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A copy of requests that is sent elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestMirror {
    /// Where to.
    pub backend_ref: MirrorRef,
    /// Of how many in a hundred; all if neither this nor `fraction` is there.
    pub percent: Option<u32>,
    /// Of which share.
    pub fraction: Option<Fraction>,
}

/// Where a copy of requests goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MirrorRef {
    /// Empty (the core group) if left out.
    pub group: Option<String>,
    /// `Service` if left out.
    pub kind: Option<String>,
    /// The route's if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// A port of a Service.
    pub port: Option<u16>,
}

/// A share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Fraction {
    /// So many.
    pub numerator: u32,
    /// Of so many; 100 if left out.
    pub denominator: Option<u32>,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<HttpPathModifier>,
    /// The port.
    pub port: Option<u16>,
    /// 302 if left out.
    pub status_code: Option<u16>,
}

/// Changes to host and path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpUrlRewrite {
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<HttpPathModifier>,
}

/// A change of path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPathModifier {
    /// `ReplaceFullPath` or `ReplacePrefixMatch`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The new path.
    pub replace_full_path: Option<String>,
    /// The new prefix.
    pub replace_prefix_match: Option<String>,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpBackendRef {
    /// Empty (the core group) if left out.
    pub group: Option<String>,
    /// `Service` if left out.
    pub kind: Option<String>,
    /// The route's if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// A port of a Service.
    pub port: Option<u16>,
    /// 1 if left out; 0 takes it out of use.
    pub weight: Option<u32>,
    /// What is done with requests that go there.
    pub filters: Vec<HttpFilter>,
}

/// Deadlines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpTimeouts {
    /// For the whole request.
    pub request: Option<String>,
    /// For one attempt.
    pub backend_request: Option<String>,
}

/// Retries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// Statuses that are followed by another attempt.
    pub codes: Vec<u16>,
    /// How many further attempts.
    pub attempts: Option<u32>,
    /// The least wait before one.
    pub backoff: Option<String>,
}

impl Body for HttpRoute {}

impl HttpBackendRef {
    /// The reference without port, weight and filters.
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}

impl MirrorRef {
    /// The reference without its port.
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }
}
