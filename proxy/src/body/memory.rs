//! The memory that request bodies take up, and who may have how much of it.
//!
//! Small bodies are counted, and nothing more: an eighth of the memory is theirs alone. A larger one is registered under its
//! client as soon as it exceeds [`SMALL_BYTES`]. With more than one large body, a client may hold four times as much as is
//! left for others, so that one that comes later always finds room (dynamic thresholds, as switches share their buffers by:
//! Choudhury and Hahne, 1998). Where there is no room, the client that holds the most loses its largest body that has not
//! come to its end, as long as it still holds more than the one who asks. What has been sent whole is never given up.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio_util::sync::CancellationToken;

/// Up to so many bytes a body is small.
pub(super) const SMALL_BYTES: usize = 64 * 1024;

/// The share of the memory that only small bodies may take: one part of so many.
const RESERVE: usize = 8;

/// How many times what is left a client may hold.
const SHARE: usize = 4;

/// A large body that grows takes so many bytes at once where there is room, so that not every piece of it takes the lock.
const STEP_BYTES: usize = 64 * 1024;

/// Memory held by all request bodies in flight, in bytes.
#[derive(Debug, Default)]
pub(crate) struct BodyMemory {
    held: AtomicUsize,
    large: Mutex<LargeBodies>,
}

#[derive(Debug, Default)]
struct LargeBodies {
    bodies: FxHashMap<u64, Entry>,
    clients: FxHashMap<ClientKey, Holdings>,
    next_id: u64,
}

#[derive(Debug)]
struct Entry {
    client: ClientKey,
    bytes: usize,
    is_complete: bool,
    given_up: CancellationToken,
}

#[derive(Debug, Default)]
struct Holdings {
    bodies: usize,
    bytes: usize,
}

/// Whom a body is counted for: an IPv4 address, or the /64 of an IPv6 address, which is one subscriber's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey(u128);

/// A large body's place in the memory, which it gives back when it is dropped.
#[derive(Debug)]
pub(super) struct LargeBody {
    id: u64,
    client: ClientKey,
    given_up: CancellationToken,
    memory: Arc<BodyMemory>,
    /// Bytes that were taken and are not used yet.
    spare: usize,
}

/// Why there is no memory for a piece of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no room.
    NoRoom,
    /// The whole body was given up for others.
    GivenUp,
}

impl ClientKey {
    /// The key of a client at `address`; that of all others without one.
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        const NETWORK: u128 = !(u64::MAX as u128);
        Self(match address.map(|address| address.to_canonical()) {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(address)) => address.to_bits() & NETWORK,
            None => Ipv6Addr::UNSPECIFIED.to_bits(),
        })
    }
}

impl BodyMemory {
    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts bytes of a small body, if all of them stay within `limit`.
    pub(super) fn take(&self, bytes: usize, limit: usize) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= limit {
            return true;
        }
        self.give_back(bytes);
        false
    }

    /// Counts bytes of a small body out.
    pub(super) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl LargeBody {
    /// Registers a body that is no longer small. `counted` bytes of it were counted when it was; they are this one's to give
    /// back from now on.
    pub(super) fn new(memory: &Arc<BodyMemory>, client: ClientKey, counted: usize) -> Self {
        let given_up = CancellationToken::new();
        let mut large = memory.large.lock();
        let id = large.next_id;
        large.next_id += 1;
        let entry = Entry { client, bytes: counted, is_complete: false, given_up: given_up.clone() };
        large.bodies.insert(id, entry);
        let holdings = large.clients.entry(client).or_default();
        holdings.bodies += 1;
        holdings.bytes += counted;
        drop(large);
        Self { id, client, given_up, memory: memory.clone(), spare: 0 }
    }

    /// Whom it is counted for.
    pub(super) fn client(&self) -> ClientKey {
        self.client
    }

    /// Cancelled when the body is given up for others.
    pub(super) fn given_up(&self) -> &CancellationToken {
        &self.given_up
    }

    /// Counts more bytes, if all bodies stay within `limit` with them.
    pub(super) fn take(&mut self, bytes: usize, limit: usize) -> Result<(), Refused> {
        if let Some(spare) = self.spare.checked_sub(bytes) {
            self.spare = spare;
            return if self.given_up.is_cancelled() { Err(Refused::GivenUp) } else { Ok(()) };
        }
        let room = limit - limit / RESERVE;
        let held = &self.memory.held;
        let mut large = self.memory.large.lock();
        let Some(entry) = large.bodies.get(&self.id) else { return Err(Refused::GivenUp) };
        let step = if entry.is_complete { 0 } else { STEP_BYTES };
        let has_room = |large: &LargeBodies, more: usize| {
            let total = held.load(Ordering::Relaxed).saturating_add(more);
            total <= room && large.may_hold(self.client, more, room - total)
        };
        let needed = bytes - self.spare;
        let mut taken = needed.max(step);
        while !has_room(&large, taken) {
            if taken > needed {
                taken = needed;
                continue;
            }
            let victim = large.victim(self.client, needed).ok_or(Refused::NoRoom)?;
            if let Some(entry) = large.remove(victim) {
                held.fetch_sub(entry.bytes, Ordering::Relaxed);
                entry.given_up.cancel();
            }
        }
        held.fetch_add(taken, Ordering::Relaxed);
        large.grow(self.id, taken);
        self.spare = taken - needed;
        Ok(())
    }

    /// Notes that the body has come to its end: it takes nothing ahead any more.
    pub(super) fn complete(&mut self) {
        let spare = std::mem::take(&mut self.spare);
        if self.memory.large.lock().complete(self.id, spare) {
            self.memory.give_back(spare);
        }
    }
}

impl Drop for LargeBody {
    fn drop(&mut self) {
        if let Some(entry) = self.memory.large.lock().remove(self.id) {
            self.memory.give_back(entry.bytes);
        }
    }
}

impl LargeBodies {
    /// Whether the client may have `bytes` more where `left` are left then.
    fn may_hold(&self, client: ClientKey, bytes: usize, left: usize) -> bool {
        self.clients.get(&client).is_none_or(|holdings| {
            holdings.bodies <= 1 || holdings.bytes.saturating_add(bytes) <= left.saturating_mul(SHARE)
        })
    }

    /// The body to give up so that `client` can have `bytes` more: of the client that holds the most in bodies that are not
    /// at their end, the largest. `None` if that would be no fairer.
    fn victim(&self, client: ClientKey, bytes: usize) -> Option<u64> {
        let unfinished = || self.bodies.iter().filter(|(_, entry)| !entry.is_complete);
        let held_by = |client: &ClientKey| self.clients.get(client).map_or(0, |holdings| holdings.bytes);
        let most = unfinished().map(|(_, entry)| entry.client).max_by_key(held_by)?;
        if most == client || held_by(&most) <= held_by(&client).saturating_add(bytes) {
            return None;
        }
        let largest =
            unfinished().filter(|(_, entry)| entry.client == most).max_by_key(|(_, entry)| entry.bytes);
        largest.map(|(id, _)| *id)
    }

    fn grow(&mut self, id: u64, bytes: usize) {
        if let Some(entry) = self.bodies.get_mut(&id) {
            entry.bytes += bytes;
            self.clients.entry(entry.client).or_default().bytes += bytes;
        }
    }

    /// Whether the body is still registered, which ends with `spare` bytes less.
    fn complete(&mut self, id: u64, spare: usize) -> bool {
        let Some(entry) = self.bodies.get_mut(&id) else { return false };
        entry.is_complete = true;
        entry.bytes -= spare;
        if let Some(holdings) = self.clients.get_mut(&entry.client) {
            holdings.bytes -= spare;
        }
        true
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.bodies.remove(&id)?;
        if let Some(holdings) = self.clients.get_mut(&entry.client) {
            holdings.bodies -= 1;
            holdings.bytes -= entry.bytes;
            if holdings.bodies == 0 {
                self.clients.remove(&entry.client);
            }
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8000;

    fn client(last: u8) -> ClientKey {
        ClientKey::of(Some([192, 0, 2, last].into()))
    }

    fn body(memory: &Arc<BodyMemory>, of: u8) -> LargeBody {
        LargeBody::new(memory, client(of), 0)
    }

    #[test]
    fn an_eighth_is_for_small_bodies_alone() {
        let memory = Arc::new(BodyMemory::default());
        let mut large = body(&memory, 1);
        large.take(7000, LIMIT).unwrap();
        assert_eq!(large.take(1, LIMIT), Err(Refused::NoRoom));
        assert!(memory.take(1000, LIMIT));
        assert!(!memory.take(1, LIMIT));
        drop(large);
        assert_eq!(memory.held(), 1000);
    }

    #[test]
    fn one_client_leaves_room_for_the_next() {
        let memory = Arc::new(BodyMemory::default());
        let mut hoard: Vec<_> = (0..100).map(|_| body(&memory, 1)).collect();
        let taken = hoard.iter_mut().filter_map(|one| one.take(100, LIMIT).ok()).count();
        assert_eq!(taken, 56, "four fifths of 7000");
        // What is whole is never given up.
        hoard.iter_mut().for_each(LargeBody::complete);
        let mut other = body(&memory, 2);
        other.take(1400, LIMIT).unwrap();
        assert!(hoard.iter().all(|one| !one.given_up().is_cancelled()));
        assert_eq!(other.take(1, LIMIT), Err(Refused::NoRoom));
    }

    #[test]
    fn who_holds_most_loses_its_largest_unfinished_body() {
        let memory = Arc::new(BodyMemory::default());
        let mut hoard: Vec<_> = (0..4).map(|_| body(&memory, 1)).collect();
        for (one, bytes) in hoard.iter_mut().zip([900, 1600, 1700, 1200]) {
            one.take(bytes, LIMIT).unwrap();
        }
        hoard[2].complete();
        let mut other = body(&memory, 2);
        other.take(1500, LIMIT).unwrap();
        other.take(200, LIMIT).unwrap();
        let lost: Vec<_> = hoard.iter().map(|one| one.given_up().is_cancelled()).collect();
        assert_eq!(lost, [false, true, false, false]);
        assert_eq!(hoard[1].take(1, LIMIT), Err(Refused::GivenUp));
        assert_eq!(memory.held(), 900 + 1700 + 1200 + 1700);
        // Nor does a client get anything from one that holds less than it.
        let greedy = other.take(3500, LIMIT);
        assert_eq!(greedy, Err(Refused::NoRoom));
        assert!(!hoard[0].given_up().is_cancelled());
        drop((hoard, other));
        assert_eq!(memory.held(), 0);
        assert!(memory.large.lock().clients.is_empty());
    }

    #[test]
    fn a_client_does_not_push_out_itself() {
        let memory = Arc::new(BodyMemory::default());
        let (mut first, second) = (body(&memory, 1), body(&memory, 1));
        first.take(6000, LIMIT).unwrap_err();
        drop(second);
        first.take(6000, LIMIT).unwrap();
        let mut second = body(&memory, 1);
        assert_eq!(second.take(1000, LIMIT), Err(Refused::NoRoom));
        assert!(!first.given_up().is_cancelled());
    }

    #[test]
    fn neighbours_in_a_64_are_one_client() {
        let key = |address: &str| ClientKey::of(Some(address.parse().unwrap()));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
    }

    #[test]
    fn what_a_body_takes_ahead_is_given_back_at_its_end() {
        let memory = Arc::new(BodyMemory::default());
        let mut large = body(&memory, 1);
        for _ in 0..100 {
            large.take(1000, 1 << 20).unwrap();
        }
        assert_eq!(memory.held(), 2 * STEP_BYTES);
        large.complete();
        assert_eq!(memory.held(), 100_000);
        drop(large);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn a_body_that_is_given_up_takes_nothing_of_what_it_took_ahead() {
        let memory = Arc::new(BodyMemory::default());
        let (mut first, mut second) = (body(&memory, 1), body(&memory, 2));
        let limit = 4 * STEP_BYTES;
        first.take(3 * STEP_BYTES, limit).unwrap();
        first.take(1000, limit).unwrap();
        second.take(STEP_BYTES, limit).unwrap();
        assert_eq!(first.take(1, limit), Err(Refused::GivenUp));
        drop((first, second));
        assert_eq!(memory.held(), 0);
    }
}
