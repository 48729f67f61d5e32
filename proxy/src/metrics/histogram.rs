//! Histograms whose observation is two additions.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus::proto;

use super::family::Value;

/// The most bounds that a histogram may have, so that a [`LocalHistogram`] needs no allocation.
const MAX_BOUNDS: usize = 21;

/// The upper bounds of a histogram's buckets, in microseconds or in what is counted, ascending.
pub(super) type Bounds = &'static [u64];

/// A histogram of durations, or of numbers.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: Bounds,
    /// How many of what is counted here are one of what is exposed.
    unit: f64,
    /// One for each bound and one for what is longer than all.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// Observations that one owner gathers without sharing, to be added to a [`Histogram`] at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalHistogram {
    bounds: Bounds,
    buckets: [u32; MAX_BOUNDS + 1],
    sum_micros: u64,
}

impl Histogram {
    /// Of durations, exposed in seconds.
    pub(super) fn new(bounds: Bounds) -> Self {
        const MICROS_A_SECOND: f64 = 1e6;
        Self::counted(bounds, MICROS_A_SECOND)
    }

    /// Of numbers, such as those of tokens.
    pub(super) fn of_numbers(bounds: Bounds) -> Self {
        Self::counted(bounds, 1.0)
    }

    fn counted(bounds: Bounds, unit: f64) -> Self {
        debug_assert!(bounds.len() <= MAX_BOUNDS && bounds.is_sorted());
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, unit, buckets, sum: AtomicU64::new(0) }
    }

    /// Adds one duration.
    pub(crate) fn observe(&self, duration: Duration) {
        self.observe_number(micros(duration));
    }

    /// Adds one number; of durations, in microseconds.
    pub(crate) fn observe_number(&self, number: u64) {
        self.buckets[bucket(self.bounds, number)].fetch_add(1, Relaxed);
        self.sum.fetch_add(number, Relaxed);
    }

    /// Adds what was gathered locally. The bounds must be the same; other observations are passed over.
    pub(crate) fn merge(&self, local: &LocalHistogram) {
        if self.bounds != local.bounds {
            return;
        }
        for (bucket, count) in self.buckets.iter().zip(local.buckets) {
            if count > 0 {
                bucket.fetch_add(u64::from(count), Relaxed);
            }
        }
        self.sum.fetch_add(local.sum_micros, Relaxed);
    }
}

impl LocalHistogram {
    pub(super) const fn new(bounds: Bounds) -> Self {
        Self { bounds, buckets: [0; MAX_BOUNDS + 1], sum_micros: 0 }
    }

    /// Adds `duration` `times` times.
    pub(crate) fn observe(&mut self, duration: Duration, times: u32) {
        let micros = micros(duration);
        let slot = &mut self.buckets[bucket(self.bounds, micros)];
        *slot = slot.saturating_add(times);
        self.sum_micros = self.sum_micros.saturating_add(micros.saturating_mul(u64::from(times)));
    }
}

impl Value for Histogram {
    const KIND: proto::MetricType = proto::MetricType::HISTOGRAM;

    /// A histogram that observed nothing is left out: with 2,000 routes, thousands of zeros would travel each scrape.
    fn sample(&self) -> Option<proto::Metric> {
        // The sum is read first, and the count is made of the buckets, so that the two cannot contradict each other.
        let sum = self.sum.load(Relaxed);
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (at, observed) in self.buckets.iter().enumerate() {
            count += observed.load(Relaxed);
            if let Some(bound) = self.bounds.get(at) {
                let mut bucket = proto::Bucket::default();
                bucket.set_upper_bound(*bound as f64 / self.unit);
                bucket.set_cumulative_count(count);
                buckets.push(bucket);
            }
        }
        if count == 0 {
            return None;
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum as f64 / self.unit);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        Some(metric)
    }
}

fn bucket(bounds: Bounds, micros: u64) -> usize {
    bounds.partition_point(|bound| *bound < micros)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
