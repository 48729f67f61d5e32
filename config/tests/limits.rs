//! What limits, prices and the store of counters of a document become.

use std::time::Duration;

use http::{HeaderName, Method};
use penstock_config::{
    Cidr, ClaimPath, Comparison, Count, Dimension, LimitSpec, LimitStore, Missing, ModelNames,
    NoProfileCheck, OnStoreFailure, PathComparison, PathMatch, Pattern, Period, PolicyIndex, RedisMode,
    RedisSpec, RedisTls, Snapshot, TextMatch, Window,
};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nsecretsFrom: s\n";
const LISTENER: &str = "listeners: [{name: http, address: '127.0.0.1:8080'}]\n";

#[track_caller]
fn sound(body: &str) -> Snapshot {
    Snapshot::compile(&format!("{HEAD}{LISTENER}{body}"), &NoProfileCheck)
        .unwrap_or_else(|faults| panic!("{faults}"))
}

/// The limit with these fields.
#[track_caller]
fn limit(fields: &str) -> LimitSpec {
    sound(&format!("policies: [{{name: p, limits: [{{name: l, {fields}}}]}}]\n")).policies[0].limits[0]
        .clone()
}

#[test]
fn a_limit_counts_requests_unless_it_says_otherwise() {
    let limit = limit("amount: 60, window: {sliding: 1m}");
    assert_eq!((&*limit.name, &limit.count, limit.each, limit.amount), ("l", &Count::Requests, 1, 60));
    assert_eq!(limit.window, Window::Sliding(Duration::from_secs(60)));
    assert!(limit.per.is_empty() && !limit.is_shadow && !limit.is_shared && !limit.cuts_streams);
    assert_eq!(limit.missing, Missing::Together);
}

#[test]
fn each_kind_of_count_has_its_unit() {
    for (fields, count, each, amount) in [
        ("count: TotalTokens, amount: 100000", Count::TotalTokens, 0, 100_000),
        ("count: OutputTokens, each: 5, amount: '7'", Count::OutputTokens, 5, 7),
        ("count: Cost, amount: '25.00', each: 0.001", Count::Cost, 1_000_000, 25_000_000_000),
        ("expression: 'output_tokens * 3u', amount: 9", Count::Expression("output_tokens * 3u".into()), 0, 9),
    ] {
        let limit = limit(&format!("{fields}, window: {{fixed: 1h}}"));
        assert_eq!((limit.count, limit.each, limit.amount), (count, each, amount), "{fields}");
    }
    let limit = limit("count: Concurrency, amount: 8");
    assert_eq!((limit.count, limit.each, limit.window), (Count::Concurrency, 1, Window::Now));
}

#[test]
fn windows_are_buckets_stretches_or_of_the_calendar() {
    for (written, window) in [
        ("tokenBucket: 1s", Window::TokenBucket(Duration::from_secs(1))),
        ("fixed: 720h", Window::Fixed(Duration::from_secs(30 * 86_400))),
        ("calendar: Day", Window::Calendar { period: Period::Day, zone: "UTC".into() }),
        (
            "calendar: Month, timeZone: europe/berlin",
            Window::Calendar { period: Period::Month, zone: "Europe/Berlin".into() },
        ),
        (
            "calendar: Week, weekStart: Sunday, timeZone: America/New_York",
            Window::Calendar { period: Period::Week { from_sunday: true }, zone: "America/New_York".into() },
        ),
        (
            "calendar: Week",
            Window::Calendar { period: Period::Week { from_sunday: false }, zone: "UTC".into() },
        ),
    ] {
        assert_eq!(limit(&format!("amount: 1, window: {{{written}}}")).window, window, "{written}");
    }
}

#[test]
fn there_is_a_counter_for_each_value_of_what_is_named() {
    let limit = limit(
        "amount: 1, window: {sliding: 1s}, missing: Deny, per: [consumer, 'tag:team', 'claim:org.id', model, route, \
         'header:X-User', 'query:u']",
    );
    let expected = [
        Dimension::Consumer,
        Dimension::Tag("team".into()),
        Dimension::Claim(ClaimPath::parse("org.id").expect("a claim")),
        Dimension::Model,
        Dimension::Route,
        Dimension::Header(HeaderName::from_static("x-user")),
        Dimension::Query("u".into()),
    ];
    assert_eq!((&*limit.per, limit.missing), (&expected[..], Missing::Deny));
    let limit = self::limit(
        "amount: 1, window: {sliding: 1s}, per: [targetModel, upstream, rule, listener, address, 'address:24/56', \
         'header:x-ai-eg-model', path]",
    );
    let address = |v4_bits, v6_bits| Dimension::Address { v4_bits, v6_bits };
    let expected = [
        Dimension::TargetModel,
        Dimension::Upstream,
        Dimension::Rule,
        Dimension::Listener,
        address(32, 128),
        address(24, 56),
        Dimension::Model,
        Dimension::Path,
    ];
    assert_eq!(*limit.per, expected);
}

#[test]
fn a_limit_can_be_for_some_requests() {
    let when = limit(
        "amount: 1, window: {sliding: 1s}, when: {methods: [POST], notMethods: [GET], models: [gpt-*], consumers: [a], \
         tags: {team: [x, z]}, addresses: [10.0.0.0/8], notAddresses: [10.1.0.0/16], headers: [{name: X-A, value: b}, \
         {name: x-c, type: Present, invert: true}], queryParams: [{name: d, type: RegularExpression, value: 'e|f'}], \
         paths: [{value: /v1/}, {type: Exact, value: /v1/models, invert: true}]}",
    )
    .when;
    assert_eq!((&*when.methods, &*when.other_methods), (&[Method::POST][..], &[Method::GET][..]));
    assert_eq!(when.models, Some(ModelNames::new(["gpt-*"])));
    assert_eq!(*when.consumers, ["a".into()]);
    assert_eq!(*when.tags, [("team".into(), ["x".into(), "z".into()].into())]);
    let range = |text| Cidr::parse(text).expect("a range");
    assert_eq!(*when.addresses, [range("10.0.0.0/8")]);
    assert_eq!(*when.other_addresses, [range("10.1.0.0/16")]);
    let header = HeaderName::from_static;
    let expected = [
        TextMatch { name: header("x-a"), value: Some(Comparison::Exact("b".into())), is_inverted: false },
        TextMatch { name: header("x-c"), value: None, is_inverted: true },
    ];
    assert_eq!(*when.headers, expected);
    let pattern = Pattern::new("e|f").expect("a pattern");
    let expected =
        [TextMatch { name: "d".into(), value: Some(Comparison::Regex(pattern)), is_inverted: false }];
    assert_eq!(*when.query, expected);
    let expected = [
        PathMatch { value: PathComparison::Prefix("/v1".into()), is_inverted: false },
        PathMatch { value: PathComparison::Exact("/v1/models".into()), is_inverted: true },
    ];
    assert_eq!(*when.paths, expected);
}

#[test]
fn consumers_have_amounts_and_a_priority_of_their_own() {
    let snapshot = sound(
        "consumers: [{name: a, limits: {tokens: 500000, money: '1.5'}, priority: -3}, {name: b}]\n\
         policies: [{name: p, limits: [{name: tokens, count: TotalTokens, amount: 1, window: {sliding: 1m}, per: \
         [consumer]}, {name: money, count: Cost, amount: 1, window: {calendar: Day}, per: [model, consumer]}]}]\n",
    );
    let consumer = &snapshot.consumers[0];
    let amounts: Vec<_> = consumer.limits.iter().map(|(name, amount)| (&**name, *amount)).collect();
    assert_eq!(amounts, [("money", 1_500_000_000), ("tokens", 500_000)]);
    assert_eq!(consumer.priority, Some(-3));
    assert_eq!((snapshot.consumers[1].limits.len(), snapshot.consumers[1].priority), (0, None));
}

#[test]
fn pools_and_backends_have_limits_of_what_is_asked_of_them() {
    let snapshot = sound(
        "policies: [{name: a, limits: [{name: l, amount: 1, window: {fixed: 1s}, per: [targetModel]}]}, {name: b, limits: \
         [{name: l, amount: 1, window: {fixed: 1s}}]}]\npools: [{name: p, policies: [b, a]}]\n\
         backends: [{name: c, policies: [a], endpoints: [{host: a.example, port: 80}]}]\n",
    );
    assert_eq!(*snapshot.pools[0].policies, [PolicyIndex(1), PolicyIndex(0)]);
    assert_eq!(*snapshot.backends[0].policies, [PolicyIndex(0)]);
    assert_eq!(snapshot.warnings().iter().filter(|fault| fault.path.starts_with("policies")).count(), 0);
}

#[test]
fn prices_are_of_models_and_grow_with_prompts() {
    let snapshot = sound(
        "pools: [{name: own}]\nprices:\n\
         - {models: [big, 'big-*'], upstream: own, input: '1.25', output: 10, request: '0.01', cachedInput: '0.125', tiers: \
         [{aboveInputTokens: 200000, input: '2.5', output: 15}, {aboveInputTokens: 500000, cachedInput: 2}]}\n\
         - {models: [small], per: Token, input: '0.000000075'}\n\
         pricesFile: secret:prices.yaml\n",
    );
    let price = &snapshot.prices[0];
    assert_eq!((price.upstream.as_deref(), price.request), (Some("own"), 10_000_000));
    let of = |tier: usize| {
        let tier = price.tiers[tier];
        [
            tier.above_input_tokens,
            tier.input,
            tier.cached_input,
            tier.cache_write,
            tier.output,
            tier.reasoning,
        ]
    };
    let nano = 1_000_000_000;
    assert_eq!(of(0), [0, nano * 5 / 4, nano / 8, nano * 5 / 4, nano * 10, nano * 10]);
    assert_eq!(of(1), [200_000, nano * 5 / 2, nano / 8, nano * 5 / 2, nano * 15, nano * 15]);
    assert_eq!(of(2), [500_000, nano * 5 / 2, nano * 2, nano * 5 / 2, nano * 15, nano * 15]);
    assert_eq!(
        (snapshot.prices[1].tiers[0].input, snapshot.prices[1].tiers[0].cached_input),
        (75_000_000, 75_000_000)
    );
    assert_eq!(snapshot.prices_file.as_deref(), Some(std::path::Path::new("s/prices.yaml")));
}

#[test]
fn a_store_makes_limits_shared_that_do_not_say_otherwise() {
    let snapshot = sound(
        "limitStore: {redis: {addresses: ['redis:6379', '[::1]:6379'], mode: Sentinel, primary: mymaster, database: 2, \
         username: u, passwordFile: secret:password, tls: {caFile: /ca.pem}, deadline: 5ms, keyPrefix: 'a:b', scope: \
         'ns.gw'}, onFailure: Closed}\npolicies: [{name: p, limits: [{name: a, amount: 1, window: {fixed: 1s}, sharedAs: x.y}, {name: b, shared: false, amount: \
         1, window: {fixed: 1s}}]}]\n",
    );
    let expected = LimitStore {
        redis: RedisSpec {
            addresses: ["redis:6379".into(), "[::1]:6379".into()].into(),
            mode: RedisMode::Sentinel("mymaster".into()),
            database: 2,
            username: Some("u".into()),
            password_file: Some("s/password".into()),
            tls: Some(RedisTls { ca_file: Some("/ca.pem".into()) }),
            deadline: Duration::from_millis(5),
            key_prefix: "a:b".into(),
            scope: Some("ns.gw".into()),
        },
        on_failure: OnStoreFailure::Closed,
    };
    assert_eq!(snapshot.limit_store, Some(expected));
    let shared: Vec<_> = snapshot.policies[0].limits.iter().map(|limit| limit.is_shared).collect();
    assert_eq!(shared, [true, false]);
    let owners = snapshot.policies[0].limits.iter().map(|limit| limit.shared_as.as_deref());
    assert_eq!(owners.collect::<Vec<_>>(), [Some("x.y"), None]);
    let store = sound("limitStore: {redis: {addresses: ['10.0.0.1:6379']}}\n").limit_store.expect("a store");
    assert_eq!((store.on_failure, store.redis.mode), (OnStoreFailure::LocalShare, RedisMode::Single));
    assert_eq!((store.redis.deadline, &*store.redis.key_prefix), (Duration::from_millis(20), "penstock"));
}

#[test]
fn an_amount_that_a_store_cannot_count_is_refused_unless_it_is_not_shared() {
    let document = |amount: &str, shared: bool| {
        format!(
            "{HEAD}{LISTENER}limitStore: {{redis: {{addresses: ['redis:6379']}}}}\npolicies: [{{name: p, limits: \
             [{{name: l, count: Cost, amount: {amount}, shared: {shared}, window: {{fixed: 1h}}}}]}}]\n"
        )
    };
    let compile = |amount, shared| Snapshot::compile(&document(amount, shared), &NoProfileCheck);
    assert!(compile("9007199", true).is_ok());
    assert!(compile("9007200", false).is_ok());
    let faults = compile("9007200", true).unwrap_err().to_string();
    assert!(
        faults.contains("policies[0].limits[0].amount") && faults.contains("9007199 dollars"),
        "{faults}"
    );
}
