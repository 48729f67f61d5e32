//! One pool: endpoints, the profile that ranks them, and the queue in front of them.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    endpoint::{Endpoint, InFlight},
    request::{PickError, PickRequest},
};

/// One pool of model servers.
#[derive(Debug)]
pub struct Pool {}

/// The outcome of a pick.
#[derive(Debug)]
pub struct Picked {
    /// Where to send the request.
    pub endpoint: Arc<Endpoint>,
    /// Accounts for the request until it is finished or dropped.
    pub in_flight: InFlight,
    /// How many of the prompt's 256-byte blocks the endpoint is believed to hold.
    pub matched_blocks: usize,
    /// Value for the response header `x-session-token`, where the pool's profile keeps sessions together.
    pub session_token: Option<http::HeaderValue>,
}

/// Why a request would go where it goes.
#[derive(Debug, Serialize)]
pub struct Explanation {}

/// The state of a pool.
#[derive(Debug, Serialize)]
pub struct PoolReport {}

impl Pool {
    /// Picks an endpoint, without waiting.
    pub fn pick(&self, _request: &PickRequest<'_>) -> Result<Picked, PickError> {
        Err(PickError::NoEndpoints)
    }

    /// Picks an endpoint; waits in the pool's queue, where it has one, while every endpoint is full.
    /// Dropping the future gives the place in the queue up.
    pub async fn admit(&self, request: &PickRequest<'_>) -> Result<Picked, PickError> {
        self.pick(request)
    }

    /// Says how a pick would come out, and why. Changes nothing.
    pub fn explain(&self, _request: &PickRequest<'_>) -> Explanation {
        Explanation {}
    }

    /// The state of the pool and its endpoints.
    pub fn report(&self) -> PoolReport {
        PoolReport {}
    }
}
