//! What clients of the admin listener may take. No setting changes it: the pages are for a few probes, scrapers and
//! people, and none of them comes near. Each bound that is hit is counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long a client may take to send a request's head, and how long for its body. Between two requests of a connection
/// the same.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// How old a connection may become: whoever does not read what it asked for has its place until then.
pub(super) const MAX_AGE: Duration = Duration::from_secs(60);

/// The largest head, in bytes: what is read ahead of it is held for each connection.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;

/// The largest request that `/debug/pick` explains, in bytes: a prompt of 250,000 tokens.
pub(super) const MAX_EXPLAINED_BYTES: usize = 1 << 20;

/// How many requests `/debug/pick` explains at one time, from the first byte of their bodies on.
const MAX_PICKS: usize = 4;

/// How many connections there may be.
const MAX_CONNECTIONS: usize = 100;

/// How many of them one address may have, so that nobody keeps the probes of a kubelet out.
const MAX_CONNECTIONS_OF_ONE: usize = 25;

/// What is taken now.
pub(super) struct Bounds {
    connections: Mutex<HashMap<IpAddr, usize>>,
    picks: Semaphore,
}

/// A connection that has its place, until this is dropped.
pub(super) struct Place {
    bounds: Arc<Bounds>,
    peer: IpAddr,
}

impl Bounds {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { connections: Mutex::default(), picks: Semaphore::new(MAX_PICKS) })
    }

    /// A place for a connection from `peer`, if there is one left for it.
    pub(super) fn connection(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut connections = self.connections.lock();
        let is_full = connections.values().sum::<usize>() >= MAX_CONNECTIONS;
        let own = connections.get(&peer).copied().unwrap_or_default();
        if is_full || own >= MAX_CONNECTIONS_OF_ONE {
            return None;
        }
        connections.insert(peer, own + 1);
        Some(Place { bounds: self.clone(), peer })
    }

    /// A place for a request that is to be explained, if there is one left.
    pub(super) fn pick(&self) -> Option<SemaphorePermit<'_>> {
        self.picks.try_acquire().ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.bounds.connections.lock();
        if let Some(own) = connections.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                connections.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn neither_one_address_nor_all_together_take_more_than_their_places() {
        let bounds = Bounds::new();
        let from = |last: u8| IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
        let mut places: Vec<_> =
            (0..MAX_CONNECTIONS_OF_ONE).map_while(|_| bounds.connection(from(1))).collect();
        assert_eq!(places.len(), MAX_CONNECTIONS_OF_ONE);
        assert!(bounds.connection(from(1)).is_none());
        for last in 2.. {
            match bounds.connection(from(last)) {
                Some(place) => places.push(place),
                None => break,
            }
        }
        assert_eq!(places.len(), MAX_CONNECTIONS);
        places.pop();
        assert!(bounds.connection(from(1)).is_none());
        assert!(bounds.connection(from(200)).is_some());
        places.clear();
        assert!(bounds.connections.lock().is_empty());
    }
}
