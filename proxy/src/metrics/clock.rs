//! The rhythm of a streamed response.

use std::time::Duration;

use tokio::time::Instant;

use super::histogram::{Bounds, LocalHistogram};

/// The bounds that OpenTelemetry's conventions for generative AI advise for the time per output token, and 1, 2 and 5 ms, in microseconds.
pub(super) const INTER_TOKEN_BOUNDS: Bounds = &[
    1_000, 2_000, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 300_000, 400_000,
    500_000, 750_000, 1_000_000, 2_500_000,
];

/// The rhythm of a streamed response: time to the first token and gaps between tokens.
///
/// The gaps are gathered here and recorded with the request, so that a token costs no shared memory. The price: a
/// stream that runs for minutes shows up in the histogram when it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamClock {
    started: Instant,
    first: Option<Instant>,
    last: Instant,
    gaps: LocalHistogram,
}

impl StreamClock {
    /// Starts at the request's first byte.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, first: None, last: started, gaps: LocalHistogram::new(INTER_TOKEN_BOUNDS) }
    }

    /// Notes that `events` events with content arrived at `now`. Several at once share the gap before them equally.
    pub(crate) fn content(&mut self, now: Instant, events: u32) {
        if events == 0 {
            return;
        }
        let gap = now.saturating_duration_since(self.last);
        if self.first.is_some() {
            self.gaps.observe(gap / events, events);
        } else {
            self.first = Some(now);
            self.gaps.observe(Duration::ZERO, events - 1);
        }
        self.last = now;
    }

    /// From the request's first byte to the first event with content.
    pub(crate) fn time_to_first_token(&self) -> Option<Duration> {
        Some(self.first?.saturating_duration_since(self.started))
    }

    /// The gaps between tokens.
    pub(crate) fn gaps(&self) -> &LocalHistogram {
        &self.gaps
    }
}
