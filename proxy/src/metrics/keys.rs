//! Metrics of what policies go by: keys, users and key sets.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Registry;

use super::family::Family;
use super::register::{counters, gauges};
use super::value::{Counter, Gauge};

/// How keys, users and key sets are kept fresh. Policies that share one have each its counts.
#[derive(Debug)]
pub(super) struct KeyMetrics {
    available: Family<Gauge>,
    faulty: Family<Gauge>,
    loaded_at: Family<Gauge>,
    loads: Family<Counter>,
}

/// What a policy goes by, and how it is.
#[derive(Debug)]
pub(crate) struct KeysInUse {
    /// The policy's name.
    pub(crate) policy: Arc<str>,
    /// How its clients show who they are: `api_key`, `basic`, `jwt`, `oidc` or `oidc_secret`.
    pub(crate) way: &'static str,
    /// The identity provider's name in the policy; empty for other ways.
    pub(crate) provider: Arc<str>,
    /// How it is.
    pub(crate) state: KeysState,
}

/// How keys, users or a key set are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeysState {
    /// Whether there is something to go by.
    pub(crate) is_available: bool,
    /// When that was read or fetched.
    pub(crate) loaded_at: Option<SystemTime>,
    /// Why it could not be read or fetched the last time; `None` if it could.
    pub(crate) error: Option<Box<str>>,
    /// How often it was read or fetched.
    pub(crate) loaded: u64,
    /// How often it could not be.
    pub(crate) failed: u64,
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
