//! The run, second by second.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use super::shared::Shared;
use crate::report::schema::Second;

/// Grows by one each second.
pub(super) struct Series {
    pub(super) seconds: Vec<Second>,
    next: Instant,
    last: (u64, u64, u64),
}

impl Series {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { seconds: Vec::new(), next: shared.began + Duration::from_secs(1), last: (0, 0, 0) }
    }

    /// Closes the seconds that have passed.
    pub(super) fn catch_up(&mut self, shared: &Shared) {
        while Instant::now() >= self.next {
            self.push(shared);
            self.next += Duration::from_secs(1);
        }
    }

    /// Closes the one that has begun, if anything happened in it.
    pub(super) fn finish(&mut self, shared: &Shared) {
        self.catch_up(shared);
        self.push(shared);
        if self.seconds.last().is_some_and(|second| second.completed + second.failed + second.tokens == 0) {
            self.seconds.pop();
        }
    }

    fn push(&mut self, shared: &Shared) {
        let counters = &shared.counters;
        let now =
            (counters.completed.load(Relaxed), counters.failed.load(Relaxed), counters.tokens.load(Relaxed));
        self.seconds.push(Second {
            at_s: (self.next - shared.began).as_secs_f64(),
            completed: now.0 - self.last.0,
            failed: now.1 - self.last.1,
            tokens: now.2 - self.last.2,
            in_flight: counters.in_flight.load(Relaxed),
            mean_ms: 0.0,
            max_ms: 0.0,
        });
        self.last = now;
    }
}
