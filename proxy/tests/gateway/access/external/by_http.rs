//! Servers that are asked by HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::{ask, ask_at, guarded};
use crate::harness::{Gateway, MODEL, Protocol, RawServer, backend, chat, sim, with};

/// A document whose listener asks the server at `auth` by HTTP, and changes of that.
fn asking(server: SocketAddr, auth: SocketAddr, changes: &Value) -> Value {
    let external = with(json!({"http": {"backend": "auth"}}), changes.clone());
    let mut document = guarded(server, json!({"external": external}));
    document["backends"].as_array_mut().unwrap().push(backend("auth", &[auth]));
    document
}

/// The heads and bodies of questions.
type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A server that gives the same answer to each question.
async fn answering(status: u16, headers: &'static str, body: &'static str) -> (RawServer, Asked) {
    let asked = Asked::default();
    let all = asked.clone();
    let server = RawServer::start(move |mut connection| {
        let all = all.clone();
        async move {
            while let Some(question) = connection.request().await {
                all.lock().push(question);
                connection.respond(status, headers, body).await;
            }
        }
    })
    .await;
    (server, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_shown_little_and_what_it_says_goes_to_upstreams_as_far_as_it_is_listed() {
    let model = sim(MODEL).await;
    let (auth, asked) = answering(200, "x-user: ann\r\nx-user: b\r\nx-other: o\r\n", "fine").await;
    let changes = json!({
        "http": {"path": "/check/", "headersToUpstream": ["x-user", "x-unsaid"]},
        "headersToAuth": ["x-a"],
    });
    let gateway = Gateway::start(asking(model.addr(), auth.addr(), &changes)).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let headers = [
            ("x-a", "1"),
            ("x-b", "2"),
            ("authorization", "Bearer secret"),
            ("x-user", "root"),
            ("x-unsaid", "root"),
        ];
        let reply = client.send(ask_at("/v1/chat/completions?q=1", &headers)).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-other")), (200, ""), "{}", reply.text());
        let (head, body) = asked.lock().pop().unwrap();
        assert!(head.starts_with("post /check/v1/chat/completions?q=1 http/1.1\r\n"), "{head}");
        for shown in [
            "\r\nhost: gateway.test\r\n",
            "\r\nx-a: 1\r\n",
            "\r\nauthorization: bearer secret\r\n",
            "\r\ncontent-length: 0\r\n",
            "\r\nx-forwarded-for: 127.0.0.1\r\n",
        ] {
            assert!(head.contains(shown), "{shown:?}: {head}");
        }
        assert!(!head.contains("x-b:") && !head.contains("x-user") && body.is_empty(), "{head}");
        let seen = model.requests().pop().unwrap();
        let all = |name: &str| -> Vec<&str> {
            seen.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect()
        };
        assert_eq!((all("x-user"), all("x-unsaid"), all("x-other")), (vec!["ann", "b"], vec![], vec![]));
        assert_eq!(all("authorization"), ["Bearer secret"]);
    }
    gateway.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_chooses_no_route_by_a_header_that_only_the_server_sets() {
    let (plain, gold) = (sim(MODEL).await, sim(MODEL).await);
    let (auth, asked) = answering(200, "x-tier: plain\r\n", "").await;
    let changes = json!({
        "http": {"headersToUpstream": ["x-tier"]},
        "headersToAuth": ["x-tier"],
        "body": {"maxBytes": "8KiB"},
    });
    let mut document = asking(plain.addr(), auth.addr(), &changes);
    document["backends"].as_array_mut().unwrap().push(backend("gold", &[gold.addr()]));
    let rule = json!({
        "matches": [{"headers": [{"name": "x-tier", "value": "gold"}]}],
        "targets": [{"backend": "gold"}],
    });
    document["routes"][0]["rules"].as_array_mut().unwrap().push(rule);
    let gateway = Gateway::start(document).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = client.send(ask(&[("x-tier", "gold")])).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(gold.requests().is_empty(), "the client's word led there");
        assert_eq!(plain.requests().pop().unwrap().header("x-tier"), Some("plain"));
        let (head, _) = asked.lock().pop().unwrap();
        assert!(head.contains("\r\nx-tier: gold\r\n"), "the server sees what the client says: {head}");
    }
    gateway.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_200_allows_and_other_answers_are_the_clients_but_for_errors() {
    let model = sim(MODEL).await;
    for (status, told) in [(200, 200), (204, 204), (302, 302), (401, 401), (429, 429), (500, 403), (503, 403)]
    {
        let (auth, asked) = answering(
            status,
            "location: /login\r\nx-penstock-pool: p\r\nconnection: keep-alive\r\n",
            if status == 204 { "" } else { "told" },
        )
        .await;
        let changes = json!({"http": {"pathOverride": "/decide"}, "body": {"maxBytes": "8KiB"}});
        let gateway = Gateway::start(asking(model.addr(), auth.addr(), &changes)).await;
        let mut client = gateway.client(Protocol::H1).await;
        let before = model.requests().len();
        let reply = client.send(ask(&[])).await;
        assert_eq!(reply.status, told, "{status}: {}", reply.text());
        assert_eq!(model.requests().len() - before, usize::from(status == 200), "{status}");
        if (300..500).contains(&status) {
            assert_eq!((&*reply.text(), reply.header("location")), ("told", "/login"));
            assert_eq!(reply.header("x-penstock-pool"), "");
        }
        let (head, body) = asked.lock().first().cloned().unwrap();
        assert!(head.starts_with("post /decide http/1.1\r\n"), "{head}");
        assert_eq!(String::from_utf8(body).unwrap(), chat(MODEL, false).to_string());
        gateway.stop().await;
        auth.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_its_connections_is_asked_on_new_ones_and_too_long_an_answer_is_none() {
    let model = sim(MODEL).await;
    let auth = RawServer::start(|mut connection| async move {
        // Each connection is kept alive, and closed when it is used again.
        if connection.request().await.is_some() {
            connection.respond(200, "", "").await;
            connection.request().await;
        }
    })
    .await;
    let gateway = Gateway::start(asking(model.addr(), auth.addr(), &json!({}))).await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..4 {
        assert_eq!(client.send(ask(&[])).await.status, 200);
    }
    gateway.stop().await;

    let endless = RawServer::start(|mut connection| async move {
        while connection.request().await.is_some() {
            connection.respond(401, "", &"x".repeat(300 << 10)).await;
        }
    })
    .await;
    let changes = json!({"failOpen": true, "http": {"headersToUpstream": ["x-user"]}});
    for (changes, status) in [(json!({}), 403), (changes, 200)] {
        let gateway = Gateway::start(asking(model.addr(), endless.addr(), &changes)).await;
        let mut client = gateway.client(Protocol::H1).await;
        assert_eq!(client.send(ask(&[("x-user", "root")])).await.status, status);
        if status == 200 {
            let seen = model.requests().pop().unwrap();
            assert_eq!(
                seen.header("x-user"),
                None,
                "what only the server sets stays out though nobody answered"
            );
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_too_long_to_ask_about_does_not_pass_because_of_that() {
    let model = sim(MODEL).await;
    let (auth, asked) = answering(200, "", "").await;
    let prefix = format!("/{}", "x".repeat(1000));
    let changes = json!({"failOpen": true, "http": {"path": prefix}});
    let mut document = asking(model.addr(), auth.addr(), &changes);
    document["limits"] = json!({"headerBytes": "80KiB"});
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(ask_at(&format!("/v1/chat/completions?{}", "q".repeat(65_000)), &[])).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(asked.lock().is_empty() && model.requests().is_empty());
    gateway.stop().await;
    auth.stop().await;
}
