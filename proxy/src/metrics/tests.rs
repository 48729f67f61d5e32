use std::time::Duration;

use penstock_tap::Usage;
use rustc_hash::FxHashSet;
use tokio::time::Instant;

use super::*;
use crate::error::{Error, Limit};

fn line<'a>(page: &'a str, series: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

fn named(kind: UpstreamKind, name: &str) -> UpstreamName<'_> {
    UpstreamName { kind, name, provider: "vllm", conventions: Conventions::default() }
}

fn settlement<'a>() -> Settlement<'a> {
    Settlement {
        route: None,
        model: None,
        status: 200,
        error: None,
        duration: Duration::from_millis(30),
        stream: None,
        usage: Usage::default(),
        call: None,
    }
}

#[tokio::test(start_paused = true)]
async fn one_settlement_records_a_whole_request() {
    let metrics = Metrics::default();
    let route = metrics.route("llama");
    let pool = metrics.upstream(named(UpstreamKind::Pool, "llama"), ["m"]);

    let started = Instant::now();
    let mut stream = StreamClock::new(started);
    stream.content(started + Duration::from_millis(50), 1);
    stream.content(started + Duration::from_millis(90), 2);
    stream.content(started + Duration::from_millis(90), 0);
    assert_eq!(stream.time_to_first_token(), Some(Duration::from_millis(50)));

    metrics.settle(Settlement {
        route: Some(&route),
        model: Some(pool.model("m")),
        stream: Some(&stream),
        usage: Usage { input: Some(10), output: Some(3), reasoning: Some(0), ..Usage::default() },
        ..settlement()
    });

    let page = metrics.encode();
    let at = r#"upstream_kind="pool",upstream="llama",model="m""#;
    for (series, value) in [
        (r#"penstock_requests_total{route="llama",status="2xx",reason=""}"#.to_owned(), "1"),
        (r#"penstock_request_duration_seconds_count{route="llama"}"#.to_owned(), "1"),
        (r#"penstock_request_duration_seconds_bucket{route="llama",le="0.02"}"#.to_owned(), "0"),
        (r#"penstock_request_duration_seconds_bucket{route="llama",le="0.04"}"#.to_owned(), "1"),
        (format!("penstock_time_to_first_token_seconds_sum{{{at}}}"), "0.05"),
        (format!("penstock_inter_token_latency_seconds_count{{{at}}}"), "2"),
        (format!("penstock_inter_token_latency_seconds_sum{{{at}}}"), "0.04"),
        (format!("penstock_inter_token_latency_seconds_bucket{{{at},le=\"0.025\"}}"), "2"),
        (format!("penstock_inter_token_latency_seconds_bucket{{{at},le=\"+Inf\"}}"), "2"),
        (format!("penstock_tokens_total{{{at},kind=\"input\"}}"), "10"),
        (format!("penstock_tokens_total{{{at},kind=\"output\"}}"), "3"),
    ] {
        assert_eq!(line(&page, &series), Some(value), "{series}\n{page}");
    }
}

#[test]
fn an_error_of_ours_is_counted_by_its_reason_and_its_limit() {
    let metrics = Metrics::default();
    let error = Error::BodyTooLarge { limit_bytes: 1 };
    metrics.settle(Settlement { status: 413, error: Some(error.row()), ..settlement() });
    metrics.gateway.limit_hit(Limit::KeepAliveTimeout);

    let page = metrics.encode();
    assert_eq!(
        line(&page, r#"penstock_requests_total{route="",status="4xx",reason="body_too_large"}"#),
        Some("1")
    );
    assert_eq!(line(&page, r#"penstock_limit_hits_total{limit="limits.bodyBytes"}"#), Some("1"));
    assert_eq!(line(&page, r#"penstock_limit_hits_total{limit="limits.keepAliveTimeout"}"#), Some("1"));
    assert_eq!(line(&page, r#"penstock_limit_hits_total{limit="limits.headerBytes"}"#), Some("0"));
}

#[test]
fn what_a_client_makes_up_gets_no_series() {
    let metrics = Metrics::default();
    let pool = metrics.upstream(named(UpstreamKind::Pool, "p"), ["m"]);
    for n in 0..1000 {
        let usage = Usage { input: Some(1), ..Usage::default() };
        let model = format!("made up {n}");
        metrics.settle(Settlement { model: Some(pool.model(&model)), usage, ..settlement() });
    }
    let page = metrics.encode();
    let other = r#"penstock_tokens_total{upstream_kind="pool",upstream="p",model="other",kind="input"}"#;
    assert_eq!(line(&page, other), Some("1000"));
    assert!(!page.contains("made up"));
}

#[test]
fn names_beyond_the_bound_share_other() {
    let metrics = Metrics::new(2);
    let routes: Vec<RouteMetrics> =
        ["a", "b", "c", "d", "a"].iter().map(|name| metrics.route(name)).collect();
    for route in &routes {
        metrics.settle(Settlement { route: Some(route), ..settlement() });
    }
    let requests =
        |route: &str| format!("penstock_requests_total{{route=\"{route}\",status=\"2xx\",reason=\"\"}}");
    let page = metrics.encode();
    for (route, count) in [("a", "2"), ("b", "1"), ("other", "2")] {
        assert_eq!(line(&page, &requests(route)), Some(count));
    }
    assert!(!page.contains("route=\"c\""));

    let none = FxHashSet::default();
    let routes = FxHashSet::from_iter(["b"]);
    metrics.retain(Configured {
        routes: &routes,
        upstreams: &none,
        models: &none,
        policies: &none,
        limited: &none,
        targets: &none,
        conventions: Conventions::default(),
    });
    metrics.settle(Settlement { route: Some(&metrics.route("c")), ..settlement() });
    let page = metrics.encode();
    for (route, count) in [("a", None), ("b", Some("1")), ("c", Some("1")), ("other", Some("2"))] {
        assert_eq!(line(&page, &requests(route)), count, "{route}");
    }
}

#[test]
fn a_reload_keeps_the_counts_of_what_stays() {
    let metrics = Metrics::default();
    for _ in 0..2 {
        let pool = metrics.upstream(named(UpstreamKind::Pool, "p"), ["m"]);
        pool.picked(PickOutcome::Picked);
        pool.prefix(10, 4);
        pool.scraped(ScrapeOutcome::Failed, 1);
        pool.retried("upstream_reset");
        pool.waited(Duration::from_millis(2));
        let backend = metrics.upstream(named(UpstreamKind::Backend, "p"), []);
        backend.scraped(ScrapeOutcome::Read, 1);
        metrics.retain(Configured {
            routes: &FxHashSet::default(),
            upstreams: &FxHashSet::from_iter(["p"]),
            models: &FxHashSet::from_iter(["m"]),
            policies: &FxHashSet::default(),
            limited: &FxHashSet::default(),
            targets: &FxHashSet::default(),
            conventions: Conventions::default(),
        });
    }
    let page = metrics.encode();
    for series in [
        r#"penstock_picks_total{upstream_kind="pool",upstream="p",outcome="picked"}"#,
        r#"penstock_scrapes_total{pool="p",outcome="failed"}"#,
        r#"penstock_retries_total{upstream_kind="pool",upstream="p",reason="upstream_reset"}"#,
        r#"penstock_queue_wait_seconds_count{pool="p"}"#,
    ] {
        assert_eq!(line(&page, series), Some("2"), "{series}\n{page}");
    }
    assert_eq!(line(&page, r#"penstock_prefix_blocks_total{pool="p",kind="matched"}"#), Some("8"));
    assert_eq!(line(&page, r#"penstock_scrapes_total{pool="p",outcome="read"}"#), Some("0"));
}

#[test]
fn reloads_show_whether_the_running_document_is_the_last_one() {
    let metrics = Metrics::default();
    let current =
        |metrics: &Metrics| line(&metrics.encode(), "penstock_config_is_current").map(str::to_owned);
    metrics.gateway.reload_applied(7);
    assert_eq!(current(&metrics).as_deref(), Some("1"));
    metrics.gateway.reload_refused();
    assert_eq!(current(&metrics).as_deref(), Some("0"));
    let page = metrics.encode();
    assert_eq!(line(&page, "penstock_config_generation"), Some("7"));
    assert_eq!(line(&page, r#"penstock_config_reloads_total{outcome="refused"}"#), Some("1"));
}

#[test]
fn guards_give_back_what_they_hold() {
    let metrics = Metrics::default();
    let listener = metrics.gateway.listener("http");
    {
        let _connection = listener.accepted();
        let _request = metrics.gateway.request_started();
        let mut body = metrics.gateway.bodies_in_flight_bytes.hold(100);
        body.grow(50);
        let page = metrics.encode();
        assert_eq!(line(&page, r#"penstock_connections_open{listener="http"}"#), Some("1"));
        assert_eq!(line(&page, "penstock_bodies_in_flight_bytes"), Some("150"));
        metrics.upstream(named(UpstreamKind::Pool, "p"), []).waited(Duration::from_secs(3));
    }
    let page = metrics.encode();
    assert_eq!(line(&page, r#"penstock_connections_open{listener="http"}"#), Some("0"));
    assert_eq!(line(&page, r#"penstock_connections_accepted_total{listener="http"}"#), Some("1"));
    assert_eq!(line(&page, "penstock_requests_in_flight"), Some("0"));
    assert_eq!(line(&page, "penstock_bodies_in_flight_bytes"), Some("0"));
    assert_eq!(line(&page, r#"penstock_queue_wait_seconds_sum{pool="p"}"#), Some("3"));
}

#[test]
fn the_page_is_well_formed() {
    let metrics = Metrics::default();
    metrics.route("quote\" back\\slash\nline");
    let page = metrics.encode();
    assert!(page.contains(r#"route="quote\" back\\slash\nline""#));
    for line in page.lines() {
        assert!(line.starts_with('#') || line.starts_with("penstock_"), "{line}");
    }
}
