//! The thread that writes the lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
};

use tokio::sync::mpsc::{Receiver, WeakSender};

use super::{Formatter, GATHER, Message, Orders, Sink};
use crate::metrics::AccessLogMetrics;

/// When this much text has gathered it is written, in bytes.
const FLUSH_BYTES: usize = 256 * 1024;

/// The writer's thread.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    queue: WeakSender<Message>,
    orders: Arc<Orders>,
}

/// An open [`Sink`].
#[derive(Debug)]
pub(super) enum Target {
    Stdout,
    Stderr,
    File { path: PathBuf, file: File },
}

/// What the thread owns.
struct Work {
    received: Receiver<Message>,
    target: Target,
    orders: Arc<Orders>,
    metrics: AccessLogMetrics,
    formatter: Formatter,
    text: Vec<u8>,
    entries: u64,
}

impl Writer {
    pub(super) fn spawn(
        queue: WeakSender<Message>,
        received: Receiver<Message>,
        target: Target,
        orders: Arc<Orders>,
        metrics: AccessLogMetrics,
    ) -> io::Result<Self> {
        let work = Work {
            received,
            target,
            orders: Arc::clone(&orders),
            metrics,
            formatter: Formatter::default(),
            text: Vec::new(),
            entries: 0,
        };
        let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || work.run())?;
        Ok(Self { thread, queue, orders })
    }

    /// Takes no more entries, writes those that are queued and ends the thread.
    pub fn close(self) {
        self.orders.close.store(true, Relaxed);
        if let Some(queue) = self.queue.upgrade() {
            // A full queue wakes the writer as well.
            let _ = queue.try_send(Message::Wake);
        }
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the access log's writer panicked");
        }
    }
}

impl Work {
    fn run(mut self) {
        while let Some(message) = self.received.blocking_recv() {
            self.append(&message);
            if !self.orders.close.load(Relaxed) {
                thread::park_timeout(GATHER);
            }
            while let Ok(message) = self.received.try_recv() {
                self.append(&message);
                if self.text.len() >= FLUSH_BYTES {
                    self.flush();
                }
            }
            self.flush();
            // Read after the queue was emptied: the message that came with the order may have been among the last.
            if self.orders.close.load(Relaxed) {
                self.received.close();
            }
        }
    }

    fn append(&mut self, message: &Message) {
        if let Message::Entry(entry) = message {
            self.formatter.write(entry, &mut self.text);
            self.entries += 1;
        }
    }

    fn flush(&mut self) {
        if self.orders.reopen.swap(false, Relaxed)
            && let Err(error) = self.target.reopen()
        {
            tracing::error!(%error, "the access log could not be reopened; the old file is written on");
        }
        let entries = std::mem::take(&mut self.entries);
        match self.target.write(&self.text) {
            Ok(()) => self.metrics.written.add(entries),
            Err(error) => {
                self.metrics.write_failed.add(entries);
                tracing::warn!(%error, entries, "access log entries could not be written");
            }
        }
        self.text.clear();
    }
}

impl Target {
    pub(super) fn open(sink: &Sink) -> io::Result<Self> {
        match sink {
            Sink::Stdout => Ok(Self::Stdout),
            Sink::Stderr => Ok(Self::Stderr),
            Sink::File(path) => Ok(Self::File { file: append_to(path)?, path: path.clone() }),
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            *file = append_to(path)?;
        }
        Ok(())
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(text),
            Self::File { file, .. } => file.write_all(text),
        }
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
