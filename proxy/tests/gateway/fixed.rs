//! Rules that answer by themselves, that change path and host by a pattern or a header, and that bound bodies.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, backend, body, chat, chunked, get, post, post_json, request, sim,
};

const CHAT: &str = "/v1/chat/completions";

fn routes(rules: &Value) -> Value {
    json!([{"name": "r", "rules": rules}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_answers_by_itself_whatever_it_is_sent() {
    let at = |path: &str, respond: Value| json!({"matches": [{"path": {"value": path}}], "respond": respond});
    let mut teapot =
        at("/teapot", json!({"status": 418, "contentType": "text/plain", "body": "short and stout"}));
    teapot["responseHeaders"] = json!({"set": [{"name": "x-kind", "value": "pot"}]});
    let gateway = Gateway::start(json!({"routes": routes(&json!([
        teapot,
        at("/nothing", json!({"status": 204})),
        at("/plain", json!({})),
    ]))}))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        // A body does not matter, and the connection goes on.
        for sent in [get("/teapot"), post_json("/teapot", &chat(MODEL, true)), get("/teapot/spout")] {
            let reply = client.send(sent).await;
            assert_eq!((reply.status.as_u16(), reply.text().as_str()), (418, "short and stout"));
            assert_eq!((reply.header("content-type"), reply.header("x-kind")), ("text/plain", "pot"));
            assert!(!reply.header("x-request-id").is_empty());
        }
        let head = client.send(request(Method::HEAD, "/teapot", &[], body(""))).await;
        assert_eq!(
            (head.status.as_u16(), head.header("content-length"), head.text().as_str()),
            (418, "15", "")
        );
        assert_eq!(client.send(get("/nothing")).await.status, 204);
        let plain = client.send(get("/plain")).await;
        assert_eq!(
            (plain.status.as_u16(), plain.text().as_str(), plain.header("content-type")),
            (200, "", "")
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_a_rule_is_behind_its_policies() {
    let gateway = Gateway::start(json!({
        "policies": [{"name": "none", "authorization": {}}],
        "routes": routes(&json!([{"respond": {"body": "secret"}, "policies": ["none"]}])),
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(get("/")).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_changes_the_path_and_a_header_the_host() {
    let server = sim(MODEL).await;
    let path = json!({"type": "ReplaceRegexMatch", "replaceRegexMatch": {
        "pattern": "^/tenants/([^/]+)/(.*)$", "substitution": r"/v1/\2",
    }});
    let gateway = Gateway::start(json!({
        "routes": routes(&json!([{
            "urlRewrite": {"path": path, "hostnameHeader": "x-host"}, "targets": [{"backend": "b"}],
        }])),
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    for (headers, host) in [
        (&[("x-host", "models.test:8080")][..], "models.test:8080"),
        (&[], "gateway.test"),
        (&[("x-host", "a b")], "gateway.test"),
        (&[("x-host", "a.test"), ("x-host", "b.test")], "gateway.test"),
    ] {
        let sent =
            post("/tenants/a%20b/chat/completions?x=/tenants/", headers, chat(MODEL, false).to_string());
        let reply = client.send(sent).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let requests = server.requests();
        let seen = requests.last().unwrap();
        assert!(seen.path.starts_with("/v1/chat/completions"), "{}", seen.path);
        assert_eq!(seen.header("host"), Some(host), "{headers:?}");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_bounds_bodies_however_they_are_framed() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "routes": routes(&json!([{"bodyBytes": "1KiB", "targets": [{"backend": "b"}]}])),
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    let mut large = chat(MODEL, false);
    large["messages"][0]["content"] = json!("x".repeat(2048));
    let large = large.to_string();
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        assert_eq!(client.send(post_json(CHAT, &chat(MODEL, false))).await.status, 200);
        let (first, rest) = large.split_at(600);
        let pieces = || chunked(vec![Bytes::from(first.to_owned()), Bytes::from(rest.to_owned())]);
        for sent in [post(CHAT, &[], large.clone()), request(Method::POST, CHAT, &[], pieces())] {
            let mut client = Client::connect(gateway.addr(), protocol).await;
            let reply = client.send(sent).await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (413, "request_too_large"),
                "{protocol:?}"
            );
            assert!(reply.text().contains("rules.bodyBytes"), "{}", reply.text());
        }
    }
    assert_eq!(gateway.metric("penstock_limit_hits_total", &["rules.bodyBytes"]), 4.0);
    gateway.stop().await;
}
