//! Metrics by pool and backend, and by model within them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use penstock_tap::{Usage, UsageSource};
use prometheus::Registry;
use rustc_hash::FxHashMap;

use super::{
    OTHER,
    clock::INTER_TOKEN_BOUNDS,
    family::{Family, Value},
    gen_ai::{Conventions, GenAiCall, GenAiEnd, GenAiFamilies, GenAiModel},
    histogram::{Bounds, Histogram},
    outcome::{PickOutcome, ScrapeOutcome},
    value::{Counter, Dollars, Gauge},
};
use crate::error::CircuitBound;

/// The bounds that OpenTelemetry's conventions for generative AI advise for the time to the first token, and 30 and 60
/// seconds, in microseconds.
const FIRST_TOKEN_BOUNDS: Bounds = &[
    1_000, 5_000, 10_000, 20_000, 40_000, 60_000, 80_000, 100_000, 250_000, 500_000, 750_000, 1_000_000,
    2_500_000, 5_000_000, 7_500_000, 10_000_000, 30_000_000, 60_000_000,
];

/// How long a request waited in a pool's queue, in microseconds.
const QUEUE_BOUNDS: Bounds = &[
    100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// The two kinds of upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// Endpoints that the picker scores.
    Pool,
    /// Endpoints that are balanced without looking into them.
    Backend,
}

/// A pool or a backend, as metrics know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamName<'a> {
    /// Pool or backend.
    pub(crate) kind: UpstreamKind,
    /// Its name.
    pub(crate) name: &'a str,
    /// Who serves there, by OpenTelemetry's names.
    pub(crate) provider: &'static str,
    /// What is recorded of it by names of others.
    pub(crate) conventions: Conventions,
}

/// The kinds of tokens that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// See [`Usage::input`].
    Input,
    /// See [`Usage::output`].
    Output,
    /// See [`Usage::cached_input`].
    CachedInput,
    /// See [`Usage::cache_creation`].
    CacheCreation,
    /// See [`Usage::reasoning`].
    Reasoning,
}

/// The families with labels `upstream_kind` and `upstream`.
#[derive(Debug)]
pub(super) struct UpstreamFamilies {
    picks: Family<Counter>,
    attempts: Family<Counter>,
    retries: Family<Counter>,
    failovers: Family<Counter>,
    cooldowns: Family<Counter>,
    circuits: Family<Counter>,
    credentials_refused: Family<Counter>,
    in_flight: Family<Gauge>,
    queue_waits: Family<Histogram>,
    scrapes: Family<Counter>,
    ejections: Family<Counter>,
    unended: Family<Counter>,
    prefix_blocks: Family<Counter>,
    first_tokens: Family<Histogram>,
    inter_tokens: Family<Histogram>,
    tokens: Family<Counter>,
    usage_sources: Family<Counter>,
    costs: Family<Dollars>,
    unpriced: Family<Counter>,
    gen_ai: GenAiFamilies,
}

/// A pool's or backend's metrics. Keep it with the pool or backend.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamMetrics {
    kind: UpstreamKind,
    name: Box<str>,
    picks: [Arc<Counter>; PickOutcome::ALL.len()],
    scrapes: [Arc<Counter>; ScrapeOutcome::ALL.len()],
    retries: Family<Counter>,
    failovers: Family<Counter>,
    circuits: Family<Counter>,
    /// Times that it, or an endpoint of it, asked to be left alone.
    pub cooldowns: Arc<Counter>,
    /// Responses that refuse the gateway's credential.
    pub credentials_refused: Arc<Counter>,
    /// Attempts sent to an endpoint.
    pub attempts: Arc<Counter>,
    /// Attempts being served.
    pub in_flight: Arc<Gauge>,
    /// How long requests waited for a free endpoint.
    pub queue_wait: Arc<Histogram>,
    /// Endpoints taken out after failures.
    pub ejections: Arc<Counter>,
    /// Streams that ended well without their last event.
    pub unended: Arc<Counter>,
    prefix_asked: Arc<Counter>,
    prefix_matched: Arc<Counter>,
    usage_sources: [Arc<Counter>; UsageSource::ALL.len()],
    models: FxHashMap<Box<str>, Arc<ModelMetrics>>,
    other: Arc<ModelMetrics>,
}

/// A model's metrics at one upstream.
#[derive(Debug)]
pub(crate) struct ModelMetrics {
    first_token: Arc<Histogram>,
    inter_token: Arc<Histogram>,
    tokens: [Arc<Counter>; TokenKind::ALL.len()],
    /// Its labels, and what there are series of only where somebody said what tokens cost.
    labels: [Box<str>; 3],
    costs: Family<Dollars>,
    cost: OnceLock<Arc<Dollars>>,
    unpriced: Family<Counter>,
    gen_ai: Option<GenAiModel>,
}

impl UpstreamFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let counter = |name, help, labels| Family::register(registry, name, help, labels, Counter::default);
        let histogram = |name, help, labels, bounds| {
            Family::register(registry, name, help, labels, move || Histogram::new(bounds))
        };
        Self {
            picks: counter(
                "penstock_picks_total",
                "Picks of an endpoint, by what they came to.",
                &["upstream_kind", "upstream", "outcome"],
            ),
            attempts: counter(
                "penstock_upstream_attempts_total",
                "Attempts sent to an endpoint, the first ones and retries.",
                &["upstream_kind", "upstream"],
            ),
            retries: counter(
                "penstock_retries_total",
                "Attempts that followed a failed one, by what had failed.",
                &["upstream_kind", "upstream", "reason"],
            ),
            failovers: counter(
                "penstock_failovers_total",
                "Targets that a request left for another, by why they were left.",
                &["upstream_kind", "upstream", "to_kind", "to", "reason"],
            ),
            cooldowns: counter(
                "penstock_cooldowns_total",
                "Responses after which an upstream, or an endpoint of it, was left alone for a while.",
                &["upstream_kind", "upstream"],
            ),
            circuits: counter(
                "penstock_circuit_open_total",
                "Requests that a backend's circuit breaker kept from it, by the bound that was reached.",
                &["upstream_kind", "upstream", "bound"],
            ),
            credentials_refused: counter(
                "penstock_credentials_refused_total",
                "Responses by which an upstream refused the gateway's credential (401 and 403).",
                &["upstream_kind", "upstream"],
            ),
            in_flight: Family::register(
                registry,
                "penstock_upstream_in_flight",
                "Attempts being served.",
                &["upstream_kind", "upstream"],
                Gauge::default,
            ),
            queue_waits: histogram(
                "penstock_queue_wait_seconds",
                "How long requests waited for a free endpoint.",
                &["pool"],
                QUEUE_BOUNDS,
            ),
            scrapes: counter(
                "penstock_scrapes_total",
                "Scrapes of endpoints' metrics, by what they came to.",
                &["pool", "outcome"],
            ),
            ejections: counter(
                "penstock_ejections_total",
                "Endpoints taken out after failures.",
                &["upstream_kind", "upstream"],
            ),
            unended: counter(
                "penstock_streams_without_last_event_total",
                "Streamed answers that ended well but for the event that ends them, such as [DONE] or message_stop.",
                &["upstream_kind", "upstream"],
            ),
            prefix_blocks: counter(
                "penstock_prefix_blocks_total",
                "Blocks of prompts: all, and those that the picked endpoint was known to hold.",
                &["pool", "kind"],
            ),
            first_tokens: histogram(
                "penstock_time_to_first_token_seconds",
                "From a streamed request's first byte to the first event with content.",
                &["upstream_kind", "upstream", "model"],
                FIRST_TOKEN_BOUNDS,
            ),
            inter_tokens: histogram(
                "penstock_inter_token_latency_seconds",
                "Between events with content of one stream; recorded when the stream ends.",
                &["upstream_kind", "upstream", "model"],
                INTER_TOKEN_BOUNDS,
            ),
            tokens: counter(
                "penstock_tokens_total",
                "Tokens that model servers counted, and output estimated where they did not; cached_input and \
                 cache_creation are part of input, reasoning of output.",
                &["upstream_kind", "upstream", "model", "kind"],
            ),
            usage_sources: counter(
                "penstock_usage_sources_total",
                "Responses with tokens, by where they were counted: reported by the model server, estimated from the \
                 events of a stream, or nowhere, because the response was encoded.",
                &["upstream_kind", "upstream", "source"],
            ),
            costs: Family::register(
                registry,
                "penstock_cost_dollars_total",
                "What requests cost by the prices of the routing document, in US dollars.",
                &["upstream_kind", "upstream", "model"],
                Dollars::default,
            ),
            unpriced: counter(
                "penstock_requests_without_price_total",
                "Requests with usage whose model has no price at its upstream, where there are prices: they cost nothing, also \
                 of limits.",
                &["upstream_kind", "upstream", "model"],
            ),
            gen_ai: GenAiFamilies::register(registry),
        }
    }

    pub(super) fn upstream<'a>(
        &self,
        upstream: UpstreamName<'_>,
        models: impl Iterator<Item = (&'a str, Arc<str>)>,
    ) -> UpstreamMetrics {
        let UpstreamName { kind, name, .. } = upstream;
        let key = [kind.label(), name];
        UpstreamMetrics {
            kind,
            name: name.into(),
            picks: PickOutcome::ALL.map(|outcome| self.picks.get(&[kind.label(), name, outcome.label()])),
            scrapes: ScrapeOutcome::ALL.map(|outcome| of_pool(kind, &self.scrapes, &[name, outcome.label()])),
            retries: self.retries.clone(),
            failovers: self.failovers.clone(),
            circuits: self.circuits.clone(),
            cooldowns: self.cooldowns.get(&key),
            credentials_refused: self.credentials_refused.get(&key),
            attempts: self.attempts.get(&key),
            in_flight: self.in_flight.get(&key),
            queue_wait: of_pool(kind, &self.queue_waits, &[name]),
            ejections: self.ejections.get(&key),
            unended: self.unended.get(&key),
            prefix_asked: of_pool(kind, &self.prefix_blocks, &[name, "asked"]),
            prefix_matched: of_pool(kind, &self.prefix_blocks, &[name, "matched"]),
            usage_sources: UsageSource::ALL
                .map(|source| self.usage_sources.get(&[kind.label(), name, source.name()])),
            models: models.map(|(model, label)| (model.into(), self.model(upstream, &label))).collect(),
            other: self.model(upstream, OTHER),
        }
    }

    pub(super) fn retain(&self, conventions: Conventions, is_kept: &dyn Fn(&str, &str) -> bool) {
        for family in [
            &self.picks,
            &self.attempts,
            &self.retries,
            &self.failovers,
            &self.cooldowns,
            &self.circuits,
            &self.credentials_refused,
            &self.scrapes,
            &self.ejections,
            &self.unended,
            &self.prefix_blocks,
            &self.tokens,
            &self.usage_sources,
            &self.unpriced,
        ] {
            family.retain(is_kept);
        }
        for family in [&self.queue_waits, &self.first_tokens, &self.inter_tokens] {
            family.retain(is_kept);
        }
        self.gen_ai.retain(conventions, is_kept);
        self.in_flight.retain(is_kept);
        self.costs.retain(is_kept);
    }

    fn model(&self, upstream: UpstreamName<'_>, model: &str) -> Arc<ModelMetrics> {
        let UpstreamName { kind, name, provider, conventions } = upstream;
        let key = [kind.label(), name, model];
        let tokens = TokenKind::ALL.map(|token| self.tokens.get(&[kind.label(), name, model, token.label()]));
        let first_token = self.first_tokens.get(&key);
        Arc::new(ModelMetrics {
            first_token,
            inter_token: self.inter_tokens.get(&key),
            tokens,
            labels: key.map(Box::from),
            costs: self.costs.clone(),
            cost: OnceLock::new(),
            unpriced: self.unpriced.clone(),
            gen_ai: self.gen_ai.model(conventions, provider, model),
        })
    }
}

impl UpstreamMetrics {
    /// The handle for a model: its own where the configuration names it, else the one of [`OTHER`].
    pub(crate) fn model(&self, model: &str) -> &Arc<ModelMetrics> {
        self.models.get(model).unwrap_or(&self.other)
    }

    /// Counts what a request for a model cost, in nano-dollars; `None` if nobody said.
    pub(crate) fn costed(&self, model: &str, cost: Option<u64>) {
        let model = self.model(model);
        let labels = || model.labels.each_ref().map(|label| &**label);
        match cost {
            Some(cost) => model.cost.get_or_init(|| model.costs.get(&labels())).add(cost),
            None => model.unpriced.get(&labels()).increment(),
        }
    }

    /// Counts a pick.
    pub(crate) fn picked(&self, outcome: PickOutcome) {
        self.picks[outcome as usize].increment();
    }

    /// Counts a request that the circuit breaker kept away.
    pub(crate) fn circuit_open(&self, bound: CircuitBound) {
        self.circuits.get(&[self.kind.label(), &self.name, bound.name()]).increment();
    }

    /// Counts the blocks of a picked request's prompt: all, and those that the endpoint was known to hold.
    pub(crate) fn prefix(&self, blocks: usize, matched_blocks: usize) {
        self.prefix_asked.add(blocks as u64);
        self.prefix_matched.add(matched_blocks as u64);
    }

    /// Counts a response by where its tokens were counted.
    pub(crate) fn counted(&self, source: UsageSource) {
        self.usage_sources[source as usize].increment();
    }

    /// Counts scrapes.
    pub(crate) fn scraped(&self, outcome: ScrapeOutcome, times: u64) {
        self.scrapes[outcome as usize].add(times);
    }

    /// Counts a retry. `reason` is the failed attempt's [`Row::reason`](crate::error::Row::reason), or `status_503` and
    /// the like.
    pub(crate) fn retried(&self, reason: &'static str) {
        self.retries.get(&[self.kind.label(), &self.name, reason]).increment();
    }

    /// Counts a request that left this one for another. `reason` is the failed attempt's, or what a pick came to.
    pub(crate) fn failed_over(&self, to: &Self, reason: &'static str) {
        let labels = [self.kind.label(), &self.name, to.kind.label(), &to.name, reason];
        self.failovers.get(&labels).increment();
    }

    /// Records how long a request waited for a free endpoint.
    pub(crate) fn waited(&self, duration: Duration) {
        self.queue_wait.observe(duration);
    }
}

impl ModelMetrics {
    pub(super) fn record(&self, call: Option<GenAiCall<'_>>, end: GenAiEnd<'_>) {
        if let (Some(gen_ai), Some(call)) = (&self.gen_ai, call) {
            gen_ai.record(call, end);
        }
        let GenAiEnd { stream, usage, .. } = end;
        if let Some(stream) = stream {
            if let Some(duration) = stream.time_to_first_token() {
                self.first_token.observe(duration);
            }
            self.inter_token.merge(stream.gaps());
        }
        for (counter, kind) in self.tokens.iter().zip(TokenKind::ALL) {
            if let Some(count) = kind.of(usage).filter(|count| *count > 0) {
                counter.add(count);
            }
        }
    }
}

impl UpstreamKind {
    /// The kind as a label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::Backend => "backend",
        }
    }
}

impl TokenKind {
    const ALL: [Self; 5] =
        [Self::Input, Self::Output, Self::CachedInput, Self::CacheCreation, Self::Reasoning];

    const fn label(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CachedInput => "cached_input",
            Self::CacheCreation => "cache_creation",
            Self::Reasoning => "reasoning",
        }
    }

    const fn of(self, usage: &Usage) -> Option<u64> {
        match self {
            Self::Input => usage.input,
            Self::Output => usage.output,
            Self::CachedInput => usage.cached_input,
            Self::CacheCreation => usage.cache_creation,
            Self::Reasoning => usage.reasoning,
        }
    }
}

/// A series that only pools have. A backend gets one that is exposed nowhere, so that nobody has to ask.
fn of_pool<V: Value>(kind: UpstreamKind, family: &Family<V>, values: &[&str]) -> Arc<V> {
    match kind {
        UpstreamKind::Pool => family.get(values),
        UpstreamKind::Backend => family.detached(),
    }
}
