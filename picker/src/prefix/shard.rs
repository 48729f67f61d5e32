//! One table of the index: blocks and who holds them.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
};

use super::slots::{NO_SLOT, Slots};

/// Room that even an empty table is given.
const MIN_ROOM: usize = 16;
/// Endpoints of a block that need no allocation of their own.
const FEW: usize = 4;

/// An endpoint that holds a block, and the generation in which it last touched it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder {
    slot: u16,
    generation: u16,
}

/// Blocks, by their hash, and their holders.
#[derive(Debug, Default)]
pub(super) struct Shard {
    blocks: HashMap<u64, Holders, BuildHasherDefault<PassThrough>>,
}

/// The endpoints that hold one block.
#[derive(Debug)]
enum Holders {
    Few([Holder; FEW]),
    Many(Vec<Holder>),
}

/// Hashes what is a hash already, by leaving it alone.
#[derive(Debug, Default)]
pub(super) struct PassThrough(u64);

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Holder {
    const NOBODY: Self = Self { slot: NO_SLOT, generation: 0 };

    /// The endpoint's place in the index; [`NO_SLOT`] for nobody.
    pub(super) fn slot(self) -> u16 {
        self.slot
    }

    /// The generation, on the endpoint's own clock.
    pub(super) fn generation(self) -> u16 {
        self.generation
    }

    fn is_live(self, slots: &Slots) -> bool {
        slots.ages(self.slot).is_some_and(|ages| ages.is_live(self.generation))
    }
}

impl Shard {
    /// Who holds the block, including some that have forgotten it since.
    pub(super) fn holders(&self, hash: u64) -> impl Iterator<Item = Holder> {
        self.blocks.get(&hash).map(Holders::as_slice).unwrap_or_default().iter().copied()
    }

    /// Notes that `slot` holds the block in `generation`. Returns the live generation in which it held it before.
    pub(super) fn touch(&mut self, hash: u64, slot: u16, generation: u16, slots: &Slots) -> Option<u16> {
        if self.blocks.len() == self.blocks.capacity() && !self.blocks.contains_key(&hash) {
            self.sweep(slots);
        }
        let holder = Holder { slot, generation };
        match self.blocks.entry(hash) {
            Entry::Vacant(entry) => {
                entry.insert(Holders::one(holder));
                None
            }
            Entry::Occupied(mut entry) => {
                let before = entry.get_mut().put(holder, slots)?;
                slots.ages(slot).is_some_and(|ages| ages.is_live(before)).then_some(before)
            }
        }
    }

    /// Drops what is forgotten and makes room for a third more than is left. Moving to a new table, which costs as
    /// much as sweeping the old one, keeps it in proportion to what is live; in place, the map would double instead.
    fn sweep(&mut self, slots: &Slots) {
        self.blocks.retain(|_, holders| holders.keep_live(slots));
        let room = self.blocks.len() / 3 + MIN_ROOM;
        let mut swept =
            HashMap::with_capacity_and_hasher(self.blocks.len() + room, BuildHasherDefault::default());
        swept.extend(self.blocks.drain());
        self.blocks = swept;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }
}

impl Holders {
    fn one(holder: Holder) -> Self {
        let mut few = [Holder::NOBODY; FEW];
        few[0] = holder;
        Self::Few(few)
    }

    fn as_slice(&self) -> &[Holder] {
        match self {
            Self::Few(few) => few,
            Self::Many(many) => many,
        }
    }

    /// Adds or renews a holder; returns its generation before.
    fn put(&mut self, holder: Holder, slots: &Slots) -> Option<u16> {
        let places = match self {
            Self::Few(few) => &mut few[..],
            Self::Many(many) => &mut many[..],
        };
        if let Some(own) = places.iter_mut().find(|place| place.slot == holder.slot) {
            return Some(std::mem::replace(own, holder).generation);
        }
        if let Some(free) = places.iter_mut().find(|place| !place.is_live(slots)) {
            *free = holder;
            return None;
        }
        match self {
            Self::Few(few) => {
                let mut many = Vec::with_capacity(2 * FEW);
                many.extend_from_slice(few);
                many.push(holder);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.push(holder),
        }
        None
    }

    /// Drops who has forgotten the block; `false` if nobody is left.
    fn keep_live(&mut self, slots: &Slots) -> bool {
        match self {
            Self::Few(few) => {
                for place in few.iter_mut().filter(|place| !place.is_live(slots)) {
                    *place = Holder::NOBODY;
                }
                few.iter().any(|place| place.slot != NO_SLOT)
            }
            Self::Many(many) => {
                many.retain(|place| place.is_live(slots));
                !many.is_empty()
            }
        }
    }
}
