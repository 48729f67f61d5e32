//! What starts the gateway when its document is known, and keeps what belongs to the process.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use penstock_config::{Fault, Snapshot};
use penstock_sources::Applier;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::succession::Succession;
use crate::access_log::{AccessLog, Sink, Writer};
use crate::bind::bind;
use crate::handover::{self, Inherited};
use crate::lists::Lists;
use crate::metrics::Metrics;
use crate::server::Server;

/// Starts the gateway with the first snapshot, and hands later ones on to it.
#[derive(Default)]
pub(super) struct Starter {
    /// The process's metrics.
    pub(super) metrics: Arc<Metrics>,
    lists: Arc<Mutex<Lists>>,
    /// The gateway, once there is one.
    pub(super) server: Arc<OnceLock<Arc<Server>>>,
    /// The access log.
    pub(super) access_log: Mutex<Option<AccessLog>>,
    /// The access log's.
    pub(super) writer: Mutex<Option<Writer>>,
    /// Until this process serves, where it takes part in handovers.
    succession: Mutex<Option<Succession>>,
    /// Until this process serves: sockets of the one before.
    inherited: Mutex<Inherited>,
    /// The admin listener's, as configured, for the next process.
    admin_socket: Mutex<Option<(SocketAddr, OwnedFd)>>,
    /// Cancelled when another process serves in this one's place.
    pub(super) is_over: CancellationToken,
}

impl Starter {
    /// One that takes the place of another process, or can be followed by one.
    pub(super) fn succeeding(succession: Succession, inherited: Inherited) -> Self {
        Self { succession: Mutex::new(Some(succession)), inherited: Mutex::new(inherited), ..Self::default() }
    }

    /// The gateway, once there is one.
    pub(super) fn server(&self) -> Option<&Arc<Server>> {
        self.server.get()
    }

    /// Gives up the hold on the access log, so that its writer ends when the last request has.
    pub(super) fn close_log(&self) {
        self.access_log.lock().take();
    }

    /// Listens where the admin pages are to be, or goes on where the process before did.
    pub(super) fn bind_admin(&self, address: SocketAddr) -> Result<TcpListener, Fault> {
        let inherited = self.inherited.lock().socket(handover::ADMIN, address);
        let fault = |message: String| Fault::new("admin.address", message);
        let socket = match inherited {
            Some(socket) => socket,
            None => bind(address).map_err(|error| fault(error.to_string()))?,
        };
        if self.succession.lock().is_some() {
            let kept = socket.as_fd().try_clone_to_owned().map_err(|error| fault(error.to_string()))?;
            *self.admin_socket.lock() = Some((address, kept));
        }
        Ok(socket)
    }

    fn start(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>> {
        let (access_log, writer) = open_access_log(&snapshot.access_log, &self.metrics).map_err(|error| {
            let message = format!("cannot write to {}: {error}", snapshot.access_log.path);
            vec![Fault::new("accessLog.path", message)]
        })?;
        let (metrics, lists) = (self.metrics.clone(), self.lists.clone());
        let mut inherited = self.inherited.lock();
        let server = Server::start_with(snapshot, metrics, access_log.clone(), lists, None, &inherited)?;
        // What nobody asked for is closed.
        *inherited = Inherited::default();
        for (name, address) in server.addresses() {
            tracing::info!(listener = %name, %address, "listening");
        }
        *self.access_log.lock() = Some(access_log);
        *self.writer.lock() = writer;
        self.metrics.gateway.reload_applied(snapshot.generation.unwrap_or(0));
        // Calls do not overlap, so nobody else has set it.
        let _ = self.server.set(server.clone());
        if let Some(succession) = self.succession.lock().take() {
            succession.complete(&server, self.admin_socket.lock().take(), self.is_over.clone());
        }
        Ok(())
    }
}

impl Applier for Starter {
    fn apply(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>> {
        match self.server() {
            Some(server) => server.apply(snapshot),
            None => self.start(snapshot),
        }
    }

    fn set_list(&self, reference: &str, text: Option<&str>) {
        match self.server() {
            Some(server) => server.set_list(reference, text),
            None => {
                self.lists.lock().set(reference, text);
            }
        }
    }

    fn refused(&self) {
        self.metrics.gateway.reload_refused();
    }

    fn files(&self) -> Vec<PathBuf> {
        self.server().map(|server| server.files()).unwrap_or_default()
    }

    fn reload_files(&self) {
        if let Some(server) = self.server() {
            server.reload_files();
        }
    }
}

fn open_access_log(
    spec: &penstock_config::AccessLog,
    metrics: &Metrics,
) -> io::Result<(AccessLog, Option<Writer>)> {
    if !spec.enabled {
        return Ok((AccessLog::disabled(), None));
    }
    let sink = Sink::from_path(&spec.path);
    let (log, writer) =
        AccessLog::start(&sink, spec.queue_entries as usize, metrics.gateway.access_log.clone())?;
    Ok((log, Some(writer)))
}
