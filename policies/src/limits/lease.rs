//! Counters that gateways share: what they want of the store, and what it grants.
//!
//! A gateway asks in advance: the store debits what it grants, and the counter admits from it without asking. What was
//! turned down is to ask for each request (a round trip in its path) and to count locally and tell the store later (N
//! gateways exceed a limit N times in between).
//!
//! The store is asked by somebody else, who takes asks out of the queue and hands answers in. An ask that is repeated since
//! its answer was lost has the number that it had, so that the store can tell.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use event_listener::EventListener;
use parking_lot::{Mutex, RwLock};
use penstock_config::{OnStoreFailure, Window};

use self::state::Told;
use super::ask::Now;

pub(crate) mod state;

/// What the keys of counters begin with that belong to no document: no policy is called so.
pub(crate) const COMMON: &str = "as:";

/// Whether the counter with this key belongs to no document, so that those of all documents share it.
pub fn is_common(key: &str) -> bool {
    key.starts_with(COMMON)
}

/// A counter that gateways share, as the queue knows it.
pub(crate) trait Leased: fmt::Debug + Send + Sync {
    /// What the store knows it by, and over what time it counts.
    fn known_as(&self) -> Option<(Arc<str>, LeaseWindow)>;

    /// What it wants, and the most that all gateways may have; `None` if it wants nothing any more.
    fn ask(&self, now: Now, sequence: &dyn Fn() -> u64) -> Option<(Told, u64)>;

    /// The store has answered.
    fn granted(self: Arc<Self>, granted: Granted, now: Now);

    /// The store has not answered.
    fn failed(self: Arc<Self>, now: Now);

    /// How often the store answered or failed.
    fn answers(&self) -> u64;

    /// Of places among the requests in flight: has them renewed if it is time, and says whether there are any.
    fn renew(self: Arc<Self>, now: Now) -> bool;
}

/// What shared counters want of the store. Each counter is in it once at most, and asks one thing at a time.
#[derive(Debug, Default)]
pub struct LeaseQueue {
    shared: Arc<Queue>,
}

/// The part of the queue that counters know.
#[derive(Default)]
pub(crate) struct Queue {
    counters: Mutex<VecDeque<Arc<dyn Leased>>>,
    /// Those that have places among the requests in flight, which lapse soon if they are not renewed.
    placed: Mutex<Vec<Arc<dyn Leased>>>,
    call: OnceLock<Box<dyn Fn() + Send + Sync>>,
    sequence: AtomicU64,
    on_failure: RwLock<OnStoreFailure>,
}

/// What a counter asks of the store, in one call: to debit `debt` whatever is left, to credit `give_back`, and to debit and
/// grant a lease of `want` or less, `need` at least or nothing. Dropped without an answer, it counts as failed.
#[derive(Debug)]
pub struct LeaseAsk {
    /// The counter: policy (or what it belongs to, see [`is_common`]), limit and a hash of the values, the same in all
    /// gateways.
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
    /// Grows with each ask of this process, and stays the same where one is repeated because its answer was lost. A store that
    /// has executed it for this gateway grants what it granted, as long as the window lasts, or undoes that before it executes
    /// it anew; either way nothing is debited twice.
    pub sequence: u64,
    /// Whether it was asked before: who does not know whether that was executed may not give back anything again.
    pub is_repeated: bool,
    counter: Arc<dyn Leased>,
    asked_at: Now,
    is_answered: bool,
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
    /// How long it is good for: until the window ends, or it lapses. From then on nothing of it counts as granted.
    pub window_ends: Duration,
    /// What is left for all gateways.
    pub left: u64,
    /// When there may be enough, where there is not; `None` is when the window ends.
    pub retry_after: Option<Duration>,
}

/// The answer of the store, which somebody waits for.
pub struct LeaseWait {
    counter: Arc<dyn Leased>,
    /// How often the store had answered before.
    answers: u64,
    listener: EventListener,
}

impl LeaseQueue {
    /// The next thing that a counter wants; `None` if there is nothing.
    pub fn next(&self, now: Now) -> Option<LeaseAsk> {
        loop {
            let counter = self.shared.counters.lock().pop_front()?;
            let sequence = || self.shared.sequence.fetch_add(1, Ordering::Relaxed) + 1;
            let Some((told, amount)) = counter.ask(now, &sequence) else { continue };
            let Some((key, window)) = counter.known_as() else { continue };
            return Some(LeaseAsk {
                key,
                window,
                amount,
                need: told.need,
                want: told.want,
                debt: told.debt,
                give_back: told.give_back,
                keep: told.keep,
                sequence: told.sequence,
                is_repeated: told.is_repeated,
                counter,
                asked_at: now,
                is_answered: false,
            });
        }
    }

    /// How many counters want something.
    pub fn len(&self) -> usize {
        self.shared.counters.lock().len()
    }

    /// Whether none wants anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has `call` called when a counter begins to want something: it takes no lock and does not wait. Only the first counts.
    pub fn notify(&self, call: Box<dyn Fn() + Send + Sync>) {
        // The first stays: nothing is lost by leaving the second out.
        let _ = self.shared.call.set(call);
    }

    pub(crate) fn shared(&self) -> &Arc<Queue> {
        &self.shared
    }
}

/// Counters know the queue, and the queue those that are in it.
impl Drop for LeaseQueue {
    fn drop(&mut self) {
        self.shared.counters.lock().clear();
        self.shared.placed.lock().clear();
    }
}

impl Queue {
    pub(crate) fn push(&self, counter: Arc<dyn Leased>) {
        self.counters.lock().push_back(counter);
        if let Some(call) = self.call.get() {
            call();
        }
    }

    /// Renews the places of this counter from now on, as long as it has any.
    pub(crate) fn keep_renewed(&self, counter: Arc<dyn Leased>) {
        self.placed.lock().push(counter);
    }

    /// Renews places that would lapse. All of them, however many other counters there are.
    pub(crate) fn renew(&self, now: Now) {
        let mut placed = std::mem::take(&mut *self.placed.lock());
        placed.retain(|counter| Arc::clone(counter).renew(now));
        self.placed.lock().append(&mut placed);
    }

    #[cfg(test)]
    pub(crate) fn are_places_given_back(&self) -> bool {
        self.placed.lock().is_empty()
    }

    pub(crate) fn on_failure(&self) -> OnStoreFailure {
        *self.on_failure.read()
    }

    pub(crate) fn set_on_failure(&self, on_failure: OnStoreFailure) {
        *self.on_failure.write() = on_failure;
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.counters.lock().len()).finish_non_exhaustive()
    }
}

impl LeaseAsk {
    /// The store has answered. Wakes those who wait.
    pub fn granted(mut self, granted: Granted, now: Now) {
        self.is_answered = true;
        Arc::clone(&self.counter).granted(granted, now);
    }

    /// The store has not answered, or refused the call. Wakes those who wait: they are served as the store's failure has it.
    pub fn failed(mut self, now: Now) {
        self.is_answered = true;
        Arc::clone(&self.counter).failed(now);
    }
}

impl Drop for LeaseAsk {
    fn drop(&mut self) {
        if !self.is_answered {
            Arc::clone(&self.counter).failed(self.asked_at);
        }
    }
}

impl LeaseWait {
    pub(crate) fn new(counter: Arc<dyn Leased>, answers: u64, listener: EventListener) -> Self {
        Self { counter, answers, listener }
    }

    /// Whether the store has answered.
    pub fn ready(&self) -> bool {
        self.counter.answers() != self.answers
    }

    /// Waits for the answer, or for its failure. Has no deadline of its own.
    pub async fn wait(self) {
        // What listens was made before anything could be answered.
        if !self.ready() {
            self.listener.await;
        }
    }
}

impl fmt::Debug for LeaseWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseWait").field("ready", &self.ready()).finish_non_exhaustive()
    }
}
