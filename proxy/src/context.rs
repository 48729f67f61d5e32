//! What one request carries from phase to phase.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use penstock_peek::Peeked;
use penstock_tap::Tap;
use tokio::time::Instant;

use crate::attempt::{Attempt, Plan};
use crate::body::Body;
use crate::client::Client;
use crate::count::Admitted;
use crate::deadline::Deadlines;
use crate::error::Error;
use crate::metrics::StreamClock;
use crate::request_id::RequestId;
use crate::runtime::Runtime;

/// The state of one request. Each phase fills in its part; `settle` reads them all.
pub struct RequestContext {
    /// The snapshot that serves the request from its start to its end.
    runtime: Arc<Runtime>,
    /// The listener that accepted the connection, by its index in the snapshot.
    pub listener: usize,
    /// The body, as far as it was read.
    pub body: Body,
    /// When the request has to end, or its running attempt.
    pub deadlines: Deadlines,
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
    /// Starts the context of a request that arrived at `listener` and is served by `runtime`.
    pub fn new(runtime: Arc<Runtime>, listener: usize, body: Body) -> Self {
        let started = Instant::now();
        Self {
            runtime,
            listener,
            body,
            deadlines: Deadlines::new(started),
            started,
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
            relay: Relay::default(),
            refusal: None,
        }
    }

    /// The snapshot that serves this request.
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Reads the next piece of the body and keeps it for further attempts; `None` at the end.
    ///
    /// # Errors
    /// The client broke off, or the body exceeds a limit.
    pub async fn read_body(&mut self, client: &mut Client) -> Result<Option<Bytes>, Error> {
        let chunk = client.read_body(self.runtime.limits().body_idle_timeout).await?;
        match &chunk {
            Some(chunk) => self.hold(chunk.clone())?,
            None => self.body.complete(),
        }
        Ok(chunk)
    }

    /// Keeps a piece of the body for further attempts.
    ///
    /// # Errors
    /// The body exceeds a limit.
    pub fn hold(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.body.hold(chunk, self.runtime.limits())
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
