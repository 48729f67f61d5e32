//! Counters that gateways share: what they want of the store, and what it grants.

use std::sync::Arc;
use std::time::Duration;

use penstock_config::Window;

use super::ask::Now;

/// What shared counters want of the store. Each counter is in it once at most, and asks one thing at a time.
#[derive(Debug, Default)]
pub struct LeaseQueue {}

/// What a counter asks of the store, in one call: to debit `debt` whatever is left, to credit `give_back`, and to debit and
/// grant a lease of `want` or less, `need` at least or nothing. Dropped without an answer, it counts as failed.
#[derive(Debug)]
pub struct LeaseAsk {
    /// The counter: policy, limit and a hash of the values, the same in all gateways.
    pub key: Arc<str>,
    /// Over what time it counts. The store's own clock decides where windows begin.
    pub window: LeaseWindow,
    /// The most.
    pub amount: u64,
    /// What somebody waits for; 0 if nobody does.
    pub need: u64,
    /// What would be useful, `need` included.
    pub want: u64,
    /// Used beyond what was granted.
    pub debt: u64,
    /// Granted, and not used.
    pub give_back: u64,
    /// Of [`LeaseWindow::Concurrency`]: what this gateway has and keeps, beside what it asks for. The store sets it.
    pub keep: u64,
    /// Grows with each ask of this counter, and stays the same where one is repeated because its answer was lost: a store
    /// that has executed it for this gateway answers as it did, and debits nothing.
    pub sequence: u64,
}

/// Over what time a shared counter counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseWindow {
    /// As a limit's own.
    Window(Window),
    /// Requests in flight: what is granted lapses unless it is renewed.
    Concurrency,
}

/// What the store granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// So much; 0 if what was needed is not left.
    pub lease: u64,
    /// How long it is good for: until the window ends, or it lapses.
    pub window_ends: Duration,
    /// What is left for all gateways.
    pub left: u64,
    /// When there may be enough, where there is not; `None` is when the window ends.
    pub retry_after: Option<Duration>,
}

/// The answer of the store, which somebody waits for.
#[derive(Debug)]
pub struct LeaseWait {}

impl LeaseQueue {
    /// The next thing that a counter wants; `None` if there is nothing.
    pub fn next(&self, _now: Now) -> Option<LeaseAsk> {
        None
    }

    /// How many counters want something.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether none wants anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has `call` called when a counter begins to want something: it takes no lock and does not wait. Only the first counts.
    pub fn notify(&self, _call: Box<dyn Fn() + Send + Sync>) {}
}

impl LeaseAsk {
    /// The store has answered. Wakes those who wait.
    #[expect(clippy::needless_pass_by_value, reason = "an ask is answered once")]
    pub fn granted(self, _granted: Granted, _now: Now) {}

    /// The store has not answered, or refused the call. Wakes those who wait: they are served as the store's failure has it.
    #[expect(clippy::needless_pass_by_value, reason = "an ask is answered once")]
    pub fn failed(self, _now: Now) {}
}

impl LeaseWait {
    /// Whether the store has answered.
    pub fn ready(&self) -> bool {
        true
    }

    /// Waits for the answer, or for its failure. Has no deadline of its own.
    pub async fn wait(self) {}
}
