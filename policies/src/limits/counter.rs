//! One counter: what is used and held of a limit, for one set of values.

use std::sync::Arc;
use std::time::Duration;

use event_listener::Event;
use parking_lot::Mutex;
use penstock_config::OnStoreFailure;

use super::ask::Now;
use super::key::Key;
use super::lease::state::{Lease, Take, Told};
use super::lease::{Granted, LeaseWait, LeaseWindow, Leased, Queue};
use super::window::{A_WHILE, Meter, Shape};

/// What is used and held. Requests that hold something of it keep it alive.
#[derive(Debug)]
pub(crate) struct Counter {
    key: Box<[u8]>,
    hash: u64,
    shape: Arc<Shape>,
    state: Mutex<State>,
    shared: Option<Shared>,
}

/// What a counter has that gateways share.
#[derive(Debug)]
pub(crate) struct Shared {
    key: Arc<str>,
    window: LeaseWindow,
    queue: Arc<Queue>,
    answered: Event,
}

#[derive(Debug)]
struct State {
    /// The most, by the latest request.
    amount: u64,
    /// How many gateways it is for, by the latest request.
    replicas: u32,
    /// What counts as used here; of a shared counter, while the store did not answer.
    meter: Meter,
    /// What is held of that.
    held: u64,
    lease: Option<Box<Lease>>,
}

/// What a request asks of a counter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    /// What it holds from now on.
    pub(crate) hold: u64,
    /// The most.
    pub(crate) amount: u64,
    /// How many gateways there are, each of which has a share while the store does not answer.
    pub(crate) replicas: u32,
    /// Whether it is held whatever there is.
    pub(crate) is_forced: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Reserved {
    /// It is held.
    Held(Part),
    /// There is not enough for so long.
    Short(Duration),
    /// The store is asked.
    Wait(LeaseWait),
    /// The store does not answer, and that is not to pass.
    Unavailable,
}

/// What a request holds of a counter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// Of what is counted here alone, or of what is granted.
    pub(crate) held: u64,
    /// Of what is counted here while the store does not answer.
    pub(crate) held_apart: u64,
}

/// How a counter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) remaining: u64,
    pub(crate) reset: Duration,
    pub(crate) is_exceeded: bool,
}

impl Shared {
    pub(crate) fn new(key: Arc<str>, window: LeaseWindow, queue: &Arc<Queue>) -> Self {
        Self { key, window, queue: Arc::clone(queue), answered: Event::new() }
    }
}

impl Part {
    pub(crate) fn total(self) -> u64 {
        self.held.saturating_add(self.held_apart)
    }
}

impl Counter {
    pub(crate) fn new(key: &Key, hash: u64, shape: &Arc<Shape>, shared: Option<Shared>, now: Now) -> Self {
        let lease = shared.as_ref().map(|shared| Box::new(Lease::new(&shared.window)));
        let state = State { amount: 0, replicas: 1, meter: Meter::new(shape, now), held: 0, lease };
        Self { key: key.as_slice().into(), hash, shape: Arc::clone(shape), state: Mutex::new(state), shared }
    }

    pub(crate) fn is(&self, key: &[u8]) -> bool {
        *self.key == *key
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Holds what a request wants, if it is there.
    pub(crate) fn reserve(self: &Arc<Self>, want: &Want, now: Now) -> Reserved {
        let mut state = self.state.lock();
        state.advance(&self.shape, want.amount, now);
        state.replicas = want.replicas;
        let (Some(shared), true) = (&self.shared, state.lease.is_some()) else {
            return state.reserve_here(&self.shape, want, want.amount, now);
        };
        let reserved = self.reserve_shared(shared, &mut state, want, now);
        let lease = state.lease.as_mut();
        let (is_to_be_queued, is_to_be_kept_renewed) = lease
            .map_or((false, false), |lease| (lease.is_to_be_queued(now.mono), lease.is_to_be_kept_renewed()));
        drop(state);
        if is_to_be_kept_renewed {
            shared.queue.keep_renewed(Arc::clone(self) as Arc<dyn Leased>);
        }
        if is_to_be_queued {
            shared.queue.push(Arc::clone(self) as Arc<dyn Leased>);
        }
        reserved
    }

    /// Counts `used` in the place of what was held.
    pub(crate) fn settle(self: &Arc<Self>, part: Part, used: u64, now: Now) {
        let mut state = self.state.lock();
        let amount = state.amount;
        state.advance(&self.shape, amount, now);
        let State { meter, held, lease, .. } = &mut *state;
        let Some(lease) = lease else {
            *held = held.saturating_sub(part.held);
            meter.charge(used);
            return;
        };
        if part.held_apart > 0 {
            *held = held.saturating_sub(part.held_apart);
            meter.charge(used);
        }
        lease.settle(part.held, used);
        let is_to_be_queued = lease.is_to_be_queued(now.mono);
        drop(state);
        self.queue_if(is_to_be_queued);
    }

    /// How it stands for a request that wants `need`, beside what it holds.
    pub(crate) fn level(&self, amount: u64, need: u64, now: Now) -> Level {
        let mut state = self.state.lock();
        let most = state.amount;
        state.advance(&self.shape, most, now);
        let most_here = state.most_here();
        let State { meter, held, lease, .. } = &mut *state;
        let Some(lease) = lease.as_deref().filter(|lease| !lease.is_failing()) else {
            let apart = lease.as_ref().map_or(0, |lease| lease.held());
            let taken = meter.used().saturating_add(*held).saturating_add(apart);
            let remaining = amount.saturating_sub(taken);
            let wait = meter.until(&self.shape, 0, most_here, now);
            let reset = if taken > meter.used() { wait.max(A_WHILE) } else { wait };
            return Level { remaining, reset, is_exceeded: remaining < need.max(1) };
        };
        let remaining = lease.remaining(amount, now.mono);
        let reset = match &*self.shape {
            _ if remaining >= amount => Duration::ZERO,
            Shape::Bucket { period_ns } => {
                let parts =
                    u128::from(amount - remaining) * u128::from(*period_ns) / u128::from(amount.max(1));
                Duration::from_nanos(u64::try_from(parts).unwrap_or(u64::MAX))
            }
            Shape::Now => A_WHILE,
            _ => lease.ends_after(now.mono),
        };
        let is_exceeded = lease.is_refused(need.max(1), now.mono) || remaining < need.max(1);
        Level { remaining, reset, is_exceeded }
    }

    /// Whether forgetting it loses nothing.
    pub(crate) fn is_idle(&self, now: Now) -> bool {
        let mut state = self.state.lock();
        let amount = state.amount;
        state.advance(&self.shape, amount, now);
        state.held == 0
            && state.meter.used() == 0
            && state.lease.as_mut().is_none_or(|lease| lease.is_idle(now.mono))
    }

    /// Whether it has to be put into the queue, which the caller does then.
    pub(crate) fn is_to_be_queued(&self, gives_all_back: bool, now: Now) -> bool {
        let mut state = self.state.lock();
        let Some(lease) = &mut state.lease else { return false };
        if gives_all_back {
            lease.give_all_back();
        }
        lease.is_to_be_queued(now.mono)
    }

    fn answered(self: &Arc<Self>, now: Now, answer: impl FnOnce(&mut Lease)) {
        let mut state = self.state.lock();
        let Some(lease) = &mut state.lease else { return };
        answer(lease);
        let is_to_be_queued = lease.is_to_be_queued(now.mono);
        drop(state);
        self.queue_if(is_to_be_queued);
        if let Some(shared) = &self.shared {
            shared.answered.notify(usize::MAX);
        }
    }

    fn queue_if(self: &Arc<Self>, is_to_be_queued: bool) {
        if let (true, Some(shared)) = (is_to_be_queued, &self.shared) {
            shared.queue.push(Arc::clone(self) as Arc<dyn Leased>);
        }
    }

    fn reserve_shared(
        self: &Arc<Self>,
        shared: &Shared,
        state: &mut State,
        want: &Want,
        now: Now,
    ) -> Reserved {
        let Some(lease) = &mut state.lease else { return Reserved::Unavailable };
        match lease.take(want.hold.max(1), want.hold, now.mono) {
            Take::Held => Reserved::Held(Part { held: want.hold, held_apart: 0 }),
            _ if want.is_forced => {
                lease.hold(want.hold, now.mono);
                Reserved::Held(Part { held: want.hold, held_apart: 0 })
            }
            // When a request in flight ends is nobody's to say.
            Take::Refused { .. } if lease.is_concurrency() => Reserved::Short(A_WHILE),
            Take::Refused { retry_after } => Reserved::Short(retry_after),
            Take::Ask => {
                let listener = shared.answered.listen();
                Reserved::Wait(LeaseWait::new(Arc::clone(self) as Arc<dyn Leased>, lease.answers(), listener))
            }
            Take::Failing => state.reserve_apart(&self.shape, shared.queue.on_failure(), want, now),
        }
    }
}

impl Leased for Counter {
    fn known_as(&self) -> Option<(Arc<str>, LeaseWindow)> {
        let shared = self.shared.as_ref()?;
        Some((Arc::clone(&shared.key), shared.window.clone()))
    }

    fn ask(&self, now: Now, sequence: &dyn Fn() -> u64) -> Option<(Told, u64)> {
        let mut state = self.state.lock();
        let amount = state.amount;
        Some((state.lease.as_mut()?.ask(now.mono, sequence)?, amount))
    }

    fn granted(self: Arc<Self>, granted: Granted, now: Now) {
        self.answered(now, |lease| lease.granted(granted, now.mono));
    }

    fn failed(self: Arc<Self>, now: Now) {
        self.answered(now, |lease| lease.failed(now.mono));
    }

    fn answers(&self) -> u64 {
        self.state.lock().lease.as_ref().map_or(0, |lease| lease.answers())
    }

    fn renew(self: Arc<Self>, now: Now) -> bool {
        let mut state = self.state.lock();
        let Some(lease) = &mut state.lease else { return false };
        let is_to_be_queued = lease.is_to_be_queued(now.mono);
        let stays = lease.stays_kept_renewed(now.mono);
        drop(state);
        self.queue_if(is_to_be_queued);
        stays
    }
}

impl State {
    /// Lets time go on, by the amount that counted until now.
    fn advance(&mut self, shape: &Shape, amount: u64, now: Now) {
        self.meter.advance(shape, self.most_here(), now);
        self.amount = amount;
    }

    /// The most that is counted here, by which a bucket is filled too.
    fn most_here(&self) -> u64 {
        if self.lease.is_some() { share(self.amount, self.replicas) } else { self.amount }
    }

    fn reserve_here(&mut self, shape: &Shape, want: &Want, most: u64, now: Now) -> Reserved {
        // What holds nothing needs something to be left all the same.
        let need = want.hold.max(1);
        let taken = self.meter.used().saturating_add(self.held);
        let is_enough = taken.checked_add(need).is_some_and(|sum| sum <= most);
        if !is_enough && !want.is_forced {
            return Reserved::Short(self.wait(shape, need, most, now));
        }
        self.held = self.held.saturating_add(want.hold);
        Reserved::Held(Part { held: want.hold, held_apart: 0 })
    }

    /// Where the store does not answer.
    fn reserve_apart(
        &mut self,
        shape: &Shape,
        on_failure: OnStoreFailure,
        want: &Want,
        now: Now,
    ) -> Reserved {
        let Some(lease) = &mut self.lease else { return Reserved::Unavailable };
        let share = share(want.amount, want.replicas);
        match on_failure {
            OnStoreFailure::Closed => Reserved::Unavailable,
            OnStoreFailure::Open => {
                lease.hold(want.hold, now.mono);
                Reserved::Held(Part { held: want.hold, held_apart: 0 })
            }
            // What is in flight is told to the store as a whole, whoever let it pass.
            OnStoreFailure::LocalShare if lease.is_concurrency() => {
                if lease.held().saturating_add(want.hold.max(1)) > share {
                    return Reserved::Short(A_WHILE);
                }
                lease.hold(want.hold, now.mono);
                Reserved::Held(Part { held: want.hold, held_apart: 0 })
            }
            OnStoreFailure::LocalShare => match self.reserve_here(shape, want, share, now) {
                Reserved::Held(part) => Reserved::Held(Part { held: 0, held_apart: part.held }),
                other => other,
            },
        }
    }

    /// How long it takes until there may be `need` of `most`. What others hold may be settled soon or late: it is waited for
    /// where it alone is in the way.
    fn wait(&self, shape: &Shape, need: u64, most: u64, now: Now) -> Duration {
        let room = most.saturating_sub(need);
        match room.checked_sub(self.held) {
            Some(used) => self.meter.until(shape, used, most, now),
            None => self.meter.until(shape, room, most, now).max(A_WHILE),
        }
    }
}

/// What each of so many gateways lets pass by itself: at least one, where anything may.
fn share(amount: u64, replicas: u32) -> u64 {
    (amount / u64::from(replicas.max(1))).max(amount.min(1))
}
