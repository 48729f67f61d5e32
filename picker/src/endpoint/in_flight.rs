//! Accounts for one request at one endpoint.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Endpoint;

/// Characters (bytes) of a prompt in a token, on average; the figure that the endpoint picker's estimate uses too.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;
/// Tokens that an answer is taken to have where the request does not say.
const UNKNOWN_ANSWER_TOKENS: u64 = 256;
/// Most tokens that an answer is taken to have: clients set limits far above what models then say.
const MAX_ANSWER_TOKENS: u64 = 1024;
/// A new latency weighs 1/8 in the moving average, as in TCP's round-trip estimate (RFC 6298).
const EWMA_SHIFT: u32 = 3;

/// Accounts for one request at one endpoint; settles exactly once, by [`InFlight::finish`] or when dropped.
#[derive(Debug)]
pub struct InFlight {
    endpoint: Arc<Endpoint>,
    tokens: u64,
    /// Prompt tokens to be computed; 0 once the answer has begun.
    prefill: u64,
    /// On the pool's clock.
    started_ns: u64,
    has_first_byte: bool,
    is_probe: bool,
    is_settled: bool,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered, with whatever status but those below.
    Served,
    /// The endpoint could not be reached, broke off, ran into a timeout, or answered 500, 502 or 504.
    Failed,
    /// The endpoint said that it has no room (429, 503).
    Overloaded,
    /// The client went away first.
    Cancelled,
}

/// Requests that an endpoint was sent since it joined, by outcome, and its latency.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) served: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) overloaded: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    /// Moving average of the time to the first byte in microseconds; 0 before the first.
    pub(crate) first_byte_us: AtomicU64,
}

/// Estimated tokens of a request: prompt and answer.
pub(crate) fn estimate_tokens(prompt_bytes: u64, max_tokens: Option<u64>) -> u64 {
    let answer = max_tokens.unwrap_or(UNKNOWN_ANSWER_TOKENS).min(MAX_ANSWER_TOKENS);
    (prompt_bytes / BYTES_PER_TOKEN).saturating_add(answer)
}

impl InFlight {
    pub(super) fn start(endpoint: Arc<Endpoint>, tokens: u64, prefill: u64, is_probe: bool) -> Self {
        endpoint.load.enter(tokens);
        endpoint.load.begin_prefill(prefill);
        endpoint.wake().request_sent();
        let started_ns = endpoint.shared.now_ns();
        Self { endpoint, tokens, prefill, started_ns, has_first_byte: false, is_probe, is_settled: false }
    }

    /// Notes that the first byte of the response arrived. Only the first call counts.
    pub fn first_byte(&mut self) {
        if self.has_first_byte {
            return;
        }
        self.has_first_byte = true;
        self.endpoint.load.end_prefill(std::mem::take(&mut self.prefill));
        let took_ns = self.endpoint.shared.now_ns().saturating_sub(self.started_ns);
        let took_us = (took_ns / 1000).max(1);
        let average = &self.endpoint.totals.first_byte_us;
        // Two requests that settle at once may lose one of the two updates; an average does not mind.
        let next = match average.load(Relaxed) {
            0 => took_us,
            old => old - (old >> EWMA_SHIFT) + (took_us >> EWMA_SHIFT),
        };
        average.store(next.max(1), Relaxed);
    }

    /// Settles the request.
    pub fn finish(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        let endpoint = &self.endpoint;
        endpoint.load.leave(self.tokens);
        endpoint.load.end_prefill(std::mem::take(&mut self.prefill));

        let totals = &endpoint.totals;
        let counter = match outcome {
            Outcome::Served => &totals.served,
            Outcome::Failed => &totals.failed,
            Outcome::Overloaded => &totals.overloaded,
            Outcome::Cancelled => &totals.cancelled,
        };
        counter.fetch_add(1, Relaxed);

        let (breaker, shared) = (&endpoint.breaker, &endpoint.shared);
        match outcome {
            // An endpoint that says that it is full is alive.
            Outcome::Served | Outcome::Overloaded => {
                breaker.succeed(self.is_probe, shared.now_ns(), &shared.quota);
            }
            Outcome::Failed => {
                breaker.fail(self.is_probe, shared.now_ns(), &shared.ejection.load(), &shared.quota);
            }
            Outcome::Cancelled => breaker.abandon(self.is_probe),
        }
        shared.queue.wake_first();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.settle(Outcome::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::estimate_tokens;

    #[test]
    fn tokens_are_estimated_from_prompt_and_limit() {
        assert_eq!(estimate_tokens(400, Some(10)), 110);
        assert_eq!(estimate_tokens(400, None), 356);
        assert_eq!(estimate_tokens(0, Some(u64::MAX)), 1024);
        assert_eq!(estimate_tokens(u64::MAX, Some(u64::MAX)), u64::MAX / 4 + 1024);
    }
}
