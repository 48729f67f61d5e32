//! How the endpoints of one upstream are connected to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::protocols::{ALPN, TcpKeepalive};
use pingora_core::upstreams::peer::HttpPeer;

/// HTTP/2 connections to upstreams are pinged this often, so that one whose other end vanished is noticed.
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Kernel probes on idle connections, for the same reason: after how long, how often, and how many.
pub(crate) const TCP_KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(60), Duration::from_secs(10), 3);

/// Deadlines and bounds of the connections to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// How long establishing a connection may take, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept for reuse.
    pub idle_timeout: Duration,
    /// How long a read may wait for bytes. Kept by whoever polls a [`Connection`](crate::Connection).
    pub read_timeout: Option<Duration>,
    /// How long a write may wait for the upstream to accept bytes. Kept by whoever polls a
    /// [`Connection`](crate::Connection).
    pub write_timeout: Option<Duration>,
    /// The most requests that share one HTTP/2 connection.
    pub http2_streams: usize,
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS; the upstream must agree to it by ALPN.
    H2,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, whichever the upstream prefers by ALPN; HTTP/1.1 without TLS.
    Auto,
}

/// TLS towards an upstream, as far as a connection has to know of it.
pub trait SecurePeer: Send + Sync {
    /// Makes `peer` one that is spoken to in TLS, and, by its group key, one that shares connections only with peers
    /// that are verified in the same way. `host` is the upstream's name, or its address where it has none.
    fn secure(&self, peer: &mut HttpPeer, host: &str);
}

/// What is the same for all endpoints of an upstream.
pub struct Peers {
    /// Everything but the address; copied for each connection that Pingora makes.
    template: HttpPeer,
    protocol: Protocol,
    connection: ConnectionOptions,
    tls: Option<Arc<dyn SecurePeer>>,
}

impl Protocol {
    /// What to offer by ALPN, by which Pingora's connector also knows an upstream that speaks HTTP/2 without TLS.
    #[must_use]
    pub fn alpn(self) -> ALPN {
        match self {
            Self::Http1 => ALPN::H1,
            Self::H2 | Self::H2c => ALPN::H2,
            Self::Auto => ALPN::H2H1,
        }
    }
}

impl Peers {
    /// Peers that speak `protocol`, within the bounds of `connection`; in TLS if there is `tls`.
    pub fn new(protocol: Protocol, connection: ConnectionOptions, tls: Option<Arc<dyn SecurePeer>>) -> Self {
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut template = HttpPeer::new(unset, false, String::new());
        let options = &mut template.options;
        options.alpn = protocol.alpn();
        options.connection_timeout = Some(connection.connect_timeout);
        options.total_connection_timeout = Some(connection.connect_timeout);
        options.idle_timeout = Some(connection.idle_timeout);
        options.read_timeout = connection.read_timeout;
        options.write_timeout = connection.write_timeout;
        options.max_h2_streams = connection.http2_streams;
        options.h2_ping_interval = Some(H2_PING_INTERVAL);
        let (idle, interval, count) = TCP_KEEPALIVE;
        options.tcp_keepalive = Some(TcpKeepalive {
            idle,
            interval,
            count: count as usize,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        Self { template, protocol, connection, tls }
    }

    /// Deadlines and bounds of the connections.
    #[inline]
    pub fn connection(&self) -> &ConnectionOptions {
        &self.connection
    }

    /// Whether HTTP/1.1 without TLS is spoken, so that there is nothing to negotiate.
    pub(crate) fn is_plain_http1(&self) -> bool {
        self.tls.is_none() && matches!(self.protocol, Protocol::Http1 | Protocol::Auto)
    }

    /// Whether HTTP/2 is not to be offered.
    pub(crate) fn is_http1_only(&self) -> bool {
        self.protocol == Protocol::Http1
    }

    /// The peer at `address`. Connections are reused only within one `generation`: an address that comes back
    /// as another endpoint must not get a connection that was made to the one before. `host` is its DNS name.
    pub(crate) fn peer(&self, address: SocketAddr, generation: u64, host: Option<&str>) -> HttpPeer {
        let mut peer = self.template.clone();
        peer._address = PeerAddress::Inet(address);
        peer.group_key = generation;
        if let Some(tls) = &self.tls {
            match host {
                Some(host) => tls.secure(&mut peer, host),
                None => tls.secure(&mut peer, &address.ip().to_string()),
            }
        }
        peer
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, connection, tls, .. } = self;
        let mut shown = f.debug_struct("Peers");
        shown.field("protocol", protocol).field("connection", connection);
        shown.field("is_tls", &tls.is_some()).finish_non_exhaustive()
    }
}
