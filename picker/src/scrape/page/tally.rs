//! Adds the samples of a page up to the numbers that a pick uses.

use super::sample::Sample;
use crate::engine::Field;

/// What one page said. A number that no series gave is absent, not zero: an engine that hides its queue must
/// not look idle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Requests in the queue, over all engines behind the port.
    pub waiting: Option<u32>,
    /// Requests being computed, likewise.
    pub running: Option<u32>,
    /// Share of KV-cache blocks in use, 0 to 1; the mean of several engines.
    pub kv_usage: Option<f64>,
    /// Tokens in one KV-cache block.
    pub block_tokens: Option<u32>,
    /// KV-cache blocks, over all engines.
    pub blocks: Option<u64>,
    /// LoRA adapters, where the engine has the feature on.
    pub adapters: Option<Adapters>,
    /// Wanted lines that could not be used.
    pub malformed: u32,
}

impl Reading {
    /// Whether the page had nothing that a pick uses: statistics are switched off, it is some other
    /// program's page, or no metrics page at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let load = (self.waiting, self.running, self.kv_usage);
        load == (None, None, None) && self.adapters.is_none()
    }
}

/// The LoRA adapters of an engine at the time of its newest `lora_requests_info` series.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Adapters {
    /// How many the engine holds at once.
    pub max: u32,
    /// Those with a request being computed, sorted, each once.
    pub active: Vec<Box<str>>,
    /// Those with a request in the queue, sorted, each once.
    pub waiting: Vec<Box<str>>,
}

/// Sums in progress over the lines of a page.
#[derive(Debug, Default)]
pub(super) struct Tally {
    waiting: Sum,
    running: Sum,
    kv_usage: Sum,
    kv_usage_old: Sum,
    block_tokens: Option<f64>,
    blocks: Sum,
    adapters: Option<NewestAdapters>,
    pub(super) malformed: u32,
}

impl Tally {
    pub(super) fn add(&mut self, field: Field, sample: &Sample<'_>) {
        match field {
            Field::Waiting => self.waiting.add(sample.value),
            Field::Running => self.running.add(sample.value),
            Field::KvUsage => self.kv_usage.add(sample.value.min(1.0)),
            Field::KvUsageOld => self.kv_usage_old.add(sample.value.min(1.0)),
            Field::BlockTokens => self.add_block_tokens(sample.value),
            Field::Blocks => self.blocks.add(sample.value),
            Field::CacheLabels(tokens, blocks) => {
                // "None" is vLLM's way to say that it does not know yet; it is not malformed.
                let number = |name| sample.label(name).and_then(|v| v.parse::<u32>().ok());
                number(tokens).into_iter().for_each(|tokens| self.add_block_tokens(tokens.into()));
                number(blocks).into_iter().for_each(|blocks| self.blocks.add(blocks.into()));
            }
            Field::Adapters => self.add_adapters(sample),
        }
    }

    pub(super) fn into_reading(self) -> Reading {
        Reading {
            waiting: self.waiting.total().map(whole),
            running: self.running.total().map(whole),
            kv_usage: self.kv_usage.mean().or(self.kv_usage_old.mean()),
            block_tokens: self.block_tokens.map(whole).filter(|tokens| *tokens > 0),
            blocks: self.blocks.total().map(|blocks| blocks.round() as u64).filter(|blocks| *blocks > 0),
            adapters: self.adapters.map(NewestAdapters::into_adapters),
            malformed: self.malformed,
        }
    }

    fn add_block_tokens(&mut self, tokens: f64) {
        self.block_tokens = Some(self.block_tokens.map_or(tokens, |known| known.max(tokens)));
    }

    /// vLLM keeps every combination of adapters that it ever had as a series of its own, with the time of
    /// its last occurrence as the value. Where the clock is too coarse to tell the newest, all of them count:
    /// each was loaded a moment ago.
    fn add_adapters(&mut self, sample: &Sample<'_>) {
        if self.adapters.as_ref().is_some_and(|newest| newest.seen_at > sample.value) {
            return;
        }
        let newest = self.adapters.get_or_insert_default();
        if newest.seen_at < sample.value {
            newest.max = 0;
            newest.active.clear();
            newest.waiting.clear();
            newest.seen_at = sample.value;
        }
        let max = sample.label("max_lora").and_then(|max| max.parse().ok()).unwrap_or(0);
        newest.max = newest.max.max(max);
        push_names(&mut newest.active, sample.label("running_lora_adapters").as_deref());
        push_names(&mut newest.waiting, sample.label("waiting_lora_adapters").as_deref());
    }
}

/// Bytes of adapter names that are kept of one page, for each of the two lists. A line's own limit does not
/// bound the union of several.
const MAX_NAME_BYTES: usize = super::MAX_LINE_BYTES;

/// The adapters of the newest series so far; lists are comma-separated, as in the labels.
#[derive(Debug, Default)]
struct NewestAdapters {
    /// Unix time in seconds.
    seen_at: f64,
    max: u32,
    active: String,
    waiting: String,
}

impl NewestAdapters {
    fn into_adapters(self) -> Adapters {
        Adapters { max: self.max, active: names(&self.active), waiting: names(&self.waiting) }
    }
}

fn push_names(list: &mut String, more: Option<&str>) {
    let more = more.unwrap_or_default();
    if list.len() + more.len() < MAX_NAME_BYTES {
        list.push(',');
        list.push_str(more);
    }
}

fn names(list: &str) -> Vec<Box<str>> {
    let present = list.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut names: Vec<Box<str>> = present.map(Box::from).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[derive(Debug, Default)]
struct Sum {
    value: f64,
    samples: u32,
}

impl Sum {
    fn add(&mut self, value: f64) {
        self.value += value;
        self.samples += 1;
    }

    fn total(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.value)
    }

    fn mean(&self) -> Option<f64> {
        self.total().map(|total| total / f64::from(self.samples))
    }
}

/// Saturates: a page may claim any number.
fn whole(value: f64) -> u32 {
    value.round() as u32
}
