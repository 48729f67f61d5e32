//! The engine: which requests run, which wait, what is cached, and when the next token is due.
//!
//! A request is admitted when a sequence slot, an adapter slot and enough KV blocks are free, in order of
//! arrival; one that only lacks its adapter's slot lets later ones pass, as in vLLM. Blocks are promised for the
//! whole answer on admission, so nothing is ever preempted: the simulator knows how long an answer becomes, vLLM
//! does not. Usage is reported from the blocks filled so far.

mod batch;
mod pace;
mod sequence;

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

pub(crate) use self::sequence::Sequence;
use self::{batch::Batch, pace::Pace, sequence::Reservation};
use super::{
    kv::KvCache,
    metrics::{Ledger, Load},
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
    waiting: VecDeque<QueuedJob>,
    tickets: u64,
    kv: KvCache,
    batch: Batch,
}

#[derive(Debug)]
struct QueuedJob {
    ticket: u64,
    job: Job,
    arrived: Instant,
    admitted: oneshot::Sender<Box<Sequence>>,
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
            if state.waiting.is_empty() && state.shortage(&self.limits, &job).is_none() {
                return Ok(Admission::Now(self.start(&mut state, job, arrived)));
            }
            if state.waiting.len() >= self.limits.waiting {
                return Err(QueueFull);
            }
            state.tickets += 1;
            let (admitted, receiver) = oneshot::channel();
            let ticket = state.tickets;
            state.waiting.push_back(QueuedJob { ticket, job, arrived, admitted });
            Admission::Queued(receiver, QueueSlot { engine: self.clone(), ticket })
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
            match state.shortage(&self.limits, &waiter.job) {
                Some(Shortage::Room) => break,
                Some(Shortage::Adapter) => at += 1,
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

    fn start(self: &Arc<Self>, state: &mut State, job: Job, arrived: Instant) -> Box<Sequence> {
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
        let reservation = Reservation { pinned, taken, progress };
        Box::new(Sequence::new(self.clone(), job, reservation, cached, arrived))
    }
}

/// What keeps a request from running.
enum Shortage {
    Adapter,
    Room,
}

impl State {
    fn shortage(&self, limits: &Limits, job: &Job) -> Option<Shortage> {
        if self.running >= limits.sequences {
            return Some(Shortage::Room);
        }
        if limits.is_kv_on {
            let (held, unpinned) =
                if limits.reuses_prefixes { self.kv.match_prefix(&job.blocks) } else { (0, 0) };
            let needed = limits.total_blocks(job) - (held - unpinned);
            if self.kv.in_use() + self.promised + needed > limits.blocks {
                return Some(Shortage::Room);
            }
        }
        let lora = job.lora?;
        if self.running_loras.contains(&lora) {
            return None;
        }
        let mut active = self.running_loras.clone();
        active.sort_unstable();
        active.dedup();
        (active.len() >= limits.loras).then_some(Shortage::Adapter)
    }
}

impl Limits {
    fn total_blocks(&self, job: &Job) -> usize {
        (job.prompt_tokens + job.output_tokens).div_ceil(self.block_tokens).max(job.blocks.len())
    }
}

/// A request that was let in: it runs, or has its slot in the queue. Dropping it gives up either.
#[derive(Debug)]
pub(crate) enum Admission {
    Now(Box<Sequence>),
    Queued(oneshot::Receiver<Box<Sequence>>, QueueSlot),
}

impl Admission {
    /// Waits for its turn. None if the engine is gone.
    pub(crate) async fn wait(self) -> Option<Box<Sequence>> {
        match self {
            Self::Now(sequence) => Some(sequence),
            Self::Queued(receiver, slot) => {
                let sequence = receiver.await.ok();
                drop(slot);
                sequence
            }
        }
    }
}

/// A slot in the queue, given up when its holder goes.
#[derive(Debug)]
pub(crate) struct QueueSlot {
    engine: Arc<Engine>,
    ticket: u64,
}

impl Drop for QueueSlot {
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

#[cfg(test)]
mod tests;
