//! What one request carries from phase to phase.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode};
use penstock_peek::Peeked;
use tokio::time::Instant;

use crate::attempt::{Attempt, Plan};
use crate::error::Error;
use crate::exchange::Exchange;
use crate::inflight::Admitted;
use crate::metrics::StreamClock;
use crate::request_id::RequestId;
use crate::runtime::Runtime;
use crate::usage::Tap;

tokio::task_local! {
    /// The exchange of the request that this task serves. Pingora makes the context of a request by itself,
    /// so what the edge knows about it has to wait here.
    pub static EXCHANGE: Arc<Exchange>;
}

/// The state of one request. Each phase fills in its part; `settle` reads them all.
pub struct RequestContext {
    /// Body, deadlines and snapshot.
    pub exchange: Arc<Exchange>,
    /// When the request header had been read.
    pub started: Instant,
    /// The same on the wall clock.
    pub started_at: SystemTime,
    /// Set by `listen`.
    pub request_id: RequestId,
    /// Set by `listen`: what was asked for, as access log and routes want it.
    pub target: RequestTarget,
    /// Set by `listen`, for the access log.
    pub user_agent: Option<HeaderValue>,
    /// Set by `listen`: counts the request among those in flight.
    pub admitted: Option<Admitted>,
    /// Set by `peek`.
    pub peeked: Option<Peeked>,
    /// Set by `route`.
    pub plan: Option<Plan>,
    /// Set by `pick`, for each attempt anew.
    pub attempt: Option<Attempt>,
    /// Attempts that have been started.
    pub attempts: u32,
    /// Kept-alive connections that turned out to be dead.
    pub stale_connections: u32,
    /// What ended the attempt before this one: the answer, if no other endpoint can be tried.
    pub last_failure: Option<Error>,
    /// The status of the response that was dropped for another attempt.
    pub dropped_status: Option<StatusCode>,
    /// Whether the running attempt goes over a kept-alive connection.
    pub is_reused_connection: bool,
    /// Set once Pingora runs attempts: from then on it closes the client's connection after an error.
    pub is_forwarding: bool,
    /// Set by `relay`.
    pub relay: Relay,
    /// The error that became the answer, if one did.
    pub refusal: Option<Error>,
}

/// What a request asked for.
#[derive(Debug, Clone)]
pub struct RequestTarget {
    /// The method.
    pub method: Method,
    /// `Host` or `:authority`, as sent.
    pub host: String,
    /// Path and query.
    pub path_and_query: PathAndQuery,
}

/// What is known about the response.
#[derive(Default)]
pub struct Relay {
    /// The status that was sent on.
    pub status: Option<u16>,
    /// Whether the response is a stream of server-sent events.
    pub is_event_stream: bool,
    /// Reads usage from the bytes as they pass.
    pub tap: Option<Tap>,
    /// From the request header to the first byte of the response body.
    pub first_byte: Option<Duration>,
    /// When the response header came.
    pub header_at: Option<Instant>,
    /// When the last piece of the response body came.
    pub last_chunk: Option<Instant>,
    /// The rhythm of a streamed response.
    pub clock: Option<StreamClock>,
    /// Bytes of response body.
    pub bytes: u64,
    /// Whether the response came to its proper end.
    pub is_complete: bool,
}

impl RequestContext {
    /// Starts the context of the request that this task serves.
    pub fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            started: Instant::now(),
            started_at: SystemTime::now(),
            request_id: RequestId::generate(),
            target: RequestTarget::unread(),
            user_agent: None,
            admitted: None,
            peeked: None,
            plan: None,
            attempt: None,
            attempts: 0,
            stale_connections: 0,
            last_failure: None,
            dropped_status: None,
            is_reused_connection: false,
            is_forwarding: false,
            relay: Relay::default(),
            refusal: None,
        }
    }

    /// The snapshot that serves this request.
    pub fn runtime(&self) -> &Arc<Runtime> {
        self.exchange.runtime()
    }

    /// The model that the client asked for, if it named one.
    pub fn model(&self) -> Option<&str> {
        self.peeked.as_ref()?.model.as_ref().map(|model| model.name.as_str())
    }
}

impl RequestTarget {
    fn unread() -> Self {
        Self { method: Method::GET, host: String::new(), path_and_query: PathAndQuery::from_static("/") }
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
}
