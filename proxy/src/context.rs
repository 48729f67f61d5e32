//! What one request is known by, phase by phase: each phase adds a state of its own, and takes those that it needs.
//!
//! [`Arrived`] is there from the head on, [`Routed`] once a rule was found that forwards, [`Attempt`] while an endpoint is
//! asked. Phases take these, never an `Option` of them, so that none can run before what it builds on. Only the gateway,
//! which leads from one to the next, and `settle`, which has to account for requests that ended anywhere, see the whole
//! [`RequestContext`].

mod attempt;
mod candidates;
mod trail;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Extensions, HeaderValue, Method};
use penstock_config::{Cors, Limits, ListenerIndex, Upstream as UpstreamAt};
use penstock_peek::Peeked;
use penstock_tap::{Filtered, StreamPosition, Tap, UsageFilter};
use pingora_http::RequestHeader;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

pub(crate) use self::attempt::Attempt;
pub(crate) use self::candidates::{Candidates, Failed, TargetAt};
pub(crate) use self::trail::Trail;

use crate::body::Body;
use crate::client::{Client, ClientState};
use crate::count::Admitted;
use crate::deadline::Deadlines;
use crate::error::Error;
use crate::meter::Tab;
use crate::metrics::StreamClock;
use crate::policy::{Caller, Reply, Subject};
use crate::request_id::RequestId;
use crate::runtime::Runtime;
use crate::upstreams::Excluded;

/// One request, from its head to its settlement.
pub(crate) struct RequestContext {
    /// What is kept of the client beside its session.
    pub(crate) client: ClientState,
    /// Counts the request among those in flight.
    pub(crate) admitted: Option<Admitted>,
    /// From the head on.
    pub(crate) arrived: Arrived,
    /// Once a rule was found that forwards it.
    pub(crate) routed: Option<Routed>,
    /// The last attempt, once there is one.
    pub(crate) attempt: Option<Attempt>,
    /// The response, as far as it went.
    pub(crate) response: Response,
    /// The error that became the answer, if one did.
    pub(crate) refusal: Option<Error>,
    /// What a policy answers before there is a route.
    pub(crate) reply: Option<Box<Reply>>,
    /// What the end of a drain waits for.
    _in_service: TaskTrackerToken,
}

/// A request whose head is here.
pub(crate) struct Arrived {
    /// The snapshot that serves the request from its start to its end.
    runtime: Arc<Runtime>,
    /// The listener that the request is for, by its index in the snapshot.
    pub(crate) listener: usize,
    /// The other end of the connection.
    pub(crate) peer: Option<SocketAddr>,
    /// Whether that is a proxy that may speak for its clients.
    pub(crate) is_proxy_trusted: bool,
    /// How many gateways the request has passed before this one.
    pub(crate) hops: u32,
    /// The client whom it speaks for.
    pub(crate) forwarded_for: Option<IpAddr>,
    /// When the head had been read.
    pub(crate) started: Instant,
    /// The same on the wall clock.
    pub(crate) started_at: SystemTime,
    /// The id under which it is reported.
    pub(crate) request_id: RequestId,
    /// What is asked for, as routes and the access log want it.
    pub(crate) target: RequestTarget,
    /// For the access log.
    pub(crate) user_agent: Option<HeaderValue>,
    /// When the request has to end, or its running attempt.
    pub(crate) deadlines: Deadlines,
    /// The body, as far as it was read.
    pub(crate) body: Body,
    /// The most bytes that it may have, where its rule says less than the listener.
    body_limit: usize,
    /// What was found in the body, if it was looked at.
    pub(crate) peeked: Option<Peeked>,
    /// What policies remember from one phase to the next.
    pub(crate) extensions: Extensions,
    /// Who asks, once a policy that the document names was asked.
    pub(crate) caller: Option<Box<Caller>>,
    /// Which web pages may ask, where that is said.
    pub(crate) cors: Option<Arc<Cors>>,
    /// What it holds of limits, once they were asked.
    pub(crate) tab: Option<Box<Tab>>,
    /// The model that its path names, once somebody looked for it there.
    pub(crate) path_model: OnceLock<Option<Box<str>>>,
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub(crate) struct RequestTarget {
    /// The method.
    pub(crate) method: Method,
    /// `Host` or `:authority`, in lower case.
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path_and_query: PathAndQuery,
}

/// A request that a rule forwards.
pub(crate) struct Routed {
    /// The rule's position in the snapshot.
    pub(crate) rule: usize,
    /// Length of the path prefix that matched, for rewrites.
    pub(crate) prefix_length: Option<usize>,
    /// What is left of the rule's targets.
    pub(crate) candidates: Candidates,
    /// Attempts that have been started.
    pub(crate) attempts: u32,
    /// Attempts that were sent to an upstream, but for those whose connection was dead already.
    pub(crate) sent: u32,
    /// Kept-alive connections that turned out to be dead.
    pub(crate) stale_connections: u32,
    /// What ended the attempt before this one: the answer, if no other endpoint can be tried.
    pub(crate) last_failure: Option<Error>,
    /// The targets that cannot do what is asked, if there are any.
    pub(crate) unsuited: Option<Box<Unsuited>>,
    /// The targets that were left, and why.
    pub(crate) trail: Trail,
}

/// The targets that cannot do what is asked.
pub(crate) struct Unsuited {
    /// Why the first of them cannot: the answer, if none can.
    pub(crate) why: Error,
    /// How many there are.
    pub(crate) targets: usize,
}

/// What is known about the response.
#[derive(Default)]
pub(crate) struct Response {
    /// The status that was sent on.
    pub(crate) status: Option<u16>,
    /// Whether the response is a stream of server-sent events.
    pub(crate) is_event_stream: bool,
    /// Reads usage from the bytes as they pass.
    pub(crate) tap: Option<Tap>,
    /// The rhythm of a streamed response.
    pub(crate) clock: Option<StreamClock>,
    /// Bytes of response body.
    pub(crate) bytes: u64,
    /// Events with content, of a stream.
    pub(crate) content_events: u64,
    /// Whether the response came to its proper end.
    pub(crate) is_complete: bool,
    /// Takes out the event by which a stream reports its usage, where the client did not ask for it.
    pub(crate) usage_filter: Option<Box<UsageFilter>>,
}

impl RequestContext {
    /// Of a request whose head was read just now. `in_service` is held as long as it is served.
    pub(crate) fn new(client: ClientState, arrived: Arrived, in_service: TaskTrackerToken) -> Self {
        Self {
            client,
            admitted: None,
            arrived,
            routed: None,
            attempt: None,
            response: Response::default(),
            refusal: None,
            reply: None,
            _in_service: in_service,
        }
    }
}

impl Arrived {
    /// A request that `runtime` serves, of which nothing was looked at yet.
    pub(crate) fn new(runtime: Arc<Runtime>, listener: usize, body: Body) -> Self {
        let started = Instant::now();
        Self {
            runtime,
            listener,
            peer: None,
            is_proxy_trusted: false,
            hops: 0,
            forwarded_for: None,
            started,
            started_at: SystemTime::now(),
            request_id: RequestId::generate(),
            target: RequestTarget::unread(),
            user_agent: None,
            deadlines: Deadlines::new(started),
            body,
            body_limit: usize::MAX,
            peeked: None,
            extensions: Extensions::new(),
            caller: None,
            cors: None,
            tab: None,
            path_model: OnceLock::new(),
        }
    }

    /// The snapshot that serves this request.
    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// The limits that hold at the listener.
    pub(crate) fn limits(&self) -> &Limits {
        self.runtime.snapshot().limits_at(ListenerIndex(self.listener))
    }

    /// The model that the client asks for, if its body was read and names one.
    pub(crate) fn model(&self) -> Option<&str> {
        self.peeked.as_ref()?.model.as_ref().map(|model| model.name.as_str())
    }

    /// How many tokens the answer may have, if the body was read: as many as there are if it sets no bound.
    pub(crate) fn tokens(&self) -> Option<u64> {
        self.peeked.as_ref().map(|peeked| peeked.max_tokens.unwrap_or(u64::MAX))
    }

    /// The client's address, by what trusted proxies say where there are any.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.forwarded_for.or_else(|| Some(self.peer?.ip()))
    }

    /// What policies see of the request.
    pub(crate) fn subject<'a>(&'a mut self, head: &'a mut RequestHeader) -> Subject<'a> {
        Subject {
            head,
            peer: self.peer,
            client: self.client(),
            request_id: self.request_id.as_str(),
            listener: &self.runtime.snapshot().listeners[self.listener].name,
            model: self.peeked.as_ref().and_then(|peeked| Some(peeked.model.as_ref()?.name.as_str())),
            body: self.body.plain(),
            host: &self.target.host,
            tokens: self.peeked.as_ref().map(|peeked| peeked.max_tokens.unwrap_or(u64::MAX)),
            extensions: &mut self.extensions,
            path_and_query: &mut self.target.path_and_query,
            caller: &mut self.caller,
            now: self.started_at,
            is_tls: self.runtime.snapshot().listeners[self.listener].is_tls(),
            is_proxy_trusted: self.is_proxy_trusted,
        }
    }

    /// Reads the next piece of the body and keeps it for further attempts; `None` at the end.
    ///
    /// # Errors
    /// The client broke off, or the body exceeds a limit.
    pub(crate) async fn read_body(&mut self, client: &mut Client<'_>) -> Result<Option<Bytes>, Error> {
        let read = client.read_body(self.runtime.limits().body_idle_timeout);
        let chunk = self.body.unless_given_up(read).await?;
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
    pub(crate) fn hold(&mut self, chunk: Bytes) -> Result<(), Error> {
        let limits = self.runtime.snapshot().limits_at(ListenerIndex(self.listener));
        self.body.hold(chunk, self.client(), limits, self.body_limit)
    }

    /// Lets the body have no more bytes than these, of which some may be here.
    ///
    /// # Errors
    /// It has more, or is declared to.
    pub(crate) fn limit_body(&mut self, client: &Client<'_>, limit_bytes: usize) -> Result<(), Error> {
        let declared = client.head().headers.get(http::header::CONTENT_LENGTH);
        let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if declared.unwrap_or(0).max(client.body_bytes_read()) > limit_bytes {
            return Err(Error::RuleBodyTooLarge { limit_bytes });
        }
        self.body_limit = limit_bytes;
        Ok(())
    }
}

impl RequestTarget {
    fn unread() -> Self {
        Self { method: Method::GET, host: String::new(), path_and_query: PathAndQuery::from_static("/") }
    }

    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query without its question mark.
    pub(crate) fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
}

impl Routed {
    /// A request that the rule at `rule` forwards, with all its targets open.
    pub(crate) fn new(rule: usize, prefix_length: Option<usize>) -> Self {
        Self {
            rule,
            prefix_length,
            candidates: Candidates::default(),
            attempts: 0,
            sent: 0,
            stale_connections: 0,
            last_failure: None,
            unsuited: None,
            trail: Trail::default(),
        }
    }

    /// The endpoints that are not to be tried for a target, for what the request did before.
    pub(crate) fn excluded(&self, target: TargetAt, upstream: UpstreamAt) -> Excluded {
        Excluded { is_retry: self.attempts > 0, ..self.candidates.excluded(target, upstream) }
    }
}

impl Response {
    /// Reads a piece of the body, as the client gets it, in passing.
    pub(crate) fn observe(&mut self, data: &[u8], now: Instant, started: Instant) {
        self.bytes += data.len() as u64;
        let Some(tap) = &mut self.tap else { return };
        let seen = tap.feed(data);
        if self.is_event_stream {
            let clock = self.clock.get_or_insert_with(|| StreamClock::new(started));
            clock.content(now, seen.content_events);
            self.content_events += u64::from(seen.content_events);
        }
    }

    /// What the client gets of a piece of the body that was observed.
    pub(crate) fn filter(&mut self, data: Bytes, is_end: bool) -> Bytes {
        let Some(filter) = &mut self.usage_filter else { return data };
        let Filtered::Instead(instead) = filter.feed(&data, is_end) else { return data };
        self.bytes = (self.bytes + instead.len() as u64).saturating_sub(data.len() as u64);
        instead.into()
    }

    /// How far the client has got of an event stream that an event can be appended to; `None` if it is none.
    pub(crate) fn position(&self) -> Option<StreamPosition> {
        let tap = self.tap.as_ref().filter(|tap| tap.is_event_stream())?;
        let position = tap.position();
        Some(match &self.usage_filter {
            // What is held of an event is not the client's to see any more.
            Some(filter) => StreamPosition { is_between_events: filter.is_between_events(), ..position },
            None => position,
        })
    }

    /// From the request's first byte to the first event with content, of a stream.
    pub(crate) fn time_to_first_token(&self) -> Option<Duration> {
        self.clock.as_ref()?.time_to_first_token()
    }
}
