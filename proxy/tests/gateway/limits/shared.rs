//! Limits that gateways share in a real Redis.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::redis_server::Redis;
use super::{SEARCH, ask, limited, server};
use crate::harness::{Gateway, Protocol, with};

#[expect(dead_code, reason = "the tests of leases use the rest")]
#[path = "../../../../leases/tests/leases/server.rs"]
mod redis_server;

/// How long something may take that has to come.
const SOON: Duration = Duration::from_secs(30);

/// A document with a limit of requests that is shared in this store.
fn shared(server: SocketAddr, redis: &Redis, amount: u64, on_failure: &str) -> Value {
    let limits = json!([{"name": "few", "amount": amount, "window": {"calendar": "Year"}}]);
    let store =
        json!({"redis": {"addresses": [redis.address()], "deadline": "250ms"}, "onFailure": on_failure});
    with(limited(server, &limits), json!({"limitStore": store, "replicas": 2}))
}

/// Sends so many requests at a time, and says how many were answered with 200; the others have to have this status.
async fn send(gateway: &Gateway, count: usize, refused: u16) -> usize {
    let mut tasks = JoinSet::new();
    for share in 0..8 {
        let mut client = gateway.client(Protocol::H1).await;
        let count = count / 8 + usize::from(share < count % 8);
        tasks.spawn(async move {
            let mut passed = 0;
            for _ in 0..count {
                match client.send(ask(SEARCH, &[])).await.status.as_u16() {
                    200 => passed += 1,
                    status => assert_eq!(status, refused),
                }
            }
            passed
        });
    }
    tasks.join_all().await.into_iter().sum()
}

/// Asks this gateway until so many were answered.
async fn until_passed(gateway: &Gateway, count: usize) {
    let (deadline, mut passed) = (Instant::now() + SOON, 0);
    let mut client = gateway.client(Protocol::H1).await;
    while passed < count {
        assert!(Instant::now() < deadline, "{passed} of {count} passed");
        match client.send(ask(SEARCH, &[])).await.status.as_u16() {
            200 => passed += 1,
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn until_state(gateway: &Gateway, state: &str) {
    let deadline = Instant::now() + SOON;
    let label = format!("state=\"{state}\"");
    while gateway.metric("penstock_limit_store_state", &[&label]) < 1.0 {
        assert!(Instant::now() < deadline, "the store is not {state}: {}", gateway.metrics());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_admit_together_exactly_what_a_shared_limit_allows() {
    let redis = Redis::start().await;
    let (server, asked) = server().await;
    let document = shared(server.addr(), &redis, 200, "Closed");
    let (first, second) = (Gateway::start(document.clone()).await, Gateway::start(document).await);
    until_passed(&first, 1).await;
    until_passed(&second, 1).await;
    let (of_first, of_second) = tokio::join!(send(&first, 240, 429), send(&second, 240, 429));
    let mut passed = 2 + of_first + of_second;
    // What one has and does not use goes back to the other.
    let deadline = Instant::now() + SOON;
    while passed < 200 {
        assert!(Instant::now() < deadline, "{passed} passed");
        passed += send(&first, 1, 429).await;
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(passed, 200);
    assert_eq!((send(&first, 8, 429).await, send(&second, 8, 429).await), (0, 0), "nothing is left");
    assert_eq!(asked.load(Ordering::Relaxed), 200);
    assert!(first.metric("penstock_limit_store_calls_total", &["outcome=\"granted\""]) >= 1.0);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_gives_back_what_it_did_not_use() {
    let redis = Redis::start().await;
    let (server, _) = server().await;
    let document = shared(server.addr(), &redis, 100, "Closed");
    let (first, second) = (Gateway::start(document.clone()).await, Gateway::start(document).await);
    until_passed(&first, 30).await;
    first.stop().await;
    let at_once = send(&second, 80, 429).await;
    assert!(at_once <= 70, "{at_once}");
    until_passed(&second, 70 - at_once).await;
    assert_eq!(send(&second, 8, 429).await, 0, "nothing is left");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_store_a_limit_is_open_closed_or_a_share_and_reloads_change_which() {
    let mut redis = Redis::start().await;
    redis.kill();
    let (server, _) = server().await;
    let gateway = Gateway::start(shared(server.addr(), &redis, 20, "Closed")).await;
    until_state(&gateway, "open").await;
    assert_eq!(send(&gateway, 8, 503).await, 0, "it is closed");
    gateway.reload(shared(server.addr(), &redis, 20, "LocalShare")).unwrap();
    until_state(&gateway, "open").await;
    assert_eq!(send(&gateway, 40, 429).await, 10, "half of the limit is each gateway's");
    gateway.reload(shared(server.addr(), &redis, 20, "Open")).unwrap();
    until_state(&gateway, "open").await;
    assert_eq!(send(&gateway, 40, 429).await, 40, "it is open");
    gateway.stop().await;
}
