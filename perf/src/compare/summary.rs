//! From single measurements to medians with their spread.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{machine::Machine, scenario::Scenario};
use crate::report::schema::Report;

/// Changes when a field changes its meaning or goes.
pub const COMPARE_SCHEMA: &str = "penstock.dev/perf/compare/v1";
/// The same of the headline.
const HEADLINE_SCHEMA: &str = "penstock.dev/perf/headline/v1";

/// All that a comparison found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// [`COMPARE_SCHEMA`].
    pub schema: String,
    /// Where it ran.
    pub machine: Machine,
    /// Repeats of every measurement.
    pub repeats: usize,
    /// Length of a measurement, in seconds.
    pub duration_s: f64,
    /// Requests a second at which latency was measured.
    pub rate: f64,
    /// What was measured.
    pub scenarios: Vec<Scenario>,
    /// Which peers, in which versions.
    pub versions: Vec<PeerVersion>,
    /// Peers that could not be installed, started or measured, and why.
    pub missing: Vec<MissingPeer>,
    /// Every measurement.
    pub runs: Vec<Run>,
}

/// A peer that took part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerVersion {
    /// Its name.
    pub peer: String,
    /// How it is configured.
    pub about: String,
    /// What it says about itself.
    pub version: String,
}

/// A peer that did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingPeer {
    /// Its name.
    pub peer: String,
    /// Why.
    pub reason: String,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// The peer's.
    pub peer: String,
    /// Which repeat, from 1.
    pub repeat: usize,
    /// What the load generator found.
    pub report: Report,
}

/// A median and what lies around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// What repeats of one scenario with one peer come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// CPU microseconds a request, over all processes of the peer.
    pub cpu_us_per_request: Option<Spread>,
    /// CPU microseconds a streamed token, what a request costs besides included.
    pub cpu_us_per_token: Option<Spread>,
    /// Requests a second.
    pub requests_per_s: Option<Spread>,
    /// Requests that one second of a core is good for.
    pub requests_per_core_s: Option<Spread>,
    /// The median latency, in milliseconds; of a stream, to its first token.
    pub p50_ms: Option<Spread>,
    /// The 99th percentile.
    pub p99_ms: Option<Spread>,
    /// By how much the median exceeds that without a gateway in the same repeat.
    pub added_p50_ms: Option<Spread>,
    /// The largest resident sets of all processes together, in megabytes.
    pub rss_peak_mb: Option<Spread>,
    /// CPU time as a share of one core.
    pub cpu_share: Option<Spread>,
    /// Requests that failed, in all repeats.
    pub failed: u64,
    /// Right answers, in all repeats.
    pub completed: u64,
    /// Whether load or upstream was the bottleneck in any repeat.
    pub is_load_bound: bool,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

impl Run {
    /// The measurement in one line.
    pub(super) fn line(&self) -> String {
        let results = &self.report.results;
        let cpu = match &self.report.process {
            None => String::new(),
            Some(process) => {
                let one = |value: Option<f64>, unit: &str| value.map(|value| format!("{value:.1} µs {unit}"));
                let cpu = one(process.cpu_us_per_token.filter(|_| self.report.settings.is_stream), "a token")
                    .or(one(process.cpu_us_per_request, "a request"));
                format!("{}, {:.0} % of a core, ", cpu.unwrap_or_default(), process.cpu_share * 100.0)
            }
        };
        format!(
            "{}, {}, repeat {}: {cpu}{:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms, {} failed",
            self.scenario,
            self.peer,
            self.repeat,
            results.request_throughput,
            results.e2e.p50,
            results.e2e.p99,
            results.failed
        )
    }
}

impl Comparison {
    /// Peers that have at least one measurement, in the order in which they were asked for.
    #[must_use]
    pub fn peers(&self) -> Vec<&str> {
        let measured = |peer: &&str| self.runs.iter().any(|run| run.peer == **peer);
        self.versions.iter().map(|version| version.peer.as_str()).filter(measured).collect()
    }

    /// What the repeats of a scenario with a peer come to; none if it was not measured.
    #[must_use]
    pub fn figures(&self, scenario: &str, peer: &str) -> Option<Figures> {
        let of = |peer: &str| {
            let peer = peer.to_owned();
            self.runs.iter().filter(move |run| run.scenario == scenario && run.peer == peer)
        };
        let runs: Vec<&Run> = of(peer).collect();
        if runs.is_empty() {
            return None;
        }
        let median = |run: &Run| Some(latency(&run.report)?.0);
        let direct: BTreeMap<usize, f64> =
            of("direct").filter_map(|run| Some((run.repeat, median(run)?))).collect();
        let spread = |value: &dyn Fn(&Run) -> Option<f64>| {
            Spread::of(runs.iter().filter_map(|run| value(run)).collect())
        };
        let process = |value: &dyn Fn(&crate::report::schema::Process) -> Option<f64>| {
            spread(&|run| value(run.report.process.as_ref()?))
        };
        Some(Figures {
            cpu_us_per_request: process(&|process| process.cpu_us_per_request),
            cpu_us_per_token: spread(&|run| {
                run.report.process.as_ref()?.cpu_us_per_token.filter(|_| run.report.settings.is_stream)
            }),
            requests_per_s: spread(&|run| Some(run.report.results.request_throughput)),
            requests_per_core_s: process(&|process| process.cpu_us_per_request.map(|cpu| 1e6 / cpu)),
            p50_ms: spread(&median),
            p99_ms: spread(&|run| Some(latency(&run.report)?.1)),
            added_p50_ms: spread(&|run| {
                Some(median(run)? - direct.get(&run.repeat)?).filter(|_| peer != "direct")
            }),
            rss_peak_mb: process(&|process| Some(process.rss_peak_bytes as f64 / 1e6)),
            cpu_share: process(&|process| Some(process.cpu_share)),
            failed: runs.iter().map(|run| run.report.results.failed).sum(),
            completed: runs.iter().map(|run| run.report.results.completed).sum(),
            is_load_bound: runs.iter().any(|run| is_load_bound(&run.report)),
        })
    }
}

/// Median and 99th percentile: of a stream to its first token, of other answers to their end. None where no request
/// was answered.
fn latency(report: &Report) -> Option<(f64, f64)> {
    let latency = if report.settings.is_stream { &report.results.ttft } else { &report.results.e2e };
    (latency.count > 0).then_some((latency.p50, latency.p99))
}

/// A gateway's core that is not busy, beside load that is: the load was the bottleneck.
fn is_load_bound(report: &Report) -> bool {
    /// Above this share the gateway's core is as good as busy.
    const BUSY: f64 = 0.9;
    let gateway = report.process.as_ref().map_or(0.0, |process| process.cpu_share);
    gateway < BUSY && report.generator.warnings.iter().any(|warning| warning.contains("bottleneck"))
}

/// What `headline.json` holds: a few numbers a peer.
pub(super) fn headline(comparison: &Comparison) -> Value {
    let mut peers = serde_json::Map::new();
    for peer in comparison.peers() {
        let mut entry = serde_json::Map::new();
        let mut spreads = serde_json::Map::new();
        let mut put = |name: &str, scenario: &str, value: &dyn Fn(&Figures) -> Option<Spread>| {
            if let Some(spread) = comparison.figures(scenario, peer).as_ref().and_then(value) {
                entry.insert(name.to_owned(), json!(round(spread.median)));
                spreads.insert(name.to_owned(), json!([round(spread.min), round(spread.max)]));
            }
        };
        put("cpu_us_per_request", "1.2 KB", &|figures| figures.cpu_us_per_request);
        put("requests_per_s", "1.2 KB", &|figures| figures.requests_per_s);
        put("requests_per_core_s", "1.2 KB", &|figures| figures.requests_per_core_s);
        put("rss_peak_mb", "1.2 KB", &|figures| figures.rss_peak_mb);
        put("cpu_us_per_request_32kb", "32 KB", &|figures| figures.cpu_us_per_request);
        put("cpu_us_per_request_220kb", "220 KB", &|figures| figures.cpu_us_per_request);
        put("cpu_us_per_streamed_token", "stream of 200", &|figures| figures.cpu_us_per_token);
        put("cpu_us_per_request_at_fixed_rate", "latency", &|figures| figures.cpu_us_per_request);
        put("p50_ms", "latency", &|figures| figures.p50_ms);
        put("p99_ms", "latency", &|figures| figures.p99_ms);
        put("added_p50_ms", "latency", &|figures| figures.added_p50_ms);
        let failed: u64 =
            comparison.runs.iter().filter(|run| run.peer == peer).map(|run| run.report.results.failed).sum();
        entry.insert("failed".to_owned(), json!(failed));
        entry.insert("spread".to_owned(), Value::Object(spreads));
        peers.insert(peer.to_owned(), Value::Object(entry));
    }
    let missing: BTreeMap<&str, &str> =
        comparison.missing.iter().map(|missing| (missing.peer.as_str(), missing.reason.as_str())).collect();
    json!({
        "schema": HEADLINE_SCHEMA,
        "machine": comparison.machine,
        "repeats": comparison.repeats,
        "rate": comparison.rate,
        "peers": peers,
        "missing": missing,
    })
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(super) mod tests;
