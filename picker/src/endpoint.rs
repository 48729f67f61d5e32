//! What is known about one endpoint: its address, its load as last sampled, what this gateway has there, and
//! whether it may be sent anything.

mod breaker;
mod in_flight;
mod scrape_counters;
mod shared;
mod wake;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::HeaderValue;
use parking_lot::Mutex;
use penstock_config::Engine;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use self::{
    breaker::{Breaker, EjectionPolicy, Gate},
    in_flight::{BYTES_PER_TOKEN, Totals, estimate_tokens},
    shared::Shared,
    wake::Wake,
};
pub use self::{
    in_flight::{InFlight, Outcome},
    scrape_counters::{ErrorKind, ScrapeCounters},
};
use crate::{
    endpoint_id::EndpointId,
    failure::Failures,
    load::{LoadSample, LoadState, LoraState},
    orca, session,
};

/// One endpoint of one pool. All of its state is safe to read and write from any thread.
#[derive(Debug)]
pub struct Endpoint {
    id: EndpointId,
    address: SocketAddr,
    name: Arc<str>,
    /// Place in the prefix index.
    slot: u16,
    session_token: HeaderValue,
    /// Of its address: what all gateways tell it by.
    home_hash: u64,
    attributes: ArcSwap<Attributes>,
    shared: Arc<Shared>,
    pub(crate) load: LoadState,
    pub(crate) breaker: Breaker,
    pub(crate) totals: Totals,
    /// When it was last picked for a prompt that no endpoint held, as a count of such picks; 0 for never.
    pub(crate) last_cold_pick: AtomicU64,
    pub(crate) lora: ArcSwapOption<LoraState>,
    scrape: Mutex<ScrapeState>,
    failures: Failures,
    wake: Wake,
    has_left: watch::Sender<bool>,
}

/// What of an endpoint may change while it stays the same endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) metrics_address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// What this gateway had at an endpoint when a sample of its load was asked for.
///
/// Taken with [`Endpoint::mark`] before the scrape is sent and handed back with the sample, so that the picker can
/// tell the load that others cause from its own.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// On the pool's clock.
    at_ns: u64,
    in_flight: u32,
    tokens: u64,
}

/// How scraping an endpoint went.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScrapeState {
    /// Scrapes that failed since the endpoint joined.
    pub(crate) errors: u64,
    /// What was wrong the last time; stays after a scrape that worked.
    pub(crate) last_error: Option<Arc<str>>,
}

impl Endpoint {
    pub(crate) fn new(
        address: SocketAddr,
        name: Arc<str>,
        attributes: Attributes,
        slot: u16,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: EndpointId::unused(),
            address,
            session_token: session::token(&name),
            home_hash: xxh3_64(address.to_string().as_bytes()),
            name,
            slot,
            attributes: ArcSwap::from_pointee(attributes),
            shared,
            load: LoadState::default(),
            breaker: Breaker::default(),
            totals: Totals::default(),
            last_cold_pick: AtomicU64::new(0),
            lora: ArcSwapOption::empty(),
            scrape: Mutex::default(),
            failures: Failures::default(),
            wake: Wake::default(),
            has_left: watch::Sender::new(false),
        })
    }

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
        self.attributes.load().metrics_address
    }

    /// Name to show, such as `namespace/pod`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The endpoint's labels.
    pub fn labels(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        self.attributes.load().labels.clone()
    }

    /// The model server's kind.
    pub fn engine(&self) -> Engine {
        self.attributes.load().engine
    }

    /// Why attempts at it failed.
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Requests of this gateway that are at the endpoint now. Scraping follows it: busy endpoints more often.
    pub fn in_flight(&self) -> u32 {
        self.load.in_flight()
    }

    /// Notes what this gateway has at the endpoint now. To be taken right before a sample is asked for.
    pub fn mark(&self) -> Mark {
        Mark {
            at_ns: self.shared.now_ns(),
            in_flight: self.in_flight(),
            tokens: self.load.tokens_in_flight(),
        }
    }

    /// Takes in a sample of the endpoint's load, asked for at `mark`.
    pub fn store_sample(&self, mut sample: LoadSample, mark: Mark) {
        let lora = sample.lora.take();
        if lora.as_ref() != self.lora.load().as_deref() {
            self.lora.store(lora.map(Arc::new));
        }
        self.store_load(&sample, mark);
    }

    /// Notes that a scrape failed. The last sample stays and grows old.
    pub fn record_scrape_error(&self, error: &dyn fmt::Display) {
        let message = Arc::from(error.to_string());
        let mut state = self.scrape.lock();
        state.errors += 1;
        state.last_error = Some(message);
    }

    /// Takes in the load report of a response, the value of its header `endpoint-load-metrics`.
    /// What is not a load report is ignored.
    pub fn observe_load_report(&self, header_value: &[u8]) {
        let mark = self.mark();
        let report = orca::parse(header_value);
        self.scrape_counters().count_report(report.is_ok());
        if let Some(report) = report.ok().filter(|report| !report.is_empty()) {
            // A report says nothing of adapters, so those that are known stay.
            let known = self.load.estimate(mark.at_ns, self.shared.expiry_ns());
            self.store_load(&report.over(known), mark);
        }
    }

    /// Ends the pause between two scrapes of an idle endpoint when a request is counted in.
    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Where scrapes and load reports are counted.
    pub(crate) fn scrape_counters(&self) -> &ScrapeCounters {
        &self.shared.scrapes
    }

    /// Place in the prefix index.
    pub(crate) fn slot(&self) -> u16 {
        self.slot
    }

    /// Value of the session header that leads back here.
    pub(crate) fn session_token(&self) -> &HeaderValue {
        &self.session_token
    }

    /// What all gateways know it by, to agree without talking.
    pub(crate) fn home_hash(&self) -> u64 {
        self.home_hash
    }

    /// Counts a request of about `tokens` tokens in, `prefill` of which are prompt that it has not cached.
    pub(crate) fn enter(self: &Arc<Self>, tokens: u64, prefill: u64, is_probe: bool) -> InFlight {
        InFlight::start(Arc::clone(self), tokens, prefill, is_probe)
    }

    /// Takes changed attributes over; `true` if what a scrape depends on changed.
    pub(crate) fn update(&self, attributes: Attributes) -> bool {
        let old = self.attributes.load();
        let is_scrape_affected =
            old.metrics_address != attributes.metrics_address || old.engine != attributes.engine;
        if **old != attributes {
            self.attributes.store(Arc::new(attributes));
        }
        is_scrape_affected
    }

    /// The endpoint leaves its pool.
    pub(crate) fn leave(&self) {
        self.breaker.leave(&self.shared.quota);
        self.has_left.send_replace(true);
    }

    /// Resolves when the endpoint has left its pool. Its address may then lead nowhere, without a word: whoever waits for
    /// it to answer need not.
    pub async fn left(&self) {
        // The sender is this endpoint's own. The guard that it returns must not live across another await.
        let _ = self.has_left.subscribe().wait_for(|has_left| *has_left).await;
    }

    pub(crate) fn scrape_state(&self) -> ScrapeState {
        self.scrape.lock().clone()
    }

    fn store_load(&self, sample: &LoadSample, mark: Mark) {
        self.load.store(sample, mark.at_ns, mark.in_flight, mark.tokens);
        self.shared.queue.wake_first();
    }
}
