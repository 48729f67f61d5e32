//! Why a scrape brought no numbers.

use std::{io, time::Duration};

use http::{HeaderValue, StatusCode};

use super::{pace::Found, tls::TlsError};

/// Why a scrape brought no numbers. The endpoint's last ones stay, and grow old.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The metrics port could not be reached.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// TLS towards the metrics port did not come about.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The connection broke, or what came over it was not HTTP/1.1.
    #[error("HTTP: {}", with_source(.0))]
    Http(#[source] hyper::Error),
    /// The page was not there before the deadline.
    #[error("no page within {0:?}")]
    Timeout(Duration),
    /// Some other status than 200. Redirects are not followed: they would lead to a page of who knows whom.
    #[error("status {0}")]
    Status(StatusCode),
    /// The page is compressed, which was not asked for.
    #[error("content encoding {0:?}, though none was asked for")]
    Encoding(HeaderValue),
    /// The page is longer than configured.
    #[error("the page has more than {0} bytes")]
    TooLarge(usize),
    /// The page holds none of the engine's series.
    #[error("a page of {0} bytes without any series of the engine")]
    NoSeries(usize),
}

/// What a [`ScrapeError`] is counted under.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorKind {
    /// [`ScrapeError::Connect`]
    Connect,
    /// [`ScrapeError::Tls`]
    Tls,
    /// [`ScrapeError::Http`]
    Http,
    /// [`ScrapeError::Timeout`]
    Timeout,
    /// [`ScrapeError::Status`]
    Status,
    /// [`ScrapeError::Encoding`]
    Encoding,
    /// [`ScrapeError::TooLarge`]
    TooLarge,
    /// [`ScrapeError::NoSeries`]
    NoSeries,
}

impl ScrapeError {
    /// What this error is counted under.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect(_) => ErrorKind::Connect,
            Self::Tls(_) => ErrorKind::Tls,
            Self::Http(_) => ErrorKind::Http,
            Self::Timeout(_) => ErrorKind::Timeout,
            Self::Status(_) => ErrorKind::Status,
            Self::Encoding(_) => ErrorKind::Encoding,
            Self::TooLarge(_) => ErrorKind::TooLarge,
            Self::NoSeries(_) => ErrorKind::NoSeries,
        }
    }

    /// Whether the endpoint works but has no metrics, or is merely out of reach at present.
    pub(super) fn found(&self) -> Found {
        match self {
            Self::NoSeries(_) => Found::NoMetrics,
            Self::Status(status) if !status.is_server_error() => Found::NoMetrics,
            _ => Found::Nothing,
        }
    }
}

impl ErrorKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Tls,
        Self::Http,
        Self::Timeout,
        Self::Status,
        Self::Encoding,
        Self::TooLarge,
        Self::NoSeries,
    ];

    /// Value of the metric label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Encoding => "encoding",
            Self::TooLarge => "too_large",
            Self::NoSeries => "no_series",
        }
    }
}

/// hyper says what broke and leaves how to its source.
fn with_source(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
