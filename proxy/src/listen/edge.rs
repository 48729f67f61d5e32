//! The edge of a connection: hands each of its requests to Pingora's proxy, and does what that cannot: deadlines for a
//! head and for a preface, answers to heads that cannot be parsed, and connections that are closed in steps.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::protocols::{ALPN, Ssl as _};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use tokio::time::Instant;

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
    http2: HttpServerOptions,
}

impl Edge {
    /// An edge in front of `proxy`.
    pub(crate) fn new(proxy: Arc<HttpProxy<Gateway>>, live: Arc<Live>) -> Arc<Self> {
        let mut http2 = HttpServerOptions::default();
        http2.h2_idle_timeout = Some(live.load().limits().keep_alive_timeout);
        // Only what is known to speak HTTP/2 is served by these options.
        http2.h2c = true;
        Arc::new(Self { proxy, live, http2 })
    }

    /// Serves a connection to its end.
    pub(crate) async fn serve(self: &Arc<Self>, stream: ClientStream, h2c: bool, shutdown: &ShutdownWatch) {
        if h2c || stream.selected_alpn_proto() == Some(ALPN::H2) {
            let due = Instant::now() + self.live.load().limits().header_timeout;
            stream.await_head(HeadWatch::http2(due));
            self.process_new(Box::new(stream), shutdown).await;
        } else {
            self.serve_http1(stream, shutdown).await;
        }
    }

    /// Serves the requests of a connection, one after the other.
    async fn serve_http1(&self, stream: ClientStream, shutdown: &ShutdownWatch) {
        let given_back = stream.given_back().clone();
        stream.await_head(self.head_watch(Duration::ZERO).telling());
        let mut session = ServerSession::new_http1(Box::new(stream));
        loop {
            self.prepare(&mut session);
            let reused = self.proxy.process_new_http(session, shutdown).await;
            session = match reused.map(ReusedHttpStream::consume) {
                Some((stream, settings)) => {
                    let Ok(mut stream) = stream.into_any().downcast::<ClientStream>() else { return };
                    if !stream.is_session_ahead() && !self.until_readable(&mut stream, shutdown).await {
                        return;
                    }
                    stream.await_head(self.head_watch(self.idle_time(&stream)));
                    let mut session = ServerSession::new_http1(stream);
                    if let Some(settings) = settings {
                        settings.apply_to_session(&mut session);
                    }
                    session
                }
                None => match given_back.take() {
                    Some((mut stream, Next::Request { unread_bytes, limit })) => {
                        if unread_bytes == 0 && !self.until_readable(&mut stream, shutdown).await {
                            return;
                        }
                        let idle = self.live.load().limits().keep_alive_timeout;
                        let idle = if unread_bytes == 0 { Duration::ZERO } else { idle };
                        stream.await_head(self.head_watch(idle).after_body(unread_bytes, limit));
                        ServerSession::new_http1(stream)
                    }
                    Some((mut stream, Next::Refuse(error))) => {
                        self.live.load().metrics().settle(Settlement::unread(&error));
                        respond::refuse_unread(&mut stream, &error).await;
                        return linger::close(*stream, self.live.load().limits()).await;
                    }
                    Some((stream, Next::Linger)) => {
                        return linger::close(*stream, self.live.load().limits()).await;
                    }
                    None => return,
                },
            };
        }
    }

    /// Waits for a client's next request, without the memory that a session takes. Whether one came.
    async fn until_readable(&self, stream: &mut ClientStream, shutdown: &ShutdownWatch) -> bool {
        let (idle, linger) = {
            let live = self.live.load();
            (live.limits().keep_alive_timeout, live.snapshot().shutdown.linger)
        };
        let mut shutdown = shutdown.clone();
        tokio::select! {
            biased;
            readable = pingora_timeout::timeout(idle, stream.readable()) => matches!(readable, Ok(Ok(()))),
            () = listen::drained(&mut shutdown, linger) => false,
        }
    }

    /// How long the next head may take to begin. Where the session has read beyond its request, it may have that head
    /// already, and has to wait for it itself.
    fn idle_time(&self, stream: &ClientStream) -> Duration {
        if stream.is_session_ahead() { self.live.load().limits().keep_alive_timeout } else { Duration::ZERO }
    }

    /// What guards the next head, for which a client may take `idle` longer.
    fn head_watch(&self, idle: Duration) -> HeadWatch {
        let live = self.live.load();
        let limits = live.limits();
        // On a reused connection the wait for the first byte counts too: it cannot be seen apart from here.
        let due = Instant::now() + idle + limits.header_timeout;
        HeadWatch::http1(due, limits.header_bytes, limits.header_count as usize)
    }

    fn prepare(&self, session: &mut ServerSession) {
        let live = self.live.load();
        session.set_pipelining_enabled(true);
        session.set_keepalive(Some(whole_seconds(live.limits().keep_alive_timeout)));
        session.set_read_timeout(Some(live.limits().body_idle_timeout));
    }
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
        let limits = live.limits();
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
