//! Limits of policies, with real requests: what is held before a request is served, what is charged when it is over, and what
//! clients are told.

mod charges;
mod flood;
mod shared;
mod streams;
mod targets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use serde_json::{Value, json};

use crate::harness::{
    Body, Client, Gateway, Protocol, RawServer, Reply, backend, chat, get, post, spawn, with,
};

/// The keys of the consumers `search` and `docs`.
const SEARCH: &str = "sk-search-4c9ab7e2";
const DOCS: &str = "sk-docs-77ab01c3";

/// A limit of three requests in a long time.
fn three() -> Value {
    json!({"name": "few", "amount": 3, "window": {"tokenBucket": "8000h"}})
}

/// A document whose listener knows consumers by keys, if they show one, and has these limits.
fn limited(server: SocketAddr, limits: &Value) -> Value {
    let digest = |key: &str| penstock_policies::key_digest(key.as_bytes()).to_string();
    json!({
        "consumers": [
            {"name": "search", "keys": [digest(SEARCH)], "tags": {"team": "web"}},
            {"name": "docs", "keys": [digest(DOCS)], "tags": {"team": "web"}},
        ],
        "policies": [
            {"name": "keys", "authentication": {"optional": true, "apiKey": {}}},
            {"name": "p", "limits": limits},
        ],
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "policies": ["keys", "p"]}],
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server])],
    })
}

/// What a model server reports that it took.
fn usage() -> Value {
    json!({
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 10},
    })
}

/// A model server whose answers report [`usage`], and how many requests it got.
async fn server() -> (RawServer, Arc<AtomicUsize>) {
    answering("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-ratelimit-limit-requests: 9\r\n").await
}

/// A server that answers each request with this head, and a body that reports [`usage`].
async fn answering(head: &'static str) -> (RawServer, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let body = json!({"object": "chat.completion", "choices": [], "usage": usage()}).to_string();
    let server = RawServer::start(move |mut connection| {
        let (body, counted) = (body.clone(), counted.clone());
        async move {
            while connection.request().await.is_some() {
                counted.fetch_add(1, Ordering::Relaxed);
                connection.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
            }
        }
    })
    .await;
    (server, count)
}

/// A chat request of somebody.
fn ask(key: &str, headers: &[(&str, &str)]) -> Request<Body> {
    at("/v1/chat/completions", key, headers)
}

fn at(path: &str, key: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let headers = [&[("content-type", "application/json"), ("x-api-key", key)], headers].concat();
    post(path, &headers, chat("m", false).to_string())
}

/// The statuses of as many requests, one after the other.
async fn statuses<const N: usize>(client: &mut Client, key: &str) -> [u16; N] {
    let mut statuses = [0; N];
    for status in &mut statuses {
        *status = client.send(ask(key, &[])).await.status.as_u16();
    }
    statuses
}

/// Values of headers, in order.
fn headers<const N: usize>(reply: &Reply, names: [&str; N]) -> [String; N] {
    names.map(|name| reply.header(name).to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_pass_up_to_the_amount_whatever_the_window() {
    let (server, count) = server().await;
    for window in [
        json!({"tokenBucket": "8000h"}),
        json!({"sliding": "8000h"}),
        json!({"fixed": "8784h"}),
        json!({"calendar": "Year", "timeZone": "Europe/Berlin"}),
    ] {
        let limits = json!([{"name": "few", "amount": 3, "window": window}]);
        let gateway = Gateway::start(limited(server.addr(), &limits)).await;
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            let expected = if protocol == Protocol::H1 { [200, 200, 200, 429] } else { [429; 4] };
            assert_eq!(statuses(&mut client, SEARCH).await, expected, "{window}");
        }
        assert_eq!(count.swap(0, Ordering::Relaxed), 3, "{window}");
        let outcome = |outcome| gateway.metric("penstock_limit_requests_total", &["policy=\"p\"", outcome]);
        gateway.log(8).await;
        assert_eq!((outcome("allowed"), outcome("denied")), (3.0, 5.0), "{window}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_value_has_a_counter_of_its_own_and_no_label() {
    let (server, _) = server().await;
    let limits = json!([{"name": "few", "amount": 1, "window": {"tokenBucket": "8000h"}, "per": ["consumer", "header:x-user"]}]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    for (key, user, status) in [
        (SEARCH, "user-1", 200),
        (SEARCH, "user-1", 429),
        (SEARCH, "user-2", 200),
        (DOCS, "user-1", 200),
        (DOCS, "user-1", 429),
        (DOCS, "user-2", 200),
    ] {
        let reply = client.send(ask(key, &[("x-user", user)])).await;
        assert_eq!(reply.status, status, "{key} {user}: {}", reply.text());
    }
    assert_eq!(gateway.metric("penstock_limit_counters", &[]), 4.0);
    assert!(!gateway.metrics().contains("user-1"), "values that clients choose are no labels");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_a_later_limit_refuses_takes_nothing_of_the_earlier_ones() {
    let (server, _) = server().await;
    let limits = json!([
        {"name": "many", "amount": 3, "window": {"tokenBucket": "8000h"}},
        {"name": "one", "amount": 1, "window": {"tokenBucket": "8000h"}, "per": ["consumer"]},
    ]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 429, 429, 429]);
    assert_eq!(statuses(&mut client, DOCS).await, [200, 429]);
    let line = gateway.log(6).await.remove(1);
    assert_eq!((&line["policy"], &line["limit"]), (&json!("p"), &json!("one")), "{line}");
    assert_eq!((&line["consumer"], &line["error"]), (&json!("search"), &json!("rate_limited")));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_one_time_never_pass_beyond_the_amount() {
    let (server, count) = server().await;
    let limits = json!([{"name": "few", "amount": 7, "window": {"sliding": "8000h"}}]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let mut client = gateway.client(Protocol::H1).await;
        tasks.push(spawn(async move { statuses::<6>(&mut client, SEARCH).await }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.join().await);
    }
    assert_eq!(all.iter().filter(|status| **status == 200).count(), 7);
    assert!(all.iter().all(|status| [200, 429].contains(status)), "{all:?}");
    assert_eq!(count.load(Ordering::Relaxed), 7);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_told_how_limits_stand_in_the_headers_of_their_api() {
    let (server, _) = server().await;
    let limits = json!([
        three(),
        {"name": "tokens", "count": "TotalTokens", "amount": 100_000, "window": {"tokenBucket": "8000h"}},
        {"name": "hidden", "amount": 1, "shadow": true, "window": {"tokenBucket": "8000h"}},
    ]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    let open_ai = [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-limit-tokens",
        "anthropic-ratelimit-requests-limit",
    ];
    let reply = client.send(ask(SEARCH, &[])).await;
    assert_eq!(headers(&reply, open_ai), ["3", "2", "100000", ""], "the upstream's own is replaced");
    let left: u64 = reply.header("x-ratelimit-remaining-tokens").parse().unwrap();
    assert!(left < 100_000, "what is held is not there: {left}");
    let anthropic = [
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-tokens-limit",
        "x-ratelimit-remaining-requests",
    ];
    let reply = client.send(at("/v1/messages", SEARCH, &[])).await;
    assert_eq!(headers(&reply, anthropic), ["3", "1", "100000", ""]);
    assert!(humantime::parse_rfc3339(reply.header("anthropic-ratelimit-requests-reset")).is_ok());
    assert_eq!(statuses(&mut client, SEARCH).await, [200]);

    let reply = client.send(ask(SEARCH, &[])).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (429, "rate_limit_exceeded"));
    assert_eq!(headers(&reply, open_ai), ["3", "0", "", ""]);
    assert!(reply.header("x-ratelimit-reset-requests").contains('h'));
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!(wait > 3600, "a third of the bucket's time: {wait}");
    let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`few`") && message.contains("`p`"), "{message}");
    let reply = client.send(at("/v1/messages", SEARCH, &[])).await;
    assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
    assert_eq!(reply.header("anthropic-ratelimit-requests-remaining"), "0");
    let shadowed = ["limit=\"hidden\"", "outcome=\"shadowed\""];
    assert_eq!(gateway.metric("penstock_limit_requests_total", &shadowed), 2.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_can_never_pass_or_lacks_what_is_counted_by_is_told_so() {
    let (server, count) = server().await;
    let limits = json!([
        {"name": "small", "count": "InputTokens", "amount": 1, "window": {"fixed": "8784h"}, "when": {"consumers": ["docs"]}},
        {"name": "users", "amount": 9, "window": {"fixed": "8784h"}, "per": ["header:x-user"], "missing": "Deny"},
    ]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    for (key, headers, status, code) in [
        (DOCS, &[("x-user", "u")][..], 400, "request_exceeds_limit"),
        (SEARCH, &[], 403, "permission_denied"),
        (SEARCH, &[("x-user", "u")], 200, ""),
    ] {
        let reply = client.send(ask(key, headers)).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{}", reply.text());
        assert!(!reply.headers.contains_key("retry-after"));
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_outlive_a_reload() {
    let (server, _) = server().await;
    let gateway = Gateway::start(limited(server.addr(), &json!([three()]))).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 200]);
    gateway.reload(limited(server.addr(), &json!([three()]))).unwrap();
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 429]);
    let more = json!([with(three(), json!({"amount": 4}))]);
    gateway.reload(limited(server.addr(), &more)).unwrap();
    assert_eq!(
        statuses(&mut client, SEARCH).await,
        [200, 429],
        "the amount is another, the counter the same"
    );
    gateway
        .reload(limited(
            server.addr(),
            &json!([{"name": "other", "amount": 1, "window": {"fixed": "8784h"}}]),
        ))
        .unwrap();
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 429], "another limit begins anew");
    gateway.log(8).await;
    assert_eq!(gateway.metric("penstock_limit_requests_total", &["limit=\"few\""]), 6.0);
    gateway
        .reload(json!({"routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server.addr()])]}))
        .unwrap();
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 200]);
    assert!(!gateway.metrics().contains("policy=\"p\""), "series go with their policy");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_of_listener_and_rule_counts_once_and_lists_of_models_count_too() {
    let (server, _) = server().await;
    let mut document = limited(server.addr(), &json!([three()]));
    document["routes"][0]["rules"][0]["policies"] = json!(["p"]);
    document["routes"][0]["rules"][0]["models"] = json!(["m"]);
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 200]);
    assert_eq!(client.send(get("/v1/models")).await.status, 200);
    assert_eq!(client.send(get("/v1/models")).await.status, 429);
    assert_eq!(statuses(&mut client, SEARCH).await, [429]);
    drop(client);
    gateway.stop().await;
}

/// A request that went out on a connection that was dead by then was asked of nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_only_met_dead_connections_is_charged_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // Whoever connects from now on is refused.
        drop(listener);
        let mut stream = tokio::io::BufReader::new(stream);
        for is_answered in [true, false] {
            let mut line = String::new();
            let mut length = 0;
            while tokio::io::AsyncBufReadExt::read_line(&mut stream, &mut line).await.unwrap() > 2 {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.unwrap();
            if is_answered {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
            }
        }
    });
    let limits = json!([{"name": "few", "amount": 2, "window": {"tokenBucket": "8000h"}}]);
    let gateway = Gateway::start(limited(addr, &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200]);
    let failed: [u16; 1] = statuses(&mut client, SEARCH).await;
    assert!(failed[0] >= 500, "{failed:?}");
    task.join().await;
    let failed: [u16; 1] = statuses(&mut client, SEARCH).await;
    assert!(failed[0] >= 500, "something is left: {failed:?}");
    gateway.stop().await;
}
