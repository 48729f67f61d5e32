//! Metrics without much to them, registered, and the time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::Registry;

use super::family::Family;
use super::value::{Counter, Gauge};

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Arc<Gauge> {
    gauges(registry, name, help, &[]).get(&[])
}

pub(super) fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &'static [&'static str],
) -> Family<Gauge> {
    Family::register(registry, name, help, labels, Gauge::default)
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &'static [&'static str],
) -> Family<Counter> {
    Family::register(registry, name, help, labels, Counter::default)
}

pub(super) fn unix_now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
