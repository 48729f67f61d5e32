//! Expected time to the first token: who would begin to answer soonest, and delay others least.
//!
//! All that matters is counted in prompt tokens to be computed, so that neither model nor hardware need be known:
//!
//! ```text
//! cost  = new + (queued + batch × (new × batchDelayWeight + requestTokens)) / engines
//! score = least cost / cost
//! ```
//!
//! `queued` are the tokens to be computed for requests that were sent there and whose answer has not begun, `new`
//! those of this prompt that are not believed to be cached there, and `batch` the requests that are there. The first
//! two are the wait for the first token. What is computed for a newcomer stalls everyone in the batch, whose members
//! have begun to read: their delay counts, but less than that of somebody who waits. And each of them makes every step
//! a little longer. Requests of other gateways are in `batch`, and those of them that wait are in `queued`, as the last
//! metrics page showed them; without one, what this gateway sent is all there is. `engines` is how many share them
//! behind one address, 1 but for data parallel servers.
//!
//! Two things make it hold up where a cost alone does not (figures in `docs/design/default-profile.md`):
//!
//! * It goes by where a prefix *went* for longer than it is likely to be cached there: `cacheMemory` times the cache.
//!   A prefix that was evicted comes back to where it was instead of to whoever is idle, or popular prefixes drift over
//!   all caches and push each other out.
//! * Gateways that do not talk to each other agree on a home for what none of them has seen: the endpoint on which the
//!   hash up to the first unknown blocks falls (rendezvous hashing). What a home is believed to hold grows with the share of
//!   the load that is not this gateway's, since that is how likely another one has sent the rest of the prompt there.

use super::{Candidate, Context};

/// Parameters of the scorer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ExpectedTtft {
    /// What the delay of a request that is being answered counts, where that of one that waits counts 1.
    pub(crate) batch_delay_weight: f64,
    /// Prompt tokens that could be computed in the time by which a request in the batch delays a newcomer.
    pub(crate) request_tokens: f64,
    /// Share of an unknown prompt that its home holds if all load is that of other gateways, 0 to 1.
    pub(crate) home_share: f64,
    /// For how many times an endpoint's cache it is remembered what went there.
    pub(crate) cache_memory: f64,
}

impl Default for ExpectedTtft {
    fn default() -> Self {
        Self { batch_delay_weight: 0.05, request_tokens: 50.0, home_share: 1.0, cache_memory: 2.0 }
    }
}

impl ExpectedTtft {
    /// Writes a score for each of `candidates` to the same place of `scores`.
    pub(super) fn score(&self, context: &Context<'_>, candidates: &[Candidate], scores: &mut [f64]) {
        let home = self.home(context, candidates);
        for (place, (score, candidate)) in scores.iter_mut().zip(candidates).enumerate() {
            let credit = home.filter(|home| home.place == place).map_or(0.0, |home| home.tokens);
            *score = self.cost(context, candidate, credit);
        }
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        for score in scores {
            *score = least / *score;
        }
    }

    /// Prompt tokens' worth of time that the request would cost there; at least 1.
    fn cost(&self, context: &Context<'_>, candidate: &Candidate, credit: f64) -> f64 {
        let load = &candidate.load;
        let waiting = f64::from(load.others_waiting) * context.typical_prefill as f64;
        let queued = load.prefill as f64 + waiting;
        let new = (context.prefill(candidate) as f64 - credit).max(1.0);
        let batch = f64::from(load.in_flight) + f64::from(load.others);
        new + load.engines.share(queued + batch * (new * self.batch_delay_weight + self.request_tokens))
    }

    /// The candidate that all gateways would send the unknown part of the prompt to.
    fn home(&self, context: &Context<'_>, candidates: &[Candidate]) -> Option<Home> {
        let (known, unknown) = self.first_unknown(context, candidates)?;
        let weight = |candidate: &Candidate| mix(unknown ^ context.homes[candidate.index]);
        let (place, home) = candidates.iter().enumerate().max_by_key(|(_, candidate)| weight(candidate))?;
        let others: f64 = candidates.iter().map(|one| f64::from(one.load.others)).sum();
        let ours: f64 = candidates.iter().map(|one| f64::from(one.load.in_flight)).sum();
        let share = self.home_share * others / (others + ours);
        let tail = context.prompt_tokens.saturating_sub(u64::from(known) * context.block_tokens as u64);
        // What lies before the unknown part must be there too, to be of use.
        let is_cached_up_to_it = home.matched == known;
        is_cached_up_to_it.then_some(Home { place, tokens: share * tail as f64 })
    }

    /// The endpoint, by its place in the pool, that would be the home if all that may be picked were candidates.
    pub(crate) fn home_in_pool(
        &self,
        context: &Context<'_>,
        candidates: &[Candidate],
        may_be_picked: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let (_, unknown) = self.first_unknown(context, candidates)?;
        let mut best = (None, 0);
        for (index, home) in context.homes.iter().enumerate() {
            let weight = mix(unknown ^ home);
            if weight > best.1 && may_be_picked(index) {
                best = (Some(index), weight);
            }
        }
        best.0
    }

    /// How many blocks of the prompt some candidate is believed to hold, and the hash up to the end of those remembered next.
    /// `None` where no home is to be found: there are no such blocks, or no load of others among the candidates.
    fn first_unknown(&self, context: &Context<'_>, candidates: &[Candidate]) -> Option<(u32, u64)> {
        if self.home_share == 0.0 || candidates.iter().all(|candidate| candidate.load.others == 0) {
            return None;
        }
        let known = candidates.iter().map(|candidate| candidate.matched).max()?;
        Some((known, context.next_hash(known as usize)?))
    }
}

/// Where others are believed to have sent a prompt.
#[derive(Debug, Clone, Copy)]
struct Home {
    place: usize,
    /// Tokens that it holds of the prompt because of that.
    tokens: f64,
}

/// Spreads a number over all 64 bits.
fn mix(number: u64) -> u64 {
    let product = u128::from(number ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
    (product as u64) ^ ((product >> 64) as u64)
}
