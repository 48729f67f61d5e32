//! The edge of a connection: hands each of its requests to Pingora's proxy, and does what that cannot: deadlines for a
//! head and for a preface, answers to heads that cannot be parsed, and connections that are closed in steps.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use penstock_config::Limits;
use pingora_core::apps::{
    HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp,
};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::protocols::{ALPN, Ssl as _};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::time::Instant;

use crate::error::{Error, Limit};
use crate::gateway::Gateway;
use crate::listen::{self, linger};
use crate::metrics::Settlement;
use crate::respond;
use crate::runtime::Live;
use crate::stream::{ClientStream, HeadWatch, Next};

/// Bytes a client may send ahead on one HTTP/2 stream, and on the connection: prompts are large.
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Serves the connections of one listener.
pub(crate) struct Edge {
    proxy: Arc<HttpProxy<Gateway>>,
    live: Arc<Live>,
    /// The listener's name, by which each snapshot knows it.
    listener: Arc<str>,
    http2: HttpServerOptions,
}

impl Edge {
    /// An edge in front of `proxy`.
    pub(crate) fn new(proxy: Arc<HttpProxy<Gateway>>, live: Arc<Live>, listener: Arc<str>) -> Arc<Self> {
        let mut http2 = HttpServerOptions::default();
        http2.h2_idle_timeout = Some(live.load().limits_at(&listener).keep_alive_timeout);
        // Only what is known to speak HTTP/2 is served by these options.
        http2.h2c = true;
        Arc::new(Self { proxy, live, listener, http2 })
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        stream: Box<ClientStream>,
        h2c: bool,
        shutdown: &ShutdownWatch,
    ) {
        if h2c || stream.selected_alpn_proto() == Some(ALPN::H2) {
            let (due, control_frames) = {
                let live = self.live.load();
                let limits = live.limits_at(&self.listener);
                (Instant::now() + limits.header_timeout, limits.http2_control_frames)
            };
            stream.await_head(HeadWatch::http2(due, control_frames));
            let given_back = stream.given_back().clone();
            self.process_new(stream, shutdown).await;
            match given_back.take() {
                // There was no request.
                Some((_, Next::Refuse(Error::HeaderTimeout))) => self.limit_hit(Limit::HeaderTimeout),
                // Its streams have had their ends; what ended the connection under them is counted.
                Some((_, Next::Refuse(error))) => {
                    self.live.load().metrics().settle(Settlement::unread(&error));
                }
                _ => {}
            }
        } else {
            self.serve_http1(stream, shutdown).await;
        }
    }

    /// Counts a limit that was hit without a request.
    pub(crate) fn limit_hit(&self, limit: Limit) {
        self.live.load().metrics().gateway.limit_hit(limit);
    }

    /// Serves the requests of a connection, one after the other.
    async fn serve_http1(&self, stream: Box<ClientStream>, shutdown: &ShutdownWatch) {
        let given_back = stream.given_back().clone();
        let mut watch = shutdown.clone();
        let linger = self.live.load().snapshot().shutdown.linger;
        let mut drained = pin!(listen::drained(&mut watch, linger));
        let mut session = {
            let live = self.live.load();
            let limits = live.limits_at(&self.listener);
            stream.await_head(head_watch(limits, Duration::ZERO).telling().at_the_start());
            session(stream, None, limits)
        };
        loop {
            let reused = self.proxy.process_new_http(session, shutdown).await;
            let (mut stream, settings, unread) = match reused.map(ReusedHttpStream::consume) {
                Some((stream, settings)) => match stream.into_any().downcast::<ClientStream>() {
                    Ok(stream) => (stream, settings, None),
                    Err(_) => return,
                },
                None => match given_back.take() {
                    Some((stream, Next::Request { unread_bytes: 0, .. })) => {
                        stream.account_for_all();
                        (stream, None, None)
                    }
                    Some((stream, Next::Request { unread_bytes, limit, .. })) => {
                        (stream, None, Some((unread_bytes, limit)))
                    }
                    // In places of their own: each connection would have the room that its rare ends take.
                    Some((stream, Next::Refuse(error))) => {
                        return Box::pin(self.refuse(stream, &error)).await;
                    }
                    Some((stream, Next::Linger)) => return Box::pin(self.close(stream)).await,
                    None => return,
                },
            };
            let mut idle = self.live.load().limits_at(&self.listener).keep_alive_timeout;
            // A session that has read beyond its request may have the next head already, and has to look itself.
            let begins_anew = unread.is_some() || !stream.is_session_ahead();
            if unread.is_none() && begins_anew {
                let due = Instant::now() + idle;
                let is_open = poll_fn(|cx| match stream.poll_readable(cx, due) {
                    Poll::Pending => drained.as_mut().poll(cx).map(|()| false),
                    ready => ready,
                });
                if !is_open.await {
                    if Instant::now() >= due {
                        self.limit_hit(Limit::KeepAliveTimeout);
                    }
                    return;
                }
                idle = Duration::ZERO;
            }
            let live = self.live.load();
            let limits = live.limits_at(&self.listener);
            let watch = head_watch(limits, idle);
            let watch = if begins_anew { watch.at_the_start() } else { watch };
            stream.await_head(match unread {
                Some((unread_bytes, limit)) => watch.after_body(unread_bytes, limit),
                None => watch,
            });
            session = self::session(stream, settings, limits);
        }
    }

    /// Answers a request whose head could not be read, and closes its connection.
    async fn refuse(&self, mut stream: Box<ClientStream>, error: &Error) {
        self.live.load().metrics().settle(Settlement::unread(error));
        respond::refuse_unread(&mut *stream, error).await;
        self.close(stream).await;
    }

    async fn close(&self, mut stream: Box<ClientStream>) {
        let limits = self.live.load().limits().clone();
        linger::close(&mut stream, &limits).await;
    }
}

/// What guards the next head, which a client may take `idle` longer to begin.
fn head_watch(limits: &Limits, idle: Duration) -> HeadWatch {
    let due = Instant::now() + idle + limits.header_timeout;
    HeadWatch::http1(due, limits.header_bytes, limits.header_count as usize)
}

/// A session for the next request of a connection, as the last one left it.
fn session(
    stream: Box<ClientStream>,
    settings: Option<HttpPersistentSettings>,
    limits: &Limits,
) -> ServerSession {
    let mut session = ServerSession::new_http1(stream);
    if let Some(settings) = settings {
        settings.apply_to_session(&mut session);
    }
    session.set_pipelining_enabled(true);
    session.set_keepalive(Some(whole_seconds(limits.keep_alive_timeout)));
    session.set_read_timeout(Some(limits.body_idle_timeout));
    session
}

/// For HTTP/2 alone: Pingora runs its connections, and hands on their requests.
impl HttpServerApp for Edge {
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
        self.proxy.process_new_http(session, shutdown)
    }

    fn h2_options(&self) -> Option<H2Options> {
        let live = self.live.load();
        let limits = live.limits_at(&self.listener);
        let mut options = default_h2_options();
        options.max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        options.max_concurrent_streams(limits.http2_streams);
        options.initial_window_size(H2_STREAM_WINDOW_BYTES);
        options.initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.http2)
    }
}

/// Pingora keeps this timeout in whole seconds and takes 0 for "no limit".
fn whole_seconds(timeout: Duration) -> u64 {
    timeout.as_secs().max(1)
}
