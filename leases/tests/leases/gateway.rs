//! A gateway without its proxy: counters, limits, and the worker that asks the store.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use http::{HeaderMap, Method};
use parking_lot::Mutex;
use penstock_config::{
    Count, LimitMatch, LimitSpec, LimitStore, Missing, OnStoreFailure, PolicySpec, RedisMode, RedisSpec,
    Window,
};
use penstock_leases::{Leases, Observe, Outcome, State};
use penstock_policies::limits::{Ask, Counters, Holds, Limiter, Now, Spent, Stop, Usage};
use penstock_policies::{Facts, Model};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, interval, timeout};

/// How long a test waits for something that must come.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A window that does not end while a test runs.
pub(crate) const FOR_LONG: Window = Window::Fixed(Duration::from_secs(100 * 365 * 24 * 60 * 60));

/// A gateway.
pub(crate) struct Gateway {
    counters: Arc<Counters>,
    limiter: Limiter,
    pub(crate) leases: Leases,
    pub(crate) seen: Arc<Recorder>,
    started: Instant,
    sweeper: JoinHandle<()>,
}

/// Why a request was refused.
#[derive(Debug)]
pub(crate) enum Refused {
    Denied,
    Unavailable,
}

/// What the worker told of the store.
#[derive(Default)]
pub(crate) struct Recorder {
    calls: [AtomicU64; Outcome::ALL.len()],
    state: Mutex<State>,
}

impl Gateway {
    /// One that has `limit`, and shares it in `store` with others of `replicas`.
    pub(crate) fn start(limit: &LimitSpec, store: &LimitStore, replicas: u32) -> Self {
        let counters = Counters::new(1000);
        let policy = PolicySpec {
            name: "tenants".into(),
            external: None,
            authentication: None,
            authorization: None,
            cors: None,
            limits: [limit.clone()].into(),
        };
        let limiter = Limiter::new(&policy, &counters, replicas, true).expect("limits");
        let started = Instant::now();
        let seen = Arc::new(Recorder::default());
        let clock = move || now_since(started);
        let leases =
            Leases::start(Arc::clone(&counters), Arc::new(clock), Arc::clone(&seen) as Arc<dyn Observe>);
        leases.use_store(Some(store));
        let swept = Arc::clone(&counters);
        let sweeper = tokio::spawn(async move {
            let mut often = interval(Duration::from_millis(100));
            loop {
                often.tick().await;
                swept.sweep(now_since(started), usize::MAX);
            }
        });
        Self { counters, limiter, leases, seen, started, sweeper }
    }

    /// Holds what a request is expected to take.
    pub(crate) async fn admit(&self, expected: &Usage) -> Result<Holds, Refused> {
        let (method, headers) = (Method::POST, HeaderMap::new());
        let facts = Facts {
            method: &method,
            host: "models.test",
            path: "/v1/chat/completions",
            query: None,
            tokens: None,
            port: 0,
            model: Model::Unknown,
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            identities: &[],
            headers: &headers,
        };
        let ask = Ask {
            facts: &facts,
            model: None,
            target_model: None,
            upstream: None,
            route: "route",
            rule: "rule",
            listener: "listener",
            host: "host",
            path: "/v1/chat/completions",
            query: None,
            prompt_bytes: 0,
            allowed_output: None,
        };
        let mut holds = Holds::default();
        loop {
            match self.limiter.reserve(&ask, expected, None, self.now(), &mut holds) {
                Ok(()) => return Ok(holds),
                Err(Stop::Denied(_)) => return Err(Refused::Denied),
                Err(Stop::Unavailable(_)) => return Err(Refused::Unavailable),
                Err(Stop::Wait(wait)) => timeout(SOON, wait.wait()).await.expect("the worker answers"),
            }
        }
    }

    /// Holds what a request takes, and counts it.
    pub(crate) async fn spend(&self, usage: &Usage) -> Result<(), Refused> {
        let holds = self.admit(usage).await?;
        self.settle(holds, usage);
        Ok(())
    }

    /// Counts what a request took.
    pub(crate) fn settle(&self, mut holds: Holds, usage: &Usage) {
        holds.settle(Spent::Used { usage, price: None }, self.now());
    }

    /// Waits until the store is in this state.
    pub(crate) async fn until(&self, state: State) {
        wait_until(|| self.store_state() == state).await;
    }

    /// The state of the store.
    pub(crate) fn store_state(&self) -> State {
        *self.seen.state.lock()
    }

    /// Waits until the store is known to be away. Something has to ask for it to be found out: what is held is more and more,
    /// so that the lease does not last.
    pub(crate) async fn until_away(&self) {
        let deadline = Instant::now() + SOON;
        let mut held = Vec::new();
        while matches!(self.store_state(), State::Closed | State::None) {
            assert!(Instant::now() < deadline, "the store is thought to be there");
            held.extend(self.admit(&Usage::default()).await.ok());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for holds in &mut held {
            holds.settle(Spent::Nothing, self.now());
        }
    }

    /// Gives back what it does not use, and ends.
    pub(crate) async fn drain(self) {
        self.leases.drain(SOON).await;
        assert!(self.counters.leased().is_empty(), "all is told");
    }

    fn now(&self) -> Now {
        now_since(self.started)
    }
}

/// Ends at once, and gives nothing back, as one that is killed.
impl Drop for Gateway {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

impl Recorder {
    /// How many calls ended so.
    pub(crate) fn calls(&self, outcome: Outcome) -> u64 {
        self.calls[outcome as usize].load(Ordering::Relaxed)
    }
}

impl Observe for Recorder {
    fn called(&self, outcome: Outcome, _: Duration) {
        self.calls[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn state(&self, state: State) {
        *self.state.lock() = state;
    }

    fn counters(&self, _: usize) {}
}

/// A limit that all share.
pub(crate) fn limit(count: Count, amount: u64, window: Window) -> LimitSpec {
    let each = u64::from(count == Count::Requests);
    LimitSpec {
        name: "limit".into(),
        count,
        each,
        amount,
        window,
        per: [].into(),
        missing: Missing::Together,
        when: LimitMatch::default(),
        is_shadow: false,
        is_shared: true,
        shared_as: None,
        cuts_streams: false,
    }
}

/// A store at these addresses. The deadline is long: where it is not the matter of a test, a busy machine must not be.
pub(crate) fn store(addresses: &[String], mode: RedisMode) -> LimitStore {
    let addresses = addresses.iter().map(|address| address.as_str().into()).collect();
    LimitStore {
        redis: RedisSpec {
            addresses,
            mode,
            database: 0,
            username: None,
            password_file: None::<PathBuf>,
            tls: None,
            deadline: Duration::from_secs(5),
            key_prefix: "penstock".into(),
            scope: None,
        },
        on_failure: OnStoreFailure::Closed,
    }
}

/// So many tokens generated.
pub(crate) fn output(tokens: u64) -> Usage {
    Usage { output: tokens, ..Usage::default() }
}

/// Waits for a condition.
pub(crate) async fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come to pass within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn now_since(started: Instant) -> Now {
    Now { wall: SystemTime::now(), mono: started.elapsed() }
}
