//! Identity of an endpoint.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Source of [`EndpointId`]s.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Identifies an endpoint for the life of the process; never used again, even for the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(u64);

impl EndpointId {
    /// An identity that no endpoint had so far.
    pub(crate) fn unused() -> Self {
        Self(NEXT_ID.fetch_add(1, Relaxed))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(number: u64) -> Self {
        Self(number)
    }

    /// The number behind it, for instance to keep connections of different endpoints apart.
    pub fn get(self) -> u64 {
        self.0
    }
}
