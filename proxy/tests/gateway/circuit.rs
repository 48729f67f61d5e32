//! Circuit breakers of backends: what is refused, what moves on, and that every place is given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawServer, Reply, SilentPort, Task, backend, chat, eventually,
    post_json, spawn, with, within,
};

const CHAT: &str = "/v1/chat/completions";
const HELD: &str = "/v1/chat/completions?hold";
const STREAMED: &str = "/v1/chat/completions?stream";
const RESET: &str = "/v1/chat/completions?reset";

/// A server that holds requests until they are given up, breaks them off, or answers them, by what their query says.
struct Server {
    raw: RawServer,
    /// Requests that it holds.
    held: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let held = Arc::new(AtomicUsize::new(0));
        let count = held.clone();
        let raw = RawServer::start(move |mut connection| {
            let held = count.clone();
            async move {
                while let Some((head, _)) = connection.request().await {
                    if head.contains("?reset") {
                        connection.reset();
                        return;
                    } else if head.contains("?hold") || head.contains("?stream") {
                        if head.contains("?stream") {
                            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                            connection.send(format!("{head}data: {{}}\n\n")).await;
                        }
                        held.fetch_add(1, SeqCst);
                        connection.closed().await;
                        held.fetch_sub(1, SeqCst);
                        return;
                    }
                    connection.respond(200, "content-type: application/json\r\n", "{}").await;
                }
            }
        })
        .await;
        Self { raw, held }
    }

    async fn until_held(&self, count: usize) {
        eventually("requests at the server", || (self.held.load(SeqCst) == count).then_some(())).await;
    }
}

/// A gateway with one rule that tries these backends in this order, once each.
async fn gateway(backends: &[Value], timeouts: Value) -> Gateway {
    let target = |(at, backend): (usize, &Value)| json!({"backend": backend["name"], "priority": at});
    let targets: Vec<Value> = backends.iter().enumerate().map(target).collect();
    let rule = json!({"models": [MODEL], "targets": targets, "timeouts": timeouts, "retry": {"backoff": "0s", "budgetPercent": 100}});
    Gateway::start(json!({"routes": [{"name": "r", "rules": [rule]}], "backends": backends})).await
}

fn bounded(name: &str, server: &Server, bounds: &Value) -> Value {
    let ejects_nobody = json!({"ejection": {"consecutiveFailures": 0}, "circuitBreaker": bounds});
    with(backend(name, &[server.raw.addr()]), ejects_nobody)
}

async fn ask(gateway: &Gateway, path: &str) -> Reply {
    gateway.client(Protocol::H1).await.send(post_json(path, &chat(MODEL, false))).await
}

/// A client that waits for its answer until it is dropped, and then leaves.
struct Waiting {
    _client: Client,
    _task: Task<hyper::Result<Response<Incoming>>>,
}

async fn hold(gateway: &Gateway, path: &'static str) -> Waiting {
    let mut client = gateway.client(Protocol::H1).await;
    let task = client.start(post_json(path, &chat(MODEL, path == STREAMED)));
    Waiting { _client: client, _task: task }
}

/// Sends a request until the server holds it: an answer may be with its client before the place is given back.
async fn held(gateway: &Gateway, server: &Server, path: &'static str) -> Waiting {
    within("a request to be held", async {
        loop {
            let client = hold(gateway, path).await;
            for _ in 0..50 {
                if server.held.load(SeqCst) == 1 {
                    return client;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await
}

/// Asks until the gateway lets a request through again: places are given back when the request has ended, which a client
/// that left does not see.
async fn until_served(gateway: &Gateway) {
    assert_eq!(admitted(gateway, CHAT).await, 200);
}

/// The status of a request, sent until there is a place for it: an answer may be with its client before its place is given
/// back.
async fn admitted(gateway: &Gateway, path: &str) -> u16 {
    for _ in 0..10_000 {
        let reply = ask(gateway, path).await;
        if reply.status != 503 || reply.code() != "circuit_open" {
            return reply.status.as_u16();
        }
        tokio::task::yield_now().await;
    }
    panic!("a place was not given back");
}

fn refused(gateway: &Gateway, bound: &str) -> f64 {
    gateway.metric("penstock_circuit_open_total", &["upstream=\"b\"", &format!("bound=\"{bound}\"")])
}

async fn end(gateway: Gateway, servers: impl IntoIterator<Item = Server>) {
    gateway.stop().await;
    for server in servers {
        server.raw.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_beyond_the_bound_is_refused_at_once_in_the_dialect_of_its_client() {
    let server = Server::start().await;
    let gateway = gateway(&[bounded("b", &server, &json!({"maxParallelRequests": 2}))], json!({})).await;
    let (first, second) = (hold(&gateway, HELD).await, hold(&gateway, STREAMED).await);
    server.until_held(2).await;
    let reply = ask(&gateway, CHAT).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "circuit_open"), "{}", reply.text());
    assert_eq!(reply.header("retry-after"), "1");
    assert!(reply.text().contains("maxParallelRequests"), "{}", reply.text());
    let reply = ask(&gateway, "/v1/messages").await;
    assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (503, &json!("error")), "{}", reply.text());
    assert_eq!(refused(&gateway, "maxParallelRequests"), 2.0);
    assert_eq!(gateway.metric("penstock_picks_total", &["circuit_open", "upstream=\"b\""]), 2.0);
    drop((first, second));
    until_served(&gateway).await;
    end(gateway, [server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_beyond_the_bound_goes_to_the_next_target_without_a_retry() {
    let (server, spare) = (Server::start().await, Server::start().await);
    let backends = [
        bounded("b", &server, &json!({"maxParallelRequests": 1})),
        bounded("spare", &spare, &json!({"maxParallelRetries": 0})),
    ];
    let gateway = gateway(&backends, json!({})).await;
    let first = hold(&gateway, HELD).await;
    server.until_held(1).await;
    let reply = ask(&gateway, CHAT).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        (reply.header("x-penstock-target"), reply.header("x-penstock-tried")),
        ("spare", "b;circuit_open")
    );
    assert_eq!(gateway.metric("penstock_retries_total", &[]), 0.0);
    drop(first);
    end(gateway, [server, spare]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_have_a_bound_of_their_own() {
    let (failing, server) = (Server::start().await, Server::start().await);
    let backends =
        [bounded("failing", &failing, &json!({})), bounded("b", &server, &json!({"maxParallelRetries": 0}))];
    let gateway = gateway(&backends, json!({})).await;
    let reply = ask(&gateway, RESET).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "circuit_open"), "{}", reply.text());
    assert_eq!(refused(&gateway, "maxParallelRetries"), 1.0);
    assert_eq!(server.raw.accepted(), 0);
    end(gateway, [failing, server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_connection_is_pending_and_makes_room_by_leaving() {
    let (silent, spare) = (SilentPort::take(), Server::start().await);
    let bounds = json!({"circuitBreaker": {"maxPendingRequests": 1}, "connection": {"connectTimeout": "1m"}});
    let backends = [with(backend("b", &[silent.addr()]), bounds), backend("spare", &[spare.raw.addr()])];
    let alone = gateway(&backends[..1], json!({})).await;
    let first = hold(&alone, CHAT).await;
    eventually("the first to wait", || {
        (alone.metric("penstock_upstream_in_flight", &[]) == 1.0).then_some(())
    })
    .await;
    let reply = ask(&alone, CHAT).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "circuit_open"), "{}", reply.text());
    assert_eq!(refused(&alone, "maxPendingRequests"), 1.0);
    drop(first);
    eventually("the first to be gone", || {
        (alone.metric("penstock_upstream_in_flight", &[]) == 0.0).then_some(())
    })
    .await;
    let second = hold(&alone, CHAT).await;
    eventually("the second to wait", || {
        (alone.metric("penstock_upstream_in_flight", &[]) == 1.0).then_some(())
    })
    .await;
    assert_eq!(refused(&alone, "maxPendingRequests"), 1.0);
    drop(second);
    alone.stop().await;

    let both = gateway(&backends, json!({})).await;
    let first = hold(&both, CHAT).await;
    eventually("the first to wait", || {
        (both.metric("penstock_upstream_in_flight", &[]) == 1.0).then_some(())
    })
    .await;
    let reply = ask(&both, CHAT).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-penstock-tried")), (200, "b;circuit_open"));
    drop(first);
    end(both, [spare]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_a_connection_where_all_are_in_use() {
    let server = Server::start().await;
    let gateway = gateway(&[bounded("b", &server, &json!({"maxConnections": 1}))], json!({})).await;
    let first = hold(&gateway, HELD).await;
    server.until_held(1).await;
    let mut client = gateway.client(Protocol::H1).await;
    let second: Task<Reply> = spawn(async move { client.send(post_json(CHAT, &chat(MODEL, false))).await });
    eventually("both there", || (gateway.metric("penstock_upstream_in_flight", &[]) == 2.0).then_some(()))
        .await;
    assert_eq!(server.raw.accepted(), 1, "the second waits");
    drop(first);
    assert_eq!(second.join().await.status, 200);
    end(gateway, [server]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_with_all_its_connections_in_use_is_passed_over() {
    let (one, two) = (Server::start().await, Server::start().await);
    let bounds = json!({"circuitBreaker": {"maxConnectionsPerEndpoint": 1}});
    let both = with(backend("b", &[one.raw.addr(), two.raw.addr()]), bounds);
    let gateway = gateway(&[both], json!({})).await;
    let (first, second) = (hold(&gateway, HELD).await, hold(&gateway, HELD).await);
    one.until_held(1).await;
    two.until_held(1).await;
    let reply = ask(&gateway, CHAT).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "circuit_open"), "{}", reply.text());
    assert_eq!(refused(&gateway, "maxConnectionsPerEndpoint"), 1.0);
    drop((first, second));
    until_served(&gateway).await;
    end(gateway, [one, two]).await;
}

/// Clients that leave before the answer and in it, servers that break off, time that is up: none keeps a place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_given_back_whatever_ends_a_request() {
    let server = Server::start().await;
    let bounds = json!({
        "maxParallelRequests": 1, "maxParallelRetries": 1, "maxPendingRequests": 1, "maxConnections": 1,
        "maxConnectionsPerEndpoint": 1,
    });
    let gateway = gateway(&[bounded("b", &server, &bounds)], json!({"perTry": "2s"})).await;
    for round in 0..40 {
        match round % 4 {
            0 => drop(held(&gateway, &server, HELD).await),
            1 => drop(held(&gateway, &server, STREAMED).await),
            2 => assert_eq!(admitted(&gateway, RESET).await, 502),
            // Left as soon as it is sent: wherever the gateway is with it.
            _ => drop(hold(&gateway, CHAT).await),
        }
        until_served(&gateway).await;
    }
    assert_eq!(admitted(&gateway, HELD).await, 504, "its time is up");
    until_served(&gateway).await;
    end(gateway, [server]).await;
}
