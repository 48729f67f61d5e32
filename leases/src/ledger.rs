//! What the gateway knows to be booked for it in the store, counter by counter.
//!
//! An answer that is lost leaves it open whether the call was executed: the next call says which one was answered last, and
//! the store undoes what came after it. A store that lost its data is told what was booked before. Both need a memory on this
//! side, which is bounded: a counter that does not fit in it works as well, but what is lost on the way stays booked until
//! its window ends, and a store without data is not told of it.

use std::sync::Arc;

use parking_lot::Mutex;
use penstock_policies::limits::LeaseWindow;
use rustc_hash::FxHashMap;

use crate::script::{Booked, Frame, Lent};

/// The most counters that are remembered. One takes about 200 bytes, and its key 170 at the most.
const MAX_COUNTERS: usize = 200_000;

/// What is booked in which counter.
#[derive(Default)]
pub(crate) struct Ledger {
    counters: Mutex<FxHashMap<Arc<str>, Entry>>,
}

/// A counter, and the most that it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter<'a> {
    /// Its key. Limits whose windows differ have others.
    pub(crate) key: &'a Arc<str>,
    /// Over what time it counts.
    pub(crate) window: &'a LeaseWindow,
    /// The most.
    pub(crate) amount: u64,
    /// Whether it is only to be told of.
    pub(crate) is_reminder: bool,
}

/// What is booked in one counter.
#[derive(Debug)]
struct Entry {
    window: LeaseWindow,
    booked: Booked,
    /// Of windows that go on and on: the stretch of their length that `booked` counts.
    stretch: u64,
    /// What was booked in the stretch before.
    before: u64,
    /// How many calls are under way.
    asking: u32,
    /// Whether there was a call since the last answer of which it is not known what became.
    is_open: bool,
    /// By when nothing of it matters, by the store's clock.
    until: u64,
    /// The most.
    limit: u64,
}

/// What a call told and was lent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    /// Its sequence.
    pub(crate) sequence: u64,
    /// Used beyond what was lent.
    pub(crate) debt: u64,
    /// Given back.
    pub(crate) give_back: u64,
}

impl Ledger {
    /// What is known of a counter at this time of the store. `sequence` is that of the call to come. `None` if that is a
    /// reminder, and another call is under way: the reminder would undo it.
    pub(crate) fn open(&self, counter: Counter<'_>, frame: Frame, sequence: u64, now: u64) -> Option<Booked> {
        let mut counters = self.counters.lock();
        let is_full = counters.len() >= MAX_COUNTERS;
        let Some(entry) = counters.get_mut(counter.key) else {
            // Nothing is to be undone of what is not remembered.
            let booked = Booked { acknowledged: sequence.saturating_sub(1), ..Booked::default() };
            if !is_full {
                counters.insert(Arc::clone(counter.key), Entry::new(booked, counter));
            }
            return Some(booked);
        };
        if counter.is_reminder && entry.asking > 0 {
            return None;
        }
        let is_settled = entry.asking == 0 && !entry.is_open;
        let acknowledged = if is_settled { sequence.saturating_sub(1) } else { entry.booked.acknowledged };
        (entry.asking, entry.limit) = (entry.asking + 1, counter.amount);
        entry.move_on(frame, now);
        Some(Booked { amount: entry.standing(frame, now), acknowledged, ..entry.booked })
    }

    /// Whether there was room for a counter.
    pub(crate) fn remembers(&self, key: &Arc<str>) -> bool {
        self.counters.lock().contains_key(key)
    }

    /// Books an answer.
    pub(crate) fn close(&self, key: &Arc<str>, frame: Frame, told: Told, lent: &Lent) {
        let mut counters = self.counters.lock();
        let Some(entry) = counters.get_mut(key) else { return };
        entry.move_on(frame, lent.now);
        let is_other_window = stretch_of(frame).is_none() && entry.booked.window != lent.window;
        let (before, returned) = if is_other_window { (0, 0) } else { (entry.booked.amount, told.give_back) };
        entry.booked = Booked {
            acknowledged: entry.booked.acknowledged.max(told.sequence),
            window: lent.window,
            birth: lent.birth,
            amount: (before + lent.lease + told.debt).saturating_sub(returned),
        };
        (entry.asking, entry.is_open) = (entry.asking.saturating_sub(1), false);
        let good_for = u64::try_from(lent.good_for.as_micros()).unwrap_or(u64::MAX);
        // Of what runs at a time sooner than the store does, which keeps a counter for twice as long as a lease is good for:
        // then another birth always means that the store has lost it.
        let remembered =
            if frame == Frame::Now { good_for.saturating_mul(3) / 2 } else { good_for.saturating_mul(2) };
        entry.until = lent.now.saturating_add(remembered);
    }

    /// There is no answer: what became of the call is not known.
    pub(crate) fn give_up(&self, key: &Arc<str>) {
        if let Some(entry) = self.counters.lock().get_mut(key) {
            (entry.asking, entry.is_open) = (entry.asking.saturating_sub(1), true);
        }
    }

    /// The counters that a store that is back has to be told of, with their limits. What runs at a time is told as a whole,
    /// and soon, anyhow; and while a call is under way, another would undo it.
    pub(crate) fn to_tell(&self) -> Vec<(Arc<str>, LeaseWindow, u64)> {
        let counters = self.counters.lock();
        let is_to_be_told = |entry: &Entry| {
            entry.window != LeaseWindow::Concurrency
                && entry.asking == 0
                && (entry.is_open || entry.booked.amount > 0 || entry.before > 0)
        };
        let told = counters.iter().filter(|(_, entry)| is_to_be_told(entry));
        told.map(|(key, entry)| (Arc::clone(key), entry.window.clone(), entry.limit)).collect()
    }

    /// Forgets what does not matter any more, and says how much is left.
    pub(crate) fn sweep(&self, now: u64) -> usize {
        let mut counters = self.counters.lock();
        counters.retain(|_, entry| entry.asking > 0 || entry.is_open || entry.until > now);
        if counters.capacity() > 4 * counters.len() {
            counters.shrink_to_fit();
        }
        counters.len()
    }
}

impl Entry {
    fn new(booked: Booked, counter: Counter<'_>) -> Self {
        let (window, limit) = (counter.window.clone(), counter.amount);
        Self { window, booked, stretch: 0, before: 0, asking: 1, is_open: false, until: 0, limit }
    }

    /// Begins another stretch, if it is time.
    fn move_on(&mut self, frame: Frame, now: u64) {
        let Some(length) = stretch_of(frame) else { return };
        let stretch = now / length;
        if stretch <= self.stretch {
            return;
        }
        self.before = if stretch == self.stretch + 1 { self.booked.amount } else { 0 };
        self.booked.amount = 0;
        self.stretch = stretch;
    }

    /// What still stands: of windows that go on and on, all of this stretch, and of the one before as much as its part that
    /// they still reach into.
    fn standing(&self, frame: Frame, now: u64) -> u64 {
        let Some(length) = stretch_of(frame) else { return self.booked.amount };
        let left = length - (now % length).min(length);
        let part = u128::from(self.before) * u128::from(left) / u128::from(length);
        self.booked.amount.saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

/// The length in microseconds of a window that goes on and on.
fn stretch_of(frame: Frame) -> Option<u64> {
    match frame {
        Frame::Bucket(length) | Frame::Sliding(length) => {
            Some(u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1))
        }
        Frame::Fixed(_) | Frame::Calendar { .. } | Frame::Now => None,
    }
}
