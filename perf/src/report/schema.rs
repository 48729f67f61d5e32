//! The JSON report of `penstock-perf load`: versioned, so that what reads it can tell when it changes.

use serde::{Deserialize, Serialize};

/// Changes when a field changes its meaning or goes; new fields do not change it.
pub const LOAD_SCHEMA: &str = "penstock.dev/perf/load/v1";

/// All that one run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`LOAD_SCHEMA`].
    pub schema: String,
    /// Version of the harness.
    pub version: String,
    /// When the run began, in seconds since 1970.
    pub started_at_unix_s: u64,
    /// What was run, as the command line said it.
    pub settings: Settings,
    /// What came of it.
    pub results: Results,
    /// What the processes under test used, where the run was told which they are.
    pub process: Option<Process>,
    /// Whether the generator kept up.
    pub generator: Generator,
    /// The run, second by second.
    pub series: Vec<Second>,
}

/// What was run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Whom was asked.
    pub url: String,
    /// `http/1.1` or `h2`.
    pub protocol: String,
    /// Whether each request had a connection of its own.
    pub new_connections: bool,
    /// What was asked, in words.
    pub workload: String,
    /// When, in words.
    pub arrival: String,
    /// The configured rate in requests a second, of an open loop with one rate.
    pub rate: Option<f64>,
    /// Requests in flight at most.
    pub max_concurrency: Option<usize>,
    /// Whether answers were streamed.
    pub is_stream: bool,
    /// Seed of all that is random.
    pub seed: u64,
    /// Warm-up before the measurement, in seconds.
    pub warmup_s: f64,
    /// The bound on the time, in seconds.
    pub duration_s: Option<f64>,
    /// The bound on the number of arrivals.
    pub requests: Option<u64>,
    /// What counts as good.
    pub slo: Slo,
}

/// A service level objective; a request is good if it meets all that is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// Time to first token, in milliseconds.
    pub ttft_ms: Option<f64>,
    /// Time per output token after the first, in milliseconds.
    pub tpot_ms: Option<f64>,
    /// End-to-end latency, in milliseconds.
    pub e2e_ms: Option<f64>,
}

impl Slo {
    /// Whether anything is asked for.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

/// What came of the requests that were to be sent within the measured time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// From the start of the measurement to the last answer, in seconds.
    pub duration_s: f64,
    /// Right answers.
    pub completed: u64,
    /// All others.
    pub failed: u64,
    /// Streams that were cut off at the end, as they were asked to be.
    pub cut: u64,
    /// Requests that were sent again, because the connection had been closed while it was idle.
    pub resent: u64,
    /// Failures by kind.
    pub errors: Vec<ErrorCount>,
    /// Tokens of the prompts of right answers.
    pub input_tokens: u64,
    /// Tokens of right answers.
    pub output_tokens: u64,
    /// Right answers a second.
    pub request_throughput: f64,
    /// Answers a second that met the objective; none without one.
    pub goodput: Option<f64>,
    /// Tokens a second.
    pub output_throughput: f64,
    /// The most tokens in one second.
    pub peak_output_throughput: f64,
    /// The most requests in flight.
    pub peak_concurrency: u64,
    /// Time to first token, from the intended time of sending. Streams only.
    pub ttft: Latency,
    /// Time per output token after the first, one value a request.
    pub tpot: Latency,
    /// Times between tokens, one value a token.
    pub itl: Latency,
    /// From the intended time of sending to the end of the answer.
    pub e2e: Latency,
}

/// How often one kind of failure was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// Its name.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// What was seen the first time.
    pub example: String,
}

/// A distribution of latencies, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Values in it; with none, all the others are 0.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub std: f64,
    /// The least.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
    /// Points of the distribution: percentile, milliseconds.
    pub distribution: Vec<(f64, f64)>,
}

/// What the processes under test used from the start of the measurement to its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Process {
    /// Processes at the end.
    pub processes: usize,
    /// Length of the window, in seconds.
    pub window_s: f64,
    /// Right answers that ended in the window.
    pub window_completed: u64,
    /// Tokens, which are streamed chunks, that came in the window.
    pub window_tokens: u64,
    /// User and system time in the window, in seconds.
    pub cpu_s: f64,
    /// The same as a share of one core.
    pub cpu_share: f64,
    /// CPU microseconds for each right answer; none if there was none.
    pub cpu_us_per_request: Option<f64>,
    /// CPU microseconds for each streamed token, requests' cost included; none without streams.
    pub cpu_us_per_token: Option<f64>,
    /// The sum of the largest resident sets, in bytes.
    pub rss_peak_bytes: u64,
}

/// Whether the generator kept up with what it was told to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Generator {
    /// Threads that sent requests.
    pub threads: usize,
    /// Its CPU time as a share of one core.
    pub cpu_share: f64,
    /// Time that the cores on which it may run were idle, as a share of all of them.
    pub cores_idle_share: f64,
    /// Time that the machine's host took from these cores, as a share of all of them.
    pub cores_stolen_share: f64,
    /// How late requests were begun, in an open loop.
    pub lag: Latency,
    /// Why the numbers may be the generator's own; empty if it was not the bottleneck.
    pub warnings: Vec<String>,
}

/// One second of the run, warm-up included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the run began, at the end of this one.
    pub at_s: f64,
    /// Right answers in it.
    pub completed: u64,
    /// Failures in it.
    pub failed: u64,
    /// Tokens that came in it.
    pub tokens: u64,
    /// Requests in flight at its end.
    pub in_flight: u64,
    /// Mean end-to-end latency of the answers in it, in milliseconds.
    pub mean_ms: f64,
    /// The greatest.
    pub max_ms: f64,
}
