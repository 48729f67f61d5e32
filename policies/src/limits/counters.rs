//! The table of counters.

use std::sync::Arc;

use penstock_config::OnStoreFailure;

use super::ask::Now;
use super::lease::LeaseQueue;

/// All counters of the process.
#[derive(Debug)]
pub struct Counters {
    leases: LeaseQueue,
}

impl Counters {
    /// Room for `max` counters.
    pub fn new(_max: usize) -> Arc<Self> {
        Arc::new(Self { leases: LeaseQueue::default() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many requests were counted by a counter that several values share, since the table was full.
    pub fn overflowed(&self) -> u64 {
        0
    }

    /// How many expressions failed; what they were asked counted as all of its tokens.
    pub fn failed_expressions(&self) -> u64 {
        0
    }

    /// Forgets counters that say nothing any more, renews leases and gives back those that are idle. Looks at about so many;
    /// the next call goes on from there. To be called about each second.
    pub fn sweep(&self, _now: Now, _max_steps: usize) {}

    /// Gives back all that is leased and not in use: the process ends. What is settled after that is told with it.
    pub fn give_back_all(&self, _now: Now) {}

    /// What becomes of shared limits while their store cannot be reached.
    pub fn set_on_failure(&self, _on_failure: OnStoreFailure) {}

    /// What shared counters want of the store.
    pub fn leased(&self) -> &LeaseQueue {
        &self.leases
    }
}
