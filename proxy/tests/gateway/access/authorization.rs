//! Who may do what, and that no way of writing a request leads around it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{KEY, ask, ask_at, bearer, digest};
use crate::harness::{Gateway, MODEL, Protocol, RawClient, backend, chat, get, post, request, sim};

/// Keys of two consumers of different teams.
const OTHER_KEY: &str = "sk-data-f00d";

/// A document with two consumers, and a listener that asks them who they are and then what `authorization` says.
fn authorized(server: SocketAddr, authorization: &Value) -> Value {
    json!({
        "consumers": [
            {"name": "search", "keys": [digest(KEY)], "tags": {"team": "search"}},
            {"name": "data", "keys": [digest(OTHER_KEY)], "tags": {"team": "data"}},
        ],
        "policies": [
            {"name": "who", "authentication": {"optional": true, "apiKey": {}}},
            {"name": "what", "authorization": authorization},
        ],
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "policies": ["who", "what"]}],
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server])],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_rule_that_a_request_meets_decides_and_is_named() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(authorized(
        server.addr(),
        &json!({"rules": [
            {"name": "no-deletes", "action": "Deny", "methods": ["DELETE"]},
            {"action": "Deny", "headers": [{"name": "x-level", "values": ["secret"]}]},
            {"name": "search-may", "action": "Allow", "tags": {"team": ["search"]}},
            {"name": "here", "action": "Allow", "addresses": ["127.0.0.0/8"], "consumers": ["nobody"]},
        ]}),
    ))
    .await;
    let delete =
        |key| request(http::Method::DELETE, "/v1/files/x", &[("x-api-key", key)], crate::harness::body(""));
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (asked, rule) in [
            (ask(&[("x-api-key", KEY)]), None),
            (delete(KEY), Some("the rule `no-deletes` of")),
            (ask(&[("x-api-key", KEY), ("x-level", "secret")]), Some("the rule `1` of")),
            (ask(&[("x-api-key", OTHER_KEY)]), Some("the default of")),
            (ask(&[]), Some("the default of")),
        ] {
            let reply = client.send(asked).await;
            let Some(rule) = rule else {
                assert_eq!(reply.status, 200, "{}", reply.text());
                continue;
            };
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "permission_denied"));
            let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
            assert_eq!(message, format!("{rule} the policy `what` does not allow this request"));
        }
    }
    let lines = gateway.log(10).await;
    // Which of two requests is settled first is nobody's to say.
    let of = |consumer: Value, policy: Value, rule: Value| {
        let found = |line: &&Value| {
            (&line["consumer"], &line["policy"], &line["rule"]) == (&consumer, &policy, &rule)
        };
        lines.iter().filter(found).count()
    };
    assert_eq!(of(json!("search"), Value::Null, Value::Null), 2);
    assert_eq!(of(json!("search"), json!("what"), json!("no-deletes")), 2);
    assert_eq!(of(json!("data"), json!("what"), Value::Null), 2);
    assert_eq!(of(Value::Null, json!("what"), Value::Null), 2);
    assert_eq!(gateway.metric("penstock_requests_total", &["reason=\"forbidden\""]), 8.0);
    assert_eq!(server.stats().requests, 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_nothing_of_models_is_decided_before_the_body() {
    let server = sim(MODEL).await;
    let rules = json!({"rules": [{"action": "Allow", "consumers": ["search"]}]});
    let gateway = Gateway::start(authorized(server.addr(), &rules)).await;
    let mut client = RawClient::connect(gateway.addr()).await;
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.reply().await.unwrap().status, 403);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_by_model_reads_the_body_and_no_body_hides_the_model() {
    let server = sim(MODEL).await;
    let rules = json!({"defaultAction": "Allow", "rules": [
        {"name": "no-gpt", "action": "Deny", "models": ["gpt-*"], "tags": {"team": ["search"]}},
    ]});
    let gateway = Gateway::start(authorized(server.addr(), &rules)).await;
    let with_type = |of, body: &str| {
        post("/v1/chat/completions", &[("x-api-key", KEY), ("content-type", of)], body.to_owned())
    };
    let multipart = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\ngpt-4o\r\n--b--\r\n";
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        assert_eq!(client.send(ask(&[("x-api-key", KEY)])).await.status, 200);
        for (asked, status) in [
            (with_type("application/json", "{\"model\":\"gpt-4o\"}"), 403),
            (with_type("application/json", "{\"messages\":[],\"\\u006dodel\":\"g\\u0070t-4o\"}"), 403),
            (with_type("application/json", "{\"model\":\"a\",\"model\":\"gpt-4o\"}"), 400),
            (with_type("text/plain", "{\"model\":\"gpt-4o\"}"), 403),
            (with_type("multipart/form-data; boundary=b", multipart), 403),
            (with_type("application/json", "{}"), 403),
            (with_type("application/octet-stream", "model=gpt-4o"), 403),
        ] {
            let reply = client.send(asked).await;
            assert_eq!(reply.status, status, "{}", reply.text());
        }
        // The rule is for one team.
        let headers = [("x-api-key", OTHER_KEY), ("content-type", "application/json")];
        let reply = client.send(post("/v1/chat/completions", &headers, chat(MODEL, true).to_string())).await;
        assert_eq!(reply.status, 200);
        assert!(reply.text().ends_with("data: [DONE]\n\n"));
    }
    assert_eq!(server.stats().requests, 4);
    gateway.stop().await;
}

/// A document whose rule below `/v1/secret` asks a policy, and whose other rules ask none.
fn with_secret_rule(server: SocketAddr) -> Value {
    let rule = |path: &str, kind: &str| {
        json!({
            "matches": [{"path": {"type": kind, "value": path}}], "policies": ["keys"],
            "targets": [{"backend": "b"}],
        })
    };
    json!({
        "consumers": [{"name": "search", "keys": [digest(KEY)]}],
        "policies": [{"name": "keys", "authentication": {"apiKey": {}}}],
        "routes": [{"name": "r", "rules": [
            rule("/v1/secret", "PathPrefix"),
            rule("/v1/chat/completions", "Exact"),
            {"matches": [{"path": {"value": "/moved"}}], "policies": ["keys"],
             "redirect": {"scheme": "https", "hostname": "new.test", "statusCode": 302}},
            {"matches": [{"path": {"value": "/open"}}], "targets": [{"backend": "b"}]},
        ]}],
        "backends": [backend("b", &[server])],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_ask_their_own_policies_and_redirects_ask_them_too() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(with_secret_rule(server.addr())).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        assert_eq!(client.send(get("/open/x")).await.status, 404, "of the upstream's");
        for asked in [ask(&[]), get("/v1/secret"), get("/moved"), ask_at("/moved", &[])] {
            let reply = client.send(asked).await;
            assert_eq!((reply.status.as_u16(), reply.header("location")), (401, ""));
        }
        assert_eq!(client.send(ask(&[("authorization", &bearer())])).await.status, 200);
        let moved = request(http::Method::GET, "/moved", &[("x-api-key", KEY)], crate::harness::body(""));
        let reply = client.send(moved).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (302, "https://new.test/moved"));
    }
    let seen = server.requests();
    assert!(
        seen.iter().all(|request| request.path != "/v1/secret" && request.header("authorization").is_none())
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_of_writing_a_path_leads_around_the_policies_of_its_rule() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(with_secret_rule(server.addr())).await;
    for path in [
        "/v1/chat/completions",
        "//v1//chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/chat/completion%73",
        "/V1/Chat/Completions",
        "/v1/chat/completions/",
        "/v1/chat/completions;x",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/v1/x/%2e%2e/secret",
        "/open/../v1/secret",
        "/open/..%2fv1/secret",
        "/open/%2e%2e/v1/secret",
        "/v1/secret",
        "/v1/secret/x",
        "/v1/secre%74/x",
        "/v1\\secret",
        "/v1/secret?x=/open",
        "http://gateway.test/v1/secret",
    ] {
        let mut client = RawClient::connect(gateway.addr()).await;
        client
            .send(format!("POST {path} HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 2\r\n\r\n{{}}"))
            .await;
        let status = client.reply().await.unwrap().status;
        assert!(matches!(status, 400 | 401 | 404), "{path}: {status}");
    }
    assert_eq!(server.stats().requests, 0, "{:?}", server.requests());
    gateway.stop().await;
}
