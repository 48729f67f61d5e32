//! Clients who choose the values that counters are told apart by, and send ever new ones.

use serde_json::{Value, json};

use super::{SEARCH, ask, limited, server};
use crate::harness::{Client, Gateway, Protocol};

/// How many counters there is room for.
const ROOM: usize = 20;

/// Three requests in a long time for each user that a header names, and room for some users.
fn crowded(server: std::net::SocketAddr, room: usize) -> Value {
    let limits = json!([
        {"name": "users", "amount": 3, "window": {"tokenBucket": "8000h"}, "per": ["header:x-user"], "missing": "Deny"},
    ]);
    let mut document = limited(server, &limits);
    document["limits"] = json!({"limitCounters": room});
    document
}

/// How many of so many requests of a user pass.
async fn passed(client: &mut Client, user: &str, requests: usize) -> usize {
    let mut passed = 0;
    for _ in 0..requests {
        let status = client.send(ask(SEARCH, &[("x-user", user)])).await.status.as_u16();
        assert!(matches!(status, 200 | 429), "{user}: {status}");
        passed += usize::from(status == 200);
    }
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_values_takes_no_more_room_than_there_is_and_leads_past_no_limit() {
    let (server, _) = server().await;
    let gateway = Gateway::start(crowded(server.addr(), ROOM)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(passed(&mut client, "known", 2).await, 2);
    assert_eq!(passed(&mut client, "spent", 4).await, 3);
    let mut of_flood = 0;
    for user in 0..200 {
        of_flood += passed(&mut client, &format!("flood-{user}"), 1).await;
    }
    // One each as long as there is room, and three of all others together.
    assert_eq!(of_flood, ROOM - 2 + 3);
    let counters = gateway.metric("penstock_limit_counters", &[]);
    assert!(counters <= (ROOM + 1) as f64, "{counters} counters");
    let overflowed = gateway.metric("penstock_limit_counters_overflowed_total", &[]);
    assert_eq!(overflowed, (200 - (ROOM - 2)) as f64);
    assert_eq!(
        passed(&mut client, "known", 2).await,
        1,
        "what was used is neither forgotten nor anybody else's"
    );
    assert_eq!(passed(&mut client, "spent", 1).await, 0, "a flood gives nobody a new counter");
    assert_eq!(
        passed(&mut client, "flood-0", 3).await,
        2,
        "who came before there was no room has a counter alone"
    );
    assert_eq!(passed(&mut client, "new", 1).await, 0, "who comes now shares one that is used up");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_room_takes_effect_with_the_document_that_makes_it() {
    let (server, _) = server().await;
    let gateway = Gateway::start(crowded(server.addr(), 1)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(passed(&mut client, "first", 1).await, 1);
    assert_eq!(passed(&mut client, "second", 4).await, 3);
    assert_eq!(passed(&mut client, "third", 1).await, 0);
    gateway.reload(crowded(server.addr(), 3)).unwrap();
    assert_eq!(passed(&mut client, "third", 4).await, 3);
    // Less room than is taken pushes nobody out.
    gateway.reload(crowded(server.addr(), 1)).unwrap();
    assert_eq!(passed(&mut client, "third", 1).await, 0);
    assert_eq!(passed(&mut client, "first", 3).await, 2);
    drop(client);
    gateway.stop().await;
}
