//! How policies are read, and what they change.

use serde_json::{Value, json};

use super::*;

fn read(settings: Value) -> Result<Traffic, String> {
    let settings: TrafficSettings = serde_json::from_value(settings).unwrap();
    Traffic::read(&settings).map(|traffic| traffic.expect("says something"))
}

fn applied(settings: Value) -> RawRule {
    let mut rule = RawRule::default();
    read(settings).unwrap().apply(&RawTimeouts::default(), &mut rule);
    rule
}

/// That of Envoy AI Gateway's `examples/provider_fallback`.
#[test]
fn the_published_example_of_a_fallback_means_what_its_document_says() {
    let rule = applied(json!({"retry": {
        "numAttemptsPerPriority": 1, "numRetries": 5,
        "perRetry": {"backOff": {"baseInterval": "100ms", "maxInterval": "10s"}, "timeout": "30s"},
        "retryOn": {"httpStatusCodes": [500], "triggers": ["connect-failure", "retriable-status-codes"]},
    }}));
    let retry = &rule.retry;
    assert_eq!((retry.attempts, retry.attempts_per_priority), (6, 1));
    assert_eq!((&retry.statuses.0, &retry.failover_statuses.0), (&vec![500], &vec![]));
    assert!(!retry.unanswered);
    assert_eq!((retry.backoff, retry.max_backoff), (Span::ms(100), Span::secs(10)));
    assert_eq!(rule.timeouts.per_try, Timeout::secs(30));
}

#[test]
fn triggers_are_statuses_and_failures_or_named() {
    for (triggers, statuses, unanswered, idle) in [
        (json!(["gateway-error"]), &[502, 503, 504][..], true, 0),
        (json!(["5xx"]), &SERVER_ERRORS[..], true, 0),
        (json!(["reset"]), &[][..], true, 0),
        (json!(["retriable-4xx", "retriable-status-codes"]), &[409, 429][..], false, 0),
        (json!(["connect-failure", "cancelled", "reset-before-request"]), &[][..], false, 2),
    ] {
        let settings = json!({"retry": {"retryOn": {"triggers": triggers, "httpStatusCodes": [429, 200]}}});
        let rule = applied(settings.clone());
        assert_eq!((&*rule.retry.statuses.0, rule.retry.unanswered), (statuses, unanswered), "{triggers}");
        let settings: TrafficSettings = serde_json::from_value(settings).unwrap();
        assert_eq!(super::idle(&settings).len(), idle, "{triggers}");
    }
}

#[test]
fn what_a_policy_does_not_say_stays_and_what_the_route_says_comes_first() {
    let defaults = RawRetry::default();
    let rule = applied(json!({"retry": {}, "timeout": {"http": {"requestTimeout": "20s"}}}));
    assert_eq!(rule.retry, RawRetry { attempts: 3, ..defaults });
    assert_eq!(rule.timeouts.request, Timeout::secs(20));
    let settings = json!({
        "retry": {"numRetries": 0, "perRetry": {"timeout": "1h"}},
        "timeout": {"http": {"requestTimeout": "20s", "streamIdleTimeout": "7s"}},
    });
    let of_route = RawRetry { attempts: 7, ..RawRetry::default() };
    let mut rule = RawRule { retry: of_route.clone(), ..RawRule::default() };
    rule.timeouts.request = Timeout::secs(30);
    let own = read(settings).unwrap();
    own.apply(&RawTimeouts::default(), &mut rule);
    assert_eq!((rule.retry, rule.timeouts.request), (of_route, Timeout::secs(30)));
    assert_eq!(rule.timeouts.stream_idle, Timeout::secs(7));
    // No attempt may take longer than its request.
    let rule = applied(json!({"retry": {"perRetry": {"timeout": "1h"}}}));
    assert_eq!(rule.timeouts.per_try, rule.timeouts.request);
}

#[test]
fn what_a_less_specific_policy_says_stands_beside_what_is_said() {
    let own = read(json!({"retry": {"numRetries": 1}})).unwrap();
    let parent =
        read(json!({"retry": {"numRetries": 9}, "timeout": {"http": {"requestTimeout": "9s"}}})).unwrap();
    let mut rule = RawRule::default();
    own.over(&parent).apply(&RawTimeouts::default(), &mut rule);
    assert_eq!((rule.retry.attempts, rule.timeouts.request), (2, Timeout::secs(9)));
}

#[test]
fn endpoints_in_turn_is_said_over_what_a_less_specific_policy_says() {
    let read_kind = |kind: &str| read(json!({"loadBalancer": {"type": kind}})).unwrap();
    let mut backend = crate::service::raw_backend("b".to_owned());
    read_kind("RoundRobin").over(&read_kind("Random")).backing().apply(&mut backend);
    assert_eq!(backend.balancing, penstock_config::Balancing::RoundRobin);
    assert_eq!(read_kind("RoundRobin").backing().essence(), Backing::default());
}

#[test]
fn what_binds_requests_to_endpoints_takes_the_place_of_other_ways_and_they_of_it() {
    let hash = || {
        let hash = json!({"type": "ConsistentHash", "consistentHash": {"type": "SourceIP"}});
        read(json!({"loadBalancer": hash})).unwrap()
    };
    let random = || read(json!({"loadBalancer": {"type": "Random"}})).unwrap();
    let of = |traffic: Traffic| {
        let mut backend = crate::service::raw_backend("b".to_owned());
        traffic.backing().apply(&mut backend);
        (backend.balancing, backend.hash_by.is_some_and(|by| by.client))
    };
    assert_eq!(of(hash().over(&random())), (penstock_config::Balancing::RoundRobin, true));
    assert_eq!(of(random().over(&hash())), (penstock_config::Balancing::Random, false));
}

/// A rule with a longer one is refused by data planes.
#[test]
fn deadlines_are_no_longer_than_documents_have_them() {
    let day = Timeout::secs(24 * 60 * 60);
    let rule = applied(json!({
        "retry": {"perRetry": {"timeout": "48h"}},
        "timeout": {"http": {"requestTimeout": "72h", "streamIdleTimeout": "100h"}},
    }));
    assert_eq!([rule.timeouts.request, rule.timeouts.per_try, rule.timeouts.stream_idle], [day; 3]);
    let mut rule = RawRule::default();
    let traffic = Traffic::of_deadlines(Some(Span::secs(90_000)), Some(Span::secs(90_000))).unwrap();
    traffic.apply(&RawTimeouts::default(), &mut rule);
    assert_eq!([rule.timeouts.request, rule.timeouts.stream_idle], [day; 2]);
    let off = applied(json!({"timeout": {"http": {"requestTimeout": "0s"}}}));
    assert_eq!(off.timeouts.request, Timeout::OFF);
}

#[test]
fn a_buffer_bounds_the_bodies_of_its_rules() {
    let rule = applied(json!({"requestBuffer": {"limit": "4Ki"}}));
    assert_eq!(rule.body_bytes, Some(Size(4096)));
    for limit in [json!("much"), json!(0), json!(null)] {
        let fault = read(json!({"requestBuffer": {"limit": limit}})).unwrap_err();
        assert!(fault.starts_with("requestBuffer.limit: "), "{fault}");
    }
}

#[test]
fn what_is_left_out_is_named() {
    let settings =
        json!({"timeout": {"udp": {}, "http": {"maxStreamDuration": "1h", "requestTimeout": "1s"}}});
    let settings: TrafficSettings = serde_json::from_value(settings).unwrap();
    assert_eq!(idle(&settings), ["spec.timeout.udp", "spec.timeout.http.maxStreamDuration"]);
    let named = |balancer: Value| {
        let settings: TrafficSettings = serde_json::from_value(json!({"loadBalancer": balancer})).unwrap();
        idle(&settings)
    };
    assert!(named(json!({"type": "RoundRobin"})).is_empty());
    assert_eq!(
        named(json!({"type": "BackendUtilization", "consistentHash": {}, "slowStart": {}})),
        [
            "spec.loadBalancer.type: BackendUtilization",
            "spec.loadBalancer.consistentHash",
            "spec.loadBalancer.slowStart"
        ]
    );
}

#[test]
fn what_is_no_time_is_told_with_its_field() {
    let settings = json!({"retry": {"perRetry": {"backOff": {"baseInterval": "soon"}}}});
    let error = read(settings).unwrap_err();
    assert!(error.starts_with("retry.perRetry.backOff.baseInterval: "), "{error}");
}
