//! Adds the samples of a page up to the numbers that a pick uses.

use xxhash_rust::xxh3::xxh3_64;

use super::sample::{EngineKey, Sample};
use crate::engine::{Field, Repeats};

/// The numbers of one page. One that no series gave is absent, not zero: an engine that hides its queue must
/// not look idle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Engines behind the port, by the number of which most have a series; 0 if none has.
    pub engines: u32,
    /// Requests in the queue, over all engines.
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

/// Engines of one page that are kept apart. Larger deployments have an address for each node.
const MAX_ENGINES: usize = 512;
/// Engines for which a tally keeps room between two pages.
const MAX_IDLE_ENGINES: usize = 64;

/// Numbers in progress over the lines of a page.
#[derive(Debug)]
pub(super) struct Tally {
    repeats: Repeats,
    engines: Vec<EngineTally>,
    block_tokens: Option<f64>,
    /// Blocks of all engines, where the page says that itself.
    total_blocks: Option<f64>,
    adapters: Option<NewestAdapters>,
    pub(super) malformed: u32,
}

/// Numbers in progress of one engine.
#[derive(Debug, Default)]
struct EngineTally {
    /// Hash of the labels that tell it from the others.
    key: u64,
    waiting: Option<f64>,
    running: Option<f64>,
    kv_usage: Option<f64>,
    kv_usage_old: Option<f64>,
    blocks: Option<f64>,
}

impl Tally {
    pub(super) fn new(repeats: Repeats) -> Self {
        Self {
            repeats,
            engines: Vec::new(),
            block_tokens: None,
            total_blocks: None,
            adapters: None,
            malformed: 0,
        }
    }

    pub(super) fn add(&mut self, field: Field, sample: &Sample<'_>) {
        match field {
            Field::Waiting => self.add_to_engine(sample, sample.value, |engine| &mut engine.waiting),
            Field::Running => self.add_to_engine(sample, sample.value, |engine| &mut engine.running),
            Field::KvUsage => {
                self.add_to_engine(sample, sample.value.min(1.0), |engine| &mut engine.kv_usage)
            }
            Field::KvUsageOld => {
                self.add_to_engine(sample, sample.value.min(1.0), |engine| &mut engine.kv_usage_old);
            }
            Field::BlockTokens => raise(&mut self.block_tokens, sample.value),
            Field::Blocks => self.add_to_engine(sample, sample.value, |engine| &mut engine.blocks),
            Field::CacheLabels(tokens, blocks) => {
                if let Some(tokens) = number(sample, tokens) {
                    raise(&mut self.block_tokens, tokens);
                }
                if let Some(blocks) = number(sample, blocks) {
                    self.add_to_engine(sample, blocks, |engine| &mut engine.blocks);
                }
            }
            Field::TotalCacheLabels(tokens, blocks) => {
                if let Some(tokens) = number(sample, tokens) {
                    raise(&mut self.block_tokens, tokens);
                }
                if let Some(blocks) = number(sample, blocks) {
                    raise(&mut self.total_blocks, blocks);
                }
            }
            Field::Adapters => self.add_adapters(sample),
        }
    }

    /// The numbers of the page, as far as it was read.
    pub(super) fn take_reading(&mut self) -> Reading {
        let over_all = |number: fn(&EngineTally) -> Option<f64>| {
            self.engines.iter().filter_map(number).fold(Sum::default(), Sum::with)
        };
        let (waiting, running) = (over_all(|engine| engine.waiting), over_all(|engine| engine.running));
        let (kv_usage, kv_usage_old) =
            (over_all(|engine| engine.kv_usage), over_all(|engine| engine.kv_usage_old));
        let blocks = self.total_blocks.or(over_all(|engine| engine.blocks).total());
        let engines = [&waiting, &running, &kv_usage, &kv_usage_old].map(|sum| sum.engines);
        Reading {
            engines: engines.into_iter().max().unwrap_or(0),
            waiting: waiting.total().map(whole),
            running: running.total().map(whole),
            kv_usage: kv_usage.mean().or(kv_usage_old.mean()),
            block_tokens: self.block_tokens.take().map(whole).filter(|tokens| *tokens > 0),
            blocks: blocks.map(|blocks| blocks.round() as u64).filter(|blocks| *blocks > 0),
            adapters: self.adapters.take().map(NewestAdapters::into_adapters),
            malformed: self.malformed,
        }
    }

    /// Forgets the page.
    pub(super) fn reset(&mut self) {
        self.engines.clear();
        self.engines.shrink_to(MAX_IDLE_ENGINES);
        self.block_tokens = None;
        self.total_blocks = None;
        self.adapters = None;
        self.malformed = 0;
    }

    /// Adds a number to those of the sample's engine.
    fn add_to_engine(
        &mut self,
        sample: &Sample<'_>,
        value: f64,
        field: fn(&mut EngineTally) -> &mut Option<f64>,
    ) {
        let key = key(&sample.engine);
        let place = match self.engines.iter().position(|engine| engine.key == key) {
            Some(place) => place,
            None if self.engines.len() == MAX_ENGINES => {
                self.malformed += 1;
                return;
            }
            None => {
                self.engines.push(EngineTally { key, ..EngineTally::default() });
                self.engines.len() - 1
            }
        };
        let number = field(&mut self.engines[place]);
        match (self.repeats, *number) {
            (Repeats::Parts, Some(part)) => *number = Some(part + value),
            (Repeats::Copies, _) | (Repeats::Parts, None) => raise(number, value),
        }
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

/// A number over engines.
#[derive(Debug, Default)]
struct Sum {
    value: f64,
    engines: u32,
}

impl Sum {
    fn with(self, value: f64) -> Self {
        Self { value: self.value + value, engines: self.engines + 1 }
    }

    fn total(&self) -> Option<f64> {
        (self.engines > 0).then_some(self.value)
    }

    fn mean(&self) -> Option<f64> {
        self.total().map(|total| total / f64::from(self.engines))
    }
}

/// Tells engines of a page apart. Two that come to the same number would count as one: a server gains nothing by
/// choosing its labels so.
fn key([first, second]: &EngineKey<'_>) -> u64 {
    xxh3_64(first) ^ xxh3_64(second).rotate_left(1)
}

/// The number in a label. `None` is vLLM's way to say that it does not know yet, and not malformed.
fn number(sample: &Sample<'_>, label: &str) -> Option<f64> {
    sample.label(label).and_then(|value| value.parse::<u32>().ok()).map(f64::from)
}

/// Makes a number at least as large.
fn raise(known: &mut Option<f64>, value: f64) {
    *known = Some(known.map_or(value, |known| known.max(value)));
}

/// Saturates: a page may claim any number.
fn whole(value: f64) -> u32 {
    value.round() as u32
}
