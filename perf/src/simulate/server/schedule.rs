//! Scheduling: the next step is planned, and the last one booked.

use super::{Plan, Progress, Sequence, Server};
use crate::simulate::{
    model::{Step, attended},
    request::{BLOCK_TOKENS, mix},
};

/// Keeps the hashes of answers apart from those of prompts.
const ANSWER: u64 = 0xa5a5_5a5a_a5a5_5a5a;

impl Server {
    /// Plans the next steps; none when there is nothing to do.
    pub(super) fn schedule(&mut self, now_ns: u64) -> Option<u64> {
        let mut budget = self.model.max_num_batched_tokens;
        let has_preempted = self.schedule_running(&mut budget);
        if !has_preempted {
            self.admit(&mut budget);
        }
        self.left_waiting = self.waiting.len() as u32;
        if self.running.is_empty() {
            self.gauges.waiting = self.left_waiting;
            return None;
        }
        let step = self.step();
        let steps = if step.prefill > 0 { 1 } else { self.leap() };
        let plan = Plan { start_ns: now_ns, step, steps };
        self.plan = Some(plan);
        self.version += 1;
        Some(plan.end_ns(&self.model, steps))
    }

    /// Gives every running sequence its share of the step, throwing out the last ones while blocks are short.
    fn schedule_running(&mut self, budget: &mut u32) -> bool {
        let mut has_preempted = false;
        let mut place = 0;
        while let Some(sequence) = self.running.get(place) {
            let wanted = if sequence.is_prefilling() { sequence.target - sequence.computed } else { 1 };
            let tokens = wanted.min(*budget);
            let after = sequence.computed + tokens;
            while self.running.len() > place && !self.grow(place, after) {
                has_preempted = true;
                self.preempt_last();
            }
            let Some(sequence) = self.running.get_mut(place) else { break };
            sequence.scheduled = tokens;
            *budget -= tokens;
            place += 1;
        }
        has_preempted
    }

    /// Admits requests in order of arrival while there is room in batch, step and cache.
    fn admit(&mut self, budget: &mut u32) {
        while *budget > 0 && self.running.len() < self.model.max_num_seqs as usize {
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            // The last token is always computed: its logits are what the first token of the answer comes from.
            let usable = (sequence.target - 1) / BLOCK_TOKENS;
            let (held, unpinned) = self.kv.match_prefix(&sequence.hashes);
            let held = (held as u32).min(usable);
            let cached = held * BLOCK_TOKENS;
            let tokens = (sequence.target - cached).min(*budget);
            let after = cached + tokens;
            let shared = held as usize - unpinned.min(held as usize);
            let needed = after.div_ceil(BLOCK_TOKENS) as usize - shared;
            if self.kv.in_use() + needed > self.blocks {
                self.waiting.push_front(sequence);
                return;
            }
            sequence.computed = cached;
            sequence.cached.get_or_insert(cached);
            sequence.scheduled = tokens;
            *budget -= tokens;
            self.running.push(sequence);
            let place = self.running.len() - 1;
            let _is_grown = self.grow(place, after);
            debug_assert!(_is_grown, "there was room for what was counted");
        }
    }

    /// Makes room for `tokens` of a running sequence; `false`, and nothing changed, if there is none.
    fn grow(&mut self, place: usize, tokens: u32) -> bool {
        let Self { kv, running, blocks, .. } = self;
        let sequence = &mut running[place];
        let total = tokens.div_ceil(BLOCK_TOKENS);
        let shared = (tokens / BLOCK_TOKENS).min(sequence.hashes.len() as u32);
        let held = sequence.pinned.len() as u32 + sequence.private;
        if total > held {
            // Blocks that others pin are counted too: a little strict, and simple.
            let more = if sequence.pinned.is_empty() && sequence.private == 0 {
                let (matched, unpinned) = kv.match_prefix(&sequence.hashes[..shared as usize]);
                total as usize - (matched - unpinned)
            } else {
                (total - held) as usize
            };
            if kv.in_use() + more > *blocks {
                return false;
            }
        }
        let private = total - shared;
        if private < sequence.private {
            kv.give_back((sequence.private - private) as usize);
        }
        let from = sequence.pinned.len();
        if (shared as usize) > from {
            sequence.pinned.extend(kv.pin(&sequence.hashes[from..shared as usize]));
        }
        if private > sequence.private {
            kv.take((private - sequence.private) as usize);
        }
        sequence.private = private;
        true
    }

    /// Throws the sequence that was admitted last out of the batch; it is to compute everything again.
    fn preempt_last(&mut self) {
        let Some(mut sequence) = self.running.pop() else { return };
        self.release(&mut sequence);
        sequence.target = sequence.prompt_tokens + sequence.generated;
        sequence.computed = 0;
        self.preemptions += 1;
        self.waiting.push_front(sequence);
    }

    fn release(&mut self, sequence: &mut Sequence) {
        self.kv.unpin(&sequence.pinned);
        sequence.pinned.clear();
        self.kv.give_back(sequence.private as usize);
        sequence.private = 0;
        sequence.scheduled = 0;
    }

    fn step(&self) -> Step {
        let mut step = Step::default();
        for sequence in self.running.iter().filter(|sequence| sequence.scheduled > 0) {
            if sequence.is_prefilling() {
                step.prefill += sequence.scheduled;
                step.attended += attended(sequence.computed, sequence.scheduled);
            } else {
                step.decoding += 1;
                step.context += f64::from(sequence.computed);
            }
        }
        step
    }

    /// How many steps will be alike: until a sequence finishes, as far as blocks surely last.
    fn leap(&self) -> u32 {
        let decoding = self.running.iter().filter(|sequence| sequence.scheduled > 0);
        let left = decoding.map(|sequence| sequence.output_tokens - sequence.generated).min().unwrap_or(1);
        let free = self.blocks - self.kv.in_use();
        let blocks_each = (free / self.running.len()) as u32;
        let lasts = blocks_each.saturating_sub(1) * BLOCK_TOKENS;
        // A sequence that got nothing of this step's budget is to have its turn in the next.
        let is_all = self.running.iter().all(|sequence| sequence.scheduled > 0);
        if is_all { left.min(lasts).max(1) } else { 1 }
    }

    /// Books what `steps` computed.
    pub(super) fn settle(&mut self, steps: u32, progress: &mut Vec<Progress>) {
        let mut place = 0;
        while place < self.running.len() {
            let sequence = &mut self.running[place];
            let was_prefilling = sequence.is_prefilling();
            let tokens = std::mem::take(&mut sequence.scheduled) * steps;
            sequence.computed += tokens;
            if tokens == 0 || sequence.is_prefilling() {
                place += 1;
                continue;
            }
            let is_first = sequence.generated == 0;
            sequence.generated += if was_prefilling { 1 } else { tokens };
            // From here on every token computed is one of the answer.
            sequence.target = sequence.computed;
            let (id, after) = (sequence.id, sequence.computed);
            if is_first {
                progress.push(Progress::First { id, cached: sequence.cached.unwrap_or(0) });
            }
            if sequence.generated >= sequence.output_tokens {
                progress.push(Progress::Finished { id });
                let sequence = self.running.remove(place);
                self.finish(sequence);
            } else {
                if steps > 1 {
                    let _is_grown = self.grow(place, after);
                    debug_assert!(_is_grown, "a leap goes no further than the blocks");
                }
                place += 1;
            }
        }
    }

    /// The answer's blocks stay in the cache like the prompt's, to go first: nothing asks for them again.
    fn finish(&mut self, mut sequence: Sequence) {
        let answered = (sequence.computed / BLOCK_TOKENS).saturating_sub(sequence.pinned.len() as u32);
        self.kv.give_back(std::mem::take(&mut sequence.private) as usize);
        let name = mix(sequence.id as u64) ^ ANSWER;
        let hashes: Vec<u64> = (0..answered).map(|block| mix(name.wrapping_add(u64::from(block)))).collect();
        self.kv.keep(&hashes);
        self.release(&mut sequence);
    }
}
