//! The sockets that are listened on, and what a reload does to them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use penstock_config::{Fault, Listener, ListenerIndex, Snapshot};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::bind::bind;
use crate::handover::{Handed, Inherited};
use crate::listen::{Acceptor, Listening};
use crate::server::certificates::Certificates;
use crate::tls::DownstreamTls;

/// All listeners that run.
pub(crate) struct Listeners {
    running: Vec<Running>,
}

/// Sockets that a snapshot needs and that were not open yet, by the listener's position.
pub(crate) struct Bound(Vec<(usize, Arc<TcpListener>)>);

struct Running {
    /// Of the first listener at the address.
    name: Arc<str>,
    /// Of all listeners that share the address.
    names: Vec<Arc<str>>,
    /// As configured: with port 0 where the system chooses.
    address: SocketAddr,
    is_tls: bool,
    socket: Arc<TcpListener>,
    tls: Arc<ArcSwapOption<DownstreamTls>>,
    stop: watch::Sender<bool>,
}

impl Listeners {
    pub(crate) fn new() -> Self {
        Self { running: Vec::new() }
    }

    /// Each listener's name and the address that it has.
    pub(crate) fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let of = |running: &Running| {
            let local = running.socket.local_addr().unwrap_or(running.address);
            running.names.iter().map(|name| (name.clone(), local)).collect::<Vec<_>>()
        };
        self.running.iter().flat_map(of).collect()
    }

    /// The sockets, for a process that takes this one's place.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub(crate) fn handed(&self) -> io::Result<Vec<Handed>> {
        let handed = |running: &Running| -> io::Result<Handed> {
            let socket = running.socket.as_fd().try_clone_to_owned()?;
            Ok(Handed { name: running.name.clone(), address: running.address, socket })
        };
        self.running.iter().map(handed).collect()
    }

    /// Opens the sockets that `snapshot` needs and that are neither open yet nor `inherited`.
    ///
    /// # Errors
    /// Every address that cannot be bound. Nothing stays open then.
    pub(crate) fn bind_missing(
        &self,
        snapshot: &Snapshot,
        inherited: &Inherited,
    ) -> Result<Bound, Vec<Fault>> {
        let mut bound = Vec::new();
        let mut faults = Vec::new();
        for ListenerIndex(index) in snapshot.sockets() {
            let listener = &snapshot.listeners[index];
            if self.socket_of(listener).is_some() {
                continue;
            }
            if let Some(socket) = inherited.socket(&listener.name, listener.address) {
                bound.push((index, Arc::new(socket)));
                continue;
            }
            match bind(listener.address) {
                Ok(socket) => bound.push((index, Arc::new(socket))),
                Err(error) => {
                    faults.push(Fault::new(format!("listeners[{index}].address"), error.to_string()));
                }
            }
        }
        if faults.is_empty() { Ok(Bound(bound)) } else { Err(faults) }
    }

    /// Makes the listeners of `snapshot` the ones that run. Those that stay as they are go on undisturbed;
    /// connections of those that go are drained.
    pub(crate) fn switch_to(
        &mut self,
        snapshot: &Snapshot,
        bound: Bound,
        certificates: &Certificates,
        listening: impl Fn(&Arc<str>) -> Listening,
    ) {
        let mut bound = bound.0;
        let mut next = Vec::with_capacity(snapshot.listeners.len());
        for at in snapshot.sockets() {
            let (index, listener) = (at.0, &snapshot.listeners[at.0]);
            let names = snapshot.listeners_at(at).map(|listener| listener.name.clone()).collect();
            let tls = certificates.listener(&listener.name).cloned();
            if let Some(at) = self.running.iter().position(|running| running.is(listener)) {
                let mut running = self.running.swap_remove(at);
                running.names = names;
                running.tls.store(tls);
                next.push(running);
                continue;
            }
            let fresh = bound.iter().position(|(of, _)| *of == index).map(|at| bound.swap_remove(at).1);
            let Some(socket) = fresh.or_else(|| self.socket_of(listener).cloned()) else { continue };
            next.push(start(listener, names, socket, tls, listening(&listener.name)));
        }
        for gone in std::mem::replace(&mut self.running, next) {
            gone.stop();
        }
    }

    /// Stops accepting, closes the sockets, so that clients go elsewhere at once, and tells every connection that it is
    /// over once its requests are.
    pub(crate) fn stop_all(&mut self) {
        for running in self.running.drain(..) {
            running.stop();
        }
    }

    /// The open socket that a listener can use: the one at its address, also if its name or TLS changed.
    fn socket_of(&self, listener: &Listener) -> Option<&Arc<TcpListener>> {
        let is_same = |running: &&Running| {
            running.address == listener.address
                && (listener.address.port() != 0 || running.name == listener.name)
        };
        self.running.iter().find(is_same).map(|running| &running.socket)
    }
}

impl Running {
    /// Stops accepting. The acceptor closes the socket unless another listener goes on with it.
    fn stop(self) {
        drop(self.socket);
        self.stop.send_replace(true);
    }

    fn is(&self, listener: &Listener) -> bool {
        self.name == listener.name && self.address == listener.address && self.is_tls == listener.is_tls()
    }
}

fn start(
    listener: &Listener,
    names: Vec<Arc<str>>,
    socket: Arc<TcpListener>,
    tls: Option<Arc<DownstreamTls>>,
    listening: Listening,
) -> Running {
    let (stop, stopped) = watch::channel(false);
    let is_tls = listener.is_tls();
    let tls = Arc::new(ArcSwapOption::new(tls));
    let tracker = listening.tracker.clone();
    let listening = Listening { tls: is_tls.then(|| tls.clone()), shutdown: stopped, ..listening };
    tracker.spawn(Acceptor::new(socket.clone(), listening).run());
    Running { name: listener.name.clone(), names, address: listener.address, is_tls, socket, tls, stop }
}
