//! Which endpoints of a backend are well: by what their answers are, and by asking them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};

use crate::harness::{
    Gateway, MODEL, Protocol, RawServer, Reply, backend, chat, eventually, post_json, with,
};

/// A server that answers requests with one status and checks with another word, and counts both.
struct Server {
    raw: RawServer,
    requests: Arc<AtomicUsize>,
    checks: Arc<AtomicUsize>,
}

impl Server {
    async fn start(status: u16, word: &'static str) -> Self {
        let (requests, checks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (requests.clone(), checks.clone());
        let raw = RawServer::start(move |mut connection| {
            let (requests, checks) = counts.clone();
            async move {
                while let Some((head, _)) = connection.request().await {
                    if head.starts_with("options /ready?deep=1 ") && head.contains("host: checked.test\r\n") {
                        checks.fetch_add(1, SeqCst);
                        connection.respond(204 + u16::from(word == "ill"), "", word).await;
                    } else {
                        requests.fetch_add(1, SeqCst);
                        connection.respond(status, "content-type: application/json\r\n", "{}").await;
                    }
                }
            }
        })
        .await;
        Self { raw, requests, checks }
    }
}

async fn gateway(servers: &[&Server], changes: Value) -> Gateway {
    let addresses: Vec<_> = servers.iter().map(|server| server.raw.addr()).collect();
    let rule = json!({"models": [MODEL], "targets": [{"backend": "b"}], "retry": {"attempts": 1}});
    Gateway::start(json!({
        "routes": [{"name": "r", "rules": [rule]}],
        "backends": [with(backend("b", &addresses), changes)],
    }))
    .await
}

async fn ask(gateway: &Gateway) -> Reply {
    let body = chat(MODEL, false);
    gateway.client(Protocol::H1).await.send(post_json("/v1/chat/completions", &body)).await
}

async fn end(gateway: Gateway, servers: impl IntoIterator<Item = Server>) {
    gateway.stop().await;
    for server in servers {
        server.raw.stop().await;
    }
}

/// 503 is no failure to the gateway by itself, but being busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_errors_ejects_an_endpoint_where_that_is_said() {
    for (runs, ejections) in [(json!({}), 0.0), (json!({"failureRuns": {"gatewayErrors": 3}}), 1.0)] {
        let (bad, good) = (Server::start(503, "").await, Server::start(200, "").await);
        let ejection = json!({"ejection": {"consecutiveFailures": 0, "baseTime": "1h", "maxTime": "1h"}});
        let gateway = gateway(&[&bad, &good], with(ejection, runs)).await;
        for _ in 0..20 {
            ask(&gateway).await;
        }
        assert_eq!(gateway.metric("penstock_ejections_total", &["upstream=\"b\""]), ejections);
        let asked = bad.requests.load(SeqCst);
        assert_eq!(asked, if ejections > 0.0 { 3 } else { 10 });
        assert_eq!(good.requests.load(SeqCst), 20 - asked);
        end(gateway, [bad, good]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_asks_as_is_said_and_judges_by_status() {
    let (ill, well) = (Server::start(200, "ill").await, Server::start(200, "").await);
    let check = json!({"healthCheck": {
        "method": "OPTIONS", "host": "checked.test", "path": "/ready?deep=1", "statuses": [204],
        "interval": "100ms", "unhealthyThreshold": 2,
    }});
    let gateway = gateway(&[&ill, &well], check).await;
    eventually("some checks", || (ill.checks.load(SeqCst) > 3 && well.checks.load(SeqCst) > 3).then_some(()))
        .await;
    for _ in 0..6 {
        assert_eq!(ask(&gateway).await.status, 200);
    }
    assert_eq!((ill.requests.load(SeqCst), well.requests.load(SeqCst)), (0, 6));
    end(gateway, [ill, well]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_takes_no_connections_is_not_well_and_one_that_does_is() {
    let well = Server::start(200, "").await;
    let refused = crate::harness::RefusedPort::take();
    let check = json!({"healthCheck": {"kind": "Tcp", "interval": "100ms", "unhealthyThreshold": 1}});
    let rule = json!({"models": [MODEL], "targets": [{"backend": "b"}], "retry": {"attempts": 1}});
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [rule]}],
        "backends": [with(backend("b", &[refused.addr(), well.raw.addr()]), check)],
    }))
    .await;
    // A check of each comes with each round of checks, and the second is there when the first has been judged.
    eventually("two rounds of checks", || (well.raw.accepted() >= 2).then_some(())).await;
    for _ in 0..6 {
        assert_eq!(ask(&gateway).await.status, 200);
    }
    assert_eq!(well.requests.load(SeqCst), 6);
    end(gateway, [well]).await;
}
