//! Counts what is there at one time, such as requests being served, up to a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are, over all listeners.
#[derive(Debug, Default)]
pub(crate) struct Count {
    count: AtomicUsize,
}

/// One of them; it is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted(Arc<Count>);

impl Count {
    /// Takes one more in, unless there are `limit` already.
    pub(crate) fn admit(self: &Arc<Self>, limit: usize) -> Option<Admitted> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(self.clone());
        (before < limit).then_some(admitted)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
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
    fn what_is_refused_leaves_no_trace() {
        let count = Arc::new(Count::default());
        let first = count.admit(1);
        assert!(first.is_some());
        assert!(count.admit(1).is_none());
        assert_eq!(count.count(), 1);
        drop(first);
        assert_eq!(count.count(), 0);
    }
}
