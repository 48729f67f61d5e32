//! A connection, as the requests on it see it: faults end it from within.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its number, from 1.
    pub(crate) number: u64,
    is_reset: AtomicBool,
    cut: Notify,
}

impl Connection {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, is_reset: AtomicBool::new(false), cut: Notify::new() }
    }

    /// Resets the connection (RST).
    pub(crate) fn reset(&self) {
        self.is_reset.store(true, Ordering::Release);
        self.cut.notify_one();
    }

    /// Closes the connection in order (FIN).
    pub(crate) fn close(&self) {
        self.cut.notify_one();
    }

    /// Whether it ends with RST instead of FIN.
    pub(crate) fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::Acquire)
    }

    /// Returns once it is to end.
    pub(crate) async fn ended(&self) {
        self.cut.notified().await;
    }
}
