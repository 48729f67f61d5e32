//! Upstreams that do exactly what a test says.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::raw::{find, reset};
use super::{Task, eventually, spawn, within};

/// An upstream whose connections are served by a function of the test's.
pub(crate) struct RawServer {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: Task<()>,
}

/// A connection that the gateway opened.
pub(crate) struct RawConnection {
    /// Its number, from 1.
    pub(crate) number: usize,
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A port on which connections are refused. It stays taken, so nobody else comes to listen there.
pub(crate) struct RefusedPort {
    addr: SocketAddr,
    _socket: socket2::Socket,
}

impl RawServer {
    /// Serves each connection with `serve`.
    pub(crate) async fn start<F, Served>(serve: F) -> Self
    where
        F: Fn(RawConnection) -> Served + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let task = spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    stream = listener.accept() => {
                        let (stream, _) = stream.unwrap();
                        stream.set_nodelay(true).unwrap();
                        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                        connections.spawn(serve(RawConnection { number, stream, buffer: Vec::new() }));
                    }
                    Some(ended) = connections.join_next() => ended.unwrap(),
                }
            }
        });
        Self { addr, accepted, task }
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Waits until so many connections have been accepted.
    pub(crate) async fn until_accepted(&self, count: usize) {
        eventually("a connection to the upstream", || (self.accepted() >= count).then_some(())).await;
    }

    /// Ends it, and panics if serving a connection did.
    pub(crate) async fn stop(self) {
        if self.task.is_finished() {
            self.task.join().await;
        }
    }
}

/// A port that answers no attempt to connect, as a node that is gone: its queue of connections is full.
pub(crate) struct SilentPort {
    addr: SocketAddr,
    _listening: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl RawConnection {
    /// Reads a request with a length or without a body; gives its head. `None`: the gateway closed the connection.
    pub(crate) async fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.buffer.drain(..end);
        let length = head.split_once("content-length:").map_or(0, |(_, rest)| {
            rest.split("\r\n").next().unwrap_or_default().trim().parse::<usize>().unwrap()
        });
        while self.buffer.len() < length {
            if !self.fill().await {
                return None;
            }
        }
        Some((head, self.buffer.drain(..length).collect()))
    }

    /// Reads until `text` has come; gives all that came.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        within(text, async {
            while find(&self.buffer, text.as_bytes()).is_none() {
                assert!(self.fill().await, "the gateway closed the connection before {text:?}");
            }
        })
        .await;
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends a whole response with a length.
    pub(crate) async fn respond(&mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
        self.send(text).await;
    }

    /// Waits until the gateway closes the connection.
    pub(crate) async fn closed(&mut self) {
        within("the gateway to close the connection", async { while self.fill().await {} }).await;
    }

    /// Closes the connection by a reset (RST).
    pub(crate) fn reset(self) {
        reset(self.stream);
    }

    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }
}

impl RefusedPort {
    /// Takes a port without listening on it.
    pub(crate) fn take() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Self { addr, _socket: socket }
    }

    /// The port's address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl SilentPort {
    /// Takes a port and fills its queue.
    pub(crate) fn take() -> Self {
        let socket = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let listening = socket();
        listening.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listening.listen(0).unwrap();
        let addr = listening.local_addr().unwrap().as_socket().unwrap();
        let queued = (0..4).map(|_| {
            let queued = socket();
            queued.set_nonblocking(true).unwrap();
            // The first ones are queued, the others wait for room.
            let _in_progress = queued.connect(&addr.into());
            queued
        });
        Self { addr, _queued: queued.collect(), _listening: listening }
    }

    /// The port's address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}
