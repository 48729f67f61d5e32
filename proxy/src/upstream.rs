//! Connections to upstreams: made, kept alive, and spoken to in HTTP/1.1 or HTTP/2 as one thing.
//!
//! HTTP/1.1 is spoken by a client of the gateway's own. Pingora's sends head and body apart, asks the system for the
//! peer of each connection that it uses again, and hands every byte over through a channel; a request of a kilobyte is
//! mostly these. HTTP/2, TLS and the negotiation between them are Pingora's. See `docs/design/attempts.md`.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::v2;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_error::{Error as PingoraError, ErrorType};
use pingora_http::ResponseHeader;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::Error;
use crate::io::Io;
use crate::peers::{Peers, TCP_KEEPALIVE};

mod chunked;
mod head;
mod http1;
mod http2;
mod idle;

use http1::Http1;
use http2::Http2;
use idle::Idle;
pub(crate) use idle::Key;

/// All connections to upstreams.
pub(crate) struct Connections {
    idle: Idle,
    /// HTTP/2 connections, and the connector that makes those with TLS.
    http2: v2::Connector,
}

/// One request's connection, or its stream of one.
pub(crate) struct Connection {
    protocol: Protocol,
    key: Key,
    /// How long it may be idle.
    idle_timeout: Duration,
    /// Whether it carried requests before this one.
    pub(crate) is_reused: bool,
}

enum Protocol {
    Http1(Box<Http1>),
    Http2(Box<Http2>, Box<HttpPeer>),
}

/// The head of a request as its upstream is to see it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) target: PathAndQuery,
    /// With `Host`, and what frames the body.
    pub(crate) headers: HeaderMap,
    pub(crate) framing: BodyFraming,
}

/// How the body of a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// All of it is here, perhaps none.
    Whole,
    /// It is still coming, and its length is known.
    Length,
    /// It is still coming, nobody knows how long.
    Chunked,
}

/// What happens to an exchange.
pub(crate) enum Event {
    /// What there was of the body is sent, and more can be taken.
    Sent,
    /// A head that another one follows.
    Informational(Box<ResponseHeader>),
    /// The head of the response.
    Head {
        /// The head. Length, if any, is as sent; no other header frames the body.
        header: Box<ResponseHeader>,
        /// Whether no body follows.
        is_end: bool,
    },
    /// A piece of the body, perhaps an empty last one.
    Body {
        /// The piece.
        data: Bytes,
        /// Whether it is the last.
        is_end: bool,
    },
    /// What follows the body of an HTTP/2 response: its end.
    Trailers(HeaderMap),
}

impl Connections {
    /// Connections of which at most `idle_limit` wait for a further request.
    pub(crate) fn new(idle_limit: usize) -> Self {
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
    pub(crate) async fn connect(
        &self,
        peers: &Peers,
        address: SocketAddr,
        generation: u64,
        host: Option<&str>,
    ) -> Result<Connection, Error> {
        let peer = (!peers.is_plain_http1()).then(|| Box::new(peers.peer(address, generation, host)));
        let manner = peer.as_ref().map_or(0, |peer| peer.reuse_hash());
        let key = Key { address, generation, manner };
        let (protocol, is_reused) = match (peer, self.idle.take(&key)) {
            (_, Some(http1)) => (Protocol::Http1(http1), true),
            (None, None) => {
                (Protocol::Http1(Box::new(Http1::new(Io::Tcp(dial(peers, address).await?)))), false)
            }
            // In a place of its own: a handshake's state would be a part of that of every request.
            (Some(peer), None) => Box::pin(self.negotiate(peers, peer)).await?,
        };
        Ok(Connection { protocol, key, idle_timeout: peers.connection().idle_timeout, is_reused })
    }

    /// Takes a connection back after its exchange, however that ended; it is kept if it can be used again.
    pub(crate) fn release(&self, connection: Connection) {
        match connection.protocol {
            Protocol::Http1(http1) if http1.is_reusable() => {
                self.idle.put(connection.key, http1, connection.idle_timeout);
            }
            Protocol::Http1(_) => {}
            Protocol::Http2(http2, peer) => {
                if http2.refuses_http2() {
                    self.http2.prefer_h1(&*peer);
                }
                self.http2.release_http_session(http2.end(), &*peer, Some(connection.idle_timeout));
            }
        }
    }

    /// Closes idle HTTP/1.1 connections that are dead, too old, or to endpoints that `is_wanted` does not know.
    pub(crate) fn sweep(&self, is_wanted: impl Fn(&Key) -> bool) {
        self.idle.sweep(is_wanted);
    }

    /// How many HTTP/1.1 connections are idle.
    pub(crate) fn idle_count(&self) -> usize {
        self.idle.count()
    }

    async fn negotiate(&self, peers: &Peers, peer: Box<HttpPeer>) -> Result<(Protocol, bool), Error> {
        let http1 = |stream| Protocol::Http1(Box::new(Http1::new(Io::Tls(stream))));
        if peers.is_http1_only() {
            let stream = self.http2.transport().new_stream(&*peer).await.map_err(no_connection)?;
            return Ok((http1(stream), false));
        }
        let reused = self.http2.reused_http_session(&*peer).await.map_err(no_connection)?;
        if let Some(session) = reused {
            return Ok((Protocol::Http2(Box::new(Http2::new(session)), peer), true));
        }
        match self.http2.new_http_session::<_, ()>(&*peer).await.map_err(no_connection)? {
            HttpSession::H2(session) => Ok((Protocol::Http2(Box::new(Http2::new(session)), peer), false)),
            HttpSession::H1(session) => Ok((http1(session.into_inner()), false)),
            HttpSession::Custom(()) => Err(Error::internal("a session of a kind that was not asked for")),
        }
    }
}

impl Connection {
    /// Starts a request with the part of its body that is here.
    ///
    /// # Errors
    /// The connection takes no more requests, or cannot express this one.
    pub(crate) fn start(
        &mut self,
        outgoing: Outgoing,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Error> {
        match &mut self.protocol {
            Protocol::Http1(http1) => {
                http1.start(&outgoing, body);
                Ok(())
            }
            Protocol::Http2(http2, peer) => http2.start(outgoing, peer.is_tls(), body),
        }
    }

    /// Hands over more of the body.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        match &mut self.protocol {
            Protocol::Http1(http1) => http1.push(chunk),
            Protocol::Http2(http2, _) => http2.push(chunk),
        }
    }

    /// Tells that the body is whole.
    pub(crate) fn finish(&mut self) {
        match &mut self.protocol {
            Protocol::Http1(http1) => http1.finish(),
            Protocol::Http2(http2, _) => http2.finish(),
        }
    }

    /// Whether everything that was handed over is sent, and more of the body can be.
    pub(crate) fn wants_body(&self) -> bool {
        match &self.protocol {
            Protocol::Http1(http1) => http1.wants_body(),
            Protocol::Http2(http2, _) => http2.wants_body(),
        }
    }

    /// Since when the upstream has taken nothing of what is to be sent.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        match &self.protocol {
            Protocol::Http1(http1) => http1.stalled_since(),
            Protocol::Http2(http2, _) => http2.stalled_since(),
        }
    }

    /// Whether the connection was closed before the upstream can have seen the request on it, as far as that can be
    /// told: it had been used before, and not a byte came back.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_reused
            && match &self.protocol {
                Protocol::Http1(http1) => !http1.has_received(),
                Protocol::Http2(http2, _) => !http2.has_head(),
            }
    }

    /// Keeps a connection that seems to hang from being given further requests.
    pub(crate) fn distrust(&self) {
        if let Protocol::Http2(http2, _) = &self.protocol {
            http2.distrust();
        }
    }

    /// Sends what there is to be sent, and resolves with what happens next.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        match &mut self.protocol {
            Protocol::Http1(http1) => http1.poll_event(cx),
            Protocol::Http2(http2, _) => http2.poll_event(cx),
        }
    }
}

impl Outgoing {
    /// The head as HTTP/1.1 writes it.
    fn to_wire(&self) -> Bytes {
        const VERSION: &[u8] = b" HTTP/1.1\r\n";
        let target = self.target.as_str();
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let length =
            self.method.as_str().len() + 1 + target.len() + VERSION.len() + fields.sum::<usize>() + 2;
        let mut wire = BytesMut::with_capacity(length);
        wire.put_slice(self.method.as_str().as_bytes());
        wire.put_u8(b' ');
        wire.put_slice(target.as_bytes());
        wire.put_slice(VERSION);
        for (name, value) in &self.headers {
            wire.put_slice(name.as_str().as_bytes());
            wire.put_slice(b": ");
            wire.put_slice(value.as_bytes());
            wire.put_slice(b"\r\n");
        }
        wire.put_slice(b"\r\n");
        wire.freeze()
    }
}

async fn dial(peers: &Peers, address: SocketAddr) -> Result<TcpStream, Error> {
    let connected =
        pingora_timeout::timeout(peers.connection().connect_timeout, TcpStream::connect(address)).await;
    let stream = connected
        .map_err(|_elapsed| Error::UpstreamConnectTimeout)?
        .and_then(|stream| set_options(&stream).map(|()| stream));
    stream.map_err(|error| Error::UpstreamConnect(Some(error.into())))
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
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => Error::UpstreamConnectTimeout,
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::TLSWantX509Lookup => {
            Error::UpstreamTls(Some(error))
        }
        ErrorType::ConnectRefused
        | ErrorType::ConnectError
        | ErrorType::ConnectNoRoute
        | ErrorType::SocketError
        | ErrorType::BindError => Error::UpstreamConnect(Some(error)),
        ErrorType::InvalidH2 => Error::InvalidResponse(Some(error)),
        _ => Error::UpstreamReset(Some(error)),
    }
}
