//! The table of counters.
//!
//! It belongs to the process, not to a configuration: a reload forgets nothing. It is bounded, since what counters are told
//! apart by is a client's word often. Where it is full of counters that are in use, further values of a limit share one:
//! they are neither without a limit, nor do they push out what others have used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;
use penstock_config::OnStoreFailure;

use super::ask::Now;
use super::counter::Counter;
use super::key::{Key, LimitId, overflow_key};
use super::lease::LeaseQueue;

const SHARDS: usize = 256;
/// How often requests look for room themselves while the table is full.
const MIN_MILLISECONDS_BETWEEN_SWEEPS: u64 = 100;

/// All counters of the process.
#[derive(Debug)]
pub struct Counters {
    max: AtomicUsize,
    /// Keyed by chance, and made for that: clients cannot tell which keys lie together.
    hasher: RandomState,
    shards: Box<[RwLock<HashTable<Arc<Counter>>>]>,
    len: AtomicUsize,
    /// The shard that is swept next.
    next_shard: AtomicUsize,
    swept_at_ms: AtomicU64,
    latest_ms: AtomicU64,
    overflowed: AtomicU64,
    failed_expressions: AtomicU64,
    leases: LeaseQueue,
}

impl Counters {
    /// Room for `max` counters, beside one for each limit whose values there is no room for.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max: AtomicUsize::new(max),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            len: AtomicUsize::new(0),
            next_shard: AtomicUsize::new(0),
            swept_at_ms: AtomicU64::new(0),
            latest_ms: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
            failed_expressions: AtomicU64::new(0),
            leases: LeaseQueue::default(),
        })
    }

    /// Makes room for so many. What is there beyond that stays until it says nothing any more.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many requests were counted by a counter that several values share, since the table was full.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// How many expressions failed; what they were asked counted as all of its tokens.
    pub fn failed_expressions(&self) -> u64 {
        self.failed_expressions.load(Ordering::Relaxed)
    }

    /// Forgets counters that say nothing any more and gives back leases that are idle. Looks at about so many; the next call
    /// goes on from there. Places among the requests in flight are renewed whichever it looks at. To be called about each
    /// second.
    pub fn sweep(&self, now: Now, max_steps: usize) {
        self.latest_ms.fetch_max(milliseconds(now), Ordering::Relaxed);
        self.leases.shared().renew(now);
        let mut steps = 0;
        for _ in 0..SHARDS {
            let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
            steps += self.sweep_shard(shard, false, now);
            if steps >= max_steps {
                return;
            }
        }
    }

    /// Gives back all that is leased and not in use: the process ends. What is settled after that is told with it.
    pub fn give_back_all(&self, now: Now) {
        for shard in 0..SHARDS {
            self.sweep_shard(shard, true, now);
        }
    }

    /// What becomes of shared limits while their store cannot be reached.
    pub fn set_on_failure(&self, on_failure: OnStoreFailure) {
        self.leases.shared().set_on_failure(on_failure);
    }

    /// What shared counters want of the store.
    pub fn leased(&self) -> &LeaseQueue {
        &self.leases
    }

    /// The latest time that anything was settled or swept by, and that nothing is freed by too early: for what ends without
    /// being told the time.
    pub(crate) fn latest(&self) -> Now {
        let since = Duration::from_millis(self.latest_ms.load(Ordering::Relaxed));
        Now { mono: since, ..Now::EARLIEST }
    }

    pub(crate) fn note_failed_expression(&self) {
        self.failed_expressions.fetch_add(1, Ordering::Relaxed);
    }

    /// The counter with this key, if there is one.
    pub(crate) fn find(&self, key: &Key) -> Option<Arc<Counter>> {
        self.find_hashed(self.hasher.hash_one(key.as_slice()), key)
    }

    /// The counter with this key, of the limit `id`; one that `make` makes if there is none, or the limit's common one if
    /// there is no room.
    pub(crate) fn of(
        &self,
        id: &LimitId,
        key: &Key,
        now: Now,
        make: impl Fn(&Key, u64) -> Counter,
    ) -> Arc<Counter> {
        let hash = self.hasher.hash_one(key.as_slice());
        if let Some(counter) = self.find_hashed(hash, key) {
            return counter;
        }
        let max = self.max.load(Ordering::Relaxed);
        if self.len() >= max {
            self.look_for_room(hash, now);
        }
        if self.len() < max {
            return self.insert(hash, key, make);
        }
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let key = overflow_key(id);
        let hash = self.hasher.hash_one(key.as_slice());
        self.find_hashed(hash, &key).unwrap_or_else(|| self.insert(hash, &key, make))
    }

    fn find_hashed(&self, hash: u64, key: &Key) -> Option<Arc<Counter>> {
        self.shards[shard_of(hash)].read().find(hash, |counter| counter.is(key)).cloned()
    }

    fn insert(&self, hash: u64, key: &Key, make: impl Fn(&Key, u64) -> Counter) -> Arc<Counter> {
        let mut shard = self.shards[shard_of(hash)].write();
        // Another request may have been faster.
        if let Some(counter) = shard.find(hash, |counter| counter.is(key)) {
            return Arc::clone(counter);
        }
        let counter = Arc::new(make(key, hash));
        shard.insert_unique(hash, Arc::clone(&counter), |counter| counter.hash());
        self.len.fetch_add(1, Ordering::Relaxed);
        counter
    }

    /// Sweeps the shard of a key that there is no room for, but not for each such request.
    fn look_for_room(&self, hash: u64, now: Now) {
        let now_ms = milliseconds(now);
        let last_ms = self.swept_at_ms.load(Ordering::Relaxed);
        let is_due = last_ms == 0 || now_ms >= last_ms.saturating_add(MIN_MILLISECONDS_BETWEEN_SWEEPS);
        let is_ours = || {
            self.swept_at_ms.compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if is_due && is_ours() {
            self.sweep_shard(shard_of(hash), false, now);
        }
    }

    /// How many counters were looked at.
    fn sweep_shard(&self, shard: usize, gives_all_back: bool, now: Now) -> usize {
        let mut to_queue = Vec::new();
        let mut shard = self.shards[shard].write();
        let looked_at = shard.len();
        shard.retain(|counter| {
            if counter.is_to_be_queued(gives_all_back, now) {
                to_queue.push(Arc::clone(counter));
            }
            // Whoever else has it found it under the lock that is held here.
            Arc::strong_count(counter) > 1 || !counter.is_idle(now)
        });
        self.len.fetch_sub(looked_at - shard.len(), Ordering::Relaxed);
        drop(shard);
        to_queue.into_iter().for_each(|counter| self.leases.shared().push(counter));
        looked_at
    }
}

/// By bits that the table in the shard does not go by.
fn shard_of(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[2])
}

fn milliseconds(now: Now) -> u64 {
    u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX)
}
