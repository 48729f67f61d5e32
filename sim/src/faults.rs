//! Faults that a server shows on demand, changed while it runs.
//!
//! A fault names what happens, to which requests and how often. The first fault in the list that applies
//! decides, so a test scripts a sequence by listing it. Without a path, a fault concerns inference requests and
//! `/sim/sink` only: what a test says about the model should not fail the scrape that it depends on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{options::FailureType, text::draw};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Answer with this status once the body was read.
    Status {
        /// HTTP status, 200 to 599.
        code: u16,
        /// Value of `retry-after`, in seconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    /// Answer with this status as soon as the head arrived, the body unread.
    EarlyStatus {
        /// HTTP status, 200 to 599.
        code: u16,
    },
    /// Answer with one of the failures of `--failure-types`.
    Failure {
        /// Which one; none draws from the configured kinds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<FailureType>,
    },
    /// Wait before going on; faults further down the list still apply.
    Delay {
        /// Milliseconds to wait.
        ms: u64,
    },
    /// Read the request and never answer.
    Hang,
    /// Never read the body and never answer.
    HangBeforeBody,
    /// Read the request, then reset the connection (RST).
    Reset,
    /// Reset the connection (RST) as soon as the head arrived.
    ResetBeforeBody,
    /// Read the request, then close the connection in order, unanswered.
    Close,
    /// Reset the connection (RST) in the middle of the response.
    ResetAfter {
        /// Body chunks (SSE events) to send first. The head is always sent.
        chunks: u64,
    },
    /// End the body early: over HTTP/1.1 the connection closes, over HTTP/2 the stream is reset.
    CloseAfter {
        /// Body chunks (SSE events) to send first.
        chunks: u64,
    },
    /// Go silent in the middle of the response.
    HangAfter {
        /// Body chunks (SSE events) to send first.
        chunks: u64,
    },
    /// Answer 200 with bytes that mean nothing.
    Garbage {
        /// Length of the body.
        bytes: u64,
    },
    /// Answer 200 with well-formed metric lines that nobody asked for.
    Flood {
        /// Length of the body, at least.
        bytes: u64,
    },
    /// Send the response's body a piece at a time.
    Drip {
        /// Length of a piece.
        bytes: u64,
        /// Milliseconds between pieces.
        ms: u64,
    },
}

/// An action, with the requests it applies to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub action: Action,
    /// How many requests it happens to; none means all, until it is taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// Share of the requests it happens to, 0 to 1; none means each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Prefix of the paths it applies to; none means inference paths and `/sim/sink`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Fault {
    /// `action` on every inference request.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self { action, times: None, rate: None, path: None }
    }

    /// Answer with `code`.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::new(Action::Status { code, retry_after_s: None })
    }

    /// Wait for `delay` (whole milliseconds).
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self::new(Action::Delay { ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) })
    }

    /// Only for the next `times` requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only for this share of the requests, 0 to 1.
    #[must_use]
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Only for paths that start with `prefix`.
    #[must_use]
    pub fn path(mut self, prefix: &str) -> Self {
        self.path = Some(prefix.to_owned());
        self
    }
}

/// The faults of one server; clones share them.
#[derive(Clone, Debug)]
pub struct Faults {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    is_any: AtomicBool,
    list: Mutex<Vec<Fault>>,
    rolls: AtomicU64,
    seed: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(Inner {
                is_any: AtomicBool::new(false),
                list: Mutex::new(Vec::new()),
                rolls: AtomicU64::new(0),
                seed,
            }),
        }
    }

    /// Replaces all faults.
    pub fn set(&self, faults: Vec<Fault>) {
        let mut list = self.inner.list.lock();
        *list = faults;
        self.inner.is_any.store(!list.is_empty(), Ordering::Release);
    }

    /// Adds a fault behind the others.
    pub fn push(&self, fault: Fault) {
        let mut list = self.inner.list.lock();
        list.push(fault);
        self.inner.is_any.store(true, Ordering::Release);
    }

    /// Takes all faults away. Requests that already hang stay so.
    pub fn clear(&self) {
        self.set(Vec::new());
    }

    /// The faults still in force.
    #[must_use]
    pub fn list(&self) -> Vec<Fault> {
        self.inner.list.lock().clone()
    }

    /// What happens to a request for `path`; uses up a count. `is_inference` says whether faults without a path
    /// concern it.
    pub(crate) fn verdict(&self, path: &str, is_inference: bool) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.inner.is_any.load(Ordering::Acquire) {
            return verdict;
        }
        let mut list = self.inner.list.lock();
        for fault in list.iter_mut() {
            let applies = fault.path.as_deref().map_or(is_inference, |prefix| path.starts_with(prefix));
            if !applies || fault.times == Some(0) || !self.roll(fault.rate) {
                continue;
            }
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            if let Action::Delay { ms } = fault.action {
                verdict.delay += Duration::from_millis(ms);
                continue;
            }
            verdict.action = Some(fault.action.clone());
            break;
        }
        list.retain(|fault| fault.times != Some(0));
        self.inner.is_any.store(!list.is_empty(), Ordering::Release);
        verdict
    }

    fn roll(&self, rate: Option<f64>) -> bool {
        let Some(rate) = rate else { return true };
        ((self.draw() >> 11) as f64) / ((1_u64 << 53) as f64) < rate
    }

    /// A number that looks random, the next of the server's seed.
    pub(crate) fn draw(&self) -> u64 {
        draw(self.inner.seed, self.inner.rolls.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the faults decided about one request.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) delay: Duration,
    pub(crate) action: Option<Action>,
}

#[cfg(test)]
mod tests;
