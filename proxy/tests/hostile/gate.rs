//! A gateway under test: one listener, one pool and one backend in front of one upstream.

use std::net::SocketAddr;
use std::sync::Arc;

use penstock_proxy::admin::{self, Admin};
use penstock_sim::{Handle, Sim, options::Options};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{Gateway, MODEL, eventually, with};
use crate::wire::{Answer, Wire};

/// A gateway, and the admin listener beside it.
pub(crate) struct Gate {
    pub(crate) gateway: Gateway,
    /// Where clients connect.
    pub(crate) http: SocketAddr,
    /// Where the admin pages are.
    pub(crate) admin: SocketAddr,
    stop: CancellationToken,
}

/// What of the configuration differs from test to test.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) limits: Value,
    /// Of all rules.
    pub(crate) timeouts: Value,
    /// Of all rules.
    pub(crate) retry: Value,
    /// What the model `alias` is renamed to.
    pub(crate) renamed: &'static str,
    /// Of the listener.
    pub(crate) listener: Value,
    /// What the upstream is spoken to in.
    pub(crate) protocol: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: json!({}),
            timeouts: json!({}),
            retry: json!({"attempts": 1}),
            renamed: MODEL,
            listener: json!({}),
            protocol: "http1",
        }
    }
}

impl Gate {
    /// A gateway with default limits.
    pub(crate) async fn open(upstream: SocketAddr) -> Self {
        Self::with(upstream, Setup::default()).await
    }

    /// A gateway with these limits.
    pub(crate) async fn limited(upstream: SocketAddr, limits: Value) -> Self {
        Self::with(upstream, Setup { limits, ..Setup::default() }).await
    }

    /// A gateway with these settings of its listener.
    pub(crate) async fn listening(upstream: SocketAddr, listener: Value) -> Self {
        Self::with(upstream, Setup { listener, ..Setup::default() }).await
    }

    /// A gateway in front of `upstream`. `/pool` goes to a pool whatever the model, `/raw` and `/sim` to a backend without a look
    /// at the body; elsewhere the model decides: [`MODEL`] and `alias`, which is renamed.
    pub(crate) async fn with(upstream: SocketAddr, setup: Setup) -> Self {
        let Setup { limits, timeouts, retry, renamed, listener, protocol } = setup;
        let listener = with(json!({"name": "http", "address": "127.0.0.1:0"}), listener);
        let rule = |mut rule: Value| {
            rule["timeouts"] = timeouts.clone();
            rule["retry"] = retry.clone();
            rule
        };
        let below = |path: &str| json!([{"path": {"type": "PathPrefix", "value": path}}]);
        let credentials = json!({"set": [{"name": "authorization", "value": "Bearer hush-hush"}]});
        let gateway = Gateway::start(json!({
            "limits": limits,
            "listeners": [listener],
            "routes": [
                {"name": "models", "rules": [
                    rule(json!({"matches": below("/v1"), "models": [MODEL], "targets": [{"pool": "pool"}]})),
                    rule(json!({"matches": below("/v1"), "models": ["alias"], "targets": [{"pool": "pool", "modelOverride": renamed}]})),
                ]},
                {"name": "paths", "rules": [
                    rule(json!({"matches": below("/raw"), "targets": [{"backend": "raw"}]})),
                    rule(json!({"matches": below("/sim"), "targets": [{"backend": "raw"}]})),
                    rule(json!({"matches": below("/pool"), "targets": [{"pool": "pool"}]})),
                    rule(json!({"matches": below("/secret"), "targets": [{"backend": "raw", "requestHeaders": credentials}]})),
                ]},
            ],
            "pools": [{
                "name": "pool",
                "endpoints": [{"address": upstream.to_string()}],
                "protocol": protocol,
                "metrics": {"enabled": false},
                "ejection": {"consecutiveFailures": 1000},
            }],
            "backends": [{
                "name": "raw",
                "protocol": protocol,
                "endpoints": [{"host": upstream.ip().to_string(), "port": upstream.port()}],
                "ejection": {"consecutiveFailures": 1000},
            }],
        }))
        .await;
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = socket.local_addr().unwrap();
        let stop = CancellationToken::new();
        let pages = Arc::new(Admin::of(gateway.server().clone(), None));
        tokio::spawn(admin::serve(socket, pages, stop.clone()));
        Self { http: gateway.addr(), gateway, admin, stop }
    }

    /// A connection to the gateway.
    pub(crate) async fn wire(&self) -> Wire {
        Wire::connect(self.http).await
    }

    /// Sends `request` on a connection of its own and reads the answer.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut wire = self.wire().await;
        wire.send(request).await;
        wire.answer().await
    }

    /// A page of the admin listener.
    pub(crate) async fn page(&self, path: &str) -> Answer {
        let mut wire = Wire::connect(self.admin).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        wire.answer().await
    }

    /// How often the limit was hit.
    pub(crate) fn hits(&self, limit: &str) -> f64 {
        self.gateway.metric("penstock_limit_hits_total", &[&format!("\"{limit}\"")])
    }

    /// Waits until the limit was hit so often: a request is counted after its answer went out.
    pub(crate) async fn hit(&self, limit: &str, times: f64) {
        eventually(limit, || (self.hits(limit) >= times).then_some(())).await;
        assert_eq!(self.hits(limit), times, "{limit}");
    }

    /// Waits until nothing is left of any request: no count, no memory, nothing in flight at the endpoint.
    pub(crate) async fn settled(&self) {
        eventually("everything to be given back", || (self.leftovers() == [0, 0, 0]).then_some(())).await;
        assert_eq!(self.gateway.metric("penstock_requests_in_flight", &[]), 0.0);
        assert_eq!(self.gateway.metric("penstock_bodies_in_flight_bytes", &[]), 0.0);
    }

    /// Requests, body bytes, and requests that the endpoint is believed to serve.
    pub(crate) fn leftovers(&self) -> [u64; 3] {
        let server = self.gateway.server();
        let pool = json!(server.picker().pool("pool").unwrap().report());
        let backend = json!(server.balancers().get("raw").unwrap().report());
        let endpoints = [pool, backend].map(|report| report["endpoints"].as_array().unwrap().clone());
        let in_flight = endpoints.iter().flatten().map(|endpoint| {
            // Pools are reported in camel case, backends in snake case.
            endpoint["in_flight"].as_u64().unwrap()
        });
        [server.in_flight() as u64, server.body_bytes() as u64, in_flight.sum()]
    }

    /// Ends the gateway; fails if a connection, a request or memory is left, or if one of its tasks panicked.
    pub(crate) async fn close(self) {
        self.settled().await;
        self.stop.cancel();
        self.gateway.stop().await;
    }
}

/// A simulated model server that remembers what it saw.
pub(crate) async fn sim() -> Handle {
    Sim::start(Options { max_model_len: 1 << 30, ..Options::default() }).await.unwrap()
}

/// A chat completion for `model`.
pub(crate) fn chat(model: &str) -> String {
    post("/v1/chat/completions", &chat_body(model))
}

/// The body of a chat completion for `model`.
pub(crate) fn chat_body(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}],"max_tokens":2}}"#)
}

/// A request with a JSON body and its length.
pub(crate) fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: llm\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}
