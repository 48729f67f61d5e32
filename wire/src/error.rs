//! How an exchange with an upstream fails.

/// What lies beneath an [`Error`]: it comes from a socket, from TLS, from HTTP/2 or from a parser.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection to an upstream, or no whole response from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The upstream could not be connected to. Nothing was sent.
    #[error("the upstream cannot be connected to")]
    Connect(#[source] Cause),
    /// Connecting took longer than [`connect_timeout`](crate::ConnectionOptions::connect_timeout). Nothing was sent.
    #[error("the upstream was not connected to in time")]
    ConnectTimeout,
    /// The TLS handshake failed. Nothing was sent.
    #[error("the TLS handshake with the upstream failed")]
    Tls(#[source] Cause),
    /// The request's `Host` is missing or no authority, which HTTP/2 cannot do without. Nothing was sent.
    #[error("the request has no Host that could be sent in HTTP/2")]
    NoAuthority,
    /// The request's target and authority make no URI. Nothing was sent.
    #[error("the request's head cannot be written in HTTP/2")]
    InvalidRequest(#[source] http::Error),
    /// Something that Pingora's types allow for and its code does not do.
    #[error("the connection is in a state that it cannot have: {0}")]
    Internal(&'static str),
    /// The connection was closed or reset before the head of a response had come.
    #[error("the upstream closed the connection before it answered")]
    Reset(#[source] Cause),
    /// What came is not HTTP, or could be read in two ways.
    #[error("the upstream's response is invalid")]
    InvalidResponse(#[source] Cause),
    /// The response broke off, or broke its framing, after its head.
    #[error("the upstream's response broke off")]
    BrokenStream(#[source] Cause),
}
