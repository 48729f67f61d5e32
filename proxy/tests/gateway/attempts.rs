//! What the attempt loop owes to both sides: connections that are used again only where that is safe, early answers,
//! and bodies in whatever pieces they come.

use std::sync::Arc;

use bytes::Bytes;
use penstock_sim::faults::Fault;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::harness::{
    Gateway, MODEL, Protocol, RawClient, RawServer, backend, chat, eventually, pool, post_json, sim, spawn,
    with, within,
};

/// A gateway that passes everything on to one upstream, without a look at the body.
async fn passing(upstream: &RawServer, rule: Value) -> Gateway {
    let rule = with(json!({"targets": [{"backend": "raw"}]}), rule);
    let backend = with(backend("raw", &[upstream.addr()]), json!({"ejection": {"consecutiveFailures": 0}}));
    Gateway::start(json!({"routes": [{"name": "r", "rules": [rule]}], "backends": [backend]})).await
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nhost: llm\r\n{headers}\r\n{body}")
}

fn with_length(body: &str) -> String {
    post(&format!("content-length: {}\r\n", body.len()), body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_the_same_in_whatever_pieces_it_comes() {
    let responses = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx: y\r\n\r\ngood", "good"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n2;a=b\r\ngo\r\n2\r\nod\r\n0\r\nx-t: 1\r\n\r\n",
            "good",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 0\r\n\r\n",
            "",
        ),
    ];
    for (response, body) in responses {
        for piece in [response.len(), 1, 7] {
            let upstream = RawServer::start(move |mut connection| async move {
                while connection.request().await.is_some() {
                    for bytes in response.as_bytes().chunks(piece) {
                        connection.send(bytes).await;
                        tokio::task::yield_now().await;
                    }
                }
            })
            .await;
            let gateway = passing(&upstream, json!({})).await;
            let mut client = RawClient::connect(gateway.addr()).await;
            for _ in 0..3 {
                client.send(with_length("{}")).await;
                let mut reply = client.reply().await.unwrap();
                if reply.status == 103 {
                    reply = client.reply().await.unwrap();
                }
                assert_eq!((reply.status, &*reply.body), (200, body.as_bytes()), "{piece}: {response}");
                assert_eq!(reply.header("x"), "y");
            }
            assert_eq!(upstream.accepted(), 1, "the connection is used again: {piece}: {response}");
            drop(client);
            gateway.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_cannot_be_trusted_is_not_used_again() {
    for response in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodmore",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngood",
        "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
    ] {
        let upstream = RawServer::start(move |mut connection| async move {
            connection.request().await.unwrap();
            connection.send(response).await;
            connection.closed().await;
        })
        .await;
        let gateway = passing(&upstream, json!({})).await;
        let mut client = RawClient::connect(gateway.addr()).await;
        for count in 1..=3 {
            client.send(with_length("{}")).await;
            let reply = client.reply().await.unwrap();
            assert_eq!((reply.status, &*reply.body), (200, &b"good"[..]), "{response}");
            assert_eq!(upstream.accepted(), count, "{response}");
        }
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_before_the_body_was_sent_is_passed_on() {
    let upstream = RawServer::start(|mut connection| async move {
        connection.until("\r\n\r\n").await;
        connection.respond(413, "x: y\r\n", "too large").await;
        connection.closed().await;
    })
    .await;
    let gateway = passing(&upstream, json!({})).await;
    for framing in ["content-length: 1000000\r\n", "transfer-encoding: chunked\r\n"] {
        let mut client = RawClient::connect(gateway.addr()).await;
        client.send(post(framing, "5\r\nstart\r\n")).await;
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.status, &*reply.body), (413, &b"too large"[..]), "{framing}");
        assert_eq!(reply.header("connection"), "close", "nobody reads the rest: {framing}");
        client.closed().await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_the_middle_of_its_upload_cancels_the_attempt() {
    let (started, cancelled) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_started, is_cancelled) = (started.clone(), cancelled.clone());
    let upstream = RawServer::start(move |mut connection| {
        let (has_started, is_cancelled) = (has_started.clone(), is_cancelled.clone());
        async move {
            connection.until("start").await;
            has_started.notify_one();
            connection.closed().await;
            is_cancelled.notify_one();
        }
    })
    .await;
    let gateway = passing(&upstream, json!({})).await;
    for by_reset in [false, true] {
        for framing in ["content-length: 1000\r\n", "transfer-encoding: chunked\r\n"] {
            let mut client = RawClient::connect(gateway.addr()).await;
            client.send(post(framing, "5\r\nstart\r\n")).await;
            within("the upload to arrive", started.notified()).await;
            if by_reset {
                client.reset()
            } else {
                drop(client)
            }
            within("the attempt to be cancelled", cancelled.notified()).await;
            eventually("the request to end", || (gateway.server().in_flight() == 0).then_some(())).await;
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_passed_on_while_it_comes() {
    let got_first = Arc::new(Notify::new());
    let got = got_first.clone();
    let upstream = RawServer::start(move |mut connection| {
        let got = got.clone();
        async move {
            let head = connection.until("first").await;
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            got.notify_one();
            let all = connection.until("0\r\n\r\n").await;
            assert!(all.ends_with("5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"), "{all}");
            connection.respond(200, "", "good").await;
            connection.closed().await;
        }
    })
    .await;
    let gateway = passing(&upstream, json!({})).await;
    let mut client = RawClient::connect(gateway.addr()).await;
    client.send(post("transfer-encoding: chunked\r\n", "5\r\nfirst\r\n")).await;
    within("the first piece to arrive", got_first.notified()).await;
    client.send("6\r\nsecond\r\n0\r\n\r\n").await;
    assert_eq!(client.reply().await.unwrap().body, b"good");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_end_with_their_endpoint() {
    let closed = Arc::new(Notify::new());
    let is_closed = closed.clone();
    let leaving = RawServer::start(move |mut connection| {
        let is_closed = is_closed.clone();
        async move {
            while connection.request().await.is_some() {
                connection.respond(200, "", "good").await;
            }
            is_closed.notify_one();
        }
    })
    .await;
    let staying = sim(MODEL).await;
    let document = |endpoint| {
        let idle = json!({"connection": {"idleTimeout": "1h"}, "metrics": {"enabled": false}});
        json!({
            "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
            "pools": [with(pool("p", &[endpoint]), idle)],
        })
    };
    let gateway = Gateway::start(document(leaving.addr())).await;
    let mut client = gateway.client(Protocol::H1).await;
    let ask = || post_json("/v1/chat/completions", &chat(MODEL, false));
    assert_eq!(client.send(ask()).await.text(), "good");
    assert_eq!(leaving.accepted(), 1);
    gateway.reload(document(staying.addr())).unwrap();
    within("the idle connection to be closed", closed.notified()).await;
    assert_eq!(client.send(ask()).await.status, 200);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_and_body_of_a_small_response_arrive_in_one_piece() {
    let upstream = RawServer::start(|mut connection| async move {
        while let Some((head, _)) = connection.request().await {
            if head.starts_with("get") {
                connection
                    .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n")
                    .await;
            } else {
                connection.respond(200, "", "good").await;
            }
        }
    })
    .await;
    let gateway = passing(&upstream, json!({})).await;
    let mut client = TcpStream::connect(gateway.addr()).await.unwrap();
    let get = "GET /x HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned();
    for (request, end) in [(with_length("{}"), "\r\n\r\ngood"), (get, "good\r\n0\r\n\r\n")] {
        client.write_all(request.as_bytes()).await.unwrap();
        let mut piece = [0; 4096];
        let read = within("a response", client.read(&mut piece)).await.unwrap();
        let piece = String::from_utf8_lossy(&piece[..read]).into_owned();
        assert!(piece.starts_with("HTTP/1.1 200") && piece.ends_with(end), "{piece}");
    }
    drop(client);
    gateway.stop().await;
}

/// A response that was to be replaced by another endpoint's is passed on where there turns out to be none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_not_dropped_for_a_target_that_is_empty() {
    let busy = sim(MODEL).await;
    busy.faults().push(Fault::status(503));
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [
            {"pool": "busy"},
            {"backend": "empty", "priority": 1},
        ]}]}],
        "pools": [pool("busy", &[busy.addr()])],
        "backends": [{
            "name": "empty",
            "endpoints": [{"host": "no-such-host.invalid", "port": 80}],
            "connection": {"connectTimeout": "100ms"},
        }],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["error"]["message"], "The simulator was told to answer so.", "{}", reply.text());
    assert_eq!(gateway.metric("penstock_retries_total", &[]), 0.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_between_two_attempts_is_noticed() {
    let failing = RawServer::start(|mut connection| async move {
        connection.request().await;
        connection.reset();
    })
    .await;
    let other = sim(MODEL).await;
    // The wait is drawn from up to a minute and more: it does not pass by itself while the test looks.
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{
            "targets": [{"pool": "p"}, {"pool": "q", "priority": 1}],
            "retry": {"attempts": 3, "backoff": "1m"},
        }]}],
        "pools": [
            with(pool("p", &[failing.addr()]), json!({"metrics": {"enabled": false}})),
            pool("q", &[other.addr()]),
        ],
    }))
    .await;
    let mut client = RawClient::connect(gateway.addr()).await;
    client.send(with_length("{\"model\":\"m\"}")).await;
    eventually("the first attempt to fail", || {
        let at = |name: &str| gateway.metric(name, &["upstream=\"p\""]);
        let is_over =
            at("penstock_upstream_attempts_total") == 1.0 && at("penstock_upstream_in_flight") == 0.0;
        is_over.then_some(())
    })
    .await;
    drop(client);
    eventually("the request to end", || (gateway.server().in_flight() == 0).then_some(())).await;
    assert_eq!(other.stats().requests, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_lets_the_connection_live_on() {
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"redirect": {"hostname": "elsewhere", "statusCode": 302}}]}],
    }))
    .await;
    let mut client = RawClient::connect(gateway.addr()).await;
    for _ in 0..3 {
        client.send(with_length(&"x".repeat(20_000))).await;
        let reply = client.reply().await.unwrap();
        assert_eq!((reply.status, reply.header("connection")), (302, "keep-alive"), "{reply:?}");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_http_1_0_gets_a_body_that_ends_with_the_connection() {
    let upstream = RawServer::start(|mut connection| async move {
        while connection.request().await.is_some() {
            connection
                .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n")
                .await;
        }
    })
    .await;
    let gateway = passing(&upstream, json!({})).await;
    let mut client = RawClient::connect(gateway.addr()).await;
    client.send("GET /x HTTP/1.0\r\n\r\n").await;
    let all = String::from_utf8(client.rest().await).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
    assert_eq!(body, "good");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_to_an_upstream_that_reads_late_arrives_whole() {
    let may_read = Arc::new(Notify::new());
    let reads = may_read.clone();
    let upstream = RawServer::start(move |mut connection| {
        let reads = reads.clone();
        async move {
            reads.notified().await;
            let (_, body) = connection.request().await.unwrap();
            connection.respond(200, "", &format!("{}", body.len())).await;
        }
    })
    .await;
    let gateway = passing(&upstream, json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let body = Bytes::from(vec![b'x'; 16 << 20]);
    let request = crate::harness::post("/x", &[], body);
    let sending = spawn(async move { client.send(request).await.text() });
    upstream.until_accepted(1).await;
    may_read.notify_one();
    assert_eq!(sending.join().await, (16 << 20).to_string());
    gateway.stop().await;
}
