//! Ends an idle endpoint's pause when something is sent to it.
//!
//! Requests are far more frequent than scrapes, so they pay next to nothing: one load of a flag that almost
//! always says no. A timer that polls a counter would cost every idle endpoint wake-ups all the time; a
//! [`Notify`] alone would cost every request an atomic exchange.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Where requests and the scrape loop meet; a part of every endpoint.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    is_pausing: AtomicBool,
    notify: Notify,
}

impl Wake {
    /// Tells the scrape loop that a request was sent.
    #[inline]
    pub(crate) fn request_sent(&self) {
        if self.is_pausing.load(Ordering::SeqCst) && self.is_pausing.swap(false, Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }

    /// Waits for the next request. It is for the caller to look, after the first poll, for one that was sent
    /// just before: see [`Wake::begin_pause`].
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// From now on requests wake. Whoever counts a request in *before* [`Wake::request_sent`], and looks at
    /// that count *after* this call, misses none.
    pub(crate) fn begin_pause(&self) {
        self.is_pausing.store(true, Ordering::SeqCst);
    }

    /// From now on requests wake no more.
    pub(crate) fn end_pause(&self) {
        self.is_pausing.store(false, Ordering::Relaxed);
    }
}
