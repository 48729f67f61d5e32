//! Every limit on what a client may take: enforced, named in its error, and counted.

use std::time::Duration;

use penstock_sim::faults::{Action, Fault};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::gate::{Gate, chat, chat_body, post, sim};
use crate::h2::H2;
use crate::harness::{MODEL, eventually};
use crate::villain::{Then, Villain};

/// A chat completion whose body has `bytes` bytes.
pub(crate) fn chat_of(bytes: usize) -> String {
    let body = chat_body(MODEL);
    let room = bytes - body.len();
    body.replacen("hi", &format!("hi{}", "x".repeat(room)), 1)
}

fn chunked(path: &str, bytes: usize) -> String {
    let body = chat_of(bytes);
    format!(
        "POST {path} HTTP/1.1\r\nhost: llm\r\ntransfer-encoding: chunked\r\n\r\n{bytes:x}\r\n{body}\r\n0\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_too_many_or_too_large_get_431() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"headerBytes": "4KiB", "headerCount": 16})).await;
    let with = |headers: &str| chat(MODEL).replacen("\r\n", &format!("\r\n{headers}"), 1);
    let many = |count: usize| with(&(0..count).map(|at| format!("x-{at}: y\r\n")).collect::<String>());
    let cases = [
        ("limits.headerBytes", with(&format!("x: {}\r\n", "y".repeat(5 << 10)))),
        ("limits.headerBytes", with(&format!("{}: y\r\n", "x".repeat(5 << 10)))),
        ("limits.headerBytes", chat(MODEL).replacen("/v1/", &format!("/{}/v1/", "x".repeat(5 << 10)), 1)),
        // Beyond what the parser itself takes.
        ("limits.headerBytes", with(&format!("x: {}\r\n", "y".repeat(2 << 20)))),
        ("limits.headerCount", many(20)),
        ("limits.headerCount", many(300)),
    ];
    for (number, (limit, request)) in cases.iter().enumerate() {
        let before = gate.hits(limit);
        let mut wire = gate.wire().await;
        wire.send_all_it_takes(request).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.refusal(limit)), (431, "headers_too_large"), "{number}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains(limit), "{number}: {answer:?}");
        wire.ends().await;
        gate.hit(limit, before + 1.0).await;
    }
    assert!(sim.requests().is_empty());
    assert_eq!(gate.ask(many(10)).await.status, 200);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_a_byte_at_a_time_runs_out_of_time() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"headerTimeout": "300ms"})).await;
    let mut wire = gate.wire().await;
    let mut pace = tokio::time::interval(Duration::from_millis(3));
    let mut endless = b"GET / HTTP/1.1\r\nhost: llm\r\nx: ".iter().chain(std::iter::repeat(&b'y'));
    let answer = loop {
        tokio::select! {
            answer = wire.head() => break answer,
            _ = pace.tick() => {}
        }
        let _closed = wire.stream.write_all(&[*endless.next().unwrap()]).await;
    };
    let mut answer = answer.expect("408, and not just the end of the connection");
    wire.body(&mut answer).await;
    assert_eq!((answer.status, &*answer.refusal("slow head")), (408, "request_timeout"));
    wire.ends().await;
    gate.hit("limits.headerTimeout", 1.0).await;

    // Nothing at all, and the beginning of an HTTP/2 preface: the connection just ends.
    for start in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut wire = gate.wire().await;
        wire.send(start).await;
        wire.rest().await;
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_gets_413_however_it_is_framed() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"bodyBytes": "64KiB"})).await;
    let limit = "limits.bodyBytes";
    for path in ["/v1/chat/completions", "/sim/sink"] {
        // Declared: refused before a byte of it is read, or asked for by `100 Continue`.
        for expect in ["", "expect: 100-continue\r\n"] {
            let mut wire = gate.wire().await;
            wire.send(format!("POST {path} HTTP/1.1\r\nhost: llm\r\n{expect}content-length: 70000\r\n\r\n"))
                .await;
            let mut answer = wire.head().await.unwrap();
            wire.body(&mut answer).await;
            assert_eq!((answer.status, &*answer.refusal(path)), (413, "request_too_large"), "{path}");
            assert!(answer.json()["error"]["message"].as_str().unwrap().contains(limit));
            wire.ends().await;
        }
        let mut wire = gate.wire().await;
        wire.send_all_it_takes(chunked(path, 200_000)).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.refusal(path)), (413, "request_too_large"), "{path}");
        wire.ends().await;
        let mut h2 = H2::connect(gate.http).await;
        let (status, body) = h2.post(path, &[], chat_of(200_000).as_bytes()).await.unwrap();
        assert_eq!((status, &body["error"]["code"]), (413, &"request_too_large".into()), "{path}");
        assert_eq!(gate.ask(chat(MODEL)).await.status, 200);
    }
    gate.hit(limit, 8.0).await;
    assert_eq!(gate.ask(post("/v1/chat/completions", &chat_of(64 << 10))).await.status, 200);
    gate.settled().await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_for_bodies_is_bounded_and_given_back_after_every_ending() {
    let sim = sim().await;
    let limits = json!({"bodyBytes": "8MiB", "bodiesInFlightBytes": "1MiB", "bodyIdleTimeout": "5s"});
    let gate = Gate::limited(sim.addr(), limits).await;
    let large = post("/v1/chat/completions", &chat_of(900_000));
    let (start, end) = large.split_at(800_000);
    for round in 0..3 {
        let mut first = gate.wire().await;
        first.send(start).await;
        eventually("the first body to be held", || (gate.leftovers()[1] > 700_000).then_some(())).await;
        let mut second = gate.wire().await;
        second.send_all_it_takes(&large).await;
        let answer = second.answer().await;
        assert_eq!((answer.status, &*answer.refusal("memory")), (503, "overloaded"), "round {round}");
        assert!(answer.header("retry-after").is_some());
        match round {
            0 => {
                first.send(end).await;
                let answer = first.answer().await;
                assert_ne!(answer.status, 503, "{}", String::from_utf8_lossy(&answer.body));
                assert_eq!(sim.requests()[0].body_bytes, 900_000);
            }
            1 => first.reset(),
            _ => drop(first),
        }
        gate.settled().await;
    }
    gate.hit("limits.bodiesInFlightBytes", 3.0).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stops_coming_gets_408() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"bodyIdleTimeout": "200ms"})).await;
    for path in ["/v1/chat/completions", "/sim/sink"] {
        let mut wire = gate.wire().await;
        let request = post(path, &chat_body(MODEL));
        wire.send(&request[..request.len() - 1]).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.refusal(path)), (408, "request_timeout"), "{path}: {answer:?}");
        wire.ends().await;
    }
    gate.hit("limits.bodyIdleTimeout", 2.0).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_is_cut_though_it_never_pauses() {
    let sim = sim().await;
    for (limit, value, piece) in [("bodyIdleTimeout", "300ms", 1), ("bodyTimeout", "1s", 1024)] {
        let gate = Gate::limited(sim.addr(), json!({limit: value})).await;
        let mut wire = gate.wire().await;
        wire.send(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\ncontent-length: 9999999\r\n\r\n{\"x\":\"",
        )
        .await;
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        let answer = loop {
            tokio::select! {
                answer = wire.head() => break answer,
                _ = pace.tick() => {}
            }
            let _closed = wire.stream.write_all(&vec![b'x'; piece]).await;
        };
        assert_eq!(answer.expect("an answer").status, 408, "{limit}");
        // Counted at the request's end, which is after its answer.
        let name = format!("limits.{limit}");
        eventually(&name, || (gate.hits(&name) == 1.0).then_some(())).await;
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"connections": 1})).await;
    let mut first = gate.wire().await;
    first.send(chat(MODEL)).await;
    assert_eq!(first.answer().await.status, 200);
    for _ in 0..2 {
        gate.wire().await.ends().await;
    }
    gate.hit("limits.connections", 2.0).await;
    first.send(chat(MODEL)).await;
    assert_eq!(first.answer().await.status, 200);
    drop(first);
    // The place is free again once the gateway has seen the end.
    let next = loop {
        let mut wire = gate.wire().await;
        wire.send_all_it_takes(chat(MODEL)).await;
        if let Some(answer) = wire.try_answer().await {
            break answer;
        }
    };
    assert_eq!(next.status, 200);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_limit_get_503_and_the_admin_pages_still_answer() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"concurrentRequests": 1})).await;
    sim.faults().push(Fault::new(Action::Hang).times(1));
    let mut first = gate.wire().await;
    first.send(chat(MODEL)).await;
    sim.until(|stats| stats.in_flight == 1).await;
    let mut second = gate.wire().await;
    for _ in 0..2 {
        second.send(chat(MODEL)).await;
        let answer = second.answer().await;
        assert_eq!((answer.status, &*answer.refusal("concurrent")), (503, "overloaded"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    for page in ["/healthz", "/readyz", "/metrics", "/debug/config", "/debug/pools"] {
        assert_eq!(gate.page(page).await.status, 200, "{page}");
    }
    gate.hit("limits.concurrentRequests", 2.0).await;
    drop(first);
    gate.settled().await;
    assert_eq!(gate.ask(chat(MODEL)).await.status, 200);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_cut() {
    let piece = vec![b'x'; 1 << 16];
    let endless = [&b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"[..], &piece].concat();
    let villain = Villain::always(endless, Then::Repeat).await;
    let gate = Gate::limited(villain.address, json!({"writeTimeout": "300ms"})).await;
    let mut wire = gate.wire().await;
    wire.send(chat(MODEL)).await;
    eventually("the client to be cut", || (gate.hits("limits.writeTimeout") == 1.0).then_some(())).await;
    gate.settled().await;

    let mut h2 = H2::connect(gate.http).await;
    let stream = h2.start("/raw/x").await;
    eventually("the stream to be cut", || (gate.hits("limits.writeTimeout") == 2.0).then_some(())).await;
    drop((stream, h2, wire));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pipelines_and_does_not_read_is_cut() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"writeTimeout": "300ms"})).await;
    let mut wire = gate.wire().await;
    let flood = "GET /v1/models HTTP/1.1\r\nhost: llm\r\n\r\n".repeat(200_000);
    // The gateway stops reading when it can no longer write, and then ends the connection.
    wire.send_all_it_takes(flood).await;
    eventually("the connection to end", || {
        (gate.gateway.metric("penstock_connections_open", &[]) == 0.0).then_some(())
    })
    .await;
    drop(wire);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_on_models_are_counted() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"modelBytes": "64"})).await;
    let answer = gate.ask(chat(&"m".repeat(65))).await;
    assert_eq!((answer.status, &*answer.refusal("model")), (400, "invalid_model"));
    gate.hit("limits.modelBytes", 1.0).await;
    let deep = format!(r#"{{"x":{},"model":"{MODEL}"}}"#, "[".repeat(10_000));
    assert_eq!(gate.ask(post("/v1/chat/completions", &deep)).await.status, 400);
    gate.hit("peek.maxDepth", 1.0).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_clients_make_up_do_not_fill_the_metrics() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let mut wire = gate.wire().await;
    for number in 0..600 {
        wire.send(post("/pool/v1/chat/completions", &chat_body(&format!("made-up-{number}")))).await;
        wire.answer().await;
    }
    gate.settled().await;
    let page = gate.gateway.metrics();
    let made_up: std::collections::HashSet<&str> =
        page.split("made-up-").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(made_up.len() < 300, "{} models of a client's making have series", made_up.len());
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_tiny_chunks_arrives_whole() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let body = chat_of(20_000);
    let chunks: String = body.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    for path in ["/v1/chat/completions", "/sim/sink"] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: llm\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        );
        sim.forget_requests();
        gate.ask(request).await;
        let seen = sim.requests().pop().unwrap();
        assert_eq!(seen.body_xxh64, penstock_sim::record::body_hash(body.as_bytes()), "{path}");
    }
    gate.close().await;
}

/// Closed at once, the connection would be reset by what the client still sends, and the answer lost with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_still_sends_can_read_why_it_is_refused() {
    let sim = sim().await;
    let limits = json!({"bodyBytes": "1KiB", "drainBytes": "64KiB", "drainTimeout": "10s"});
    let gate = Gate::limited(sim.addr(), limits).await;
    for path in ["/v1/chat/completions", "/raw"] {
        for framing in ["content-length: 600000", "transfer-encoding: chunked"] {
            let mut wire = gate.wire().await;
            wire.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n")).await;
            if framing.ends_with("chunked") {
                wire.send("7fffffff\r\n").await;
            }
            // More than lies in the buffers between the two, and less than is read and dropped.
            for _ in 0..6 {
                wire.send_all_it_takes("x".repeat(10_000)).await;
            }
            let answer = wire.answer().await;
            assert_eq!(answer.status, 413, "{path} {framing}: {answer:?}");
            assert_eq!(answer.header("connection"), Some("close"), "{path} {framing}");
            wire.ends().await;
        }
    }
    gate.close().await;
}
