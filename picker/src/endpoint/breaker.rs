//! Passive ejection: an endpoint that keeps failing is left alone for a while, then probed with one request.
//!
//! Closed → (failures in a row) → ejected for base × 2ⁿ, capped, jittered → half-open, one probe → closed or ejected
//! again. Every pick reads one atomic; the lock is only taken when the state changes.
//!
//! Sending health checks was turned down: a model server's health endpoint answers while its engine hangs, and real
//! requests, which are retried elsewhere, find out sooner.

use std::{
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use parking_lot::Mutex;
use penstock_config::EjectionSpec;

use crate::random;

/// Longest jitter, as a share of the ejection time, so that endpoints ejected together are not probed together.
const JITTER: f64 = 0.2;

/// When endpoints of a pool are ejected and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EjectionPolicy {
    /// Failures in a row that eject an endpoint; 0 turns ejection off.
    pub(crate) consecutive_failures: u32,
    /// Time of a first ejection; doubles with each that follows.
    pub(crate) base_time: Duration,
    /// Longest time of an ejection.
    pub(crate) max_time: Duration,
    /// Most endpoints of a pool that may be ejected at once, in percent.
    pub(crate) max_ejected_percent: u32,
}

/// How many endpoints a pool has and how many of them are ejected.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    pub(crate) endpoints: AtomicUsize,
    pub(crate) ejected: AtomicUsize,
    /// Ejections since the pool was made.
    pub(crate) ejections: AtomicU64,
}

/// The ejection state of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
    /// End of the ejection on the pool's clock; 0 while closed.
    until_ns: AtomicU64,
    is_probing: AtomicBool,
    history: Mutex<History>,
}

/// Whether an endpoint may be sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// As many as it likes.
    Closed,
    /// One, to see whether it recovered. Whoever sends it must win [`Breaker::begin_probe`].
    HalfOpen,
    /// None.
    Ejected,
}

#[derive(Debug, Default)]
struct History {
    /// Ejections without a calm period between them.
    in_a_row: u32,
    closed_at_ns: u64,
    /// The endpoint is no longer in the pool, so what still fails there must not use up the pool's quota.
    has_left: bool,
}

impl EjectionPolicy {
    /// The policy of a pool's document.
    pub(crate) fn of(spec: &EjectionSpec) -> Self {
        Self {
            consecutive_failures: spec.consecutive_failures,
            base_time: spec.base_time,
            max_time: spec.max_time,
            max_ejected_percent: spec.max_ejected_percent,
        }
    }
}

impl Quota {
    /// Takes a place among the ejected, if the pool has one left.
    fn take(&self, max_percent: u32) -> bool {
        let endpoints = self.endpoints.load(Relaxed);
        let allowed = endpoints.saturating_mul(max_percent as usize) / 100;
        // An endpoint that is alone is never ejected: a slim chance beats none.
        let allowed = allowed.min(endpoints.saturating_sub(1));
        self.ejected
            .fetch_update(AcqRel, Relaxed, |ejected| (ejected < allowed).then_some(ejected + 1))
            .is_ok()
    }

    fn give_back(&self) {
        self.ejected.fetch_sub(1, AcqRel);
    }
}

impl Breaker {
    /// Whether the endpoint may be sent a request now.
    pub(crate) fn gate(&self, now_ns: u64) -> Gate {
        match self.until_ns.load(Acquire) {
            0 => Gate::Closed,
            until if now_ns >= until && !self.is_probing.load(Acquire) => Gate::HalfOpen,
            _ => Gate::Ejected,
        }
    }

    /// Claims the one probe of a half-open endpoint.
    pub(crate) fn begin_probe(&self) -> bool {
        self.is_probing.compare_exchange(false, true, AcqRel, Relaxed).is_ok()
    }

    /// Failures in a row so far.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.load(Relaxed)
    }

    /// Nanoseconds until the ejection ends; `None` while closed, 0 when half-open.
    pub(crate) fn remaining_ns(&self, now_ns: u64) -> Option<u64> {
        match self.until_ns.load(Acquire) {
            0 => None,
            until => Some(until.saturating_sub(now_ns)),
        }
    }

    /// A request succeeded; `is_probe` says whether it was the probe of a half-open endpoint.
    pub(crate) fn succeed(&self, is_probe: bool, now_ns: u64, quota: &Quota) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        if is_probe {
            let mut history = self.history.lock();
            history.closed_at_ns = now_ns;
            self.close(quota);
        }
    }

    /// A request failed.
    pub(crate) fn fail(&self, is_probe: bool, now_ns: u64, policy: &EjectionPolicy, quota: &Quota) {
        let failures = self.failures.fetch_add(1, AcqRel).saturating_add(1);
        if policy.consecutive_failures == 0 {
            if is_probe {
                self.close(quota);
            }
            return;
        }
        let mut history = self.history.lock();
        if history.has_left {
            return;
        }
        let is_closed = self.until_ns.load(Acquire) == 0;
        if is_probe {
            self.eject(&mut history, now_ns, policy);
            quota.ejections.fetch_add(1, Relaxed);
            self.is_probing.store(false, Release);
        } else if is_closed
            && failures >= policy.consecutive_failures
            && quota.take(policy.max_ejected_percent)
        {
            let calm_ns = u64::try_from(policy.max_time.as_nanos()).unwrap_or(u64::MAX);
            if now_ns.saturating_sub(history.closed_at_ns) > calm_ns {
                history.in_a_row = 0;
            }
            self.eject(&mut history, now_ns, policy);
            quota.ejections.fetch_add(1, Relaxed);
        }
    }

    /// A request ended without saying anything about the endpoint.
    pub(crate) fn abandon(&self, is_probe: bool) {
        if is_probe {
            self.is_probing.store(false, Release);
        }
    }

    /// The endpoint leaves the pool.
    pub(crate) fn leave(&self, quota: &Quota) {
        let mut history = self.history.lock();
        history.has_left = true;
        self.close(quota);
    }

    fn close(&self, quota: &Quota) {
        if self.until_ns.swap(0, AcqRel) != 0 {
            quota.give_back();
        }
        self.failures.store(0, Relaxed);
        self.is_probing.store(false, Release);
    }

    fn eject(&self, history: &mut History, now_ns: u64, policy: &EjectionPolicy) {
        let factor = 1_u32.checked_shl(history.in_a_row).unwrap_or(u32::MAX);
        let time = policy.base_time.saturating_mul(factor).min(policy.max_time);
        let time = time.mul_f64(1.0 + JITTER * random::unit());
        history.in_a_row = history.in_a_row.saturating_add(1);
        let until = now_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.until_ns.store(until.max(1), Release);
    }
}

#[cfg(test)]
mod tests;
