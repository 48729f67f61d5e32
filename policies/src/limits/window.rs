//! What was used over a limit's time.
//!
//! Whatever the window, a meter says one number: what counts as used now. It only grows by what is charged, and only falls as
//! time goes on; a clock that steps back lets none of it fall, and a window that began stays.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_config::Window;

use super::ask::Now;
use calendar::Calendar;

mod calendar;

/// Into how many parts a sliding window is divided.
const SLOTS: usize = 60;
/// The slot that is being filled, and those that together are the whole window.
const RING: usize = SLOTS + 1;
/// When those who hold something may have settled it.
pub(crate) const A_WHILE: Duration = Duration::from_secs(1);

/// Over what time a limit counts, ready to use.
#[derive(Debug)]
pub(crate) enum Shape {
    Bucket { period_ns: u64 },
    Sliding { slot_ns: u64 },
    Fixed { period_ns: u64 },
    Calendar(Calendar),
    Now,
}

/// What was used.
#[derive(Debug)]
pub(crate) struct Meter {
    used: u64,
    time: Time,
}

#[derive(Debug)]
enum Time {
    /// Filled up to this moment, and the part of a unit that came beside whole ones, in parts of the period.
    Bucket {
        filled_at: Duration,
        remainder: u128,
    },
    /// What was used in each slot, the number of the present one, and where in the present one the meter is.
    Sliding {
        slots: Box<[u64; RING]>,
        slot: u64,
        at: Duration,
    },
    /// Until when the window lasts.
    Aligned {
        ends: SystemTime,
    },
    Now,
}

impl Shape {
    pub(crate) fn new(window: &Window) -> Self {
        match window {
            Window::TokenBucket(period) => Self::Bucket { period_ns: nanoseconds(*period).max(1) },
            Window::Sliding(period) => {
                Self::Sliding { slot_ns: nanoseconds(*period).div_ceil(SLOTS as u64).max(1) }
            }
            Window::Fixed(period) => Self::Fixed { period_ns: nanoseconds(*period).max(1) },
            Window::Calendar { period, zone } => Self::Calendar(Calendar::new(*period, zone)),
            Window::Now => Self::Now,
        }
    }

    /// When the window ends that `wall` lies in.
    fn end(&self, wall: SystemTime) -> SystemTime {
        match self {
            Self::Fixed { period_ns } => {
                let since = nanoseconds(wall.duration_since(UNIX_EPOCH).unwrap_or_default());
                let ends = (since / period_ns).saturating_add(1).saturating_mul(*period_ns);
                UNIX_EPOCH + Duration::from_nanos(ends)
            }
            Self::Calendar(calendar) => calendar.end(wall),
            Self::Bucket { .. } | Self::Sliding { .. } | Self::Now => wall,
        }
    }
}

impl Meter {
    pub(crate) fn new(shape: &Shape, now: Now) -> Self {
        let time = match shape {
            Shape::Bucket { .. } => Time::Bucket { filled_at: now.mono, remainder: 0 },
            Shape::Sliding { slot_ns } => {
                let slot = nanoseconds(now.mono) / slot_ns;
                Time::Sliding { slots: Box::new([0; RING]), slot, at: now.mono }
            }
            Shape::Fixed { .. } | Shape::Calendar(_) => Time::Aligned { ends: shape.end(now.wall) },
            Shape::Now => Time::Now,
        };
        Self { used: 0, time }
    }

    /// What counts as used, since [`advance`](Self::advance) was called last.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Lets time go on to `now`; not back. `amount` was the most until then.
    pub(crate) fn advance(&mut self, shape: &Shape, amount: u64, now: Now) {
        match (&mut self.time, shape) {
            (Time::Bucket { filled_at, remainder }, Shape::Bucket { period_ns }) => {
                let elapsed = now.mono.saturating_sub(*filled_at);
                *filled_at = (*filled_at).max(now.mono);
                if self.used == 0 {
                    *remainder = 0;
                    return;
                }
                let parts = u128::from(nanoseconds(elapsed)) * u128::from(amount) + *remainder;
                let filled = u64::try_from(parts / u128::from(*period_ns)).unwrap_or(u64::MAX);
                self.used = self.used.saturating_sub(filled);
                // A full bucket does not fill on in secret.
                *remainder = if self.used == 0 { 0 } else { parts % u128::from(*period_ns) };
            }
            (Time::Sliding { slots, slot, at }, Shape::Sliding { slot_ns }) => {
                *at = (*at).max(now.mono);
                let present = nanoseconds(*at) / slot_ns;
                let passed = present.saturating_sub(*slot).min(RING as u64);
                for next in 0..passed {
                    let freed = &mut slots[index(present - next)];
                    self.used = self.used.saturating_sub(*freed);
                    *freed = 0;
                }
                *slot = present;
            }
            (Time::Aligned { ends }, _) => {
                if now.wall >= *ends {
                    (self.used, *ends) = (0, shape.end(now.wall));
                }
            }
            (Time::Bucket { .. } | Time::Sliding { .. } | Time::Now, _) => {}
        }
    }

    /// Counts `amount` as used.
    pub(crate) fn charge(&mut self, amount: u64) {
        match &mut self.time {
            // Nothing is used at a time: it is held.
            Time::Now => return,
            Time::Sliding { slots, slot, .. } => {
                let slot = &mut slots[index(*slot)];
                // What is taken off later is what was added: both stop at the most that there is.
                let added = amount.min(u64::MAX - self.used);
                *slot = slot.saturating_add(added);
            }
            Time::Bucket { .. } | Time::Aligned { .. } => {}
        }
        self.used = self.used.saturating_add(amount);
    }

    /// How long it takes from `now` until no more than `most` counts as used, if nothing is charged. `amount` is the most of
    /// the limit.
    pub(crate) fn until(&self, shape: &Shape, most: u64, amount: u64, now: Now) -> Duration {
        let excess = self.used.saturating_sub(most);
        if excess == 0 {
            return Duration::ZERO;
        }
        match (&self.time, shape) {
            (Time::Bucket { remainder, .. }, Shape::Bucket { period_ns }) => {
                let parts = (u128::from(excess) * u128::from(*period_ns)).saturating_sub(*remainder);
                let wait = parts.div_ceil(u128::from(amount.max(1)));
                Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
            }
            (Time::Sliding { slots, slot, at }, Shape::Sliding { slot_ns }) => {
                let passed = until_freed(slots, *slot, most);
                let freed_at = Duration::from_nanos(slot.saturating_add(passed).saturating_mul(*slot_ns));
                freed_at.saturating_sub(*at)
            }
            (Time::Aligned { ends }, _) => ends.duration_since(now.wall).unwrap_or_default(),
            (Time::Bucket { .. } | Time::Sliding { .. } | Time::Now, _) => Duration::ZERO,
        }
    }
}

/// In how many slots' time no more than `most` is left: the slot after the present one takes the place of the oldest. The
/// newest are looked at first, since answers tell when all is free: that is the last one's to say that has anything.
fn until_freed(slots: &[u64; RING], slot: u64, most: u64) -> u64 {
    let mut left = 0_u64;
    let is_too_much = |passed: &u64| {
        left = left.saturating_add(slots[index(slot.saturating_add(*passed))]);
        left > most
    };
    (1..=RING as u64).rev().find(is_too_much).unwrap_or(RING as u64)
}

fn index(slot: u64) -> usize {
    usize::try_from(slot % RING as u64).unwrap_or_default()
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
