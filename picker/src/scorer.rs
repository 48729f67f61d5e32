//! Scorers: how well each candidate suits a request, between 0 and 1.
//!
//! Names, formulas and defaults are those of the endpoint picker of llm-d (v0.10). A scorer sees all candidates at
//! once, since most compare them with each other; its result does not depend on their order. `expected-ttft-scorer` is
//! this picker's own, and its default. Requests and tokens count per engine, so that an address with eight of them is
//! compared with what it can take.

mod expected_ttft;

use std::sync::{Arc, atomic::Ordering::Relaxed};

use http::{HeaderMap, HeaderName};

pub(crate) use self::expected_ttft::ExpectedTtft;
use crate::{endpoint::Endpoint, endpoint_id::EndpointId, load::Load, prefix, session};

/// Share of the score that an idle endpoint gets from the load-aware scorer, and the most that a busy one gets.
const LOAD_AWARE_TOP: f64 = 0.5;
/// What the no-hit scorer gives all candidates when one of them holds some of the prompt.
const NEUTRAL: f64 = 0.5;

/// A scorer with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scorer {
    /// Fewest requests waiting, relative to the other candidates.
    Queue,
    /// Fewest requests running, relative to the other candidates.
    RunningRequests,
    /// Most of the KV cache free.
    KvCacheUtilization,
    /// Has the request's model loaded as an adapter, or room for it.
    LoraAffinity,
    /// Fewest requests waiting, on an absolute scale.
    LoadAware {
        /// Requests waiting at which the score reaches 0, at each engine.
        threshold: f64,
    },
    /// Fewest requests of this gateway, relative to the busiest candidate.
    ActiveRequest {
        /// Up to as many count as idle, at each engine.
        idle_threshold: u32,
        /// Score of the least busy one that is not idle, 0 to 1.
        max_busy_score: f64,
    },
    /// Fewest estimated tokens of this gateway's requests.
    TokenLoad {
        /// Tokens at which the score reaches 0, at each engine.
        threshold: f64,
    },
    /// Holds most of the prompt.
    PrefixCache {
        /// Share of the score that comes from the length held instead of from its share of the prompt, 0 to 1.
        length_weight: f64,
        /// Length in tokens that counts as long.
        max_tokens: f64,
    },
    /// Would begin to answer soonest, and delay others least.
    ExpectedTtft(ExpectedTtft),
    /// For a prompt that no candidate holds: the one that was least recently given such a prompt.
    NoHitLru {
        /// How many endpoints' turns are remembered.
        remembered: usize,
    },
    /// Served the session of that id last, as this gateway remembers it.
    SessionId {
        /// Header that carries the id.
        header: HeaderName,
    },
    /// Served the session before, by a token that says so.
    SessionAffinity {
        /// Header that carries the token.
        header: HeaderName,
    },
}

/// An endpoint that may be picked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// Its place in the pool's list.
    pub(crate) index: usize,
    pub(crate) load: Load,
    /// Blocks from the head of the prompt that it holds.
    pub(crate) matched: u32,
}

/// What scorers know about the request and the pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) endpoints: &'a [Arc<Endpoint>],
    /// What all gateways know each of them by.
    pub(crate) homes: &'a [u64],
    pub(crate) model: &'a str,
    pub(crate) headers: &'a HeaderMap,
    /// The endpoint that served the session last whose id the request has.
    pub(crate) session: Option<EndpointId>,
    /// Estimated tokens of the prompt.
    pub(crate) prompt_tokens: u64,
    /// Prompt tokens that requests of late had to have computed, on average.
    pub(crate) typical_prefill: u64,
    /// Chained hashes of the prompt's base blocks, and how many of them make a block.
    pub(crate) hashes: &'a [u64],
    pub(crate) stride: usize,
    /// Blocks of the prompt.
    pub(crate) blocks: usize,
    /// Tokens in a block.
    pub(crate) block_tokens: usize,
}

impl Context<'_> {
    /// What all gateways call the prompt up to the end of what the index remembers next behind `known` blocks; `None` where
    /// it remembers no more of the prompt.
    fn next_hash(&self, known: usize) -> Option<u64> {
        let end = prefix::end_behind(known);
        if end > self.blocks { None } else { self.hashes.get(end * self.stride - 1).copied() }
    }

    /// Tokens of the prompt that a candidate would have to compute: at least one, from which the answer comes.
    pub(crate) fn prefill(&self, candidate: &Candidate) -> u64 {
        let cached = u64::from(candidate.matched).saturating_mul(self.block_tokens as u64);
        self.prompt_tokens.saturating_sub(cached).max(1)
    }
}

impl Scorer {
    /// Writes a score for each of `candidates` to the same place of `scores`. `order` is scratch space.
    pub(crate) fn score(
        &self,
        context: &Context<'_>,
        candidates: &[Candidate],
        scores: &mut [f64],
        order: &mut Vec<usize>,
    ) {
        let endpoint = |candidate: &Candidate| &*context.endpoints[candidate.index];
        match self {
            Self::Queue => least(candidates, scores, |load| load.engines.share(load.waiting.into())),
            Self::RunningRequests => {
                least(candidates, scores, |load| load.engines.share(load.running.into()));
            }
            Self::KvCacheUtilization => free_cache(candidates, scores),
            Self::LoraAffinity => {
                fill(candidates, scores, |candidate| lora_affinity(endpoint(candidate), context.model));
            }
            Self::LoadAware { threshold } => fill(candidates, scores, |candidate| {
                let load = &candidate.load;
                LOAD_AWARE_TOP * (1.0 - (load.engines.share(load.waiting.into()) / threshold).min(1.0))
            }),
            Self::ActiveRequest { idle_threshold, max_busy_score } => {
                let count = |load: &Load| load.engines.share(load.in_flight.into());
                let most = candidates.iter().map(|candidate| count(&candidate.load)).fold(0.0, f64::max);
                fill(candidates, scores, |candidate| match count(&candidate.load) {
                    count if count <= f64::from(*idle_threshold) => 1.0,
                    count => (most - count) / most * max_busy_score,
                });
            }
            Self::TokenLoad { threshold } => fill(candidates, scores, |candidate| {
                let load = &candidate.load;
                1.0 - (load.engines.share(load.tokens as f64) / threshold).min(1.0)
            }),
            Self::PrefixCache { length_weight, max_tokens } => {
                fill(candidates, scores, |candidate| prefix(context, candidate, *length_weight, *max_tokens));
            }
            Self::ExpectedTtft(parameters) => parameters.score(context, candidates, scores),
            Self::NoHitLru { remembered } => {
                let last = |candidate: &Candidate| endpoint(candidate).last_cold_pick.load(Relaxed);
                no_hit_lru(candidates, scores, order, last, *remembered);
            }
            Self::SessionId { .. } => fill(candidates, scores, |candidate| {
                f64::from(u8::from(context.session == Some(endpoint(candidate).id())))
            }),
            Self::SessionAffinity { header } => {
                let sent = session::sent(context.headers, header);
                fill(candidates, scores, |candidate| {
                    f64::from(u8::from(sent == Some(endpoint(candidate).session_token())))
                });
            }
        }
    }

    /// Whether it needs to know what endpoints hold of the prompt.
    pub(crate) fn uses_prefixes(&self) -> bool {
        matches!(self, Self::PrefixCache { .. } | Self::NoHitLru { .. } | Self::ExpectedTtft(_))
    }
}

fn fill(candidates: &[Candidate], scores: &mut [f64], score: impl Fn(&Candidate) -> f64) {
    for (slot, candidate) in scores.iter_mut().zip(candidates) {
        *slot = score(candidate);
    }
}

/// (max − n)/(max − min); all 1 where all are equal.
fn least(candidates: &[Candidate], scores: &mut [f64], count: impl Fn(&Load) -> f64) {
    let counts = || candidates.iter().map(|candidate| count(&candidate.load));
    let (min, max) = (counts().fold(f64::INFINITY, f64::min), counts().fold(0.0, f64::max));
    fill(candidates, scores, |candidate| match count(&candidate.load) {
        _ if max <= min => 1.0,
        count => (max - count) / (max - min),
    });
}

/// 1 − usage. A candidate of unknown usage gets what the others have on average: were it 0, an endpoint whose scrape
/// fails would draw the traffic of all others.
fn free_cache(candidates: &[Candidate], scores: &mut [f64]) {
    let known = candidates.iter().filter_map(|candidate| candidate.load.kv_usage);
    let (sum, count) = known.fold((0.0, 0_u32), |(sum, count), usage| (sum + usage, count + 1));
    let typical = if count == 0 { 0.0 } else { sum / f64::from(count) };
    fill(candidates, scores, |candidate| 1.0 - candidate.load.kv_usage.unwrap_or(typical));
}

fn lora_affinity(endpoint: &Endpoint, model: &str) -> f64 {
    let state = endpoint.lora.load();
    let Some(state) = state.as_deref() else { return 0.0 };
    let has = |names: &[Box<str>]| names.iter().any(|name| **name == *model);
    if has(&state.active) {
        1.0
    } else if state.active.len() + state.waiting.len() < state.max_lora as usize {
        0.8
    } else if has(&state.waiting) {
        0.6
    } else {
        0.0
    }
}

/// w · min(1, matched tokens/long)² + (1 − w) · matched/total; 0 for a prompt too short to have a block.
fn prefix(context: &Context<'_>, candidate: &Candidate, length_weight: f64, max_tokens: f64) -> f64 {
    if context.blocks == 0 {
        return 0.0;
    }
    let matched = f64::from(candidate.matched);
    let length = (matched * context.block_tokens as f64 / max_tokens).min(1.0);
    length_weight * length * length + (1.0 - length_weight) * (matched / context.blocks as f64).min(1.0)
}

/// 1 − rank/(n − 1) with the least recent first. Those that never had a turn share the first rank, so that which of
/// them is asked first is left to the pick's tie-break instead of to their order.
fn no_hit_lru(
    candidates: &[Candidate],
    scores: &mut [f64],
    order: &mut Vec<usize>,
    last: impl Fn(&Candidate) -> u64,
    remembered: usize,
) {
    if candidates.iter().any(|candidate| candidate.matched > 0) {
        scores.fill(NEUTRAL);
        return;
    }
    scores.fill(1.0);
    order.clear();
    order.extend((0..candidates.len()).filter(|place| last(&candidates[*place]) > 0));
    order.sort_unstable_by_key(|place| last(&candidates[*place]));
    let forgotten = order.len().saturating_sub(remembered);
    let fresh = candidates.len() - order.len() + forgotten;
    let span = candidates.len().saturating_sub(1).max(1) as f64;
    for (rank, place) in order.drain(..).skip(forgotten).enumerate() {
        scores[place] = 1.0 - ((fresh + rank) as f64 / span).min(1.0);
    }
}

#[cfg(test)]
pub(crate) mod tests;
