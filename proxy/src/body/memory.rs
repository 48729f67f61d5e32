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
const SMALL_BYTES: usize = 64 * 1024;

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
struct ClientKey(u128);

/// What one body takes of the memory: counted while it is small, registered under its client as soon as it is not, and given
/// back when it is released or dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<BodyMemory>,
    /// Counted in `memory`; by `large`, once there is such a thing.
    bytes: usize,
    is_complete: bool,
    large: Option<Box<LargeBody>>,
}

/// A large body's place in the memory, which it gives back when it is dropped.
#[derive(Debug)]
struct LargeBody {
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
    fn of(address: Option<IpAddr>) -> Self {
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
    fn take(&self, bytes: usize, limit: usize) -> bool {
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= limit {
            return true;
        }
        self.give_back(bytes);
        false
    }

    /// Counts bytes of a small body out.
    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Held {
    /// Nothing yet, of a body that is still coming.
    pub(super) fn new(memory: &Arc<BodyMemory>) -> Self {
        Self { memory: memory.clone(), bytes: 0, is_complete: false, large: None }
    }

    /// Nothing yet, of a body that is known to its end: it takes nothing ahead, and is not given up for others.
    pub(super) fn of_whole(memory: &Arc<BodyMemory>) -> Self {
        Self { memory: memory.clone(), bytes: 0, is_complete: true, large: None }
    }

    /// Takes more for the body, which is counted for `client`, if all bodies stay within `limit` with that.
    pub(super) fn take(&mut self, bytes: usize, client: Option<IpAddr>, limit: usize) -> Result<(), Refused> {
        let size = self.bytes.saturating_add(bytes);
        if size > SMALL_BYTES {
            let large = self.large.get_or_insert_with(|| {
                let mut large = LargeBody::new(&self.memory, ClientKey::of(client), self.bytes);
                if self.is_complete {
                    large.complete();
                }
                Box::new(large)
            });
            large.take(bytes, limit)?;
        } else if !self.memory.take(bytes, limit) {
            return Err(Refused::NoRoom);
        }
        self.bytes = size;
        Ok(())
    }

    /// As much again for the same body in somebody else's hands, who needs the whole of it; `None` if there is no room.
    pub(super) fn share(&self, client: Option<IpAddr>, limit: usize) -> Option<Self> {
        let mut copy = Self::of_whole(&self.memory);
        copy.take(self.bytes, client, limit).ok()?;
        Some(copy)
    }

    /// Bytes that the body has.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the body has come to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Notes that the body has come to its end: what was taken ahead goes back, and it is not given up any more.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
        if let Some(large) = &mut self.large {
            large.complete();
        }
    }

    /// Cancelled when the body is given up for others, which only happens to large ones.
    pub(super) fn given_up(&self) -> Option<&CancellationToken> {
        self.large.as_ref().map(|large| &large.given_up)
    }

    /// The memory, for what else there is of the body.
    pub(super) fn memory(&self) -> &Arc<BodyMemory> {
        &self.memory
    }

    /// Gives everything back.
    pub(super) fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if self.large.take().is_none() {
            self.memory.give_back(bytes);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

impl LargeBody {
    /// Registers a body that is no longer small. `counted` bytes of it were counted when it was; they are this one's to give
    /// back from now on.
    fn new(memory: &Arc<BodyMemory>, client: ClientKey, counted: usize) -> Self {
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

    /// Counts more bytes, if all bodies stay within `limit` with them.
    fn take(&mut self, bytes: usize, limit: usize) -> Result<(), Refused> {
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
    fn complete(&mut self) {
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
mod tests;
