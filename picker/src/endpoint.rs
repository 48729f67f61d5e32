//! What is known about one endpoint: its address, its load as last sampled, and what this gateway has there.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use penstock_config::Engine;
use tokio::time::Instant;

use crate::{
    orca,
    scrape::{ScrapeCounters, Wake},
};

/// Identifies an endpoint for the life of the process; never used again, even for the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(u64);

/// One endpoint of one pool. All of its state is safe to read and write from any thread.
#[derive(Debug)]
pub struct Endpoint {
    id: EndpointId,
    address: SocketAddr,
    metrics_address: SocketAddr,
    name: Arc<str>,
    labels: BTreeMap<String, String>,
    engine: Engine,
    sample: ArcSwap<Option<Sampled>>,
    in_flight: AtomicU32,
    tokens_in_flight: AtomicU64,
    scrape: Mutex<ScrapeState>,
    wake: Wake,
    scrape_counters: ScrapeCounters,
}

/// The load of a model server as it reports it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadSample {
    /// Requests that wait for a place in the batch.
    pub waiting: u32,
    /// Requests in the batch.
    pub running: u32,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_usage: f64,
    /// LoRA adapters, where the server says.
    pub lora: Option<LoraState>,
    /// Tokens in a block of the KV cache.
    pub block_size: Option<u32>,
    /// Blocks of the KV cache.
    pub num_gpu_blocks: Option<u64>,
}

/// The LoRA adapters of a model server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoraState {
    /// Adapters of running requests.
    pub active: Vec<Box<str>>,
    /// Adapters of waiting requests.
    pub waiting: Vec<Box<str>>,
    /// Most adapters that can be active at once; 0 where the server does not say.
    pub max_lora: u32,
}

/// What this gateway had at an endpoint when a sample of its load was asked for.
///
/// Taken with [`Endpoint::mark`] before the scrape is sent and handed back with the sample, so that the picker can
/// tell the load that others cause from its own.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: Instant,
    in_flight: u32,
    tokens: u64,
}

/// Accounts for one request at one endpoint; settles exactly once, by [`InFlight::finish`] or when dropped.
#[derive(Debug)]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered, with whatever status but those below.
    Served,
    /// The endpoint could not be reached, broke off, ran into a timeout, or answered 500, 502 or 504.
    Failed,
    /// The endpoint said that it has no room (429, 503).
    Overloaded,
    /// The client went away first.
    Cancelled,
}

#[derive(Debug)]
struct Sampled {
    load: LoadSample,
    mark: Mark,
}

#[derive(Debug, Default)]
struct ScrapeState {
    errors: u64,
    last_error: Option<String>,
}

impl Endpoint {
    /// Identity of this endpoint, for [`crate::PickRequest::exclude`].
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Address that requests are sent to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Address of the metrics page.
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// Name to show, such as `namespace/pod`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The endpoint's labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// The model server's kind.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Requests of this gateway that are at the endpoint now. Scraping follows it: busy endpoints more often.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Notes what this gateway has at the endpoint now. To be taken right before a sample is asked for.
    pub fn mark(&self) -> Mark {
        Mark { at: Instant::now(), in_flight: self.in_flight(), tokens: self.tokens_in_flight.load(Relaxed) }
    }

    /// Takes in a sample of the endpoint's load, asked for at `mark`.
    pub fn store_sample(&self, sample: LoadSample, mark: Mark) {
        self.sample.store(Arc::new(Some(Sampled { load: sample, mark })));
    }

    /// Notes that a scrape failed. The last sample stays and grows old.
    pub fn record_scrape_error(&self, error: &dyn fmt::Display) {
        let mut state = self.scrape.lock();
        state.errors += 1;
        state.last_error = Some(error.to_string());
    }

    /// Takes in the load report of a response, the value of its header `endpoint-load-metrics`.
    /// What is not a load report is ignored.
    pub fn observe_load_report(&self, header_value: &[u8]) {
        let mark = self.mark();
        let report = orca::parse(header_value);
        self.scrape_counters.count_report(report.is_ok());
        if let Some(report) = report.ok().filter(|report| !report.is_empty()) {
            let known = self.sample.load().as_ref().as_ref().map(|s| s.load.clone()).unwrap_or_default();
            self.store_sample(report.over(known), mark);
        }
    }

    /// Whom to tell when a request was counted in: an idle endpoint is then scraped at once.
    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Where scrapes and load reports of this endpoint are counted.
    pub(crate) fn scrape_counters(&self) -> &ScrapeCounters {
        &self.scrape_counters
    }
}

impl InFlight {
    /// Notes that the first byte of the response arrived.
    pub fn first_byte(&mut self) {}

    /// Settles the request.
    pub fn finish(self, _outcome: Outcome) {
        self.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}
