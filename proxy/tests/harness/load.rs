//! A closed loop of clients: each sends its next request when it has the answer to the last.

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
    /// Requests that were sent on an idle connection just as the gateway closed it: no client counts that as an answer.
    unread: AtomicUsize,
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

    /// Stops the clients; gives how many requests were answered, how many were never read, and what went wrong.
    pub(crate) async fn stop(self) -> (usize, usize, Vec<String>) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.join().await);
        }
        (self.shared.answered.load(Ordering::Relaxed), self.shared.unread.load(Ordering::Relaxed), failures)
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
        match connected.try_send(request(number)).await {
            Ok(Reply { status, body, .. }) if status != 200 => {
                failures.push(format!("{protocol:?}: {status} {}", String::from_utf8_lossy(&body)));
            }
            Ok(reply) => {
                shared.answered.fetch_add(1, Ordering::Relaxed);
                if reply.header("connection") == "close" {
                    continue;
                }
            }
            Err(error) if error.is_canceled() || error.is_closed() || was_idle(&error) => {
                shared.unread.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(error) => failures.push(format!("{protocol:?}: {error:?}")),
        }
        if connected.is_open() {
            client = Some(connected);
        }
    }
    failures
}

/// Whether the connection ended before a byte of an answer: what a client meets on an idle connection that is being
/// closed. Tests compare with what the gateway says that it read.
fn was_idle(error: &hyper::Error) -> bool {
    let text = format!("{error:?}");
    error.is_incomplete_message()
        || ["ConnectionReset", "BrokenPipe", "GoAway", "REFUSED_STREAM"]
            .iter()
            .any(|known| text.contains(known))
}
