//! Responses on their way to the client: streams, how they break, clients that leave, and the usage that is read in
//! passing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use penstock_sim::Handle;
use penstock_sim::faults::{Action, Fault};
use penstock_sim::options::{Latency, Options};
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawClient, RawServer, RefusedPort, Stream, backend, body, chat,
    chunked_forever, eventually, pool, post_json, request, sim, sim_with, until, with,
};

/// A gateway with one pool of one endpoint.
async fn before(endpoint: SocketAddr, protocol: &str, rule: Value) -> Gateway {
    let rule = with(json!({"targets": [{"pool": "p"}]}), rule);
    let pool = with(pool("p", &[endpoint]), json!({"protocol": protocol}));
    Gateway::start(json!({"routes": [{"name": "r", "rules": [rule]}], "pools": [pool]})).await
}

/// The paths that stream, with a body for each.
fn streaming_requests() -> [(&'static str, Value); 4] {
    let prompt = json!({"model": MODEL, "stream": true, "max_tokens": 8, "prompt": "Why is the sky blue?"});
    let responses = json!({"model": MODEL, "stream": true, "max_output_tokens": 16, "input": "Why?"});
    [
        ("/v1/chat/completions", chat(MODEL, true)),
        ("/v1/completions", prompt),
        ("/v1/messages", chat(MODEL, true)),
        ("/v1/responses", responses),
    ]
}

/// The data of the last event, which must say what went wrong.
fn last_event(text: &str) -> (Option<&str>, Value) {
    assert!(text.ends_with("\n\n"), "the stream ends within an event: {text}");
    let event = text.trim_end().rsplit("\n\n").next().unwrap();
    let name = event.lines().find_map(|line| line.strip_prefix("event: "));
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    (name, serde_json::from_str(data).unwrap_or_else(|_| panic!("not JSON: {data}")))
}

/// Checks that a broken stream ends with an error in the words of its API.
fn assert_error_event(path: &str, text: &str, code: &str) {
    let (name, event) = last_event(text);
    match path {
        "/v1/messages" => {
            assert_eq!((name, &event["type"]), (Some("error"), &json!("error")), "{text}");
            assert!(event["error"]["type"].is_string(), "{text}");
            assert!(event["error"]["message"].is_string(), "{text}");
        }
        "/v1/responses" => {
            assert_eq!((name, &event["type"]), (Some("error"), &json!("error")), "{text}");
            assert_eq!(event["code"], code, "{text}");
        }
        _ => {
            assert_eq!((name, &event["error"]["code"]), (None, &json!(code)), "{path}: {text}");
            assert_eq!(event["error"]["type"], "server_error", "{text}");
        }
    }
    assert!(!text.contains("[DONE]"), "{text}");
}

/// A client that got the event and the end of the body takes the connection for one that goes on. Closed behind its back, it
/// fails the next request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_that_was_told_leaves_the_connection_open() {
    let server = sim(MODEL).await;
    let gateway = before(server.addr(), "http1", json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..3 {
        server.faults().push(Fault::new(Action::ResetAfter { chunks: 3 }).times(1));
        let broken = client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
        assert_error_event("/v1/chat/completions", &broken.text(), "stream_broken");
        let whole = client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
        assert!(whole.text().ends_with("data: [DONE]\n\n"), "{}", whole.text());
    }
    drop(client);
    gateway.stop().await;
}

/// What the client called it does not matter to a stream that has begun: its reader expects what the upstream speaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_ends_in_the_dialect_of_the_path_that_went_upstream() {
    let server = RawServer::start(|mut connection| async move {
        if connection.request().await.is_some() {
            let head = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
            connection.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\na\r\ndata: {{}}\n\n\r\n")).await;
        }
    })
    .await;
    let paths = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];
    for there in paths {
        let rewrite = json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": there}});
        let gateway = before(server.addr(), "http1", json!({"urlRewrite": rewrite})).await;
        for asked in paths {
            let mut client = gateway.client(Protocol::H1).await;
            let reply = client.send(post_json(asked, &chat(MODEL, true))).await;
            assert_eq!(reply.status, 200);
            assert_error_event(there, &reply.text(), "stream_broken");
        }
        gateway.stop().await;
    }
    server.stop().await;

    // As long as nothing has begun, it is the client's path that counts.
    let closed = RefusedPort::take();
    let rewrite = json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/v1/chat/completions"}});
    let gateway = before(closed.addr(), "http1", json!({"urlRewrite": rewrite})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/messages", &chat(MODEL, true))).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (503, &json!("error")), "{}", reply.text());
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_bytes_arrive_unchanged() {
    let server = sim(MODEL).await;
    for upstream in ["http1", "h2c"] {
        let gateway = before(server.addr(), upstream, json!({})).await;
        for (path, asked) in streaming_requests() {
            let direct =
                Client::connect(server.addr(), Protocol::H1).await.send(post_json(path, &asked)).await;
            for protocol in [Protocol::H1, Protocol::H2] {
                let mut client = gateway.client(protocol).await;
                let reply = client.send(post_json(path, &asked)).await;
                assert_eq!(reply.status, 200);
                assert_eq!(reply.header("content-type"), direct.header("content-type"));
                assert_eq!(stable(&reply.text()), stable(&direct.text()), "{path}");
            }
        }
        gateway.stop().await;
    }
}

/// A stream without what differs from one answer to the next: ids and times.
fn stable(text: &str) -> String {
    let mut stable = String::new();
    for line in text.lines() {
        match line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok()) {
            Some(mut event) => {
                forget_ids(&mut event);
                stable.push_str(&event.to_string());
            }
            None => stable.push_str(line),
        }
        stable.push('\n');
    }
    stable
}

fn forget_ids(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                !matches!(name.as_str(), "id" | "item_id" | "created" | "created_at" | "completed_at")
            });
            members.values_mut().for_each(forget_ids);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_ids),
        _ => {}
    }
}

/// Each event is there before the model server has sent the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_passed_on_one_by_one() {
    let (go_on, may_go_on) = tokio::sync::mpsc::channel::<()>(1);
    let events = Arc::new(tokio::sync::Mutex::new(may_go_on));
    let server = RawServer::start(move |mut connection| {
        let events = events.clone();
        async move {
            while connection.request().await.is_some() {
                let head = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
                connection.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")).await;
                let mut may_go_on = events.lock().await;
                for number in 0..3 {
                    let event = format!("data: {{\"number\":{number}}}\n\n");
                    connection.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
                    may_go_on.recv().await;
                }
                connection.send("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let gateway = before(server.addr(), "http1", json!({})).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let mut stream = client.open(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
        for number in 0..3 {
            let event = stream.next().await.unwrap().unwrap();
            assert_eq!(event, format!("data: {{\"number\":{number}}}\n\n"));
            go_on.send(()).await.unwrap();
        }
        assert!(stream.next().await.is_none());
    }
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_ends_with_an_error_event_in_its_apis_words() {
    let server = sim(MODEL).await;
    // Over HTTP/1.1: a reset of an HTTP/2 stream may overtake what was sent on it, and is a failed attempt then.
    server.faults().push(Fault::new(Action::CloseAfter { chunks: 2 }));
    let gateway = before(server.addr(), "http1", json!({})).await;
    for (path, asked) in streaming_requests() {
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            let stream = client.open(post_json(path, &asked)).await;
            assert_eq!(stream.status, 200);
            let (text, _) = stream.rest().await;
            assert_error_event(path, &text, "stream_broken");
        }
    }
    for line in gateway.log(8).await {
        assert_eq!((&line["error"], &line["status"]), (&json!("stream_broken"), &json!(200)));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_server_is_killed_ends_with_an_error_event() {
    for upstream in ["http1", "h2c"] {
        for protocol in [Protocol::H1, Protocol::H2] {
            let server = sim(MODEL).await;
            server.faults().push(Fault::new(Action::HangAfter { chunks: 2 }));
            let gateway = before(server.addr(), upstream, json!({})).await;
            let mut client = gateway.client(protocol).await;
            let mut stream = client.open(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
            stream.next().await.unwrap().unwrap();
            server.kill();
            let (text, _) = stream.rest().await;
            assert_error_event("/v1/chat/completions", &text, "stream_broken");
            drop(client);
            gateway.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_falls_silent_ends_with_an_error_event_and_is_cancelled_upstream() {
    let server = sim(MODEL).await;
    server.faults().push(Fault::new(Action::HangAfter { chunks: 2 }));
    for upstream in ["http1", "h2c"] {
        let rule = json!({"timeouts": {"streamIdle": "300ms"}});
        let gateway = before(server.addr(), upstream, rule).await;
        let cancelled = server.stats().cancelled;
        for (path, asked) in streaming_requests() {
            let mut client = gateway.client(Protocol::H2).await;
            let (text, _) = client.open(post_json(path, &asked)).await.rest().await;
            assert_error_event(path, &text, "stream_idle");
        }
        until(&server, |stats| stats.cancelled == cancelled + 4).await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outlasts_its_request_ends_with_an_error_event() {
    let server = sim(MODEL).await;
    server.faults().push(Fault::new(Action::HangAfter { chunks: 2 }));
    let gateway = before(server.addr(), "http1", json!({"timeouts": {"request": "1s"}})).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let (text, _) = client.open(post_json("/v1/chat/completions", &chat(MODEL, true))).await.rest().await;
        assert_error_event("/v1/chat/completions", &text, "timeout");
    }
    gateway.stop().await;
}

/// Half a JSON document must not look like a whole one: the connection is cut instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_answer_that_breaks_is_cut_off_so_that_the_client_can_tell() {
    let server = RawServer::start(|mut connection| async move {
        let Some((head, _)) = connection.request().await else { return };
        let start = match head.contains("/v1/chat/completions") {
            true => "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":",
            false => "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n6\r\n{\"id\":\r\n",
        };
        connection.send(start).await;
    })
    .await;
    let gateway = before(server.addr(), "http1", json!({})).await;
    for path in ["/v1/chat/completions", "/v1/completions"] {
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            // A reset of an HTTP/2 stream may overtake what was sent on it before.
            let Ok(stream) = client.try_open(post_json(path, &chat(MODEL, false))).await else {
                assert_eq!(protocol, Protocol::H2);
                continue;
            };
            assert_eq!(stream.status, 200);
            let (text, is_whole) = stream.rest().await;
            assert!(!is_whole && "{\"id\":".starts_with(&text), "{path} {protocol:?}: {text}");
        }
    }
    for line in gateway.log(4).await {
        assert_eq!(line["error"], "stream_broken");
    }
    gateway.stop().await;
    server.stop().await;
}

/// Where a client is when it leaves.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    ForTheHead,
    ForMoreEvents,
}

async fn leave(client: &mut Client, waiting: Waiting, server: &Handle) {
    let asked = post_json("/v1/chat/completions", &chat(MODEL, true));
    match waiting {
        Waiting::ForTheHead => {
            let before = server.stats().requests;
            let request = client.start(asked);
            until(server, |stats| stats.requests > before).await;
            drop(request);
        }
        Waiting::ForMoreEvents => {
            let mut stream: Stream = client.open(asked).await;
            stream.next().await.unwrap().unwrap();
            drop(stream);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_cancels_the_upstreams_work() {
    let server = sim(MODEL).await;
    for upstream in ["http1", "h2c"] {
        let gateway = before(server.addr(), upstream, json!({})).await;
        let mut count = 0;
        for (waiting, fault) in
            [(Waiting::ForTheHead, Action::Hang), (Waiting::ForMoreEvents, Action::HangAfter { chunks: 1 })]
        {
            server.faults().set(vec![Fault::new(fault)]);
            for protocol in [Protocol::H1, Protocol::H2] {
                let before = server.stats().cancelled;
                let mut client = gateway.client(protocol).await;
                leave(&mut client, waiting, &server).await;
                if protocol == Protocol::H1 {
                    drop(client);
                    until(&server, |stats| stats.cancelled == before + 1).await;
                } else {
                    // Over HTTP/2 a stream is given up, not the connection.
                    until(&server, |stats| stats.cancelled == before + 1).await;
                    server.faults().clear();
                    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
                    assert_eq!(reply.status, 200);
                    count += 1;
                }
                count += 1;
            }
        }
        let left: Vec<Value> =
            gateway.log(count).await.into_iter().filter(|line| line["error"] == "client_gone").collect();
        assert_eq!(left.len(), 4, "{left:?}");
        // The endpoint is not to blame.
        let report = gateway.server().picker().pool("p").unwrap().report();
        assert_eq!((report.endpoints[0].failed, report.endpoints[0].in_flight), (0, 0));
        gateway.stop().await;
    }
}

/// A client may also leave before it has said what it wants; nobody else is to blame, and nothing of it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_while_it_uploads_leaves_nothing_behind() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [
            {"matches": [{"path": {"value": "/sim/sink/tee"}}], "targets": [{"backend": "b"}]},
            {"targets": [{"pool": "p"}]},
        ]}],
        "pools": [pool("p", &[server.addr()])],
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    let paths = ["/sim/sink/tee", "/sim/sink/peeked"];
    for path in paths {
        for framing in ["content-length: 1000", "transfer-encoding: chunked"] {
            for resets in [false, true] {
                let mut client = RawClient::connect(gateway.addr()).await;
                let head = format!("POST {path} HTTP/1.1\r\nhost: gateway.test\r\n{framing}\r\n\r\n");
                client.send(head).await;
                client.send("64\r\n0123456789").await;
                eventually("the body", || (gateway.server().body_bytes() > 0).then_some(())).await;
                if resets {
                    client.reset()
                } else {
                    drop(client)
                }
                eventually("the request's end", || (gateway.server().in_flight() == 0).then_some(())).await;
                assert_eq!(gateway.server().body_bytes(), 0);
            }
        }
        let mut client = gateway.client(Protocol::H2).await;
        let endless = chunked_forever(Bytes::from_static(b"0123456789"));
        let request = client.start(request(Method::POST, path, &[], endless));
        eventually("the body", || (gateway.server().body_bytes() > 0).then_some(())).await;
        drop((request, client));
        eventually("the request's end", || (gateway.server().in_flight() == 0).then_some(())).await;
    }
    for line in gateway.log(10).await {
        assert_eq!((&line["status"], &line["error"]), (&json!(499), &json!("client_gone")), "{line}");
    }
    until(&server, |stats| stats.in_flight == 0).await;
    assert_eq!(server.stats().completed, 0);
    let report = gateway.server().balancers().get("b").unwrap().report();
    assert_eq!((report.endpoints[0].failures, report.endpoints[0].in_flight), (0, 0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_read_from_answers_and_streams_of_every_api() {
    let server = sim(MODEL).await;
    let gateway = before(server.addr(), "http1", json!({"models": [MODEL]})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut expected = Vec::new();
    for (path, mut asked) in streaming_requests() {
        asked["stream"] = false.into();
        let usage = client.send(post_json(path, &asked)).await.json()["usage"].clone();
        let tokens = |names: [&str; 2]| names.iter().find_map(|name| usage[name].as_u64()).unwrap();
        let tokens =
            (tokens(["prompt_tokens", "input_tokens"]), tokens(["completion_tokens", "output_tokens"]));
        expected.extend([tokens, tokens]);
        asked["stream"] = true.into();
        if path.ends_with("completions") {
            asked["stream_options"] = json!({"include_usage": true});
        }
        assert_eq!(client.send(post_json(path, &asked)).await.status, 200);
    }
    let log = gateway.log(expected.len()).await;
    for (line, (input, output)) in log.iter().zip(&expected) {
        let tokens = &line["tokens"];
        assert_eq!((&tokens["input"], &tokens["output"]), (&json!(input), &json!(output)), "{line}");
        assert_eq!(line["ttft_ms"].is_number(), line["stream"] == true, "{line}");
    }
    let output: u64 = expected.iter().map(|(_, output)| output).sum();
    assert_eq!(gateway.metric("penstock_tokens_total", &["kind=\"output\""]), output as f64);
    drop(client);
    gateway.stop().await;
}

/// A long prompt is not kept in memory for as long as its answer streams.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_is_let_go_once_the_response_has_begun() {
    let server = sim_with(Options { max_model_len: 1 << 30, ..Options::default() }).await;
    server.faults().push(Fault::new(Action::HangAfter { chunks: 1 }));
    let gateway = before(server.addr(), "http1", json!({})).await;
    let asked = json!({"model": MODEL, "stream": true, "prompt": "x".repeat(1 << 20)}).to_string();
    let mut client = gateway.client(Protocol::H1).await;
    let mut stream = client.open(request(Method::POST, "/v1/completions", &[], body(asked))).await;
    stream.next().await.unwrap().unwrap();
    eventually("the body's memory", || (gateway.server().body_bytes() == 0).then_some(())).await;
    assert_eq!(gateway.server().in_flight(), 1);
    drop((stream, client));
    gateway.stop().await;
}

/// An endpoint answers with its load where it is asked to (ORCA); that is for the picker and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_reports_are_asked_for_and_kept_from_the_client() {
    let server = sim_with(Options {
        latency: Latency { time_to_first_token: Duration::from_millis(1), ..Latency::default() },
        ..Options::default()
    })
    .await;
    let direct = request(
        Method::POST,
        "/v1/chat/completions",
        &[("endpoint-load-metrics-format", "TEXT")],
        body(Bytes::from(chat(MODEL, false).to_string())),
    );
    let reply = Client::connect(server.addr(), Protocol::H1).await.send(direct).await;
    assert_ne!(reply.header("endpoint-load-metrics"), "", "the simulator reports no load");
    let gateway = before(server.addr(), "http1", json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("endpoint-load-metrics"), "");
    let report = gateway.server().picker().pool("p").unwrap().report();
    assert!(report.endpoints[0].scraped.is_some(), "the report went unread");
    drop(client);
    gateway.stop().await;
}
