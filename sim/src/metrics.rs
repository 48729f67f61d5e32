//! Metrics of a server, and the page that shows them, series by series as vLLM 0.32 does.
//!
//! No metrics library: a page is rendered 20 times a second by every gateway that scrapes, for a thousand servers
//! in one process, so it is written straight from the counters into one buffer.

mod families;
mod page;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use self::families::{Family, HISTOGRAMS};
pub(crate) use self::page::{Page, render};
use super::options::KvOptions;

/// Gauges that a server reports instead of its own, in the JSON shape of llm-d-inference-sim's `--fake-metrics`.
/// What is absent stays real.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FakeMetrics {
    /// `vllm:num_requests_running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_requests: Option<f64>,
    /// `vllm:num_requests_waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_requests: Option<f64>,
    /// `vllm:kv_cache_usage_perc`, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_usage: Option<f64>,
    /// Series of `vllm:lora_requests_info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loras: Option<Vec<FakeLoras>>,
}

/// One series of `vllm:lora_requests_info`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FakeLoras {
    /// Running adapters, comma-separated.
    #[serde(default)]
    pub running: String,
    /// Waiting adapters, comma-separated.
    #[serde(default)]
    pub waiting: String,
    /// The series' value: seconds since 1970.
    #[serde(default)]
    pub timestamp: f64,
}

/// The page of a server that has done nothing yet: what a gateway that scrapes it reads, some 60 KB. For an upstream
/// that is cheaper than this one and is scraped all the same.
#[must_use]
pub fn idle_page(model: &str) -> String {
    let kv = KvOptions::default();
    let page = Page {
        model,
        load: Load::default(),
        fakes: None,
        max_loras: 1,
        lora_names: &|_| String::new(),
        block_tokens: kv.block_tokens,
        blocks: kv.blocks,
        reuses_prefixes: kv.reuses_prefixes,
    };
    render(&Ledger::default(), &page)
}

/// What the gauges show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// Share of the KV cache in use, 0 to 1.
    pub(crate) kv_usage: f64,
    /// Adapters of running requests, by index.
    pub(crate) running_loras: Vec<usize>,
    /// Adapters of waiting requests, by index.
    pub(crate) waiting_loras: Vec<usize>,
}

/// A request that ended.
#[derive(Clone, Debug)]
pub(crate) struct FinishedRequest {
    /// `stop`, `length` or `abort`.
    pub(crate) reason: &'static str,
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) output_tokens: usize,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) is_cache_on: bool,
    pub(crate) queued: Duration,
    pub(crate) prefill: Duration,
    pub(crate) decode: Duration,
    pub(crate) total: Duration,
}

/// Counters of one server.
#[derive(Debug)]
pub(crate) struct Ledger {
    tables: Mutex<Tables>,
    /// Seconds since 1970.
    started: f64,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    histograms: Vec<Histogram>,
    finished: [u64; families::REASONS.len()],
    prompt_tokens: u64,
    cached_tokens: u64,
    cache_queries: u64,
    generation_tokens: u64,
    http: Vec<HttpCounter>,
}

#[derive(Clone, Debug, Default)]
struct Histogram {
    /// Observations of each bucket alone, one more than there are bounds.
    counts: Vec<u64>,
    sum: f64,
}

#[derive(Clone, Debug)]
struct HttpCounter {
    handler: &'static str,
    method: &'static str,
    class: u16,
    count: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { tables: Mutex::default(), started: now() }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Ledger {
    pub(crate) fn finished(&self, request: &FinishedRequest) {
        let mut tables = self.tables.lock();
        let uncached = request.prompt_tokens - request.cached_tokens;
        if let Some(at) = families::REASONS.iter().position(|reason| *reason == request.reason) {
            tables.finished[at] += 1;
        }
        tables.prompt_tokens += request.prompt_tokens as u64;
        tables.cached_tokens += request.cached_tokens as u64;
        tables.cache_queries += if request.is_cache_on { request.prompt_tokens as u64 } else { 0 };
        tables.generation_tokens += request.output_tokens as u64;
        tables.observe(Family::Queue, request.queued.as_secs_f64(), 1);
        tables.observe(Family::IterationTokens, uncached as f64, 1);
        tables.observe(Family::IterationTokens, 1.0, request.output_tokens.saturating_sub(1) as u64);
        if request.output_tokens > 0 {
            tables.observe(Family::TimeToFirstToken, (request.queued + request.prefill).as_secs_f64(), 1);
        }
        let steps = request.output_tokens.saturating_sub(1) as u64;
        let step = request.decode.as_secs_f64() / steps.max(1) as f64;
        // Tokens are booked at their request's mean: a histogram a token would cost more than the token.
        tables.observe(Family::InterToken, step, steps);
        if request.reason == "abort" {
            return;
        }
        tables.observe(Family::TimePerOutputToken, step, 1);
        tables.observe(Family::EndToEnd, request.total.as_secs_f64(), 1);
        tables.observe(Family::Inference, (request.prefill + request.decode).as_secs_f64(), 1);
        tables.observe(Family::Prefill, request.prefill.as_secs_f64(), 1);
        tables.observe(Family::Decode, request.decode.as_secs_f64(), 1);
        tables.observe(Family::PromptTokens, request.prompt_tokens as f64, 1);
        tables.observe(Family::ComputedTokens, uncached as f64, 1);
        tables.observe(Family::GenerationTokens, request.output_tokens as f64, 1);
        tables.observe(Family::MaxGenerationTokens, request.output_tokens as f64, 1);
        tables.observe(Family::ParamsN, 1.0, 1);
        if let Some(max) = request.max_tokens {
            tables.observe(Family::ParamsMaxTokens, max as f64, 1);
        }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, handler: &'static str, method: &'static str, status: u16) {
        let class = status / 100;
        let mut tables = self.tables.lock();
        let known = tables
            .http
            .iter_mut()
            .find(|counter| counter.handler == handler && counter.method == method && counter.class == class);
        match known {
            Some(counter) => counter.count += 1,
            None => tables.http.push(HttpCounter { handler, method, class, count: 1 }),
        }
    }
}

impl Tables {
    fn observe(&mut self, family: Family, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        if self.histograms.is_empty() {
            self.histograms.resize_with(HISTOGRAMS.len(), Histogram::default);
        }
        let bounds = HISTOGRAMS[family as usize].bounds.values;
        let histogram = &mut self.histograms[family as usize];
        if histogram.counts.is_empty() {
            histogram.counts.resize(bounds.len() + 1, 0);
        }
        histogram.counts[bounds.partition_point(|bound| *bound < value)] += times;
        histogram.sum += value * times as f64;
    }
}

#[cfg(test)]
mod tests;
