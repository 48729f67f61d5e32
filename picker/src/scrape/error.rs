//! Why a scrape brought no numbers.

use std::{io, time::Duration};

use http::{HeaderValue, StatusCode};

use super::{pace::ScrapeOutcome, tls::TlsError};
use crate::endpoint::ErrorKind;

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
    pub(super) fn outcome(&self) -> ScrapeOutcome {
        match self {
            Self::NoSeries(_) => ScrapeOutcome::NoMetrics,
            Self::Status(status) if !status.is_server_error() => ScrapeOutcome::NoMetrics,
            _ => ScrapeOutcome::NoAnswer,
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
