//! The access log: one JSON line a request, written by a thread of its own.
//!
//! A request hands its entry over and goes on: it moves what it has anyway into a bounded queue, and a full queue
//! loses the entry and counts it. Turning an entry into text, and waiting for a slow disk or a pipe that nobody reads,
//! is the writer's business. The writer gathers entries for [`GATHER`] before it writes, so that a busy gateway wakes
//! it some twenty times a second and not once a request: a wake-up is a system call in the middle of the request path.
//!
//! Turned down: a task on the runtime, since writing to a pipe blocks; and `tracing`, whose layers format on the caller's
//! thread.
//!
//! What is never logged: bodies, prompts, credentials, headers other than those named in [`Entry`], and the query, in
//! which some clients put their key.

mod entry;
mod line;
mod writer;

pub use self::{
    entry::{Bill, Charged, Entry, Refused, Texts, Told, Tried, Upstream},
    line::Formatter,
    writer::Writer,
};

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::mpsc::{self, error::TrySendError};

use self::writer::Target;
use crate::metrics::AccessLogMetrics;

/// How long the writer gathers entries before it writes them.
pub const GATHER: Duration = Duration::from_millis(50);

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, and opened anew by [`AccessLog::reopen`].
    File(PathBuf),
}

/// Takes entries. Cloning it shares the queue.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: Option<mpsc::Sender<Message>>,
    orders: Arc<Orders>,
    metrics: AccessLogMetrics,
}

/// What the writer receives.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are entries, and the queue's slots are made as needed"
)]
enum Message {
    Entry(Entry),
    /// Nothing but a reason to look at the orders.
    Wake,
}

/// What the writer is to do besides writing.
#[derive(Debug, Default)]
struct Orders {
    reopen: AtomicBool,
    close: AtomicBool,
}

impl Sink {
    /// The sink that `accessLog.path` names: `stdout`, `stderr` or a file.
    pub fn from_path(path: &str) -> Self {
        match path {
            "stdout" => Self::Stdout,
            "stderr" => Self::Stderr,
            file => Self::File(file.into()),
        }
    }
}

impl AccessLog {
    /// Starts the writer. `queue_entries` bounds what waits for it; at least 1.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not started.
    pub fn start(sink: &Sink, queue_entries: usize, metrics: AccessLogMetrics) -> io::Result<(Self, Writer)> {
        let target = Target::open(sink)?;
        let (queue, received) = mpsc::channel(queue_entries.max(1));
        let orders = Arc::new(Orders::default());
        let writer =
            Writer::spawn(queue.downgrade(), received, target, Arc::clone(&orders), metrics.clone())?;
        let log = Self { queue: Some(queue), orders, metrics };
        Ok((log, writer))
    }

    /// A log that takes no entries.
    pub fn disabled() -> Self {
        Self { queue: None, orders: Arc::default(), metrics: AccessLogMetrics::default() }
    }

    /// Whether entries are taken: where not, none need be made.
    pub fn is_enabled(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands an entry over. Never waits: with a full queue the entry is lost and counted.
    pub fn record(&self, entry: Entry) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Closed(_)) = queue.try_send(Message::Entry(entry)) {
            self.metrics.queue_full.increment();
        }
    }

    /// Opens the file anew before the next line, after a log rotation moved it away.
    pub fn reopen(&self) {
        self.orders.reopen.store(true, Relaxed);
        if let Some(queue) = &self.queue {
            // A full queue wakes the writer as well.
            let _ = queue.try_send(Message::Wake);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
