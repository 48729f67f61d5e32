//! How the gateway ends: what is in flight is finished, nothing new begins, and nobody waits longer than needed.

use std::time::Duration;

use http::Method;
use penstock_proxy::server::Drained;
use penstock_sim::Handle;
use penstock_sim::faults::{Action, Fault};
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{
    Gateway, Load, MODEL, Protocol, RawClient, body, chat, eventually, get, pool, post, post_json, request,
    sim, sims, spawn, until, within,
};

/// Longer than any test waits: a drain that takes as long does not end when it could.
const FAR_AWAY: Duration = Duration::from_secs(3600);

async fn before(servers: &[&Handle]) -> Gateway {
    lingering(servers, "50ms").await
}

async fn lingering(servers: &[&Handle], linger: &str) -> Gateway {
    let addresses: Vec<_> = servers.iter().map(|server| server.addr()).collect();
    Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &addresses)],
        "shutdown": {"linger": linger},
    }))
    .await
}

fn asked() -> http::Request<crate::harness::Body> {
    post_json("/v1/chat/completions", &chat(MODEL, false))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_gateway_ends_at_once_whatever_the_deadline() {
    let server = sim(MODEL).await;
    let gateway = before(&[&server]).await;
    // Connections that were used and lie idle, and one that has said nothing yet.
    let (mut h1, mut h2) = (gateway.client(Protocol::H1).await, gateway.client(Protocol::H2).await);
    assert_eq!(h1.send(asked()).await.status, 200);
    assert_eq!(h2.send(asked()).await.status, 200);
    let silent = RawClient::connect(gateway.addr()).await;
    eventually("the silent connection", || {
        (gateway.metric("penstock_connections_open", &[]) == 3.0).then_some(())
    })
    .await;
    assert_eq!(within("the drain", gateway.drain(FAR_AWAY)).await, Drained::Completely);
    h1.closed().await;
    h2.closed().await;
    silent.closed().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancer_learns_of_the_end_at_the_health_path() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "healthPath": "/healthz"}],
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
        "shutdown": {"linger": "5m"},
    }))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = client.send(get("/healthz?from=lb")).await;
        assert_eq!((reply.status.as_u16(), &reply.json()), (200, &json!({"ready": true})));
        let head = request(Method::HEAD, "/healthz", &[], body(""));
        assert_eq!(client.send(head).await.status, 200);
        // Everything else is the rule's.
        client.send(post("/healthz", &[], "x")).await;
        client.send(get("/healthz/x")).await;
    }
    assert_eq!(server.requests().len(), 4);

    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(get("/healthz")).await.status, 200);
    let drained = {
        let server = gateway.server().clone();
        spawn(async move { server.drain(FAR_AWAY).await })
    };
    eventually("the drain", || gateway.server().is_draining().then_some(())).await;
    let reply = client.send(get("/healthz")).await;
    assert_eq!((reply.status.as_u16(), &reply.json()), (503, &json!({"ready": false, "reason": "draining"})));
    client.closed().await;
    assert_eq!(drained.join().await, Drained::Completely);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_finished_and_its_connection_closed() {
    let server = sim(MODEL).await;
    server.faults().push(Fault::delay(Duration::from_millis(500)));
    let gateway = before(&[&server]).await;
    let (mut h1, mut h2) = (gateway.client(Protocol::H1).await, gateway.client(Protocol::H2).await);
    let (first, second) = (h1.start(asked()), h2.start(asked()));
    until(&server, |stats| stats.in_flight == 2).await;
    let draining = gateway.server().clone();
    let drain = crate::harness::spawn(async move { draining.drain(FAR_AWAY).await });
    eventually("the drain", || gateway.server().is_draining().then_some(())).await;
    let first = first.join().await.unwrap();
    assert_eq!((first.status().as_u16(), first.headers()["connection"].as_bytes()), (200, &b"close"[..]));
    let second = second.join().await.unwrap();
    assert_eq!(second.status(), 200);
    drop((first, second));
    // Over HTTP/2 a GOAWAY says it, and the connection ends with its last stream.
    h2.closed().await;
    h1.closed().await;
    assert_eq!(drain.join().await, Drained::Completely);
    assert_eq!(server.stats().completed, 2);
    assert_eq!(gateway.log(2).await.len(), 2);
    gateway.stop().await;
}

/// A connection that would be accepted by nobody must not be taken by the system either: its client has to go
/// elsewhere at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_let_in_while_the_last_requests_finish() {
    let server = sim(MODEL).await;
    server.faults().push(Fault::new(Action::Hang));
    let gateway = before(&[&server]).await;
    let addr = gateway.addr();
    let mut client = gateway.client(Protocol::H1).await;
    let request = client.start(asked());
    until(&server, |stats| stats.in_flight == 1).await;
    let draining = gateway.server().clone();
    let drain = crate::harness::spawn(async move { draining.drain(FAR_AWAY).await });
    within("connections to be refused", async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop((request, client));
    assert_eq!(drain.join().await, Drained::Completely);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_is_cut_off_at_the_deadline() {
    let server = sim(MODEL).await;
    server.faults().push(Fault::new(Action::HangAfter { chunks: 1 }));
    let gateway = before(&[&server]).await;
    let mut client = gateway.client(Protocol::H2).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = client.open(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
        stream.next().await.unwrap().unwrap();
        streams.push(stream);
    }
    assert_eq!(gateway.drain(Duration::from_millis(50)).await, Drained::Cut(3));
    drop((streams, client));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_when_the_gateway_ends_under_load() {
    let [a, b] = sims().await;
    // Much longer than any client of a closed loop pauses, even on a machine that has other things to do.
    let gateway = lingering(&[&a, &b], "10s").await;
    let load = Load::start(gateway.addr(), 64, |_| asked());
    load.more(500).await;
    assert_eq!(within("the drain", gateway.drain(FAR_AWAY)).await, Drained::Completely);
    let (answered, failures) = load.stop().await;
    assert_eq!(failures, [""; 0], "{answered} were answered");
    // Whatever was read was answered.
    let log = gateway.log(answered).await;
    assert!(log.iter().all(|line| line["status"] == 200 && line.get("error").is_none()));
    assert_eq!((log.len(), a.stats().completed + b.stats().completed), (answered, answered as u64));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_gateways_own_close_the_connection_too() {
    let server = sim(MODEL).await;
    server.faults().push(Fault::new(Action::Hang));
    let gateway = before(&[&server]).await;
    let mut holder = gateway.client(Protocol::H1).await;
    let held = holder.start(asked());
    until(&server, |stats| stats.in_flight == 1).await;
    // Connected, its request half sent, before the drain begins.
    let mut late = RawClient::connect(gateway.addr()).await;
    late.send("POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 2\r\n\r\n{").await;
    eventually("both requests", || (gateway.server().in_flight() == 2).then_some(())).await;
    let draining = gateway.server().clone();
    let drain = crate::harness::spawn(async move { draining.drain(FAR_AWAY).await });
    eventually("the drain", || gateway.server().is_draining().then_some(())).await;
    late.send("}").await;
    let reply = late.reply().await.unwrap();
    assert_eq!((reply.status, reply.header("connection")), (400, "close"));
    late.closed().await;
    drop((held, holder));
    assert_eq!(drain.join().await, Drained::Completely);
    gateway.stop().await;
}
