//! Streams: charged while they run, whoever leaves.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{SEARCH, limited};
use crate::harness::{Body, Gateway, Protocol, RawServer, Task, chat, eventually, post, spawn, with};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn word(number: usize) -> String {
    let delta = json!({"choices": [{"index": 0, "delta": {"content": format!("w{number} ")}}]});
    chunk(&format!("data: {delta}\n\n"))
}

/// A request for a stream, that lets it have so many tokens.
fn stream(path: &str, max_tokens: u64) -> http::Request<Body> {
    let body = with(chat("m", true), json!({"max_tokens": max_tokens}));
    let headers = [("content-type", "application/json"), ("x-api-key", SEARCH)];
    post(path, &headers, body.to_string())
}

fn output(amount: u64, changes: Value) -> Value {
    let limit =
        json!({"name": "l", "count": "OutputTokens", "amount": amount, "window": {"tokenBucket": "8000h"}});
    json!([with(limit, changes)])
}

/// A server of streams that have so many events with content, then what ends them; none ends the stream never. Tells when its
/// first connection was closed.
async fn server(words: usize, end: Option<&'static str>) -> (RawServer, Task<()>, Arc<Mutex<Vec<String>>>) {
    let (closed, mut was_closed) = tokio::sync::mpsc::channel(1);
    let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = bodies.clone();
    let server = RawServer::start(move |mut connection| {
        let (closed, seen) = (closed.clone(), seen.clone());
        async move {
            while let Some((_, body)) = connection.request().await {
                seen.lock().push(String::from_utf8(body).unwrap());
                connection.send(HEAD).await;
                for number in 0..words {
                    connection.send(word(number)).await;
                }
                match end {
                    Some(end) => {
                        let end = if end.is_empty() { String::new() } else { chunk(end) };
                        connection.send(format!("{end}0\r\n\r\n")).await;
                    }
                    None => {
                        connection.closed().await;
                        let _told_before = closed.try_send(());
                        return;
                    }
                }
            }
        }
    })
    .await;
    (server, spawn(async move { was_closed.recv().await.unwrap_or_default() }), bodies)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_asked_for_their_usage_and_clients_that_did_not_ask_do_not_see_it() {
    let usage = json!({"choices": [], "usage": super::usage()});
    let end: &'static str = Box::leak(format!("data: {usage}\n\ndata: [DONE]\n\n").into_boxed_str());
    let (server, _closed, bodies) = server(3, Some(end)).await;
    let gateway = Gateway::start(limited(server.addr(), &output(1000, json!({})))).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = client.send(stream("/v1/chat/completions", 8)).await;
        assert_eq!(reply.status, 200);
        assert!(
            !reply.text().contains("usage") && reply.text().ends_with("data: [DONE]\n\n"),
            "{}",
            reply.text()
        );
    }
    assert!(bodies.lock().iter().all(|body| body.contains("include_usage")), "{:?}", bodies.lock());
    for line in gateway.log(2).await {
        assert_eq!((&line["charged"][0]["used"], &line["usage_source"]), (&json!(50), &json!("reported")));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_does_not_report_is_charged_what_was_seen() {
    let (server, _closed, _) = server(5, Some("data: [DONE]\n\n")).await;
    let gateway = Gateway::start(limited(server.addr(), &output(1000, json!({})))).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(stream("/v1/chat/completions", 8)).await.status, 200);
    assert_eq!(gateway.log(1).await[0]["charged"][0]["used"], 5);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_charged_what_was_seen() {
    for protocol in [Protocol::H1, Protocol::H2] {
        let (server, closed, _) = server(5, None).await;
        let gateway = Gateway::start(limited(server.addr(), &output(1000, json!({})))).await;
        let mut client = gateway.client(protocol).await;
        let mut reply = client.open(stream("/v1/chat/completions", 100)).await;
        let mut text = String::new();
        while !text.contains("w4") {
            text.push_str(&String::from_utf8_lossy(&reply.next().await.unwrap().unwrap()));
        }
        drop((reply, client));
        closed.join().await;
        let line = gateway.log(1).await.remove(0);
        assert_eq!((&line["charged"][0]["used"], &line["status"]), (&json!(5), &json!(200)), "{line}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_charged_what_was_seen_whatever_was_counted_at_the_beginning() {
    let (closed, mut was_closed) = tokio::sync::mpsc::channel(1);
    let server = RawServer::start(move |mut connection| {
        let closed = closed.clone();
        async move {
            connection.request().await;
            connection.send(HEAD).await;
            let start = json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant",
                "model": "m", "content": [], "usage": {"input_tokens": 70, "output_tokens": 1}}});
            connection.send(chunk(&format!("event: message_start\ndata: {start}\n\n"))).await;
            for number in 0..5 {
                let delta = json!({"type": "content_block_delta", "index": 0,
                    "delta": {"type": "text_delta", "text": format!("w{number} ")}});
                connection.send(chunk(&format!("event: content_block_delta\ndata: {delta}\n\n"))).await;
            }
            connection.closed().await;
            let _told_before = closed.try_send(());
        }
    })
    .await;
    let gateway = Gateway::start(limited(server.addr(), &output(1000, json!({})))).await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut reply = client.open(stream("/v1/messages", 100)).await;
    let mut text = String::new();
    while !text.contains("w4") {
        text.push_str(&String::from_utf8_lossy(&reply.next().await.unwrap().unwrap()));
    }
    drop((reply, client));
    was_closed.recv().await;
    let line = gateway.log(1).await.remove(0);
    assert_eq!(line["charged"][0]["used"], 5, "{line}");
    assert_eq!((&line["tokens"]["input"], &line["tokens"]["output"]), (&json!(70), &json!(5)), "{line}");
    assert_eq!(
        (&line["tokens"]["total"], &line["usage_source"]),
        (&json!(75), &json!("estimated")),
        "{line}"
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_goes_on_beyond_the_limit_is_cut_where_the_limit_says_so() {
    for (path, code) in [
        ("/v1/chat/completions", "\"code\":\"rate_limit_exceeded\""),
        ("/v1/messages", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\""),
    ] {
        let (server, closed, _) = server(2000, None).await;
        let limits = output(40, json!({"cutStreams": true}));
        let gateway = Gateway::start(limited(server.addr(), &limits)).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.open(stream(path, 8)).await;
        assert_eq!(reply.status, 200);
        let (text, is_whole) = reply.rest().await;
        assert!(is_whole && text.contains(code), "{path}: {text}");
        assert!(text.contains("`l`") && !text.contains("[DONE]"), "{text}");
        // The upstream is told at once.
        closed.join().await;
        let line = gateway.log(1).await.remove(0);
        assert_eq!((&line["error"], &line["limit"]), (&json!("stream_cut"), &json!("l")), "{line}");
        let used = line["charged"][0]["used"].as_u64().unwrap();
        assert_eq!(used, text.matches("\"content\"").count() as u64, "what was passed on is charged");
        assert_eq!(gateway.metric("penstock_limit_requests_total", &["outcome=\"cut\""]), 1.0);
        // The connection is as good as new, and there is nothing left.
        let next = client.send(stream(path, 8)).await;
        assert_eq!(next.status, 429, "{}", next.text());
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_beyond_a_limit_that_does_not_cut_and_its_debt_stays() {
    let (server, _closed, _) = server(100, Some("data: [DONE]\n\n")).await;
    let gateway = Gateway::start(limited(server.addr(), &output(40, json!({})))).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(stream("/v1/chat/completions", 8)).await;
    assert!(reply.text().contains("w99") && reply.text().contains("[DONE]"), "{}", reply.text());
    assert_eq!(gateway.log(1).await[0]["charged"][0]["used"], 100);
    assert_eq!(client.send(stream("/v1/chat/completions", 8)).await.status, 429);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_a_request_in_flight_until_it_is_over() {
    let (server, closed, _) = server(1, None).await;
    let limits = json!([{"name": "l", "count": "Concurrency", "amount": 1, "per": ["consumer"]}]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut reply = client.open(stream("/v1/chat/completions", 8)).await;
    assert!(reply.next().await.unwrap().is_ok());
    let mut other = gateway.client(Protocol::H1).await;
    let refused = other.send(stream("/v1/chat/completions", 8)).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
    drop((reply, client));
    closed.join().await;
    gateway.log(2).await;
    let again = other.open(stream("/v1/chat/completions", 8)).await;
    assert_eq!(again.status, 200);
    drop((again, other));
    eventually("the stream to be over", || (gateway.server().in_flight() == 0).then_some(())).await;
    gateway.stop().await;
}

/// As on one that is new: an upstream that was asked has its work, whether or not its first byte came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_before_its_answer_is_charged_on_a_connection_that_was_used_before_too() {
    let (asked, mut was_asked) = tokio::sync::mpsc::channel(1);
    let server = RawServer::start(move |mut connection| {
        let asked = asked.clone();
        async move {
            connection.request().await.unwrap();
            connection.send(format!("{HEAD}{}0\r\n\r\n", word(0))).await;
            connection.request().await.unwrap();
            asked.send(()).await.unwrap();
            connection.closed().await;
        }
    })
    .await;
    let limits = json!([{"name": "l", "amount": 10, "window": {"tokenBucket": "8000h"}}]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(stream("/v1/chat/completions", 8)).await.status, 200);
    let first = gateway.log(1).await.remove(0);
    let waiting = client.start(stream("/v1/chat/completions", 8));
    was_asked.recv().await;
    drop((waiting, client));
    let lines = gateway.log(2).await;
    assert_eq!(server.accepted(), 1, "the connection was used again");
    let charged = |line: &Value| (line["status"].clone(), line["charged"][0]["used"].clone());
    assert_eq!([charged(&first), charged(&lines[1])], [(json!(200), json!(1)), (json!(499), json!(1))]);
    gateway.stop().await;
}
