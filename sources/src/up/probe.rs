//! How a model server is asked: through whoever sends the gateway's requests, so that what is found out holds for them
//! too. A client of this crate's own was turned down, since it would trust other authorities and speak other protocols.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use http::StatusCode;
use thiserror::Error;

use super::url::ServerUrl;

/// Sends requests to model servers.
pub trait Probe: Send + Sync {
    /// Sends `request` over a new connection.
    ///
    /// # Errors
    /// See [`ProbeError`]. An answer with a status of failure is an answer.
    fn get<'a>(&'a self, request: ProbeRequest<'a>) -> BoxFuture<'a, Result<ProbeAnswer, ProbeError>>;
}

/// A `GET` of one address of a model server.
#[derive(Debug, Clone, Copy)]
pub struct ProbeRequest<'a> {
    /// The server: whether TLS is spoken, and the name that its certificate and `Host` have.
    pub url: &'a ServerUrl,
    /// One of its addresses.
    pub address: SocketAddr,
    /// The path.
    pub path: &'a str,
    /// The most bytes of the answer's body that are read.
    pub limit_bytes: usize,
    /// How long it may take, from connecting to the last byte.
    pub timeout: Duration,
}

/// What a model server answered.
#[derive(Debug, Clone)]
pub struct ProbeAnswer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why a model server gave no answer: the end of a sentence that begins with its address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ProbeError(pub String);
