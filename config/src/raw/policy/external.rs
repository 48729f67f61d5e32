//! Asking a server whether a request may be served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::{Size, Span};

/// A server decides whether a request is served: Envoy's protocol for external authorization (`ext_authz`, v3), by gRPC or
/// HTTP. Exactly one of `grpc` and `http`. It is asked before the policy's authentication and authorization, which see what
/// it changes of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawExternal {
    /// By gRPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<RawExternalGrpc>,
    /// By HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<RawExternalHttp>,
    /// How long it may take to answer.
    #[serde(default = "timeout", skip_serializing_if = "is_timeout")]
    #[schemars(extend("default" = "10s", "x-minimum" = "1ms", "x-maximum" = "5m"))]
    pub timeout: Span,
    /// Requests pass when it does not answer, or with an error. Left out, they are answered with `statusOnError`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_open: bool,
    /// The status that clients get when it does not answer, or with an error.
    #[serde(default = "status_on_error", skip_serializing_if = "is_status_on_error")]
    #[schemars(range(min = 400, max = 599), extend("default" = STATUS_ON_ERROR))]
    pub status_on_error: u16,
    /// Headers of requests that it is shown. Left out: all of them with `grpc`; with `http` what it is always shown, which
    /// is method, path, `host`, `content-length` and `authorization`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub headers_to_auth: Vec<String>,
    /// It is shown the bodies of requests. Left out, it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<RawExternalBody>,
    /// With `grpc`: what else it is told, always the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub context_extensions: Vec<RawContextExtension>,
    /// How many requests it is asked about at a time; others wait within `timeout`.
    #[serde(default = "concurrency", skip_serializing_if = "is_concurrency")]
    #[schemars(range(min = 1, max = 100_000), extend("default" = CONCURRENCY))]
    pub concurrency: u32,
}

/// A server that is asked by gRPC (`envoy.service.auth.v3.Authorization/Check`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawExternalGrpc {
    /// The backend that is asked. It speaks HTTP/2: its `protocol` is `h2c`, or `h2` with `tls`.
    #[schemars(length(min = 1, max = 253))]
    pub backend: String,
}

/// A server that is asked by HTTP, with the request's method. It allows by 200; another status is the client's answer, but
/// for 5xx, which is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawExternalHttp {
    /// The backend that is asked.
    #[schemars(length(min = 1, max = 253))]
    pub backend: String,
    /// What stands before the request's path, which follows with its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path: Option<String>,
    /// The path in place of `path` and the request's, which is not told then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub path_override: Option<String>,
    /// Headers of its answer that go to upstreams when it allows. Clients cannot send them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub headers_to_upstream: Vec<String>,
}

/// Bodies that an authorization server is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawExternalBody {
    /// Longer ones are answered with 413, with `failOpen` too.
    #[schemars(extend("x-minimum" = "1", "x-maximum" = "64MiB"))]
    pub max_bytes: Size,
}

/// What an authorization server is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawContextExtension {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What it is told.
    #[schemars(length(max = 4096))]
    pub value: String,
}

impl RawExternal {
    /// How long a server may take to answer if the document does not say it.
    pub const TIMEOUT: Span = Span::secs(10);
}

/// Neither by gRPC nor by HTTP, with every default.
impl Default for RawExternal {
    fn default() -> Self {
        Self {
            grpc: None,
            http: None,
            timeout: Self::TIMEOUT,
            fail_open: false,
            status_on_error: STATUS_ON_ERROR,
            headers_to_auth: Vec::new(),
            body: None,
            context_extensions: Vec::new(),
            concurrency: CONCURRENCY,
        }
    }
}

/// Envoy's.
const STATUS_ON_ERROR: u16 = 403;

/// Envoy's bound on the requests of a cluster.
const CONCURRENCY: u32 = 1024;

fn timeout() -> Span {
    RawExternal::TIMEOUT
}

fn is_timeout(timeout: &Span) -> bool {
    *timeout == RawExternal::TIMEOUT
}

fn status_on_error() -> u16 {
    STATUS_ON_ERROR
}

fn is_status_on_error(status: &u16) -> bool {
    *status == STATUS_ON_ERROR
}

fn concurrency() -> u32 {
    CONCURRENCY
}

fn is_concurrency(concurrency: &u32) -> bool {
    *concurrency == CONCURRENCY
}
