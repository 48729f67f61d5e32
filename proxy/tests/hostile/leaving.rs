//! Clients that leave at each phase of a request, and what must not stay behind.

use penstock_sim::faults::{Action, Fault};
use penstock_sim::metrics::FakeMetrics;
use serde_json::json;

use crate::gate::{Gate, chat, chat_body, post, sim};
use crate::h2::H2;
use crate::harness::{Gateway, MODEL, eventually};
use crate::wire::Wire;

/// Leaves, by a reset or in order.
fn leave(wire: Wire, by_reset: bool) {
    if by_reset { wire.reset() } else { drop(wire) }
}

async fn all_closed(gate: &Gate) {
    eventually("all connections to be closed", || {
        (gate.gateway.metric("penstock_connections_open", &[]) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_while_the_request_is_being_sent_leaves_nothing_behind() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for path in ["/v1/chat/completions", "/sim/sink"] {
        let request = post(path, &chat_body(MODEL));
        for at in [0, 1, 3, 10, 60, request.len() - 20, request.len() - 1] {
            for by_reset in [false, true] {
                let mut wire = gate.wire().await;
                wire.send(&request[..at]).await;
                leave(wire, by_reset);
            }
        }
        all_closed(&gate).await;
        gate.settled().await;
    }
    assert_eq!(sim.stats().completed, 0);
    assert_eq!(gate.ask(chat(MODEL)).await.status, 200);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_while_the_model_thinks_or_speaks_cancels_it() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let streamed = chat_body(MODEL).replacen('{', r#"{"stream":true,"#, 1);
    let mut cancelled = 0;
    for path in ["/v1/chat/completions"] {
        for action in [Action::Hang, Action::HangAfter { chunks: 1 }] {
            for by_reset in [false, true] {
                let is_stream = matches!(action, Action::HangAfter { .. });
                sim.faults().set(vec![Fault::new(action.clone())]);
                let mut wire = gate.wire().await;
                wire.send(post(path, &streamed)).await;
                sim.until(|stats| stats.in_flight == 1).await;
                if is_stream {
                    assert_eq!(wire.head().await.unwrap().status, 200);
                    wire.more().await;
                }
                assert_eq!(gate.leftovers()[2], 1);
                leave(wire, by_reset);
                cancelled += 1;
                sim.until(|stats| stats.cancelled == cancelled && stats.in_flight == 0).await;
                gate.settled().await;
            }
        }
    }
    sim.faults().clear();
    assert_eq!(gate.ask(chat(MODEL)).await.status, 200);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resetting_a_stream_cancels_it_and_nothing_else() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let mut h2 = H2::connect(gate.http).await;
    sim.faults().set(vec![Fault::new(Action::Hang).times(3)]);
    let body = chat_body(MODEL);
    for round in 1..=3 {
        let (answer, mut sending) = h2.open("/v1/chat/completions", &[]).await;
        sending.send_data(body.clone().into(), true).unwrap();
        sim.until(|stats| stats.in_flight == 1).await;
        sending.send_reset(h2::Reason::CANCEL);
        drop(answer);
        sim.until(|stats| stats.cancelled == round && stats.in_flight == 0).await;
    }
    // In the middle of the body.
    let (answer, mut sending) = h2.open("/v1/chat/completions", &[]).await;
    sending.send_data(body[..10].to_owned().into(), false).unwrap();
    eventually("the body to be held", || (gate.leftovers()[1] == 10).then_some(())).await;
    sending.send_reset(h2::Reason::CANCEL);
    drop(answer);
    gate.settled().await;
    let (status, _) = h2.post("/v1/chat/completions", &[], body.as_bytes()).await.unwrap();
    assert_eq!(status, 200);
    drop(h2);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_an_upload_that_was_refused_keeps_the_answer() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"bodyBytes": "64KiB"})).await;
    // A client that first sends everything and then reads, as most do: the refusal must survive the bytes
    // that were on their way.
    for _ in 0..20 {
        let mut wire = gate.wire().await;
        wire.send_all_it_takes(post("/v1/chat/completions", &"x".repeat(1 << 20))).await;
        assert_eq!(wire.answer().await.status, 413);
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_the_queue_gives_the_place_up() {
    let sim = sim().await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "pool"}]}]}],
        "pools": [{
            "name": "pool",
            "endpoints": [{"address": sim.addr().to_string()}],
            "saturation": {"action": "Queue", "queue": {"maxRequests": 100, "timeout": "60s"}},
        }],
    }))
    .await;
    let report = || json!(gateway.server().picker().pool("pool").unwrap().report());
    sim.fake_metrics(Some(FakeMetrics { waiting_requests: Some(1000.0), ..FakeMetrics::default() }));
    eventually("the pool to be full", || (report()["is_full"] == true).then_some(())).await;
    for by_reset in [false, true] {
        let mut wire = Wire::connect(gateway.addr()).await;
        wire.send(chat(MODEL)).await;
        eventually("the request to wait", || (report()["queued_requests"] == 1).then_some(())).await;
        leave(wire, by_reset);
        eventually("the queue to be empty", || (report()["queued_requests"] == 0).then_some(())).await;
    }
    assert!(sim.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_within_the_handshake_closes_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["llm".to_owned()]).unwrap();
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let sim = sim().await;
    let gateway = Gateway::start(json!({
        "limits": {"headerTimeout": "500ms"},
        "listeners": [{
            "name": "https",
            "address": "127.0.0.1:0",
            "protocol": "HTTPS",
            "tls": {"certificates": [{"certificateFile": certificate, "privateKeyFile": key}]},
        }],
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "raw"}]}]}],
        "backends": [crate::harness::backend("raw", &[sim.addr()])],
    }))
    .await;
    let hello = b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03";
    for start in
        [&b""[..], hello, b"GET / HTTP/1.1\r\nhost: llm\r\n\r\n", b"\x16\x03\x01\xff\xff", &[0; 1000]]
    {
        for by_reset in [false, true] {
            let mut wire = Wire::connect(gateway.addr()).await;
            wire.send(start).await;
            leave(wire, by_reset);
        }
    }
    // One that stays, and sends no more: cut when the time for a head is over.
    let mut wire = Wire::connect(gateway.addr()).await;
    wire.send(hello).await;
    wire.rest().await;
    eventually("all connections to be closed", || {
        (gateway.metric("penstock_connections_open", &[]) == 0.0).then_some(())
    })
    .await;
    assert!(sim.requests().is_empty());
    gateway.stop().await;
}
