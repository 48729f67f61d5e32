//! A record of what reached a server: counters, and the last requests with a hash of each body.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, Version, request::Parts};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Counters of one server since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests whose head arrived, on any path but `/health`, `/metrics` and `/sim/` (where `/sim/sink` counts).
    pub requests: u64,
    /// Requests answered to the last byte.
    pub completed: u64,
    /// Requests that ended before their answer did, mostly because the client left or a fault cut them.
    pub cancelled: u64,
    /// Requests being served now.
    pub in_flight: u64,
    /// Streaming answers under way now.
    pub running_streams: u64,
    /// Requests that a fault changed.
    pub faulted: u64,
    /// Requests for `/metrics`.
    pub scrapes: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// Number of the connection it came on, from 1.
    pub connection: u64,
    /// Method.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// `HTTP/1.1`, `HTTP/2.0`…
    pub version: String,
    /// How the body was delimited.
    pub framing: Framing,
    /// Headers in order of arrival; bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    pub body_bytes: u64,
    /// XXH64 (seed 0) of the body, 16 hexadecimal digits.
    pub body_xxh64: String,
    /// The body, where bodies are remembered; bytes that are not UTF-8 are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// How a request body was delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// No body.
    None,
    /// By `content-length`.
    Length,
    /// HTTP/1.1 chunks.
    Chunked,
    /// HTTP/2 without a length.
    Stream,
}

impl Framing {
    pub(crate) fn of(parts: &Parts, is_empty: bool) -> Self {
        if parts.headers.contains_key(http::header::CONTENT_LENGTH) {
            Self::Length
        } else if is_empty {
            Self::None
        } else if parts.version == Version::HTTP_2 {
            Self::Stream
        } else {
            Self::Chunked
        }
    }
}

impl RecordedRequest {
    /// The first value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) fn header_list(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect()
}

/// The hash under which bodies are reported: XXH64, seed 0, 16 hexadecimal digits.
#[must_use]
pub fn body_hash(body: &[u8]) -> String {
    hash_text(xxhash_rust::xxh64::xxh64(body, 0))
}

pub(crate) fn hash_text(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Counters and ring of one server.
#[derive(Debug)]
pub(crate) struct Record {
    counters: Counters,
    capacity: usize,
    seen: Mutex<VecDeque<RecordedRequest>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    completed: AtomicU64,
    cancelled: AtomicU64,
    in_flight: AtomicU64,
    running_streams: AtomicU64,
    faulted: AtomicU64,
    scrapes: AtomicU64,
    connections: AtomicU64,
    open_connections: AtomicU64,
}

impl Record {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            counters: Counters::default(),
            capacity,
            seen: Mutex::new(VecDeque::new()),
            changed: Notify::new(),
        }
    }

    /// Whether requests are remembered, and so bodies hashed.
    pub(crate) fn is_on(&self) -> bool {
        self.capacity > 0
    }

    pub(crate) fn push(&self, seen: RecordedRequest) {
        let mut ring = self.seen.lock();
        if ring.len() == self.capacity {
            ring.pop_front();
        }
        ring.push_back(seen);
    }

    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.seen.lock().iter().cloned().collect()
    }

    pub(crate) fn forget(&self) {
        self.seen.lock().clear();
    }

    pub(crate) fn stats(&self) -> Stats {
        let counters = &self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            requests: read(&counters.requests),
            completed: read(&counters.completed),
            cancelled: read(&counters.cancelled),
            in_flight: read(&counters.in_flight),
            running_streams: read(&counters.running_streams),
            faulted: read(&counters.faulted),
            scrapes: read(&counters.scrapes),
            connections: read(&counters.connections),
            open_connections: read(&counters.open_connections),
        }
    }

    /// Returns once `condition` holds.
    pub(crate) async fn until(&self, condition: impl Fn(&Stats) -> bool) -> Stats {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change in between is missed.
            changed.as_mut().enable();
            let stats = self.stats();
            if condition(&stats) {
                return stats;
            }
            changed.await;
        }
    }

    pub(crate) fn scraped(&self) {
        self.bump(&self.counters.scrapes);
    }

    pub(crate) fn faulted(&self) {
        self.bump(&self.counters.faulted);
    }

    /// Counts a connection and gives its number.
    pub(crate) fn connection_opened(&self) -> u64 {
        self.counters.open_connections.fetch_add(1, Ordering::Relaxed);
        let number = self.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
        self.changed.notify_waiters();
        number
    }

    pub(crate) fn connection_closed(&self) {
        self.counters.open_connections.fetch_sub(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
        InFlight { record: self.clone(), is_done: false, is_stream: false }
    }

    fn bump(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }
}

/// A request being served; dropped before [`InFlight::done`], it counts as cancelled.
#[derive(Debug)]
pub(crate) struct InFlight {
    record: Arc<Record>,
    is_done: bool,
    is_stream: bool,
}

impl InFlight {
    pub(crate) fn streams(&mut self) {
        if !self.is_stream {
            self.is_stream = true;
            self.record.counters.running_streams.fetch_add(1, Ordering::Relaxed);
            self.record.changed.notify_waiters();
        }
    }

    pub(crate) fn done(&mut self) {
        self.is_done = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let counters = &self.record.counters;
        let outcome = if self.is_done { &counters.completed } else { &counters.cancelled };
        outcome.fetch_add(1, Ordering::Relaxed);
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.is_stream {
            counters.running_streams.fetch_sub(1, Ordering::Relaxed);
        }
        self.record.changed.notify_waiters();
    }
}
