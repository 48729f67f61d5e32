//! Requests that have something in common go to the same endpoint of a backend.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::harness::{Gateway, MODEL, Protocol, RawServer, backend, chat, post, with};

/// A server that says who it is, and sets a cookie of its own.
async fn named(name: &'static str) -> RawServer {
    RawServer::start(async move |mut connection| {
        while connection.request().await.is_some() {
            connection.respond(200, "set-cookie: own=1\r\n", name).await;
        }
    })
    .await
}

async fn four() -> [RawServer; 4] {
    [named("a").await, named("b").await, named("c").await, named("d").await]
}

fn document(servers: &[RawServer], hash_by: &Value) -> Value {
    let addresses: Vec<_> = servers.iter().map(RawServer::addr).collect();
    let changes = json!({"hashBy": hash_by, "ejection": {"consecutiveFailures": 0}});
    json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [with(backend("b", &addresses), changes)],
    })
}

fn ask(path: &str, headers: &[(&str, &str)]) -> http::Request<crate::harness::Body> {
    post(path, headers, chat(MODEL, false).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_or_a_parameter_decides_and_every_gateway_decides_alike() {
    let servers = four().await;
    let of = |by| Gateway::start(document(&servers, by));
    let by = json!({"headers": ["x-user"], "queryParams": ["q"]});
    let (one, other) = (of(&by).await, of(&by).await);
    let mut seen = HashSet::new();
    let (mut first, mut second) = (one.client(Protocol::H1).await, other.client(Protocol::H2).await);
    for user in 0..32 {
        let name = format!("user-{user}");
        let asked = || ask("/v1/chat/completions?x=1&q=7", &[("x-user", &*name)]);
        let at = first.send(asked()).await.text();
        assert_eq!(
            (first.send(asked()).await.text(), second.send(asked()).await.text()),
            (at.clone(), at.clone())
        );
        seen.insert(at);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    // Those that have nothing in common go anywhere.
    let mut seen = HashSet::new();
    for _ in 0..64 {
        seen.insert(first.send(ask("/v1/chat/completions", &[])).await.text());
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_goes_moves_its_own_and_no_others() {
    let servers = four().await;
    let gateway = Gateway::start(document(&servers, &json!({"headers": ["x-user"]}))).await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut before = Vec::new();
    for user in 0..32 {
        let reply = client.send(ask("/", &[("x-user", &user.to_string())])).await;
        before.push(reply.text());
    }
    gateway.reload(document(&servers[..3], &json!({"headers": ["x-user"]}))).unwrap();
    for (user, at) in before.iter().enumerate() {
        let reply = client.send(ask("/", &[("x-user", &user.to_string())])).await.text();
        assert_ne!(reply, "d");
        assert!(at == "d" || reply == *at, "user {user}: {at}, then {reply}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_the_cookie_is_given_one_that_binds_it() {
    let servers = four().await;
    let cookie = json!({"cookie": {"name": "at", "ttl": "1h", "attributes": {"SameSite": "Lax"}}});
    let gateway = Gateway::start(document(&servers, &cookie)).await;
    let mut seen = HashSet::new();
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for _ in 0..16 {
            let reply = client.send(ask("/", &[("cookie", "other=1")])).await;
            let cookies: Vec<&str> =
                reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
            // The upstream's own stays.
            assert!(cookies.len() == 2 && cookies.contains(&"own=1"), "{cookies:?}");
            let given = cookies.iter().find_map(|cookie| cookie.strip_prefix("at=")).unwrap();
            let (value, attributes) = given.split_once(';').unwrap();
            assert_eq!(attributes, " Max-Age=3600; SameSite=Lax; HttpOnly");
            let shown = format!("other=1; at={value}");
            for _ in 0..2 {
                let again = client.send(ask("/", &[("cookie", &shown)])).await;
                assert_eq!(again.text(), reply.text());
                assert_eq!(again.headers.get_all("set-cookie").iter().count(), 1);
            }
            seen.insert(reply.text());
        }
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_endpoint_serves_those_whose_own_fails_and_always_the_same() {
    let bad = RawServer::start(async |connection| connection.reset()).await;
    let servers = [named("a").await, named("b").await, bad];
    let gateway = Gateway::start(document(&servers, &json!({"headers": ["x-user"], "client": true}))).await;
    let mut client = gateway.client(Protocol::H1).await;
    for user in 0..24 {
        let name = user.to_string();
        let reply = client.send(ask("/", &[("x-user", &*name)])).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let again = client.send(ask("/", &[("x-user", &*name)])).await;
        assert_eq!(again.text(), reply.text(), "also where it goes instead");
    }
    assert!(gateway.metric("penstock_retries_total", &["upstream=\"b\""]) >= 2.0);
    gateway.stop().await;
}
