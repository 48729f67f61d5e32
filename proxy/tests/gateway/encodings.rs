//! Bodies under `Content-Encoding`: who is sent them as they came, who gets them decoded, and what is said of responses that
//! cannot be read.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::Request;
use penstock_sim::Handle;
use penstock_sim::faults::{Action, Fault};
use penstock_sim::record::{Framing, body_hash};
use serde_json::{Value, json};

use crate::harness::{
    Body, Gateway, MODEL, Protocol, RawServer, backend, body, chat, chunked, pool, post, post_json, sims,
    with,
};

pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn post_encoded(coding: &str, bytes: Vec<u8>) -> Request<Body> {
    let headers = [("content-type", "application/json"), ("content-encoding", coding)];
    post("/v1/chat/completions", &headers, bytes)
}

async fn one_rule(rule: Value, upstreams: Value) -> Gateway {
    Gateway::start(with(json!({"routes": [{"name": "r", "rules": [rule]}]}), upstreams)).await
}

/// The server was sent `text` once, as if nobody had ever compressed it.
fn assert_got_plain(server: &Handle, text: &str, case: &str) {
    let seen = server.requests().pop().unwrap_or_else(|| panic!("{case}: nothing came"));
    assert_eq!(seen.body_xxh64, body_hash(text.as_bytes()), "{case}");
    assert_eq!(seen.header("content-encoding"), None, "{case}");
    assert_eq!(seen.header("content-length"), Some(&*text.len().to_string()), "{case}");
    assert_eq!(seen.framing, Framing::Length, "{case}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_gets_compressed_requests_decoded() {
    let [server] = sims().await;
    let gateway =
        one_rule(json!({"targets": [{"pool": "p"}]}), json!({"pools": [pool("p", &[server.addr()])]})).await;
    let text = chat(MODEL, false).to_string();
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (coding, bytes) in [("gzip", gzip(&text)), ("deflate", deflate(&text)), ("X-GZip", gzip(&text))] {
            server.forget_requests();
            let reply = client.send(post_encoded(coding, bytes)).await;
            assert_eq!(reply.status, 200, "{coding}: {}", reply.text());
            assert_got_plain(&server, &text, coding);
        }
        // However it is framed.
        server.forget_requests();
        let pieces = gzip(&text).chunks(7).map(|piece| piece.to_vec().into()).collect();
        let mut request = post_encoded("gzip", Vec::new());
        *request.body_mut() = chunked(pieces);
        assert_eq!(client.send(request).await.status, 200);
        assert_got_plain(&server, &text, "chunked");
        let mut unknown = post_encoded("snappy", text.clone().into_bytes());
        let refused = client.send(unknown).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (415, "unsupported_encoding"));
        unknown = post_encoded("gzip", Vec::new());
        *unknown.body_mut() = body(gzip(&"x".repeat(1 << 20)));
        let refused = client.send(unknown).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (413, "request_too_large"));
    }
    // A request is accounted for after its answer.
    gateway.log(12).await;
    assert_eq!(gateway.metric("penstock_limit_hits_total", &["limits.decodedBodyRatio"]), 2.0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_renamed_at_every_attempt() {
    let [bad, good] = sims().await;
    bad.faults().push(Fault::new(Action::Reset));
    let targets = json!([
        {"pool": "bad", "modelOverride": "first name", "priority": 0},
        {"backend": "good", "modelOverride": MODEL, "priority": 1},
    ]);
    let gateway = one_rule(
        json!({"models": ["alias"], "targets": targets}),
        json!({"pools": [pool("bad", &[bad.addr()])], "backends": [backend("good", &[good.addr()])]}),
    )
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let text = chat("alias", false).to_string();
    let reply = client.send(post_encoded("gzip", gzip(&text))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_got_plain(&bad, &text.replace("alias", "first name"), "the first attempt");
    // A backend takes any encoding, but a new name has to be written.
    assert_got_plain(&good, &text.replace("alias", MODEL), "the second attempt");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_sends_what_its_upstream_takes() {
    let [any, identity] = sims().await;
    let targets = json!([{"backend": "any", "priority": 0}, {"pool": "identity", "priority": 1}]);
    let gateway = one_rule(
        // The simulator cannot read what is compressed, and says so.
        json!({"models": [MODEL], "targets": targets, "retry": {"statuses": [400]}}),
        json!({"backends": [backend("any", &[any.addr()])], "pools": [pool("identity", &[identity.addr()])]}),
    )
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let text = chat(MODEL, false).to_string();
    let bytes = gzip(&text);
    let reply = client.send(post_encoded("gzip", bytes.clone())).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let seen = any.requests().pop().unwrap();
    assert_eq!(seen.header("content-encoding"), Some("gzip"));
    assert_eq!(seen.body_xxh64, body_hash(&bytes));
    assert_got_plain(&identity, &text, "the pool");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_setting_says_who_decodes() {
    let [server] = sims().await;
    let text = chat(MODEL, false).to_string();
    let bytes = gzip(&text);
    for (kind, encoding) in [("backend", "identity"), ("backend", "any"), ("pool", "any")] {
        let of = if kind == "pool" { pool } else { backend };
        let upstream = with(of("u", &[server.addr()]), json!({"requestEncoding": encoding}));
        let gateway =
            one_rule(json!({"targets": [{kind: "u"}]}), json!({format!("{kind}s"): [upstream]})).await;
        server.forget_requests();
        let mut client = gateway.client(Protocol::H1).await;
        client.send(post_encoded("gzip", bytes.clone())).await;
        if encoding == "identity" {
            assert_got_plain(&server, &text, kind);
        } else {
            let seen = server.requests().pop().unwrap();
            assert_eq!(seen.body_xxh64, body_hash(&bytes), "{kind}");
            assert_eq!(seen.header("content-encoding"), Some("gzip"), "{kind}");
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_out_counts_as_memory_of_bodies() {
    let [server] = sims().await;
    let gateway = one_rule(
        json!({"targets": [{"pool": "p"}]}),
        json!({
            "pools": [pool("p", &[server.addr()])],
            "limits": {"bodiesInFlightBytes": "1MiB", "decodedBodyRatio": 100_000},
        }),
    )
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut request = chat(MODEL, false);
    request["messages"][0]["content"] = json!("x".repeat(2 << 20));
    let refused = client.send(post_encoded("gzip", gzip(&request.to_string()))).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "overloaded"));
    // A request is accounted for after its answer.
    gateway.log(1).await;
    assert_eq!(gateway.metric("penstock_limit_hits_total", &["limits.bodiesInFlightBytes"]), 1.0);
    // Nothing of it is left.
    assert_eq!(gateway.server().body_bytes(), 0);
    let text = chat(MODEL, false).to_string();
    assert_eq!(client.send(post_encoded("gzip", gzip(&text))).await.status, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_are_asked_for_what_can_be_read_unless_the_setting_says_otherwise() {
    let [server] = sims().await;
    for (kind, setting, seen) in [
        ("pool", None, "identity"),
        ("backend", None, "identity"),
        ("pool", Some("any"), "gzip, br"),
        ("backend", Some("any"), "gzip, br"),
    ] {
        let of = if kind == "pool" { pool } else { backend };
        let mut upstream = of("u", &[server.addr()]);
        if let Some(setting) = setting {
            upstream["responseEncoding"] = json!(setting);
        }
        let gateway =
            one_rule(json!({"targets": [{kind: "u"}]}), json!({format!("{kind}s"): [upstream]})).await;
        let mut client = gateway.client(Protocol::H1).await;
        server.forget_requests();
        let mut request = post_json("/v1/chat/completions", &chat(MODEL, false));
        request.headers_mut().insert("accept-encoding", "gzip, br".parse().unwrap());
        assert_eq!(client.send(request).await.status, 200);
        assert_eq!(
            server.requests().pop().unwrap().header("accept-encoding"),
            Some(seen),
            "{kind} {setting:?}"
        );
        // Who accepts nothing in particular goes on doing so.
        server.forget_requests();
        client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
        assert_eq!(server.requests().pop().unwrap().header("accept-encoding"), None);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_is_compressed_all_the_same_passes_and_is_said_to_be_unread() {
    for (content_type, is_stream) in [("application/json", false), ("text/event-stream", true)] {
        let bytes = gzip(r#"{"usage":{"prompt_tokens":5,"completion_tokens":7}}"#);
        let sent = bytes.clone();
        let server = RawServer::start(move |mut connection| {
            let length = sent.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n"
            );
            let response = [head.into_bytes(), sent.clone()].concat();
            async move {
                while connection.request().await.is_some() {
                    connection.send(&response).await;
                }
            }
        })
        .await;
        let gateway =
            one_rule(json!({"targets": [{"pool": "p"}]}), json!({"pools": [pool("p", &[server.addr()])]}))
                .await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, is_stream))).await;
        assert_eq!((reply.header("content-encoding"), &*reply.body), ("gzip", &*bytes));
        let line = gateway.log(1).await.remove(0);
        assert_eq!(
            (&line["stream"], &line["usage_source"]),
            (&json!(is_stream), &json!("encoded")),
            "{line}"
        );
        assert_eq!((line.get("tokens"), line.get("content_events")), (None, None), "{line}");
        let count =
            |source: &str| gateway.metric("penstock_usage_sources_total", &[&format!("\"{source}\"")]);
        assert_eq!(["reported", "estimated", "encoded"].map(count), [0.0, 0.0, 1.0]);
        drop(client);
        gateway.stop().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_asks_for_no_usage_is_counted_by_its_events() {
    let [server] = sims().await;
    let gateway =
        one_rule(json!({"targets": [{"pool": "p"}]}), json!({"pools": [pool("p", &[server.addr()])]})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let question = json!({"model": MODEL, "stream": true, "max_tokens": 8, "prompt": "Why is the sky blue?"});
    let mut lines = 0;
    for (path, request) in [("/v1/chat/completions", chat(MODEL, true)), ("/v1/completions", question)] {
        let before = gateway.metric("penstock_tokens_total", &["\"output\""]);
        let reply = client.send(post_json(path, &request)).await;
        let events = reply.text().matches("data: {").count();
        assert!((8..=10).contains(&events), "one a token, and one or two around them: {events}");
        lines += 1;
        let line = gateway.log(lines).await.pop().unwrap();
        assert_eq!(
            (&line["usage_source"], &line["tokens"]),
            (&json!("estimated"), &json!({"output": events}))
        );
        let counted = gateway.metric("penstock_tokens_total", &["\"output\""]) - before;
        assert_eq!(counted, events as f64);

        let exact = with(request, json!({"stream_options": {"include_usage": true}}));
        client.send(post_json(path, &exact)).await;
        lines += 1;
        let line = gateway.log(lines).await.pop().unwrap();
        assert_eq!((&line["usage_source"], &line["tokens"]["output"]), (&json!("reported"), &json!(8)));
    }
    let count = |source: &str| gateway.metric("penstock_usage_sources_total", &[&format!("\"{source}\"")]);
    assert_eq!(["reported", "estimated", "encoded"].map(count), [2.0, 2.0, 0.0]);
    gateway.stop().await;
}
