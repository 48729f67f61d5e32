//! How the endpoints of a pool or backend are connected to: what the document says, in the words of `penstock-wire`.

use std::sync::Arc;

use penstock_config::{ConnectionSpec, UpstreamProtocol};
use penstock_wire::{ConnectionOptions, Peers, Protocol, SecurePeer};
use pingora_core::upstreams::peer::HttpPeer;

use crate::tls::UpstreamContext;

/// Peers that speak `protocol` within the bounds of `connection`; in TLS if there is `tls`.
pub(crate) fn peers(
    protocol: UpstreamProtocol,
    connection: &ConnectionSpec,
    tls: Option<Arc<UpstreamContext>>,
) -> Peers {
    let tls = tls.map(|tls| tls as Arc<dyn SecurePeer>);
    Peers::new(self::protocol(protocol), options(connection), tls)
}

/// How an upstream is spoken to.
pub(crate) fn protocol(protocol: UpstreamProtocol) -> Protocol {
    match protocol {
        UpstreamProtocol::Http1 => Protocol::Http1,
        UpstreamProtocol::H2 => Protocol::H2,
        UpstreamProtocol::H2c => Protocol::H2c,
        UpstreamProtocol::Auto => Protocol::Auto,
    }
}

/// Deadlines and bounds of connections.
pub(crate) fn options(connection: &ConnectionSpec) -> ConnectionOptions {
    ConnectionOptions {
        connect_timeout: connection.connect_timeout,
        idle_timeout: connection.idle_timeout,
        read_timeout: connection.read_timeout,
        write_timeout: connection.write_timeout,
        http2_streams: connection.http2_streams as usize,
    }
}

impl SecurePeer for UpstreamContext {
    fn secure(&self, peer: &mut HttpPeer, host: &str) {
        self.configure(peer, host);
    }
}
