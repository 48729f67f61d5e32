//! Generations: the recency of blocks, one clock for each endpoint.
//!
//! Instead of a linked list that every touch rewrites, an endpoint's blocks carry the number of the generation in
//! which they were touched last. When a sixteenth of the capacity was touched, the next generation begins; when all of
//! them together exceed the capacity, the oldest is forgotten by moving one number. Sixteen steps of recency are
//! coarser than an exact list, and as a block is touched whenever one behind it in a chain is, no block is ever older
//! than one behind it: tails go no later than their heads.

use std::sync::{
    OnceLock,
    atomic::{
        AtomicU32,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use parking_lot::Mutex;

/// Stands for no place in the index: a pool has at most 65,535 endpoints with one.
pub const NO_SLOT: u16 = u16::MAX;

/// Generations that an endpoint's blocks are divided into.
const GENERATIONS: usize = 16;
/// A prompt that was touched this many generations ago or later is not touched again for being used again.
pub(super) const RECENT: u16 = GENERATIONS as u16 / 4;
/// Slots that are allocated together.
const CHUNK: usize = 256;

/// The clocks of all endpoints of a pool, by slot. Grows without moving what is there.
#[derive(Debug)]
pub(super) struct Slots {
    chunks: Box<[OnceLock<Box<[GenerationClock]>>]>,
}

/// The clock of one endpoint.
#[derive(Debug, Default)]
pub(super) struct GenerationClock {
    /// [`Ages`], packed.
    ages: AtomicU32,
    /// Blocks touched last in each of the live generations, by generation modulo their number.
    touched: [AtomicU32; GENERATIONS],
    turning: Mutex<()>,
}

/// Which generations of an endpoint are live: `span + 1` of them up to the current one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    current: u16,
    span: u16,
}

/// What recording a chain touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    blocks: u32,
    /// Blocks that were in an older generation before, by generation modulo their number.
    moved: [u32; GENERATIONS],
}

impl Default for Slots {
    fn default() -> Self {
        Self { chunks: (0..=usize::from(NO_SLOT) / CHUNK).map(|_| OnceLock::new()).collect() }
    }
}

impl Slots {
    /// The clock of `slot`; `None` for [`NO_SLOT`].
    pub(super) fn clock(&self, slot: u16) -> Option<&GenerationClock> {
        if slot == NO_SLOT {
            return None;
        }
        let (chunk, place) = (usize::from(slot) / CHUNK, usize::from(slot) % CHUNK);
        let chunk =
            self.chunks[chunk].get_or_init(|| (0..CHUNK).map(|_| GenerationClock::default()).collect());
        Some(&chunk[place])
    }

    /// The live generations of `slot`.
    pub(super) fn ages(&self, slot: u16) -> Option<Ages> {
        self.clock(slot).map(GenerationClock::ages)
    }
}

impl GenerationClock {
    /// The live generations.
    pub(super) fn ages(&self) -> Ages {
        Ages::unpack(self.ages.load(Acquire))
    }

    /// Blocks in all live generations.
    pub(super) fn held(&self) -> usize {
        let ages = self.ages();
        (0..=ages.span).map(|age| self.count(ages.current.wrapping_sub(age)).load(Relaxed) as usize).sum()
    }

    /// The generation that `blocks` more are to be touched in: a new one if the current one has its share already,
    /// or would alone exceed the capacity.
    pub(super) fn begin(&self, blocks: usize, capacity: usize) -> u16 {
        let ages = self.ages();
        let count = self.count(ages.current).load(Relaxed) as usize;
        let is_turn = count >= (capacity / GENERATIONS).max(1) || (count > 0 && count + blocks > capacity);
        if !is_turn {
            return ages.current;
        }
        // Whoever finds the lock taken leaves the turn to the one that has it.
        let Some(_turning) = self.turning.try_lock() else { return ages.current };
        if self.ages().current != ages.current {
            return self.ages().current;
        }
        let next = ages.current.wrapping_add(1);
        self.count(next).store(0, Relaxed);
        let span = (usize::from(ages.span) + 1).min(GENERATIONS - 1) as u16;
        self.ages.store(Ages { current: next, span }.pack(), Release);
        next
    }

    /// Books what was touched in generation `current`, then forgets old generations as far as needed.
    pub(super) fn settle(&self, current: u16, touched: &Touched, capacity: usize) {
        for (place, moved) in touched.moved.iter().enumerate().filter(|(_, moved)| **moved > 0) {
            let _ =
                self.touched[place].fetch_update(AcqRel, Relaxed, |count| Some(count.saturating_sub(*moved)));
        }
        self.count(current).fetch_add(touched.blocks, AcqRel);
        if self.held() <= capacity {
            return;
        }
        let Some(_turning) = self.turning.try_lock() else { return };
        let mut ages = self.ages();
        while ages.span > 0 && self.held() > capacity {
            ages.span -= 1;
            self.ages.store(ages.pack(), Release);
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&self) {
        let _turning = self.turning.lock();
        let ages = Ages { current: self.ages().current.wrapping_add(1), span: 0 };
        self.ages.store(ages.pack(), Release);
        for count in &self.touched {
            count.store(0, Relaxed);
        }
    }

    fn count(&self, generation: u16) -> &AtomicU32 {
        &self.touched[usize::from(generation) % GENERATIONS]
    }
}

impl Ages {
    /// The generation that touched blocks belong to now.
    pub(super) fn current(self) -> u16 {
        self.current
    }

    /// How many generations ago `generation` was; `None` if blocks of it are forgotten.
    pub(super) fn age(self, generation: u16) -> Option<u16> {
        Some(self.current.wrapping_sub(generation)).filter(|age| *age <= self.span)
    }

    /// Whether blocks of `generation` are still held.
    pub(super) fn is_live(self, generation: u16) -> bool {
        self.age(generation).is_some()
    }

    fn pack(self) -> u32 {
        u32::from(self.current) << 16 | u32::from(self.span)
    }

    fn unpack(packed: u32) -> Self {
        Self { current: (packed >> 16) as u16, span: (packed & 0xffff) as u16 }
    }
}

impl Touched {
    /// Adds blocks; `before` is the live generation that they were in, if any.
    pub(super) fn add(&mut self, blocks: usize, before: Option<u16>) {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        self.blocks += blocks;
        if let Some(before) = before {
            self.moved[usize::from(before) % GENERATIONS] += blocks;
        }
    }
}
