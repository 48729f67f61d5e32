//! Results of a run: latencies, goodput, cache hits, balance.

use rustc_hash::FxHashSet;
use serde::Serialize;

use super::request::{BLOCK_TOKENS, Request};

/// Percentiles that are plotted.
const PLOTTED: [f64; 14] = [1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9];

/// What is kept of a request. Times since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at_ns: u64,
    /// 0 if there was no answer.
    pub(crate) first_ns: u64,
    /// 0 if there was no answer.
    pub(crate) finished_ns: u64,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens: u32,
    /// Tokens of the prompt that were in the server's cache.
    pub(crate) cached: u32,
    /// The server; `u32::MAX` for none.
    pub(crate) server: u32,
    pub(crate) phase: u32,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// One for each request that was served, in order of arrival.
    pub(crate) records: Vec<Record>,
    /// Requests that no gateway let through.
    pub(crate) refused: u64,
    /// Time that each server spent in steps.
    pub(crate) busy_ns: Vec<u64>,
    pub(crate) preemptions: u64,
    /// Metrics pages that were read.
    pub(crate) scrapes: u64,
}

/// Latencies that are promised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Slo {
    pub(crate) ttft_ms: f64,
    pub(crate) tpot_ms: f64,
}

/// Percentiles and mean, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LatencySummary {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
}

/// The figures of a run, or of one of its phases.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Figures {
    pub(crate) requests: usize,
    pub(crate) refused: u64,
    /// Time to the first token.
    pub(crate) ttft_ms: LatencySummary,
    /// Time of each further token, a mean for each request.
    pub(crate) tpot_ms: LatencySummary,
    /// Time to the last token.
    pub(crate) e2e_ms: LatencySummary,
    /// Share of the requests that kept both promises, 0 to 1.
    pub(crate) goodput: f64,
    /// Share of prompt tokens that were cached, 0 to 1.
    pub(crate) hit_rate: f64,
    /// Tokens answered a second, from the first arrival to the last answer.
    pub(crate) output_tokens_per_second: f64,
    /// Busiest server's time in steps over the mean.
    pub(crate) imbalance: f64,
    pub(crate) preemptions: u64,
    /// Metrics pages read a second, by all gateways together.
    pub(crate) scrapes_per_second: f64,
    /// Of all records, to tell whether two runs were the same.
    pub(crate) digest: String,
    /// Percentiles, and milliseconds that so many percent did not exceed.
    pub(crate) ttft_distribution: Vec<(f64, f64)>,
    pub(crate) e2e_distribution: Vec<(f64, f64)>,
}

impl Record {
    pub(crate) fn new(request: &Request, server: Option<usize>) -> Self {
        Self {
            at_ns: request.at_ns,
            first_ns: 0,
            finished_ns: 0,
            prompt_tokens: request.prompt_tokens,
            output_tokens: request.output_tokens,
            cached: 0,
            server: server.map_or(u32::MAX, |server| server as u32),
            phase: request.phase as u32,
        }
    }

    fn is_served(&self) -> bool {
        self.finished_ns > 0
    }

    fn ttft_ms(&self) -> f64 {
        ms(self.first_ns - self.at_ns)
    }

    fn tpot_ms(&self) -> f64 {
        ms(self.finished_ns - self.first_ns) / f64::from(self.output_tokens.saturating_sub(1).max(1))
    }

    fn e2e_ms(&self) -> f64 {
        ms(self.finished_ns - self.at_ns)
    }

    fn keeps(&self, slo: &Slo) -> bool {
        self.is_served() && self.ttft_ms() <= slo.ttft_ms && self.tpot_ms() <= slo.tpot_ms
    }
}

impl LatencySummary {
    /// Of exact values, in any order.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        values.sort_unstable_by(f64::total_cmp);
        let rank = |share| percentile(&values, share);
        Self {
            mean: values.iter().sum::<f64>() / values.len() as f64,
            p50: rank(0.5),
            p90: rank(0.9),
            p99: rank(0.99),
        }
    }
}

impl Figures {
    /// Of a whole run.
    pub(crate) fn of(outcome: &Outcome, slo: &Slo) -> Self {
        let mut figures = Self::of_records(&outcome.records, slo);
        let busiest = outcome.busy_ns.iter().max().copied().unwrap_or(0) as f64;
        let busy: u64 = outcome.busy_ns.iter().sum();
        figures.imbalance = busiest * outcome.busy_ns.len() as f64 / (busy as f64).max(1.0);
        figures.preemptions = outcome.preemptions;
        figures.scrapes_per_second = outcome.scrapes as f64 / seconds(&outcome.records);
        let served = || outcome.records.iter().filter(|record| record.is_served());
        figures.ttft_distribution = distribution(served().map(Record::ttft_ms).collect());
        figures.e2e_distribution = distribution(served().map(Record::e2e_ms).collect());
        figures.digest = format!("{:016x}", digest(&outcome.records));
        figures
    }

    /// Of some records; what concerns servers is left out.
    pub(crate) fn of_records(records: &[Record], slo: &Slo) -> Self {
        let served = || records.iter().filter(|record| record.is_served());
        let sum = |count: fn(&Record) -> u32| served().map(|record| f64::from(count(record))).sum::<f64>();
        let prompt = sum(|record| record.prompt_tokens).max(1.0);
        Self {
            requests: records.len(),
            refused: records.iter().filter(|record| !record.is_served()).count() as u64,
            ttft_ms: LatencySummary::of(served().map(Record::ttft_ms).collect()),
            tpot_ms: LatencySummary::of(served().map(Record::tpot_ms).collect()),
            e2e_ms: LatencySummary::of(served().map(Record::e2e_ms).collect()),
            goodput: records.iter().filter(|record| record.keeps(slo)).count() as f64
                / records.len().max(1) as f64,
            hit_rate: sum(|record| record.cached) / prompt,
            output_tokens_per_second: sum(|record| record.output_tokens) / seconds(records),
            ..Self::default()
        }
    }
}

/// The share of prompt tokens that one cache without bounds, shared by all servers, would have had: what no policy can
/// exceed.
pub(crate) fn hit_bound(requests: impl Iterator<Item = Request>) -> f64 {
    let mut seen = FxHashSet::default();
    let mut hashes = Vec::new();
    let (mut cached, mut prompt) = (0_u64, 0_u64);
    for request in requests {
        request.hashes(&mut hashes);
        let usable = (request.prompt_tokens.saturating_sub(1) / BLOCK_TOKENS) as usize;
        let held = hashes.iter().take_while(|hash| seen.contains(*hash)).count().min(usable);
        seen.extend(hashes.iter().copied());
        cached += held as u64 * u64::from(BLOCK_TOKENS);
        prompt += u64::from(request.prompt_tokens);
    }
    cached as f64 / (prompt as f64).max(1.0)
}

/// The value that a share of the sorted values does not exceed. There is at least one.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

fn distribution(mut values: Vec<f64>) -> Vec<(f64, f64)> {
    if values.is_empty() {
        return Vec::new();
    }
    values.sort_unstable_by(f64::total_cmp);
    PLOTTED.iter().map(|percent| (*percent, percentile(&values, percent / 100.0))).collect()
}

/// From the first arrival to the last answer.
fn seconds(records: &[Record]) -> f64 {
    let first = records.iter().map(|record| record.at_ns).min().unwrap_or(0);
    let last = records.iter().map(|record| record.finished_ns).max().unwrap_or(0);
    (last.saturating_sub(first) as f64 / 1e9).max(1e-9)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

fn digest(records: &[Record]) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for record in records {
        for number in [record.at_ns, record.first_ns, record.finished_ns] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&record.server.to_le_bytes());
        hasher.update(&record.cached.to_le_bytes());
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::{Figures, LatencySummary, Record, Slo, hit_bound};
    use crate::simulate::request::{Request, Segment};

    #[test]
    fn percentiles_are_values_that_occurred() {
        let spread = LatencySummary::of((1..=100).rev().map(f64::from).collect());
        assert_eq!((spread.mean, spread.p50, spread.p90, spread.p99), (50.5, 50.0, 90.0, 99.0));
        assert_eq!(LatencySummary::of(vec![7.0]).p99, 7.0);
        assert_eq!(LatencySummary::of(Vec::new()), LatencySummary::default());
    }

    #[test]
    fn goodput_counts_requests_that_kept_both_promises() {
        let record = |first_ms: u64, finished_ms: u64| Record {
            first_ns: first_ms * 1_000_000,
            finished_ns: finished_ms * 1_000_000,
            output_tokens: 11,
            ..Record::new(&Request { prompt_tokens: 100, ..Request::default() }, Some(0))
        };
        let slo = Slo { ttft_ms: 100.0, tpot_ms: 10.0 };
        let records = [record(100, 200), record(101, 110), record(10, 120), record(0, 0)];
        let figures = Figures::of_records(&records, &slo);
        assert_eq!((figures.goodput, figures.refused), (0.25, 1));
    }

    #[test]
    fn the_bound_is_what_one_endless_cache_would_have() {
        let request = |tail| Request {
            prompt: vec![Segment { seed: 1, blocks: 3 }, Segment { seed: tail, blocks: 1 }],
            prompt_tokens: 256,
            ..Request::default()
        };
        // The second holds three blocks of four; the third all, but its last token is computed nevertheless.
        let bound = hit_bound([request(2), request(3), request(3)].into_iter());
        assert_eq!(bound, (192.0 + 192.0) / 768.0);
    }
}
