//! A model of the store of shared counters.

use std::collections::HashMap;
use std::time::Duration;

use penstock_config::Window;

use crate::limits::{Granted, LeaseAsk, LeaseWindow};

/// How long slots of concurrency are good for, in milliseconds.
pub(super) const SLOTS_LAST_MS: u64 = 10_000;
/// How long a lease of a bucket is good for, in milliseconds.
const BUCKET_LASTS_MS: u64 = 4_000;

/// The store. Its counters do what a script in a Redis does.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) counters: HashMap<String, Counter>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Counter {
    /// Debited in this window; of a bucket, in units times milliseconds of its period.
    pub(super) used: i128,
    window: u64,
    filled_ms: u64,
    /// What each holder was answered last.
    answers: HashMap<usize, (u64, Granted)>,
    /// What each holder has of slots, and until when.
    pub(super) slots: HashMap<usize, (u64, u64)>,
}

/// What a holder asks, apart from who is to be told the answer.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) key: String,
    pub(super) window: LeaseWindow,
    amount: u64,
    pub(super) need: u64,
    want: u64,
    debt: u64,
    give_back: u64,
    keep: u64,
    sequence: u64,
}

impl Call {
    pub(super) fn of(ask: &LeaseAsk) -> Self {
        assert!(ask.want >= ask.need);
        Self {
            key: ask.key.to_string(),
            window: ask.window.clone(),
            amount: ask.amount,
            need: ask.need,
            want: ask.want,
            debt: ask.debt,
            give_back: ask.give_back,
            keep: ask.keep,
            sequence: ask.sequence,
        }
    }
}

impl Store {
    pub(super) fn execute(&mut self, holder: usize, call: &Call, now_ms: u64) -> Granted {
        let counter = self.counters.entry(call.key.clone()).or_default();
        match &call.window {
            LeaseWindow::Concurrency => counter.slots(holder, call, now_ms),
            LeaseWindow::Window(Window::TokenBucket(period)) => {
                counter.bucket(holder, call, ms(*period), now_ms)
            }
            LeaseWindow::Window(Window::Fixed(period)) => counter.fixed(holder, call, ms(*period), now_ms),
            other => panic!("{other:?}"),
        }
    }
}

impl Counter {
    fn fixed(&mut self, holder: usize, call: &Call, period_ms: u64, now_ms: u64) -> Granted {
        if now_ms / period_ms != self.window {
            *self = Self { window: now_ms / period_ms, ..Self::default() };
        }
        let window_ends = Duration::from_millis((self.window + 1) * period_ms - now_ms);
        if let Some(granted) = self.repeated(holder, call, window_ends) {
            return granted;
        }
        // A store that has forgotten what it granted is given back more.
        self.used = (self.used + i128::from(call.debt) - i128::from(call.give_back)).max(0);
        let lease = lease(call, i128::from(call.amount) - self.used, self.answers.len());
        self.used += i128::from(lease);
        let left = (i128::from(call.amount) - self.used).max(0) as u64;
        self.answer(holder, call, Granted { lease, window_ends, left, retry_after: None })
    }

    fn bucket(&mut self, holder: usize, call: &Call, period_ms: u64, now_ms: u64) -> Granted {
        let filled = i128::from(now_ms - self.filled_ms) * i128::from(call.amount);
        (self.used, self.filled_ms) = ((self.used - filled).max(0), now_ms);
        let window_ends = Duration::from_millis(BUCKET_LASTS_MS);
        if let Some(granted) = self.repeated(holder, call, window_ends) {
            return granted;
        }
        let period = i128::from(period_ms);
        self.used = (self.used + (i128::from(call.debt) - i128::from(call.give_back)) * period).max(0);
        let left = |used: i128| (i128::from(call.amount) * period - used).div_euclid(period);
        let lease = lease(call, left(self.used), self.answers.len());
        self.used += i128::from(lease) * period;
        let left = left(self.used).max(0) as u64;
        self.answer(holder, call, Granted { lease, window_ends, left, retry_after: None })
    }

    fn slots(&mut self, holder: usize, call: &Call, now_ms: u64) -> Granted {
        self.slots.retain(|_, (_, until_ms)| *until_ms > now_ms);
        self.slots.remove(&holder);
        let others: u64 = self.slots.values().map(|(slots, _)| slots).sum();
        let left = i128::from(call.amount) - i128::from(others) - i128::from(call.keep);
        let lease = lease(call, left, self.slots.len());
        self.slots.insert(holder, (call.keep + lease, now_ms + SLOTS_LAST_MS));
        let left = (left - i128::from(lease)).max(0) as u64;
        Granted { lease, window_ends: Duration::from_millis(SLOTS_LAST_MS), left, retry_after: None }
    }

    /// What was answered to this call, if it was executed.
    fn repeated(&self, holder: usize, call: &Call, window_ends: Duration) -> Option<Granted> {
        let (sequence, granted) = self.answers.get(&holder)?;
        (*sequence == call.sequence).then_some(Granted { window_ends, ..*granted })
    }

    fn answer(&mut self, holder: usize, call: &Call, granted: Granted) -> Granted {
        self.answers.insert(holder, (call.sequence, granted));
        granted
    }
}

fn lease(call: &Call, left: i128, holders: usize) -> u64 {
    let left = left.max(0) as u64;
    let share = left / (2 * holders.max(1) as u64);
    if left < call.need { 0 } else { call.want.min(share).max(call.need) }
}

fn ms(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap()
}
