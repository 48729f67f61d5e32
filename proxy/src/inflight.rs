//! Counts the requests that are being served: for the limit on them, and so that a drain knows when it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The requests in flight, over all listeners.
#[derive(Debug, Default)]
pub struct InFlight {
    count: AtomicUsize,
}

/// One of them; it is over when this is dropped.
#[derive(Debug)]
pub struct Admitted(Arc<InFlight>);

impl InFlight {
    /// Takes a request in, unless `limit` are being served already.
    pub fn admit(self: &Arc<Self>, limit: usize) -> Option<Admitted> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(self.clone());
        (before < limit).then_some(admitted)
    }

    /// How many are being served.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_leaves_no_trace() {
        let in_flight = Arc::new(InFlight::default());
        let first = in_flight.admit(1);
        assert!(first.is_some());
        assert!(in_flight.admit(1).is_none());
        assert_eq!(in_flight.count(), 1);
        drop(first);
        assert_eq!(in_flight.count(), 0);
    }
}
