//! What one counter has of the store: a state machine without locks, clocks or I/O.
//!
//! `balance` is what was granted less what was used; what requests hold comes off it when they are settled. It holds at any
//! time that `free = balance - held`: what a request may be admitted from. Where that is negative it is debt: used beyond
//! what was granted, or held from a window that has ended, which is told to the store with the next ask and debited whatever
//! is left.

use std::time::Duration;

use super::{Granted, LeaseWindow};

/// A lease is for about so long, and goes back after it.
pub(crate) const LEASE_TIME: Duration = Duration::from_secs(2);
/// How long nothing more is asked for after the store had not enough: somebody may have given something back by then.
const REFUSED_FOR: Duration = Duration::from_millis(100);
/// How long nothing is asked after the store did not answer.
const FAILED_FOR: Duration = Duration::from_millis(250);
/// How long after that it counts as away, if it is not asked.
const FAILURE_LASTS: Duration = Duration::from_secs(1);
/// How long a lease is asked after whose answer was lost.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// What a counter has of the store.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    is_concurrency: bool,
    /// Granted less used; what is in flight to the store is reckoned as told.
    balance: i128,
    held: u64,
    /// When what was granted lapses.
    ends: Duration,
    has_lapsed: bool,
    asked_at: Duration,
    granted_at: Duration,
    /// The most that somebody lacks who waits for the next answer.
    need: u64,
    /// What was told and not answered; to be repeated if it is not in flight.
    told: Option<Told>,
    is_in_flight: bool,
    /// Whether the counter is in the queue.
    is_queued: bool,
    is_failing: bool,
    failing_since: Duration,
    retry_at: Duration,
    refused: Option<Refused>,
    /// What was left for all when the store answered last; `None` if it never did.
    left: Option<u64>,
    recent: Recent,
    /// What the store granted last where it was less than wanted: more is not asked for before half of it is taken.
    scarce: Option<u64>,
    /// How often the store answered or failed.
    answers: u64,
    gives_all_back: bool,
    /// Whether the queue has it among those whose places it renews.
    is_kept_renewed: bool,
}

/// What the store is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) sequence: u64,
    pub(crate) need: u64,
    pub(crate) want: u64,
    pub(crate) debt: u64,
    pub(crate) give_back: u64,
    pub(crate) keep: u64,
    /// Whether it was told before, without an answer.
    pub(crate) is_repeated: bool,
}

/// What became of a request for a part of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    Held,
    /// Not enough is granted: the store is to be asked.
    Ask,
    /// Not enough is left, and the store is not asked again so soon.
    Refused {
        retry_after: Duration,
    },
    /// Not enough is granted, and the store does not answer.
    Failing,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    lack: u64,
    until: Duration,
    retry_at: Duration,
}

/// What was taken in this second and the one before.
#[derive(Debug, Default)]
struct Recent {
    second: u64,
    this: u64,
    last: u64,
}

impl Lease {
    pub(crate) fn new(window: &LeaseWindow) -> Self {
        Self { is_concurrency: *window == LeaseWindow::Concurrency, ..Self::default() }
    }

    /// Holds `hold` if there are `need` free.
    pub(crate) fn take(&mut self, need: u64, hold: u64, now: Duration) -> Take {
        self.lapse(now);
        let free = self.free();
        if free >= i128::from(need) {
            self.hold(hold, now);
            return Take::Held;
        }
        let lack = to_u64(i128::from(need) - free.max(0));
        if self.is_failing {
            // Under load the store is asked again while requests pass by it; where none came for a while, one waits for it.
            self.need = self.need.max(lack);
            let is_asked = self.is_queued || self.is_in_flight;
            let is_late = now >= self.retry_at.saturating_add(FAILURE_LASTS);
            return if is_late && !is_asked { Take::Ask } else { Take::Failing };
        }
        match self.refused {
            Some(refused) if now < refused.until && lack >= refused.lack => {
                Take::Refused { retry_after: refused.retry_at.saturating_sub(now) }
            }
            _ => {
                self.need = self.need.max(lack);
                Take::Ask
            }
        }
    }

    /// Holds `hold` whatever is free.
    pub(crate) fn hold(&mut self, hold: u64, now: Duration) {
        self.held = self.held.saturating_add(hold);
        self.recent.add(hold, now);
    }

    /// `used` was used in the place of what was held.
    pub(crate) fn settle(&mut self, held: u64, used: u64) {
        self.held = self.held.saturating_sub(held);
        if !self.is_concurrency {
            self.balance -= i128::from(used);
        }
    }

    /// What the store is told now, if there is anything to tell. `sequence` numbers it.
    pub(crate) fn ask(&mut self, now: Duration, sequence: impl FnOnce() -> u64) -> Option<Told> {
        self.is_queued = false;
        if self.is_in_flight {
            return None;
        }
        self.lapse(now);
        let need = std::mem::take(&mut self.need);
        let missing = i128::from(self.target(now)) - self.free().max(0);
        let want = if self.gives_all_back { need } else { need.max(to_u64(missing)) };
        let told = match self.told {
            // What is repeated stays what it was, but for who waits now.
            Some(told) => Told { need, want, is_repeated: true, ..told },
            None => self.tell(need, want, now, sequence)?,
        };
        (self.told, self.is_in_flight, self.asked_at) = (Some(told), true, now);
        Some(told)
    }

    /// The store answered what it was told last.
    pub(crate) fn granted(&mut self, granted: Granted, now: Duration) {
        let Some(told) = self.told.take() else { return };
        self.lapse(now);
        (self.is_in_flight, self.is_failing) = (false, false);
        self.answers += 1;
        if self.is_concurrency {
            self.balance = i128::from(told.keep) + i128::from(granted.lease);
        } else {
            self.balance += i128::from(granted.lease);
        }
        // From when it was asked: the answer was on its way for a while, and the store's window does not wait for it.
        (self.ends, self.has_lapsed) = (self.asked_at.saturating_add(granted.window_ends), false);
        (self.granted_at, self.left) = (now, Some(granted.left));
        let retry_after = granted.retry_after.unwrap_or(granted.window_ends);
        // Where nobody waits, a share of what is left may be nothing while something is left: who needs it gets it.
        let is_refused =
            granted.lease < told.need || granted.lease == 0 && told.want > 0 && granted.left == 0;
        let until = now.saturating_add(REFUSED_FOR);
        self.refused = is_refused.then(|| Refused {
            lack: told.need.max(1),
            until: if self.ends > now { until.min(self.ends) } else { until },
            retry_at: now.saturating_add(retry_after),
        });
        self.scarce = (granted.lease < told.want).then_some(granted.lease);
        self.lapse(now);
    }

    /// The store did not answer. What it was told is repeated: it may have heard it.
    pub(crate) fn failed(&mut self, now: Duration) {
        if !self.is_failing {
            self.failing_since = now;
        }
        (self.is_in_flight, self.is_failing) = (false, true);
        self.answers += 1;
        self.retry_at = now.saturating_add(FAILED_FOR);
        if self.is_concurrency {
            // What is kept is said anew each time, and nothing of it adds up.
            self.told = None;
        }
    }

    /// Whether the counter has to be put into the queue, in which it is then.
    pub(crate) fn is_to_be_queued(&mut self, now: Duration) -> bool {
        let is_to_be = !self.is_queued && !self.is_in_flight && self.has_something_to_say(now);
        self.is_queued |= is_to_be;
        is_to_be
    }

    /// Whether the queue has to be told to renew its places, which it does from then on.
    pub(crate) fn is_to_be_kept_renewed(&mut self) -> bool {
        self.is_concurrency && !std::mem::replace(&mut self.is_kept_renewed, true)
    }

    /// Whether it still has places; if not, the queue has to be told anew.
    pub(crate) fn stays_kept_renewed(&mut self, now: Duration) -> bool {
        self.is_kept_renewed = !self.is_idle(now) || self.is_in_flight;
        self.is_kept_renewed
    }

    /// Gives back what is free, from now on.
    pub(crate) fn give_all_back(&mut self) {
        self.gives_all_back = true;
    }

    /// Whether forgetting it loses nothing.
    pub(crate) fn is_idle(&mut self, now: Duration) -> bool {
        self.lapse(now);
        // What was told and perhaps not heard is lost with it after a while, unless it was debt: a lease is stranded then, at
        // most. While the store is away, nobody fills the table with what is never told.
        let is_late = self.is_failing && now >= self.failing_since.saturating_add(FORGOTTEN_AFTER);
        let is_told = self.told.is_none_or(|told| told.debt == 0 && !self.is_in_flight && is_late);
        self.held == 0 && self.balance == 0 && is_told && !self.is_queued
    }

    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing
    }

    pub(crate) fn is_concurrency(&self) -> bool {
        self.is_concurrency
    }

    pub(crate) fn answers(&self) -> u64 {
        self.answers
    }

    /// What is left for all, as far as is known, and what is granted and free here.
    pub(crate) fn remaining(&self, amount: u64, now: Duration) -> u64 {
        let left = self.left.filter(|_| now < self.ends).unwrap_or(amount);
        let known = i128::from(left) + self.free();
        to_u64(known).min(amount)
    }

    /// How long the window lasts that the store answered in last.
    pub(crate) fn ends_after(&self, now: Duration) -> Duration {
        self.ends.saturating_sub(now)
    }

    /// Whether the store has lately had less than a request lacks.
    pub(crate) fn is_refused(&self, need: u64, now: Duration) -> bool {
        let lack = to_u64(i128::from(need) - self.free().max(0));
        lack > 0 && self.refused.is_some_and(|refused| now < refused.until && lack >= refused.lack)
    }

    fn free(&self) -> i128 {
        self.balance - i128::from(self.held)
    }

    /// What was granted for a window that has ended is nothing. Debt stays, and what is held becomes one: it will be used in
    /// a window that did not grant it.
    fn lapse(&mut self, now: Duration) {
        // Once: what is told after that, the store debits in the next.
        if now >= self.ends && !self.has_lapsed {
            self.balance = self.balance.min(0);
            self.has_lapsed = true;
        }
    }

    fn tell(&mut self, need: u64, want: u64, now: Duration, sequence: impl FnOnce() -> u64) -> Option<Told> {
        let give_back = if need == 0 { self.excess(now) } else { 0 };
        let want = if give_back > 0 { 0 } else { want };
        let debt = to_u64(-self.free());
        let keep = if self.is_concurrency {
            to_u64(self.balance.max(i128::from(self.held))).saturating_sub(give_back)
        } else {
            0
        };
        if want == 0 && debt == 0 && give_back == 0 && keep == 0 {
            return None;
        }
        if self.is_concurrency {
            self.balance = i128::from(keep);
            return Some(Told {
                sequence: sequence(),
                need,
                want,
                debt: 0,
                give_back,
                keep,
                is_repeated: false,
            });
        }
        self.balance += i128::from(debt) - i128::from(give_back);
        Some(Told { sequence: sequence(), need, want, debt, give_back, keep, is_repeated: false })
    }

    fn has_something_to_say(&self, now: Duration) -> bool {
        if self.is_failing && now < self.retry_at {
            return false;
        }
        self.need > 0
            || self.told.is_some()
            || self.free() < 0
            || self.is_low(now)
            || self.excess(now) > 0
            || self.is_to_be_renewed(now)
    }

    /// Whether more is to be asked for before somebody waits for it.
    fn is_low(&self, now: Duration) -> bool {
        let is_refused = self.refused.is_some_and(|refused| now < refused.until);
        let enough = self.target(now).min(self.scarce.unwrap_or(u64::MAX)).div_ceil(2);
        !self.gives_all_back && !is_refused && self.free() < i128::from(enough)
    }

    fn is_to_be_renewed(&self, now: Duration) -> bool {
        let third = self.ends.saturating_sub(self.asked_at) / 3;
        self.is_concurrency
            && (self.balance > 0 || self.held > 0)
            && now >= self.asked_at.saturating_add(third)
    }

    /// What to have free: what two seconds take; of requests in flight, an eighth of those that there are.
    fn target(&self, now: Duration) -> u64 {
        match (self.is_concurrency, self.recent.taken(now)) {
            (_, 0) => 0,
            (true, _) => self.held / 8 + 1,
            (false, taken) => taken,
        }
    }

    /// What is free beyond what is of use.
    fn excess(&self, now: Duration) -> u64 {
        if self.gives_all_back {
            return to_u64(self.free());
        }
        if now < self.granted_at.saturating_add(LEASE_TIME) {
            return 0;
        }
        to_u64(self.free() - i128::from(self.target(now)) * 2)
    }
}

impl Recent {
    fn add(&mut self, taken: u64, now: Duration) {
        let second = now.as_secs().max(self.second);
        match second - self.second {
            0 => {}
            1 => (self.last, self.this) = (self.this, 0),
            _ => (self.last, self.this) = (0, 0),
        }
        self.second = second;
        self.this = self.this.saturating_add(taken);
    }

    fn taken(&self, now: Duration) -> u64 {
        match now.as_secs().saturating_sub(self.second) {
            0 => self.this.saturating_add(self.last),
            1 => self.this,
            _ => 0,
        }
    }
}

/// 0 for what is negative.
fn to_u64(number: i128) -> u64 {
    u64::try_from(number.max(0)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
