//! Metrics of servers that decide whether requests are served.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;

use super::family::Family;
use super::histogram::{Bounds, Histogram};
use super::register::counters;
use super::value::Counter;

/// From a server beside the gateway to one that never answers, in microseconds.
const BOUNDS: Bounds = &[
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000, 10_000_000,
];

/// What became of a request that a server was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckOutcome {
    /// The server let it pass.
    Allowed,
    /// It did not.
    Denied,
    /// Nobody could say, so it was refused.
    Failed,
    /// Nobody could say, so it passed.
    FailedOpen,
    /// Its body was too long to ask.
    TooLarge,
}

/// The families with a `policy` label.
#[derive(Debug)]
pub(super) struct CheckFamilies {
    checks: Family<Counter>,
    durations: Family<Histogram>,
}

/// What is counted of one policy's server. Keep it with the policy.
#[derive(Clone, Debug)]
pub(crate) struct CheckMetrics {
    checks: [Arc<Counter>; CheckOutcome::ALL.len()],
    duration: Arc<Histogram>,
}

impl CheckOutcome {
    const ALL: [Self; 5] = [Self::Allowed, Self::Denied, Self::Failed, Self::FailedOpen, Self::TooLarge];

    const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::FailedOpen => "failed_open",
            Self::TooLarge => "too_large",
        }
    }
}

impl CheckFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            checks: counters(
                registry,
                "penstock_external_checks_total",
                "Requests that the authorization server of a policy was asked about, by what became of them.",
                &["policy", "outcome"],
            ),
            durations: Family::register(
                registry,
                "penstock_external_check_duration_seconds",
                "How long the authorization server of a policy was waited for.",
                &["policy"],
                || Histogram::new(BOUNDS),
            ),
        }
    }

    pub(super) fn of(&self, policy: &str) -> CheckMetrics {
        CheckMetrics {
            checks: CheckOutcome::ALL.map(|outcome| self.checks.get(&[policy, outcome.label()])),
            duration: self.durations.get(&[policy]),
        }
    }

    pub(super) fn retain(&self, is_kept: &dyn Fn(&str, &str) -> bool) {
        self.checks.retain(is_kept);
        self.durations.retain(is_kept);
    }
}

impl CheckMetrics {
    pub(crate) fn count(&self, outcome: CheckOutcome) {
        self.checks[outcome as usize].increment();
    }

    pub(crate) fn took(&self, duration: Duration) {
        self.duration.observe(duration);
    }
}
