//! The edge of a connection: reads each request's header under a total deadline, refuses what cannot be
//! parsed in the gateway's own words, and hands everything else to the gateway.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::Method;
use penstock_config::{Limits, ListenerIndex};
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use pingora_error::{Error as PingoraError, ErrorType};
use tokio_util::task::TaskTracker;

use crate::body::{Body, BodyMemory};
use crate::client::Client;
use crate::context::RequestContext;
use crate::count::Count;
use crate::error::Error;
use crate::gateway::Gateway;
use crate::listen;
use crate::listen::head::ALLOWED_METHODS;
use crate::listen::stream::ClientStream;
use crate::metrics::Settlement;
use crate::respond;
use crate::runtime::Live;

/// How many requests one HTTP/1.1 connection may carry. Practically unlimited; Pingora counts down from it,
/// which tells the first request of a connection from the ones after it.
const REQUESTS_PER_CONNECTION: u32 = u32::MAX;

/// Headers that Pingora's HTTP/1.1 parser has room for.
const PARSED_HEADERS: usize = 256;

/// Bytes a client may send ahead on one HTTP/2 stream, and on the connection: prompts are large.
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What all connections of one listener share.
pub struct EdgeShared {
    /// What every request is handed to.
    pub gateway: Arc<Gateway>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The listener's name, by which each snapshot knows it.
    pub listener: Arc<str>,
    /// Open connections of clients, over all listeners.
    pub connections: Arc<Count>,
    /// Memory held by bodies, over all listeners.
    pub memory: Arc<BodyMemory>,
    /// Set when the gateway shuts down.
    pub draining: Arc<AtomicBool>,
    /// What the end of a drain waits for. Pingora runs each HTTP/2 request in a task of its own, which outlives the
    /// connection by what is done after the last byte.
    pub tracker: TaskTracker,
}

/// Serves the connections of one listener that speak one protocol.
pub struct Edge {
    shared: Arc<EdgeShared>,
    options: HttpServerOptions,
}

impl Edge {
    /// For connections that open with HTTP/1.1, or that negotiated their protocol by ALPN.
    pub fn http1_or_alpn(shared: Arc<EdgeShared>) -> Arc<Self> {
        Self::new(shared, false)
    }

    /// For plain connections that open with the HTTP/2 preface.
    pub fn h2c(shared: Arc<EdgeShared>) -> Arc<Self> {
        Self::new(shared, true)
    }

    fn new(shared: Arc<EdgeShared>, h2c: bool) -> Arc<Self> {
        let mut options = HttpServerOptions::default();
        options.h2c = h2c;
        options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
        options.h2_idle_timeout = Some(shared.live.load().limits().keep_alive_timeout);
        Arc::new(Self { shared, options })
    }

    /// Reads the request header. `None`: there is none, and the connection is closed.
    async fn read_header(
        &self,
        session: &mut ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<Result<(), Error>> {
        let limits = self.shared.live.load().limits().clone();
        if session.is_http2() {
            // Of the stream's window; the connection's own deadline is beneath it.
            session.set_write_timeout(Some(limits.write_timeout));
            return Some(Ok(()));
        }
        if let Some(stream) = ClientStream::of(session) {
            stream.set_write_timeout(limits.write_timeout);
        }
        let is_first = session.get_keepalive_reuses_remaining() == Some(REQUESTS_PER_CONNECTION);
        session.set_pipelining_enabled(true);
        session.set_keepalive(Some(whole_seconds(limits.keep_alive_timeout)));
        session.set_read_timeout(Some(limits.body_idle_timeout));
        // On a reused connection the wait for the first byte counts too: it cannot be seen apart from here.
        let idle = if is_first { Duration::ZERO } else { limits.keep_alive_timeout };
        let limit = idle + limits.header_timeout;
        let mut shutdown = shutdown.clone();
        let linger = self.shared.live.load().snapshot().shutdown.linger;
        let read = tokio::select! {
            biased;
            read = pingora_timeout::timeout(limit, session.read_request()) => read,
            () = listen::drained(&mut shutdown, linger) => return None,
        };
        let refusal = match read {
            Ok(Ok(has_request)) => {
                if *shutdown.borrow() {
                    session.set_keepalive(None);
                }
                return has_request.then_some(Ok(()));
            }
            Ok(Err(error)) => unreadable(&error, &limits),
            Err(_elapsed) if is_first => Some(Error::HeaderTimeout),
            Err(_elapsed) => None,
        };
        if refusal.is_none() {
            session.shutdown().await;
        }
        refusal.map(Err)
    }

    /// Answers a request that no snapshot can serve, and ends the connection.
    async fn refuse(&self, session: ServerSession, refusal: &Error) {
        self.shared.live.load().metrics().settle(Settlement::unread(refusal));
        respond::refuse_unread(session, refusal).await;
    }

    /// Reads one request and has it served. Returns the connection if another one may follow on it.
    async fn serve(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _tracked = self.shared.tracker.token();
        let read = self.read_header(&mut session, shutdown).await?;
        // A tunnel has no place here, and its head no path that could be routed.
        let is_tunnel = || session.req_header().method == Method::CONNECT;
        let refusal = match read {
            Err(refusal) => Some(refusal),
            Ok(()) => is_tunnel().then_some(Error::MethodNotAllowed { allow: ALLOWED_METHODS }),
        };
        if let Some(refusal) = refusal {
            Box::pin(self.refuse(session, &refusal)).await;
            return None;
        }
        let shared = &self.shared;
        let runtime = shared.live.load_full();
        // A reload may have taken the listener out of the snapshot; its open connections end then.
        let first = runtime.listener_index(&shared.listener)?;
        let listener = runtime.snapshot().listener_for(ListenerIndex(first), host(&session)).0;
        let ctx = RequestContext::new(runtime, listener, Body::new(shared.memory.clone()));
        let client = Client::new(session, shared.draining.clone(), ctx.runtime().limits().body_timeout);
        shared.gateway.serve(client, ctx).await
    }
}

impl HttpServerApp for Edge {
    /// What `async_trait` would write, but for how the future gets its place: made there instead of copied there, which
    /// took a sixth of a small request's instructions.
    fn process_new_http<'edge, 'watch, 'served>(
        self: &'edge Arc<Self>,
        session: ServerSession,
        shutdown: &'watch ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'served>>
    where
        'edge: 'served,
        'watch: 'served,
        Self: 'served,
    {
        let served = Box::write(Box::new_uninit(), self.serve(session, shutdown));
        Box::into_pin(served)
    }

    fn h2_options(&self) -> Option<H2Options> {
        let limits = self.shared.live.load().limits().clone();
        let mut options = default_h2_options();
        options.max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        options.max_concurrent_streams(limits.http2_streams);
        options.initial_window_size(H2_STREAM_WINDOW_BYTES);
        options.initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// The host that a request is for, as the client wrote it. What is no host finds no listener of its own; the head's check
/// refuses it later.
fn host(session: &ServerSession) -> &str {
    let header = session.req_header();
    let field = || header.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    header.uri.authority().map(http::uri::Authority::as_str).or_else(field).unwrap_or_default()
}

/// What to answer to a header that could not be read; `None` when there is nobody to answer.
fn unreadable(error: &PingoraError, limits: &Limits) -> Option<Error> {
    if *error.etype() != ErrorType::InvalidHTTPHeader {
        return None;
    }
    // Pingora's parser has limits of its own, which only its words tell from a malformed header.
    let cause = error.cause.as_ref().and_then(|cause| cause.downcast_ref::<httparse::Error>());
    let context = error.context.as_ref().map_or("", |context| context.as_str());
    Some(if cause == Some(&httparse::Error::TooManyHeaders) {
        Error::TooManyHeaders { limit: (limits.header_count as usize).min(PARSED_HEADERS) }
    } else if context.starts_with("Request header larger than") {
        Error::HeadersTooLarge { limit_bytes: limits.header_bytes }
    } else {
        Error::BadHeader("the request line or a header is malformed")
    })
}

/// Pingora keeps this timeout in whole seconds and takes 0 for "no limit".
fn whole_seconds(timeout: Duration) -> u64 {
    timeout.as_secs().max(1)
}
