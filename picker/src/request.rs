//! What the proxy asks of a pool, and how that can fail.

use std::time::Duration;

use crate::endpoint_id::EndpointId;

/// One request for an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct PickRequest<'a> {
    /// Model that the endpoint will be asked for, after any rename by the route.
    pub model: &'a str,
    /// Chained hashes of the prompt's blocks of 256 bytes, head first; the model is not mixed in.
    pub blocks: &'a [u64],
    /// Length of the prompt in bytes.
    pub prompt_bytes: u64,
    /// Most tokens that the answer may have, where the request says so.
    pub max_tokens: Option<u64>,
    /// Higher is more important; below zero may be shed. An objective of the pool named in `headers` overrides it.
    pub priority: i32,
    /// Who asks, by name; empty for nobody in particular. Those of one priority who wait for a place take turns.
    pub consumer: &'a str,
    /// The request's headers: session token and objective are read from them.
    pub headers: &'a http::HeaderMap,
    /// Endpoints that already failed this request.
    pub exclude: &'a [EndpointId],
}

/// Why no endpoint was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// The pool has no endpoints at all.
    #[error("the pool has no endpoints")]
    NoEndpoints,
    /// Every endpoint was excluded by the request, having failed it before.
    #[error("every endpoint of the pool has already failed this request")]
    AllExcluded,
    /// Every endpoint is full, or the profile's filters left none.
    #[error("every endpoint of the pool is full")]
    Saturated {
        /// When to try again.
        retry_after: Duration,
    },
    /// The pool is saturated and the request's priority is below zero.
    #[error("the pool is saturated and requests of priority {priority} are shed")]
    Shed {
        /// The request's priority.
        priority: i32,
        /// When to try again.
        retry_after: Duration,
    },
    /// Every endpoint is full and so is the waiting queue.
    #[error("every endpoint of the pool is full, and so is its waiting queue")]
    QueueFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// The request waited for as long as it may.
    #[error("no endpoint of the pool became free in time")]
    QueueTimeout {
        /// When to try again.
        retry_after: Duration,
    },
}
