//! Metrics by route, and the one place that records a request.

use std::{sync::Arc, time::Duration};

use penstock_tap::Usage;
use prometheus::Registry;

use super::{
    clock::StreamClock,
    family::Family,
    gen_ai::{GenAiCall, GenAiEnd},
    histogram::{Bounds, Histogram},
    upstreams::ModelMetrics,
    value::Counter,
};
use crate::error::{Error, Row};

/// The bounds that OpenTelemetry's conventions for generative AI advise for a request's duration, with 5 ms and 5
/// minutes at the ends, in microseconds.
const DURATION_BOUNDS: Bounds = &[
    5_000,
    10_000,
    20_000,
    40_000,
    80_000,
    160_000,
    320_000,
    640_000,
    1_280_000,
    2_560_000,
    5_120_000,
    10_240_000,
    20_480_000,
    40_960_000,
    81_920_000,
    163_840_000,
    300_000_000,
];

/// A status' first digit, as a label.
const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The families with a `route` label.
#[derive(Debug)]
pub(super) struct RequestFamilies {
    requests: Family<Counter>,
    durations: Family<Histogram>,
}

/// A route's metrics. Keep it with the route.
#[derive(Clone, Debug)]
pub(crate) struct RouteMetrics {
    name: Box<str>,
    requests: Family<Counter>,
    /// Requests that no error of ours ended, by class of status.
    answered: [Arc<Counter>; CLASSES.len()],
    duration: Arc<Histogram>,
}

/// All that is recorded of a request once it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement<'a> {
    /// The route; `None` where none was found.
    pub route: Option<&'a RouteMetrics>,
    /// The upstream's handle for the model; `None` where the request reached no upstream.
    pub model: Option<&'a ModelMetrics>,
    /// The status that the client got.
    pub status: u16,
    /// The error that the gateway answered or logged.
    pub error: Option<Row>,
    /// From the request's first byte to its settlement.
    pub duration: Duration,
    /// The response's rhythm, where it was streamed.
    pub stream: Option<&'a StreamClock>,
    /// The tokens counted.
    pub usage: Usage,
    /// What it asked of the model; `None` where the request reached no upstream.
    pub call: Option<GenAiCall<'a>>,
}

impl RequestFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            requests: Family::register(
                registry,
                "penstock_requests_total",
                "Requests by route, class of status, and the gateway's reason where it ended the request itself.",
                &["route", "status", "reason"],
                Counter::default,
            ),
            durations: Family::register(
                registry,
                "penstock_request_duration_seconds",
                "From a request's first byte to the end of its response, by route.",
                &["route"],
                || Histogram::new(DURATION_BOUNDS),
            ),
        }
    }

    pub(super) fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            name: name.into(),
            requests: self.requests.clone(),
            answered: CLASSES.map(|class| self.requests.get(&[name, class, ""])),
            duration: self.durations.get(&[name]),
        }
    }

    pub(super) fn retain(&self, is_kept: &dyn Fn(&str, &str) -> bool) {
        self.requests.retain(is_kept);
        self.durations.retain(is_kept);
    }
}

impl Settlement<'_> {
    /// Of a request whose header could not be read.
    pub(crate) fn unread(error: &Error) -> Self {
        let row = error.row();
        Self {
            route: None,
            model: None,
            status: row.status,
            error: Some(row),
            duration: Duration::ZERO,
            stream: None,
            usage: Usage::default(),
            call: None,
        }
    }

    pub(super) fn record(&self, unrouted: &RouteMetrics) {
        let route = self.route.unwrap_or(unrouted);
        let class = class(self.status);
        match self.error {
            None => route.answered[class].increment(),
            // The look-up costs a lock and three small strings, and errors of our own are rare or cheap to produce.
            Some(row) => route.requests.get(&[&route.name, CLASSES[class], row.reason]).increment(),
        }
        route.duration.observe(self.duration);
        if let Some(model) = self.model {
            let Self { status, error, duration, stream, ref usage, .. } = *self;
            model.record(self.call, GenAiEnd { status, error, duration, stream, usage });
        }
    }
}

fn class(status: u16) -> usize {
    let digit = usize::from(status / 100);
    if digit < CLASSES.len() { digit } else { 0 }
}
