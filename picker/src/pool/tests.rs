mod large;

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::HeaderMap;
use penstock_config::{
    EndpointSpec, Engine, MetricsSpec, Objective, PoolSpec, QueueSpec, SaturationAction, SaturationSpec,
};
use serde_json::{Value, json};
use tokio::time::advance;

use super::{EjectionState, Picked, Pool};
use crate::{Endpoint, EngineCount, LoadSample, Outcome, PickError, PickRequest, Picker};

const RETRY_AFTER: Duration = Duration::from_secs(7);

fn address(host: u8) -> SocketAddr {
    ([10, 0, 0, host], 8000).into()
}

/// A pool of that many endpoints, not scraped, with the default profile.
fn spec(endpoints: u8) -> PoolSpec {
    let endpoint = |host| EndpointSpec {
        address: address(host),
        name: format!("default/pod-{host}").into(),
        engine: Engine::Vllm,
        metrics_address: address(host),
        labels: BTreeMap::new(),
    };
    PoolSpec {
        endpoints: (0..endpoints).map(endpoint).collect(),
        metrics: MetricsSpec { enabled: false, ..MetricsSpec::default() },
        saturation: SaturationSpec {
            action: SaturationAction::Reject,
            queue: QueueSpec { max_requests: 2, timeout: Duration::from_secs(30), ..QueueSpec::default() },
            retry_after: RETRY_AFTER,
        },
        objectives: vec![Objective { name: "batch".into(), priority: -5 }],
        ..PoolSpec::new("pool")
    }
}

fn pool(spec: PoolSpec) -> (Arc<Picker>, Arc<Pool>) {
    let picker = Picker::new();
    picker.apply(&[Arc::new(spec)]).unwrap();
    let pool = picker.pool("pool").unwrap();
    (picker, pool)
}

fn with_profile(mut spec: PoolSpec, plugins: &Value) -> PoolSpec {
    let references: Vec<_> =
        plugins.as_array().unwrap().iter().map(|plugin| json!({"pluginRef": plugin["type"]})).collect();
    spec.picker = Some(json!({
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": plugins,
        "schedulingProfiles": [{"name": "default", "plugins": references}],
    }));
    spec
}

fn headers() -> &'static HeaderMap {
    static EMPTY: std::sync::OnceLock<HeaderMap> = std::sync::OnceLock::new();
    EMPTY.get_or_init(HeaderMap::new)
}

fn request() -> PickRequest<'static> {
    PickRequest {
        model: "m",
        blocks: &[],
        prompt_bytes: 100,
        max_tokens: Some(10),
        priority: 0,
        consumer: "",
        headers: headers(),
        exclude: &[],
    }
}

fn report(endpoint: &Endpoint, waiting: u32, running: u32, kv_usage: f64) {
    let mark = endpoint.mark();
    endpoint.store_sample(LoadSample { waiting, running, kv_usage, ..LoadSample::default() }, mark);
}

fn fill(pool: &Pool) {
    for endpoint in pool.endpoints() {
        report(&endpoint, 50, 10, 1.0);
    }
}

fn counts(picked: &[Picked]) -> HashMap<SocketAddr, usize> {
    let mut counts = HashMap::new();
    for picked in picked {
        *counts.entry(picked.endpoint.address()).or_default() += 1;
    }
    counts
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_burst_between_two_samples_is_spread() {
    let (_picker, pool) = pool(spec(4));
    for endpoint in pool.endpoints() {
        report(&endpoint, 0, 0, 0.5);
    }
    // One looks better than the others, and stays so for the whole burst as far as samples go.
    report(&pool.endpoints()[0], 0, 0, 0.4);
    let picked: Vec<_> = (0..400).map(|_| pool.pick(&request()).unwrap()).collect();
    let counts = counts(&picked);
    assert!(counts.values().all(|count| (95..=105).contains(count)), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_metrics_is_balanced_by_what_was_sent() {
    let (_picker, pool) = pool(spec(3));
    let mut picked: Vec<_> = (0..30).map(|_| pool.pick(&request()).unwrap()).collect();
    assert!(counts(&picked).values().all(|count| *count == 10));
    // Whoever finishes gets the next.
    let finished = picked.pop().unwrap();
    let address = finished.endpoint.address();
    finished.in_flight.finish(Outcome::Served);
    assert_eq!(pool.pick(&request()).unwrap().endpoint.address(), address);
}

#[tokio::test(start_paused = true)]
async fn requests_with_the_same_head_meet_and_others_do_not() {
    let (_picker, pool) = pool(spec(3));
    let one: Vec<u64> = (1..=48).collect();
    let mut request = PickRequest { blocks: &one, ..request() };
    let first = pool.pick(&request).unwrap();
    assert_eq!(first.matched_blocks, 0);
    let home = first.endpoint.address();
    first.in_flight.finish(Outcome::Served);
    for _ in 0..20 {
        let again = pool.pick(&request).unwrap();
        assert_eq!((again.endpoint.address(), again.matched_blocks), (home, 48));
        again.in_flight.finish(Outcome::Served);
    }
    request.model = "other";
    assert_eq!(pool.explain(&request).endpoints.iter().map(|one| one.matched_blocks).sum::<usize>(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_failed_a_request_is_not_asked_again() {
    let (_picker, pool) = pool(spec(2));
    let first = pool.pick(&request()).unwrap().endpoint;
    let second = pool.pick(&PickRequest { exclude: &[first.id()], ..request() }).unwrap().endpoint;
    assert_ne!(first.id(), second.id());
    let exclude = [first.id(), second.id()];
    let none = pool.pick(&PickRequest { exclude: &exclude, ..request() });
    assert_eq!(none.unwrap_err(), PickError::AllExcluded);
}

#[tokio::test(start_paused = true)]
async fn an_empty_pool_has_no_endpoint() {
    let (_picker, pool) = pool(spec(0));
    assert_eq!(pool.pick(&request()).unwrap_err(), PickError::NoEndpoints);
    assert_eq!(pool.explain(&request()).error.unwrap(), "the pool has no endpoints");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_is_left_alone_then_probed() {
    let (_picker, pool) = pool(spec(3));
    let bad = address(1);
    let mut failures = 0;
    for _ in 0..100 {
        let picked = pool.pick(&request()).unwrap();
        let is_bad = picked.endpoint.address() == bad;
        failures += u32::from(is_bad);
        picked.in_flight.finish(if is_bad { Outcome::Failed } else { Outcome::Served });
    }
    assert_eq!(failures, 5);
    assert_eq!(pool.report().endpoints[1].ejection, EjectionState::Ejected);
    assert_eq!(&**pool.explain(&request()).endpoints[1].filtered_by.as_ref().unwrap(), "ejected");

    advance(Duration::from_secs(6)).await;
    assert_eq!(pool.report().endpoints[1].ejection, EjectionState::HalfOpen);
    let others = [pool.endpoints()[0].id(), pool.endpoints()[2].id()];
    let probe = pool.pick(&PickRequest { exclude: &others, ..request() }).unwrap();
    for _ in 0..50 {
        assert_ne!(pool.pick(&request()).unwrap().endpoint.address(), bad, "one probe at a time");
    }
    probe.in_flight.finish(Outcome::Served);
    assert_eq!(pool.report().endpoints[1].ejection, EjectionState::Closed);
}

#[tokio::test(start_paused = true)]
async fn where_only_an_ejected_endpoint_is_left_it_is_asked() {
    let (_picker, pool) = pool(spec(2));
    let [first, second] = [pool.endpoints()[0].clone(), pool.endpoints()[1].clone()];
    for _ in 0..5 {
        first.enter(1, 1, false).finish(Outcome::Failed);
    }
    let picked = pool.pick(&PickRequest { exclude: &[second.id()], ..request() }).unwrap();
    assert_eq!(picked.endpoint.id(), first.id());
}

#[tokio::test(start_paused = true)]
async fn priorities_below_zero_are_shed_first() {
    let (_picker, pool) = pool(spec(2));
    for endpoint in pool.endpoints() {
        report(&endpoint, 6, 1, 0.1);
    }
    let batch = PickRequest { priority: -1, ..request() };
    assert_eq!(pool.pick(&batch).unwrap_err(), PickError::Shed { priority: -1, retry_after: RETRY_AFTER });
    pool.pick(&request()).unwrap();

    let mut headers = HeaderMap::new();
    headers.insert("x-gateway-inference-objective", "batch".parse().unwrap());
    let named = PickRequest { headers: &headers, ..request() };
    assert_eq!(pool.pick(&named).unwrap_err(), PickError::Shed { priority: -5, retry_after: RETRY_AFTER });
    headers.insert("x-llm-d-inference-objective", "unheard-of".parse().unwrap());
    pool.pick(&PickRequest { headers: &headers, ..request() }).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_says_when_to_come_back() {
    let (_picker, pool) = pool(spec(2));
    fill(&pool);
    let full = PickError::Saturated { retry_after: RETRY_AFTER };
    assert_eq!(pool.pick(&request()).unwrap_err(), full);
    assert_eq!(pool.admit(&request()).await.unwrap_err(), full);
    report(&pool.endpoints()[1], 0, 0, 0.1);
    assert_eq!(pool.pick(&request()).unwrap().endpoint.address(), address(1));
}

/// What data parallel engines behind one address report together.
fn report_engines(endpoint: &Endpoint, engines: u32, waiting: u32, running: u32, kv_usage: f64) {
    let engines = EngineCount::new(engines);
    let sample = LoadSample { engines, waiting, running, kv_usage, ..LoadSample::default() };
    endpoint.store_sample(sample, endpoint.mark());
}

#[tokio::test(start_paused = true)]
async fn one_request_waiting_at_each_of_eight_engines_refuses_nobody() {
    let (_picker, pool) = pool(spec(1));
    let endpoint = pool.endpoints().remove(0);
    report_engines(&endpoint, 8, 8, 64, 0.85);
    pool.pick(&request()).unwrap();
    assert_eq!(pool.report().endpoints[0].scraped.as_ref().unwrap().engines, 8);
    // As many as one engine may have, at each of them.
    report_engines(&endpoint, 8, 40, 64, 0.85);
    assert_eq!(pool.pick(&request()).unwrap_err(), PickError::Saturated { retry_after: RETRY_AFTER });
}

#[tokio::test(start_paused = true)]
async fn eight_engines_with_little_to_do_neither_shed_nor_hold_back() {
    let (_picker, pool) = pool(queueing(1));
    report_engines(&pool.endpoints()[0], 8, 8, 64, 0.3);
    let report = pool.report();
    assert!((report.saturation - 0.375).abs() < 1e-9, "{report:?}");
    assert!(!report.is_full);
    pool.pick(&PickRequest { priority: -1, ..request() }).unwrap();
    pool.admit(&request()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn eight_engines_take_eight_times_what_one_takes() {
    for profile in [json!([{"type": "expected-ttft-scorer"}]), json!([{"type": "queue-scorer"}])] {
        let (_picker, pool) = pool(with_profile(spec(2), &profile));
        let [one, eight] = [pool.endpoints()[0].clone(), pool.endpoints()[1].clone()];
        report_engines(&one, 1, 0, 0, 0.1);
        report_engines(&eight, 8, 0, 0, 0.1);
        let picked: Vec<_> = (0..90).map(|_| pool.pick(&request()).unwrap()).collect();
        let counts = counts(&picked);
        assert!((8..=12).contains(&counts[&one.address()]), "{profile}: {counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn old_numbers_do_not_make_a_pool_full() {
    let (_picker, pool) = pool(spec(2));
    fill(&pool);
    advance(Duration::from_secs(60)).await;
    pool.pick(&request()).unwrap();
    assert!(pool.report().endpoints.iter().all(|endpoint| endpoint.scraped.as_ref().unwrap().is_stale));
}

fn queueing(endpoints: u8) -> PoolSpec {
    let mut spec = spec(endpoints);
    spec.saturation.action = SaturationAction::Queue;
    spec
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_go_by_priority_then_arrival() {
    let (_picker, pool) = pool(queueing(1));
    fill(&pool);
    let important = PickRequest { priority: 9, ..request() };
    let ordinary = request();
    let (mut first, mut second) = (pin!(pool.admit(&ordinary)), pin!(pool.admit(&important)));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert_eq!(pool.report().queued_requests, 2);
    let third = pool.admit(&ordinary).await;
    assert_eq!(third.unwrap_err(), PickError::QueueFull { retry_after: RETRY_AFTER });

    // Room for four: the queue's threshold is five, and each that goes in counts as waiting.
    report(&pool.endpoints()[0], 0, 0, 0.1);
    assert!(poll(first.as_mut()).is_pending(), "the more important one goes first");
    let Poll::Ready(Ok(_held)) = poll(second.as_mut()) else { panic!("the first in line goes") };
    let Poll::Ready(Ok(_held)) = poll(first.as_mut()) else { panic!("then the next") };
    assert_eq!(pool.report().queued_requests, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_ends_makes_room_for_one_that_waits() {
    let (_picker, pool) = pool(queueing(1));
    report(&pool.endpoints()[0], 0, 0, 0.1);
    let mut picked: Vec<_> = (0..5).map(|_| pool.pick(&request()).unwrap()).collect();
    let ordinary = request();
    let mut waiting = pin!(pool.admit(&ordinary));
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(poll(waiting.as_mut()).is_pending());
    drop(picked.pop());
    assert!(poll(waiting.as_mut()).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_takes_no_place_and_no_turn() {
    let (_picker, pool) = pool(queueing(1));
    fill(&pool);
    let ordinary = request();
    let mut stays = pin!(pool.admit(&ordinary));
    {
        let important = PickRequest { priority: 1, ..request() };
        let mut leaves = pin!(pool.admit(&important));
        assert!(poll(leaves.as_mut()).is_pending());
        assert!(poll(stays.as_mut()).is_pending());
        report(&pool.endpoints()[0], 0, 0, 0.1);
        // The turn was given to the one that leaves now; it must not be lost with it.
    }
    assert!(poll(stays.as_mut()).is_ready());
    assert_eq!((pool.report().queued_requests, pool.report().queued_bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_in_time() {
    let (_picker, pool) = pool(queueing(1));
    fill(&pool);
    // Fresh numbers keep coming, all bad.
    let refill = async {
        loop {
            fill(&pool);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let request = request();
    let waited = tokio::select! { outcome = pool.admit(&request) => outcome, () = refill => unreachable!() };
    assert_eq!(waited.unwrap_err(), PickError::QueueTimeout { retry_after: RETRY_AFTER });
    assert_eq!(pool.report().queued_requests, 0);
}

#[tokio::test(start_paused = true)]
async fn numbers_that_grow_old_let_go_of_who_waits() {
    let (_picker, pool) = pool(queueing(1));
    fill(&pool);
    let started = tokio::time::Instant::now();
    pool.admit(&request()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "samples say nothing any more after 16 seconds");
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_bytes() {
    let mut spec = queueing(1);
    spec.saturation.queue.max_bytes = 150;
    let (_picker, pool) = pool(spec);
    fill(&pool);
    let ordinary = request();
    let mut first = pin!(pool.admit(&ordinary));
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(pool.report().queued_bytes, 100);
    assert_eq!(pool.admit(&request()).await.unwrap_err(), PickError::QueueFull { retry_after: RETRY_AFTER });
}

#[tokio::test(start_paused = true)]
async fn explaining_changes_nothing() {
    let filter =
        json!([{"type": "utilization-filter"}, {"type": "queue-scorer"}, {"type": "prefix-cache-scorer"}]);
    let (_picker, pool) = pool(with_profile(spec(3), &filter));
    for (endpoint, waiting) in pool.endpoints().iter().zip([9, 0, 2]) {
        report(endpoint, waiting, 0, 0.1);
    }
    let blocks: Vec<u64> = (1..30).collect();
    let request = PickRequest { blocks: &blocks, ..request() };
    let before = serde_json::to_value(pool.report()).unwrap();
    let explanation = serde_json::to_value(pool.explain(&request)).unwrap();
    assert_eq!(serde_json::to_value(pool.report()).unwrap(), before);

    assert_eq!(explanation["picked"], "10.0.0.1:8000");
    assert_eq!(explanation["endpoints"][0]["filtered_by"], "utilization-filter");
    assert_eq!(explanation["endpoints"][0]["total"], Value::Null);
    assert_eq!(explanation["endpoints"][1]["total"], 1.0);
    let scores = json!({"queue-scorer": 0.0, "prefix-cache-scorer": 0.0});
    assert_eq!(explanation["endpoints"][2]["scores"], scores);
    assert_eq!(pool.pick(&request).unwrap().endpoint.address(), address(1));
}

#[tokio::test(start_paused = true)]
async fn a_session_id_leads_back_for_as_long_as_it_is_used() {
    let by_id =
        json!([{"type": "session-affinity-scorer", "parameters": {"algorithm": "session_id_header"}}]);
    let (_picker, pool) = pool(with_profile(spec(5), &by_id));
    let ask = |id: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-session-id", http::HeaderValue::from_static(id));
        let picked = pool.pick(&PickRequest { headers: &headers, ..request() }).unwrap();
        assert_eq!(picked.session, None, "the id is the client's: there is nothing to tell it");
        picked.endpoint.address()
    };
    for id in ["a", "b", "c"] {
        let first = ask(id);
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(299)).await;
            assert_eq!(ask(id), first);
        }
    }
    // Forgotten, any of the five will do.
    let mut later = std::collections::HashSet::new();
    for _ in 0..60 {
        tokio::time::advance(Duration::from_secs(301)).await;
        later.insert(ask("a"));
    }
    assert!(later.len() > 1);
}

#[tokio::test(start_paused = true)]
async fn sessions_stay_together_and_responses_say_where() {
    let (_picker, pool) = pool(with_profile(spec(5), &json!([{"type": "session-affinity-scorer"}])));
    let first = pool.pick(&request()).unwrap();
    let (header, token) = first.session.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header, token);
    for _ in 0..20 {
        let again = pool.pick(&PickRequest { headers: &headers, ..request() }).unwrap();
        assert_eq!(again.endpoint.id(), first.endpoint.id());
    }
}

#[tokio::test(start_paused = true)]
async fn prompts_that_nobody_holds_go_round() {
    let (_picker, pool) = pool(with_profile(spec(4), &json!([{"type": "no-hit-lru-scorer"}])));
    let picked: Vec<_> = (0..8_u64)
        .map(|prompt| {
            let blocks: Vec<u64> = (1..20).map(|block| prompt * 1000 + block).collect();
            pool.pick(&PickRequest { blocks: &blocks, ..request() }).unwrap()
        })
        .collect();
    assert!(counts(&picked).values().all(|count| *count == 2));
    let order = |picked: &[Picked]| picked.iter().map(|one| one.endpoint.id()).collect::<Vec<_>>();
    assert_eq!(order(&picked[..4]), order(&picked[4..]));
}

#[tokio::test(start_paused = true)]
async fn state_survives_a_change_and_goes_with_the_endpoint() {
    let (picker, pool) = pool(spec(3));
    let blocks: Vec<u64> = (1..20).collect();
    let request = PickRequest { blocks: &blocks, ..request() };
    let kept = pool.pick(&request).unwrap();
    let home = kept.endpoint.address();

    let mut smaller = with_profile(spec(3), &json!([{"type": "prefix-cache-scorer"}]));
    smaller.endpoints.retain(|endpoint| endpoint.address == home);
    let removed = picker.apply(&[Arc::new(smaller)]).unwrap().removed;
    assert_eq!(removed.len(), 2);
    assert!(removed.iter().all(|endpoint| endpoint.address() != home));
    assert!(Arc::ptr_eq(&pool, &picker.pool("pool").unwrap()));
    let again = pool.pick(&request).unwrap();
    assert_eq!((again.endpoint.id(), again.matched_blocks), (kept.endpoint.id(), 19));
    assert_eq!(kept.endpoint.in_flight(), 2);

    // The same address under another name is another pod.
    let mut replaced = spec(3);
    for endpoint in &mut replaced.endpoints {
        endpoint.name = format!("default/new-{}", endpoint.address).into();
    }
    let removed = picker.apply(&[Arc::new(replaced)]).unwrap().removed;
    assert_eq!(removed.iter().map(|endpoint| endpoint.id()).collect::<Vec<_>>(), [kept.endpoint.id()]);
    assert!(pool.explain(&request).endpoints.iter().all(|endpoint| endpoint.matched_blocks == 0));
    assert!(pool.report().endpoints.iter().all(|endpoint| endpoint.in_flight == 0));

    assert_eq!(picker.apply(&[]).unwrap().removed.len(), 3);
    assert!(picker.pool("pool").is_none());
    assert_eq!(pool.pick(&request).unwrap_err(), PickError::NoEndpoints);
}

#[tokio::test(start_paused = true)]
async fn a_faulty_profile_changes_nothing() {
    let (picker, pool) = pool(spec(2));
    let faulty = with_profile(spec(1), &json!([{"type": "latency-scorer"}]));
    let error = picker.apply(&[Arc::new(faulty)]).unwrap_err().to_string();
    assert!(
        error.starts_with("pool pool: plugins[0].type: latency-scorer is known but not built yet"),
        "{error}"
    );
    assert_eq!(pool.endpoints().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_request_settles_exactly_once() {
    let (_picker, pool) = pool(spec(1));
    let endpoint = pool.endpoints().remove(0);
    for outcome in [Outcome::Served, Outcome::Overloaded, Outcome::Cancelled, Outcome::Failed] {
        let mut picked = pool.pick(&request()).unwrap();
        assert_eq!((endpoint.in_flight(), pool.report().endpoints[0].tokens_in_flight), (1, 35));
        advance(Duration::from_millis(8)).await;
        picked.in_flight.first_byte();
        picked.in_flight.finish(outcome);
        assert_eq!((endpoint.in_flight(), pool.report().endpoints[0].tokens_in_flight), (0, 0));
    }
    drop(pool.pick(&request()).unwrap());
    let report = pool.report().endpoints.remove(0);
    assert_eq!((report.served, report.failed, report.overloaded, report.cancelled), (1, 1, 1, 2));
    assert_eq!(report.first_byte_ms, Some(8.0));
    assert_eq!(report.in_flight, 0);
}

#[tokio::test]
async fn endpoints_come_and_go_without_touching_the_rest() {
    let (picker, pool) = pool(spec(2));
    let kept = pool.endpoints()[1].clone();
    let removed = picker.set_endpoints("pool", &spec(4).endpoints[1..]).removed;
    assert_eq!(removed.len(), 1);
    assert_eq!(pool.endpoints().len(), 3);
    let left = removed[0].id();
    assert!(pool.has_other(|id| id == left), "one that left is none of the three");
    assert!(Arc::ptr_eq(&kept, &pool.endpoints()[0]), "an endpoint that stays keeps its state");
    assert!(picker.set_endpoints("pool", &[]).removed.len() == 3);
    assert!(matches!(pool.pick(&request()), Err(PickError::NoEndpoints)));
    assert!(picker.set_endpoints("no such pool", &[]).removed.is_empty());
}
