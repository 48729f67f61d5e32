//! Scrapes the metrics pages of a pool's endpoints.
//!
//! One task an endpoint, which does everything in turn: fetch the page, hand the numbers to the endpoint,
//! rest. So there is never more than one scrape of an endpoint at a time, and whatever a metrics server does
//! (hang, drip, lie, send garbage or without end) keeps one small task busy until its deadline and nothing
//! else. A central scheduler was turned down: a sleeping task costs less than its bookkeeping.
//!
//! | what | where |
//! |---|---|
//! | when to scrape next | `pace` |
//! | fetching a page | `client`, `tls` |
//! | reading it | [`page`] |
//! | why a scrape failed | `error` |
//!
//! The endpoint has the other half of it: its load, the counters, and what ends a pause when there is traffic.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use penstock_config::PoolSpec;
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};

mod client;
mod error;
pub(crate) mod pace;
pub mod page;
mod tls;

pub use error::ScrapeError;
pub(crate) use pace::Budget;
pub use tls::TlsError;

use client::{Client, PageAddress};
use pace::{Pace, Pause, ScrapeOutcome, jittered};
use page::Reading;
use tls::TlsClient;

use crate::{
    endpoint::Endpoint,
    engine::EngineSeries,
    load::{EngineCount, LoadSample, LoraState},
    random,
};

/// Characters of an error that are kept for people to read: it may quote what a server sent.
const MAX_ERROR_CHARS: usize = 200;

/// How the endpoints of one pool are scraped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScrapeSpec {
    /// Path of the metrics page, with its leading slash.
    path: Arc<str>,
    /// Pause between two scrapes of a busy endpoint.
    min_interval: Duration,
    /// Pause between two scrapes of an idle endpoint.
    max_interval: Duration,
    /// Deadline of one scrape, from connecting to the page's last byte.
    timeout: Duration,
    /// A page longer than this many bytes is not read to its end.
    max_bytes: usize,
    /// TLS towards the pool. A metrics page on a port of its own is taken to be plain, as exporters are.
    tls: Option<Arc<TlsClient>>,
    /// What is shown to be let in. Nor is that meant for another program, at a port of its own.
    shown: Option<Shown>,
}

/// What is shown to a metrics page to be let in.
pub trait Shows: Send + Sync {
    /// The header, as it is now; `None` if there is none.
    fn header(&self) -> Option<(HeaderName, HeaderValue)>;
}

/// Two are equal if they are the same.
#[derive(Clone)]
struct Shown(Arc<dyn Shows>);

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Shown(…)")
    }
}

impl ScrapeSpec {
    /// How the endpoints of this pool are scraped; nothing if they are not.
    pub(crate) fn of(pool: &PoolSpec, shown: Option<Arc<dyn Shows>>) -> Option<Self> {
        let metrics = &pool.metrics;
        metrics.enabled.then(|| Self {
            path: Arc::from(&*metrics.path),
            min_interval: metrics.min_interval,
            max_interval: metrics.max_interval,
            timeout: metrics.timeout,
            max_bytes: metrics.max_bytes,
            tls: pool.tls.clone().map(|spec| Arc::new(TlsClient::new(spec))),
            shown: shown.map(Shown),
        })
    }

    fn page(&self, endpoint: &Endpoint) -> PageAddress {
        let address = endpoint.metrics_address();
        let is_own = address == endpoint.address();
        let (tls, shown) = (self.tls.clone().filter(|_| is_own), self.shown.clone().filter(|_| is_own));
        PageAddress { address, path: Arc::clone(&self.path), tls, shown }
    }
}

/// Scrapes `endpoint` until the returned handle is aborted. Must be called within a tokio runtime.
pub(crate) fn spawn(endpoint: Arc<Endpoint>, spec: Arc<ScrapeSpec>, budget: Arc<Budget>) -> AbortHandle {
    tokio::spawn(scrape_forever(endpoint, spec, budget)).abort_handle()
}

async fn scrape_forever(endpoint: Arc<Endpoint>, spec: Arc<ScrapeSpec>, budget: Arc<Budget>) {
    let series = EngineSeries::of(endpoint.engine());
    let mut client = Client::new(spec.page(&endpoint), series, spec.max_bytes);
    let mut pace = Pace::new(spec.min_interval, spec.max_interval, budget);
    let mut was_woken = false;
    sleep(spec.min_interval.mul_f64(random::unit())).await;
    loop {
        let outcome = scrape(&endpoint, &spec, &mut client).await;
        let pause = pace.next(outcome, was_woken || endpoint.in_flight() > 0);
        was_woken = client.idle_during(sit_out(&endpoint, pause)).await;
    }
}

/// One scrape, with all that comes of it.
async fn scrape(endpoint: &Endpoint, spec: &ScrapeSpec, client: &mut Client) -> ScrapeOutcome {
    let mark = endpoint.mark();
    let started = Instant::now();
    let fetched = timeout(spec.timeout, client.fetch()).await;
    let fetched = fetched.unwrap_or(Err(ScrapeError::Timeout(spec.timeout)));
    let took = started.elapsed();
    let counters = endpoint.scrape_counters();
    counters.count_cost(client.take_bytes(), took);
    match fetched {
        Ok(reading) => {
            counters.count_success(reading.malformed);
            let sample = sample(reading);
            let is_occupied = sample.waiting > 0 || sample.running > 0;
            endpoint.store_sample(sample, mark);
            ScrapeOutcome::Load { took, is_occupied }
        }
        Err(error) => {
            counters.count_error(error.kind());
            endpoint
                .record_scrape_error(&error.to_string().chars().take(MAX_ERROR_CHARS).collect::<String>());
            error.outcome()
        }
    }
}

/// Sits a pause out, or as much of it as there is no traffic. Returns whether traffic ended it.
async fn sit_out(endpoint: &Endpoint, pause: Pause) -> bool {
    let length = jittered(pause.length, random::unit());
    let Some(floor) = pause.wakes_after else {
        sleep(length).await;
        return false;
    };
    sleep(floor).await;
    let wake = endpoint.wake();
    wake.begin_pause();
    let is_woken =
        endpoint.in_flight() > 0 || timeout(length.saturating_sub(floor), wake.woken()).await.is_ok();
    wake.end_pause();
    is_woken
}

/// What a page does not say counts as zero, for all endpoints of the engine alike.
fn sample(reading: Reading) -> LoadSample {
    LoadSample {
        engines: EngineCount::new(reading.engines),
        waiting: reading.waiting.unwrap_or(0),
        running: reading.running.unwrap_or(0),
        kv_usage: reading.kv_usage.unwrap_or(0.0),
        lora: reading.adapters.map(|adapters| LoraState {
            active: adapters.active,
            waiting: adapters.waiting,
            max_lora: adapters.max,
        }),
        block_size: reading.block_tokens,
        num_gpu_blocks: reading.blocks,
    }
}

#[cfg(test)]
mod tests;
