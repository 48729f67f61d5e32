//! Clients that hold on to memory with bodies that they never finish.

use std::net::Ipv4Addr;

use serde_json::json;

use crate::gate::{Gate, Setup, post, sim};
use crate::harness::eventually;
use crate::limits::chat_of;
use crate::wire::Wire;

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A chat completion of so many bytes that says for whom it is passed on.
fn on_behalf(client: &str, bytes: usize) -> String {
    let request = post("/v1/chat/completions", &chat_of(bytes));
    request.replacen("\r\n", &format!("\r\nx-forwarded-for: {client}\r\n"), 1)
}

/// Opens connections that each send half of a body, as many as the gateway lets have memory.
async fn hoard(gate: &Gate, from: Ipv4Addr, count: usize) -> Vec<Wire> {
    hoard_of(gate, from, count, &post("/v1/chat/completions", &chat_of(400_000))).await
}

/// The same, of this request.
async fn hoard_of(gate: &Gate, from: Ipv4Addr, count: usize, whole: &str) -> Vec<Wire> {
    let half = &whole[..200_000];
    let mut hoard = Vec::new();
    for _ in 0..count {
        let before = gate.leftovers()[1];
        let mut wire = Wire::connect_from(from, gate.http).await;
        wire.send_all_it_takes(half).await;
        eventually("it to be held, or refused", || {
            let held = gate.leftovers();
            (held[1] >= before + 199_000 || held[0] < hoard.len() as u64 + 1).then_some(())
        })
        .await;
        hoard.push(wire);
    }
    hoard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_bodies_of_one_client_leave_room_for_others() {
    let sim = sim().await;
    let limits = json!({"bodyBytes": "1MiB", "bodiesInFlightBytes": "2MiB"});
    let gate = Gate::limited(sim.addr(), limits).await;
    let hoard = hoard(&gate, ATTACKER, 7).await;
    assert!(gate.leftovers()[1] > 1_000_000, "{:?}", gate.leftovers());

    // Small and medium ones have room, and a large one gets it.
    for size in [1_000, 60_000, 200_000, 900_000] {
        let mut good = Wire::connect_from(GOOD, gate.http).await;
        good.send_all_it_takes(post("/v1/chat/completions", &chat_of(size))).await;
        let answer = good.answer().await;
        // The model server has a limit of its own, and says so in its words.
        assert_ne!(answer.status, 503, "{size}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(sim.requests().last().unwrap().body_bytes, size as u64);
    }

    let mut given_up = 0;
    for mut wire in hoard {
        if let Some(answer) = wire.answer_if_any().await {
            assert_eq!((answer.status, &*answer.refusal("hoard")), (503, "overloaded"));
            let message = answer.json()["error"]["message"].to_string();
            given_up += u32::from(message.contains("gave up this one"));
        }
    }
    assert!((1..=4).contains(&given_up), "as many as the large one needed: {given_up}");
    gate.settled().await;
    gate.close().await;
}

/// A proxy's address says nothing of whose bodies come from it, where the proxy is trusted to tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_trusted_proxy_have_shares_of_their_own() {
    let sim = sim().await;
    let limits = json!({"bodyBytes": "1MiB", "bodiesInFlightBytes": "2MiB"});
    for (listener, has_room) in [(json!({"trustedProxies": ["127.0.0.0/8"]}), true), (json!({}), false)] {
        let gate =
            Gate::with(sim.addr(), Setup { limits: limits.clone(), listener, ..Setup::default() }).await;
        let hoard = hoard_of(&gate, GOOD, 7, &on_behalf("203.0.113.7", 400_000)).await;
        assert!(gate.leftovers()[1] > 1_000_000, "{:?}", gate.leftovers());
        let mut good = Wire::connect_from(GOOD, gate.http).await;
        good.send_all_it_takes(on_behalf("203.0.113.8", 900_000)).await;
        let answer = good.answer().await;
        // The model server has a limit of its own, and says so in its words.
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status != 503, has_room, "{}: {text}", answer.status);
        drop(hoard);
        gate.settled().await;
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_sent_much_has_to_go_on_faster() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"bodyIdleTimeout": "500ms"})).await;
    let whole = post("/v1/chat/completions", &chat_of(400_000));
    let (start, rest) = whole.split_at(300_000);
    let mut wire = gate.wire().await;
    wire.send(start).await;
    // Two KiB would do for one that has just begun; of this one 4.6 are wanted.
    for piece in rest.as_bytes().chunks(200) {
        wire.send_all_it_takes(piece).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        if gate.hits("limits.bodyIdleTimeout") > 0.0 {
            break;
        }
    }
    let answer = wire.answer().await;
    assert_eq!((answer.status, &*answer.refusal("slow")), (408, "request_timeout"));
    gate.settled().await;
    gate.close().await;
}
