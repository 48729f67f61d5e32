//! The bounded queue in front of a full pool.
//!
//! Requests wait in order of priority. Within one, those who ask take turns: each request of somebody is a round behind the
//! one before, and within a round the order is that of arrival, so that a thousand requests of one do not keep another's
//! first one waiting. The rounds begin at that of the first in line, so nothing has to be remembered of those who do not
//! wait any more. Whatever may have made room (a request that ended, a new sample, a changed pool) wakes the first in line,
//! who tries to pick; succeeding or giving up, it leaves the queue and thereby wakes the next. A waiter is only an entry in
//! the queue and a future: dropping the future is enough to give the place up, at any moment.

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
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

/// Higher priorities first, then by round, then in order of arrival.
type Position = (Reverse<i32>, u64, u64);

/// Whose requests take turns with others': a priority, and who asks.
type Flow = (i32, Box<str>);

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
    flow: Flow,
    bytes: u64,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<Position, Arc<Notify>>,
    /// Of those who wait: how many requests of theirs do, and the round of the last.
    flows: FxHashMap<Flow, (usize, u64)>,
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
            && self.line.lock().waiting.keys().next().is_some_and(|(Reverse(first), ..)| *first >= priority)
    }

    /// Queues a request of `consumer` up; `None` if there is no room for another request or for its bytes.
    pub(crate) fn join(
        &self,
        priority: i32,
        consumer: &str,
        bytes: u64,
        max_requests: usize,
        max_bytes: u64,
    ) -> Option<Ticket<'_>> {
        let mut line = self.line.lock();
        if line.waiting.len() >= max_requests || line.bytes.saturating_add(bytes) > max_bytes {
            return None;
        }
        let flow = (priority, Box::from(consumer));
        let position = (Reverse(priority), line.next_round(&flow), line.arrivals);
        line.arrivals += 1;
        line.bytes += bytes;
        let wake = Arc::new(Notify::new());
        line.waiting.insert(position, Arc::clone(&wake));
        self.len.store(line.waiting.len(), Release);
        Some(Ticket { queue: self, position, flow, bytes, wake })
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

impl Line {
    /// The round of one more request of that flow.
    fn next_round(&mut self, flow: &Flow) -> u64 {
        let priority = Reverse(flow.0);
        let first = self.waiting.range((priority, 0, 0)..=(priority, u64::MAX, u64::MAX)).next();
        let now = first.map_or(0, |((_, round, _), _)| *round);
        let (waiting, last) = self.flows.entry(flow.clone()).or_insert((0, 0));
        let round = if *waiting == 0 { now } else { now.max(*last + 1) };
        (*waiting, *last) = (*waiting + 1, round);
        round
    }

    fn leave(&mut self, flow: &Flow) {
        if let Some((waiting, _)) = self.flows.get_mut(flow) {
            *waiting -= 1;
            if *waiting == 0 {
                self.flows.remove(flow);
            }
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
            line.leave(&self.flow);
        }
        self.queue.len.store(line.waiting.len(), Release);
        drop(line);
        self.queue.wake_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those who wait, first in line first, as the queue lets them try.
    fn order(tickets: Vec<(&'static str, Ticket<'_>)>) -> Vec<&'static str> {
        let mut tickets = tickets;
        tickets.sort_by_key(|(_, ticket)| ticket.position);
        tickets.into_iter().map(|(name, _)| name).collect()
    }

    fn join<'a>(queue: &'a WaitQueue, asks: &[(&'static str, i32, &str)]) -> Vec<(&'static str, Ticket<'a>)> {
        asks.iter().map(|(name, at, of)| (*name, queue.join(*at, of, 1, 99, 99).unwrap())).collect()
    }

    #[test]
    fn those_of_one_priority_take_turns_and_a_higher_one_goes_first() {
        let queue = WaitQueue::default();
        let asks = [("a1", 0, "a"), ("a2", 0, "a"), ("a3", 0, "a"), ("b1", 0, "b"), ("c1", 1, "c")];
        let mut tickets = join(&queue, &asks);
        tickets.extend(join(&queue, &[("b2", 0, "b"), ("d1", 0, "d"), ("c2", 1, "c")]));
        assert_eq!(order(tickets), ["c1", "c2", "a1", "b1", "d1", "a2", "b2", "a3"]);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        assert!(queue.line.lock().flows.is_empty(), "nothing is left of who waited");
    }

    #[test]
    fn nobody_asks_as_if_it_were_one_and_in_order_of_arrival() {
        let queue = WaitQueue::default();
        let tickets = join(&queue, &[("1", 0, ""), ("2", 0, ""), ("3", 0, ""), ("4", 0, "")]);
        assert_eq!(order(tickets), ["1", "2", "3", "4"]);
    }

    /// Somebody who sends the next request as soon as one is served waits for a turn of each other one, and no longer.
    #[test]
    fn who_comes_back_gets_no_turn_twice_and_none_is_lost() {
        let queue = WaitQueue::default();
        let mut many = join(&queue, &[("a", 0, "a"); 50]);
        let mut served = Vec::new();
        let mut back = queue.join(0, "b", 1, 99, 99).unwrap();
        for _ in 0..20 {
            let at = many.iter().map(|(_, ticket)| ticket.position).enumerate().min_by_key(|(_, at)| *at);
            let (index, first) = at.unwrap();
            if first < back.position {
                drop(many.remove(index));
                served.push("a");
            } else {
                drop(back);
                served.push("b");
                back = queue.join(0, "b", 1, 99, 99).unwrap();
            }
        }
        assert_eq!(served, ["a", "b"].repeat(10));
    }
}
