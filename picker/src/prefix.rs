//! Which endpoint is believed to hold which blocks of which prompts in its KV cache.
//!
//! An endpoint holds what it was sent, least recently used forgotten first. The index turns that into one question,
//! "how many blocks from this prompt's head does each endpoint hold", and answers it with a handful of look-ups:
//!
//! * Along a chain of blocks the set of endpoints only ever shrinks, because a block is touched whenever one behind
//!   it is. So the places where it shrinks are found by bisection, and equal counts at two places mean equal sets.
//! * Recency is not a list to be relinked on every touch but a generation number per endpoint and block
//!   (`slots`). Touching again within a generation writes nothing, forgetting the oldest generation is one store,
//!   and a head is never older than its tail.
//! * Blocks lie in many small tables (`shard`), each behind its own lock, placed by nothing but their hash. So no
//!   system prompt, however popular, makes its users meet at one lock for more than a few probes.
//!
//! `docs/design/prefix-index.md` has the alternatives.

mod shard;
mod slots;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::slots::NO_SLOT;
use self::{
    shard::Shard,
    slots::{Ages, Slots},
};
use crate::random;

/// Tables of the index: enough that eight cores seldom meet at one, few enough to be cheap for a small pool.
const SHARDS: usize = 256;
/// Most blocks that the index of one pool remembers, counting a block once for each endpoint that holds it. Some 33
/// bytes each, and tables are at least a third full: 400 MiB at the very most, for a pool of 135 endpoints or more
/// that never see the same prompt twice.
pub(crate) const MAX_BLOCKS: usize = 4 << 20;

/// How many blocks make an entry, at the most, as a power of two: at the head of a prompt each block is remembered, behind
/// it one stands for a whole group, so that what it takes to remember a prompt grows slower than the prompt. Groups are of
/// two blocks past the 32nd and double with the prompt: a group is at most a sixteenth of what lies before it, and that
/// much of a prompt may be held and not known. Peeks hash long prompts in the same groups.
const LARGEST_GROUP: u32 = 4;
/// Entries of each size of groups but the last; of the first size twice as many.
const ENTRIES_OF_A_SIZE: usize = 16;

/// The prefix index of one pool.
#[derive(Debug)]
pub struct PrefixIndex {
    shards: Box<[Mutex<Shard>]>,
    slots: Slots,
    /// Keeps models apart in a way that no client can foresee.
    seed: u64,
}

/// A prompt as the index sees it: every `stride`-th of its chained hashes, mixed with the model.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    hashes: &'a [u64],
    stride: usize,
    len: usize,
    model: u64,
}

impl Chain<'_> {
    /// Blocks of the chain.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the prompt is too short to have a block.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The hash under which the index has its `entry`-th place in the chain.
    fn hash(&self, entry: usize) -> u64 {
        // A chained hash covers all that came before it, so the last of a group, or of a stride, stands for all of it.
        let hash = self.hashes[blocks_of(entry + 1) * self.stride - 1] ^ self.model;
        let product = u128::from(hash) * 0x9e37_79b9_7f4a_7c15;
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// Entries that stand for the first `blocks` of a chain, or for as many of them as make whole groups.
fn entries_of(blocks: usize) -> usize {
    let size = (blocks / ENTRIES_OF_A_SIZE).checked_ilog2().unwrap_or(0).min(LARGEST_GROUP);
    // As many as if all groups were of this size, and sixteen more for each smaller size that came before.
    ENTRIES_OF_A_SIZE * size as usize + (blocks >> size)
}

/// Blocks that the first `entries` of a chain stand for.
fn blocks_of(entries: usize) -> usize {
    let size = (entries / ENTRIES_OF_A_SIZE).saturating_sub(1).min(LARGEST_GROUP as usize);
    (entries - ENTRIES_OF_A_SIZE * size) << size
}

/// Where the next entry behind `known` blocks ends, in blocks.
pub(crate) fn end_behind(known: usize) -> usize {
    blocks_of(entries_of(known) + 1)
}

impl Default for PrefixIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl PrefixIndex {
    /// An empty index. Takes memory only for what is recorded.
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            slots: Slots::default(),
            seed: random::next_u64(),
        }
    }

    /// The chain of a prompt for `model`. `stride` is at least 1; blocks past `max_blocks` are left out.
    pub fn chain<'a>(&self, model: &str, hashes: &'a [u64], stride: usize, max_blocks: usize) -> Chain<'a> {
        let len = (hashes.len() / stride).min(max_blocks);
        Chain { hashes, stride, len, model: xxh3_64_with_seed(model.as_bytes(), self.seed) }
    }

    /// Sets `matched[slot]` to the blocks from the chain's head that the endpoint in `slot` holds, for each that holds
    /// any. Past the 32nd only whole groups count. Slots past the end of `matched` are left out.
    pub fn matches(&self, chain: &Chain<'_>, matched: &mut [u32]) {
        let Some(last) = entries_of(chain.len()).checked_sub(1) else { return };
        let head = self.probe(chain, 0, matched);
        if head == 0 || last == 0 {
            return;
        }
        let tail = self.probe(chain, last, matched);
        self.refine(chain, (0, head), (last, tail), matched);
    }

    /// Notes that the endpoint in `slot` is sent the chain and will hold it. `capacity` is how many blocks it is
    /// believed to hold at the most.
    pub fn record(&self, chain: &Chain<'_>, slot: u16, capacity: usize) {
        let Some(clock) = self.slots.clock(slot) else { return };
        let len = entries_of(chain.len().min(capacity));
        let ages = clock.ages();
        let mut first = self.first_older(chain, slot, ages, len);
        if first == len {
            return;
        }
        let current = clock.begin(blocks_of(len) - blocks_of(first), capacity);
        if current != ages.current() {
            first = 0;
        }

        let mut touched = slots::Touched::default();
        for entry in first..len {
            let hash = chain.hash(entry);
            let before = self.shard(hash).lock().touch(hash, slot, current, &self.slots);
            touched.add(blocks_of(entry + 1) - blocks_of(entry), before);
        }
        clock.settle(current, &touched, capacity);
    }

    /// Forgets all that the endpoint in `slot` holds, so that the slot can go to another one.
    pub fn forget(&self, slot: u16) {
        if let Some(clock) = self.slots.clock(slot) {
            clock.forget();
        }
    }

    /// How many blocks the endpoint in `slot` is believed to hold.
    pub fn held(&self, slot: u16) -> usize {
        self.slots.clock(slot).map_or(0, |clock| clock.held())
    }

    /// Probes between two places until no change of the set lies between any two that were probed.
    fn refine(&self, chain: &Chain<'_>, low: (usize, u32), high: (usize, u32), matched: &mut [u32]) {
        if high.0 - low.0 <= 1 || low.1 == high.1 {
            return;
        }
        let middle = usize::midpoint(low.0, high.0);
        let middle = (middle, self.probe(chain, middle, matched));
        self.refine(chain, low, middle, matched);
        self.refine(chain, middle, high, matched);
    }

    /// Credits every endpoint that holds `entry` with the blocks up to it, and counts them.
    fn probe(&self, chain: &Chain<'_>, entry: usize, matched: &mut [u32]) -> u32 {
        let hash = chain.hash(entry);
        let run = u32::try_from(blocks_of(entry + 1)).unwrap_or(u32::MAX);
        let mut holders = 0;
        let shard = self.shard(hash).lock();
        for holder in shard.holders(hash) {
            let is_live =
                self.slots.ages(holder.slot()).is_some_and(|ages| ages.is_live(holder.generation()));
            if let (true, Some(best)) = (is_live, matched.get_mut(usize::from(holder.slot()))) {
                holders += 1;
                *best = run.max(*best);
            }
        }
        holders
    }

    /// The first entry of the chain that is to be touched; all before it are in the endpoint's current generation, as
    /// generations never rise along a chain.
    fn first_older(&self, chain: &Chain<'_>, slot: u16, ages: Ages, len: usize) -> usize {
        let age_of = |entry: usize| {
            let hash = chain.hash(entry);
            let shard = self.shard(hash).lock();
            let holder = shard.holders(hash).find(|holder| holder.slot() == slot)?;
            ages.age(holder.generation())
        };
        // A chain that is held whole and not old yet can wait: it costs the order of what is recent, not of what is
        // forgotten next. One with anything to add cannot, or its head would grow older than its tail.
        if len == 0 || age_of(len - 1).is_some_and(|age| age <= slots::RECENT) {
            return len;
        }
        if age_of(0) != Some(0) {
            return 0;
        }
        let (mut newest, mut older) = (0, len - 1);
        while older - newest > 1 {
            let middle = usize::midpoint(newest, older);
            if age_of(middle) == Some(0) {
                newest = middle;
            } else {
                older = middle;
            }
        }
        older
    }

    fn shard(&self, hash: u64) -> &Mutex<Shard> {
        // Bits from the middle: tables find their places by the lowest and tell neighbours apart by the highest.
        &self.shards[(hash >> 40) as usize % SHARDS]
    }
}

#[cfg(test)]
mod tests;
