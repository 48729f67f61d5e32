//! The clock of a pool: tokio's, or one that a simulation turns by hand.
//!
//! All moments that a pick compares (when a sample was asked for, when a request was sent, until when an endpoint is
//! left out) are nanoseconds on this one clock. Stopping tokio's clock instead was turned down for simulations: it is a
//! feature for tests that slows every reading of the time in the whole process, and it moves through the runtime once
//! a step, of which a simulation makes millions. One branch that always goes the same way costs a pick nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::time::Instant;

/// Nanoseconds since a moment in the past that is not told. Never 0, which stands for "never" in what is kept.
#[derive(Debug, Clone)]
pub(crate) enum Clock {
    /// Counts from here.
    Tokio(Instant),
    /// Says what it was told.
    Manual(ManualClock),
}

/// A clock that stands still until it is set; clones of it show the same time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl Clock {
    /// The clock that runs by itself, just started.
    pub(crate) fn running() -> Self {
        Self::Tokio(Instant::now())
    }

    /// Now.
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Self::Tokio(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX - 1) + 1,
            Self::Manual(clock) => clock.0.load(Relaxed).saturating_add(1),
        }
    }
}

impl ManualClock {
    /// Makes it `nanoseconds` since the simulation began.
    pub fn set_ns(&self, nanoseconds: u64) {
        self.0.store(nanoseconds, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Clock, ManualClock};

    #[tokio::test(start_paused = true)]
    async fn it_runs_with_tokio_and_never_says_never() {
        let clock = Clock::running();
        assert_eq!(clock.now_ns(), 1);
        tokio::time::advance(Duration::from_micros(3)).await;
        assert_eq!(clock.now_ns(), 3001);
    }

    #[test]
    fn a_manual_one_stands_still_until_it_is_set() {
        let hand = ManualClock::default();
        let clock = Clock::Manual(hand.clone());
        assert_eq!(clock.now_ns(), 1);
        hand.set_ns(41);
        assert_eq!(clock.now_ns(), 42);
    }
}
