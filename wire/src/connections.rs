//! Connections to upstreams: made, kept alive, and spoken to in HTTP/1.1 or HTTP/2 as one thing.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::v2::{self, H2HandshakeSettings};
use pingora_core::protocols::ALPN;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_error::{Error as PingoraError, ErrorType, OkOrErr as _};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::Error;
use crate::exchange::{Event, Outgoing};
use crate::guard::Guarded;
use crate::http1::Http1;
use crate::http2::Http2;
use crate::idle::{Idle, Key};
use crate::io::Io;
use crate::peers::{Peers, TCP_KEEPALIVE};

/// All connections to upstreams.
pub struct Connections {
    idle: Idle,
    /// HTTP/2 connections, and the connector that makes those with TLS.
    http2: v2::Connector,
}

/// One request's connection, or its stream of one.
pub struct Connection {
    session: Session,
    key: Key,
    /// How long it may be idle.
    idle_timeout: Duration,
    /// Whether it carried requests before this one.
    is_reused: bool,
}

enum Session {
    Http1(Box<Http1>),
    Http2(Box<Http2>, Box<HttpPeer>),
}

impl Connections {
    /// Connections of which at most `idle_limit` wait for a further request.
    pub fn new(idle_limit: usize) -> Self {
        Self {
            idle: Idle::new(idle_limit),
            http2: v2::Connector::new(Some(ConnectorOptions::new(idle_limit))),
        }
    }

    /// A connection to `address` that was used before, if one is idle; else a new one.
    ///
    /// Connections are used again only within one `generation`. `host` is the upstream's DNS name.
    ///
    /// # Errors
    /// The upstream cannot be reached, or not as it is to be.
    pub async fn connect(
        &self,
        peers: &Peers,
        address: SocketAddr,
        generation: u64,
        host: Option<&str>,
    ) -> Result<Connection, Error> {
        let peer = (!peers.is_plain_http1()).then(|| Box::new(peers.peer(address, generation, host)));
        let reuse_hash = peer.as_ref().map_or(0, |peer| peer.reuse_hash());
        let key = Key { address, generation, reuse_hash };
        let (session, is_reused) = match (peer, self.idle.take(&key)) {
            (_, Some(http1)) => (Session::Http1(http1), true),
            (None, None) => {
                (Session::Http1(Box::new(Http1::new(Io::Tcp(dial(peers, address).await?)))), false)
            }
            // In a place of its own: a handshake's state would be a part of that of every request.
            (Some(peer), None) => Box::pin(self.negotiate(peers, peer)).await?,
        };
        Ok(Connection { session, key, idle_timeout: peers.connection().idle_timeout, is_reused })
    }

    /// Takes a connection back after its exchange, however that ended; it is kept if it can be used again.
    pub fn release(&self, connection: Connection) {
        match connection.session {
            Session::Http1(http1) if http1.is_reusable() => {
                self.idle.put(connection.key, http1, connection.idle_timeout);
            }
            Session::Http1(_) => {}
            Session::Http2(http2, peer) => {
                if http2.refuses_http2() {
                    self.http2.prefer_h1(&*peer);
                }
                self.http2.release_http_session(http2.end(), &*peer, Some(connection.idle_timeout));
            }
        }
    }

    /// Closes idle HTTP/1.1 connections that are dead, too old, or to endpoints that `is_wanted` does not know.
    pub fn sweep(&self, is_wanted: impl Fn(&Key) -> bool) {
        self.idle.sweep(is_wanted);
    }

    /// How many HTTP/1.1 connections are idle.
    pub fn idle_count(&self) -> usize {
        self.idle.count()
    }

    async fn negotiate(&self, peers: &Peers, peer: Box<HttpPeer>) -> Result<(Session, bool), Error> {
        let transport = self.http2.transport();
        if !peers.is_http1_only()
            && let Some(session) = self.http2.reused_http_session(&*peer).await.map_err(no_connection)?
        {
            return Ok((Session::Http2(Box::new(Http2::new(session)), peer), true));
        }
        let stream = transport.new_stream(&*peer).await.map_err(no_connection)?;
        if !peers.is_http1_only() && is_http2(&stream, &peer) {
            let session = self.begin_http2(stream, &peer).await.map_err(no_connection)?;
            return Ok((Session::Http2(Box::new(Http2::new(session)), peer), false));
        }
        Ok((Session::Http1(Box::new(Http1::new(Io::Tls(stream)))), false))
    }

    /// The first stream of an HTTP/2 connection that Pingora's connector keeps for others. It would make such a connection
    /// itself, but leaves no place for a guard beneath TLS's end and HTTP/2's beginning.
    async fn begin_http2(&self, stream: Stream, peer: &HttpPeer) -> Result<Http2Session, Box<PingoraError>> {
        let mut settings = H2HandshakeSettings::new();
        settings.max_streams = peer.options.max_h2_streams;
        settings.ping_interval = peer.options.h2_ping_interval;
        let connection = v2::handshake(Box::new(Guarded::new(stream)), settings).await?;
        let session = connection.spawn_stream().await?;
        let session = session.or_err(ErrorType::H2Error, "the upstream takes no stream")?;
        if connection.more_streams_allowed() {
            self.http2.in_use_pool().insert(peer.reuse_hash(), connection);
        }
        Ok(session)
    }
}

impl Connection {
    /// Starts a request with the part of its body that is here.
    ///
    /// # Errors
    /// The connection takes no more requests, or cannot express this one.
    pub fn start(&mut self, outgoing: Outgoing, body: impl IntoIterator<Item = Bytes>) -> Result<(), Error> {
        match &mut self.session {
            Session::Http1(http1) => {
                http1.start(&outgoing, body);
                Ok(())
            }
            Session::Http2(http2, peer) => http2.start(outgoing, peer.is_tls(), body),
        }
    }

    /// Hands over more of the body.
    #[inline]
    pub fn push(&mut self, chunk: Bytes) {
        match &mut self.session {
            Session::Http1(http1) => http1.push(chunk),
            Session::Http2(http2, _) => http2.push(chunk),
        }
    }

    /// Tells that the body is whole.
    #[inline]
    pub fn finish(&mut self) {
        match &mut self.session {
            Session::Http1(http1) => http1.finish(),
            Session::Http2(http2, _) => http2.finish(),
        }
    }

    /// Whether everything that was handed over is sent, and more of the body can be.
    #[inline]
    pub fn wants_body(&self) -> bool {
        match &self.session {
            Session::Http1(http1) => http1.wants_body(),
            Session::Http2(http2, _) => http2.wants_body(),
        }
    }

    /// Since when the upstream has taken nothing of what is to be sent.
    #[inline]
    pub fn stalled_since(&self) -> Option<Instant> {
        match &self.session {
            Session::Http1(http1) => http1.stalled_since(),
            Session::Http2(http2, _) => http2.stalled_since(),
        }
    }

    /// Whether the connection was closed before the upstream can have seen the request on it, as far as that can be
    /// told: it had been used before, and not a byte came back.
    pub fn is_stale(&self) -> bool {
        self.is_reused
            && match &self.session {
                Session::Http1(http1) => !http1.has_received(),
                Session::Http2(http2, _) => !http2.has_head(),
            }
    }

    /// Keeps a connection that seems to hang from being given further requests.
    pub fn distrust(&self) {
        if let Session::Http2(http2, _) = &self.session {
            http2.distrust();
        }
    }

    /// Sends what there is to be sent, and resolves with what happens next.
    #[inline]
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        match &mut self.session {
            Session::Http1(http1) => http1.poll_event(cx),
            Session::Http2(http2, _) => http2.poll_event(cx),
        }
    }
}

/// Whether a new connection speaks HTTP/2: by what was agreed to, or without TLS by what is known.
fn is_http2(stream: &Stream, peer: &HttpPeer) -> bool {
    match stream.selected_alpn_proto() {
        Some(agreed) => agreed == ALPN::H2,
        None => !peer.is_tls() && peer.options.alpn == ALPN::H2,
    }
}

async fn dial(peers: &Peers, address: SocketAddr) -> Result<TcpStream, Error> {
    let connected =
        pingora_timeout::timeout(peers.connection().connect_timeout, TcpStream::connect(address)).await;
    let stream = connected
        .map_err(|_elapsed| Error::ConnectTimeout)?
        .and_then(|stream| set_options(&stream).map(|()| stream));
    stream.map_err(|error| Error::Connect(error.into()))
}

fn set_options(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (idle, interval, count) = TCP_KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(count);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Why Pingora's connector made no connection.
fn no_connection(error: Box<PingoraError>) -> Error {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Error::ConnectTimeout,
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::TLSWantX509Lookup => {
            Error::Tls(error)
        }
        ErrorType::ConnectRefused
        | ErrorType::ConnectError
        | ErrorType::ConnectNoRoute
        | ErrorType::SocketError
        | ErrorType::BindError => Error::Connect(error),
        ErrorType::InvalidH2 => Error::InvalidResponse(error),
        _ => Error::Reset(error),
    }
}
