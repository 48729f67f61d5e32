//! Clients that do not take leave: what they go on sending behind an answer that closes their connection, and how long they
//! may stay, has bounds.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::gate::{Gate, post, sim};
use crate::harness::{eventually, within};

/// The beginning of a body that is too large, however it is framed.
const BEGINNINGS: [&str; 2] =
    ["content-length: 600000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n7fffffff\r\n"];

fn head(beginning: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\n{beginning}")
}

/// Waits until the gateway has closed every connection.
async fn all_closed(gate: &Gate) {
    let open = || gate.gateway.metric("penstock_connections_open", &[]);
    eventually("the connection to be closed", || (open() == 0.0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_for_ever_behind_its_refusal_is_cut() {
    let sim = sim().await;
    let limits = json!({"bodyBytes": "1KiB", "drainBytes": "64KiB", "drainTimeout": "5m"});
    let gate = Gate::limited(sim.addr(), limits).await;
    for beginning in BEGINNINGS {
        let mut wire = gate.wire().await;
        wire.send(head(beginning)).await;
        let piece = [b'x'; 16 << 10];
        // As long as it is taken.
        within("the client to be cut", async { while wire.stream.write_all(&piece).await.is_ok() {} }).await;
        all_closed(&gate).await;
    }
    gate.hit("limits.bodyBytes", 2.0).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_keeps_its_half_open_behind_a_refusal_is_gone_in_time() {
    let sim = sim().await;
    let limits = json!({"bodyBytes": "1KiB", "drainBytes": "1GiB", "drainTimeout": "300ms"});
    let gate = Gate::limited(sim.addr(), limits).await;
    for beginning in BEGINNINGS {
        let mut wire = gate.wire().await;
        wire.send(head(beginning)).await;
        if beginning.contains("chunked") {
            wire.send([b'x'; 2000]).await;
        }
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.refusal(beginning)), (413, "request_too_large"), "{beginning}");
        // The gateway's half is closed. The client keeps its own, and says nothing.
        wire.ends().await;
        all_closed(&gate).await;
        drop(wire);
    }
    gate.close().await;
}

/// A body that nobody wants is dropped where it is short, and ends the connection where it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_to_be_dropped_is_counted() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"drainBytes": "64KiB"})).await;
    for (bytes, hits, connection) in [(64 << 10, 0.0, "keep-alive"), ((64 << 10) + 1, 1.0, "close")] {
        let mut wire = gate.wire().await;
        wire.send_all_it_takes(post("/nowhere", &"x".repeat(bytes))).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (404, Some(connection)), "{bytes}");
        assert_eq!(gate.hits("limits.drainBytes"), hits, "{bytes}");
    }
    gate.close().await;
}
