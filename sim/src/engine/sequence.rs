//! A request that runs: it produces tokens at the engine's pace and gives back what it holds when it ends.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Engine, Job, batch::Progress};
use crate::metrics::FinishedRequest;

/// A request that runs. Dropped before [`Sequence::finish`], it counts as aborted.
#[derive(Debug)]
pub(crate) struct Sequence {
    engine: Arc<Engine>,
    job: Job,
    reservation: Reservation,
    cached_tokens: usize,
    produced: usize,
    arrived: Instant,
    started: Instant,
    first: Option<Instant>,
    due: Option<Instant>,
    is_over: bool,
}

/// What a sequence holds of its engine.
#[derive(Debug)]
pub(super) struct Reservation {
    /// Prefix blocks that it pins.
    pub(super) pinned: Vec<u32>,
    /// Other blocks that it fills.
    pub(super) taken: usize,
    /// Its slot in the batch, where steps set the pace.
    pub(super) progress: Option<Arc<Progress>>,
}

impl Sequence {
    pub(super) fn new(
        engine: Arc<Engine>,
        job: Job,
        reservation: Reservation,
        cached_tokens: usize,
        arrived: Instant,
    ) -> Self {
        Self {
            engine,
            job,
            reservation,
            cached_tokens,
            produced: 0,
            arrived,
            started: Instant::now(),
            first: None,
            due: None,
            is_over: false,
        }
    }

    /// Prompt tokens that the cache held.
    pub(crate) fn cached_tokens(&self) -> usize {
        self.cached_tokens
    }

    /// Whether tokens come without any waiting.
    pub(crate) fn is_instant(&self) -> bool {
        self.engine.pace.is_instant()
    }

    /// Waits until `tokens` more are there; the first of all takes the prefill.
    pub(crate) async fn produce(&mut self, tokens: usize) {
        let mut left = tokens;
        if self.produced == 0 && left > 0 {
            self.prefill().await;
            left -= 1;
        }
        if let Some(progress) = &self.reservation.progress {
            progress.reach(self.produced + left).await;
        } else if left > 0 && !self.engine.pace.is_instant() {
            let running = self.engine.state.lock().running;
            let step = self.engine.pace.decode(running);
            let due = self.due.unwrap_or_else(Instant::now) + step * left as u32;
            tokio::time::sleep_until(due).await;
            self.due = Some(due);
        }
        if left > 0 {
            self.advance(left);
        }
    }

    /// Ends the sequence as complete. `blocks` are the hashes of prompt and answer together; they stay cached.
    pub(crate) fn finish(mut self, reason: &'static str, blocks: &[u64]) {
        self.release(reason, blocks);
    }

    async fn prefill(&mut self) {
        if let Some(progress) = &self.reservation.progress {
            progress.reach(1).await;
        } else if !self.engine.pace.is_instant() {
            let running = self.engine.state.lock().running;
            let time = self.engine.pace.prefill(self.job.prompt_tokens - self.cached_tokens, running);
            let due = self.started + time;
            tokio::time::sleep_until(due).await;
            self.due = Some(due);
        }
        self.first = Some(if self.is_instant() { self.started } else { Instant::now() });
        self.advance(1);
    }

    /// Takes the blocks that the new tokens fill, where time passes in which someone could look.
    fn advance(&mut self, tokens: usize) {
        self.produced += tokens;
        if !self.engine.limits.is_kv_on || self.is_instant() {
            return;
        }
        let held = self.reservation.pinned.len() + self.reservation.taken;
        let filled = (self.job.prompt_tokens + self.produced).div_ceil(self.engine.limits.block_tokens);
        if let Some(more) = filled.checked_sub(held).filter(|more| *more > 0) {
            self.reservation.taken += more;
            let mut state = self.engine.state.lock();
            state.promised -= more;
            state.kv.take(more);
        }
    }

    fn release(&mut self, reason: &'static str, blocks: &[u64]) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let engine = self.engine.clone();
        let has_waiting = {
            let mut state = engine.state.lock();
            if engine.limits.is_kv_on {
                let total = engine.limits.total_blocks(&self.job);
                state.promised -= total - self.reservation.pinned.len() - self.reservation.taken;
                state.kv.give_back(self.reservation.taken);
                let keeps = engine.limits.reuses_prefixes && blocks.len() > self.reservation.pinned.len();
                if keeps {
                    state.kv.keep(&blocks[self.reservation.pinned.len()..]);
                }
                state.kv.unpin(&self.reservation.pinned);
            }
            state.running -= 1;
            if let Some(lora) = self.job.lora
                && let Some(at) = state.running_loras.iter().position(|running| *running == lora)
            {
                state.running_loras.swap_remove(at);
            }
            if let Some(progress) = &self.reservation.progress {
                state.batch.leave(progress);
            }
            !state.waiting.is_empty()
        };
        if has_waiting {
            engine.admit_waiting();
        }
        engine.ledger.finished(&self.outcome(reason));
    }

    fn outcome(&self, reason: &'static str) -> FinishedRequest {
        let now = if self.is_instant() { self.started } else { Instant::now() };
        let since = |from: Instant, to: Option<Instant>| to.map_or(Duration::ZERO, |to| to - from);
        FinishedRequest {
            reason,
            prompt_tokens: self.job.prompt_tokens,
            cached_tokens: self.cached_tokens,
            output_tokens: self.produced,
            max_tokens: self.job.max_tokens,
            is_cache_on: self.engine.limits.is_kv_on && self.engine.limits.reuses_prefixes,
            queued: self.started - self.arrived,
            prefill: since(self.started, self.first),
            decode: self.first.map_or(Duration::ZERO, |first| now - first),
            total: now - self.arrived,
        }
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        self.release("abort", &[]);
    }
}
