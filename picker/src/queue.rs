//! The bounded queue in front of a full pool.
//!
//! Requests wait in order of priority, and of arrival within one. Whatever may have made room (a request that ended,
//! a new sample, a changed pool) wakes the first in line, who tries to pick; succeeding or giving up, it leaves the
//! queue and thereby wakes the next. A waiter is only an entry in the queue and a future: dropping the future is
//! enough to give the place up, at any moment.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Release},
        },
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Higher priorities first, then in order of arrival.
type Position = (Reverse<i32>, u64);

/// Requests that wait for a pool.
#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    line: Mutex<Line>,
    /// Length of the line, to be read without its lock.
    len: AtomicUsize,
}

/// A place in the queue, given up when dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    queue: &'a WaitQueue,
    position: Position,
    bytes: u64,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<Position, Arc<Notify>>,
    bytes: u64,
    arrivals: u64,
}

impl WaitQueue {
    /// Requests that wait.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Acquire)
    }

    /// Bytes of the requests that wait.
    pub(crate) fn bytes(&self) -> u64 {
        self.line.lock().bytes
    }

    /// Whether one of that priority that arrived now would have to let others go first.
    pub(crate) fn is_ahead_of(&self, priority: i32) -> bool {
        self.len() > 0
            && self.line.lock().waiting.keys().next().is_some_and(|(Reverse(first), _)| *first >= priority)
    }

    /// Queues up; `None` if there is no room for another request or for its bytes.
    pub(crate) fn join(
        &self,
        priority: i32,
        bytes: u64,
        max_requests: usize,
        max_bytes: u64,
    ) -> Option<Ticket<'_>> {
        let mut line = self.line.lock();
        if line.waiting.len() >= max_requests || line.bytes.saturating_add(bytes) > max_bytes {
            return None;
        }
        let position = (Reverse(priority), line.arrivals);
        line.arrivals += 1;
        line.bytes += bytes;
        let wake = Arc::new(Notify::new());
        line.waiting.insert(position, Arc::clone(&wake));
        self.len.store(line.waiting.len(), Release);
        Some(Ticket { queue: self, position, bytes, wake })
    }

    /// Lets the first in line try. Costs one load while nobody waits.
    pub(crate) fn wake_first(&self) {
        if self.len() == 0 {
            return;
        }
        if let Some((_, wake)) = self.line.lock().waiting.first_key_value() {
            wake.notify_one();
        }
    }
}

impl Ticket<'_> {
    /// Waits until the request may try.
    pub(crate) async fn turn(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line.lock();
        if line.waiting.remove(&self.position).is_some() {
            line.bytes -= self.bytes;
        }
        self.queue.len.store(line.waiting.len(), Release);
        drop(line);
        self.queue.wake_first();
    }
}
