//! The table: what each [`Error`] is to the client, to the metrics and to the next attempt.
//!
//! Who is to blame decides the status. The client: 4xx, and 429 where it used up what policies let it have. A model server
//! that is busy: 429, which clients' libraries take as "wait and try again". The gateway's own limits and a pool without endpoints: 503. A model server that
//! answered badly or not at all: 502 and 504.

use std::time::Duration;

use penstock_peek::PeekError;

use super::{Error, Limit};

/// What the table says about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The HTTP status; 499 is logged and never sent.
    pub status: u16,
    /// The `code` of an OpenAI error.
    pub code: &'static str,
    /// The metric's `reason` label: the variant's name in snake case.
    pub reason: &'static str,
    /// Where the error was born.
    pub origin: Origin,
    /// The limit that was hit.
    pub limit: Option<Limit>,
    /// Whether another endpoint may be tried, as long as no byte of a response has been sent.
    pub is_retryable: bool,
    /// Whether it is a target that cannot do what is asked, before anything was sent: another one may.
    pub is_of_target: bool,
    /// Whether the client's connection must be closed, because what follows on it cannot be trusted or read.
    pub closes_connection: bool,
}

/// Where an [`Error`] was born.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The client sent it, or left.
    Client,
    /// The gateway decided it.
    Gateway,
    /// A model server caused it.
    Upstream,
}

impl Error {
    /// This error's row of the table.
    #[rustfmt::skip]
    pub(crate) fn row(&self) -> Row {
        use Origin::{Client, Gateway, Upstream};
        match self {
            Self::AmbiguousFraming(_) => Row::new(Client, 400, "bad_request", "ambiguous_framing").closes(),
            Self::BadTarget(_) => Row::new(Client, 400, "bad_request", "bad_target").closes(),
            Self::BadHost(_) => Row::new(Client, 400, "bad_request", "bad_host").closes(),
            Self::Misdirected { .. } => Row::new(Client, 421, "misdirected_request", "misdirected"),
            Self::BadHeader(_) => Row::new(Client, 400, "bad_request", "bad_header").closes(),
            Self::Underscore { .. } => Row::new(Client, 400, "bad_request", "underscore"),
            Self::HeadersTooLarge { .. } => Row::new(Client, 431, "headers_too_large", "headers_too_large").limit(Limit::HeaderBytes).closes(),
            Self::TooManyHeaders { .. } => Row::new(Client, 431, "headers_too_large", "too_many_headers").limit(Limit::HeaderCount).closes(),
            Self::HeaderTimeout => Row::new(Client, 408, "request_timeout", "header_timeout").limit(Limit::HeaderTimeout).closes(),
            Self::BodyTooLarge { .. } => Row::new(Client, 413, "request_too_large", "body_too_large").limit(Limit::BodyBytes).closes(),
            Self::RuleBodyTooLarge { .. } => Row::new(Client, 413, "request_too_large", "rule_body_too_large").limit(Limit::RuleBodyBytes).closes(),
            Self::BodyIdle => Row::new(Client, 408, "request_timeout", "body_idle").limit(Limit::BodyIdleTimeout).closes(),
            Self::BodyTimeout => Row::new(Client, 408, "request_timeout", "body_timeout").limit(Limit::BodyTimeout).closes(),
            Self::BrokenBody(_) => Row::new(Client, 400, "bad_request", "broken_body").closes(),
            Self::Body(error) => body_row(error),
            Self::DecodeTimeout => Row::new(Client, 413, "request_too_large", "decode_timeout").limit(Limit::DecodeTimeout),
            Self::Untranslatable(_) => Row::new(Client, 400, "unsupported_request", "untranslatable").of_target(),
            Self::Unserved(_) => Row::new(Client, 404, "unsupported_api", "unserved").of_target(),
            Self::ClientCredential(_) => Row::new(Client, 401, "invalid_api_key", "client_credential"),
            Self::Unauthenticated(_) => Row::new(Client, 401, "invalid_api_key", "unauthenticated"),
            Self::Forbidden { .. } => Row::new(Client, 403, "permission_denied", "forbidden"),
            Self::LoginFailed { .. } => Row::new(Client, 401, "login_failed", "login_failed"),
            Self::UnknownClient => Row::new(Client, 403, "permission_denied", "unknown_client"),
            Self::ModelNotAllowed { .. } => Row::new(Client, 403, "model_not_allowed", "model_not_allowed"),
            Self::CheckDenied { .. } => Row::new(Client, 403, "permission_denied", "check_denied"),
            Self::CheckBodyTooLarge { .. } => Row::new(Client, 413, "request_too_large", "check_body_too_large").limit(Limit::CheckBodyBytes),
            Self::RateLimited(_) => Row::new(Client, 429, "rate_limit_exceeded", "rate_limited"),
            Self::BudgetExhausted(_) => Row::new(Client, 429, "insufficient_quota", "budget_exhausted"),
            Self::NeverFits(_) => Row::new(Client, 400, "request_exceeds_limit", "never_fits"),
            Self::NothingToCountBy(_) => Row::new(Client, 403, "permission_denied", "nothing_to_count_by"),
            Self::StreamCut(_) => Row::new(Client, 429, "rate_limit_exceeded", "stream_cut"),
            Self::MissingModel => Row::new(Client, 400, "missing_model", "missing_model"),
            Self::UnknownModel { .. } => Row::new(Client, 404, "model_not_found", "unknown_model"),
            Self::NoRoute { .. } => Row::new(Client, 404, "unknown_url", "no_route"),
            Self::NoModel { .. } => Row::new(Client, 404, "unknown_url", "no_model"),
            Self::Loop { .. } => Row::new(Gateway, 508, "loop_detected", "loop").limit(Limit::Hops),
            Self::WebSocket => Row::new(Gateway, 501, "unsupported_protocol", "web_socket").closes(),
            Self::MethodNotAllowed { .. } => Row::new(Client, 405, "method_not_supported", "method_not_allowed"),
            Self::ExpectationFailed => Row::new(Client, 417, "expectation_failed", "expectation_failed").closes(),
            Self::ClientGone => Row::new(Client, 499, "client_gone", "client_gone").closes(),
            Self::FrameFlood => Row::new(Client, 499, "frame_flood", "frame_flood").limit(Limit::Http2ControlFrames).closes(),
            Self::WriteTimeout => Row::new(Client, 499, "write_timeout", "write_timeout").limit(Limit::WriteTimeout).closes(),

            Self::BodyMemoryExhausted => Row::new(Gateway, 503, "overloaded", "body_memory_exhausted").limit(Limit::BodiesInFlightBytes),
            Self::BodyGivenUp => Row::new(Gateway, 503, "overloaded", "body_given_up").limit(Limit::BodiesInFlightBytes).closes(),
            Self::DecodeBusy => Row::new(Gateway, 503, "overloaded", "decode_busy").limit(Limit::DecodeTimeout),
            Self::TooManyConcurrentRequests { .. } => Row::new(Gateway, 503, "overloaded", "too_many_concurrent_requests").limit(Limit::ConcurrentRequests),
            Self::Draining => Row::new(Gateway, 503, "shutting_down", "draining").closes(),
            Self::RequestTimeout => Row::new(Gateway, 504, "timeout", "request_timeout").limit(Limit::RequestTimeout),
            Self::KeysUnavailable { .. } => Row::new(Gateway, 503, "keys_unavailable", "keys_unavailable"),
            Self::LoginUnavailable { .. } => Row::new(Gateway, 503, "login_unavailable", "login_unavailable"),
            Self::SessionTooLarge { .. } => Row::new(Gateway, 502, "session_too_large", "session_too_large"),
            Self::CheckFailed { status, .. } => Row::new(Gateway, *status, "authorization_unavailable", "check_failed"),
            Self::LimitsUnavailable { .. } => Row::new(Gateway, 503, "limits_unavailable", "limits_unavailable"),
            Self::NoCredential => Row::new(Gateway, 503, "no_credential", "no_credential").retryable(),
            Self::CircuitOpen { .. } => Row::new(Gateway, 503, "circuit_open", "circuit_open").of_target(),
            Self::InvalidTarget { status } => Row::new(Gateway, *status, "invalid_target", "invalid_target"),
            Self::UnsupportedPolicy { status } => Row::new(Gateway, *status, "unsupported_policy", "unsupported_policy"),
            Self::Policy(_) => Row::new(Gateway, 500, "internal_error", "policy"),
            Self::Internal(_) => Row::new(Gateway, 500, "internal_error", "internal"),

            Self::Saturated { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "saturated"),
            Self::Shed { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "shed"),
            Self::QueueFull { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "queue_full").limit(Limit::Queue),
            Self::QueueTimeout { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "queue_timeout").limit(Limit::QueueTimeout),
            Self::Cooling { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "cooling"),
            Self::NoEndpoints => Row::new(Upstream, 503, "no_endpoints", "no_endpoints"),

            Self::UpstreamConnect(_) => Row::new(Upstream, 503, "upstream_unreachable", "upstream_connect").retryable(),
            Self::UpstreamConnectTimeout => Row::new(Upstream, 504, "upstream_unreachable", "upstream_connect_timeout").limit(Limit::ConnectTimeout).retryable(),
            Self::UpstreamTls(_) => Row::new(Upstream, 502, "upstream_untrusted", "upstream_tls").retryable(),
            Self::UpstreamReset(_) => Row::new(Upstream, 502, "upstream_reset", "upstream_reset").retryable(),
            Self::UpstreamTimeout => Row::new(Upstream, 504, "timeout", "upstream_timeout").limit(Limit::PerTryTimeout).retryable(),
            Self::InvalidResponse(_) => Row::new(Upstream, 502, "upstream_invalid", "invalid_response").retryable(),
            Self::UpstreamFailed { status: status @ (429 | 500..), .. } => Row::new(Upstream, *status, "upstream_failed", "upstream_failed").retryable(),
            Self::UpstreamFailed { status, .. } => Row::new(Upstream, *status, "upstream_failed", "upstream_failed"),
            Self::StreamBroken(_) => Row::new(Upstream, 502, "stream_broken", "stream_broken").closes(),
            Self::StreamIdle => Row::new(Upstream, 504, "stream_idle", "stream_idle").limit(Limit::StreamIdleTimeout).closes(),
        }
    }

    /// When the client should try again, for the `Retry-After` header.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        /// What the gateway's own limits ask for: bodies and requests leave within moments, and no estimate is kept. Nor
        /// is one of when keys or counters can be had.
        const SHORTLY: Duration = Duration::from_secs(1);
        match self {
            Self::Saturated { retry_after }
            | Self::Shed { retry_after }
            | Self::QueueFull { retry_after }
            | Self::QueueTimeout { retry_after }
            | Self::Cooling { retry_after } => Some(*retry_after),
            Self::RateLimited(reached) => reached.retry_after,
            Self::BodyMemoryExhausted
            | Self::BodyGivenUp
            | Self::DecodeBusy
            | Self::TooManyConcurrentRequests { .. }
            | Self::KeysUnavailable { .. }
            | Self::LoginUnavailable { .. }
            | Self::CheckFailed { status: 503, .. }
            | Self::LimitsUnavailable { .. }
            | Self::CircuitOpen { .. }
            | Self::Draining => Some(SHORTLY),
            _ => None,
        }
    }
}

impl Row {
    const fn new(origin: Origin, status: u16, code: &'static str, reason: &'static str) -> Self {
        Self {
            status,
            code,
            reason,
            origin,
            limit: None,
            is_retryable: false,
            is_of_target: false,
            closes_connection: false,
        }
    }

    const fn limit(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    const fn retryable(self) -> Self {
        Self { is_retryable: true, ..self }
    }

    const fn of_target(self) -> Self {
        Self { is_of_target: true, ..self }
    }

    const fn closes(self) -> Self {
        Self { closes_connection: true, ..self }
    }
}

/// The peek's errors bring their own words, status and reason.
fn body_row(error: &PeekError) -> Row {
    let code = match error.status() {
        413 => "request_too_large",
        415 => "unsupported_encoding",
        _ if error.param() == Some("model") => "invalid_model",
        _ => "invalid_body",
    };
    let limit = match error {
        PeekError::DecodedTooLarge { .. } => Some(Limit::DecodedBodyBytes),
        PeekError::DecodedTooFar { .. } => Some(Limit::DecodedBodyRatio),
        PeekError::ModelTooLong { .. } => Some(Limit::ModelBytes),
        PeekError::TooDeep { .. } => Some(Limit::BodyDepth),
        _ => None,
    };
    Row { limit, ..Row::new(Origin::Client, error.status(), code, error.reason()) }
}
