//! How the endpoints of one pool or backend are connected to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use penstock_config::{ConnectionSpec, UpstreamProtocol};
use pingora_core::protocols::TcpKeepalive;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_core::upstreams::peer::HttpPeer;

use crate::tls::UpstreamContext;
use crate::tls::upstream::alpn;

/// HTTP/2 connections to upstreams are pinged this often, so that one whose other end vanished is noticed.
const H2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// Kernel probes on idle connections, for the same reason.
pub(crate) const TCP_KEEPALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(60), Duration::from_secs(10), 3);

/// What is the same for all endpoints of a pool or backend.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Everything but the address; copied for each connection that Pingora makes.
    template: HttpPeer,
    protocol: UpstreamProtocol,
    connection: ConnectionSpec,
    tls: Option<Arc<UpstreamContext>>,
}

impl Peers {
    /// Peers that speak `protocol` under `connection`'s deadlines.
    pub(crate) fn new(
        protocol: UpstreamProtocol,
        connection: &ConnectionSpec,
        tls: Option<Arc<UpstreamContext>>,
    ) -> Self {
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut template = HttpPeer::new(unset, false, String::new());
        let options = &mut template.options;
        options.alpn = alpn(protocol);
        options.connection_timeout = Some(connection.connect_timeout);
        options.total_connection_timeout = Some(connection.connect_timeout);
        options.idle_timeout = Some(connection.idle_timeout);
        options.read_timeout = connection.read_timeout;
        options.write_timeout = connection.write_timeout;
        options.max_h2_streams = connection.http2_streams as usize;
        options.h2_ping_interval = Some(H2_PING_INTERVAL);
        let (idle, interval, count) = TCP_KEEPALIVE;
        options.tcp_keepalive = Some(TcpKeepalive {
            idle,
            interval,
            count: count as usize,
            #[cfg(target_os = "linux")]
            user_timeout: Duration::ZERO,
        });
        Self { template, protocol, connection: connection.clone(), tls }
    }

    /// Whether HTTP/1.1 without TLS is spoken, so that there is nothing to negotiate.
    pub(crate) fn is_plain_http1(&self) -> bool {
        self.tls.is_none() && matches!(self.protocol, UpstreamProtocol::Http1 | UpstreamProtocol::Auto)
    }

    /// Whether HTTP/2 is not to be offered.
    pub(crate) fn is_http1_only(&self) -> bool {
        self.protocol == UpstreamProtocol::Http1
    }

    /// Deadlines of the connections.
    pub(crate) fn connection(&self) -> &ConnectionSpec {
        &self.connection
    }

    /// The peer at `address`. Connections are reused only within one `generation`: an address that comes back
    /// as another endpoint must not get a connection that was made to the one before. `host` is its DNS name.
    pub(crate) fn peer(&self, address: SocketAddr, generation: u64, host: Option<&str>) -> HttpPeer {
        let mut peer = self.template.clone();
        peer._address = PeerAddress::Inet(address);
        peer.group_key = generation;
        if let Some(tls) = &self.tls {
            match host {
                Some(host) => tls.configure(&mut peer, host),
                None => tls.configure(&mut peer, &address.ip().to_string()),
            }
        }
        peer
    }
}
