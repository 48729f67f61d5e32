//! What the script is meant to do, without regard to how it has to be done there.

use std::collections::BTreeMap;

use crate::script::{Answer, Booked, Call, Frame, Lent};

const SLOTS: u64 = 60;
/// In microseconds.
const LEARNING: u64 = 2_000_000;
const LEARNING_NOW: u64 = 4_000_000;

/// One counter.
#[derive(Default)]
pub(super) struct Model {
    at: u64,
    birth: Option<u64>,
    /// Until when nothing is lent.
    learns: u64,
    /// Of stretches that follow one another: which, and what is counted.
    pub(super) window: u64,
    used: u64,
    /// Of a bucket: what is counted, times the length.
    scaled: u128,
    /// Of one that slides.
    slots: BTreeMap<u64, u64>,
    holders: BTreeMap<String, Holder>,
}

#[derive(Default, Clone, Copy)]
struct Holder {
    heard: u64,
    sequence: u64,
    booked: u64,
    returned: u64,
    window: u64,
    has: u64,
}

impl Model {
    pub(super) fn call(&mut self, call: &Call<'_>, now: u64) -> Answer {
        let now = now.max(self.at);
        let (window, good_for) = match self.window_at(call, now) {
            Ok(found) => found,
            Err(outside) => return outside,
        };
        let record = self.holders.get(call.holder).copied();
        let last = record.unwrap_or_default();
        if last.sequence >= call.sequence {
            return Answer::Stale;
        }
        let birth = *self.birth.get_or_insert(now);
        self.pass(call, now, window);
        self.forget_holders(call, now);
        self.window = window;
        self.at = now;
        let (mut has, mut lost) = (last.has, 0);
        let Booked { acknowledged, amount: known, .. } = call.booked;
        if call.frame == Frame::Now {
            has = known;
            if call.booked.birth != 0 && call.booked.birth != birth {
                self.learns = birth + LEARNING_NOW;
            }
        } else {
            if last.sequence > acknowledged && stands(call.frame, last.window, window) {
                self.take_back(call, last.booked);
                self.book(call, last.returned);
            }
            if call.booked.birth != birth && stands(call.frame, call.booked.window, window) {
                self.book(call, known);
                lost = known;
                if known > 0 {
                    self.learns = birth + LEARNING;
                }
            }
        }
        let is_open = call.booked.acknowledged + 1 < call.sequence;
        let returned = match call.frame {
            Frame::Now => call.give_back.min(has),
            _ if !stands(call.frame, call.booked.window, window) => 0,
            // It may have given it back before, or what it gives back was lost.
            _ if record.is_none() && (is_open || call.booked.birth != birth) => call.give_back.min(lost),
            _ => call.give_back,
        };
        let sharing = |holder: &&Holder| holder.heard + call.frame.patience().as_micros() as u64 > now;
        let mut holder = Holder { heard: now, sequence: call.sequence, returned, window, ..last };
        if call.frame == Frame::Now {
            holder.has = has - returned + call.debt;
        } else {
            self.take_back(call, returned);
            self.book(call, call.debt);
        }
        self.holders.insert(call.holder.to_owned(), holder);
        let left = i128::from(call.amount) - i128::from(self.counted(call.frame));
        let sharers = self.holders.values().filter(sharing).count() as u64;
        let is_learning = now < self.learns;
        let lease = if is_learning { 0 } else { lease(call, left, sharers) };
        let wait = if is_learning { Some(self.learns - now) } else { self.wait(call, now, left) };
        if call.frame == Frame::Now {
            holder.has += lease;
        } else {
            self.book(call, lease);
        }
        holder.booked = lease + call.debt + lost;
        self.holders.insert(call.holder.to_owned(), holder);
        let left = call.amount.saturating_sub(self.counted(call.frame));
        let good_for = std::time::Duration::from_micros(good_for);
        let wait = wait.map(std::time::Duration::from_micros);
        Answer::Lent(Lent { lease, left, good_for, window, birth, now, holders: sharers, wait })
    }

    /// Which window it is, and for how many microseconds.
    fn window_at(&self, call: &Call<'_>, now: u64) -> Result<(u64, u64), Answer> {
        Ok(match call.frame {
            Frame::Bucket(length) => (0, length.as_micros() as u64),
            Frame::Sliding(_) => {
                let slot = slot_length(call.frame);
                (now / slot, (now / slot + SLOTS + 1) * slot - now)
            }
            Frame::Fixed(length) => {
                let length = length.as_micros() as u64;
                (now / length, length - now % length)
            }
            Frame::Calendar { begins, next_ends, .. } if now < begins || now >= next_ends => {
                return Err(Answer::Outside(now));
            }
            Frame::Calendar { begins, ends, .. } if now < ends => (begins, ends - now),
            Frame::Calendar { ends, next_ends, .. } => (ends, next_ends - now),
            Frame::Now => (0, 10_000_000),
        })
    }

    fn pass(&mut self, call: &Call<'_>, now: u64, window: u64) {
        match call.frame {
            Frame::Bucket(_) if self.at > 0 => {
                let filled = u128::from(now - self.at) * u128::from(call.amount);
                self.scaled = self.scaled.saturating_sub(filled);
            }
            Frame::Sliding(_) => self.slots.retain(|&slot, _| slot + SLOTS >= window),
            Frame::Fixed(_) | Frame::Calendar { .. } if window > self.window => self.used = 0,
            _ => {}
        }
    }

    fn forget_holders(&mut self, call: &Call<'_>, now: u64) {
        let memory = call.frame.memory().as_micros() as u64;
        let patience = call.frame.patience().as_micros() as u64;
        let is_sudden = call.frame == Frame::Now && self.at > 0 && now - self.at > patience;
        for (name, holder) in &mut self.holders {
            if is_sudden && name != call.holder && holder.has > 0 && holder.heard + memory <= now {
                holder.heard = now - patience + LEARNING_NOW;
            }
        }
        self.holders.retain(|name, holder| name == call.holder || holder.heard + memory > now);
    }

    /// What is counted in this window.
    pub(super) fn counted(&self, frame: Frame) -> u64 {
        match frame {
            Frame::Bucket(length) => self.scaled.div_ceil(length.as_micros()) as u64,
            Frame::Sliding(_) => self.slots.values().sum(),
            Frame::Fixed(_) | Frame::Calendar { .. } => self.used,
            Frame::Now => self.holders.values().map(|holder| holder.has).sum(),
        }
    }

    fn book(&mut self, call: &Call<'_>, units: u64) {
        match call.frame {
            Frame::Bucket(length) => self.scaled += u128::from(units) * length.as_micros(),
            Frame::Sliding(_) => *self.slots.entry(self.window).or_default() += units,
            _ => self.used += units,
        }
    }

    fn take_back(&mut self, call: &Call<'_>, mut units: u64) {
        match call.frame {
            Frame::Bucket(length) => {
                self.scaled = self.scaled.saturating_sub(u128::from(units) * length.as_micros());
            }
            Frame::Sliding(_) => {
                for counted in self.slots.values_mut() {
                    let part = units.min(*counted);
                    *counted -= part;
                    units -= part;
                }
            }
            _ => self.used = self.used.saturating_sub(units),
        }
    }

    /// After how long what is needed may be there.
    fn wait(&self, call: &Call<'_>, now: u64, left: i128) -> Option<u64> {
        let missing = i128::from(call.need) - left;
        match call.frame {
            Frame::Bucket(length) if missing > 0 => {
                let amount = i128::from(call.amount.max(1));
                let wait = (missing * length.as_micros() as i128 + amount - 1) / amount;
                Some(wait as u64)
            }
            Frame::Sliding(_) if missing > 0 => {
                let slot = slot_length(call.frame);
                let mut gone = 0;
                self.slots.iter().find_map(|(&index, &counted)| {
                    gone += i128::from(counted);
                    (gone >= missing).then(|| (index + SLOTS + 1) * slot - now)
                })
            }
            _ => None,
        }
    }
}

fn lease(call: &Call<'_>, left: i128, sharers: u64) -> u64 {
    if left < i128::from(call.need) {
        return 0;
    }
    let share = u64::try_from(left).unwrap_or(0) / (2 * sharers);
    call.need.max(call.want.min(share))
}

fn stands(frame: Frame, then: u64, window: u64) -> bool {
    match frame {
        Frame::Bucket(_) => true,
        Frame::Sliding(_) => then + SLOTS >= window,
        _ => then == window,
    }
}

fn slot_length(frame: Frame) -> u64 {
    match frame {
        Frame::Sliding(length) => (length.as_micros() as u64).div_ceil(SLOTS),
        _ => 0,
    }
}
