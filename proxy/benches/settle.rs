//! What a request pays to be identified, counted and logged.

use std::{
    hint::black_box,
    time::{Duration, SystemTime},
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use penstock_proxy::{
    access_log::{AccessLog, Entry, Formatter, Sink, Upstream},
    error::{Dialect, Error},
    metrics::{AccessLogMetrics, Metrics, Settlement, StreamClock, UpstreamKind},
    request_id::RequestId,
};
use penstock_tap::Usage;
use tokio::time::Instant;

const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";
const USAGE: Usage = Usage {
    input: Some(1000),
    output: Some(50),
    cached_input: None,
    cache_creation: None,
    reasoning: None,
    total: None,
};

fn identify(c: &mut Criterion) {
    let none = HeaderMap::new();
    c.bench_function("settle/request id made", |b| b.iter(|| RequestId::of(black_box(&none))));
    let mut sent = HeaderMap::new();
    sent.insert("x-request-id", HeaderValue::from_static("7f1c9a52-1f8e-4a55-9d5e-0d4c1c7b1a11"));
    c.bench_function("settle/request id kept", |b| b.iter(|| RequestId::of(black_box(&sent))));
}

fn count(c: &mut Criterion) {
    let metrics = Metrics::default();
    let route = metrics.route("llama");
    let pool = metrics.upstream(UpstreamKind::Pool, "llama", [MODEL]);
    let base = Settlement {
        route: Some(&route),
        model: None,
        status: 200,
        error: None,
        duration: Duration::from_millis(120),
        stream: None,
        usage: USAGE,
    };
    let settle = |with: Settlement<'_>| {
        metrics.settle(Settlement { model: Some(pool.model(black_box(MODEL))), ..with })
    };
    c.bench_function("settle/metrics", |b| b.iter(|| settle(base)));

    let start = Instant::now();
    let mut clock = StreamClock::new(start);
    for n in 1..200 {
        clock.content(start + Duration::from_millis(7 * n), 1);
    }
    c.bench_function("settle/metrics of a stream", |b| {
        b.iter(|| settle(Settlement { stream: Some(&clock), ..base }));
    });
    let row = Error::NoEndpoints.row();
    c.bench_function("settle/metrics of an error", |b| {
        b.iter(|| settle(Settlement { error: Some(row), status: row.status, ..base }));
    });

    let now = start + Duration::from_secs(2);
    c.bench_function("settle/a token's gap", |b| b.iter(|| clock.content(black_box(now), 1)));

    let id = RequestId::generate();
    let error = Error::unknown_model("gpt-5", [MODEL, "mistral:latest"]);
    c.bench_function("settle/an error's answer", |b| b.iter(|| error.answer(Dialect::OpenAi, &id)));
}

fn log(c: &mut Criterion) {
    let entry = Entry {
        time: SystemTime::now(),
        request_id: RequestId::generate(),
        method: Method::POST,
        path: Some("/v1/chat/completions".parse().expect("a valid path")),
        client: Some(([10, 0, 0, 9], 50_000).into()),
        user_agent: Some(HeaderValue::from_static("OpenAI/Python 2.1.0")),
        listener: "http".into(),
        route: Some("llama".into()),
        model: Some(MODEL.into()),
        target_model: None,
        upstream: Some(Upstream {
            kind: UpstreamKind::Pool,
            name: "llama".into(),
            endpoint: Some(([10, 0, 0, 1], 8000).into()),
        }),
        attempts: 1,
        status: 200,
        error: None,
        is_stream: false,
        usage: USAGE,
        content_events: 0,
        time_to_first_token: None,
        duration: Duration::from_millis(120),
        request_bytes: 1200,
        response_bytes: 900,
        matched_blocks: Some(3),
    };
    let sink = Sink::File("/dev/null".into());
    let (log, writer) = AccessLog::start(&sink, 8192, AccessLogMetrics::default()).expect("a null device");
    c.bench_function("settle/access log, request's side", |b| {
        b.iter_batched(|| entry.clone(), |entry| log.record(entry), BatchSize::SmallInput);
    });
    writer.close();
    c.bench_function("settle/access log, writer's side", |b| {
        let (mut formatter, mut text) = (Formatter::default(), Vec::new());
        b.iter(|| {
            text.clear();
            formatter.write(black_box(&entry), &mut text);
        });
    });
}

criterion_group!(benches, identify, count, log);
criterion_main!(benches);
