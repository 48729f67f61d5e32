//! Takes what counters want out of the queue, and asks the store.

use std::sync::Arc;
use std::time::Duration;

use penstock_config::LimitStore;
use penstock_policies::limits::{Counters, Granted, LeaseAsk, Now};
use redis::{ErrorKind, ServerErrorKind};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

use crate::caller::{Caller, Failure, Wish};
use crate::link::Link;
use crate::observe::{Observe, Outcome, State};

/// How many calls are under way at a time. They share one connection, on which they need not wait for each other.
const MAX_CALLS: usize = 512;

/// How often the ledger is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often it is looked whether all is given back.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What time it is, for counters.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;

/// The store of counters that gateways share. One a process; which store it is may change.
pub struct Leases {
    shared: Arc<Shared>,
    store: watch::Sender<Option<Arc<Link>>>,
    work: JoinHandle<()>,
    link: JoinHandle<()>,
}

struct Shared {
    counters: Arc<Counters>,
    clock: Clock,
    observe: Arc<dyn Observe>,
    caller: Caller,
    calls: Arc<Semaphore>,
}

impl Leases {
    /// Begins to serve the queue of `counters`, without a store at first. Needs a runtime of tokio around it.
    pub fn start(counters: Arc<Counters>, clock: Clock, observe: Arc<dyn Observe>) -> Self {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        counters.leased().notify(Box::new(move || wake.notify_one()));
        let shared = Arc::new(Shared {
            counters,
            clock,
            observe,
            caller: Caller::default(),
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
        });
        let store = watch::Sender::new(None);
        let work = tokio::spawn(Arc::clone(&shared).work(store.subscribe(), woken));
        let link = tokio::spawn(keep_links(Arc::clone(&shared), store.subscribe()));
        Self { shared, store, work, link }
    }

    /// Takes this store from now on, if it is not the one that is there. What was lent by another is told to this one.
    pub fn use_store(&self, store: Option<&LimitStore>) {
        if let Some(store) = store {
            self.shared.counters.set_on_failure(store.on_failure);
        }
        self.store.send_if_modified(|link| {
            if link.as_ref().map(|link| &link.store) == store {
                return false;
            }
            *link = store.map(|store| Arc::new(Link::new(store.clone(), Arc::clone(&self.shared.observe))));
            self.shared.observe.state(if store.is_some() { State::Closed } else { State::None });
            true
        });
    }

    /// Gives back all that is leased, and ends when the store has been told, or after `patience`.
    pub async fn drain(&self, patience: Duration) {
        self.shared.counters.give_back_all((self.shared.clock)());
        let queue = self.shared.counters.leased();
        let is_idle = || queue.is_empty() && self.shared.calls.available_permits() == MAX_CALLS;
        let all_told = async {
            // Seen twice: between one look and the other, something is neither in the queue nor under way.
            let mut seen = 0;
            while seen < 2 {
                seen = if is_idle() { seen + 1 } else { 0 };
                sleep(LOOK_EVERY).await;
            }
        };
        if self.store.borrow().is_some() && timeout(patience, all_told).await.is_err() {
            tracing::warn!(
                "the store of limits was not told of all that is given back; it is there when windows end"
            );
        }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        self.work.abort();
        self.link.abort();
    }
}

/// Keeps the way to the store that is there.
async fn keep_links(shared: Arc<Shared>, mut store: watch::Receiver<Option<Arc<Link>>>) {
    loop {
        let link = store.borrow_and_update().clone();
        let keep = async {
            match &link {
                Some(link) => {
                    let is_back = || {
                        let (shared, link) = (Arc::clone(&shared), Arc::clone(link));
                        tokio::spawn(async move { shared.caller.tell_again(&link).await });
                    };
                    link.keep(is_back).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = keep => {}
            changed = store.changed() => if changed.is_err() { return },
        }
    }
}

impl Shared {
    async fn work(self: Arc<Self>, store: watch::Receiver<Option<Arc<Link>>>, woken: Arc<Notify>) {
        let mut sweep = interval(SWEEP_EVERY);
        loop {
            tokio::select! {
                () = woken.notified() => {}
                _ = sweep.tick() => self.observe.counters(self.caller.sweep(now_of(&store))),
            }
            loop {
                let Ok(permit) = Arc::clone(&self.calls).acquire_owned().await else { return };
                let Some(ask) = self.counters.leased().next((self.clock)()) else { break };
                let (shared, link) = (Arc::clone(&self), store.borrow().clone());
                tokio::spawn(async move {
                    shared.serve(ask, link).await;
                    drop(permit);
                });
            }
        }
    }

    /// Asks the store, and tells the counter.
    async fn serve(&self, ask: LeaseAsk, link: Option<Arc<Link>>) {
        let started = Instant::now();
        let result = match &link {
            Some(link) => self.caller.lend(&wish_of(&ask), link).await,
            None => Err(Failure::Away),
        };
        let took = started.elapsed();
        let outcome = match &result {
            Ok(lent) if lent.lease < ask.need => Outcome::Nothing,
            Ok(_) => Outcome::Granted,
            Err(Failure::Away) => Outcome::Away,
            Err(Failure::Deadline) => Outcome::Deadline,
            Err(Failure::Redis(_) | Failure::Calendar | Failure::Told) => Outcome::Failed,
        };
        self.observe.called(outcome, took);
        match (result, link) {
            (Ok(lent), _) => {
                let granted = Granted {
                    lease: lent.lease,
                    window_ends: lent.good_for,
                    left: lent.left,
                    retry_after: lent.wait,
                };
                ask.granted(granted, (self.clock)());
            }
            (Err(failure), link) => {
                if let Some(link) = link {
                    mind(&link, &failure);
                }
                ask.failed((self.clock)());
            }
        }
    }
}

/// What a failure means for the connection.
fn mind(link: &Link, failure: &Failure) {
    match failure {
        Failure::Away | Failure::Calendar | Failure::Told => {}
        Failure::Deadline => link.failed(),
        Failure::Redis(error) => {
            tracing::debug!(%error, "the store of limits refused a call");
            let is_another_s = matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
                    | ErrorKind::AuthenticationFailed
            );
            if is_another_s || error.is_unrecoverable_error() || error.is_connection_dropped() {
                link.broke();
            } else {
                link.failed();
            }
        }
    }
}

fn wish_of(ask: &LeaseAsk) -> Wish<'_> {
    Wish {
        key: &ask.key,
        window: &ask.window,
        amount: ask.amount,
        need: ask.need,
        want: ask.want,
        debt: ask.debt,
        give_back: ask.give_back,
        keep: ask.keep,
        is_reminder: false,
        is_repeated: ask.is_repeated,
    }
}

fn now_of(store: &watch::Receiver<Option<Arc<Link>>>) -> u64 {
    store.borrow().as_ref().map_or(0, |link| link.now())
}
