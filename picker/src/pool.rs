//! One pool: endpoints, the profile that ranks them, and the queue in front of them.

mod explain;
mod gather;
mod members;
mod report;

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use penstock_config::{SaturationAction, SaturationSpec};
use tokio::time::{Instant, timeout_at};

use self::members::Members;
pub use self::{
    explain::{ExplainedEndpoint, Explanation},
    report::{EffectiveLoad, EjectionState, EndpointReport, PoolReport, ScrapedReport},
};
use crate::{
    endpoint::{BYTES_PER_TOKEN, Endpoint, Gate, InFlight, ScrapeCounters, Shared, estimate_tokens},
    endpoint_id::EndpointId,
    prefix::{Chain, MAX_BLOCKS, PrefixIndex},
    profile::{NoObserver, Profile, Scratch},
    request::{PickError, PickRequest},
    saturation::Gauge,
    scorer::{Candidate, Context},
    scrape::Budget,
    session::{ID_TTL_NS, SessionIds},
};

/// Headers that name an objective: today's and the one before it.
const OBJECTIVE_HEADERS: [HeaderName; 2] = [
    HeaderName::from_static("x-llm-d-inference-objective"),
    HeaderName::from_static("x-gateway-inference-objective"),
];
/// Times that a pick starts over because another one took the probe of a half-open endpoint first.
const PROBE_RACES: usize = 3;
/// About so many of the last requests make up what is typical.
const TYPICAL_OF: u64 = 64;

/// A waiting request sees to it that the first in line tries again this often: samples that grow old and ejections
/// that end make room without waking anyone.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// One pool of model servers.
#[derive(Debug)]
pub struct Pool {
    name: Arc<str>,
    shared: Arc<Shared>,
    state: ArcSwap<State>,
    index: PrefixIndex,
    members: Mutex<Members>,
    /// Picks for prompts that no endpoint held.
    cold_picks: AtomicU64,
    /// Moving average of the prompt tokens to be computed for a request, times its weight.
    typical_prefill: AtomicU64,
    sessions: SessionIds,
    scrape_budget: Arc<Budget>,
}

/// The outcome of a pick.
#[derive(Debug)]
pub struct Picked {
    /// Where to send the request.
    pub endpoint: Arc<Endpoint>,
    /// Accounts for the request until it is finished or dropped.
    pub in_flight: InFlight,
    /// How many of the prompt's 256-byte blocks the endpoint is believed to hold.
    pub matched_blocks: usize,
    /// Header to set on the response where the pool's profile keeps sessions together.
    pub session: Option<(HeaderName, HeaderValue)>,
}

/// What a pick reads; replaced as a whole when the configuration changes.
#[derive(Debug, Clone, Default)]
struct State {
    endpoints: Vec<Arc<Endpoint>>,
    /// What all gateways know them by, in the same order.
    homes: Vec<u64>,
    /// Places of endpoints by their slot.
    by_slot: Vec<Option<u32>>,
    profile: Arc<Profile>,
    saturation: SaturationSpec,
    objectives: HashMap<Arc<str>, i32>,
}

impl Pool {
    /// The pool's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The pool's endpoints.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.state.load().endpoints.clone()
    }

    /// How often an endpoint was taken out after failures, since the pool was made.
    pub fn ejections(&self) -> u64 {
        self.shared.quota.ejections.load(Relaxed)
    }

    /// Whether the pool has an endpoint now that is none of these. They may have left it.
    pub fn has_other(&self, than: impl Fn(EndpointId) -> bool) -> bool {
        self.state.load().endpoints.iter().any(|endpoint| !than(endpoint.id()))
    }

    /// How scraping its endpoints went, those that have left included.
    pub fn scrape_counters(&self) -> &ScrapeCounters {
        &self.shared.scrapes
    }

    /// Picks an endpoint, without waiting.
    ///
    /// # Errors
    /// Says why no endpoint can take the request; see [`PickError`].
    pub fn pick(&self, request: &PickRequest<'_>) -> Result<Picked, PickError> {
        let state = self.state.load();
        SCRATCH.with_borrow_mut(|scratch| self.pick_with(&state, request, scratch))
    }

    /// Picks an endpoint; waits in the pool's queue, where it has one, while every endpoint is full.
    /// Dropping the future gives the place in the queue up.
    ///
    /// # Errors
    /// As [`Self::pick`], and [`PickError::QueueFull`] and [`PickError::QueueTimeout`].
    pub async fn admit(&self, request: &PickRequest<'_>) -> Result<Picked, PickError> {
        let spec = self.state.load().saturation.clone();
        if spec.action == SaturationAction::Reject {
            return self.pick(request);
        }
        let priority = self.state.load().priority(request);
        if !self.shared.queue.is_ahead_of(priority) {
            match self.pick(request) {
                Err(PickError::Saturated { .. }) => {}
                other => return other,
            }
        }

        let retry_after = spec.retry_after;
        let (max_requests, max_bytes) = (spec.queue.max_requests as usize, spec.queue.max_bytes as u64);
        let deadline = Instant::now() + spec.queue.timeout;
        let ticket = self
            .shared
            .queue
            .join(priority, request.consumer, request.prompt_bytes, max_requests, max_bytes)
            .ok_or(PickError::QueueFull { retry_after })?;
        // What made room between the pick above and joining has woken nobody.
        self.shared.queue.wake_first();
        loop {
            let until = deadline.min(Instant::now() + RECHECK_INTERVAL);
            if timeout_at(until, ticket.turn()).await.is_err() {
                if Instant::now() >= deadline {
                    return Err(PickError::QueueTimeout { retry_after });
                }
                self.shared.queue.wake_first();
                continue;
            }
            match self.pick(request) {
                Err(PickError::Saturated { .. }) => {}
                other => return other,
            }
        }
    }

    fn pick_with(
        &self,
        state: &State,
        request: &PickRequest<'_>,
        scratch: &mut Scratch,
    ) -> Result<Picked, PickError> {
        let now_ns = self.shared.now_ns();
        let priority = state.priority(request);
        let context = self.context(state, request, now_ns);
        for _ in 0..PROBE_RACES {
            self.gather(state, request, &context, priority, scratch, now_ns)?;
            let candidate =
                state.profile.decide(&context, scratch, &mut NoObserver).ok_or(state.saturated())?;
            let endpoint = &state.endpoints[candidate.index];
            let is_probe = endpoint.breaker.gate(now_ns) == Gate::HalfOpen;
            if !is_probe || endpoint.breaker.begin_probe() {
                return Ok(self.take(state, request, scratch, candidate, is_probe));
            }
        }
        // Others keep probing what this one finds best; their answer will be known soon.
        Err(state.saturated())
    }

    /// Books the request on the chosen endpoint.
    fn take(
        &self,
        state: &State,
        request: &PickRequest<'_>,
        scratch: &Scratch,
        chosen: Candidate,
        is_probe: bool,
    ) -> Picked {
        let endpoint = &state.endpoints[chosen.index];
        let options = state.profile.prefix();
        if let (Some(options), Some(chain)) = (options, self.chain(state, request)) {
            let tuned = endpoint.load.kv_tokens().filter(|_| options.is_tuned).map(|tokens| {
                (tokens as f64 * state.profile.cache_memory()) as usize / options.block_tokens()
            });
            let share = MAX_BLOCKS / state.endpoints.len();
            self.index.record(
                &chain,
                endpoint.slot(),
                tuned.unwrap_or(options.capacity).clamp(1, share.max(1)),
            );
        }
        if state.profile.tracks_cold_picks() && scratch.matched.iter().all(|matched| *matched == 0) {
            let turn = self.cold_picks.fetch_add(1, Relaxed) + 1;
            endpoint.last_cold_pick.store(turn, Relaxed);
        }
        let tokens = estimate_tokens(request.prompt_bytes, request.max_tokens);
        let prefill = state.context(request).prefill(&chosen);
        self.note_prefill(prefill);
        if let Some(id) = state.session_id(request) {
            self.sessions.note(id, endpoint.id(), self.shared.now_ns(), ID_TTL_NS);
        }
        Picked {
            in_flight: endpoint.enter(tokens, prefill, is_probe),
            matched_blocks: chosen.matched as usize * options.map_or(1, |options| options.stride),
            session: state
                .profile
                .session_header()
                .map(|header| (header.clone(), endpoint.session_token().clone())),
            endpoint: Arc::clone(endpoint),
        }
    }

    /// What scorers know about the request and the pool.
    fn context<'a>(&self, state: &'a State, request: &PickRequest<'a>, now_ns: u64) -> Context<'a> {
        let session = state.session_id(request).and_then(|id| self.sessions.find(id, now_ns, ID_TTL_NS));
        Context { typical_prefill: self.typical_prefill(), session, ..state.context(request) }
    }

    /// The prompt as the index sees it; `None` if the profile does not ask or the prompt has no block.
    fn chain<'a>(&self, state: &State, request: &PickRequest<'a>) -> Option<Chain<'a>> {
        let options = state.profile.prefix()?;
        let chain = self.index.chain(request.model, request.blocks, options.stride, options.max_blocks);
        (!chain.is_empty()).then_some(chain)
    }

    /// Prompt tokens that requests of late had to have computed, on average.
    fn typical_prefill(&self) -> u64 {
        self.typical_prefill.load(Relaxed) / TYPICAL_OF
    }

    /// Adds a request to the average. Two at once may lose one of the updates, which an average does not mind.
    fn note_prefill(&self, tokens: u64) {
        let old = self.typical_prefill.load(Relaxed);
        self.typical_prefill.store(old - old / TYPICAL_OF + tokens.min(1 << 32), Relaxed);
    }

    fn gauge(&self, state: &State, now_ns: u64) -> Gauge {
        let mut gauge = Gauge::default();
        for endpoint in state.endpoints.iter().filter(|one| one.breaker.gate(now_ns) != Gate::Ejected) {
            let load = endpoint.load.corrected(now_ns, self.shared.expiry_ns());
            gauge.add(state.profile.detector(), &load, state.saturation.action);
        }
        gauge
    }
}

impl State {
    /// This one with other endpoints, whose slots are all below `slots`.
    fn with_endpoints(self, endpoints: Vec<Arc<Endpoint>>, slots: u16) -> Self {
        let mut by_slot = vec![None; usize::from(slots)];
        for (index, endpoint) in (0..).zip(&endpoints) {
            if let Some(place) = by_slot.get_mut(usize::from(endpoint.slot())) {
                *place = Some(index);
            }
        }
        let homes = endpoints.iter().map(|endpoint| endpoint.home_hash()).collect();
        Self { endpoints, homes, by_slot, ..self }
    }

    /// The request's priority: that of the objective it names, if the pool has it, or its own.
    fn priority(&self, request: &PickRequest<'_>) -> i32 {
        if self.objectives.is_empty() {
            return request.priority;
        }
        let named = OBJECTIVE_HEADERS.iter().find_map(|header| request.headers.get(header));
        named.and_then(|name| self.objectives.get(name.to_str().ok()?)).copied().unwrap_or(request.priority)
    }

    /// The session's id that the request has, where the profile goes by it.
    fn session_id<'a>(&self, request: &PickRequest<'a>) -> Option<&'a [u8]> {
        request.headers.get(self.profile.session_id_header()?).map(HeaderValue::as_bytes)
    }

    /// What the request itself tells scorers.
    fn context<'a>(&'a self, request: &PickRequest<'a>) -> Context<'a> {
        let options = self.profile.prefix();
        let (stride, max_blocks) = options.map_or((1, 0), |options| (options.stride, options.max_blocks));
        Context {
            endpoints: &self.endpoints,
            homes: &self.homes,
            model: request.model,
            headers: request.headers,
            prompt_tokens: request.prompt_bytes / BYTES_PER_TOKEN,
            typical_prefill: 0,
            session: None,
            hashes: request.blocks,
            stride,
            blocks: (request.blocks.len() / stride).min(max_blocks),
            block_tokens: options.map_or(0, |options| options.block_tokens()),
        }
    }

    fn saturated(&self) -> PickError {
        PickError::Saturated { retry_after: self.saturation.retry_after }
    }
}

#[cfg(test)]
mod tests;
