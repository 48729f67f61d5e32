//! Measurements of one thread, and how those of all threads become one.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::outcome::{FailureKind, Outcome};
use crate::report::schema::{ErrorCount, Latency, Slo};

/// The least latency that is told from none: a microsecond.
const LOWEST_NS: u64 = 1_000;
/// The greatest latency that is told from greater ones: an hour.
const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits of a recorded latency.
const DIGITS: u8 = 3;

/// Percentiles of a distribution that a report keeps for its plots.
const POINTS: [f64; 22] = [
    0.0, 1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 97.5, 99.0, 99.5,
    99.9, 99.99, 99.999, 100.0,
];

/// A histogram of latencies (HDR), in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(
            Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS)
                .expect("the bounds are constants, in order, and far enough apart"),
        )
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    pub(crate) fn summary(&self) -> Latency {
        if self.0.is_empty() {
            return Latency::default();
        }
        let ms = |ns: u64| ns as f64 / 1e6;
        let at = |percentile: f64| ms(self.0.value_at_percentile(percentile));
        Latency {
            count: self.0.len(),
            mean: self.0.mean() / 1e6,
            std: self.0.stdev() / 1e6,
            min: ms(self.0.min()),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: ms(self.0.max()),
            distribution: POINTS.iter().map(|point| (*point, at(*point))).collect(),
        }
    }
}

/// One request, for the CSV file.
#[derive(Clone, Debug)]
pub(crate) struct CsvRow {
    pub(crate) intended_s: f64,
    pub(crate) late_ms: f64,
    pub(crate) ttft_ms: Option<f64>,
    pub(crate) e2e_ms: f64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) error: Option<FailureKind>,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Recorder {
    began: Instant,
    slo: Slo,
    pub(crate) ttft: Latencies,
    pub(crate) tpot: Latencies,
    pub(crate) itl: Latencies,
    pub(crate) e2e: Latencies,
    pub(crate) lag: Latencies,
    pub(crate) completed: u64,
    pub(crate) good: u64,
    pub(crate) cut: u64,
    pub(crate) resent: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) last_end: Option<Instant>,
    errors: BTreeMap<FailureKind, (u64, String)>,
    seconds: Vec<(u64, f64, f64)>,
    pub(crate) rows: Option<Vec<CsvRow>>,
}

impl Recorder {
    /// `began` is the start of the run, from which seconds are counted; `keeps_rows` remembers each request.
    pub(crate) fn new(began: Instant, slo: Slo, keeps_rows: bool) -> Self {
        Self {
            began,
            slo,
            ttft: Latencies::new(),
            tpot: Latencies::new(),
            itl: Latencies::new(),
            e2e: Latencies::new(),
            lag: Latencies::new(),
            completed: 0,
            good: 0,
            cut: 0,
            resent: 0,
            input_tokens: 0,
            output_tokens: 0,
            last_end: None,
            errors: BTreeMap::new(),
            seconds: Vec::new(),
            rows: keeps_rows.then(Vec::new),
        }
    }

    /// Takes what came of a request, with the times between its tokens.
    pub(crate) fn record(&mut self, outcome: &Outcome, gaps: &[Duration]) {
        self.lag.record(outcome.sent.saturating_duration_since(outcome.intended));
        self.last_end = self.last_end.max(Some(outcome.ended));
        if let Some(rows) = &mut self.rows {
            rows.push(CsvRow::new(self.began, outcome));
        }
        if let Some(failure) = &outcome.failure {
            let (count, _) = self.errors.entry(failure.kind).or_insert_with(|| (0, failure.detail.clone()));
            *count += 1;
            return;
        }
        self.completed += 1;
        self.input_tokens += outcome.input_tokens;
        self.output_tokens += outcome.output_tokens;
        self.good += u64::from(is_good(&self.slo, outcome));
        self.e2e.record(outcome.e2e());
        if let Some(ttft) = outcome.ttft() {
            self.ttft.record(ttft);
        }
        if let Some(tpot) = outcome.tpot() {
            self.tpot.record(tpot);
        }
        for gap in gaps {
            self.itl.record(*gap);
        }
        self.count_second(outcome);
    }

    /// Takes over what another thread measured.
    pub(crate) fn merge(&mut self, other: Self) {
        self.ttft.merge(&other.ttft);
        self.tpot.merge(&other.tpot);
        self.itl.merge(&other.itl);
        self.e2e.merge(&other.e2e);
        self.lag.merge(&other.lag);
        self.completed += other.completed;
        self.good += other.good;
        self.cut += other.cut;
        self.resent += other.resent;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.last_end = self.last_end.max(other.last_end);
        for (kind, (count, example)) in other.errors {
            self.errors.entry(kind).or_insert((0, example)).0 += count;
        }
        for (second, (count, sum, max)) in other.seconds.into_iter().enumerate() {
            let mine = self.second(second);
            *mine = (mine.0 + count, mine.1 + sum, mine.2.max(max));
        }
        if let (Some(rows), Some(others)) = (&mut self.rows, other.rows) {
            rows.extend(others);
        }
    }

    /// Failures by kind, the most frequent first.
    pub(crate) fn errors(&self) -> Vec<ErrorCount> {
        let mut errors: Vec<ErrorCount> = self
            .errors
            .iter()
            .map(|(kind, (count, example))| ErrorCount {
                kind: kind.to_string(),
                count: *count,
                example: example.clone(),
            })
            .collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        errors
    }

    /// Mean and greatest end-to-end latency in milliseconds of the answers that ended in this second of the run.
    pub(crate) fn latency_in(&self, second: usize) -> (f64, f64) {
        self.seconds.get(second).map_or((0.0, 0.0), |(count, sum, max)| (sum / (*count).max(1) as f64, *max))
    }

    fn count_second(&mut self, outcome: &Outcome) {
        let ms = outcome.e2e().as_secs_f64() * 1e3;
        let index = (outcome.ended - self.began).as_secs() as usize;
        let second = self.second(index);
        *second = (second.0 + 1, second.1 + ms, second.2.max(ms));
    }

    fn second(&mut self, index: usize) -> &mut (u64, f64, f64) {
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, (0, 0.0, 0.0));
        }
        &mut self.seconds[index]
    }
}

impl CsvRow {
    fn new(began: Instant, outcome: &Outcome) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            intended_s: outcome.intended.saturating_duration_since(began).as_secs_f64(),
            late_ms: ms(outcome.sent.saturating_duration_since(outcome.intended)),
            ttft_ms: outcome.ttft().map(ms),
            e2e_ms: ms(outcome.e2e()),
            input_tokens: outcome.input_tokens,
            output_tokens: outcome.output_tokens,
            error: outcome.failure.as_ref().map(|failure| failure.kind),
        }
    }
}

fn is_good(slo: &Slo, outcome: &Outcome) -> bool {
    let meets = |limit: Option<f64>, value: Option<Duration>| {
        limit.is_none_or(|limit| value.is_none_or(|value| value.as_secs_f64() * 1e3 <= limit))
    };
    meets(slo.ttft_ms, outcome.ttft().or(Some(outcome.e2e())))
        && meets(slo.tpot_ms, outcome.tpot())
        && meets(slo.e2e_ms, Some(outcome.e2e()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::outcome::Failure;

    fn outcome(began: Instant, e2e_ms: u64, failure: Option<Failure>) -> Outcome {
        let at = |ms| began + Duration::from_millis(ms);
        Outcome {
            intended: began,
            sent: at(2),
            ended: at(e2e_ms),
            first_token: Some(at(10)),
            last_token: Some(at(50)),
            input_tokens: 7,
            output_tokens: 5,
            failure,
        }
    }

    #[test]
    fn percentiles_are_right_to_three_digits() {
        let mut latencies = Latencies::new();
        for ms in 1..=1000 {
            latencies.record(Duration::from_millis(ms));
        }
        let summary = latencies.summary();
        for (found, wanted) in [
            (summary.min, 1.0),
            (summary.p50, 500.0),
            (summary.p90, 900.0),
            (summary.p99, 990.0),
            (summary.p999, 999.0),
            (summary.max, 1000.0),
            (summary.mean, 500.5),
            (summary.std, 288.67),
        ] {
            // Three digits, and the rank of a percentile may be rounded to the next of a thousand values.
            assert!((found / wanted - 1.0).abs() < 0.002, "{found} instead of {wanted}");
        }
        assert_eq!(Latencies::new().summary(), Latency::default());
    }

    #[test]
    fn latencies_beyond_the_bounds_are_kept_at_the_bounds() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(100_000));
        let summary = latencies.summary();
        assert_eq!(summary.count, 2);
        assert!((summary.max / 3.6e6 - 1.0).abs() < 0.001, "{}", summary.max);
    }

    #[test]
    fn latency_counts_from_the_intended_time() {
        let began = Instant::now();
        let outcome = outcome(began, 60, None);
        assert_eq!(outcome.ttft(), Some(Duration::from_millis(10)));
        assert_eq!(outcome.tpot(), Some(Duration::from_millis(10)));
        assert_eq!(outcome.e2e(), Duration::from_millis(60));
        let mut recorder = Recorder::new(began, Slo::default(), true);
        recorder.record(&outcome, &[]);
        assert!((recorder.lag.summary().max - 2.0).abs() < 0.01);
        assert_eq!(recorder.rows.unwrap().len(), 1);
    }

    #[test]
    fn threads_add_up_and_failures_are_not_latencies() {
        let began = Instant::now();
        let slo = Slo { e2e_ms: Some(100.0), ..Slo::default() };
        let mut one = Recorder::new(began, slo, false);
        let mut other = Recorder::new(began, slo, false);
        one.record(&outcome(began, 60, None), &[Duration::from_millis(10)]);
        one.record(&outcome(began, 1060, None), &[]);
        let failure = Failure::new(FailureKind::Status(503), "busy");
        other.record(&outcome(began, 1, Some(failure.clone())), &[]);
        other.record(&outcome(began, 1, Some(failure)), &[]);
        one.merge(other);
        assert_eq!((one.completed, one.good, one.output_tokens), (2, 1, 10));
        assert_eq!(one.e2e.summary().count, 2);
        assert_eq!(one.itl.summary().count, 1);
        let example = "busy".to_owned();
        assert_eq!(one.errors(), [ErrorCount { kind: "status 503".to_owned(), count: 2, example }]);
        assert_eq!((one.latency_in(0).0.round(), one.latency_in(1).1.round()), (60.0, 1060.0));
    }

    #[test]
    fn an_objective_is_met_in_all_its_parts() {
        let began = Instant::now();
        let good = |slo| is_good(&slo, &outcome(began, 60, None));
        assert!(good(Slo::default()));
        assert!(good(Slo { ttft_ms: Some(10.0), tpot_ms: Some(10.0), e2e_ms: Some(60.0) }));
        assert!(!good(Slo { ttft_ms: Some(9.0), ..Slo::default() }));
        assert!(!good(Slo { tpot_ms: Some(9.0), ..Slo::default() }));
        assert!(!good(Slo { e2e_ms: Some(59.0), ..Slo::default() }));
    }
}
