//! Rules whose conditions are expressions and paths, with real requests.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{KEY, ask, ask_at, digest};
use crate::harness::{Gateway, MODEL, Protocol, RawClient, backend, get, post, sim};

/// A document whose listener finds out who asks, and then asks these rules.
fn ruled(server: SocketAddr, rules: &Value) -> Value {
    json!({
        "consumers": [{"name": "search", "keys": [digest(KEY)], "tags": {"team": "search"}}],
        "policies": [
            {"name": "who", "authentication": {"optional": true, "apiKey": {}}},
            {"name": "what", "authorization": {"defaultAction": "Allow", "rules": rules}},
        ],
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "policies": ["who", "what"]}],
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server])],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_decides_by_who_asks_for_what_and_how_much() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(ruled(
        server.addr(),
        &json!([
            {"name": "long", "action": "Deny", "cel": format!("tokens > 1000 && model == '{MODEL}' && tags.team == 'search'")},
            {"name": "nobody", "action": "Deny", "cel": "identity.name == '' && headers['x-open'] != 'yes'"},
        ]),
    ))
    .await;
    let asked = |tokens: Option<u64>, headers: &[(&str, &str)]| {
        let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]});
        tokens.into_iter().for_each(|tokens| body["max_tokens"] = json!(tokens));
        let headers = [&[("content-type", "application/json")], headers].concat();
        post("/v1/chat/completions", &headers, body.to_string())
    };
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (request, rule) in [
            (asked(Some(4), &[("x-api-key", KEY)]), None),
            (asked(Some(1001), &[("x-api-key", KEY)]), Some("long")),
            // Without a bound it may be as much as there is.
            (asked(None, &[("x-api-key", KEY)]), Some("long")),
            // Whose team it is cannot be told of nobody.
            (asked(Some(1001), &[("x-open", "yes")]), Some("long")),
            (asked(Some(4), &[("x-open", "yes")]), None),
            (asked(Some(4), &[]), Some("nobody")),
        ] {
            let reply = client.send(request).await;
            match rule {
                None => assert_eq!(reply.status, 200, "{}", reply.text()),
                Some(rule) => {
                    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "permission_denied"));
                    assert!(reply.text().contains(&format!("the rule `{rule}` of")), "{}", reply.text());
                    assert!(!reply.text().contains("tokens"), "{}", reply.text());
                }
            }
        }
    }
    let lines = gateway.log(12).await;
    assert_eq!(lines.iter().filter(|line| line["rule"] == json!("long")).count(), 6);
    assert_eq!(server.stats().requests, 4);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_that_does_not_ask_for_the_body_is_decided_before_it() {
    let server = sim(MODEL).await;
    let rules =
        json!([{"action": "Deny", "cel": "request.method == 'POST' && source.address.startsWith('127.')"}]);
    let gateway = Gateway::start(ruled(server.addr(), &rules)).await;
    let mut client = RawClient::connect(gateway.addr()).await;
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.reply().await.unwrap().status, 403);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_of_writing_a_path_leads_around_a_rule_about_it() {
    let server = sim(MODEL).await;
    let by_path = json!([{"action": "Deny", "paths": [{"type": "PathPrefix", "value": "/v1/files"}]}]);
    let by_expression = json!([{"action": "Deny", "cel": "request.path.matches('(?i)^/v1/files')"}]);
    for rules in [by_path, by_expression] {
        let gateway = Gateway::start(ruled(server.addr(), &rules)).await;
        for path in [
            "/v1/files",
            "/v1/files/a?b=c",
            "//v1/files",
            "/v1//files",
            "/v1%2ffiles",
            "/v1%2Ffiles/a",
            "/v1/%66iles",
            "/V1/Files",
            "/v1/files;x",
            "/v1/./files",
            "/v1/x/../files",
            "/v1/x/%2e%2e/files",
            "/v1\\files",
            "http://gateway.test/v1/files",
        ] {
            let mut client = RawClient::connect(gateway.addr()).await;
            client.send(format!("GET {path} HTTP/1.1\r\nhost: gateway.test\r\n\r\n")).await;
            let status = client.reply().await.unwrap().status;
            assert!(matches!(status, 400 | 403), "{path}: {status}");
        }
        let mut client = gateway.client(Protocol::H1).await;
        assert_eq!(
            client.send(get("/v1/filesystem")).await.status,
            if rules[0]["cel"].is_null() { 404 } else { 403 }
        );
        assert_eq!(client.send(ask(&[])).await.status, 200);
        assert_eq!(client.send(ask_at("/v1/files/x", &[])).await.status, 403);
        gateway.stop().await;
    }
    assert!(server.requests().iter().all(|seen| !seen.path.to_lowercase().contains("files/")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_its_name_however_the_client_writes_it() {
    let server = sim(MODEL).await;
    let rules =
        json!([{"action": "Deny", "cel": "host == 'closed.test' || request.host.startsWith('other.test:')"}]);
    let gateway = Gateway::start(ruled(server.addr(), &rules)).await;
    for (host, status) in [
        ("closed.test", 403),
        ("closed.test:8080", 403),
        ("Closed.TEST", 403),
        ("closed.test.", 403),
        ("closed.test.:80", 403),
        ("other.test:80", 404),
        ("open.test:80", 404),
    ] {
        let mut client = RawClient::connect(gateway.addr()).await;
        client.send(format!("GET /v1/x HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(client.reply().await.unwrap().status, status, "{host}");
    }
    gateway.stop().await;
}
