//! Limits of pools and backends, which each attempt there takes from.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{DOCS, SEARCH, answering, ask, limited, server, statuses, three};
use crate::explain::Explained;
use crate::harness::{Gateway, Protocol, RawServer, backend, pool, with};

/// A document with two backends, `a` before `b`, of which each may be asked so often.
fn two(a: SocketAddr, b: SocketAddr, amounts: [u64; 2]) -> Value {
    let quota = |name: &str, amount: u64| {
        let limit = json!({"name": "l", "amount": amount, "window": {"tokenBucket": "8000h"}});
        json!({"name": name, "limits": [limit]})
    };
    let mut document = limited(a, &json!([three()]));
    let policies = document["policies"].as_array_mut().unwrap();
    policies.extend([quota("of-a", amounts[0]), quota("of-b", amounts[1])]);
    document["routes"][0]["rules"][0] = json!({
        "retry": {"statuses": [503], "backoff": "0s"},
        "targets": [{"backend": "a"}, {"backend": "b", "priority": 1}],
    });
    document["backends"] = json!([
        with(backend("a", &[a]), json!({"policies": ["of-a"]})),
        with(backend("b", &[b]), json!({"policies": ["of-b"]})),
    ]);
    document
}

fn charged(line: &Value) -> Vec<(String, u64)> {
    let charged = line["charged"].as_array().unwrap().iter();
    charged.map(|of| (of["policy"].as_str().unwrap().to_owned(), of["used"].as_u64().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_whose_limit_is_reached_is_passed_over_and_429_is_for_none_left() {
    let ((a, asked_a), (b, asked_b)) = (server().await, server().await);
    let gateway = Gateway::start(two(a.addr(), b.addr(), [1, 1])).await;
    let mut client = gateway.client(Protocol::H1).await;
    let first = client.send(ask(SEARCH, &[])).await;
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "0", "the target's is the tightest");
    let second = client.send(ask(SEARCH, &[])).await;
    assert_eq!((second.status.as_u16(), second.header("x-penstock-tried")), (200, "a;limited"));
    let third = client.send(ask(SEARCH, &[])).await;
    assert_eq!((third.status.as_u16(), third.code().as_str()), (429, "rate_limit_exceeded"));
    assert!(third.headers.contains_key("retry-after"));
    assert_eq!([&asked_a, &asked_b].map(|asked| asked.load(Ordering::Relaxed)), [1, 1]);
    let lines = gateway.log(3).await;
    let own = |name: &str| vec![("p".to_owned(), 1), (name.to_owned(), 1)];
    assert_eq!((charged(&lines[0]), charged(&lines[1])), (own("of-a"), own("of-b")));
    assert_eq!(lines[1]["tried"], json!([{"backend": "a", "reason": "limited"}]), "{}", lines[1]);
    assert_eq!(charged(&lines[2]), [("p".to_owned(), 0)], "nobody was asked");
    assert_eq!(gateway.metric("penstock_picks_total", &["outcome=\"limited\""]), 3.0);
    // So the client's own three are not used up.
    let left = gateway.metric("penstock_limit_used_total", &["policy=\"p\""]);
    assert_eq!(left, 2.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_charges_each_target_that_was_asked_and_the_client_once() {
    let (a, asked_a) =
        answering("HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n").await;
    let (b, asked_b) = server().await;
    let gateway = Gateway::start(two(a.addr(), b.addr(), [9, 9])).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 200, 200, 429]);
    assert_eq!([&asked_a, &asked_b].map(|asked| asked.load(Ordering::Relaxed)), [3, 3]);
    gateway.log(4).await;
    for (policy, used) in [("p", 3.0), ("of-a", 3.0), ("of-b", 3.0)] {
        let metric = format!("policy=\"{policy}\"");
        assert_eq!(gateway.metric("penstock_limit_used_total", &[&metric]), used, "{policy}");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_reset_is_charged_and_the_answer_of_another_is_too() {
    let reset = RawServer::start(|mut connection| async move {
        connection.request().await;
        connection.reset();
    })
    .await;
    let (b, _) = server().await;
    let mut document = two(reset.addr(), b.addr(), [9, 9]);
    document["routes"][0]["rules"][0]["retry"] = json!({"unanswered": true, "backoff": "0s"});
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200]);
    let line = gateway.log(1).await.remove(0);
    assert_eq!(charged(&line), [("p".to_owned(), 1), ("of-b".to_owned(), 1)]);
    assert_eq!(gateway.metric("penstock_limit_used_total", &["policy=\"of-a\""]), 1.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_names_the_caller_the_limits_and_who_refuses_and_takes_nothing() {
    let ((a, _), (b, _)) = (server().await, server().await);
    let explained = Explained::start(two(a.addr(), b.addr(), [1, 9])).await;
    let gateway = &explained.gateway;
    let told = explained.ask(SEARCH).await;
    assert_eq!(
        (&told["caller"]["consumer"], &told["caller"]["tags"]["team"]),
        (&json!("search"), &json!("web"))
    );
    assert_eq!((&told["route"], &told["backend"]), (&json!("r"), &json!("a")), "{told:#}");
    let limit = |limit: &Value| [limit["remaining"].clone(), limit["amount"].clone()];
    assert_eq!(limit(&told["limits"][0]), [json!(3), json!(3)], "{told:#}");
    assert_eq!(limit(&told["target_limits"][0]), [json!(1), json!(1)], "{told:#}");
    assert_eq!(limit(&explained.ask(DOCS).await["limits"][0]), [json!(3), json!(3)], "nothing is taken");

    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200]);
    gateway.log(1).await;
    let told = explained.ask(SEARCH).await;
    assert_eq!(
        (&told["backend"], &told["passed_over"][0]["backend"]),
        (&json!("b"), &json!("a")),
        "{told:#}"
    );
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 200, 429]);
    let told = explained.ask(SEARCH).await;
    assert_eq!(told["refused_by"], json!({"policy": "p", "limit": "few"}), "{told:#}");
    assert!(told["picked"].is_null() && told["refused"].is_string(), "{told:#}");
    let told = explained.ask("sk-of-nobody").await;
    assert_eq!(
        (&told["refused_by"]["policy"], &told["refused_status"]),
        (&json!("keys"), &json!(401)),
        "{told:#}"
    );
    drop(client);
    explained.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_hears_how_urgent_the_requests_of_a_consumer_are() {
    let (server, _) = server().await;
    let mut document = limited(server.addr(), &json!([three()]));
    document["consumers"][0]["priority"] = json!(-3);
    document["routes"][0]["rules"][0]["targets"] = json!([{"pool": "servers"}]);
    document["pools"] = json!([pool("servers", &[server.addr()])]);
    let explained = Explained::start(document).await;
    assert_eq!(explained.ask(SEARCH).await["priority"], -3);
    assert_eq!(explained.ask(DOCS).await["priority"], 0);
    explained.stop().await;
}
