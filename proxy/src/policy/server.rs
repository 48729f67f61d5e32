//! A server that decides whether requests may be served. Here is what a policy has of it; asking it takes upstreams, which
//! policies know nothing of.

use std::sync::Arc;

use async_trait::async_trait;
use penstock_picker::Failures;
use tokio::sync::Semaphore;

use super::{Subject, Verdict};
use crate::error::Error;
use crate::metrics::CheckMetrics;

/// A server that decides, ready to be asked.
pub(crate) struct Server {
    /// Its policy's name.
    pub(crate) policy: Arc<str>,
    /// How it is asked.
    pub(crate) spec: penstock_config::External,
    /// One for each request that it may be asked about at a time.
    pub(crate) permits: Semaphore,
    /// What is counted.
    pub(crate) metrics: CheckMetrics,
    /// Why it could not be asked, of which the log tells.
    pub(crate) failures: Failures,
}

/// Whoever can ask servers.
#[async_trait]
pub(crate) trait Servers: Sync {
    /// Asks whether a request may be served, and changes it as the answer says.
    ///
    /// # Errors
    /// It may not, or nobody could say, or its body is too long to ask.
    async fn check(&self, server: &Server, request: &mut Subject<'_>) -> Result<Verdict, Error>;
}

impl Server {
    /// The server of the policy of this name.
    pub(crate) fn new(policy: Arc<str>, spec: penstock_config::External, metrics: CheckMetrics) -> Self {
        let permits = Semaphore::new(spec.concurrency.min(Semaphore::MAX_PERMITS));
        Self { policy, spec, permits, metrics, failures: Failures::default() }
    }

    /// Whether it is shown bodies.
    pub(crate) fn needs_body(&self) -> bool {
        self.spec.max_body_bytes.is_some()
    }
}
