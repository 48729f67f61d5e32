//! One model server, as vLLM schedules: continuous batching, chunked prefill, a block KV cache with prefix reuse, and
//! preemption when it runs out of blocks.
//!
//! It moves from step to step. While it only decodes, steps that must come out alike are planned as one leap, up to
//! the first sequence that finishes; an arrival cuts the leap off at the end of the step under way. So a simulation
//! costs some events a request, not one a token.
//!
//! What its metrics page shows is what it knew at the end of the last step, since that is when vLLM's engine hands
//! its numbers on: a long prefill freezes them.

mod schedule;

use std::collections::VecDeque;

use penstock_sim::kv::KvCache;

use super::{
    model::{ModelSpec, Step},
    request::BLOCK_TOKENS,
};

/// A request at a server.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// What the simulation knows it by.
    pub(crate) id: usize,
    pub(crate) prompt_tokens: u32,
    pub(crate) output_tokens: u32,
    /// Hashes of the prompt's full blocks.
    pub(crate) hashes: Vec<u64>,
    /// Tokens whose keys and values are in the cache.
    computed: u32,
    /// Tokens to compute before the next one of the answer: prompt, and after a preemption what was answered.
    target: u32,
    generated: u32,
    /// Tokens that the step under way computes.
    scheduled: u32,
    /// Tokens of the prompt that were in the cache when it was admitted first.
    cached: Option<u32>,
    /// Blocks of the prompt that it holds in the cache.
    pinned: Vec<u32>,
    /// Blocks that it shares with nobody.
    private: u32,
}

/// What a request's client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The first token of the answer; and how much of the prompt was in the cache.
    First { id: usize, cached: u32 },
    /// The last token.
    Finished { id: usize },
}

/// What the metrics page shows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Gauges {
    pub(crate) waiting: u32,
    pub(crate) running: u32,
    pub(crate) kv_usage: f64,
}

/// A model server.
#[derive(Debug)]
pub(crate) struct Server {
    model: ModelSpec,
    /// Blocks of the KV cache.
    blocks: usize,
    kv: KvCache,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    plan: Option<Plan>,
    /// Counts plans, so that an event of one that was cut off can be told.
    version: u64,
    /// Requests left waiting when the step under way was scheduled.
    left_waiting: u32,
    gauges: Gauges,
    /// Time spent in steps.
    pub(crate) busy_ns: u64,
    /// Sequences that were thrown out of the batch for want of blocks.
    pub(crate) preemptions: u64,
}

/// Steps under way.
#[derive(Debug, Clone, Copy)]
struct Plan {
    start_ns: u64,
    step: Step,
    /// How many such steps, each with one token more of context for each sequence.
    steps: u32,
}

impl Sequence {
    pub(crate) fn new(id: usize, prompt_tokens: u32, output_tokens: u32, hashes: Vec<u64>) -> Self {
        let target = prompt_tokens.max(1);
        Self {
            id,
            prompt_tokens: target,
            output_tokens: output_tokens.max(1),
            hashes,
            target,
            ..Self::default()
        }
    }

    fn is_prefilling(&self) -> bool {
        self.computed < self.target
    }
}

impl Server {
    pub(crate) fn new(model: ModelSpec) -> Self {
        let blocks = (model.kv_tokens / BLOCK_TOKENS) as usize;
        Self {
            model,
            blocks,
            kv: KvCache::new(blocks),
            waiting: VecDeque::new(),
            running: Vec::new(),
            plan: None,
            version: 0,
            left_waiting: 0,
            gauges: Gauges::default(),
            busy_ns: 0,
            preemptions: 0,
        }
    }

    /// The longest context, prompt and answer together, that it can serve.
    pub(crate) fn longest_context(&self) -> u32 {
        (self.blocks as u32).saturating_sub(1) * BLOCK_TOKENS
    }

    /// The plan under way.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Takes a request in. Returns when the server is to be called next, if that has changed.
    pub(crate) fn enqueue(&mut self, now_ns: u64, sequence: Sequence) -> Option<u64> {
        self.waiting.push_back(sequence);
        let Some(plan) = self.plan else { return self.schedule(now_ns) };
        let under_way = plan.completed(&self.model, now_ns) + 1;
        if under_way >= plan.steps {
            return None;
        }
        let plan = Plan { steps: under_way, ..plan };
        self.plan = Some(plan);
        self.version += 1;
        Some(plan.end_ns(&self.model, plan.steps))
    }

    /// Ends the plan under way, appends what came of it, and starts the next. Returns when that one ends.
    pub(crate) fn advance(&mut self, now_ns: u64, progress: &mut Vec<Progress>) -> Option<u64> {
        if let Some(plan) = self.plan.take() {
            self.busy_ns += now_ns - plan.start_ns;
            self.settle(plan.steps, progress);
            self.gauges = Gauges {
                waiting: self.left_waiting,
                running: self.running.len() as u32,
                kv_usage: self.usage(0),
            };
        }
        self.schedule(now_ns)
    }

    /// What the metrics page shows.
    pub(crate) fn gauges(&self, now_ns: u64) -> Gauges {
        match self.plan {
            // Steps of a leap are over whose growth was not booked yet.
            Some(plan) if plan.steps > 1 => match plan.completed(&self.model, now_ns) {
                0 => self.gauges,
                steps => Gauges {
                    waiting: self.left_waiting,
                    running: self.running.len() as u32,
                    kv_usage: self.usage(steps * plan.step.decoding / BLOCK_TOKENS),
                },
            },
            _ => self.gauges,
        }
    }

    /// Requests that are here.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    fn usage(&self, more: u32) -> f64 {
        ((self.kv.in_use() + more as usize) as f64 / self.blocks as f64).min(1.0)
    }
}

impl Plan {
    fn end_ns(&self, model: &ModelSpec, steps: u32) -> u64 {
        let (count, sequences) = (f64::from(steps), f64::from(self.step.decoding));
        let grown = sequences * count * (count - 1.0) / 2.0;
        let time = model.step(&self.step) * count + grown * model.context_ns;
        self.start_ns + time.round().max(1.0) as u64
    }

    /// Steps that are over at `now_ns`.
    fn completed(&self, model: &ModelSpec, now_ns: u64) -> u32 {
        let (mut over, mut not_over) = (0, self.steps + 1);
        while over + 1 < not_over {
            let middle = u32::midpoint(over, not_over);
            if self.end_ns(model, middle) <= now_ns {
                over = middle;
            } else {
                not_over = middle;
            }
        }
        over
    }
}

#[cfg(test)]
mod tests;
