//! One simulated server: its listener, its connections, and the handle that tests hold.

mod io;

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use self::io::Socket;
use super::{
    connection::Connection,
    faults::Faults,
    issuing::{Issued, Vault},
    metrics::FakeMetrics,
    options::Options,
    record::{RecordedRequest, Stats},
    router,
    state::ServerState,
};

/// Wait after an `accept` that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A simulated model server; see [`Sim::start`].
#[derive(Debug)]
pub struct Sim;

impl Sim {
    /// Binds the listener and serves on the current tokio runtime. The server answers as soon as this returns.
    ///
    /// # Errors
    /// The address cannot be bound, or the TLS files cannot be used.
    pub async fn start(options: Options) -> Result<Handle, StartError> {
        let tls = options.tls.as_ref().map(io::acceptor).transpose()?;
        let address = options.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })?;
        let addr = listener.local_addr().map_err(|source| StartError::Bind { address, source })?;
        let server = Arc::new(ServerState::new(options, addr));
        let (phase, phases) = watch::channel(Phase::Running);
        let task = tokio::spawn(accept(listener, tls, server.clone(), phases));
        Ok(Handle { addr, server, phase, task })
    }
}

/// A server that runs; dropping it kills the server.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    server: Arc<ServerState>,
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its faults, to be changed at will.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// Shows these gauges on `/metrics` and in load reports instead of the real ones; none shows the real ones.
    pub fn fake_metrics(&self, fakes: Option<FakeMetrics>) {
        *self.server.api.fakes.lock() = fakes;
    }

    /// What it has counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.server.record.stats()
    }

    /// The last requests ([`Options::record_requests`]), oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.server.record.requests()
    }

    /// Forgets the requests remembered so far.
    pub fn forget_requests(&self) {
        self.server.record.forget();
    }

    /// What its token services have handed out, oldest first.
    #[must_use]
    pub fn issued(&self) -> Vec<Issued> {
        self.server.vault.as_ref().map(Vault::issued).unwrap_or_default()
    }

    /// Takes no token any more that was issued until now, here or elsewhere.
    pub fn revoke_issued(&self) {
        self.server.vault.iter().for_each(Vault::revoke);
    }

    /// Waits until `condition` holds, and returns the counters that fulfilled it.
    pub async fn until(&self, condition: impl Fn(&Stats) -> bool) -> Stats {
        self.server.record.until(condition).await
    }

    /// Ends it as `kill -9` would, only that every connection is reset (RST). Await [`Handle::join`] before
    /// starting another on the same address.
    pub fn kill(&self) {
        self.phase.send_replace(Phase::Killed);
    }

    /// Stops accepting, finishes what is under way, then ends.
    pub fn shutdown(&self) {
        self.phase.send_if_modified(|phase| {
            let runs = *phase == Phase::Running;
            if runs {
                *phase = Phase::Draining;
            }
            runs
        });
    }

    /// Waits for the server's end. Hands on the panic of a connection, if one did.
    pub async fn join(mut self) {
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Certificate, key or client authorities cannot be used.
    #[error("unusable TLS options")]
    Tls(#[from] penstock_tls::PemErrors),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
    Killed,
}

/// Returns once the server's phase fulfils `condition`, or its handle is gone.
async fn reached(phases: &mut watch::Receiver<Phase>, condition: impl Fn(Phase) -> bool) {
    // Fails when the handle is gone, and a handle kills as it goes.
    let _ = phases.wait_for(|phase| condition(*phase)).await;
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    server: Arc<ServerState>,
    mut phases: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    let watched = phases.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(run_connection(stream, tls.clone(), server.clone(), watched.clone()));
                }
                // What the peer already gave up is none of ours; anything else is a shortage that passes.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(ended) = connections.join_next() => hand_on_panic(ended),
            () = reached(&mut phases, |phase| phase != Phase::Running) => break,
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        hand_on_panic(ended);
    }
}

fn hand_on_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn run_connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    server: Arc<ServerState>,
    mut phases: watch::Receiver<Phase>,
) {
    let number = server.record.connection_opened();
    let connection = Arc::new(Connection::new(number));
    tokio::select! {
        () = serve(stream, tls, &server, &connection, phases.clone()) => {}
        () = connection.ended() => {}
        () = reached(&mut phases, |phase| phase == Phase::Killed) => connection.reset(),
    }
    server.record.connection_closed();
}

/// Serves until the peer leaves. Dropping this future drops the socket, which is how a connection is cut.
async fn serve(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    server: &Arc<ServerState>,
    connection: &Arc<Connection>,
    mut phases: watch::Receiver<Phase>,
) {
    let Ok(socket) = Socket::open(stream, tls, connection.clone()).await else { return };
    let service =
        service_fn(|request: Request<Incoming>| router::serve(server.clone(), connection.clone(), request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1024);
    let serving = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        () = reached(&mut phases, |phase| phase == Phase::Draining) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
