//! Web pages of other origins that ask: what browsers ask before, and what answers say.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Gateway, MODEL, Protocol, RawServer, Reply, backend, body, chat, post, request, sim, with,
};

const APP: &str = "https://app.example.com";
const KEY: &str = "sk-cors-81b2";

/// A document whose listener asks a policy for keys, and lets pages of some origins ask.
fn guarded(server: std::net::SocketAddr, cors: &Value) -> Value {
    let digest = penstock_policies::key_digest(KEY.as_bytes()).to_string();
    json!({
        "consumers": [{"name": "search", "keys": [digest]}],
        "policies": [{"name": "keys", "authentication": {"apiKey": {}}, "cors": cors}],
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "policies": ["keys"]}],
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server])],
    })
}

fn preflight(path: &str, origin: &str, method: &str) -> http::Request<crate::harness::Body> {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization, content-type"),
    ];
    request(Method::OPTIONS, path, &headers, body(""))
}

fn ask(headers: &[(&str, &str)]) -> http::Request<crate::harness::Body> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    post("/v1/chat/completions", &headers, chat(MODEL, false).to_string())
}

/// What an answer says of origins, methods, headers, credentials and time.
fn said(reply: &Reply) -> [&str; 5] {
    ["allow-origin", "allow-methods", "allow-headers", "allow-credentials", "max-age"].map(|name| {
        let mut lines = reply.headers.get_all(format!("access-control-{name}")).iter();
        let first = lines.next().map_or("", |line| line.to_str().unwrap());
        assert!(lines.next().is_none(), "{name}");
        first
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_is_answered_before_anybody_says_who_it_is() {
    let server = sim(MODEL).await;
    let cors = json!({
        "allowOrigins": [APP, "https://*.example.org"], "allowMethods": ["GET", "POST"],
        "allowHeaders": ["authorization", "content-type"], "maxAge": "10m",
    });
    let gateway = Gateway::start(guarded(server.addr(), &cors)).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for origin in [APP, "https://a.b.example.org"] {
            let reply = client.send(preflight("/v1/chat/completions", origin, "POST")).await;
            assert_eq!(reply.status, 204);
            assert_eq!(said(&reply), [origin, "GET, POST", "authorization, content-type", "", "600"]);
            assert!(reply.header("vary").starts_with("Origin, "), "{:?}", reply.headers);
            assert!(!reply.header("x-request-id").is_empty());
        }
        for origin in ["https://evil.example", "http://app.example.com", "https://example.org", "null"] {
            let reply = client.send(preflight("/v1/chat/completions", origin, "POST")).await;
            assert_eq!((reply.status.as_u16(), said(&reply)), (204, [""; 5]), "{origin}");
            assert!(reply.header("vary").starts_with("Origin, "), "{:?}", reply.headers);
        }
        // What only looks like a preflight has to say who it is.
        let plain = request(Method::OPTIONS, "/v1/models", &[("origin", APP)], body(""));
        assert_eq!(client.send(plain).await.status, 401);
    }
    assert_eq!(server.stats().requests, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_refusals_can_be_read_by_pages_that_may_ask() {
    let server = sim(MODEL).await;
    let cors = json!({"allowOrigins": [APP], "exposeHeaders": ["x-request-id"]});
    let gateway = Gateway::start(guarded(server.addr(), &cors)).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let models = |headers: &[(&str, &str)]| request(Method::GET, "/v1/models", headers, body(""));
        for (asked, status) in [
            (ask(&[("x-api-key", KEY), ("origin", APP)]), 200),
            (ask(&[("origin", APP)]), 401),
            (models(&[("x-api-key", KEY), ("origin", APP)]), 200),
            (
                post(
                    "/v1/chat/completions",
                    &[("x-api-key", KEY), ("origin", APP), ("content-encoding", "x")],
                    "{}".to_owned(),
                ),
                415,
            ),
        ] {
            let reply = client.send(asked).await;
            assert_eq!(said(&reply), [APP, "", "", "", ""], "{status}: {}", reply.text());
            assert_eq!(reply.header("access-control-expose-headers"), "x-request-id");
            assert_eq!((reply.status.as_u16() / 100, reply.header("vary")), (status / 100, "Origin"));
        }
        for headers in [&[("x-api-key", KEY), ("origin", "https://evil.example")][..], &[("x-api-key", KEY)]]
        {
            let reply = client.send(ask(headers)).await;
            assert_eq!((reply.status.as_u16(), said(&reply), reply.header("vary")), (200, [""; 5], "Origin"));
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upstream_says_of_origins_is_replaced() {
    let server = RawServer::start(|mut connection| async move {
        while connection.request().await.is_some() {
            let headers = "access-control-allow-origin: *\r\naccess-control-allow-origin: https://evil.example\r\n\
                           access-control-allow-credentials: true\r\naccess-control-max-age: 9\r\nvary: Accept\r\n";
            connection.respond(200, headers, "{}").await;
        }
    })
    .await;
    let cors = json!({"allowOrigins": [APP], "allowCredentials": true, "exposeHeaders": ["*"]});
    let gateway = Gateway::start(guarded(server.addr(), &cors)).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(ask(&[("x-api-key", KEY), ("origin", APP)])).await;
    assert_eq!(said(&reply), [APP, "", "", "true", ""]);
    assert_eq!(reply.header("vary"), "Accept, Origin");
    assert!(reply.header("access-control-expose-headers").contains("x-request-id"), "{:?}", reply.headers);
    for origin in ["https://evil.example", "null"] {
        let reply = client.send(ask(&[("x-api-key", KEY), ("origin", origin)])).await;
        assert_eq!(said(&reply), [""; 5], "{origin}");
    }
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_star_is_never_said_together_with_credentials() {
    let server = sim(MODEL).await;
    let open =
        json!({"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"], "exposeHeaders": ["*"]});
    for (credentials, origin, allowed) in
        [(false, APP, "*"), (false, "null", "*"), (true, APP, APP), (true, "null", "")]
    {
        let cors = with(open.clone(), json!({"allowCredentials": credentials}));
        let gateway = Gateway::start(guarded(server.addr(), &cors)).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(preflight("/v1/chat/completions", origin, "PUT")).await;
        let [of_origin, methods, headers, of_credentials, _] = said(&reply);
        assert_eq!(of_origin, allowed);
        if !allowed.is_empty() {
            // Browsers take a star for less than all: what is asked for is named.
            assert_eq!((methods, headers), ("PUT", "authorization, content-type"));
        }
        assert_eq!(of_credentials == "true", credentials && !allowed.is_empty());
        let reply = client.send(ask(&[("x-api-key", KEY), ("origin", origin)])).await;
        assert_eq!(said(&reply)[0], allowed);
        assert_eq!(reply.header("access-control-expose-headers") == "*", !credentials);
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_is_held_to_the_rule_that_the_request_would_go_to() {
    let server = sim(MODEL).await;
    let rule = |path: &str, changes: Value| {
        with(json!({"matches": [{"path": {"value": path}}], "targets": [{"backend": "b"}]}), changes)
    };
    let cors = |origin: &str| json!({"allowOrigins": [origin]});
    let gateway = Gateway::start(json!({
        "policies": [{"name": "pages", "cors": cors("https://policy.example")}],
        "routes": [{"name": "r", "rules": [
            rule("/own", json!({"cors": cors("https://rule.example"), "policies": ["pages"]})),
            rule("/policy", json!({"policies": ["pages"]})),
            rule("/none", json!({})),
            rule("/post", json!({
                "matches": [{"path": {"value": "/post"}, "method": "POST"}], "cors": cors("https://post.example"),
            })),
            rule("/v1", json!({"models": [MODEL], "cors": cors("https://model.example")})),
            json!({
                "matches": [{"path": {"value": "/moved"}}], "cors": cors("https://moved.example"),
                "redirect": {"scheme": "https", "hostname": "new.test", "statusCode": 302},
            }),
        ]}],
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (path, method, origin) in [
            ("/own", "GET", "https://rule.example"),
            ("/policy", "GET", "https://policy.example"),
            ("/post", "POST", "https://post.example"),
            ("/v1/chat/completions", "POST", "https://model.example"),
            ("/moved", "GET", "https://moved.example"),
        ] {
            let reply = client.send(preflight(path, origin, method)).await;
            assert_eq!((reply.status.as_u16(), said(&reply)[0]), (204, origin), "{path}");
            let reply = client.send(preflight(path, APP, method)).await;
            assert_eq!((reply.status.as_u16(), said(&reply)[0]), (204, ""), "{path}");
            let asked = request(method.parse().unwrap(), path, &[("origin", origin)], body(""));
            assert_eq!(said(&client.send(asked).await)[0], origin, "{path}");
        }
        // Nothing is said of these: they are the upstream's, or nobody's.
        for (path, method) in [("/none", "GET"), ("/post", "GET")] {
            let reply = client.send(preflight(path, "https://post.example", method)).await;
            assert!(reply.status.is_client_error() && said(&reply) == [""; 5], "{path}: {reply:?}");
        }
        let reply = client.send(ask(&[("origin", "https://model.example")])).await;
        assert_eq!((reply.status.as_u16(), said(&reply)[0]), (200, "https://model.example"));
    }
    gateway.stop().await;
}
