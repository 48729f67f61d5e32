//! Metrics of what policies go by: keys, users and key sets.

use std::time::UNIX_EPOCH;

use prometheus::Registry;

use super::family::Family;
use super::register::{counters, gauges};
use super::value::{Counter, Gauge};
use crate::keys::KeysInUse;

/// How keys, users and key sets are kept fresh. Policies that share one have each its counts.
#[derive(Debug)]
pub(super) struct KeyMetrics {
    available: Family<Gauge>,
    faulty: Family<Gauge>,
    loaded_at: Family<Gauge>,
    loads: Family<Counter>,
}

impl KeyMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let labels = &["policy", "way", "provider"];
        Self {
            available: gauges(
                registry,
                "penstock_policy_keys_available",
                "1 if a policy has the keys, users or key set that it goes by, 0 if it never had.",
                labels,
            ),
            faulty: gauges(
                registry,
                "penstock_policy_keys_faulty",
                "1 if they could not be read or fetched the last time; those before stay in use.",
                labels,
            ),
            loaded_at: gauges(
                registry,
                "penstock_policy_keys_loaded_timestamp_seconds",
                "When they were last read or fetched, in Unix time.",
                labels,
            ),
            loads: counters(
                registry,
                "penstock_policy_keys_loads_total",
                "How often they were read or fetched, by what became of it.",
                &["policy", "way", "provider", "outcome"],
            ),
        }
    }

    /// Makes these the ones that are exposed.
    pub(super) fn replace(&self, in_use: &[KeysInUse]) {
        fn labels(of: &KeysInUse) -> Vec<&str> {
            vec![&*of.policy, of.way, &*of.provider]
        }
        let gauge = |is: bool| Gauge::of(is.into());
        self.available.replace(in_use.iter().map(|of| (labels(of), gauge(of.state.is_available))));
        self.faulty.replace(in_use.iter().map(|of| (labels(of), gauge(of.state.error.is_some()))));
        self.loaded_at.replace(in_use.iter().filter_map(|of| {
            let since = of.state.loaded_at?.duration_since(UNIX_EPOCH).unwrap_or_default();
            Some((labels(of), Gauge::of(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))))
        }));
        self.loads.replace(in_use.iter().flat_map(|of| {
            let series = |outcome, count| ([labels(of), vec![outcome]].concat(), Counter::of(count));
            [series("loaded", of.state.loaded), series("failed", of.state.failed)]
        }));
    }
}
