//! The way to the store: one connection, made again when it breaks, and a circuit breaker before it.
//!
//! The breaker opens when a connection cannot be made, or when [`FAILURES`] calls in a row got no answer in time. While it is
//! open nobody waits: leases fail at once. It is half open while a new connection is tried, once in a second at first, which
//! asks no request to try it, and closes when the store answers on it within the deadline.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use penstock_config::{LimitStore, RedisSpec};
use redis::Script;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::connect::{ConnectError, Connection, Files, connect};
use crate::observe::{Observe, State};
use crate::script::TEXT;

/// After so many calls in a row without an answer in time, the store is away.
pub(crate) const FAILURES: u32 = 3;

/// After how long a store that is away is tried again; up to a half comes on top, by chance. However long it was away: a store
/// that comes back without data lends nothing for two seconds after the first gateway is back, in which the others have to be.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a connection may take, sentinels and a cluster's nodes included.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How often files are looked at for a new password.
const LOOK_AT_FILES_EVERY: Duration = Duration::from_secs(1);

/// The way to one store.
pub(crate) struct Link {
    /// The store.
    pub(crate) store: LimitStore,
    /// The script, by which the store knows it.
    pub(crate) script: Script,
    observe: Arc<dyn Observe>,
    /// `None` until the first is there, and while the store is away.
    connection: Mutex<Option<Connection>>,
    state: watch::Sender<State>,
    failures: AtomicU32,
    is_broken: Notify,
    /// The store's clock less that on the wall here, in microseconds.
    ahead: AtomicI64,
}

/// Why there is nobody to ask.
#[derive(Debug)]
pub(crate) struct Away;

impl Link {
    /// A way to `store`, which [`keep`](Self::keep) makes and keeps.
    pub(crate) fn new(store: LimitStore, observe: Arc<dyn Observe>) -> Self {
        Self {
            store,
            script: Script::new(TEXT),
            observe,
            connection: Mutex::new(None),
            state: watch::Sender::new(State::Closed),
            failures: AtomicU32::new(0),
            is_broken: Notify::new(),
            ahead: AtomicI64::new(0),
        }
    }

    /// A connection: waits for it while one is made, and not while the store is away.
    ///
    /// # Errors
    /// The store is away.
    pub(crate) async fn connection(&self) -> Result<Connection, Away> {
        let mut state = self.state.subscribe();
        loop {
            if let Some(connection) = self.connection.lock().clone() {
                return Ok(connection);
            }
            if *state.borrow_and_update() != State::Closed {
                return Err(Away);
            }
            state.changed().await.map_err(|_| Away)?;
        }
    }

    /// Whether the store is away.
    pub(crate) fn is_away(&self) -> bool {
        *self.state.borrow() != State::Closed
    }

    /// A call was answered, at this time of the store.
    pub(crate) fn answered(&self, store_now: u64) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.ahead.store(i64::try_from(store_now).unwrap_or(0) - wall_now(), Ordering::Relaxed);
    }

    /// A call was not answered in time.
    pub(crate) fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == FAILURES {
            self.is_broken.notify_one();
        }
    }

    /// The connection is of no more use: it broke, or its server is not the one to ask any more.
    pub(crate) fn broke(&self) {
        if self.connection.lock().take().is_some() {
            self.is_broken.notify_one();
        }
    }

    /// What time it is by the store's clock, in microseconds since 1970, as far as it is known.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(wall_now().saturating_add(self.ahead.load(Ordering::Relaxed))).unwrap_or(0)
    }

    /// Makes connections for as long as it is polled. Calls `is_back` with each that is new.
    pub(crate) async fn keep(&self, is_back: impl Fn()) {
        loop {
            match self.try_once().await {
                Ok(files) => {
                    is_back();
                    self.stay(&files).await;
                }
                // What files say now may not hold yet: what is there serves on.
                Err(error) if self.is_serving() => {
                    tracing::warn!(%error, "the store of limits is not to be had with what its files say now");
                    sleep(RETRY_AFTER).await;
                }
                Err(error) => {
                    self.away(&error);
                    sleep(RETRY_AFTER.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
                    self.change(State::HalfOpen);
                }
            }
        }
    }

    fn is_serving(&self) -> bool {
        self.connection.lock().is_some() && self.failures.load(Ordering::Relaxed) < FAILURES
    }

    /// Connects, and sees whether the store answers in time.
    async fn try_once(&self) -> Result<Files, ConnectError> {
        let spec = &self.store.redis;
        let files = Files::read(spec)?;
        let late = |_| ConnectError::Late(CONNECT_WITHIN);
        let mut connection = timeout(CONNECT_WITHIN, connect(spec, &files)).await.map_err(late)??;
        timeout(CONNECT_WITHIN, self.script.load_async(&mut connection)).await.map_err(late)??;
        is_quick(spec, &mut connection).await?;
        *self.connection.lock() = Some(connection);
        self.failures.store(0, Ordering::Relaxed);
        self.change(State::Closed);
        Ok(files)
    }

    /// Returns when another connection is wanted: this one broke, the store is away, or a file has changed.
    async fn stay(&self, files: &Files) {
        loop {
            match timeout(LOOK_AT_FILES_EVERY, self.is_broken.notified()).await {
                Ok(()) if self.failures.load(Ordering::Relaxed) >= FAILURES => {
                    self.away(&ConnectError::Late(self.store.redis.deadline));
                    sleep(RETRY_AFTER.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
                    return self.change(State::HalfOpen);
                }
                Ok(()) if self.connection.lock().is_none() => {
                    tracing::info!("the connection to the store of limits broke; making another");
                    return;
                }
                // Of a connection before this one.
                Ok(()) => {}
                // The old connection serves until there is a new one.
                Err(_) if Files::read(&self.store.redis).is_ok_and(|now| now != *files) => return,
                Err(_) => {}
            }
        }
    }

    fn away(&self, error: &ConnectError) {
        *self.connection.lock() = None;
        if self.is_away() {
            tracing::debug!(%error, "the store of limits is still away");
        } else {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(%error, cause, on_failure = ?self.store.on_failure, "the store of limits is away");
        }
        self.change(State::Open);
    }

    fn change(&self, state: State) {
        let was = self.state.send_replace(state);
        self.observe.state(state);
        if state == State::Closed && was != State::Closed {
            tracing::info!("the store of limits is back");
        }
    }
}

/// Sees whether the store answers within the deadline, at the second time at the latest: the first may have to wait for
/// what it did not do while it was away.
async fn is_quick(spec: &RedisSpec, connection: &mut Connection) -> Result<(), ConnectError> {
    for _ in 0..2 {
        let started = Instant::now();
        let ping = redis::cmd("PING");
        match timeout(spec.deadline, ping.query_async::<()>(connection)).await {
            Ok(answer) => return Ok(answer?),
            Err(_) => tracing::debug!(took = ?started.elapsed(), "the store of limits is slow"),
        }
    }
    Err(ConnectError::Late(spec.deadline))
}

/// What time it is, in microseconds since 1970.
fn wall_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
