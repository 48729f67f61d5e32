//! Envoy Gateway: what a BackendTrafficPolicy says of attempts and deadlines.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;
use serde_json::Value;

use super::{Body, PolicyTargets, TrafficHash, TrafficHealthCheck, TrafficOverride};

/// `BackendTrafficPolicy`: how backends are asked, and how often clients may.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct BackendTrafficPolicy {
    /// What it is for.
    #[serde(flatten)]
    pub targets: PolicyTargets,
    /// What of it is acted on.
    #[serde(flatten)]
    pub settings: TrafficSettings,
}

impl Body for BackendTrafficPolicy {}

impl Deref for BackendTrafficPolicy {
    type Target = PolicyTargets;

    fn deref(&self) -> &PolicyTargets {
        &self.targets
    }
}

/// How a rule's requests are tried, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficSettings {
    /// When a failed attempt is followed by another.
    pub retry: Option<TrafficRetry>,
    /// Deadlines.
    pub timeout: Option<TrafficTimeout>,
    /// How often clients may ask: a [`RateLimit`](super::RateLimit).
    pub rate_limit: Option<Value>,
    /// How large bodies may be.
    pub request_buffer: Option<TrafficBuffer>,
    /// What is answered in place of something else. The first that fits counts.
    pub response_override: Option<Vec<TrafficOverride>>,
    /// How endpoints are chosen.
    pub load_balancer: Option<TrafficBalancer>,
    /// How much may be under way at one time.
    pub circuit_breaker: Option<TrafficCircuitBreaker>,
    /// How endpoints that are well are told from others.
    pub health_check: Option<TrafficHealthCheck>,
    /// How backends are spoken to in HTTP/2.
    pub http2: Option<TrafficHttp2>,
}

/// HTTP/2 to backends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficHttp2 {
    /// The most requests that share one connection.
    pub max_concurrent_streams: Option<i64>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// How much may be under way at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficCircuitBreaker {
    /// Connections.
    pub max_connections: Option<i64>,
    /// Requests that wait for a connection.
    pub max_pending_requests: Option<i64>,
    /// Requests.
    pub max_parallel_requests: Option<i64>,
    /// Requests that follow a failed attempt.
    pub max_parallel_retries: Option<i64>,
    /// At each endpoint.
    pub per_endpoint: Option<TrafficPerEndpoint>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// How much may be under way at each endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPerEndpoint {
    /// Connections.
    pub max_connections: Option<i64>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// How large bodies may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficBuffer {
    /// The most bytes, as Kubernetes writes numbers of bytes.
    pub limit: Value,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// How endpoints are chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficBalancer {
    /// `RoundRobin` is what backends do by default.
    #[serde(rename = "type")]
    pub kind: String,
    /// With `ConsistentHash`.
    pub consistent_hash: Option<TrafficHash>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// When a failed attempt is followed by another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficRetry {
    /// Attempts after the first; 2 if left out.
    pub num_retries: Option<i64>,
    /// The most attempts at backends of one priority; 0 is no bound.
    pub num_attempts_per_priority: Option<i64>,
    /// What counts as a failed attempt.
    pub retry_on: Option<TrafficRetryOn>,
    /// Of each attempt.
    pub per_retry: Option<TrafficPerRetry>,
}

/// What counts as a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficRetryOn {
    /// By kind, as Envoy calls them.
    pub triggers: Vec<String>,
    /// By status, for `retriable-status-codes`.
    pub http_status_codes: Vec<u16>,
}

/// What holds for each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPerRetry {
    /// How long it may take to begin its answer.
    pub timeout: Option<String>,
    /// How long is waited before it.
    pub back_off: Option<TrafficBackOff>,
}

/// How long is waited before an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficBackOff {
    /// Before the second; doubled with each.
    pub base_interval: Option<String>,
    /// The longest; ten times the first if left out.
    pub max_interval: Option<String>,
}

/// Deadlines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficTimeout {
    /// Of HTTP.
    pub http: Option<TrafficHttpTimeout>,
    /// Of TCP.
    pub tcp: Option<TrafficTcpTimeout>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Deadlines of TCP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficTcpTimeout {
    /// Until a connection is there.
    pub connect_timeout: Option<String>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Deadlines of HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficHttpTimeout {
    /// Until the whole response is here.
    pub request_timeout: Option<String>,
    /// Between two pieces of a response.
    pub stream_idle_timeout: Option<String>,
    /// How long a connection that is not in use is kept.
    pub connection_idle_timeout: Option<String>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}
