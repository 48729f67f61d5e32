//! Metrics of limits of policies, and of what tokens cost.

use std::sync::Arc;

use penstock_policies::limits::{CountKind, Counters, Usage};
use prometheus::Registry;
use rustc_hash::FxHashSet;

use super::family::Family;
use super::register::{counters, gauge};
use super::value::{Counter, Gauge};

/// Metrics of limits. Labels come from the document: clients choose none of them.
#[derive(Debug)]
pub(crate) struct LimitFamilies {
    requests: Family<Counter>,
    held: Family<Counter>,
    used: Family<Counter>,
    expected: [Arc<Counter>; 2],
    reported: [Arc<Counter>; 2],
    counters: Arc<Gauge>,
    overflowed: Arc<Counter>,
    failed_expressions: Arc<Counter>,
    prices_faulty: Arc<Gauge>,
}

/// What is counted of one limit.
#[derive(Debug)]
pub(crate) struct LimitMetrics {
    /// Requests that were served, or attempts.
    pub(crate) allowed: Arc<Counter>,
    /// Those that it refused.
    pub(crate) denied: Arc<Counter>,
    /// Those that it would have refused if it did more than count.
    pub(crate) shadowed: Arc<Counter>,
    /// Streams that it cut.
    pub(crate) cut: Arc<Counter>,
    /// What was held.
    pub(crate) held: Arc<Counter>,
    /// What was counted in its place.
    pub(crate) used: Arc<Counter>,
}

impl LimitFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let pair = |name, help| {
            let family = counters(registry, name, help, &["kind"]);
            ["input", "output"].map(|kind| family.get(&[kind]))
        };
        let alone = |name, help| counters(registry, name, help, &[]).get(&[]);
        Self {
            requests: counters(
                registry,
                "penstock_limit_requests_total",
                "Requests, and attempts at pools and backends, by what a limit of a policy did with them: allowed, denied, \
                 shadowed (it only counts, and would have denied), cut (a stream).",
                &["policy", "limit", "outcome"],
            ),
            held: counters(
                registry,
                "penstock_limit_held_total",
                "What requests held of a limit while they were served, in what it counts: requests, tokens, billionths of a \
                 dollar.",
                &["policy", "limit", "count"],
            ),
            used: counters(
                registry,
                "penstock_limit_used_total",
                "What was counted of a limit in the place of what had been held.",
                &["policy", "limit", "count"],
            ),
            expected: pair(
                "penstock_limit_expected_tokens_total",
                "Tokens that limited requests were expected to take, of those whose usage was reported.",
            ),
            reported: pair(
                "penstock_limit_reported_tokens_total",
                "Tokens that the same requests took: the ratio of the two is the error of the estimates.",
            ),
            counters: gauge(registry, "penstock_limit_counters", "Counters of limits that are in memory."),
            overflowed: alone(
                "penstock_limit_counters_overflowed_total",
                "Requests that were counted by a counter that several values share, since there was no room for more counters.",
            ),
            failed_expressions: alone(
                "penstock_limit_expressions_failed_total",
                "Expressions of limits that failed; their requests counted all of their tokens.",
            ),
            prices_faulty: gauge(
                registry,
                "penstock_prices_faulty",
                "1 if the file of prices could not be used the last time; those before stay in force.",
            ),
        }
    }

    /// The handle for a limit, to be kept with it.
    pub(crate) fn limit(&self, policy: &str, limit: &str, count: CountKind) -> LimitMetrics {
        let outcome = |outcome| self.requests.get(&[policy, limit, outcome]);
        LimitMetrics {
            allowed: outcome("allowed"),
            denied: outcome("denied"),
            shadowed: outcome("shadowed"),
            cut: outcome("cut"),
            held: self.held.get(&[policy, limit, count.name()]),
            used: self.used.get(&[policy, limit, count.name()]),
        }
    }

    /// Counts how well a request was estimated.
    pub(crate) fn estimated(&self, expected: &Usage, reported: &Usage) {
        for (counters, usage) in [(&self.expected, expected), (&self.reported, reported)] {
            counters[0].add(usage.input);
            counters[1].add(usage.output);
        }
    }

    /// Brings what is counted elsewhere up to date.
    pub(crate) fn observe(&self, counters: &Counters, are_prices_faulty: bool) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.counters.set(gauge(counters.len() as u64));
        let raise = |counter: &Counter, to: u64| counter.add(to.saturating_sub(counter.get()));
        raise(&self.overflowed, counters.overflowed());
        raise(&self.failed_expressions, counters.failed_expressions());
        self.prices_faulty.set(are_prices_faulty.into());
    }

    /// Drops the series of policies that are no longer configured.
    pub(super) fn retain(&self, policies: &FxHashSet<&str>) {
        let is_kept = |label: &str, value: &str| label != "policy" || policies.contains(value);
        for family in [&self.requests, &self.held, &self.used] {
            family.retain(&is_kept);
        }
    }
}
