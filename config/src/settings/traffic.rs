//! Knobs of one routing rule.

use std::borrow::Cow;

use http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::knob::{Knob, Span, Timeout, knobs};

knobs! {
    /// Deadlines of a request. `0s` turns one off.
    pub struct Timeouts, raw RawTimeouts {
        /// From the request's head to the last byte of the response, over all attempts.
        request: Timeout = Timeout::secs(900), in "1ms"..="24h";
        /// From the start of one attempt to the first byte of its response. A further attempt may follow.
        per_try: Timeout = Timeout::OFF, in "1ms"..="24h";
        /// Between two pieces of a response. A stream that pauses longer is ended with an error event.
        stream_idle: Timeout = Timeout::secs(300), in "1ms"..="24h";
    }
}

knobs! {
    /// When a failed attempt is followed by another, on another endpoint where there is one. Never after the first
    /// byte of a response.
    pub struct RetryPolicy, raw RawRetry {
        /// The most attempts, the first included; 1 turns retries off.
        attempts: u32 = 3, in 1..=10;
        /// Statuses of a response that count as a failed attempt. 429 counts only while another endpoint is free; after
        /// the others an endpoint that is alone is asked again. 529 is how Anthropic says that it is overloaded.
        statuses: Statuses = Statuses(vec![429, 503, 529]);
        /// Further statuses after which a request that asks a model for something goes on to another target of its rule,
        /// if there is one, and never to another endpoint of the same. 401 and 403 count where the gateway shows a
        /// credential of its own.
        failover_statuses: Statuses =
            Statuses(vec![401, 403, 408, 424, 429, 500, 502, 503, 504, 529]);
        /// The most attempts at targets of one priority, after which the next priority is tried; 0 is as many as
        /// `attempts`.
        attempts_per_priority: u32 = 0, in 0..=10;
        /// How many retries there may be for each hundred requests. One at another target whose pool or backend has not
        /// failed the request is not counted.
        budget_percent: u32 = 20, in 0..=100;
        /// How many retries a second there may be whatever the traffic.
        min_retries_per_second: u32 = 10, in 0..=10_000;
        /// The longest wait before the second attempt; each further attempt doubles it. A first attempt that could
        /// not connect is followed at once.
        backoff: Span = Span::ms(25), in "0s"..="1m";
        /// The longest wait before any attempt.
        max_backoff: Span = Span::secs(60), in "0s"..="1h";
        /// Whether an attempt counts as failed whose request was sent and not answered: its connection broke, or
        /// `timeouts.perTry` was over. One that could not connect always does.
        unanswered: bool = true;
        /// Whether status and headers of a response are held back until its first content has come. An upstream that
        /// fails right after its 200 then counts as a failed attempt. The client hears nothing before.
        until_content: bool = false;
        /// The longest that a response is held back for its content, be it by `untilContent` or to be translated. Then it
        /// is passed on as far as it is there.
        hold_timeout: Span = Span::secs(30), in "1ms"..="1h";
    }
}

/// HTTP statuses of errors, as the document writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statuses(pub Vec<u16>);

/// A set of HTTP statuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusSet(Box<[u16]>);

impl StatusSet {
    /// A set of these statuses.
    pub fn new(statuses: impl IntoIterator<Item = u16>) -> Self {
        let mut statuses: Vec<u16> = statuses.into_iter().collect();
        statuses.sort_unstable();
        statuses.dedup();
        Self(statuses.into())
    }

    /// Whether a status is in it.
    pub fn contains(&self, status: StatusCode) -> bool {
        self.0.binary_search(&status.as_u16()).is_ok()
    }

    /// The statuses, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }
}

impl Knob for Statuses {
    type Value = StatusSet;

    fn value(&self) -> StatusSet {
        StatusSet::new(self.0.iter().copied())
    }
}

impl JsonSchema for Statuses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": { "type": "integer", "minimum": 400, "maximum": 599 },
            "maxItems": 64,
        })
    }
}
