use std::{
    fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method};
use penstock_policies::limits::LimitName;
use penstock_tap::{Usage, UsageSource};
use serde_json::{Value, json};
use smallvec::{SmallVec, smallvec};

use super::{entry::MAX_MODEL_BYTES, *};
use crate::metrics::UpstreamKind;

const TOLD: Told<'static> = Told {
    request_id: b"r-1",
    path: Some(b"/v1/chat/completions"),
    user_agent: Some(b"curl/8"),
    model: Some(b"m"),
    consumer: Some(b"search"),
};

fn charged(limit: &str, held: u64, used: u64) -> Charged {
    let limit = LimitName { policy: "tenants".into(), limit: limit.into() };
    Charged { limit: Arc::new(limit), held, used }
}

/// An entry that has everything.
pub(crate) fn entry() -> Entry {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        texts: Texts::new(&TOLD),
        method: Method::POST,
        peer: Some("10.0.0.9:5000".parse().unwrap()),
        forwarded_for: None,
        refused: Some(Box::new(Refused {
            policy: Some("tenants".into()),
            rule: Some("no-embeddings".into()),
            limit: Some("tokens".into()),
        })),
        listener: "http".into(),
        route: Some("llama".into()),
        target_model: Some("m-v2".into()),
        upstream: Some(Upstream {
            kind: UpstreamKind::Pool,
            name: "p".into(),
            endpoint: Some("[::1]:8000".parse().unwrap()),
        }),
        tried: vec![
            Tried { kind: UpstreamKind::Backend, name: "openai".into(), reason: "status_429" },
            Tried { kind: UpstreamKind::Pool, name: "q".into(), reason: "saturated" },
        ],
        dropped: Some(HeaderValue::from_static("seed, logit_bias")),
        attempts: 2,
        status: 200,
        error: None,
        is_stream: true,
        usage: Usage { input: Some(10), cached_input: Some(4), ..Usage::default() },
        usage_source: Some(UsageSource::Reported),
        content_events: 7,
        time_to_first_token: Some(Duration::from_micros(12_345)),
        duration: Duration::from_millis(500),
        request_bytes: 1200,
        response_bytes: 9000,
        bill: Some(Box::new(Bill {
            charged: smallvec![charged("requests", 1, 1), charged("tokens", 900, 14)],
            cost: Some(Some(1_500_000)),
        })),
        matched_blocks: Some(3),
    }
}

fn written(entry: &Entry) -> Value {
    let (mut formatter, mut lines) = (Formatter::default(), Vec::new());
    for _ in 0..2 {
        formatter.write(entry, &mut lines);
    }
    let lines = String::from_utf8(lines).unwrap();
    let [first, second] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
    assert_eq!(first, second);
    serde_json::from_str(first).unwrap()
}

#[test]
fn a_line_says_all_about_a_request_but_its_query() {
    assert_eq!(
        written(&entry()),
        json!({
            "time": "2023-11-14T22:13:20.123Z", "request_id": "r-1", "method": "POST", "path": "/v1/chat/completions",
            "client": "10.0.0.9:5000", "user_agent": "curl/8",
            "consumer": "search", "policy": "tenants", "rule": "no-embeddings", "limit": "tokens", "listener": "http", "route": "llama", "model": "m",
            "target_model": "m-v2", "pool": "p", "endpoint": "[::1]:8000",
            "tried": [{"backend": "openai", "reason": "status_429"}, {"pool": "q", "reason": "saturated"}], "dropped": "seed, logit_bias",
            "attempts": 2, "status": 200, "stream": true,
            "tokens": {"input": 10, "cached_input": 4}, "usage_source": "reported", "cost": 0.0015,
            "charged": [
                {"policy": "tenants", "limit": "requests", "held": 1, "used": 1},
                {"policy": "tenants", "limit": "tokens", "held": 900, "used": 14},
            ], "content_events": 7, "ttft_ms": 12.345, "duration_ms": 500.0,
            "request_bytes": 1200, "response_bytes": 9000, "matched_blocks": 3
        })
    );
}

#[test]
fn a_client_behind_a_trusted_proxy_is_told_from_it() {
    let line = written(&Entry { forwarded_for: Some("2001:db8::7".parse().unwrap()), ..entry() });
    assert_eq!((&line["client"], &line["proxy"]), (&json!("2001:db8::7"), &json!("10.0.0.9:5000")));
}

#[test]
fn costs_are_dollars_and_one_that_nobody_knows_is_null() {
    for (cost, told) in [
        (Some(0), json!(0)),
        (Some(1), json!(1e-9)),
        (Some(12_000_000_000), json!(12)),
        (Some(2_500_000_000), json!(2.5)),
        (None, Value::Null),
    ] {
        let bill = Bill { cost: Some(cost), charged: SmallVec::new() };
        let line = written(&Entry { bill: Some(Box::new(bill)), ..entry() });
        assert_eq!((line.get("cost"), line.get("charged")), (Some(&told), None), "{cost:?}");
    }
}

#[test]
fn what_is_unknown_is_left_out() {
    let line = written(&Entry {
        texts: Texts::new(&Told { request_id: b"r-1", ..Told::default() }),
        peer: None,
        refused: None,
        route: None,
        target_model: None,
        upstream: None,
        tried: Vec::new(),
        dropped: None,
        is_stream: false,
        usage: Usage::default(),
        usage_source: None,
        bill: None,
        matched_blocks: None,
        status: 404,
        error: Some("no_route"),
        ..entry()
    });
    let members: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "time",
            "request_id",
            "method",
            "listener",
            "attempts",
            "status",
            "error",
            "stream",
            "duration_ms",
            "request_bytes",
            "response_bytes"
        ]
    );
}

#[test]
fn a_stream_that_could_not_be_read_has_no_figures() {
    let source = Some(UsageSource::Encoded);
    let unread = Entry { content_events: 0, time_to_first_token: None, ..entry() };
    let line = written(&Entry { usage: Usage::default(), usage_source: source, ..unread });
    assert_eq!((&line["stream"], &line["usage_source"]), (&json!(true), &json!("encoded")));
    assert!(["tokens", "content_events", "ttft_ms"].iter().all(|name| line.get(name).is_none()), "{line}");
}

#[test]
fn hostile_text_is_escaped_and_bounded() {
    let hostile = format!("\"}},\n\u{0}{}", "é".repeat(1000));
    let line = written(&Entry {
        texts: Texts::new(&Told {
            model: Some(hostile.as_bytes()),
            user_agent: Some(&[b"\"\xFF".as_slice(), &[b'a'; 300]].concat()),
            ..TOLD
        }),
        ..entry()
    });
    let model = line["model"].as_str().unwrap();
    assert!(hostile.starts_with(model.strip_suffix('…').unwrap()));
    assert!((MAX_MODEL_BYTES - 2..=MAX_MODEL_BYTES).contains(&(model.len() - '…'.len_utf8())));
    assert!(line["user_agent"].as_str().unwrap().starts_with("\"\u{FFFD}aaa"));
}

/// Waits for the writer to have done what `is_done` asks, without a fixed time.
fn wait_until(is_done: impl Fn() -> bool) {
    while !is_done() {
        std::thread::yield_now();
    }
}

#[test]
fn entries_are_in_the_file_when_the_log_is_closed_even_while_it_is_held() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let metrics = AccessLogMetrics::default();
    let (log, writer) = AccessLog::start(&Sink::File(path.clone()), 1000, metrics.clone()).unwrap();
    for attempts in 0..100 {
        log.record(Entry { attempts, ..entry() });
    }
    writer.close();

    let text = fs::read_to_string(path).unwrap();
    let attempts: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["attempts"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, (0..100).collect::<Vec<_>>());
    assert_eq!(metrics.written.get(), 100);
    assert_eq!(metrics.queue_full.get(), 0);
}

#[test]
fn a_full_queue_loses_entries_and_counts_them() {
    let metrics = AccessLogMetrics::default();
    // No writer: what a request sees of one that is stuck.
    let (queue, received) = mpsc::channel(2);
    let log = AccessLog { queue: Some(queue), orders: Arc::default(), metrics: metrics.clone() };
    for _ in 0..5 {
        log.record(entry());
    }
    assert_eq!(metrics.queue_full.get(), 3);
    log.reopen();
    drop(received);
    log.record(entry());
    assert_eq!(metrics.queue_full.get(), 4);
}

#[test]
fn a_rotated_file_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (path, rotated) = (directory.path().join("access.log"), directory.path().join("access.log.1"));
    let metrics = AccessLogMetrics::default();
    let (log, writer) = AccessLog::start(&Sink::File(path.clone()), 10, metrics.clone()).unwrap();
    log.record(entry());
    wait_until(|| metrics.written.get() == 1);

    fs::rename(&path, &rotated).unwrap();
    log.reopen();
    wait_until(|| path.exists());
    log.record(entry());
    writer.close();
    for path in [path, rotated] {
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 1);
    }
}

#[test]
fn a_device_that_refuses_is_counted() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let metrics = AccessLogMetrics::default();
    let (log, writer) = AccessLog::start(&Sink::File(full.into()), 10, metrics.clone()).unwrap();
    log.record(entry());
    writer.close();
    assert_eq!((metrics.written.get(), metrics.write_failed.get()), (0, 1));
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Sink::File(directory.path().join("missing/access.log"));
    assert!(AccessLog::start(&sink, 10, AccessLogMetrics::default()).is_err());
    assert!(!AccessLog::disabled().is_enabled());
    AccessLog::disabled().record(entry());
    assert_eq!((Sink::from_path("stdout"), Sink::from_path("stderr")), (Sink::Stdout, Sink::Stderr));
}
