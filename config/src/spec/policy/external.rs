//! Asking a server whether a request may be served.

use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, StatusCode};

use crate::spec::BackendIndex;

/// A server that decides whether a request is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// How it is asked.
    pub protocol: ExternalProtocol,
    /// Where it is.
    pub backend: BackendIndex,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// Whether requests pass when it does not answer.
    pub is_open_on_error: bool,
    /// What clients get when it does not answer.
    pub status_on_error: StatusCode,
    /// Headers that it is shown beside those that it always is; `None`: all by gRPC, none by HTTP.
    pub headers: Option<Box<[HeaderName]>>,
    /// The longest body that it is shown, in bytes; `None` shows it none.
    pub max_body_bytes: Option<usize>,
    /// What else it is told by gRPC.
    pub context_extensions: Box<[(Box<str>, Box<str>)]>,
    /// How many requests it is asked about at a time.
    pub concurrency: usize,
}

/// How a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalProtocol {
    /// By gRPC.
    Grpc,
    /// By HTTP.
    Http {
        /// Where.
        path: ExternalPath,
        /// Headers of its answer that go to upstreams.
        headers_to_upstream: Box<[HeaderName]>,
    },
}

/// The path that a server is asked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalPath {
    /// The request's, behind this, which may be empty and does not end in a slash.
    Behind(Box<str>),
    /// Always this one.
    Fixed(PathAndQuery),
}

impl External {
    /// The headers that only it sets.
    pub fn headers_to_upstream(&self) -> &[HeaderName] {
        match &self.protocol {
            ExternalProtocol::Grpc => &[],
            ExternalProtocol::Http { headers_to_upstream, .. } => headers_to_upstream,
        }
    }
}
