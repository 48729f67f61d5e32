//! Which failures are followed by another attempt, where it goes, and what the client sees when none is left.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use penstock_sim::faults::{Action, Fault};
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawServer, RefusedPort, Reply, SilentPort, backend, chat, get, pool,
    post_json, sim, sims, until, with,
};

/// A gateway whose only rule tries the pools of these endpoints in this order.
async fn in_order(endpoints: &[SocketAddr], rule: Value) -> Gateway {
    let never_ejected = json!({"ejection": {"consecutiveFailures": 0}});
    let pools: Vec<Value> = endpoints
        .iter()
        .enumerate()
        .map(|(at, endpoint)| with(pool(&format!("p{at}"), &[*endpoint]), never_ejected.clone()))
        .collect();
    let targets: Vec<Value> =
        (0..endpoints.len()).map(|at| json!({"pool": format!("p{at}"), "priority": at})).collect();
    let rule = with(json!({"targets": targets}), rule);
    Gateway::start(json!({"routes": [{"name": "r", "rules": [rule]}], "pools": pools})).await
}

/// A gateway with one pool, which ejects nobody, and one rule.
async fn one_pool(endpoints: &[SocketAddr], rule: Value) -> Gateway {
    let rule = with(json!({"targets": [{"pool": "p"}]}), rule);
    let pool = with(pool("p", endpoints), json!({"ejection": {"consecutiveFailures": 0}}));
    Gateway::start(json!({"routes": [{"name": "r", "rules": [rule]}], "pools": [pool]})).await
}

async fn ask(client: &mut Client) -> Reply {
    client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await
}

/// How often a limit was hit, by its path in the routing document.
fn limit_hits(gateway: &Gateway, limit: &str) -> f64 {
    gateway.metric("penstock_limit_hits_total", &[&format!("\"{limit}\"")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_is_tried_again_elsewhere_after_any_failure_before_the_response() {
    for (action, reason) in [
        (Action::Reset, "reset"),
        (Action::ResetBeforeBody, "reset"),
        (Action::Close, "reset"),
        (Action::Hang, "per_try_timeout"),
        (Action::HangBeforeBody, "per_try_timeout"),
        (Action::Status { code: 503, retry_after_s: None }, "status_5xx"),
        (Action::EarlyStatus { code: 503 }, "status_5xx"),
        (Action::Status { code: 429, retry_after_s: None }, "status_429"),
    ] {
        let [bad, good] = sims().await;
        bad.faults().push(Fault::new(action.clone()));
        let gateway = in_order(&[bad.addr(), good.addr()], json!({"timeouts": {"perTry": "2s"}})).await;
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            let reply = ask(&mut client).await;
            assert_eq!(reply.status, 200, "{action:?}: {}", reply.text());
            assert_eq!(reply.json()["model"], MODEL, "{action:?}");
        }
        assert_eq!((bad.stats().requests, good.stats().completed), (2, 2), "{action:?}");
        for line in gateway.log(2).await {
            assert_eq!((&line["attempts"], &line["pool"]), (&json!(2), &json!("p1")), "{action:?}");
        }
        let reason = format!("reason=\"{reason}\"");
        assert_eq!(
            gateway.metric("penstock_retries_total", &["upstream=\"p0\"", &reason]),
            2.0,
            "{action:?}"
        );
        // A limit that ends an attempt is counted though no client hears of it.
        let hits = if reason.contains("per_try") { 2.0 } else { 0.0 };
        assert_eq!(limit_hits(&gateway, "timeouts.perTry"), hits, "{action:?}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_followed_by_another_endpoint() {
    let (refused, good) = (RefusedPort::take(), sim(MODEL).await);
    let gateway = in_order(&[refused.addr(), good.addr()], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ask(&mut client).await.status, 200);
    assert_eq!(gateway.metric("penstock_retries_total", &["reason=\"connect\""]), 1.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_takes_too_long_is_followed_by_another_endpoint_and_its_limit_is_counted() {
    let (silent, good) = (SilentPort::take(), sim(MODEL).await);
    let endpoints = [silent.addr(), good.addr()];
    let at = |at: usize| {
        with(pool(&format!("p{at}"), &[endpoints[at]]), json!({"connection": {"connectTimeout": "200ms"}}))
    };
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p0"}, {"pool": "p1", "priority": 1}]}]}],
        "pools": [at(0), at(1)],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(gateway.metric("penstock_retries_total", &["reason=\"connect\""]), 1.0);
    assert_eq!(limit_hits(&gateway, "connection.connectTimeout"), 1.0);
    drop(client);
    gateway.stop().await;
}

/// 500 and 400 say that the request was at fault, or that the server tried; a rule has to ask for their retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_that_the_rule_does_not_name_are_passed_on() {
    let [bad, good] = sims().await;
    let gateway =
        in_order(&[bad.addr(), good.addr()], json!({"retry": {"statuses": [418], "failoverStatuses": []}}))
            .await;
    let mut client = gateway.client(Protocol::H1).await;
    for code in [400, 404, 429, 500, 502, 503] {
        bad.faults().set(vec![Fault::status(code).times(1)]);
        let reply = ask(&mut client).await;
        assert_eq!(reply.status, code);
        assert_eq!(reply.json()["error"]["message"], "The simulator was told to answer so.");
    }
    bad.faults().set(vec![Fault::status(418)]);
    assert_eq!(ask(&mut client).await.status, 200);
    assert_eq!(good.stats().requests, 1);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_is_passed_on_as_it_is_where_no_other_endpoint_is_free() {
    let busy = sim(MODEL).await;
    busy.faults().push(Fault::new(Action::Status { code: 429, retry_after_s: Some(7) }));
    let gateway = one_pool(&[busy.addr()], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "7"));
    assert_eq!(reply.json()["error"]["message"], "The simulator was told to answer so.");
    assert_eq!(gateway.metric("penstock_retries_total", &[]), 0.0);
    drop(client);
    gateway.stop().await;
}

/// A keep-alive connection that died while it lay idle says nothing about the endpoint: it is tried again there, and
/// not counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_kept_alive_connection_is_no_attempt() {
    let upstream = RawServer::start(|mut connection| async move {
        if connection.request().await.is_none() {
            return;
        }
        connection.respond(200, "", "first").await;
        // The second request on a connection is read and then reset, as by a server that went away meanwhile.
        if connection.request().await.is_some() {
            connection.reset();
        }
    })
    .await;
    let gateway = one_pool(&[upstream.addr()], json!({"retry": {"attempts": 1}})).await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..3 {
        let reply = ask(&mut client).await;
        assert_eq!((reply.status.as_u16(), &*reply.text()), (200, "first"));
    }
    for line in gateway.log(3).await {
        assert_eq!(line["attempts"], 1);
    }
    assert_eq!(gateway.metric("penstock_retries_total", &[]), 0.0);
    assert_eq!(upstream.accepted(), 3);
    let report = gateway.server().picker().pool("p").unwrap().report();
    assert_eq!(report.endpoints[0].failed, 0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_failure_is_the_answer_when_attempts_are_exhausted() {
    let refused = [RefusedPort::take(), RefusedPort::take(), RefusedPort::take(), RefusedPort::take()];
    let gateway = one_pool(&refused.each_ref().map(RefusedPort::addr), json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (503, "upstream_unreachable"), "{}", reply.text());
    assert_eq!(gateway.log(1).await[0]["attempts"], 3);
    assert_eq!(limit_hits(&gateway, "retry.attempts"), 1.0);
    gateway.stop().await;

    let busy: [_; 4] = sims().await;
    for one in &busy {
        one.faults().push(Fault::status(503));
    }
    let gateway = one_pool(&busy.each_ref().map(|sim| sim.addr()), json!({"retry": {"attempts": 2}})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["error"]["message"], "The simulator was told to answer so.");
    assert_eq!(gateway.log(1).await[0]["attempts"], 2);
    assert_eq!(limit_hits(&gateway, "retry.attempts"), 1.0);
    drop(client);
    gateway.stop().await;
}

/// Where every endpoint failed the request, the client learns how the last one did, not that there are none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_failure_is_the_answer_when_endpoints_are_exhausted() {
    let alone = sim(MODEL).await;
    alone.faults().push(Fault::new(Action::Reset));
    let gateway = one_pool(&[alone.addr()], json!({})).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = ask(&mut client).await;
        assert_eq!((reply.status.as_u16(), &*reply.code()), (502, "upstream_reset"), "{}", reply.text());
    }
    assert_eq!(alone.stats().requests, 2);
    assert_eq!(gateway.metric("penstock_retries_total", &[]), 0.0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_budget_ends_retries_and_the_upstreams_answer_is_passed_on() {
    let both: [_; 2] = sims().await;
    let set = |fault: Fault| both.iter().for_each(|one| one.faults().set(vec![fault.clone()]));
    let none = json!({"retry": {"budgetPercent": 0, "minRetriesPerSecond": 0}});
    let gateway = one_pool(&both.each_ref().map(|one| one.addr()), none).await;
    let mut client = gateway.client(Protocol::H1).await;
    set(Fault::status(503));
    let reply = ask(&mut client).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.json()["error"]["message"], "The simulator was told to answer so.", "{}", reply.text());
    set(Fault::new(Action::Reset));
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (502, "upstream_reset"));
    assert_eq!(gateway.metric("penstock_retries_total", &[]), 0.0);
    assert_eq!(gateway.metric("penstock_limit_hits_total", &["retry.budgetPercent"]), 2.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_failed_a_request_does_not_get_it_again() {
    let servers: [_; 4] = sims().await;
    for bad in &servers[..3] {
        bad.faults().push(Fault::status(503));
    }
    let addresses = servers.each_ref().map(|sim| sim.addr());
    let generous = json!({"retry": {"attempts": 4, "budgetPercent": 100, "minRetriesPerSecond": 10_000}});
    let backends = with(backend("p", &addresses), json!({"ejection": {"consecutiveFailures": 0}}));
    let rule = with(generous.clone(), json!({"targets": [{"backend": "p"}]}));
    let by_backend = json!({"routes": [{"name": "r", "rules": [rule]}], "backends": [backends]});
    for gateway in [one_pool(&addresses, generous).await, Gateway::start(by_backend).await] {
        let mut client = gateway.client(Protocol::H1).await;
        for _ in 0..20 {
            assert_eq!(ask(&mut client).await.status, 200);
        }
        for bad in &servers[..3] {
            let asked = bad.requests();
            let ids: HashSet<&str> = asked.iter().map(|seen| seen.header("x-request-id").unwrap()).collect();
            assert_eq!(ids.len(), asked.len(), "a request came twice");
            bad.forget_requests();
        }
        drop(client);
        gateway.stop().await;
    }
    assert_eq!(servers[3].stats().completed, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_tried_again_once_a_byte_of_the_response_is_out() {
    let [bad, good] = sims().await;
    let gateway = in_order(&[bad.addr(), good.addr()], json!({})).await;
    for action in [Action::CloseAfter { chunks: 1 }, Action::CloseAfter { chunks: 2 }] {
        bad.faults().set(vec![Fault::new(action)]);
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            let stream = client.open(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
            assert_eq!(stream.status, 200);
            let (text, _) = stream.rest().await;
            assert!(text.contains("\"stream_broken\""), "{text}");
        }
    }
    assert_eq!((bad.stats().requests, good.stats().requests), (4, 0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_tier_serves_while_the_earlier_cannot() {
    let hosted = sim(MODEL).await;
    let down = RefusedPort::take();
    for (what, first) in [
        ("empty", pool("first", &[])),
        ("down", pool("first", &[down.addr()])),
        (
            "ejected",
            with(
                pool("first", &[down.addr()]),
                json!({
                    "ejection": {"consecutiveFailures": 1, "baseTime": "1h", "maxTime": "1h", "maxEjectedPercent": 100},
                }),
            ),
        ),
    ] {
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": [{
                "targets": [{"pool": "first"}, {"backend": "hosted", "priority": 1}],
            }]}],
            "pools": [first],
            "backends": [backend("hosted", &[hosted.addr()])],
        }))
        .await;
        let mut client = gateway.client(Protocol::H1).await;
        for _ in 0..3 {
            let reply = ask(&mut client).await;
            assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        }
        for line in gateway.log(3).await {
            assert_eq!(line["backend"], "hosted", "{what}");
        }
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_pool_alone_is_503_and_leaves_the_connection_open() {
    let gateway = one_pool(&[], json!({})).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for _ in 0..2 {
            let reply = ask(&mut client).await;
            assert_eq!((reply.status.as_u16(), &*reply.code()), (503, "no_endpoints"), "{}", reply.text());
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_never_answers_is_a_504_at_the_requests_deadline() {
    let slow = sim(MODEL).await;
    slow.faults().push(Fault::new(Action::Hang));
    let gateway = one_pool(&[slow.addr()], json!({"timeouts": {"request": "300ms"}})).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = ask(&mut client).await;
        assert_eq!(reply.status, 504, "{}", reply.text());
        assert!(reply.text().contains("timeouts.request"), "{}", reply.text());
    }
    // What was given up is cancelled upstream.
    until(&slow, |stats| stats.cancelled == 2).await;
    let line = &gateway.log(2).await[0];
    assert_eq!((&line["attempts"], &line["error"]), (&json!(1), &json!("request_timeout")));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_per_try_timeout_without_another_endpoint_is_a_504_too() {
    let slow = sim(MODEL).await;
    slow.faults().push(Fault::new(Action::Hang));
    let gateway = one_pool(&[slow.addr()], json!({"timeouts": {"perTry": "300ms"}})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!(reply.status, 504, "{}", reply.text());
    assert!(reply.text().contains("timeouts.perTry"), "{}", reply.text());
    until(&slow, |stats| stats.cancelled == 1).await;
    drop(client);
    gateway.stop().await;
}

/// An error of an attempt must not cost a client its connection: many of them share one over HTTP/2, and over HTTP/1.1
/// a new one means a new handshake while the pool is in trouble already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_connection_survives_the_failure_of_one_of_its_requests() {
    let [server] = sims().await;
    let gateway = one_pool(&[server.addr()], json!({})).await;
    let mut client = gateway.client(Protocol::H2).await;
    server.faults().push(Fault::new(Action::Reset).times(1));
    assert_eq!(ask(&mut client).await.status, 502);
    assert_eq!(ask(&mut client).await.status, 200);
    assert_eq!(client.send(get("/v1/models")).await.status, 200);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_keeps_failing_is_left_out_and_then_tried_with_one_request() {
    let [bad, good] = sims().await;
    let ejection = json!({"ejection": {
        "consecutiveFailures": 3, "baseTime": "400ms", "maxTime": "400ms", "maxEjectedPercent": 50,
    }});
    let addresses = [bad.addr(), good.addr()];
    let rule = |target: &str| json!({"targets": [{target: "u"}], "retry": {"budgetPercent": 100, "minRetriesPerSecond": 1000}});
    for document in [
        json!({"routes": [{"name": "r", "rules": [rule("pool")]}], "pools": [with(pool("u", &addresses), ejection.clone())]}),
        json!({"routes": [{"name": "r", "rules": [rule("backend")]}], "backends": [with(backend("u", &addresses), ejection.clone())]}),
    ] {
        let gateway = Gateway::start(document).await;
        let mut client = gateway.client(Protocol::H1).await;
        bad.faults().set(vec![Fault::new(Action::Reset)]);
        let before = bad.stats().requests;
        // Asks until the bad one has failed often enough; every request is answered meanwhile.
        while bad.stats().requests < before + 3 {
            assert_eq!(ask(&mut client).await.status, 200);
        }
        assert!(is_out(&gateway, bad.addr()), "still in use after three failures");
        bad.faults().clear();
        // Its time over, it gets one request, does well, and is back.
        let completed = bad.stats().completed;
        tokio::time::timeout(Duration::from_secs(60), async {
            while bad.stats().completed == completed || is_out(&gateway, bad.addr()) {
                assert_eq!(ask(&mut client).await.status, 200);
            }
        })
        .await
        .expect("the endpoint never came back");
        drop(client);
        gateway.stop().await;
    }
}

/// Whether an endpoint of the pool or backend `u` is left out.
fn is_out(gateway: &Gateway, address: SocketAddr) -> bool {
    match gateway.server().picker().pool("u") {
        Some(pool) => {
            let mut endpoints = pool.report().endpoints.into_iter();
            endpoints.any(|one| one.address == address && one.ejected_for_ms.is_some())
        }
        None => {
            let mut endpoints = gateway.server().balancers().get("u").unwrap().report().endpoints.into_iter();
            endpoints.any(|one| one.address == address && one.ejected_for_ms.is_some())
        }
    }
}

/// Answers 503 to what asks for `busy`, and 200 to everything else.
async fn busy_with(busy: &'static str) -> RawServer {
    RawServer::start(move |mut connection| async move {
        while let Some((_, body)) = connection.request().await {
            let is_busy = String::from_utf8_lossy(&body).contains(busy);
            connection.respond(if is_busy { 503 } else { 200 }, "", "{}").await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_model_at_the_same_provider_is_a_fallback() {
    let provider = busy_with("large-model").await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [
            {"backend": "provider", "modelOverride": "large-model", "priority": 0},
            {"backend": "provider", "modelOverride": "small-model", "priority": 1},
        ]}]}],
        "backends": [backend("provider", &[provider.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ask(&mut client).await.status, 200);
    let line = gateway.log(1).await.pop().unwrap();
    assert_eq!((&line["attempts"], &line["target_model"]), (&json!(2), &json!("small-model")), "{line}");
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_backend_at_the_same_address_is_a_fallback() {
    let host = busy_with("large-model").await;
    let rename = |to: &str| json!({"set": [{"name": "x-tenant", "value": to}]});
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [
            {"backend": "one", "modelOverride": "large-model", "priority": 0, "requestHeaders": rename("one")},
            {"backend": "two", "priority": 1, "requestHeaders": rename("two")},
        ]}]}],
        "backends": [backend("one", &[host.addr()]), backend("two", &[host.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ask(&mut client).await.status, 200);
    assert_eq!(gateway.log(1).await[0]["backend"], "two");
    drop(client);
    gateway.stop().await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_gave_no_answer_is_not_asked_for_another_model() {
    let refused = RefusedPort::take();
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [
            {"backend": "provider", "modelOverride": "large-model", "priority": 0},
            {"backend": "provider", "modelOverride": "small-model", "priority": 1},
        ]}]}],
        "backends": [with(backend("provider", &[refused.addr()]), json!({"ejection": {"consecutiveFailures": 0}}))],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ask(&mut client).await.status, 503);
    assert_eq!(gateway.log(1).await[0]["attempts"], 1);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_alone_is_asked_again_after_a_status_that_is_retried() {
    let alone = sim(MODEL).await;
    let gateway = one_pool(&[alone.addr()], json!({"retry": {"attempts": 3}})).await;
    let mut client = gateway.client(Protocol::H1).await;
    for (faults, status, asked) in [(1, 200, 2), (2, 200, 3), (3, 503, 3)] {
        let before = alone.stats().requests;
        alone.faults().set(vec![Fault::status(503).times(faults)]);
        assert_eq!(ask(&mut client).await.status, status, "{faults}");
        assert_eq!(alone.stats().requests - before, asked, "{faults}");
    }
    assert_eq!(gateway.metric("penstock_retries_total", &["reason=\"status_5xx\""]), 5.0);
    drop(client);
    gateway.stop().await;
}

/// Each wait is drawn from up to a minute, so that of so many far more than half outlast a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_alone_is_asked_again_after_a_while() {
    const REQUESTS: usize = 24;
    let alone = sim(MODEL).await;
    alone.faults().push(Fault::status(503));
    let rule = json!({
        "timeouts": {"request": "1s"},
        "retry": {"attempts": 2, "backoff": "1m", "budgetPercent": 100, "minRetriesPerSecond": 1000},
    });
    let gateway = one_pool(&[alone.addr()], rule).await;
    let mut client = gateway.client(Protocol::H2).await;
    let asked: Vec<_> =
        (0..REQUESTS).map(|_| client.start(post_json("/v1/chat/completions", &chat(MODEL, false)))).collect();
    let mut waited = 0;
    for one in asked {
        // Asked again at once, it would have answered as before.
        waited += usize::from(one.join().await.unwrap().status() == 504);
    }
    assert!(waited > REQUESTS / 2, "{waited} of {REQUESTS} waited");
    assert!(gateway.metric("penstock_retries_total", &["reason=\"status_5xx\""]) > REQUESTS as f64 / 2.0);
    drop(client);
    gateway.stop().await;
}
