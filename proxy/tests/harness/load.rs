//! A closed loop of clients: each sends its next request when it has the answer to the last.

use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Body, Client, Protocol, Reply, Task, eventually, spawn};

/// Clients that go on until they are stopped.
pub(crate) struct Load {
    clients: Vec<Task<Vec<String>>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    answered: AtomicUsize,
}

impl Load {
    /// Starts clients, half of them over HTTP/2, that send what `request` makes of a running number. Whatever is not
    /// 200 is a failure.
    pub(crate) fn start(
        addr: SocketAddr,
        clients: usize,
        request: impl Fn(usize) -> http::Request<Body> + Clone + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..clients)
            .map(|number| {
                let protocol = if number % 2 == 0 { Protocol::H1 } else { Protocol::H2 };
                spawn(run(addr, protocol, number << 32, request.clone(), shared.clone()))
            })
            .collect();
        Self { clients, shared }
    }

    /// Requests answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been answered.
    pub(crate) async fn more(&self, count: usize) {
        let goal = self.answered() + count;
        let is_alive = || self.clients.iter().any(|client| !client.is_finished());
        eventually("answers under load", || (self.answered() >= goal || !is_alive()).then_some(())).await;
    }

    /// Stops the clients; gives how many requests were answered, and what went wrong.
    pub(crate) async fn stop(self) -> (usize, Vec<String>) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.join().await);
        }
        (self.shared.answered.load(Ordering::Relaxed), failures)
    }
}

async fn run(
    addr: SocketAddr,
    protocol: Protocol,
    first: usize,
    request: impl Fn(usize) -> http::Request<Body>,
    shared: Arc<Shared>,
) -> Vec<String> {
    let mut failures = Vec::new();
    let mut client: Option<Client> = None;
    for number in first.. {
        if shared.is_over.load(Ordering::Relaxed) {
            break;
        }
        let mut connected = match client.take() {
            Some(client) => client,
            None => match Client::try_connect(addr, protocol).await {
                Some(client) => client,
                // The gateway does not listen any more.
                None => break,
            },
        };
        match connected.offer(request(number)).await {
            // The connection said that it ends before it was used: every client opens another then.
            Ok(Err(_unsent)) => continue,
            Err(error) if is_untouched(&error) => continue,
            Ok(Ok(Reply { status, body, .. })) if status != 200 => {
                failures.push(format!("{protocol:?}: {status} {}", String::from_utf8_lossy(&body)));
            }
            Ok(Ok(reply)) => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                if reply.header("connection") == "close" {
                    continue;
                }
            }
            Err(error) => failures.push(format!("{protocol:?}: {error:?}")),
        }
        if connected.is_open() {
            client = Some(connected);
        }
    }
    failures
}

/// Whether the gateway said that it has not touched the request: a stream above the last one that its GOAWAY names. A
/// client may send it again whatever it is (RFC 9113 §6.8), and does. It happens though the gateway waits for a PONG
/// before it names the last stream: a client's PONG may overtake the request that it is about to send.
fn is_untouched(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}
