//! What the operator's `/metrics` shows: names that begin with `penstock_operator_`, labels from a fixed set only.

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

/// From a millisecond to ten seconds.
const SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0];

/// All metrics of one operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// 1 while this replica writes.
    pub is_leader: IntGauge,
    /// Objects held in memory, by kind.
    pub objects: IntGaugeVec,
    /// Watches that broke, by kind. They resume by themselves.
    pub watch_errors: IntCounterVec,
    /// Translations, by scope: `all`, or `endpoints` alone.
    pub translations: IntCounterVec,
    /// How long one takes.
    pub translation_duration: Histogram,
    /// From the first change that a translation covers to the publication of what follows from it.
    pub propagation: Histogram,
    /// Writes to the API server, by kind and outcome: `applied`, `deleted`, `failed`.
    pub writes: IntCounterVec,
    /// Gateways that are ours.
    pub gateways: IntGauge,
    /// Those of them that a data plane serves as they are now.
    pub gateways_programmed: IntGauge,
    resident: IntGauge,
}

impl Metrics {
    /// Metrics that start at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help).expect("metric names are literals that a test registers");
            register(&registry, metric)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels);
            register(&registry, metric.expect("metric names are literals that a test registers"))
        };
        let histogram = |name: &str, help: &str| {
            let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()));
            register(&registry, metric.expect("metric names are literals that a test registers"))
        };
        let objects =
            IntGaugeVec::new(Opts::new("penstock_operator_objects", "Objects in memory."), &["kind"]);
        Self {
            is_leader: gauge("penstock_operator_is_leader", "1 while this replica writes."),
            objects: register(&registry, objects.expect("metric names are literals that a test registers")),
            watch_errors: counters("penstock_operator_watch_errors_total", "Watches that broke.", &["kind"]),
            translations: counters("penstock_operator_translations_total", "Translations.", &["scope"]),
            translation_duration: histogram(
                "penstock_operator_translation_duration_seconds",
                "How long a translation takes.",
            ),
            propagation: histogram(
                "penstock_operator_propagation_seconds",
                "From the first change of a batch to its publication.",
            ),
            writes: counters(
                "penstock_operator_writes_total",
                "Writes to the API server, by what they came to.",
                &["kind", "outcome"],
            ),
            gateways: gauge("penstock_operator_gateways", "Gateways that are served."),
            gateways_programmed: gauge(
                "penstock_operator_gateways_programmed",
                "Gateways of which a data plane runs the generation published last.",
            ),
            resident: gauge("penstock_operator_resident_memory_bytes", "Memory that the process occupies."),
            registry,
        }
    }

    /// The page, in Prometheus' text format.
    pub fn encode(&self) -> Vec<u8> {
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        let mut page = Vec::with_capacity(8 << 10);
        // Fails for a family without series only, which the encoder itself leaves out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut page);
        page
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> M {
    registry.register(Box::new(metric.clone())).expect("metric names are literals that a test registers");
    metric
}

/// Resident memory, from `/proc`; `None` on systems without it.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_registered_once_and_shown() {
        let metrics = Metrics::new();
        metrics.writes.with_label_values(&["ConfigMap", "applied"]).inc();
        metrics.objects.with_label_values(&["Pod"]).set(7);
        let page = String::from_utf8(metrics.encode()).unwrap();
        assert!(
            page.contains("penstock_operator_writes_total{kind=\"ConfigMap\",outcome=\"applied\"} 1"),
            "{page}"
        );
        assert!(page.contains("penstock_operator_objects{kind=\"Pod\"} 7"), "{page}");
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("penstock_operator_"), "{line}");
        }
    }
}
