//! How backends are asked whether they are well, and which runs of failures say that they are not.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::knob::{Knob, Span, knobs, plain_knob};
use crate::settings::StatusSet;

/// How an endpoint is asked whether it is well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum HealthCheckKind {
    /// By a request.
    #[default]
    Http,
    /// By a connection, with its TLS handshake where there is TLS.
    Tcp,
}

/// The method by which an endpoint is asked whether it is well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthCheckMethod {
    /// `GET`.
    #[default]
    Get,
    /// `HEAD`.
    Head,
    /// `OPTIONS`.
    Options,
    /// `POST`, without a body.
    Post,
}

/// Statuses of answers that say that an endpoint is well, as the document writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthyStatuses(pub Vec<u16>);

knobs! {
    /// Active health checks of a backend's endpoints.
    pub struct HealthCheckSpec, raw RawHealthCheck {
        /// How they are asked.
        kind: HealthCheckKind = HealthCheckKind::Http;
        /// The method of the request.
        method: HealthCheckMethod = HealthCheckMethod::Get;
        /// What the request's `Host` says, where that is not the endpoint's own.
        host: String = String::new();
        /// The path asked for.
        path: String = "/health".to_owned();
        /// The statuses that are healthy. None: 200 to 299.
        statuses: HealthyStatuses = HealthyStatuses::default();
        /// What the body of a healthy answer contains.
        contains: String = String::new();
        /// The time between two checks of an endpoint.
        interval: Span = Span::secs(5), in "100ms"..="1h";
        /// How long a check may take.
        timeout: Span = Span::secs(1), in "10ms"..="5m";
        /// How many failures in a row make an endpoint unhealthy.
        unhealthy_threshold: u32 = 3, in 1..=100;
        /// How many successes in a row make it healthy again.
        healthy_threshold: u32 = 1, in 1..=100;
    }
}

knobs! {
    /// Runs of failures that eject an endpoint of a backend, by kind and beside `ejection.consecutiveFailures`; for how long
    /// and how many of them is as `ejection` says. An answer of another kind ends a run. 0 turns each off.
    pub struct FailureRuns, raw RawFailureRuns {
        /// Answers of 500 to 599.
        server_errors: u32 = 0, in 0..=1_000_000;
        /// Answers of 502, 503 and 504.
        gateway_errors: u32 = 0, in 0..=1_000_000;
        /// Attempts without a whole answer: no connection, one that broke, time that was up.
        unanswered: u32 = 0, in 0..=1_000_000;
        /// Whether attempts without an answer count as `unanswered` alone, and not as both kinds of errors too.
        is_unanswered_apart: bool = false;
    }
}

impl HealthCheckMethod {
    /// The method as requests have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
            Self::Post => "POST",
        }
    }
}

impl Knob for HealthyStatuses {
    type Value = StatusSet;

    fn value(&self) -> StatusSet {
        StatusSet::new(self.0.iter().copied())
    }
}

impl JsonSchema for HealthyStatuses {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HealthyStatuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": { "type": "integer", "minimum": 200, "maximum": 599 },
            "maxItems": 64,
        })
    }
}

plain_knob!(HealthCheckKind, HealthCheckMethod);
