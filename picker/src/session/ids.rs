//! Which endpoint served a session last, by an id that clients send (`x-session-id`).
//!
//! Ids are kept as hashes, in two generations: when the younger is full or has lived for as long as a session is
//! remembered, it takes the place of the older, which goes. So memory is bounded whatever clients send, and nothing is
//! ever searched for what is too old.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{endpoint_id::EndpointId, random};

/// Tables, each behind its own lock.
const SHARDS: usize = 16;
/// Most sessions in a generation of a table: 131,072 in all, some 40 bytes each.
const MAX_SESSIONS: usize = 4096;

/// The sessions of a pool.
#[derive(Debug)]
pub(crate) struct SessionIds {
    shards: [Mutex<Shard>; SHARDS],
    /// Keeps clients from foreseeing which ids are taken for the same.
    seed: u64,
}

#[derive(Debug, Default)]
struct Shard {
    young: FxHashMap<u64, Service>,
    old: FxHashMap<u64, Service>,
    /// When the younger generation began, on the pool's clock.
    since_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Service {
    endpoint: EndpointId,
    at_ns: u64,
}

impl Default for SessionIds {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), seed: random::next_u64() }
    }
}

impl SessionIds {
    /// The endpoint that served the session last, unless that is longer ago than `ttl_ns`.
    pub(crate) fn find(&self, id: &[u8], now_ns: u64, ttl_ns: u64) -> Option<EndpointId> {
        let (hash, shard) = self.shard(id);
        let shard = shard.lock();
        let seen = shard.young.get(&hash).or_else(|| shard.old.get(&hash))?;
        (now_ns.saturating_sub(seen.at_ns) <= ttl_ns).then_some(seen.endpoint)
    }

    /// Notes which endpoint serves the session.
    pub(crate) fn note(&self, id: &[u8], endpoint: EndpointId, now_ns: u64, ttl_ns: u64) {
        let (hash, shard) = self.shard(id);
        let mut shard = shard.lock();
        if shard.young.len() >= MAX_SESSIONS || now_ns.saturating_sub(shard.since_ns) > ttl_ns {
            shard.old = std::mem::take(&mut shard.young);
            shard.since_ns = now_ns;
        }
        shard.young.insert(hash, Service { endpoint, at_ns: now_ns });
    }

    fn shard(&self, id: &[u8]) -> (u64, &Mutex<Shard>) {
        let hash = xxh3_64_with_seed(id, self.seed);
        (hash, &self.shards[(hash >> 40) as usize % SHARDS])
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SESSIONS, SHARDS, SessionIds};
    use crate::endpoint_id::EndpointId;

    const TTL: u64 = 300;

    #[test]
    fn a_session_is_remembered_for_as_long_as_it_is_used() {
        let ids = SessionIds::default();
        let (one, other) = (EndpointId::for_tests(1), EndpointId::for_tests(2));
        assert_eq!(ids.find(b"a", 1000, TTL), None);
        ids.note(b"a", one, 1000, TTL);
        ids.note(b"b", other, 1100, TTL);
        assert_eq!(ids.find(b"a", 1300, TTL), Some(one));
        assert_eq!(ids.find(b"a", 1301, TTL), None);
        ids.note(b"a", other, 1301, TTL);
        assert_eq!(ids.find(b"a", 1600, TTL), Some(other), "it moved");
        assert_eq!(ids.find(b"b", 1400, TTL), Some(other), "it outlives the turn of the generations");
    }

    #[test]
    fn memory_is_bounded_whatever_clients_send() {
        let ids = SessionIds::default();
        for number in 0..(SHARDS * MAX_SESSIONS * 4) as u64 {
            ids.note(&number.to_le_bytes(), EndpointId::for_tests(1), 1, TTL);
        }
        let kept = |shard: &parking_lot::Mutex<super::Shard>| {
            let shard = shard.lock();
            shard.young.len() + shard.old.len()
        };
        assert!(ids.shards.iter().map(kept).all(|kept| kept <= 2 * MAX_SESSIONS));
    }
}
