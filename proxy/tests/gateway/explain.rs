//! `/debug/pick` says what becomes of a request, by the code that decides it: what it says is what then happens.

use std::net::SocketAddr;
use std::sync::Arc;

use penstock_proxy::admin::{self, Admin};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RefusedPort, backend, chat, get, pool, post, post_json, sim, with,
};

/// A gateway and its admin listener.
pub(crate) struct Explained {
    pub(crate) gateway: Gateway,
    admin: SocketAddr,
    stop: CancellationToken,
}

impl Explained {
    pub(crate) async fn start(document: Value) -> Self {
        // The name by which the harness's clients ask.
        let gateway = Gateway::start(with(document, json!({"admin": {"hosts": ["gateway.test"]}}))).await;
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        let pages = Arc::new(Admin::of(gateway.server().clone(), None));
        tokio::spawn(admin::serve(socket, pages, stop.clone()));
        Self { gateway, admin, stop }
    }

    async fn pick(&self, query: &str, body: &Value) -> Value {
        let mut client = Client::connect(self.admin, Protocol::H1).await;
        client.send(post_json(&format!("/debug/pick{query}"), body)).await.json()
    }

    /// What becomes of a chat request with this key.
    pub(crate) async fn ask(&self, key: &str) -> Value {
        let mut client = Client::connect(self.admin, Protocol::H1).await;
        let headers = [("content-type", "application/json"), ("x-api-key", key)];
        let request = post("/debug/pick?address=10.0.0.1", &headers, chat("m", false).to_string());
        client.send(request).await.json()
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_explained_within_the_bounds_that_requests_have() {
    let server = sim(MODEL).await;
    let explained = Explained::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    let mut client = Client::connect(explained.admin, Protocol::H1).await;
    let bomb = json!({"model": MODEL, "prompt": " ".repeat(1 << 20)});
    for (body, names, refuses) in [(chat(MODEL, false), true, false), (bomb, false, true)] {
        let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
        let packed = crate::encodings::gzip(&body.to_string());
        let decision = client.send(post("/debug/pick", &headers, packed)).await.json();
        assert_eq!(decision["model"] == json!(MODEL), names, "{decision}");
        assert_eq!(decision["refused"].is_string(), refuses, "{decision}");
    }
    drop(client);
    explained.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_tiers_are_explained_as_they_are_used() {
    let server = sim(MODEL).await;
    let explained = Explained::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [
            {"pool": "empty", "priority": 0}, {"backend": "fallback", "priority": 1},
        ]}]}],
        "pools": [pool("empty", &[])],
        "backends": [backend("fallback", &[server.addr()])],
    }))
    .await;
    let picked = explained.pick("", &chat(MODEL, false)).await;
    assert_eq!(picked["backend"], "fallback", "{picked:#}");
    assert_eq!(picked["passed_over"][0]["pool"], "empty", "{picked:#}");
    assert!(picked.get("refused").is_none(), "{picked:#}");
    let mut client = explained.gateway.client(Protocol::H1).await;
    assert_eq!(client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await.status, 200);
    assert_eq!(explained.gateway.log(1).await[0]["backend"], "fallback");
    drop(client);
    explained.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_models_in_a_pool_are_explained() {
    let server = sim("inside").await;
    let rewrites = json!({"modelRewrites": [{"models": ["outside"], "targets": [{"model": "inside"}]}]});
    let explained = Explained::start(json!({
        "routes": [{"name": "r", "rules": [{"models": ["outside"], "targets": [{"pool": "p"}]}]}],
        "pools": [with(pool("p", &[server.addr()]), rewrites)],
    }))
    .await;
    let picked = explained.pick("", &chat("outside", false)).await;
    assert_eq!(
        (&picked["model"], &picked["model_there"]),
        (&json!("outside"), &json!("inside")),
        "{picked:#}"
    );
    assert_eq!(picked["picked"], server.addr().to_string());
    explained.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_and_own_headers_decide_as_they_do_for_requests() {
    let server = sim(MODEL).await;
    let matches = json!([{"queryParams": [{"name": "tier", "value": "gold"}]}]);
    let explained = Explained::start(json!({
        "routes": [{"name": "gold", "rules": [{"matches": matches, "targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    let picked = explained.pick("?path=/v1/x%3Ftier%3Dgold", &json!({})).await;
    assert_eq!(picked["route"], "gold", "{picked:#}");
    let refused = explained.pick("?path=/v1/x%3Ftier%3Dlead", &json!({})).await;
    assert!(refused["refused"].is_string(), "{refused:#}");
    let mut client = explained.gateway.client(Protocol::H1).await;
    assert_eq!(client.send(get("/v1/models?tier=gold")).await.status, 200);
    assert_eq!(client.send(get("/v1/x?tier=lead")).await.status, 404);
    drop(client);
    explained.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_books_nothing() {
    let refused = RefusedPort::take();
    let explained = Explained::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]},
                   {"name": "b", "rules": [{"matches": [{"path": {"value": "/b"}}], "targets": [{"backend": "b"}]}]}],
        "pools": [pool("p", &[refused.addr()])],
        "backends": [backend("b", &[refused.addr()])],
    }))
    .await;
    for _ in 0..3 {
        assert_eq!(explained.pick("", &chat(MODEL, false)).await["picked"], refused.addr().to_string());
        assert_eq!(explained.pick("?path=/b", &json!({})).await["backend"], "b");
    }
    assert_eq!(explained.gateway.metric("penstock_picks_total", &["outcome=\"picked\""]), 0.0);
    assert!(!explained.gateway.metrics().contains("penstock_attempts_total{upstream=\"p\""));
    explained.stop().await;
}
