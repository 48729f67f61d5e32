//! Everything that the gateway itself answers, in one table.
//!
//! A phase of the request path that cannot go on returns an [`Error`]. Its [`Row`] decides the status, the words of
//! the body, the metric's label, whether another endpoint may be tried and whether the client's connection survives.
//! The alternative, statuses chosen where an error is met, was turned down: the same failure then gets two answers
//! sooner or later.
//!
//! Who is to blame decides the status. The client: 4xx. A model server that is busy: 429, which clients' libraries
//! take as "wait and try again". The gateway's own limits and a pool without endpoints: 503. A model server that
//! answered badly or not at all: 502 and 504.

mod answer;
mod limit;
mod upstream;

pub(crate) use self::{answer::Dialect, limit::Limit};

use std::time::Duration;

use penstock_peek::PeekError;

use crate::codec::CodecError;
use crate::text::clip;

/// What lies beneath an [`Error`]: logged, and never shown to a client, since it names addresses.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The longest piece of a client's own text (a model, a path, an encoding) that a message quotes, in bytes.
pub(crate) const MAX_QUOTED_BYTES: usize = 128;

/// How many models the answer to an unknown one lists.
pub(crate) const MAX_LISTED_MODELS: usize = 20;

/// Why the gateway answers a request itself, or breaks off an answer that has begun.
///
/// The text of a variant is the message that the client reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Parsers disagree on where this request ends, which makes it a way to smuggle another one.
    #[error("the request's framing is ambiguous: {0}")]
    AmbiguousFraming(&'static str),
    /// The request target is malformed.
    #[error("the request target is not acceptable: {0}")]
    BadTarget(&'static str),
    /// `Host` is missing, repeated, malformed or contradicts the request target.
    #[error("the Host header is not acceptable: {0}")]
    BadHost(&'static str),
    /// The host is another listener's than the connection's (RFC 9110, 15.5.20).
    #[error(
        "the connection was opened for `{server_name}`, and `{host}` is another listener's; open one for it"
    )]
    Misdirected {
        /// The name that the client asked for in its TLS handshake.
        server_name: Box<str>,
        /// The host that the request is for.
        host: Box<str>,
    },
    /// A header's name or value holds what must not be passed on.
    #[error("a request header is not acceptable: {0}")]
    BadHeader(&'static str),
    /// A header's name has an underscore. Built by [`Error::underscore`].
    #[error(
        "the header `{name}` has an underscore in its name, and could be taken for another one \
         (listeners[].headersWithUnderscores)"
    )]
    Underscore {
        /// The name, bounded.
        name: Box<str>,
    },
    /// The request's head is too long.
    #[error("the request headers exceed {limit_bytes} bytes (limits.headerBytes)")]
    HeadersTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// The request has too many headers.
    #[error("the request has more than {limit} headers (limits.headerCount)")]
    TooManyHeaders {
        /// The limit, a count.
        limit: usize,
    },
    /// The request's head did not arrive in time.
    #[error("the request headers did not arrive in time (limits.headerTimeout)")]
    HeaderTimeout,
    /// The request's body is too long.
    #[error("the request body exceeds {limit_bytes} bytes (limits.bodyBytes)")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// The client stopped sending its body.
    #[error("the request body stopped coming (limits.bodyIdleTimeout)")]
    BodyIdle,
    /// The client took too long for its body as a whole.
    #[error("the request body did not arrive in time (limits.bodyTimeout)")]
    BodyTimeout,
    /// The body's transfer coding is broken, or the body ended early.
    #[error("the request body could not be read to its end")]
    BrokenBody(#[source] Option<Cause>),
    /// The peek found something in the body that must not be forwarded.
    #[error(transparent)]
    Body(#[from] PeekError),
    /// Decoding the body took too long, for what little comes out of it or however much there is of it.
    #[error(
        "the request body takes too long to decode (limits.decodeTimeout); send it without Content-Encoding"
    )]
    DecodeTimeout,
    /// The upstream's API cannot express the request.
    #[error("the request cannot be put in the words of the API that serves this model: {0}")]
    Untranslatable(Box<str>),
    /// A route needs a model and the body names none.
    #[error("the request body has no `model`")]
    MissingModel,
    /// No route serves this model. Built by [`Error::unknown_model`].
    #[error("the model `{model}` does not exist; {available}")]
    UnknownModel {
        /// The model, as sent and bounded.
        model: Box<str>,
        /// The models that do exist, as a bounded phrase.
        available: Box<str>,
    },
    /// No route matches this request. Built by [`Error::no_route`].
    #[error("no route serves {method} {path}")]
    NoRoute {
        /// The request's method, bounded.
        method: Box<str>,
        /// The request's path without its query, bounded.
        path: Box<str>,
    },
    /// Only rules that go by the model match, and the request has no body to name one. Built by [`Error::no_model`].
    #[error(
        "no route serves {method} {path}: here requests are routed by the `model` in their body, and this one has none"
    )]
    NoModel {
        /// The request's method, bounded.
        method: Box<str>,
        /// The request's path without its query, bounded.
        path: Box<str>,
    },
    /// The path exists and does not take this method.
    #[error("this path takes {allow} only")]
    MethodNotAllowed {
        /// The methods that it takes, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// The request wants a WebSocket.
    #[error(
        "WebSocket is not served here; send plain requests, which are answered with server-sent events where they \
         stream"
    )]
    WebSocket,
    /// An `Expect` header asks for something other than `100-continue`.
    #[error("only `Expect: 100-continue` is supported")]
    ExpectationFailed,
    /// An HTTP/2 client sends frames that ask for work and carry nothing. The connection is closed.
    #[error("the client sent more frames that carry nothing than it may (limits.http2ControlFrames)")]
    FrameFlood,
    /// The client went away. Logged, not answered.
    #[error("the client closed the connection")]
    ClientGone,
    /// The client stopped reading the response. Logged, not answered.
    #[error("the client did not read the response in time (limits.writeTimeout)")]
    WriteTimeout,

    /// The bodies that the gateway holds fill the memory set aside for them.
    #[error(
        "the gateway holds as many request bodies as it may (limits.bodiesInFlightBytes); try again shortly"
    )]
    BodyMemoryExhausted,
    /// The bodies that the gateway holds fill the memory set aside for them, and this one, which had not come to its end,
    /// took up the most.
    #[error(
        "the gateway has no memory left for request bodies (limits.bodiesInFlightBytes), and gave up this one, whose \
         client held the most in bodies that are not complete; try again shortly"
    )]
    BodyGivenUp,
    /// The gateway decodes as many bodies as it may at one time.
    #[error(
        "the gateway has too many compressed bodies to decode (limits.decodeTimeout); send the body without \
         Content-Encoding, or try again shortly"
    )]
    DecodeBusy,
    /// The gateway serves as many requests as it may.
    #[error("the gateway serves {limit} requests already (limits.concurrentRequests); try again shortly")]
    TooManyConcurrentRequests {
        /// The limit, a count.
        limit: usize,
    },
    /// The gateway is shutting down.
    #[error("the gateway is shutting down; try again on a new connection")]
    Draining,
    /// The request as a whole took too long.
    #[error("the request took longer than its route allows (timeouts.request)")]
    RequestTimeout,
    /// A policy of an embedder failed.
    #[error("a policy of the gateway failed; the request id finds the cause in its log")]
    Policy(#[source] Cause),
    /// Our own fault.
    #[error("the gateway failed; the request id finds the cause in its log")]
    Internal(#[source] Cause),

    /// Every endpoint of the pool is full.
    #[error("every endpoint of this model is busy; try again shortly")]
    Saturated {
        /// When to try again.
        retry_after: Duration,
    },
    /// The pool is full and this request's priority is below zero.
    #[error(
        "every endpoint of this model is busy, and requests of this priority are the first to be refused"
    )]
    Shed {
        /// When to try again.
        retry_after: Duration,
    },
    /// The pool is full and so is its queue.
    #[error(
        "every endpoint of this model is busy and its queue is full (saturation.queue); try again shortly"
    )]
    QueueFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// The request waited in the pool's queue for as long as it may.
    #[error(
        "the request waited for a free endpoint for too long (saturation.queue.timeout); try again shortly"
    )]
    QueueTimeout {
        /// When to try again.
        retry_after: Duration,
    },
    /// The rule's target is a fixed answer, in place of something that does not exist.
    #[error("the route for this request leads to something that does not exist or may not be used")]
    InvalidTarget {
        /// The status that the target gives.
        status: u16,
    },
    /// The pool or backend has no endpoint that could be asked.
    #[error("no endpoint is available for this request")]
    NoEndpoints,

    /// The endpoint could not be connected to. Nothing was sent.
    #[error("the model server could not be reached")]
    UpstreamConnect(#[source] Option<Cause>),
    /// Connecting to the endpoint took too long. Nothing was sent.
    #[error("the model server could not be reached in time (connection.connectTimeout)")]
    UpstreamConnectTimeout,
    /// The TLS handshake with the endpoint failed. Nothing was sent.
    #[error("no trusted connection to the model server could be made")]
    UpstreamTls(#[source] Option<Cause>),
    /// The endpoint closed or reset the connection before it answered.
    #[error("the model server closed the connection before it answered")]
    UpstreamReset(#[source] Option<Cause>),
    /// The endpoint did not answer within the time for one attempt.
    #[error("the model server did not answer in time (timeouts.perTry)")]
    UpstreamTimeout,
    /// The endpoint answered with something that is not HTTP.
    #[error("the model server answered with an invalid response")]
    InvalidResponse(#[source] Option<Cause>),
    /// The endpoint closed or reset the connection in the middle of its answer.
    #[error("the model server closed the connection in the middle of its answer")]
    StreamBroken(#[source] Option<Cause>),
    /// The endpoint fell silent in the middle of its answer.
    #[error("the model server fell silent in the middle of its answer (timeouts.streamIdle)")]
    StreamIdle,
}

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
    /// An [`Error::UnknownModel`] that lists up to [`MAX_LISTED_MODELS`] of the models that exist.
    pub(crate) fn unknown_model<'a>(model: &str, existing: impl IntoIterator<Item = &'a str>) -> Self {
        let mut existing = existing.into_iter();
        let listed: Vec<&str> = existing.by_ref().take(MAX_LISTED_MODELS).map(quotable).collect();
        let available = match (listed.is_empty(), existing.count()) {
            (true, _) => "no model is served here".to_owned(),
            (false, 0) => format!("the models served here are: {}", listed.join(", ")),
            (false, more) => format!("the models served here are: {} and {more} more", listed.join(", ")),
        };
        Self::UnknownModel { model: quotable(model).into(), available: available.into() }
    }

    /// An [`Error::NoRoute`] for a method and a path, of which the query is left out.
    pub(crate) fn no_route(method: &str, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        Self::NoRoute { method: quotable(method).into(), path: quotable(path).into() }
    }

    /// An [`Error::Underscore`] about the header of this name.
    pub(crate) fn underscore(name: &str) -> Self {
        Self::Underscore { name: quotable(name).into() }
    }

    /// An [`Error::NoModel`] for a method and a path, of which the query is left out.
    pub(crate) fn no_model(method: &str, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        Self::NoModel { method: quotable(method).into(), path: quotable(path).into() }
    }

    /// An [`Error::Internal`] with its cause.
    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// An [`Error::InvalidResponse`] whose parts come in an order that HTTP does not have.
    pub(crate) fn unexpected_event() -> Self {
        Self::InvalidResponse(Some("the parts of the response come in no order that HTTP has".into()))
    }

    /// Whether the endpoint gave no answer at all: then it is the endpoint that failed, and not what was asked of it.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::UpstreamConnect(_)
                | Self::UpstreamConnectTimeout
                | Self::UpstreamTls(_)
                | Self::UpstreamReset(_)
                | Self::UpstreamTimeout
        )
    }

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
            Self::BodyIdle => Row::new(Client, 408, "request_timeout", "body_idle").limit(Limit::BodyIdleTimeout).closes(),
            Self::BodyTimeout => Row::new(Client, 408, "request_timeout", "body_timeout").limit(Limit::BodyTimeout).closes(),
            Self::BrokenBody(_) => Row::new(Client, 400, "bad_request", "broken_body").closes(),
            Self::Body(error) => body_row(error),
            Self::DecodeTimeout => Row::new(Client, 413, "request_too_large", "decode_timeout").limit(Limit::DecodeTimeout),
            Self::Untranslatable(_) => Row::new(Client, 400, "unsupported_request", "untranslatable"),
            Self::MissingModel => Row::new(Client, 400, "missing_model", "missing_model"),
            Self::UnknownModel { .. } => Row::new(Client, 404, "model_not_found", "unknown_model"),
            Self::NoRoute { .. } => Row::new(Client, 404, "unknown_url", "no_route"),
            Self::NoModel { .. } => Row::new(Client, 404, "unknown_url", "no_model"),
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
            Self::InvalidTarget { status } => Row::new(Gateway, *status, "invalid_target", "invalid_target"),
            Self::Policy(_) => Row::new(Gateway, 500, "internal_error", "policy"),
            Self::Internal(_) => Row::new(Gateway, 500, "internal_error", "internal"),

            Self::Saturated { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "saturated"),
            Self::Shed { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "shed"),
            Self::QueueFull { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "queue_full").limit(Limit::Queue),
            Self::QueueTimeout { .. } => Row::new(Upstream, 429, "rate_limit_exceeded", "queue_timeout").limit(Limit::QueueTimeout),
            Self::NoEndpoints => Row::new(Upstream, 503, "no_endpoints", "no_endpoints"),

            Self::UpstreamConnect(_) => Row::new(Upstream, 503, "upstream_unreachable", "upstream_connect").retryable(),
            Self::UpstreamConnectTimeout => Row::new(Upstream, 504, "upstream_unreachable", "upstream_connect_timeout").limit(Limit::ConnectTimeout).retryable(),
            Self::UpstreamTls(_) => Row::new(Upstream, 502, "upstream_untrusted", "upstream_tls").retryable(),
            Self::UpstreamReset(_) => Row::new(Upstream, 502, "upstream_reset", "upstream_reset").retryable(),
            Self::UpstreamTimeout => Row::new(Upstream, 504, "timeout", "upstream_timeout").limit(Limit::PerTryTimeout).retryable(),
            Self::InvalidResponse(_) => Row::new(Upstream, 502, "upstream_invalid", "invalid_response").retryable(),
            Self::StreamBroken(_) => Row::new(Upstream, 502, "stream_broken", "stream_broken").closes(),
            Self::StreamIdle => Row::new(Upstream, 504, "stream_idle", "stream_idle").limit(Limit::StreamIdleTimeout).closes(),
        }
    }

    /// When the client should try again, for the `Retry-After` header.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        /// What the gateway's own limits ask for: bodies and requests leave within moments, and no estimate is kept.
        const SHORTLY: Duration = Duration::from_secs(1);
        match self {
            Self::Saturated { retry_after }
            | Self::Shed { retry_after }
            | Self::QueueFull { retry_after }
            | Self::QueueTimeout { retry_after } => Some(*retry_after),
            Self::BodyMemoryExhausted
            | Self::BodyGivenUp
            | Self::DecodeBusy
            | Self::TooManyConcurrentRequests { .. }
            | Self::Draining => Some(SHORTLY),
            _ => None,
        }
    }
}

impl Row {
    const fn new(origin: Origin, status: u16, code: &'static str, reason: &'static str) -> Self {
        Self { status, code, reason, origin, limit: None, is_retryable: false, closes_connection: false }
    }

    const fn limit(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    const fn retryable(self) -> Self {
        Self { is_retryable: true, ..self }
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

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Request(what) => Self::Untranslatable(quotable(&what).into()),
            CodecError::Upstream(cause) => Self::InvalidResponse(Some(cause)),
        }
    }
}

fn quotable(text: &str) -> &str {
    clip(text, MAX_QUOTED_BYTES)
}

#[cfg(test)]
mod tests;
