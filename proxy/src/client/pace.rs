//! How fast a client has to send its body.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// What a client has to send at least within `limits.bodyIdleTimeout`, in bytes, unless the body ends first.
const STRETCH_BYTES: usize = 1024;

/// A client that has sent much has to go on faster, as it takes up more memory: it has to send this part of it.
const STRETCH_SHARE: usize = 64;

/// How fast the client sends its body. A byte now and then is no progress: it would hold a request's place for days.
pub(super) struct Pace {
    /// How long the whole body may take.
    limit: Duration,
    /// When it has to be there, once it was asked for.
    ends: Option<Instant>,
    /// When the current stretch of the body has to be there, once it began.
    due: Option<Instant>,
    /// Bytes of it that are.
    bytes: usize,
    /// Bytes of the whole body that are.
    total: usize,
}

impl Pace {
    /// Of a body that may take `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, ends: None, due: None, bytes: 0, total: 0 }
    }

    /// Waits for `read`, where the next stretch may take `limit`.
    ///
    /// # Errors
    /// The body, or this stretch of it, takes too long.
    pub(super) async fn within<T>(
        &mut self,
        limit: Duration,
        read: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let now = Instant::now();
        let ends = *self.ends.get_or_insert(now + self.limit);
        let due = *self.due.get_or_insert(now + limit);
        let read = pingora_timeout::timeout(due.min(ends).saturating_duration_since(now), read).await;
        read.map_err(|_elapsed| if ends <= due { Error::BodyTimeout } else { Error::BodyIdle })
    }

    /// Notes bytes that have come.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.total += bytes;
        if self.bytes >= STRETCH_BYTES.max(self.total / STRETCH_SHARE) {
            (self.due, self.bytes) = (None, 0);
        }
    }
}
