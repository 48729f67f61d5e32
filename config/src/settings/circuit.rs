//! How much may be under way at a backend at one time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much may be under way at a backend at one time (a circuit breaker, as Envoy calls it). What is beyond goes to the
/// rule's next target at once; without another, the answer is 503 with code `circuit_open`. What is left out has no bound.
/// Each process counts for itself, and anew when this changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    /// The most requests, from the choice of the endpoint to the end of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub max_parallel_requests: Option<u32>,
    /// The most of these that follow an attempt which failed, at this backend or at another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub max_parallel_retries: Option<u32>,
    /// The most requests that wait for a connection: for one that is made, or for a place among `maxConnections`. A kept
    /// connection that is free takes a request without waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub max_pending_requests: Option<u32>,
    /// The most connections in use. A further request waits for one. Over HTTP/2 (`h2` and `h2c`) one takes as many
    /// requests as `connection.http2Streams` says; with `auto` each request counts as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub max_connections: Option<u32>,
    /// The most connections in use at one endpoint. One that has as many gets no further request, and another endpoint is
    /// chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10_000_000))]
    pub max_connections_per_endpoint: Option<u32>,
}
