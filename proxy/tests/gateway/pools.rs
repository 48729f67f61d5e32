//! Pools as clients feel them: picking by load and by prefix, sessions, saturation and the queue.

use std::time::Duration;

use penstock_sim::Handle;
use penstock_sim::faults::{Action, Fault};
use penstock_sim::metrics::FakeMetrics;
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, Reply, backend, chat, eventually, pool, post, post_json, sims, spawn,
    until, with,
};

/// A pool whose endpoints are scraped all the time.
fn scraped(servers: &[&Handle], more: Value) -> Value {
    let addresses: Vec<_> = servers.iter().map(|server| server.addr()).collect();
    let metrics = json!({"metrics": {"enabled": true, "minInterval": "10ms", "maxInterval": "20ms"}});
    with(with(pool("p", &addresses), metrics), more)
}

async fn gateway(pool: Value) -> Gateway {
    Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
        "pools": [pool],
    }))
    .await
}

fn load(waiting: f64, kv_usage: f64) -> Option<FakeMetrics> {
    Some(FakeMetrics {
        running_requests: Some(waiting),
        waiting_requests: Some(waiting),
        kv_cache_usage: Some(kv_usage),
        loras: None,
    })
}

/// Both more than every threshold, for whatever the pool does with it.
fn full() -> Option<FakeMetrics> {
    load(5000.0, 0.99)
}

/// Waits until the picker knows that the pool is full, or that it is not.
async fn until_full(gateway: &Gateway, is_full: bool) {
    let pool = gateway.server().picker().pool("p").unwrap();
    eventually("the scrape that says so", || {
        let report = pool.report();
        let is_known = report.endpoints.iter().all(|endpoint| endpoint.scraped.is_some());
        (is_known && report.is_full == is_full).then_some(())
    })
    .await;
}

async fn until_queued(gateway: &Gateway, count: usize) {
    let pool = gateway.server().picker().pool("p").unwrap();
    eventually("requests in the queue", || (pool.report().queued_requests == count).then_some(())).await;
}

fn asked() -> http::Request<crate::harness::Body> {
    post_json("/v1/chat/completions", &chat(MODEL, false))
}

fn queue(more: &Value) -> Value {
    with(json!({"saturation": {"action": "Queue"}}), json!({"saturation": more}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_endpoint_with_the_shorter_queue_is_picked() {
    let [a, b] = sims().await;
    a.fake_metrics(load(4.0, 0.5));
    b.fake_metrics(load(0.0, 0.1));
    let gateway = gateway(scraped(&[&a, &b], json!({}))).await;
    let pool = gateway.server().picker().pool("p").unwrap();
    let waiting = |count: u32, of: usize| {
        pool.report().endpoints[of].scraped.as_ref().is_some_and(|scraped| scraped.waiting == count)
    };
    let mut client = gateway.client(Protocol::H1).await;
    eventually("both scrapes", || (waiting(4, 0) && waiting(0, 1)).then_some(())).await;
    // Each prompt is another, so that only the load decides.
    for number in 0..10 {
        let asked = json!({"model": MODEL, "prompt": format!("{number}")});
        assert_eq!(client.send(post_json("/v1/completions", &asked)).await.status, 200);
    }
    assert_eq!((a.stats().requests, b.stats().completed), (0, 10));
    a.fake_metrics(load(0.0, 0.1));
    b.fake_metrics(load(4.0, 0.5));
    eventually("both scrapes", || (waiting(0, 0) && waiting(4, 1)).then_some(())).await;
    for number in 10..20 {
        let asked = json!({"model": MODEL, "prompt": format!("{number}")});
        assert_eq!(client.send(post_json("/v1/completions", &asked)).await.status, 200);
    }
    assert_eq!((a.stats().completed, b.stats().completed), (10, 10));
    drop(client);
    gateway.stop().await;
}

/// Without any metrics, requests are balanced by what was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_without_metrics_is_balanced_by_what_was_sent() {
    let servers: [_; 4] = sims().await;
    for server in &servers {
        server.faults().push(Fault::new(Action::Hang));
    }
    let profile = json!({"picker": {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [{"type": "active-request-scorer"}, {"type": "max-score-picker"}, {"type": "single-profile-handler"}],
        "schedulingProfiles": [{"name": "default", "plugins": [
            {"pluginRef": "active-request-scorer"}, {"pluginRef": "max-score-picker"},
        ]}],
    }});
    let gateway = gateway(with(pool("p", &servers.each_ref().map(|server| server.addr())), profile)).await;
    let mut client = gateway.client(Protocol::H2).await;
    let mut waiting = Vec::new();
    for sent in 1..=12 {
        waiting.push(client.start(asked()));
        eventually("the request upstream", || {
            let arrived: u64 = servers.iter().map(|server| server.stats().requests).sum();
            (arrived == sent).then_some(())
        })
        .await;
    }
    assert_eq!(servers.each_ref().map(|server| server.stats().in_flight), [3; 4]);
    drop((waiting, client));
    gateway.stop().await;
}

/// A conversation goes on where its beginning is cached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_follows_its_prefix() {
    let servers: [_; 3] = sims().await;
    let gateway = gateway(pool("p", &servers.each_ref().map(|server| server.addr()))).await;
    let mut client = gateway.client(Protocol::H1).await;
    let endpoint = |line: &Value| line["endpoint"].as_str().unwrap().to_owned();
    for conversation in 0..5 {
        let mut prompt = format!("{conversation} ").repeat(800);
        for _ in 0..4 {
            let asked = json!({"model": MODEL, "prompt": prompt, "max_tokens": 1});
            client.send(post_json("/v1/completions", &asked)).await;
            prompt += &"and then ".repeat(100);
        }
    }
    let log = gateway.log(20).await;
    for conversation in log.chunks(4) {
        assert!(
            conversation.iter().all(|line| endpoint(line) == endpoint(&conversation[0])),
            "{conversation:?}"
        );
        assert!(conversation[1]["matched_blocks"].as_u64().unwrap() >= 4, "{conversation:?}");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_stays_at_its_endpoint() {
    let servers: [_; 3] = sims().await;
    let profile = json!({"picker": {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [{"type": "session-affinity-scorer"}, {"type": "max-score-picker"}, {"type": "single-profile-handler"}],
        "schedulingProfiles": [{"name": "default", "plugins": [
            {"pluginRef": "session-affinity-scorer"}, {"pluginRef": "max-score-picker"},
        ]}],
    }});
    let gateway = gateway(with(pool("p", &servers.each_ref().map(|server| server.addr())), profile)).await;
    let mut client = gateway.client(Protocol::H1).await;
    for server in &servers {
        // Asks until this one answers, then holds on to the session that it gave.
        let token = loop {
            let before = server.stats().completed;
            let reply = client.send(asked()).await;
            assert_ne!(reply.header("x-session-token"), "");
            if server.stats().completed > before {
                break reply.header("x-session-token").to_owned();
            }
        };
        let before = server.stats().completed;
        for _ in 0..10 {
            let sent =
                post("/v1/chat/completions", &[("x-session-token", &token)], chat(MODEL, false).to_string());
            let reply = client.send(sent).await;
            assert_eq!((reply.status.as_u16(), reply.header("x-session-token")), (200, &*token));
        }
        assert_eq!(server.stats().completed, before + 10);
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_answers_429_and_says_when_to_come_back() {
    let [a, b] = sims().await;
    a.fake_metrics(full());
    b.fake_metrics(full());
    let gateway = gateway(scraped(&[&a, &b], json!({"saturation": {"retryAfter": "3s"}}))).await;
    until_full(&gateway, true).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for _ in 0..2 {
            let reply = client.send(asked()).await;
            assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "3"), "{}", reply.text());
            assert_eq!(reply.json()["error"]["type"], "rate_limit_error");
        }
        assert!(client.is_open());
    }
    // One that has room is enough.
    b.fake_metrics(None);
    until_full(&gateway, false).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(asked()).await.status, 200);
    assert_eq!((a.stats().requests, b.stats().completed), (0, 1));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_gives_way_to_a_later_tier() {
    let [a, hosted] = sims().await;
    a.fake_metrics(full());
    for saturation in [json!({}), queue(&json!({}))] {
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}, {"backend": "hosted", "priority": 1}]}]}],
            "pools": [scraped(&[&a], saturation)],
            "backends": [backend("hosted", &[hosted.addr()])],
        }))
        .await;
        until_full(&gateway, true).await;
        let mut client = gateway.client(Protocol::H1).await;
        assert_eq!(client.send(asked()).await.status, 200);
        assert_eq!(gateway.log(1).await[0]["backend"], "hosted");
        drop(client);
        gateway.stop().await;
    }
    assert_eq!((a.stats().requests, hosted.stats().completed), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_in_the_queue_until_there_is_room() {
    let [a] = sims().await;
    a.fake_metrics(full());
    let gateway = gateway(scraped(&[&a], queue(&json!({})))).await;
    until_full(&gateway, true).await;
    let mut waiting = Vec::new();
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        waiting.push(spawn(async move { client.send(asked()).await }));
    }
    until_queued(&gateway, 2).await;
    assert_eq!(a.stats().requests, 0);
    a.fake_metrics(None);
    for reply in waiting {
        let reply: Reply = reply.join().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waited_too_long_is_429_and_so_is_one_too_many() {
    let [a] = sims().await;
    a.fake_metrics(full());
    let saturation = queue(&json!({"retryAfter": "2s", "queue": {"maxRequests": 1, "timeout": "2s"}}));
    let gateway = gateway(scraped(&[&a], saturation)).await;
    until_full(&gateway, true).await;
    let mut first = gateway.client(Protocol::H1).await;
    let first = spawn(async move { first.send(asked()).await });
    until_queued(&gateway, 1).await;
    let mut second = gateway.client(Protocol::H2).await;
    let refused = second.send(asked()).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "2"));
    assert!(refused.text().contains("queue is full"), "{}", refused.text());
    let given_up: Reply = first.join().await;
    assert_eq!((given_up.status.as_u16(), given_up.header("retry-after")), (429, "2"));
    assert!(given_up.text().contains("saturation.queue.timeout"), "{}", given_up.text());
    until_queued(&gateway, 0).await;
    drop(second);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_the_queue_leaves_no_request_behind() {
    let [a] = sims().await;
    a.fake_metrics(full());
    let gateway = gateway(scraped(&[&a], queue(&json!({})))).await;
    until_full(&gateway, true).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let request = client.start(asked());
        until_queued(&gateway, 1).await;
        drop((request, client));
        until_queued(&gateway, 0).await;
    }
    for line in gateway.log(2).await {
        assert_eq!(
            (&line["status"], &line["error"], &line["attempts"]),
            (&json!(499), &json!("client_gone"), &json!(0))
        );
    }
    a.fake_metrics(None);
    until_full(&gateway, false).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(asked()).await.status, 200);
    assert_eq!(a.stats().requests, 1);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_time_is_up_leaves_the_queue() {
    let [a] = sims().await;
    a.fake_metrics(full());
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}], "timeouts": {"request": "1s"}}]}],
        "pools": [scraped(&[&a], queue(&json!({})))],
    }))
    .await;
    until_full(&gateway, true).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(asked()).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    until_queued(&gateway, 0).await;
    drop(client);
    gateway.stop().await;
}

/// What an attempt was allowed does not run on while its successor waits for room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_not_cut_short_by_the_time_of_the_attempt_before() {
    let [slow, other] = sims().await;
    slow.faults().push(Fault::new(Action::Hang));
    other.fake_metrics(full());
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{
            "targets": [{"backend": "slow"}, {"pool": "p", "priority": 1}],
            "timeouts": {"perTry": "1s"},
        }]}],
        "backends": [backend("slow", &[slow.addr()])],
        "pools": [scraped(&[&other], queue(&json!({})))],
    }))
    .await;
    until_full(&gateway, true).await;
    let mut client = gateway.client(Protocol::H1).await;
    let request = spawn(async move { client.send(asked()).await });
    until_queued(&gateway, 1).await;
    other.fake_metrics(None);
    let reply: Reply = request.join().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    gateway.stop().await;
}

/// What matters least goes first: a priority below zero is refused as soon as the pool is saturated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_priority_below_zero_is_shed_first() {
    let [a, b] = sims().await;
    a.fake_metrics(load(20.0, 0.5));
    b.fake_metrics(load(0.0, 0.5));
    let objectives =
        json!({"objectives": [{"name": "batch", "priority": -1}, {"name": "chat", "priority": 1}]});
    let gateway = gateway(scraped(&[&a, &b], objectives)).await;
    let pool = gateway.server().picker().pool("p").unwrap();
    eventually("saturation", || (pool.report().saturation >= 1.0).then_some(())).await;
    assert!(!pool.report().is_full);
    let mut client = gateway.client(Protocol::H1).await;
    for header in ["x-gateway-inference-objective", "x-llm-d-inference-objective"] {
        for (objective, expected) in [("batch", 429), ("chat", 200), ("unknown", 200)] {
            let body = chat(MODEL, false).to_string();
            let reply = client.send(post("/v1/chat/completions", &[(header, objective)], body)).await;
            assert_eq!(reply.status, expected, "{header}: {objective}: {}", reply.text());
        }
    }
    drop(client);
    gateway.stop().await;
}

/// Nothing that a `/metrics` page says or does fails a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_metrics_harm_no_request() {
    for action in [
        Action::Hang,
        Action::Status { code: 500, retry_after_s: None },
        Action::Reset,
        Action::Garbage { bytes: 100_000 },
        Action::Flood { bytes: 10 << 20 },
        Action::Drip { bytes: 1, ms: 50 },
    ] {
        let [a, b] = sims().await;
        a.faults().push(Fault::new(action.clone()).path("/metrics"));
        let gateway = gateway(scraped(&[&a, &b], json!({"metrics": {"timeout": "50ms"}}))).await;
        let mut client: Client = gateway.client(Protocol::H1).await;
        until(&a, |stats| stats.scrapes >= 2).await;
        for _ in 0..10 {
            assert_eq!(client.send(asked()).await.status, 200, "{action:?}");
        }
        assert_eq!(a.stats().completed + b.stats().completed, 10);
        let report = gateway.server().picker().pool("p").unwrap().report();
        assert_eq!(report.endpoints[0].failed, 0, "{action:?}: a scrape is no request");
        drop(client);
        gateway.stop().await;
    }
}

/// An endpoint that has gone takes no further request, and what runs there is left to finish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_taken_out_finishes_what_it_has() {
    let [a, b] = sims().await;
    a.faults().push(Fault::delay(Duration::from_millis(300)).times(1));
    let document = |addresses: &[std::net::SocketAddr]| {
        json!({
            "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
            "pools": [pool("p", addresses)],
        })
    };
    let gateway = Gateway::start(document(&[a.addr()])).await;
    let mut client = gateway.client(Protocol::H1).await;
    let running = spawn(async move { client.send(asked()).await });
    until(&a, |stats| stats.in_flight == 1).await;
    gateway.reload(document(&[b.addr()])).unwrap();
    let mut next = gateway.client(Protocol::H1).await;
    for _ in 0..5 {
        assert_eq!(next.send(asked()).await.status, 200);
    }
    assert_eq!(b.stats().completed, 5);
    let reply: Reply = running.join().await;
    assert_eq!(reply.status, 200);
    assert_eq!(a.stats().completed, 1);
    // Back at the same address it may be another pod: no old connection is used.
    let before = a.requests()[0].connection;
    gateway.reload(document(&[a.addr()])).unwrap();
    assert_eq!(next.send(asked()).await.status, 200);
    assert_ne!(a.requests()[1].connection, before);
    drop(next);
    gateway.stop().await;
}
