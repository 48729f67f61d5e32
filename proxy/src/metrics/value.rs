//! Counters and gauges: an atomic each.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use prometheus::proto;

use super::family::Value;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// Money that only grows, counted in billionths of a dollar.
#[derive(Debug, Default)]
pub(super) struct Dollars(AtomicU64);

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// Holds an amount in a gauge until it is dropped.
#[derive(Debug)]
pub struct GaugeGuard {
    gauge: Arc<Gauge>,
    amount: i64,
}

impl Counter {
    /// A counter that is at this already.
    pub(super) fn of(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Dollars {
    /// Adds so many billionths of a dollar.
    pub(super) fn add(&self, nano: u64) {
        self.0.fetch_add(nano, Relaxed);
    }
}

impl Gauge {
    /// A gauge with this value.
    pub fn of(value: i64) -> Self {
        Self(AtomicI64::new(value))
    }

    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: i64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Adds `amount` until the guard is dropped.
    pub fn hold(self: &Arc<Self>, amount: usize) -> GaugeGuard {
        let mut guard = GaugeGuard { gauge: Arc::clone(self), amount: 0 };
        guard.grow(amount);
        guard
    }
}

impl GaugeGuard {
    /// Holds `more` on top of what is held already.
    pub fn grow(&mut self, more: usize) {
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.amount = self.amount.saturating_add(more);
        self.gauge.add(more);
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.gauge.add(-self.amount);
    }
}

impl Value for Counter {
    const KIND: proto::MetricType = proto::MetricType::COUNTER;

    fn sample(&self) -> Option<proto::Metric> {
        let mut counter = proto::Counter::default();
        counter.set_value(self.get() as f64);
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        Some(metric)
    }
}

impl Value for Dollars {
    const KIND: proto::MetricType = proto::MetricType::COUNTER;

    fn sample(&self) -> Option<proto::Metric> {
        let mut counter = proto::Counter::default();
        counter.set_value(self.0.load(Relaxed) as f64 / 1e9);
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        Some(metric)
    }
}

impl Value for Gauge {
    const KIND: proto::MetricType = proto::MetricType::GAUGE;

    fn sample(&self) -> Option<proto::Metric> {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(self.get() as f64);
        Some(proto::Metric::from_gauge(gauge))
    }
}
