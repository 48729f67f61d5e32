//! Metrics of the store of counters that gateways share.

use std::sync::Arc;
use std::time::Duration;

use penstock_leases::{Observe, Outcome, State};
use prometheus::Registry;

use super::family::Family;
use super::histogram::{Bounds, Histogram};
use super::register::{counters, gauge, gauges};
use super::value::{Counter, Gauge};

const DURATION_BOUNDS: Bounds =
    &[100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000];

/// How leases are had of the store.
#[derive(Debug)]
pub(crate) struct LeaseMetrics {
    calls: [Arc<Counter>; Outcome::ALL.len()],
    duration: Arc<Histogram>,
    state: [Arc<Gauge>; State::ALL.len()],
    counters: Arc<Gauge>,
}

impl LeaseMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let calls = counters(
            registry,
            "penstock_limit_store_calls_total",
            "Calls of the store of shared limits, by what became of them: granted, nothing (not enough is left), deadline, failed, \
             away (it was known to be away, and not asked).",
            &["outcome"],
        );
        let state = gauges(
            registry,
            "penstock_limit_store_state",
            "1 for the state of the store of shared limits: none (there is no store), closed (it is asked), half_open (it was away \
             and is tried), open (it is away: limits are served by limitStore.onFailure).",
            &["state"],
        );
        let duration: Family<Histogram> = Family::register(
            registry,
            "penstock_limit_store_call_duration_seconds",
            "How long calls of the store of shared limits took that were made.",
            &[],
            || Histogram::new(DURATION_BOUNDS),
        );
        let metrics = Self {
            calls: Outcome::ALL.map(|outcome| calls.get(&[outcome.name()])),
            duration: duration.get(&[]),
            state: State::ALL.map(|each| state.get(&[each.name()])),
            counters: gauge(
                registry,
                "penstock_limit_store_counters",
                "Counters of which the store has booked something for this gateway.",
            ),
        };
        metrics.state(State::None);
        metrics
    }
}

impl Observe for LeaseMetrics {
    fn called(&self, outcome: Outcome, took: Duration) {
        self.calls[outcome as usize].increment();
        if outcome != Outcome::Away {
            self.duration.observe(took);
        }
    }

    fn state(&self, state: State) {
        for (each, gauge) in State::ALL.iter().zip(&self.state) {
            gauge.set((*each == state).into());
        }
    }

    fn counters(&self, count: usize) {
        self.counters.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
