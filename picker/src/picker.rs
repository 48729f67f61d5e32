//! All pools of a gateway, and the state that survives a change of configuration.

use std::sync::Arc;

use crate::{endpoint::Endpoint, pool::Pool, spec::PoolSpec};

/// All pools, by name. Cheap to share; lives as long as the process.
#[derive(Debug, Default)]
pub struct Picker {}

/// What [`Picker::apply`] changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Endpoints that no pool has any more: connections to their addresses are to be closed.
    pub removed: Vec<Arc<Endpoint>>,
}

/// A set of pools that cannot be applied; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The pool's picker document is faulty. Cannot happen for a snapshot compiled with [`crate::EpcCheck`].
    #[error("pool {pool}: {fault}")]
    Profile {
        /// The pool's name.
        pool: Arc<str>,
        /// The first fault in its document.
        fault: String,
    },
}

impl Picker {
    /// A picker without pools.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes `pools` the pools there are. State of an endpoint whose pool and address stay is kept.
    ///
    /// Must be called within a tokio runtime: scraping of new endpoints starts at once.
    pub fn apply(self: &Arc<Self>, _pools: &[Arc<PoolSpec>]) -> Result<Applied, ApplyError> {
        Ok(Applied::default())
    }

    /// The pool of that name.
    pub fn pool(&self, _name: &str) -> Option<Arc<Pool>> {
        None
    }
}
