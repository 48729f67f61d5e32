//! Consumers and policies of the document, with real requests: who asks is found out before anything else, what they show
//! goes no further, and what they may not do is not done.

mod authorization;
mod expressions;
mod external;
mod keys;
mod models;
mod oidc;
mod tokens;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{
    Gateway, MODEL, Protocol, RawClient, RawServer, Reply, backend, chat, eventually, get, pool, post,
    post_json, sim, with,
};

/// A key of the consumer `search`.
const KEY: &str = "sk-search-4c9ab7e2";

/// What the document has of a key.
fn digest(key: &str) -> String {
    penstock_policies::key_digest(key.as_bytes()).to_string()
}

/// The header with [`KEY`].
fn bearer() -> String {
    format!("Bearer {KEY}")
}

/// A document with a backend and a listener that asks one policy, `p`.
fn guarded(server: SocketAddr, policy: Value) -> Value {
    json!({
        "consumers": [{"name": "search", "keys": [digest(KEY)], "tags": {"team": "search"}}],
        "policies": [with(json!({"name": "p"}), policy)],
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "policies": ["p"]}],
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server])],
    })
}

/// A policy that asks for a key, and changes of that.
fn by_key(changes: &Value) -> Value {
    json!({"authentication": {"apiKey": changes}})
}

/// A chat request with these headers.
fn ask(headers: &[(&str, &str)]) -> http::Request<crate::harness::Body> {
    ask_at("/v1/chat/completions", headers)
}

fn ask_at(path: &str, headers: &[(&str, &str)]) -> http::Request<crate::harness::Body> {
    let headers = [&[("content-type", "application/json")], headers].concat();
    post(path, &headers, chat(MODEL, false).to_string())
}

/// All values of a header.
fn all<'a>(reply: &'a Reply, name: &str) -> Vec<&'a str> {
    reply.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_tells_its_consumer_wherever_sdks_show_it_and_goes_no_further() {
    let server = sim(MODEL).await;
    let gateway =
        Gateway::start(guarded(server.addr(), by_key(&json!({"consumerHeader": "x-consumer"})))).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (name, value) in
            [("authorization", &*bearer()), ("x-api-key", KEY), ("api-key", KEY), ("x-goog-api-key", KEY)]
        {
            let headers = [(name, value), ("x-consumer", "admin"), ("x-consumer", "root"), ("x-other", "o")];
            let reply = client.send(ask(&headers)).await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
            let seen = server.requests().pop().unwrap();
            let consumers = seen.headers.iter().filter(|(name, _)| name == "x-consumer").count();
            assert_eq!((seen.header(name), seen.header("x-consumer"), consumers), (None, Some("search"), 1));
            assert_eq!(seen.header("x-other"), Some("o"));
        }
    }
    for line in gateway.log(8).await {
        assert_eq!((&line["consumer"], &line["policy"]), (&json!("search"), &Value::Null));
        assert!(!line.to_string().contains(KEY), "{line}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_who_it_is_learns_how_in_the_words_of_its_api() {
    let server = sim(MODEL).await;
    let mut document = guarded(server.addr(), by_key(&json!({})));
    document["listeners"][0]["healthPath"] = json!("/healthz");
    let gateway = Gateway::start(document).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (path, kind) in [
            ("/v1/chat/completions", "invalid_request_error"),
            ("/v1/messages", "authentication_error"),
            ("/v1beta/models/gemini-2.5-pro:generateContent", "UNAUTHENTICATED"),
            ("/nowhere", "invalid_request_error"),
        ] {
            for (headers, challenge) in [
                (&[][..], "Bearer realm=\"penstock\""),
                (
                    &[("authorization", "Bearer sk-of-nobody")],
                    "Bearer realm=\"penstock\", error=\"invalid_token\"",
                ),
            ] {
                let reply = client.send(ask_at(path, headers)).await;
                assert_eq!((reply.status.as_u16(), all(&reply, "www-authenticate")), (401, vec![challenge]));
                let error = &reply.json()["error"];
                let told = error["status"].as_str().or_else(|| error["type"].as_str());
                assert_eq!(told, Some(kind), "{path}: {error}");
                assert!(!reply.text().contains("sk-of-nobody"), "{error}");
            }
        }
        for request in [
            get("/v1/models"),
            get("/v1/models/x"),
            crate::harness::request(
                http::Method::OPTIONS,
                "/v1/chat/completions",
                &[],
                crate::harness::body(""),
            ),
        ] {
            assert_eq!(client.send(request).await.status, 401);
        }
        // Load balancers have no keys.
        assert_eq!(client.send(get("/healthz")).await.status, 200);
        assert_eq!(
            client.send(ask(&[("x-api-key", KEY)])).await.status,
            200,
            "the connection is as good as new"
        );
    }
    assert_eq!(server.stats().requests, 2);
    let lines = gateway.log(26).await;
    assert_eq!(gateway.metric("penstock_requests_total", &["reason=\"unauthenticated\""]), 22.0);
    let refused = lines.iter().filter(|line| line["status"] == 401);
    for line in refused {
        assert_eq!((&line["policy"], &line["error"]), (&json!("p"), &json!("unauthenticated")), "{line}");
        assert!(line["consumer"].is_null() && !line.to_string().contains("sk-of-nobody"), "{line}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_refused_before_its_body_is_asked_for() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(guarded(server.addr(), by_key(&json!({})))).await;
    let text = chat(MODEL, false).to_string();
    for (key, statuses) in [("sk-of-nobody", &[401][..]), (KEY, &[100, 200])] {
        let mut client = RawClient::connect(gateway.addr()).await;
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\nexpect: 100-continue\r\nx-api-key: {key}\r\n\
             content-length: {}\r\n\r\n",
            text.len()
        );
        client.send(head).await;
        for status in statuses {
            assert_eq!(client.reply().await.unwrap().status, *status, "{key}");
            if *status == 100 {
                client.send(&text).await;
            }
        }
    }
    // Nor is it waited for, or kept.
    let mut client = RawClient::connect(gateway.addr()).await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n{").await;
    assert_eq!(client.reply().await.unwrap().status, 401);
    drop(client);
    assert_eq!(server.stats().requests, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_passes_where_that_is_enough_and_cannot_pass_for_somebody() {
    let server = sim(MODEL).await;
    let policy = json!({"authentication": {"optional": true, "apiKey": {"consumerHeader": "x-consumer"}}});
    let gateway = Gateway::start(guarded(server.addr(), policy)).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = client.send(ask(&[("X-Consumer", "admin"), ("x-other", "o")])).await;
        assert_eq!(reply.status, 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.header("x-consumer"), seen.header("x-other")), (None, Some("o")));
    }
    // Whoever names it as the connection's would have what the policy sets taken away.
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(ask(&[("x-api-key", KEY), ("connection", "X-Consumer")])).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "bad_request"));
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(&[("x-api-key", "sk-of-nobody")])).await.status, 401);
    // Which of two counts would be anybody's guess.
    let twice = [("authorization", &*bearer()), ("authorization", "Bearer sk-of-nobody")];
    assert_eq!(client.send(ask(&twice)).await.status, 401);
    assert_eq!(server.stats().requests, 2);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_in_the_query_or_in_a_cookie_goes_no_further_either() {
    let server = sim(MODEL).await;
    let places = json!({"extractFrom": [{"query": "key"}, {"cookie": "session"}]});
    let mut document = guarded(server.addr(), by_key(&places));
    let redirect = json!({
        "matches": [{"path": {"value": "/old"}}], "redirect": {"scheme": "https", "hostname": "new.test", "statusCode": 307},
    });
    document["routes"][0]["rules"].as_array_mut().unwrap().push(redirect);
    let gateway = Gateway::start(document).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (query, left) in [
            (format!("?a=1&key={KEY}&b=%20"), "?a=1&b=%20"),
            (format!("?key={KEY}"), ""),
            (format!("?k%65y={KEY}"), ""),
        ] {
            let path = "/v1/chat/completions";
            let reply = client.send(ask_at(&format!("{path}{query}"), &[("cookie", "session=mine")])).await;
            assert_eq!(reply.status, 200, "{query}: {}", reply.text());
            let seen = server.requests().pop().unwrap();
            assert_eq!(
                (seen.path, seen.headers.iter().any(|(_, value)| value.contains(KEY))),
                (format!("{path}{left}"), false)
            );
        }
        let cookies = format!("a=1; session={KEY}; b=2");
        assert_eq!(client.send(ask(&[("cookie", &cookies)])).await.status, 200);
        assert_eq!(server.requests().pop().unwrap().header("cookie"), Some("a=1; b=2"));
        assert_eq!(client.send(ask(&[("cookie", &format!("session={KEY}"))])).await.status, 200);
        assert_eq!(server.requests().pop().unwrap().header("cookie"), None);
        let reply = client.send(get(&format!("/old?a=1&key={KEY}"))).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (307, "https://new.test/old?a=1"));
    }
    for line in gateway.log(12).await {
        assert!(!line.to_string().contains(KEY), "{line}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_see_a_key_where_the_policy_says_so() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(guarded(server.addr(), by_key(&json!({"forward": true})))).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(&[("x-api-key", KEY)])).await.status, 200);
    assert_eq!(server.requests()[0].header("x-api-key"), Some(KEY));
    drop(client);
    gateway.stop().await;
}

/// The gateway's own credential, one that the client brings for the upstream, and the one that says who asks are three.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_are_shown_their_own_credentials_all_the_same() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, "sk-of-the-gateway").unwrap();
    for (credential, shown) in [
        (json!({"file": file}), "Bearer sk-of-the-gateway"),
        (json!({"file": file, "override": {"header": "x-own-key"}}), "Bearer sk-mine"),
    ] {
        let mut document = guarded(server.addr(), by_key(&json!({})));
        document["backends"][0]["credential"] = credential;
        let gateway = Gateway::start(document).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(ask(&[("authorization", &bearer()), ("x-own-key", "sk-mine")])).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(server.requests().pop().unwrap().header("authorization"), Some(shown));
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_later_attempts_nor_copies_carry_a_key() {
    let (server, mirror) = (sim(MODEL).await, sim(MODEL).await);
    let heads: std::sync::Arc<parking_lot::Mutex<Vec<String>>> = std::sync::Arc::default();
    let seen = heads.clone();
    let busy = RawServer::start(move |mut connection| {
        let seen = seen.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                seen.lock().push(head);
                connection.respond(503, "", "").await;
            }
        }
    })
    .await;
    let mut document = guarded(server.addr(), by_key(&json!({"consumerHeader": "x-consumer"})));
    document["backends"] = json!([backend("busy", &[busy.addr()]), backend("b", &[server.addr()])]);
    document["pools"] = json!([pool("mirror", &[mirror.addr()])]);
    document["routes"][0]["rules"][0] = json!({
        "retry": {"statuses": [503]},
        "targets": [{"backend": "busy"}, {"backend": "b", "priority": 1}],
        "mirrors": [{"pool": "mirror"}],
    });
    let gateway = Gateway::start(document).await;
    for (protocol, stream) in [(Protocol::H1, false), (Protocol::H2, true)] {
        let mut client = gateway.client(protocol).await;
        let path = format!("/v1/chat/completions?access_token={KEY}");
        let headers = [("authorization", &*bearer()), ("content-type", "application/json")];
        let reply = client.send(post(&path, &headers, chat(MODEL, stream).to_string())).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let copies = eventually("the copies", || Some(mirror.requests()).filter(|all| all.len() == 2)).await;
    for request in copies.into_iter().chain(server.requests()) {
        assert_eq!((request.header("authorization"), request.header("x-consumer")), (None, Some("search")));
    }
    let heads = heads.lock().clone();
    assert_eq!(heads.len(), 2);
    assert!(heads.iter().all(|head| !head.contains("authorization") && head.contains("x-consumer: search")));
    gateway.stop().await;
    busy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_listener_and_rule_name_is_asked_once() {
    let server = sim(MODEL).await;
    let mut document = guarded(server.addr(), by_key(&json!({})));
    document["routes"][0]["rules"][0]["policies"] = json!(["p"]);
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(&[("x-api-key", KEY)])).await.status, 200);
    assert_eq!(client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await.status, 401);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_changes_nothing_for_who_was_identified_before() {
    let server = sim(MODEL).await;
    let rules = json!([{"action": "Allow", "models": [MODEL], "consumers": ["search"]}]);
    let policy = with(by_key(&json!({})), json!({"authorization": {"rules": rules}}));
    let gateway = Gateway::start(guarded(server.addr(), policy)).await;
    let text = chat(MODEL, false).to_string();
    let mut client = RawClient::connect(gateway.addr()).await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        text.len()
    );
    client.send(head).await;
    assert_eq!(client.reply().await.unwrap().status, 100, "it is identified");
    // A document in which nobody has that key.
    let mut other = guarded(server.addr(), by_key(&json!({})));
    other["consumers"][0]["keys"] = json!([digest("sk-another")]);
    gateway.reload(other).unwrap();
    client.send(&text).await;
    assert_eq!(client.reply().await.unwrap().status, 200);
    assert_eq!(gateway.log(1).await[0]["consumer"], "search");
    drop(client);
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(&[("x-api-key", KEY)])).await.status, 401);
    drop(client);
    gateway.stop().await;
}
