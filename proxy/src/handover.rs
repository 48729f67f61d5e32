//! A process that takes the place of another one, with the sockets that it listens on.
//!
//! Both are started with the same path (`serve --handover PATH`). The later one connects to it, gets the listening sockets
//! and serves; then it says so, and the one before drains as at SIGTERM. A socket that is passed on keeps its queue of
//! connections, so that none is refused or lost, whoever accepts when. Until it serves, nothing has changed for the one
//! before: a successor that cannot start ends, and that was it.
//!
//! Turned down: systemd's socket activation, where the sockets outlive a restart but clients wait in their queue until the
//! process before has drained; and SO_REUSEPORT, where each process has a queue of its own, what is in the one that closes
//! is lost, and a second process that was started by mistake takes half of the connections. See
//! `docs/design/handover.md`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::Uid;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod channel;

/// What stands in place of a listener's name for the admin listener. No listener has an empty name.
pub(crate) const ADMIN: &str = "";

/// How long the other process may take for the next thing it has to say, but for "I serve", which takes as long as there is
/// no routing document.
const PATIENCE: Duration = Duration::from_secs(10);

/// Processes that may wait at the path.
const BACKLOG: i32 = 4;

/// Who may use the path: its owner.
const SOCKET_MODE: u32 = 0o600;

/// Why nothing can be taken over or offered.
#[derive(Debug, Error)]
pub(crate) enum HandoverError {
    /// The path cannot be used.
    #[error("--handover: cannot use {path}: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is something else at the path.
    #[error("--handover: {0} is no socket: name a path of its own")]
    NoSocket(PathBuf),
    /// The other process is another user's.
    #[error("--handover: the process at {path} is of user {uid}, and only root's and one's own are trusted")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// The user.
        uid: u32,
    },
    /// The process before does not hand over what it has.
    #[error(
        "--handover: the process at {path} does not hand over its sockets: {source}; it may be handing them over to \
         another one now"
    )]
    Refused {
        /// The path.
        path: PathBuf,
        /// What happened instead.
        source: io::Error,
    },
}

/// A listening socket, by what the document calls it.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The listener's name, or [`ADMIN`].
    pub(crate) name: Arc<str>,
    /// Its address as configured: with port 0 where the system chose.
    pub(crate) address: SocketAddr,
    /// The socket.
    pub(crate) socket: OwnedFd,
}

/// Sockets that another process listens on.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<Handed>);

impl Inherited {
    /// The socket of the listener with this name at this address. Where the port is fixed, the address alone tells.
    pub(crate) fn socket(&self, name: &str, address: SocketAddr) -> Option<TcpListener> {
        let is_it =
            |handed: &&Handed| handed.address == address && (address.port() != 0 || *handed.name == *name);
        let handed = self.0.iter().find(is_it)?;
        let socket = std::net::TcpListener::from(handed.socket.try_clone().ok()?);
        socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)).ok()
    }
}

/// The process before this one.
pub(crate) struct Predecessor(Socket);

impl Predecessor {
    /// Tells it that its place is taken: it drains and ends.
    pub(crate) fn dismiss(&self) {
        if let Err(error) = channel::send_serving(&self.0) {
            tracing::warn!(%error, "the process before this one is gone already");
        }
    }
}

/// Asks the process at `path` for its sockets; `None` if there is no process. Blocks.
///
/// # Errors
/// There is one, and it gives nothing.
pub(crate) fn inherit(path: &Path) -> Result<Option<(Predecessor, Inherited)>, HandoverError> {
    let at_path = |source| HandoverError::Path { path: path.to_owned(), source };
    let refused = |source| HandoverError::Refused { path: path.to_owned(), source };
    let channel = Socket::new(Domain::UNIX, Type::SEQPACKET, None).map_err(at_path)?;
    if let Err(error) = SockAddr::unix(path).and_then(|address| channel.connect(&address)) {
        return match error.kind() {
            // Nobody was there yet, or who was there is gone: the file stays.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(at_path(error)),
        };
    }
    check_user(&channel, path)?;
    channel.set_read_timeout(Some(PATIENCE)).map_err(at_path)?;
    let handed = channel::receive(&channel).map_err(refused)?;
    if handed.iter().any(|handed| !SockRef::from(&handed.socket).is_listener().unwrap_or(false)) {
        return Err(refused(io::Error::other("not all of them listen")));
    }
    Ok(Some((Predecessor(channel), Inherited(handed))))
}

/// What is to be known of an offer while it stands.
#[derive(Clone, Default)]
pub(crate) struct Standing {
    /// Whether another process has the sockets too: then nothing may be done to them that it would feel.
    pub(crate) is_shared: Arc<AtomicBool>,
    /// Cancelled when another process serves in this one's place.
    pub(crate) is_over: CancellationToken,
}

/// The path at which sockets are offered, or will be. Until then it is whoever's it was.
#[derive(Debug)]
pub(crate) struct Counter {
    listener: Socket,
    path: PathBuf,
    /// Where it is until it is opened.
    beside: PathBuf,
}

impl Counter {
    /// Makes ready to offer sockets at `path`.
    ///
    /// # Errors
    /// The path cannot be used.
    pub(crate) fn prepare(path: &Path) -> Result<Self, HandoverError> {
        if path.symlink_metadata().is_ok_and(|there| !there.file_type().is_socket()) {
            return Err(HandoverError::NoSocket(path.to_owned()));
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let (path, beside) = (path.to_owned(), PathBuf::from(beside));
        match listen(&beside) {
            Ok(listener) => Ok(Self { listener, path, beside }),
            Err(source) => Err(HandoverError::Path { path, source }),
        }
    }

    /// Offers sockets, in place of whoever did so before, until another process serves with them. What they are is asked
    /// when one comes.
    ///
    /// # Errors
    /// The path cannot be used any more.
    pub(crate) fn open(
        self,
        sockets: impl Fn() -> io::Result<Vec<Handed>> + Send + 'static,
        standing: Standing,
    ) -> Result<(), HandoverError> {
        let failed = |path: &Path, source| HandoverError::Path { path: path.to_owned(), source };
        // At no time is there nobody at the path.
        std::fs::rename(&self.beside, &self.path).map_err(|source| failed(&self.path, source))?;
        let path = self.path.clone();
        let serve = move || self.serve(&sockets, &standing);
        std::thread::Builder::new()
            .name("handover".to_owned())
            .spawn(serve)
            .map(drop)
            .map_err(|source| failed(&path, source))
    }

    fn serve(self, sockets: &impl Fn() -> io::Result<Vec<Handed>>, standing: &Standing) {
        loop {
            let outcome = match self.listener.accept() {
                Ok((channel, _)) => hand_over(&channel, &self.path, sockets, &standing.is_shared),
                // The listener is sound, so it is the system that lacks something.
                Err(error) => {
                    pause();
                    Err(error.into())
                }
            };
            match outcome {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(%error, "the sockets were not handed over; this process goes on")
                }
            }
        }
        // Whoever else waits here is sent away before the end is known.
        drop(self);
        standing.is_over.cancel();
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // Gone, where it was opened. What is at the path itself may be the next process's.
        drop(std::fs::remove_file(&self.beside));
    }
}

fn listen(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    // Before there is a file: it comes with this mode.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    // What a process of the same number left behind.
    drop(std::fs::remove_file(path));
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Why a successor did not take over.
#[derive(Debug, Error)]
enum NotTaken {
    #[error(transparent)]
    Foreign(#[from] HandoverError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn hand_over(
    channel: &Socket,
    path: &Path,
    sockets: &impl Fn() -> io::Result<Vec<Handed>>,
    is_shared: &AtomicBool,
) -> Result<(), NotTaken> {
    check_user(channel, path)?;
    channel.set_write_timeout(Some(PATIENCE))?;
    is_shared.store(true, Ordering::Release);
    let taken = sockets().and_then(|sockets| {
        channel::send(channel, &sockets)?;
        drop(sockets);
        channel::await_serving(channel)
    });
    if taken.is_err() {
        is_shared.store(false, Ordering::Release);
    }
    Ok(taken?)
}

/// Whether the other end is this user's or root's. The file's mode keeps others out already, where it is heeded.
fn check_user(channel: &Socket, path: &Path) -> Result<(), HandoverError> {
    let at_path =
        |source: rustix::io::Errno| HandoverError::Path { path: path.to_owned(), source: source.into() };
    let other = rustix::net::sockopt::socket_peercred(channel).map_err(at_path)?.uid;
    if is_trusted(other, rustix::process::geteuid()) {
        return Ok(());
    }
    Err(HandoverError::Foreign { path: path.to_owned(), uid: other.as_raw() })
}

fn is_trusted(other: Uid, own: Uid) -> bool {
    other.is_root() || other == own
}

impl fmt::Debug for Predecessor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Predecessor").finish_non_exhaustive()
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread serves nobody else")]
fn pause() {
    std::thread::sleep(PATIENCE);
}

#[cfg(test)]
mod tests;
