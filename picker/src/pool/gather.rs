//! Which endpoints a pick looks at.
//!
//! All of them, or in a large pool with the default profile: [`WINDOW`] neighbours in its list from a random one on, those
//! that hold most of the prompt, and the prompt's home. The others would seldom be better: of so many at random one is
//! nearly as idle as the most idle of all, and what of an endpoint does not depend on chance is what it holds. So a pick
//! costs little more in a large pool than in a small one; `docs/design/large-pools.md` has the figures.

use std::{cmp::Reverse, sync::Arc};

use super::{Pool, State};
use crate::{
    endpoint::{Endpoint, Gate},
    profile::Scratch,
    random,
    request::{PickError, PickRequest},
    saturation::Gauge,
    scorer::{Candidate, Context, ExpectedTtft},
};

/// Endpoints up to which a pick looks at all.
const FULL_SCAN_MAX: usize = 48;
/// Endpoints that a pick looks at in a larger pool, whatever they hold.
const WINDOW: usize = 32;
/// Endpoints that a pick looks at there for what they hold.
const MAX_HOLDERS: usize = 16;

/// A pick's view of the pool.
struct View<'a> {
    pool: &'a Pool,
    state: &'a State,
    request: &'a PickRequest<'a>,
    now_ns: u64,
}

impl Pool {
    /// Fills `scratch` with endpoints that may be picked, their load and what they hold of the prompt.
    pub(super) fn gather(
        &self,
        state: &State,
        request: &PickRequest<'_>,
        context: &Context<'_>,
        priority: i32,
        scratch: &mut Scratch,
        now_ns: u64,
    ) -> Result<(), PickError> {
        // Who is shed depends on all.
        let sampled =
            state.profile.sampled().filter(|_| state.endpoints.len() > FULL_SCAN_MAX && priority >= 0);
        self.match_prompt(state, request, scratch);
        let view = View { pool: self, state, request, now_ns };
        if sampled.is_some_and(|scorer| view.sample(scorer, context, scratch)) {
            return Ok(());
        }
        view.all(priority, scratch)
    }

    /// As [`Self::gather`], with all endpoints that may be picked.
    pub(super) fn gather_all(
        &self,
        state: &State,
        request: &PickRequest<'_>,
        priority: i32,
        scratch: &mut Scratch,
        now_ns: u64,
    ) -> Result<(), PickError> {
        self.match_prompt(state, request, scratch);
        View { pool: self, state, request, now_ns }.all(priority, scratch)
    }

    /// Notes in `scratch` what each endpoint holds of the prompt.
    fn match_prompt(&self, state: &State, request: &PickRequest<'_>, scratch: &mut Scratch) {
        scratch.matched.clear();
        if let Some(chain) = self.chain(state, request) {
            scratch.matched.resize(state.by_slot.len(), 0);
            self.index.matches(&chain, &mut scratch.matched);
        }
    }
}

impl View<'_> {
    /// Fills `scratch` with all endpoints that may be picked.
    fn all(&self, priority: i32, scratch: &mut Scratch) -> Result<(), PickError> {
        let endpoints = self.state.endpoints.len();
        let mut gauge = Gauge::default();
        scratch.candidates.clear();
        if endpoints == 0 {
            return Err(PickError::NoEndpoints);
        }
        for index in 0..endpoints {
            self.look_at(index, &mut gauge, scratch);
        }
        if scratch.candidates.is_empty() {
            // Where only ejected endpoints are left, a slim chance beats none.
            let left = (0..endpoints).filter(|index| !self.is_excluded(*index));
            scratch.candidates.extend(left.map(|index| self.candidate(index, &scratch.matched)));
        }

        if scratch.candidates.is_empty() {
            Err(PickError::AllExcluded)
        } else if priority < 0 && gauge.is_saturated() {
            Err(PickError::Shed { priority, retry_after: self.state.saturation.retry_after })
        } else if gauge.is_full() {
            Err(self.state.saturated())
        } else {
            Ok(())
        }
    }

    /// Fills `scratch` with some of the endpoints that may be picked. `false` if none of them has room, or none was found:
    /// then others may.
    fn sample(&self, scorer: &ExpectedTtft, context: &Context<'_>, scratch: &mut Scratch) -> bool {
        let endpoints = self.state.endpoints.len();
        let mut gauge = Gauge::default();
        scratch.candidates.clear();

        let first = random::below(endpoints);
        let mut looked_at = 0;
        while looked_at < endpoints && scratch.candidates.len() < WINDOW {
            self.consider((first + looked_at) % endpoints, &mut gauge, scratch);
            looked_at += 1;
        }
        let is_new = |index: usize| (index + endpoints - first) % endpoints >= looked_at;

        self.find_holders(first, scratch);
        for place in 0..scratch.holders.len() {
            let index = scratch.holders[place].1 as usize;
            if is_new(index) {
                self.consider(index, &mut gauge, scratch);
            }
        }

        let home = scorer.home_in_pool(context, &scratch.candidates, |index| self.may_be_picked(index));
        let is_there = |index: usize| scratch.candidates.iter().any(|candidate| candidate.index == index);
        if let Some(home) = home.filter(|home| !is_there(*home)) {
            self.consider(home, &mut gauge, scratch);
        }
        !scratch.candidates.is_empty() && !gauge.is_full()
    }

    /// Collects the endpoints that hold most of the prompt in `scratch.holders`, with how much it is. Which of
    /// several equal ones come in, where not all do, depends on `first`.
    fn find_holders(&self, first: usize, scratch: &mut Scratch) {
        let Scratch { matched, holders, .. } = scratch;
        holders.clear();
        let (head, tail) = matched.split_at(first.min(matched.len()));
        let slots = (head.len()..).zip(tail).chain((0..).zip(head));
        holders.extend(slots.filter(|(_, matched)| **matched > 0).filter_map(|(slot, matched)| {
            let index = self.state.by_slot.get(slot).copied().flatten()?;
            // Who failed a request usually holds its prompt, and would take the place of others.
            let is_of_use = self.request.exclude.is_empty() || self.may_be_picked(index as usize);
            is_of_use.then_some((*matched, index))
        }));
        if holders.len() > MAX_HOLDERS {
            holders.select_nth_unstable_by_key(MAX_HOLDERS, |(matched, _)| Reverse(*matched));
            holders.truncate(MAX_HOLDERS);
        }
    }

    /// Looks at an endpoint among some, of which those that are excluded do not tell whether there is room.
    fn consider(&self, index: usize, gauge: &mut Gauge, scratch: &mut Scratch) {
        if !self.is_excluded(index) {
            self.look_at(index, gauge, scratch);
        }
    }

    /// Adds an endpoint, if it may be picked.
    fn look_at(&self, index: usize, gauge: &mut Gauge, scratch: &mut Scratch) {
        if self.is_ejected(index) {
            return;
        }
        let candidate = self.candidate(index, &scratch.matched);
        gauge.add(self.state.profile.detector(), &candidate.load, self.state.saturation.action);
        if !self.is_excluded(index) {
            scratch.candidates.push(candidate);
        }
    }

    #[inline]
    fn candidate(&self, index: usize, matched: &[u32]) -> Candidate {
        let endpoint = self.endpoint(index);
        Candidate {
            index,
            load: endpoint.load.corrected(self.now_ns, self.pool.shared.expiry_ns()),
            matched: matched.get(usize::from(endpoint.slot())).copied().unwrap_or(0),
        }
    }

    fn may_be_picked(&self, index: usize) -> bool {
        !self.is_ejected(index) && !self.is_excluded(index)
    }

    fn is_ejected(&self, index: usize) -> bool {
        self.endpoint(index).breaker.gate(self.now_ns) == Gate::Ejected
    }

    fn is_excluded(&self, index: usize) -> bool {
        self.request.exclude.contains(&self.endpoint(index).id())
    }

    fn endpoint(&self, index: usize) -> &Arc<Endpoint> {
        &self.state.endpoints[index]
    }
}
