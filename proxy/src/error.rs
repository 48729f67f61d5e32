//! Everything that the gateway itself answers, in one table.
//!
//! A phase of the request path that cannot go on returns an [`Error`]. Its [`Row`] in the [table](table) decides the
//! status, the words of the body, the metric's label, whether another endpoint may be tried and whether the client's
//! connection survives. The alternative, statuses chosen where an error is met, was turned down: the same failure then
//! gets two answers sooner or later.

mod access;
mod answer;
mod circuit;
mod limit;
mod reached;
mod table;
mod upstream;

pub(crate) use self::{
    access::Unauthenticated,
    answer::Dialect,
    circuit::CircuitBound,
    limit::Limit,
    reached::{Figures, LimitReached, Tightest, Told},
    table::{Origin, Row},
};

use std::sync::Arc;
use std::time::Duration;

use penstock_peek::PeekError;

use self::access::{forbidden, model_not_allowed};
use crate::codec::CodecError;
use crate::text::clip;

/// What lies beneath an [`Error`]: logged, and never shown to a client, since it names addresses.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The longest piece of a client's own text (a model, a path, an encoding) that a message quotes, in bytes.
pub(crate) const MAX_QUOTED_BYTES: usize = 128;

/// The longest message of an upstream's that is passed on, in bytes.
const MAX_UPSTREAM_BYTES: usize = 1024;

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
    /// The request's body is too long for its rule.
    #[error("the request body exceeds {limit_bytes} bytes (rules.bodyBytes)")]
    RuleBodyTooLarge {
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
    /// The upstream has nothing like the API that the request is for: the client is not wrong, and may do without.
    #[error("{0}")]
    Unserved(Box<str>),
    /// The client had to bring a credential for the upstream, and brought none that could be used.
    #[error("{0}")]
    ClientCredential(Box<str>),
    /// A policy wants to know who asks, and the request does not show it, or not so that it could be believed.
    #[error("{0}")]
    Unauthenticated(Box<Unauthenticated>),
    /// A policy does not let the request be served.
    #[error("{}", forbidden(.policy, .rule.as_deref()))]
    Forbidden {
        /// The policy's name.
        policy: Arc<str>,
        /// The name of the rule that decided; `None` if none was met.
        rule: Option<Arc<str>>,
    },
    /// The header that says who the client is does not.
    #[error("the client's address is not known (listeners[].clientAddress)")]
    UnknownClient,
    /// Who asks may ask for some models only. Built by [`Error::model_not_allowed`].
    #[error("{}", model_not_allowed(.model.as_deref()))]
    ModelNotAllowed {
        /// The model, bounded; `None` if the request names none where it could be read.
        model: Option<Box<str>>,
    },
    /// What would tell whether a credential is valid was never had.
    #[error("the policy `{policy}` has no keys yet to tell who asks; try again shortly")]
    KeysUnavailable {
        /// The policy's name.
        policy: Arc<str>,
    },
    /// Somebody came back from the provider of a policy, and is not logged in.
    #[error("nobody is logged in: {why}")]
    LoginFailed {
        /// The policy's name.
        policy: Arc<str>,
        /// Why not, in a few words.
        why: &'static str,
    },
    /// The provider that logs people in cannot be asked.
    #[error("the provider by which the policy `{policy}` logs people in cannot be asked; try again shortly")]
    LoginUnavailable {
        /// The policy's name.
        policy: Arc<str>,
    },
    /// What would have to be kept of a session is more than browsers keep.
    #[error(
        "the session is too long for cookies: the provider by which the policy `{policy}` logs people in has to give shorter \
         tokens, or fewer claims in them"
    )]
    SessionTooLarge {
        /// The policy's name.
        policy: Arc<str>,
    },
    /// A server that decides does not let the request be served, and says no more.
    #[error("the authorization server of the policy `{policy}` does not allow this request")]
    CheckDenied {
        /// The policy's name.
        policy: Arc<str>,
    },
    /// The request's body is longer than a server that decides is shown.
    #[error(
        "the request body exceeds the {limit_bytes} bytes that the policy `{policy}` has checked \
         (policies[].external.body.maxBytes)"
    )]
    CheckBodyTooLarge {
        /// The policy's name.
        policy: Arc<str>,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// A server that decides did not answer, or not so that it could be understood.
    #[error("the authorization server of the policy `{policy}` did not decide; try again shortly")]
    CheckFailed {
        /// The policy's name.
        policy: Arc<str>,
        /// The status that the policy gives.
        status: u16,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// A policy's limit is reached for now.
    #[error("the limit `{}` of the policy `{}` is reached; try again later", .0.limit, .0.policy)]
    RateLimited(Box<LimitReached>),
    /// A policy's budget is used up, and it is long until there is a new one.
    #[error("the budget `{}` of the policy `{}` is used up", .0.limit, .0.policy)]
    BudgetExhausted(Box<LimitReached>),
    /// The request asks for more at once than a policy's limit has.
    #[error("the request is larger than all that the limit `{}` of the policy `{}` allows: it can never pass", .0.limit, .0.policy)]
    NeverFits(Box<LimitReached>),
    /// The request lacks what a policy's limit counts by, and the limit is not for those.
    #[error("the request lacks what the limit `{}` of the policy `{}` counts by: {}", .0.limit, .0.policy, .0.missing())]
    NothingToCountBy(Box<LimitReached>),
    /// A stream went on beyond a policy's limit.
    #[error("the stream was ended: the limit `{}` of the policy `{}` is reached", .0.limit, .0.policy)]
    StreamCut(Box<LimitReached>),
    /// A policy's limit is counted by a store that cannot be reached.
    #[error("the limits of the policy `{policy}` cannot be told at the moment; try again shortly")]
    LimitsUnavailable {
        /// The policy's name.
        policy: Arc<str>,
    },
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
    /// The request has passed so many gateways that it must go in circles.
    #[error(
        "the request has passed more than {limit} gateways (limits.hops): an upstream leads back to one of them"
    )]
    Loop {
        /// The most that it may have passed.
        limit: u32,
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
    /// Who could serve the request asked to be left alone for a while.
    #[error("who serves this model asked to be left alone for a while; try again later")]
    Cooling {
        /// When to try again.
        retry_after: Duration,
    },
    /// The rule's target is a fixed answer, in place of something that does not exist.
    #[error("the route for this request leads to something that does not exist or may not be used")]
    InvalidTarget {
        /// The status that the target gives.
        status: u16,
    },
    /// The rule's target is a fixed answer, since a policy restricts its requests and nothing here enforces it.
    #[error(
        "a policy that this gateway does not support restricts these requests, so none is served; the status of their \
         route names the policy"
    )]
    UnsupportedPolicy {
        /// The status that the target gives.
        status: u16,
    },
    /// The gateway's own credential for the upstream is not there: it could not be fetched yet, or again.
    #[error("the gateway has no valid credential for the upstream of this request; try again shortly")]
    NoCredential,
    /// As much is under way at the backend as its circuit breaker lets be.
    #[error(
        "too much is under way at the backend for this request (circuitBreaker.{}); try again shortly",
        bound.name()
    )]
    CircuitOpen {
        /// The bound that was reached.
        bound: CircuitBound,
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
    /// The upstream says that it failed, in a response that began as if it had not.
    #[error("the upstream failed: {message}")]
    UpstreamFailed {
        /// The status that stands for it.
        status: u16,
        /// What it says, bounded.
        message: Box<str>,
    },
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
}

impl From<CodecError> for Error {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Request(what) => Self::Untranslatable(quotable(&what).into()),
            CodecError::Unserved(what) => Self::Unserved(quotable(&what).into()),
            CodecError::Upstream(cause) => Self::InvalidResponse(Some(cause)),
            CodecError::Failed { status, message } => {
                Self::UpstreamFailed { status, message: clip(&message, MAX_UPSTREAM_BYTES).into() }
            }
        }
    }
}

fn quotable(text: &str) -> &str {
    clip(text, MAX_QUOTED_BYTES)
}

#[cfg(test)]
mod tests;
