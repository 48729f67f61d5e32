//! The keep-alive pool: HTTP/1.1 connections that wait for the next request to their endpoint.
//!
//! A connection is known by its endpoint's identity and not by its address alone, which may come back as another
//! endpoint. No task watches an idle connection: whether it is still open shows when it is taken, at the price of a flag
//! that the reactor keeps, and in a sweep now and then, which also ends those that nobody wants any more.

use std::hash::{BuildHasher, BuildHasherDefault};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHasher};
use tokio::time::Instant;

use crate::http1::Http1;

/// Locks that the pool is spread over.
const SHARDS: usize = 16;

/// Which requests a connection may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Where the endpoint is.
    pub address: SocketAddr,
    /// Which of the endpoints that were ever at this address, as it was given to
    /// [`Connections::connect`](crate::Connections::connect).
    pub generation: u64,
    /// Of how it is connected to: TLS, names, authorities.
    pub(crate) reuse_hash: u64,
}

/// Idle connections.
#[derive(Debug)]
pub(crate) struct Idle {
    shards: [Mutex<FxHashMap<Key, Vec<Parked>>>; SHARDS],
    count: AtomicUsize,
    limit: usize,
}

#[derive(Debug)]
struct Parked {
    connection: Box<Http1>,
    until: Instant,
}

impl Idle {
    /// A pool of at most `limit` connections.
    pub(crate) fn new(limit: usize) -> Self {
        Self { shards: Default::default(), count: AtomicUsize::new(0), limit }
    }

    /// A connection that is open and quiet, the one that was used last.
    pub(crate) fn take(&self, key: &Key) -> Option<Box<Http1>> {
        loop {
            let mut parked = self.shard(key).lock().get_mut(key)?.pop()?;
            self.count.fetch_sub(1, Ordering::Relaxed);
            if parked.connection.is_quiet() {
                return Some(parked.connection);
            }
        }
    }

    /// Keeps a connection for `idle_timeout`. A full pool closes it.
    pub(crate) fn put(&self, key: Key, mut connection: Box<Http1>, idle_timeout: Duration) {
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        connection.release_buffer();
        let parked = Parked { connection, until: Instant::now() + idle_timeout };
        self.shard(&key).lock().entry(key).or_default().push(parked);
    }

    /// Closes the connections that are dead, idle for too long, or not wanted.
    pub(crate) fn sweep(&self, is_wanted: impl Fn(&Key) -> bool) {
        let now = Instant::now();
        for shard in &self.shards {
            let mut closed = Vec::new();
            shard.lock().retain(|key, parked| {
                let is_wanted = is_wanted(key);
                let is_over =
                    |parked: &mut Parked| !is_wanted || parked.until <= now || !parked.connection.is_quiet();
                closed.extend(parked.extract_if(.., |parked| is_over(parked)));
                !parked.is_empty()
            });
            // Closing takes system calls, which nobody should wait for at the lock.
            self.count.fetch_sub(closed.len(), Ordering::Relaxed);
        }
    }

    /// How many connections wait.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn shard(&self, key: &Key) -> &Mutex<FxHashMap<Key, Vec<Parked>>> {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(key);
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}
