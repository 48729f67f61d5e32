//! The engine: which requests run, which wait, what is cached, and when the next token is due.
//!
//! A request is admitted when a sequence slot, an adapter slot and enough KV blocks are free, in order of
//! arrival; one that only lacks its adapter's slot lets later ones pass, as in vLLM. Blocks are promised for the
//! whole answer on admission, so nothing is ever preempted: the simulator knows how long an answer becomes, vLLM
//! does not. Usage is reported from the blocks filled so far.

mod batch;
pub(crate) mod kv;
mod pace;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use self::{
    batch::{Batch, Progress},
    kv::KvCache,
    pace::Pace,
};
use super::{
    metrics::{Finished, Ledger},
    options::Options,
};

/// A request, as far as the engine cares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    /// Hashes of the prompt's full blocks.
    pub(crate) blocks: Vec<u64>,
    /// Length of the prompt.
    pub(crate) prompt_tokens: usize,
    /// Length that the answer will have.
    pub(crate) output_tokens: usize,
    /// The limit that the request set, if it did.
    pub(crate) max_tokens: Option<usize>,
    /// The adapter it asks for, by index.
    pub(crate) lora: Option<usize>,
}

/// One more request than may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the waiting queue is full")]
pub(crate) struct QueueFull;

/// What the gauges show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) kv_usage: f64,
    pub(crate) running_loras: Vec<usize>,
    pub(crate) waiting_loras: Vec<usize>,
}

/// The engine of one server.
#[derive(Debug)]
pub(crate) struct Engine {
    me: Weak<Self>,
    limits: Limits,
    pace: Pace,
    state: Mutex<State>,
    pub(crate) ledger: Ledger,
}

#[derive(Debug)]
struct Limits {
    sequences: usize,
    waiting: usize,
    loras: usize,
    is_kv_on: bool,
    reuses_prefixes: bool,
    blocks: usize,
    block_tokens: usize,
}

#[derive(Debug)]
struct State {
    running: usize,
    /// Blocks that running sequences will still take.
    promised: usize,
    running_loras: Vec<usize>,
    waiting: VecDeque<Waiter>,
    tickets: u64,
    kv: KvCache,
    batch: Batch,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    job: Job,
    arrived: Instant,
    admitted: oneshot::Sender<Sequence>,
}

impl Engine {
    pub(crate) fn new(options: &Options) -> Arc<Self> {
        let limits = Limits {
            sequences: options.max_num_seqs.max(1),
            waiting: options.max_waiting,
            loras: options.max_loras.max(1),
            is_kv_on: options.kv.is_enabled,
            reuses_prefixes: options.kv.reuses_prefixes,
            blocks: options.kv.blocks,
            block_tokens: options.kv.block_tokens.max(1),
        };
        let state = State {
            running: 0,
            promised: 0,
            running_loras: Vec::new(),
            waiting: VecDeque::new(),
            tickets: 0,
            kv: KvCache::new(limits.blocks),
            batch: Batch::default(),
        };
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            pace: Pace::new(&options.latency, limits.sequences, options.seed),
            limits,
            state: Mutex::new(state),
            ledger: Ledger::default(),
        })
    }

    /// The longest context, prompt and answer together, that the cache can hold.
    pub(crate) fn longest_context(&self) -> usize {
        if self.limits.is_kv_on { self.limits.blocks * self.limits.block_tokens } else { usize::MAX }
    }

    pub(crate) fn load(&self) -> Load {
        let state = self.state.lock();
        let mut running_loras = state.running_loras.clone();
        let mut waiting_loras: Vec<_> = state.waiting.iter().filter_map(|waiter| waiter.job.lora).collect();
        for loras in [&mut running_loras, &mut waiting_loras] {
            loras.sort_unstable();
            loras.dedup();
        }
        Load {
            running: state.running,
            waiting: state.waiting.len(),
            kv_usage: if self.limits.is_kv_on { state.kv.usage() } else { 0.0 },
            running_loras,
            waiting_loras,
        }
    }

    /// Runs `job` now, or as soon as there is room.
    pub(crate) fn admit(self: &Arc<Self>, job: Job) -> Result<Admission, QueueFull> {
        let arrived = Instant::now();
        let admission = {
            let mut state = self.state.lock();
            if state.waiting.is_empty() && state.lacks(&self.limits, &job).is_none() {
                return Ok(Admission::Now(Box::new(self.start(&mut state, job, arrived))));
            }
            if state.waiting.len() >= self.limits.waiting {
                return Err(QueueFull);
            }
            state.tickets += 1;
            let (admitted, receiver) = oneshot::channel();
            let ticket = state.tickets;
            state.waiting.push_back(Waiter { ticket, job, arrived, admitted });
            Admission::Queued(receiver, Place { engine: self.clone(), ticket })
        };
        // An adapter's slot may be all that those before it lack.
        self.admit_waiting();
        Ok(admission)
    }

    fn admit_waiting(self: &Arc<Self>) {
        let mut orphans = Vec::new();
        let mut state = self.state.lock();
        let mut at = 0;
        while let Some(waiter) = state.waiting.get(at) {
            match state.lacks(&self.limits, &waiter.job) {
                Some(Lack::Room) => break,
                Some(Lack::Adapter) => at += 1,
                None => {
                    let Some(waiter) = state.waiting.remove(at) else { break };
                    let sequence = self.start(&mut state, waiter.job, waiter.arrived);
                    orphans.extend(waiter.admitted.send(sequence).err());
                }
            }
        }
        drop(state);
        // Sequences of clients that left meanwhile; to drop one takes the lock.
        drop(orphans);
    }

    fn start(self: &Arc<Self>, state: &mut State, job: Job, arrived: Instant) -> Sequence {
        let block_tokens = self.limits.block_tokens;
        let mut cached = 0;
        let mut pinned = Vec::new();
        let mut taken = 0;
        if self.limits.is_kv_on {
            if self.limits.reuses_prefixes {
                // The last token is always computed: its logits are what the first answer token comes from.
                let usable = job.prompt_tokens.saturating_sub(1) / block_tokens;
                cached = state.kv.match_prefix(&job.blocks).0.min(usable) * block_tokens;
                pinned = state.kv.pin(&job.blocks);
            }
            taken = job.prompt_tokens.div_ceil(block_tokens).saturating_sub(pinned.len());
            state.kv.take(taken);
            state.promised += self.limits.total_blocks(&job) - pinned.len() - taken;
        }
        state.running += 1;
        state.running_loras.extend(job.lora);
        let progress = self.pace.is_batched().then(|| {
            let uncached = job.prompt_tokens - cached;
            state.batch.join(uncached, job.prompt_tokens, job.output_tokens)
        });
        if progress.is_some() && state.batch.wakes() {
            tokio::spawn(batch::run(self.me.clone()));
        }
        Sequence {
            engine: self.clone(),
            pinned,
            taken,
            cached_tokens: cached,
            produced: 0,
            arrived,
            started: Instant::now(),
            first: None,
            due: None,
            progress,
            job,
            is_over: false,
        }
    }
}

/// What keeps a request from running.
enum Lack {
    Adapter,
    Room,
}

impl State {
    fn lacks(&self, limits: &Limits, job: &Job) -> Option<Lack> {
        if self.running >= limits.sequences {
            return Some(Lack::Room);
        }
        if limits.is_kv_on {
            let (held, unpinned) =
                if limits.reuses_prefixes { self.kv.match_prefix(&job.blocks) } else { (0, 0) };
            let needed = limits.total_blocks(job) - (held - unpinned);
            if self.kv.in_use() + self.promised + needed > limits.blocks {
                return Some(Lack::Room);
            }
        }
        let lora = job.lora?;
        if self.running_loras.contains(&lora) {
            return None;
        }
        let mut active = self.running_loras.clone();
        active.sort_unstable();
        active.dedup();
        (active.len() >= limits.loras).then_some(Lack::Adapter)
    }
}

impl Limits {
    fn total_blocks(&self, job: &Job) -> usize {
        (job.prompt_tokens + job.output_tokens).div_ceil(self.block_tokens).max(job.blocks.len())
    }
}

/// A request that was let in: it runs, or has its place in the queue. Dropping it gives up either.
#[derive(Debug)]
pub(crate) enum Admission {
    Now(Box<Sequence>),
    Queued(oneshot::Receiver<Sequence>, Place),
}

impl Admission {
    /// Waits for its turn. None if the engine is gone.
    pub(crate) async fn wait(self) -> Option<Sequence> {
        match self {
            Self::Now(sequence) => Some(*sequence),
            Self::Queued(receiver, place) => {
                let sequence = receiver.await.ok();
                drop(place);
                sequence
            }
        }
    }
}

/// A place in the queue, given up when its holder goes.
#[derive(Debug)]
pub(crate) struct Place {
    engine: Arc<Engine>,
    ticket: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = {
            let mut state = self.engine.state.lock();
            let at = state.waiting.iter().position(|waiter| waiter.ticket == self.ticket);
            at.and_then(|at| state.waiting.remove(at))
        };
        if left.is_some() {
            self.engine.admit_waiting();
        }
    }
}

/// A request that runs. Dropped before [`Sequence::finish`], it counts as aborted.
#[derive(Debug)]
pub(crate) struct Sequence {
    engine: Arc<Engine>,
    job: Job,
    pinned: Vec<u32>,
    taken: usize,
    cached_tokens: usize,
    produced: usize,
    arrived: Instant,
    started: Instant,
    first: Option<Instant>,
    due: Option<Instant>,
    progress: Option<Arc<Progress>>,
    is_over: bool,
}

impl Sequence {
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
        if let Some(progress) = &self.progress {
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
        if let Some(progress) = &self.progress {
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
        let held = self.pinned.len() + self.taken;
        let filled = (self.job.prompt_tokens + self.produced).div_ceil(self.engine.limits.block_tokens);
        if let Some(more) = filled.checked_sub(held).filter(|more| *more > 0) {
            self.taken += more;
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
                state.promised -= total - self.pinned.len() - self.taken;
                state.kv.give_back(self.taken);
                let keeps = engine.limits.reuses_prefixes && blocks.len() > self.pinned.len();
                if keeps {
                    state.kv.keep(&blocks[self.pinned.len()..]);
                }
                state.kv.unpin(&self.pinned);
            }
            state.running -= 1;
            if let Some(lora) = self.job.lora
                && let Some(at) = state.running_loras.iter().position(|running| *running == lora)
            {
                state.running_loras.swap_remove(at);
            }
            if let Some(progress) = &self.progress {
                state.batch.leave(progress);
            }
            !state.waiting.is_empty()
        };
        if has_waiting {
            engine.admit_waiting();
        }
        engine.ledger.finished(&self.outcome(reason));
    }

    fn outcome(&self, reason: &'static str) -> Finished {
        let now = if self.is_instant() { self.started } else { Instant::now() };
        let since = |from: Instant, to: Option<Instant>| to.map_or(Duration::ZERO, |to| to - from);
        Finished {
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

#[cfg(test)]
mod tests;
