//! The accept loop of one listener.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt as _;
use penstock_config::{Limits, ProxyProtocol};
use pingora_core::apps::HttpServerApp as _;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::{GetSocketDigest, SocketDigest};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::count::Count;
use crate::error::Limit;
use crate::gateway::Gateway;
use crate::listen;
use crate::listen::edge::Edge;
use crate::listen::protocol::{self, Plain};
use crate::listen::proxied::{self, ProxyError};
use crate::metrics::ListenerMetrics;
use crate::runtime::{Live, Runtime};
use crate::stream::ClientStream;
use crate::tls::{DownstreamTls, HandshakeError};

/// The pause after `accept` failed, so that running out of file descriptors does not spin a core.
const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(100);

/// How long a handshake that began before its listener stops may take to end: a round trip.
const HANDSHAKE_TIME: Duration = Duration::from_millis(20);

/// Drops packets that open a connection (SYN, bit 1 of byte 13 of TCP's header) and takes all others: load that byte,
/// jump if the bit is set, drop or take. The codes are classic BPF's.
const NO_NEW_HANDSHAKE: [SockFilter; 4] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x45, 0, 1, 0b10),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Accepts the connections of one listener and serves each in a task of its own.
pub(crate) struct Acceptor {
    socket: Arc<TcpListener>,
    connections: Connections,
}

/// What a listener is, beside its socket.
pub(crate) struct Listening {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Serves its connections.
    pub(crate) proxy: Arc<HttpProxy<Gateway>>,
    /// The configuration in force.
    pub(crate) live: Arc<Live>,
    /// Open connections of clients, over all listeners.
    pub(crate) open: Arc<Count>,
    /// The certificates, where it speaks TLS.
    pub(crate) tls: Option<Arc<ArcSwapOption<DownstreamTls>>>,
    /// Runs its connections.
    pub(crate) tracker: TaskTracker,
    /// Turns true when it is to accept no more.
    pub(crate) shutdown: ShutdownWatch,
    /// Whether another process accepts from the same sockets.
    pub(crate) is_shared: Arc<AtomicBool>,
}

/// Where accepted connections go.
struct Connections {
    listening: Listening,
    connection: Arc<Connection>,
    metrics: ListenerMetrics,
    /// Open connections of this listener alone.
    own: Arc<Count>,
}

/// What holds for a new connection.
struct Terms {
    limits: Limits,
    /// How many there may be at this address.
    connections: usize,
    handshake_timeout: Duration,
    proxy_protocol: ProxyProtocol,
    linger: Duration,
}

/// How a new connection is served.
struct Connection {
    edge: Arc<Edge>,
    tls: Option<Arc<ArcSwapOption<DownstreamTls>>>,
}

impl Acceptor {
    /// Serves `socket` as `listening` says.
    pub(crate) fn new(socket: Arc<TcpListener>, listening: Listening) -> Self {
        let edge = Edge::new(listening.proxy.clone(), listening.live.clone(), listening.name.clone());
        let connection = Arc::new(Connection { edge, tls: listening.tls.clone() });
        let metrics = listening.live.load().metrics().gateway.listener(&listening.name);
        let connections = Connections { listening, connection, metrics, own: Arc::default() };
        Self { socket, connections }
    }

    /// Accepts until shutdown, then closes the listening socket unless another acceptor has taken it over.
    pub(crate) async fn run(self) {
        let mut stop = self.connections.listening.shutdown.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|is_draining| *is_draining) => break,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.connections.spawn(stream, peer),
                Err(error) => {
                    tracing::warn!(listener = %self.connections.listening.name, %error, "accept failed");
                    tokio::time::sleep(ACCEPT_ERROR_PAUSE).await;
                }
            }
        }
        let is_shared = self.connections.listening.is_shared.load(Ordering::Acquire);
        if let Some(socket) = Arc::into_inner(self.socket)
            && !is_shared
        {
            self.connections.take_the_last(socket).await;
        }
        let Listening { proxy, live, .. } = self.connections.listening;
        let linger = live.load().snapshot().shutdown.linger;
        // Nobody waits for this: idle connections alone do not hold up the end.
        tokio::spawn(async move {
            tokio::time::sleep(linger).await;
            proxy.http_cleanup().await;
        });
    }
}

impl Connections {
    /// Takes what is connected already and closes the socket. The system counts a client as connected before anybody
    /// accepts it, and resets it when the socket closes: whatever it has sent by then fails. So no handshake begins any
    /// more (the client repeats it, and is refused by then), those that have begun get the time to end, and whoever is
    /// connected is served.
    async fn take_the_last(&self, socket: TcpListener) {
        if let Err(error) = SockRef::from(&socket).attach_filter(&NO_NEW_HANDSHAKE) {
            tracing::debug!(listener = %self.listening.name, %error, "handshakes go on until the socket closes");
        }
        tokio::time::sleep(HANDSHAKE_TIME).await;
        // Bounded, for where no filter can be set and clients come as fast as they are taken.
        for _ in 0..listen::BACKLOG {
            match tokio::task::unconstrained(socket.accept()).now_or_never() {
                Some(Ok((stream, peer))) => self.spawn(stream, peer),
                // One that has left meanwhile; others wait behind it.
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr) {
        let terms = Terms::of(&self.listening.live.load(), &self.listening.name);
        let admitted = self.listening.open.admit(terms.limits.connections as usize);
        let (Some(admitted), Some(own)) = (admitted, self.own.admit(terms.connections)) else {
            self.listening.live.load().metrics().gateway.limit_hit(Limit::Connections);
            return;
        };
        let connection = self.connection.clone();
        let shutdown = self.listening.shutdown.clone();
        let open = self.metrics.accepted();
        self.listening.tracker.spawn(async move {
            let _open = (open, admitted, own);
            connection.serve(stream, peer, &terms, shutdown).await;
        });
    }
}

impl Terms {
    fn of(runtime: &Runtime, name: &str) -> Self {
        let limits = runtime.limits_at(name).clone();
        let snapshot = runtime.snapshot();
        let listener = runtime.listener_index(name).map(|index| &snapshot.listeners[index]);
        let tls = listener.and_then(|listener| listener.tls.as_ref());
        Self {
            connections: listener.and_then(|it| it.connections).map_or(usize::MAX, |most| most as usize),
            handshake_timeout: tls.and_then(|tls| tls.handshake_timeout).unwrap_or(limits.header_timeout),
            proxy_protocol: listener.map_or(ProxyProtocol::Never, |listener| listener.proxy_protocol),
            linger: snapshot.shutdown.linger,
            limits,
        }
    }
}

impl Connection {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, terms: &Terms, shutdown: ShutdownWatch) {
        let mut stop = shutdown.clone();
        let opened = tokio::select! {
            opened = self.open(stream, peer, terms) => opened,
            () = listen::drained(&mut stop, terms.linger) => None,
        };
        if let Some((stream, is_h2c)) = opened {
            self.edge.serve(stream, is_h2c, &shutdown).await;
        }
    }

    /// Finds out what the client speaks, and whether that is HTTP/2 without TLS. `None`: nothing, or nothing that is
    /// understood.
    async fn open(
        &self,
        mut stream: TcpStream,
        mut peer: SocketAddr,
        terms: &Terms,
    ) -> Option<(Box<ClientStream>, bool)> {
        stream.set_nodelay(true).ok()?;
        let limits = &terms.limits;
        let due = Instant::now() + limits.header_timeout;
        if terms.proxy_protocol != ProxyProtocol::Never {
            let is_needed = terms.proxy_protocol == ProxyProtocol::Required;
            // In a place of its own, as the handshake below.
            match Box::pin(proxied::origin(&mut stream, is_needed, due)).await {
                Ok(told) => peer = told.unwrap_or(peer),
                Err(error) => {
                    if matches!(error, ProxyError::TimedOut) {
                        self.edge.limit_hit(Limit::HeaderTimeout);
                    }
                    tracing::debug!(%peer, %error, "no connection by the PROXY protocol");
                    return None;
                }
            }
        }
        let Some(tls) = &self.tls else {
            let detected = protocol::detect(&stream, due).await;
            let plain = detected.inspect_err(|_late| self.edge.limit_hit(Limit::HeaderTimeout)).ok()??;
            let stream = Box::new(ClientStream::plain(stream, peer, limits.write_timeout));
            return Some((stream, plain == Plain::Http2));
        };
        let tls = tls.load_full()?;
        // In a place of its own, which is free again when the handshake is over.
        match Box::pin(tls.accept(transport(stream, peer), terms.handshake_timeout)).await {
            Ok(stream) => Some((Box::new(ClientStream::tls(stream, limits.write_timeout)), false)),
            Err(error) => {
                if matches!(error, HandshakeError::TimedOut(_)) {
                    self.edge.limit_hit(Limit::HeaderTimeout);
                }
                tracing::debug!(%peer, %error, "no TLS connection");
                None
            }
        }
    }
}

/// Pingora's transport over an accepted socket, with the client's address known to it.
fn transport(stream: TcpStream, peer: SocketAddr) -> L4Stream {
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let mut stream = L4Stream::from(stream);
    // Set once, right after creation: it saves a getpeername for each request.
    let _already_set = digest.peer_addr.set(Some(peer.into()));
    stream.set_socket_digest(digest);
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what `serve` returns, which is not called.
    fn size_of<F: Future>(
        _serve: impl FnOnce(&'static Connection, TcpStream, SocketAddr, &'static Terms, ShutdownWatch) -> F,
    ) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn a_connection_takes_little_beside_its_requests() {
        let bytes = size_of(Connection::serve);
        assert!(bytes <= 1280, "{bytes} bytes, for each idle connection");
    }
}
