//! State that the endpoints of one pool share.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use arc_swap::ArcSwap;
use penstock_config::EjectionSpec;

use super::{
    breaker::{EjectionPolicy, Quota},
    scrape_counters::ScrapeCounters,
};
use crate::{clock::Clock, queue::WaitQueue};

/// State that the endpoints of one pool share.
#[derive(Debug)]
pub(crate) struct Shared {
    clock: Clock,
    pub(crate) quota: Quota,
    pub(crate) ejection: ArcSwap<EjectionPolicy>,
    pub(crate) queue: WaitQueue,
    /// Age at which a sample says nothing any more, in nanoseconds.
    expiry_ns: AtomicU64,
    pub(crate) scrapes: ScrapeCounters,
}

impl Shared {
    /// Without endpoints and with the default way to eject them.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            quota: Quota::default(),
            ejection: ArcSwap::from_pointee(EjectionPolicy::of(&EjectionSpec::default())),
            queue: WaitQueue::default(),
            expiry_ns: AtomicU64::new(0),
            scrapes: ScrapeCounters::default(),
        }
    }

    /// Now, on the pool's clock, in nanoseconds.
    pub(crate) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Age at which a sample says nothing any more, in nanoseconds.
    pub(crate) fn expiry_ns(&self) -> u64 {
        self.expiry_ns.load(Relaxed)
    }

    /// Changes the age at which a sample says nothing any more.
    pub(crate) fn set_expiry(&self, expiry: Duration) {
        self.expiry_ns.store(u64::try_from(expiry.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}
