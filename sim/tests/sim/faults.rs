//! Every fault, as a client sees it.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use penstock_sim::{
    faults::{Action, Fault},
    options::{FailureType, Options},
};
use serde_json::{Value, json};

use crate::{
    MODEL,
    client::{Client, events, post, read_what_comes, request},
    start,
};

const PATH: &str = "/v1/chat/completions";

fn chat(streams: bool) -> Value {
    json!({
        "model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 8, "stream": streams,
    })
}

#[tokio::test]
async fn a_status_is_answered_as_often_as_asked() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    sim.faults().set(vec![
        Fault::new(Action::Status { code: 503, retry_after_s: Some(7) }).times(1),
        Fault::new(Action::Failure { kind: Some(FailureType::RateLimit) }).times(1),
    ]);
    let first = client.post(PATH, &chat(false)).await;
    assert_eq!((first.status.as_u16(), first.header("retry-after")), (503, "7"));
    let second = client.post(PATH, &chat(false)).await;
    assert_eq!((second.status.as_u16(), &second.json()["error"]["type"]), (429, &json!("RateLimitError")));
    assert_eq!(client.post(PATH, &chat(false)).await.status, 200);
    assert_eq!(sim.stats().faulted, 2);
    assert_eq!(sim.stats().connections, 1);
}

#[tokio::test]
async fn faults_are_set_over_http_too() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    let faults = json!([{"action": {"status": {"code": 500}}}]);
    assert_eq!(client.post("/sim/faults", &faults).await.json(), faults);
    assert_eq!(client.post(PATH, &chat(false)).await.status, 500);
    assert_eq!(client.get("/health").await.status, 200);
    let wrong = client.post("/sim/faults", &json!([{"action": "explode"}])).await;
    assert_eq!(wrong.status, 400);
    let clear = request(Method::DELETE, "/sim/faults", &[], "");
    assert_eq!(client.send(clear).await.unwrap().json(), json!([]));
    assert_eq!(client.post(PATH, &chat(false)).await.status, 200);
}

#[tokio::test]
async fn a_connection_is_reset_or_closed_without_an_answer() {
    let sim = start(Options::default()).await;
    for action in [Action::Reset, Action::ResetBeforeBody, Action::Close] {
        sim.faults().set(vec![Fault::new(action.clone()).times(1)]);
        let error = Client::http1(sim.addr()).await.send(post(PATH, &chat(false))).await.unwrap_err();
        let is_reset = std::error::Error::source(&error)
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
        assert_eq!(is_reset, action != Action::Close, "{action:?}: {error:?}");
        sim.faults().set(vec![Fault::new(action).times(1)]);
        assert!(Client::http2(sim.addr()).await.send(post(PATH, &chat(false))).await.is_err());
    }
    assert_eq!(Client::http1(sim.addr()).await.post(PATH, &chat(false)).await.status, 200);
    let stats = sim.until(|stats| stats.in_flight == 0).await;
    assert_eq!((stats.cancelled, stats.completed), (6, 1));
}

#[tokio::test]
async fn a_stream_breaks_after_the_events_asked_for() {
    let sim = start(Options::default()).await;
    for action in [Action::ResetAfter { chunks: 3 }, Action::CloseAfter { chunks: 3 }] {
        for is_http2 in [false, true] {
            sim.faults().set(vec![Fault::new(action.clone())]);
            let mut client =
                if is_http2 { Client::http2(sim.addr()).await } else { Client::http1(sim.addr()).await };
            let response = client.open(post(PATH, &chat(true))).await.unwrap();
            let (text, is_whole) = read_what_comes(response.into_body()).await;
            assert!(!is_whole, "{action:?}");
            assert_eq!(events(&text).len(), 3, "{action:?} {is_http2}: {text}");
        }
    }
}

#[tokio::test]
async fn a_whole_body_breaks_in_the_middle() {
    let sim = start(Options::default()).await;
    sim.faults().set(vec![Fault::new(Action::CloseAfter { chunks: 1 })]);
    let mut client = Client::http1(sim.addr()).await;
    let response = client.open(post(PATH, &chat(false))).await.unwrap();
    let (text, is_whole) = read_what_comes(response.into_body()).await;
    assert!(!is_whole && text.starts_with('{') && !text.ends_with('}'), "{text}");
}

#[tokio::test]
async fn what_hangs_is_freed_when_the_client_leaves() {
    let sim = start(Options::default()).await;
    for (action, streams) in
        [(Action::Hang, false), (Action::HangBeforeBody, false), (Action::HangAfter { chunks: 2 }, true)]
    {
        sim.faults().set(vec![Fault::new(action)]);
        let mut client = Client::http1(sim.addr()).await;
        let call = tokio::spawn(async move { client.send(post(PATH, &chat(streams))).await });
        sim.until(|stats| stats.in_flight == 1).await;
        call.abort();
        sim.until(|stats| stats.in_flight == 0 && stats.open_connections == 0).await;
    }
    assert_eq!(sim.stats().cancelled, 3);
}

#[tokio::test]
async fn an_early_answer_leaves_the_body_unread() {
    let sim = start(Options::default()).await;
    sim.faults().push(Fault::new(Action::EarlyStatus { code: 401 }));
    let answer = Client::http2(sim.addr()).await.post(PATH, &chat(false)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(sim.requests().is_empty());
}

#[tokio::test]
async fn metrics_can_be_garbage_endless_and_slow() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    sim.faults().set(vec![Fault::new(Action::Garbage { bytes: 100_001 }).path("/metrics")]);
    assert_eq!(client.get("/metrics").await.body.len(), 100_001);
    sim.faults().set(vec![Fault::new(Action::Flood { bytes: 1 << 20 }).path("/metrics")]);
    let flood = client.get("/metrics").await.text();
    assert_eq!(flood.len(), 1 << 20);
    assert!(flood.lines().all(|line| line.starts_with("sim:flood_total{") && line.ends_with(" 1.0")));
    sim.faults().set(vec![Fault::new(Action::Drip { bytes: 10, ms: 3_600_000 }).path("/metrics")]);
    let mut body = client.open(request(Method::GET, "/metrics", &[], "")).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(&first[..], b"# HELP pro");
    assert_eq!(sim.stats().scrapes, 3);
}

#[tokio::test]
async fn a_delay_passes() {
    let sim = start(Options::default()).await;
    sim.faults().push(Fault::delay(Duration::from_millis(1)));
    assert_eq!(Client::http1(sim.addr()).await.post(PATH, &chat(false)).await.status, 200);
    assert_eq!(sim.stats().faulted, 1);
}

#[tokio::test]
async fn a_share_of_requests_fails_as_configured() {
    let sim = start(Options { failure_rate_percent: 100, seed: 3, ..Options::default() }).await;
    let mut client = Client::http1(sim.addr()).await;
    let mut codes = std::collections::BTreeSet::new();
    for _ in 0..60 {
        codes.insert(client.post(PATH, &chat(false)).await.status.as_u16());
    }
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), [400, 401, 404, 429, 503]);
}
