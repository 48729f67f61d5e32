//! How a model server is asked: through whoever sends the gateway's requests, so that what is found out holds for them
//! too. A client of this crate's own was turned down, since it would trust other authorities and speak other protocols.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode};
use thiserror::Error;

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
    /// Where it is sent.
    pub address: SocketAddr,
    /// How the server is connected to.
    pub transport: ProbeTransport,
    /// The name that the server's certificate has.
    pub host: &'a str,
    /// What `Host` says.
    pub authority: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// Headers that show who asks, and what else the server needs to be told.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// The most bytes of the answer's body that are read.
    pub limit_bytes: usize,
    /// How long it may take, from connecting to the last byte.
    pub timeout: Duration,
}

/// How a server is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeTransport {
    /// Without TLS.
    Plain,
    /// With TLS, as requests are: the certificate is verified.
    Tls,
    /// With TLS and any certificate, to find out what is wrong. Nothing secret is sent this way.
    UnverifiedTls,
}

/// What a model server answered.
#[derive(Debug, Clone)]
pub struct ProbeAnswer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why a model server gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// Nothing listens at the address.
    #[error("connection refused")]
    Refused,
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
