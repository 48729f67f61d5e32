//! What requests are expected to take, from what such requests took.
//!
//! No tokenizer: it would have to be the model's own, and read the whole prompt. How many bytes of a prompt make a token is
//! learned of each model, and how much is generated of each model and consumer, as the number that 19 of 20 requests stay
//! within. An estimate decides what is held, never what is counted in the end.

use ahash::RandomState;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::ask::{Ask, Usage};

/// How many models, and consumers of models, are learned about.
const MAX_ENTRIES: usize = 4096;
const SHARDS: usize = 16;
/// Before so many requests nothing is concluded from them.
const MIN_SAMPLES: u32 = 16;
/// What is generated where nothing is known.
const DEFAULT_OUTPUT_TOKENS: u64 = 1024;
/// Bytes of a prompt to a token where nothing is known, in thousandths.
const DEFAULT_MILLIBYTES: u64 = 4000;
/// What bytes to a token can be: what is beyond is no text, or counted otherwise.
const MILLIBYTES: std::ops::RangeInclusive<u64> = 500..=20_000;
/// How much of what is generated is reasoning where nothing is known: all of it may be. In thousandths.
const DEFAULT_REASONING: u64 = 1000;
/// By which part that falls with each request that has less.
const REASONING_FALLS_BY: u64 = 64;
/// Each octave of output is divided in two.
const BUCKETS: usize = 48;
/// After so many requests the older ones count half.
const HALVED_AFTER: u32 = 512;

/// What requests are expected to take. Bounded: where there is no room for more, something that was learned is forgotten.
#[derive(Debug)]
pub struct Estimator {
    /// Keyed by chance, so that what it makes of names may be hashed quickly.
    hasher: RandomState,
    shards: [Mutex<FxHashMap<u64, Entry>>; SHARDS],
}

#[derive(Debug, Clone)]
struct Entry {
    /// Thousandths of a byte to a token; 0 as long as none was seen.
    millibytes: u64,
    /// Thousandths of what is generated that are reasoning: what it was at most of late. `None` as long as nobody said.
    reasoning: Option<u64>,
    /// How many requests generated how much: bucket `n` has those of up to [`bound`]`(n)` tokens.
    outputs: [u16; BUCKETS],
    samples: u32,
    /// What 19 of 20 stay within.
    high: u64,
}

impl Default for Estimator {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: Default::default() }
    }
}

impl Estimator {
    /// One that has learned nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a request is expected to take: as much of the input as its prompt makes, and of the output what such requests
    /// take, by this model and consumer, else by this model, but no more than it allows.
    pub fn estimate(&self, ask: &Ask<'_>) -> Usage {
        let model = ask.target_model.or(ask.model).unwrap_or_default();
        let (millibytes, high, reasoning) =
            self.look(self.key(model, ""), |entry| (entry.millibytes, entry.high(), entry.reasoning));
        let consumer = ask.consumer().unwrap_or_default();
        let own = if consumer.is_empty() { None } else { self.look(self.key(model, consumer), Entry::high) };
        let typical = own.or(high).unwrap_or(DEFAULT_OUTPUT_TOKENS);
        let output = ask.allowed_output.map_or(typical, |allowed| allowed.min(typical));
        let millibytes = if millibytes == 0 { DEFAULT_MILLIBYTES } else { millibytes };
        let input = ask.prompt_bytes.saturating_mul(1000).div_ceil(millibytes);
        let reasoning =
            output.saturating_mul(reasoning.unwrap_or(DEFAULT_REASONING)).div_ceil(1000).min(output);
        Usage { input, output, reasoning, ..Usage::default() }
    }

    /// Learns what a request took. `model` is the one that the upstream was asked for; `consumer` is empty if nobody is
    /// known. What was cut short by what the request allows says only that it was no less, and is learned as it is.
    pub fn learn(
        &self,
        model: &str,
        consumer: &str,
        prompt_bytes: u64,
        allowed_output: Option<u64>,
        usage: &Usage,
    ) {
        // More than it allows is not believed to be typical.
        let output = allowed_output.map_or(usage.output, |allowed| usage.output.min(allowed));
        self.change(self.key(model, ""), |entry| {
            entry.learn_input(prompt_bytes, usage.input);
            entry.learn_output(output);
            entry.learn_reasoning(usage);
        });
        if !consumer.is_empty() {
            self.change(self.key(model, consumer), |entry| entry.learn_output(output));
        }
    }

    fn key(&self, model: &str, consumer: &str) -> u64 {
        self.hasher.hash_one((model, consumer))
    }

    fn look<T: Default>(&self, key: u64, read: impl FnOnce(&Entry) -> T) -> T {
        self.shard(key).lock().get(&key).map(read).unwrap_or_default()
    }

    fn change(&self, key: u64, change: impl FnOnce(&mut Entry)) {
        let mut shard = self.shard(key).lock();
        if shard.len() >= MAX_ENTRIES / SHARDS && !shard.contains_key(&key) {
            // The least known of a few: keys are hashes, so that the first ones are any.
            let least = shard.iter().take(8).min_by_key(|(_, entry)| entry.samples).map(|(key, _)| *key);
            if let Some(least) = least {
                shard.remove(&least);
            }
        }
        change(shard.entry(key).or_default());
    }

    fn shard(&self, key: u64) -> &Mutex<FxHashMap<u64, Entry>> {
        &self.shards[usize::try_from(key % SHARDS as u64).unwrap_or_default()]
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { millibytes: 0, reasoning: None, outputs: [0; BUCKETS], samples: 0, high: 0 }
    }
}

impl Entry {
    fn high(&self) -> Option<u64> {
        (self.samples >= MIN_SAMPLES).then_some(self.high)
    }

    fn learn_input(&mut self, prompt_bytes: u64, input: u64) {
        if input == 0 || prompt_bytes == 0 {
            return;
        }
        let seen = (prompt_bytes.saturating_mul(1000) / input).clamp(*MILLIBYTES.start(), *MILLIBYTES.end());
        self.millibytes = if self.millibytes == 0 { seen } else { (self.millibytes * 7 + seen) / 8 };
    }

    /// Rises at once and falls slowly: of requests to one model, some reason and others do not.
    fn learn_reasoning(&mut self, usage: &Usage) {
        if usage.output == 0 {
            return;
        }
        let part = usage.reasoning.min(usage.output);
        let seen = u128::from(part) * 1000 / u128::from(usage.output);
        let seen = u64::try_from(seen).unwrap_or(DEFAULT_REASONING);
        let before = self.reasoning.unwrap_or(seen);
        self.reasoning = Some(seen.max(before - before.div_ceil(REASONING_FALLS_BY)));
    }

    fn learn_output(&mut self, output: u64) {
        let count = &mut self.outputs[bucket(output)];
        *count = count.saturating_add(1);
        self.samples += 1;
        if self.samples >= HALVED_AFTER {
            self.outputs.iter_mut().for_each(|count| *count /= 2);
            self.samples = self.outputs.iter().map(|count| u32::from(*count)).sum();
        }
        let beyond = self.samples / 20;
        let mut above = 0;
        let is_beyond = |count: &u16| {
            above += u32::from(*count);
            above > beyond
        };
        self.high = bound(self.outputs.iter().rposition(is_beyond).unwrap_or_default());
    }
}

/// The most tokens of a bucket: 1, 2, 3, 4, 6, 8, 12, 16 and so on.
fn bound(bucket: usize) -> u64 {
    let octave = 1_u64 << (bucket / 2);
    if bucket.is_multiple_of(2) { octave } else { octave + octave.div_ceil(2) }
}

/// A bucket that has just room for so many tokens, or the last.
fn bucket(output: u64) -> usize {
    // The first bucket of the octave that the tokens are in, which may be followed by two that are needed.
    let first = 2 * output.max(1).ilog2() as usize;
    (first..first + 2).find(|bucket| bound(*bucket) >= output).unwrap_or(first + 2).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests;
