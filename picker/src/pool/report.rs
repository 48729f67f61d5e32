//! The state of a pool, for people.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;

use super::Pool;
use crate::endpoint::{Endpoint, Gate};
use crate::failure::LastFailure;

/// The state of a pool.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct PoolReport {
    /// The pool's name.
    pub name: Arc<str>,
    /// Mean utilization of the endpoints whose load is known; 1 is saturated.
    pub saturation: f64,
    /// Whether every endpoint is full.
    pub is_full: bool,
    /// Requests that wait for an endpoint.
    pub queued_requests: usize,
    /// Bytes of their bodies.
    pub queued_bytes: u64,
    /// The pool's endpoints, in the order of the document.
    pub endpoints: Vec<EndpointReport>,
}

/// The state of an endpoint.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct EndpointReport {
    /// Where requests are sent.
    pub address: SocketAddr,
    /// Its name, such as `namespace/pod`.
    pub name: Arc<str>,
    /// The model server's kind.
    pub engine: penstock_config::Engine,
    /// The last sample as it came; `None` before the first.
    pub scraped: Option<ScrapedReport>,
    /// What picks go by: the sample, corrected by what was sent and finished since.
    pub effective: EffectiveLoad,
    /// Requests of this gateway that are there now.
    pub in_flight: u32,
    /// Estimated tokens of those requests.
    pub tokens_in_flight: u64,
    /// Whether it is sent requests: `closed` (it is), `half-open` (one, on trial) or `ejected`.
    pub ejection: EjectionState,
    /// Milliseconds until an ejection ends.
    pub ejected_for_ms: Option<u64>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Blocks of prompts that it is believed to hold.
    pub prefix_blocks: usize,
    /// Scrapes that failed.
    pub scrape_errors: u64,
    /// What was wrong with the last scrape that failed.
    pub last_error: Option<Arc<str>>,
    /// Why the last attempt that failed did so; stays after one that worked.
    pub last_failure: Option<LastFailure>,
    /// Requests that it answered.
    pub served: u64,
    /// Requests that failed there.
    pub failed: u64,
    /// Requests that it refused for want of room.
    pub overloaded: u64,
    /// Requests whose client left.
    pub cancelled: u64,
    /// Moving average of the time to the first byte, in milliseconds.
    pub first_byte_ms: Option<f64>,
}

/// A sample of an endpoint's load.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct ScrapedReport {
    /// Engines behind the address.
    pub engines: u32,
    /// Requests waiting, over all engines.
    pub waiting: u32,
    /// Requests running, over all engines.
    pub running: u32,
    /// Share of the KV cache in use; the mean of several engines.
    pub kv_usage: f64,
    /// LoRA adapters of running requests.
    pub active_adapters: Vec<Box<str>>,
    /// Milliseconds since it was asked for.
    pub age_ms: u64,
    /// Whether it is too old to go by.
    pub is_stale: bool,
}

/// An endpoint's load as picks see it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub struct EffectiveLoad {
    /// Requests waiting.
    pub waiting: u32,
    /// Requests running.
    pub running: u32,
    /// Share of the KV cache in use, where it is known.
    pub kv_usage: Option<f64>,
}

/// Whether an endpoint is sent requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EjectionState {
    /// It is.
    Closed,
    /// It is sent one request, on trial.
    HalfOpen,
    /// It is not.
    Ejected,
}

impl Pool {
    /// The state of the pool and its endpoints.
    pub fn report(&self) -> PoolReport {
        let state = self.state.load();
        let now_ns = self.shared.now_ns();
        let gauge = self.gauge(&state, now_ns);
        PoolReport {
            name: Arc::clone(&self.name),
            saturation: gauge.saturation(),
            is_full: gauge.is_full(),
            queued_requests: self.shared.queue.len(),
            queued_bytes: self.shared.queue.bytes(),
            endpoints: state
                .endpoints
                .iter()
                .map(|endpoint| self.report_endpoint(endpoint, now_ns))
                .collect(),
        }
    }

    fn report_endpoint(&self, endpoint: &Endpoint, now_ns: u64) -> EndpointReport {
        let load = endpoint.load.corrected(now_ns, self.shared.expiry_ns());
        let scrape = endpoint.scrape_state();
        let totals = &endpoint.totals;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        EndpointReport {
            address: endpoint.address(),
            name: Arc::clone(endpoint.name()),
            engine: endpoint.engine(),
            scraped: self.report_sample(endpoint, now_ns),
            effective: EffectiveLoad {
                waiting: load.waiting,
                running: load.running,
                kv_usage: load.kv_usage,
            },
            in_flight: load.in_flight,
            tokens_in_flight: load.tokens,
            ejection: match endpoint.breaker.gate(now_ns) {
                Gate::Closed => EjectionState::Closed,
                Gate::HalfOpen => EjectionState::HalfOpen,
                Gate::Ejected => EjectionState::Ejected,
            },
            ejected_for_ms: endpoint.breaker.remaining_ns(now_ns).map(to_ms),
            consecutive_failures: endpoint.breaker.failures(),
            prefix_blocks: self.index.held(endpoint.slot()),
            scrape_errors: scrape.errors,
            last_error: scrape.last_error,
            last_failure: endpoint.failures().last(),
            served: read(&totals.served),
            failed: read(&totals.failed),
            overloaded: read(&totals.overloaded),
            cancelled: read(&totals.cancelled),
            first_byte_ms: Some(read(&totals.first_byte_us)).filter(|us| *us > 0).map(|us| us as f64 / 1e3),
        }
    }

    fn report_sample(&self, endpoint: &Endpoint, now_ns: u64) -> Option<ScrapedReport> {
        let sample = endpoint.load.sample()?;
        let age_ns = now_ns.saturating_sub(sample.at_ns);
        Some(ScrapedReport {
            engines: sample.engines.get(),
            waiting: sample.waiting,
            running: sample.running,
            kv_usage: sample.kv_usage,
            active_adapters: endpoint
                .lora
                .load()
                .as_ref()
                .map(|lora| lora.active.clone())
                .unwrap_or_default(),
            age_ms: to_ms(age_ns),
            is_stale: age_ns > self.shared.expiry_ns(),
        })
    }
}

fn to_ms(ns: u64) -> u64 {
    ns / 1_000_000
}
