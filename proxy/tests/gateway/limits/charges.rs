//! What requests are charged, and what they cost.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::{SEARCH, answering, ask, limited, server, statuses};
use crate::harness::{Gateway, Protocol, chat, eventually, post, with};

/// A limit of so many of something, in a long time.
fn of(count: &str, amount: impl Into<Value>) -> Value {
    let amount: Value = amount.into();
    json!([{"name": "l", "count": count, "amount": amount, "window": {"tokenBucket": "8000h"}}])
}

/// Prices by which [`super::usage`] costs 80 × 2 + 20 × 1 + 40 × 10 + 10 × 20 dollars.
fn prices() -> Value {
    json!([{"models": ["m"], "per": "Token", "input": "2", "cachedInput": "1", "output": "10", "reasoning": "20"}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_count_is_charged_what_the_upstream_reports() {
    let (server, _) = server().await;
    for (count, amount, used) in [
        ("Requests", json!(5), 1_u64),
        ("InputTokens", json!(1000), 100),
        ("CachedInputTokens", json!(1000), 20),
        ("OutputTokens", json!(1000), 50),
        ("ReasoningTokens", json!(1000), 10),
        ("TotalTokens", json!(1000), 150),
        ("Cost", json!("9000"), 780_000_000_000),
        ("Concurrency", json!(5), 1),
    ] {
        let mut limits = of(count, amount);
        if count == "Concurrency" {
            limits[0].as_object_mut().unwrap().remove("window");
        }
        let document = with(limited(server.addr(), &limits), json!({"prices": prices()}));
        let gateway = Gateway::start(document).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(ask(SEARCH, &[])).await;
        assert_eq!(reply.status, 200, "{count}: {}", reply.text());
        let line = gateway.log(1).await.remove(0);
        let charged = &line["charged"][0];
        assert_eq!((&charged["policy"], &charged["limit"]), (&json!("p"), &json!("l")), "{line}");
        assert_eq!((&charged["used"], &line["cost"]), (&json!(used), &json!(780)), "{count}: {line}");
        let metric = format!("count=\"{count}\"");
        assert_eq!(gateway.metric("penstock_limit_used_total", &[&metric]), used as f64, "{count}");
        assert_eq!(gateway.metric("penstock_cost_dollars_total", &["model=\"other\""]), 780.0);
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_of_a_path_counts_whatever_the_body_says() {
    let (server, _) = server().await;
    let dear = json!({"prices": [{"models": ["dear"], "per": "Token", "input": "2", "output": "2"}]});
    let path = "/openai/deployments/dear/chat/completions";
    for changes in [
        json!({"count": "Cost", "amount": "1"}),
        json!({"when": {"models": ["dear"]}}),
        json!({"per": ["model"]}),
    ] {
        let limits =
            with(json!({"name": "l", "amount": 1, "window": {"tokenBucket": "8000h"}}), changes.clone());
        let of_listener = with(limited(server.addr(), &json!([limits])), dear.clone());
        // The same limits, of the backend alone.
        let mut of_backend = of_listener.clone();
        of_backend["listeners"][0]["policies"] = json!(["keys"]);
        of_backend["backends"][0]["policies"] = json!(["p"]);
        for document in [of_listener, of_backend] {
            let gateway = Gateway::start(document).await;
            let mut client = gateway.client(Protocol::H1).await;
            let mut statuses = Vec::new();
            for body in ["nonsense", "another"] {
                let body = chat(body, false).to_string();
                let headers = [("content-type", "application/json"), ("x-api-key", SEARCH)];
                statuses.push(client.send(post(path, &headers, body)).await.status.as_u16());
                gateway.log(statuses.len()).await;
            }
            assert_eq!(statuses, [200, 429], "{changes}");
            assert_eq!(gateway.log(2).await[0]["cost"], 300, "{changes}");
            drop(client);
            gateway.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_makes_of_the_usage_what_is_counted() {
    let (server, _) = server().await;
    let limits = json!([{
        "name": "l", "expression": "input_tokens - cached_input_tokens + output_tokens * 5u", "amount": 10_000,
        "window": {"tokenBucket": "8000h"},
    }]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(SEARCH, &[])).await.status, 200);
    assert_eq!(gateway.log(1).await[0]["charged"][0]["used"], 80 + 250);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_knows_who_served_the_request() {
    let (server, _) = server().await;
    let limits = json!([{
        "name": "l", "expression": "backend == 'b' && route_name == 'r' ? total_tokens : 0u", "amount": 10_000,
        "window": {"tokenBucket": "8000h"},
    }]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(SEARCH, &[])).await.status, 200);
    assert_eq!(gateway.log(1).await[0]["charged"][0]["used"], 150);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_were_used_are_not_there_for_the_next_request() {
    let (server, count) = server().await;
    let gateway = Gateway::start(limited(server.addr(), &of("TotalTokens", 160))).await;
    let mut client = gateway.client(Protocol::H1).await;
    // The first is charged 150; what is left is too little for another one's prompt and answer.
    assert_eq!(statuses(&mut client, SEARCH).await, [200]);
    gateway.log(1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [429, 429]);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_a_month_that_is_used_up_is_not_to_be_waited_for() {
    let (server, _) = server().await;
    let limits = json!([{"name": "l", "count": "Cost", "amount": "800", "window": {"calendar": "Month"}}]);
    let gateway = Gateway::start(with(limited(server.addr(), &limits), json!({"prices": prices()}))).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200]);
    gateway.log(1).await;
    let reply = client.send(ask(SEARCH, &[])).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (429, "insufficient_quota"));
    assert_eq!(reply.json()["error"]["type"], "insufficient_quota");
    assert!(!reply.headers.contains_key("retry-after"));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_a_price_costs_nothing_that_is_not_seen() {
    let (server, _) = server().await;
    let other = json!({"prices": [{"models": ["another"], "input": "2", "output": "2"}]});
    let gateway = Gateway::start(with(limited(server.addr(), &of("Cost", "1")), other)).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(statuses(&mut client, SEARCH).await, [200, 200]);
    let line = gateway.log(2).await.remove(0);
    assert!(line.as_object().unwrap().contains_key("cost") && line["cost"].is_null(), "{line}");
    assert_eq!(gateway.metric("penstock_requests_without_price_total", &["upstream=\"b\""]), 2.0);
    assert_eq!(gateway.metric("penstock_cost_dollars_total", &[]), 0.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_prices_is_read_again_and_a_bad_one_changes_nothing() {
    let (server, _) = server().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.yaml");
    let priced =
        |input: &str| format!("prices: [{{models: [m], per: Token, input: '{input}', output: '0'}}]");
    std::fs::write(&file, priced("9")).unwrap();
    let document = with(limited(server.addr(), &of("Requests", 100)), json!({"pricesFile": file}));
    let gateway = Gateway::start(document.clone()).await;
    let mut client = gateway.client(Protocol::H1).await;
    let server_of = gateway.server().clone();
    let reload = || penstock_sources::Applier::reload_files(&*server_of);
    let steps = [
        (priced("1"), 100, 0.0),
        (priced("3"), 300, 0.0),
        ("prices: [{}]".to_owned(), 300, 1.0),
        (priced("2"), 200, 0.0),
    ];
    for (at, (said, cost, faulty)) in steps.into_iter().enumerate() {
        std::fs::write(&file, said).unwrap();
        reload();
        assert_eq!(statuses(&mut client, SEARCH).await, [200]);
        let line = gateway.log(at + 1).await.remove(at);
        assert_eq!(line["cost"], cost, "{line}");
        assert_eq!(gateway.metric("penstock_prices_faulty", &[]), faulty);
    }
    assert!(penstock_sources::Applier::files(&**gateway.server()).contains(&file));
    // The same file, bad, with another document: what it said before stays.
    std::fs::write(&file, "no prices").unwrap();
    gateway.reload(document).unwrap();
    assert_eq!(statuses(&mut client, SEARCH).await, [200]);
    assert_eq!(gateway.log(5).await[4]["cost"], 200);
    drop((client, server_of));
    gateway.stop().await;
}

/// What the gateway refuses itself is no request of a limit; what an upstream refuses is one, and takes no tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_is_charged_a_request_at_most() {
    let (server, _) = answering("HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\n").await;
    let limits = json!([
        {"name": "requests", "amount": 5, "window": {"tokenBucket": "8000h"}},
        {"name": "tokens", "count": "TotalTokens", "amount": 5000, "window": {"tokenBucket": "8000h"}},
    ]);
    let mut document = limited(server.addr(), &limits);
    let rules = document["routes"][0]["rules"].as_array_mut().unwrap();
    rules.insert(0, json!({"matches": [{"path": {"value": "/v1/none"}}], "targets": [{"pool": "none"}]}));
    document["pools"] = json!([{"name": "none", "endpoints": []}]);
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(super::at("/v1/none", SEARCH, &[])).await.status, 503);
    assert_eq!(client.send(ask(SEARCH, &[])).await.status, 404);
    let lines = gateway.log(2).await;
    let used = |line: &Value| [line["charged"][0]["used"].as_u64(), line["charged"][1]["used"].as_u64()];
    assert_eq!(used(&lines[0]), [Some(0), Some(0)], "{}", lines[0]);
    assert_eq!(used(&lines[1]), [Some(1), Some(0)], "{}", lines[1]);
    let left = client.send(ask(SEARCH, &[])).await.header("x-ratelimit-remaining-requests").to_owned();
    assert_eq!(left, "3");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_max_tokens_holds_no_more_than_half_and_what_such_requests_took_is_learned() {
    let (server, _) = server().await;
    let gateway = Gateway::start(limited(server.addr(), &of("OutputTokens", 100_000))).await;
    let mut client = gateway.client(Protocol::H1).await;
    let large = || {
        let body = with(crate::harness::chat("m", false), json!({"max_tokens": 1_000_000}));
        let headers = [("content-type", "application/json"), ("x-api-key", SEARCH)];
        crate::harness::post("/v1/chat/completions", &headers, body.to_string())
    };
    for _ in 0..100 {
        assert_eq!(client.send(large()).await.status, 200);
    }
    let lines = gateway.log(100).await;
    let held = |line: &Value| line["charged"][0]["held"].as_u64().unwrap();
    assert!(held(&lines[0]) <= 50_000, "{}", lines[0]);
    assert!(held(&lines[99]) < 200, "such requests take 50 tokens: {}", lines[99]);
    let tokens = |name, kind| gateway.metric(name, &[kind]);
    let reported = tokens("penstock_limit_reported_tokens_total", "kind=\"output\"");
    assert_eq!(reported, 5000.0);
    assert!(tokens("penstock_limit_expected_tokens_total", "kind=\"output\"") >= reported);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_free_again_when_it_is_over() {
    let (server, _) = server().await;
    let limits = json!([{"name": "l", "count": "Concurrency", "amount": 1}]);
    let gateway = Gateway::start(limited(server.addr(), &limits)).await;
    let mut client = gateway.client(Protocol::H1).await;
    for at in 1..=4 {
        assert_eq!(client.send(ask(SEARCH, &[])).await.status, 200);
        gateway.log(at).await;
    }
    eventually("nothing to be held", || {
        (gateway.metric("penstock_limit_requests_total", &["outcome=\"allowed\""]) == 4.0).then_some(())
    })
    .await;
    drop(client);
    gateway.stop().await;
}
