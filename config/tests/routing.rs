//! The route table against a plain reading of the rules, and the rules of precedence one by one.

mod oracle;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use penstock_config::raw::{
    ApiVersion, Document, Kind, RawHeaderMatch, RawListener, RawMatch, RawMethod, RawPathMatch,
    RawPathMatchType, RawQueryParamMatch, RawRoute, RawRule, RawTarget, RawValueMatchType,
};
use penstock_config::{Address, ListenerIndex, Lookup, NoProfileCheck, RequestModel, RouteRequest, Snapshot};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use oracle::Answer;

/// A document with these routes and one pool.
fn compile(routes: &str) -> Snapshot {
    let text = format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlisteners: [{{name: http, address: '127.0.0.1:0'}}]\n\
         pools: [{{name: p}}]\nroutes:\n{routes}"
    );
    Snapshot::compile(&text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// What a request finds, as `route/rule`, or the name of the outcome.
fn found(
    snapshot: &Snapshot,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    model: RequestModel<'_>,
) -> String {
    let uri: http::Uri = url.parse().expect("a URL");
    let method: Method = method.parse().expect("a method");
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (HeaderName::try_from(*name).expect("a name"), HeaderValue::try_from(*value).expect("a value"))
        })
        .collect();
    let request = RouteRequest {
        host: uri.authority().expect("a host").as_str(),
        path: uri.path(),
        query: uri.query(),
        method: &method,
        headers: &headers,
        model,
    };
    match snapshot.route(ListenerIndex(0), &request) {
        Lookup::Rule(matched) => format!("{}/{}", matched.rule.route, matched.rule.name),
        Lookup::NeedsModel => "needs model".to_owned(),
        Lookup::UnknownModel => "unknown model".to_owned(),
        Lookup::NoRoute => "no route".to_owned(),
    }
}

fn get(snapshot: &Snapshot, url: &str) -> String {
    found(snapshot, "GET", url, &[], RequestModel::Absent)
}

#[test]
fn the_most_specific_host_wins() {
    let snapshot = compile(
        "- {name: any, rules: [{targets: [{pool: p}]}]}\n\
         - {name: wide, hostnames: ['*.test'], rules: [{targets: [{pool: p}]}]}\n\
         - {name: narrow, hostnames: ['*.a.test'], rules: [{targets: [{pool: p}]}]}\n\
         - {name: exact, hostnames: [x.a.test], rules: [{targets: [{pool: p}]}]}\n",
    );
    for (url, expected) in [
        ("http://x.a.test/", "exact/0"),
        ("http://X.A.TEST.:8080/", "exact/0"),
        ("http://y.a.test/", "narrow/0"),
        ("http://z.y.a.test/", "narrow/0"),
        ("http://a.test/", "wide/0"),
        ("http://test/", "any/0"),
        ("http://xtest/", "any/0"),
        ("http://[::1]:80/", "any/0"),
    ] {
        assert_eq!(get(&snapshot, url), expected, "{url}");
    }
}

#[test]
fn paths_go_exact_then_longest_prefix_then_pattern() {
    let snapshot = compile(
        "- name: r\n  rules:\n\
         \x20 - {name: pattern, matches: [{path: {type: RegularExpression, value: '/v[0-9]+/.*'}}], targets: [{pool: p}]}\n\
         \x20 - {name: short, matches: [{path: {value: /v1}}], targets: [{pool: p}]}\n\
         \x20 - {name: long, matches: [{path: {value: /v1/chat/}}], targets: [{pool: p}]}\n\
         \x20 - {name: exact, matches: [{path: {type: Exact, value: /v1/chat}}], targets: [{pool: p}]}\n",
    );
    for (path, expected) in [
        ("/v1/chat", "r/exact"),
        ("/v1/chat/", "r/long"),
        ("/v1/chat/x", "r/long"),
        ("/v1/chats", "r/short"),
        ("/v1", "r/short"),
        ("/v1beta", "no route"),
        ("/v2/x", "r/pattern"),
        ("/x/v2/x", "no route"),
        ("/V1", "no route"),
    ] {
        assert_eq!(get(&snapshot, &format!("http://h{path}")), expected, "{path}");
    }
}

#[test]
fn then_method_then_headers_then_parameters_then_order() {
    let snapshot = compile(
        "- name: r\n  rules:\n\
         \x20 - {name: first, targets: [{pool: p}]}\n\
         \x20 - {name: second, targets: [{pool: p}]}\n\
         \x20 - {name: param, matches: [{queryParams: [{name: q, value: a b}]}], targets: [{pool: p}]}\n\
         \x20 - {name: one, matches: [{headers: [{name: x-a, value: '1'}]}], targets: [{pool: p}]}\n\
         \x20 - {name: two, matches: [{headers: [{name: x-a, value: '1'}, {name: x-b, value: '1'}]}], targets: [{pool: p}]}\n\
         \x20 - {name: method, matches: [{method: POST}], targets: [{pool: p}]}\n",
    );
    let ask =
        |method, url, headers: &[(&str, &str)]| found(&snapshot, method, url, headers, RequestModel::Absent);
    assert_eq!(ask("GET", "http://h/", &[]), "r/first");
    assert_eq!(ask("GET", "http://h/?q=a+b", &[]), "r/param");
    assert_eq!(ask("GET", "http://h/?z&%71=a%20b&q=c", &[]), "r/param");
    assert_eq!(ask("GET", "http://h/?q=c&q=a+b", &[]), "r/first");
    assert_eq!(ask("GET", "http://h/?q=a+b", &[("X-A", "1")]), "r/one");
    assert_eq!(ask("GET", "http://h/", &[("x-a", "1"), ("x-b", "1")]), "r/two");
    assert_eq!(ask("GET", "http://h/", &[("x-a", "1"), ("x-a", "1")]), "r/first");
    assert_eq!(ask("POST", "http://h/", &[("x-a", "1"), ("x-b", "1")]), "r/method");
}

#[test]
fn a_repeated_header_counts_as_its_values_joined() {
    let snapshot = compile(
        "- name: r\n  rules:\n\
         \x20 - {name: exact, matches: [{headers: [{name: x-a, value: '1,2,3'}]}], targets: [{pool: p}]}\n\
         \x20 - {name: pattern, matches: [{headers: [{type: RegularExpression, name: x-a, value: '(.*,)?9(,.*)?'}]}], targets: [{pool: p}]}\n",
    );
    let ask = |headers: &[(&str, &str)]| found(&snapshot, "GET", "http://h/", headers, RequestModel::Absent);
    assert_eq!(ask(&[("x-a", "1"), ("x-a", "2"), ("x-a", "3")]), "r/exact");
    assert_eq!(ask(&[("x-a", "8"), ("x-a", "9")]), "r/pattern");
    assert_eq!(ask(&[("x-a", "89")]), "no route");
}

#[test]
fn the_body_names_the_model_and_no_header_does() {
    let snapshot = compile(
        "- name: r\n  rules:\n\
         \x20 - {name: llama, matches: [{headers: [{name: X-AI-EG-Model, value: llama}]}], targets: [{pool: p}]}\n\
         \x20 - {name: many, models: [m1, m2], matches: [{path: {value: /a}}, {path: {value: /b}}], targets: [{pool: p}]}\n\
         \x20 - {name: tuned, matches: [{headers: [{type: RegularExpression, name: x-ai-eg-model, value: 'ft:.+'}]}], targets: [{pool: p}]}\n\
         \x20 - {name: health, matches: [{path: {type: Exact, value: /healthz}}], targets: [{pool: p}]}\n",
    );
    let ask = |path: &str, headers: &[(&str, &str)], model| {
        found(&snapshot, "POST", &format!("http://h{path}"), headers, model)
    };
    assert_eq!(ask("/", &[], RequestModel::Named("llama")), "r/llama");
    assert_eq!(ask("/", &[], RequestModel::Named("ft:x")), "r/tuned");
    assert_eq!(ask("/b/x", &[], RequestModel::Named("m2")), "r/many");
    assert_eq!(ask("/c", &[], RequestModel::Named("m2")), "unknown model");
    assert_eq!(ask("/", &[], RequestModel::Named("xft:")), "unknown model");
    assert_eq!(ask("/", &[], RequestModel::Unread), "needs model");
    assert_eq!(ask("/healthz", &[], RequestModel::Unread), "r/health");
    let forged = [("x-ai-eg-model", "llama")];
    assert_eq!(ask("/", &forged, RequestModel::Named("other")), "unknown model");
    assert_eq!(ask("/", &forged, RequestModel::Absent), "unknown model");
}

#[test]
fn the_model_is_not_asked_for_where_it_cannot_decide() {
    let snapshot = compile(
        "- name: r\n  rules:\n\
         \x20 - {name: posted, matches: [{method: POST}], targets: [{pool: p}]}\n\
         \x20 - {name: model, matches: [{headers: [{name: x-ai-eg-model, value: m}]}], targets: [{pool: p}]}\n",
    );
    assert_eq!(found(&snapshot, "POST", "http://h/", &[], RequestModel::Unread), "r/posted");
    assert_eq!(found(&snapshot, "GET", "http://h/", &[], RequestModel::Unread), "needs model");
}

#[test]
fn models_are_those_of_the_host_and_the_listener() {
    let text = "
apiVersion: penstock.dev/v1alpha1
kind: RoutingConfig
listeners:
  - {name: a, address: '127.0.0.1:0'}
  - {name: b, address: '127.0.0.1:0', hostname: '*.test'}
pools: [{name: p}]
routes:
  - {name: any, rules: [{models: [m1, m2], targets: [{pool: p}]}]}
  - name: host
    hostnames: [x.test]
    modelsOwnedBy: Someone
    modelsCreatedAt: '1970-01-01T00:01:00Z'
    rules:
      - models: [m3, m1]
        targets: [{pool: p}]
      - matches: [{headers: [{type: RegularExpression, name: x-ai-eg-model, value: '.*'}]}]
        targets: [{pool: p}]
  - {name: drained, rules: [{models: [m9], targets: [{pool: p, weight: 0}]}]}
  - {name: other, listeners: [b], hostnames: [y.test], rules: [{models: [m4], targets: [{pool: p}]}]}
";
    let snapshot = Snapshot::compile(text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"));
    let ids = |listener, host| {
        snapshot.models(ListenerIndex(listener), host).iter().map(|m| m.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(ids(0, "z"), ["m1", "m2"]);
    assert_eq!(ids(0, "x.test:80"), ["m1", "m2", "m3"]);
    assert_eq!(ids(0, "y.test"), ["m1", "m2"]);
    assert_eq!(ids(1, "Y.test"), ["m1", "m2", "m4"]);
    assert_eq!(ids(1, "z"), [""; 0]);
    assert_eq!(ids(9, "z"), [""; 0]);
    let third = snapshot.models(ListenerIndex(0), "x.test")[2];
    assert_eq!((&*third.owned_by, third.created), ("Someone", 60));
}

fn value_match(
    values: &'static [(bool, &'static str)],
) -> impl Strategy<Value = (RawValueMatchType, String)> {
    prop::sample::select(values).prop_map(|(is_pattern, value)| {
        let kind = if is_pattern { RawValueMatchType::RegularExpression } else { RawValueMatchType::Exact };
        (kind, value.to_owned())
    })
}

fn path_match() -> impl Strategy<Value = Option<RawPathMatch>> {
    use RawPathMatchType::{Exact, PathPrefix, RegularExpression};
    let paths = [
        (Exact, "/"),
        (Exact, "/a"),
        (Exact, "/a/b"),
        (Exact, "/a/"),
        (PathPrefix, "/"),
        (PathPrefix, "/a"),
        (PathPrefix, "/a/"),
        (PathPrefix, "/a/b"),
        (PathPrefix, "/ab"),
        (RegularExpression, "/a.*"),
        (RegularExpression, "/[ab]"),
        (RegularExpression, ".*"),
    ];
    prop::option::of(
        prop::sample::select(paths.to_vec())
            .prop_map(|(kind, value)| RawPathMatch { kind, value: value.to_owned() }),
    )
}

fn one_match() -> impl Strategy<Value = RawMatch> {
    let header = |name: &'static str, values| {
        prop::option::weighted(
            0.3,
            value_match(values).prop_map(move |(kind, value)| RawHeaderMatch {
                kind,
                name: name.to_owned(),
                value,
            }),
        )
    };
    let headers = (
        header("x-a", &[(false, "1"), (false, "2"), (true, "[12]"), (false, "1,2")]),
        header("X-B", &[(false, "1"), (true, ".*")]),
        header("x-ai-eg-model", &[(false, "m1"), (false, "m2"), (true, "m.")]),
    )
        .prop_map(|(a, b, model)| a.into_iter().chain(b).chain(model).collect());
    let param = |name: &'static str| {
        prop::option::weighted(
            0.2,
            value_match(&[(false, "1"), (false, "2"), (true, "[23]")])
                .prop_map(move |(kind, value)| RawQueryParamMatch { kind, name: name.to_owned(), value }),
        )
    };
    let params = (param("q"), param("r")).prop_map(|(q, r)| q.into_iter().chain(r).collect());
    let method = prop::option::weighted(0.3, prop::sample::select(vec![RawMethod::Get, RawMethod::Post]));
    (path_match(), headers, params, method).prop_map(|(path, headers, query_params, method)| RawMatch {
        path,
        headers,
        query_params,
        method,
    })
}

fn rule() -> impl Strategy<Value = RawRule> {
    let models = prop_oneof![3 => Just(vec![]), 1 => Just(vec!["m1"]), 1 => Just(vec!["m2", "m3"])];
    (prop::collection::vec(one_match(), 0..3), models).prop_map(|(matches, models)| {
        let has_model = matches.iter().flat_map(|m| &m.headers).any(|header| header.name == "x-ai-eg-model");
        let models = if has_model { vec![] } else { models.into_iter().map(str::to_owned).collect() };
        let target = RawTarget { pool: Some("p".to_owned()), ..RawTarget::default() };
        RawRule { matches, models, targets: vec![target], ..RawRule::default() }
    })
}

fn document() -> impl Strategy<Value = Document> {
    let hosts = prop::sample::subsequence(vec!["a.test", "b.a.test", "*.test", "*.a.test"], 0..3);
    let listeners = prop::sample::subsequence(vec!["open", "closed"], 0..=2);
    let route = (hosts, listeners, prop::collection::vec(rule(), 1..5));
    prop::collection::vec(route, 0..5).prop_map(|routes| {
        let listener = |name: &str, hostname: Option<&str>| RawListener {
            hostname: hostname.map(str::to_owned),
            ..RawListener::new(name, Address::parse("127.0.0.1:0").expect("an address"))
        };
        let strings = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        Document {
            api_version: ApiVersion::V1Alpha1,
            kind: Kind::RoutingConfig,
            metadata: Default::default(),
            replicas: 1,
            secrets_from: None,
            listeners: vec![listener("open", None), listener("closed", Some("*.test"))],
            routes: routes
                .into_iter()
                .enumerate()
                .map(|(index, (hostnames, listeners, rules))| RawRoute {
                    name: format!("r{index}"),
                    listeners: strings(listeners),
                    hostnames: strings(hostnames),
                    models_owned_by: "someone".to_owned(),
                    models_created_at: None,
                    rules,
                })
                .collect(),
            consumers: vec![],
            policies: vec![],
            prices: vec![],
            prices_file: None,
            limit_store: None,
            models: vec![],
            pools: serde_json::from_str(r#"[{"name": "p"}]"#).expect("a pool"),
            backends: vec![],
            limits: Default::default(),
            peek: Default::default(),
            access_log: Default::default(),
            telemetry: Default::default(),
            admin: Default::default(),
            shutdown: Default::default(),
        }
    })
}

/// A request: host, path, query, method, headers, model (`None` is none).
#[derive(Debug, Clone)]
struct Asked {
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    method: Method,
    headers: HeaderMap,
    model: Option<&'static str>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let host = prop::sample::select(vec!["a.test", "b.a.test", "c.a.test", "c.test", "x", "A.TEST:80", ""]);
    let path = prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/abc", "//", "*"]);
    let query =
        prop::option::of(prop::sample::select(vec!["q=1", "q=2&r=1", "r=3&q=1&q=2", "%71=1", "", "q"]));
    let method = prop::sample::select(vec![Method::GET, Method::POST, Method::PUT]);
    let names = prop::sample::select(vec!["x-a", "x-b", "x-ai-eg-model", "x-c"]);
    let header = (names, prop::sample::select(vec!["1", "2", "m1"]));
    let headers = prop::collection::vec(header, 0..4).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    });
    let model = prop::option::of(prop::sample::select(vec!["m1", "m2", "m3", "mx", "other", ""]));
    (host, path, query, method, headers, model).prop_map(|(host, path, query, method, headers, model)| {
        Asked { host, path, query, method, headers, model }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_table_answers_as_a_plain_reading_of_the_rules(
        document in document(),
        requests in prop::collection::vec(asked(), 20),
        listener in 0_usize..2,
        is_unread in any::<bool>(),
    ) {
        let text = serde_json::to_string(&document).expect("it can be written");
        let snapshot = Snapshot::compile(&text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        for asked in &requests {
            let model = match asked.model {
                _ if is_unread => RequestModel::Unread,
                Some(model) => RequestModel::Named(model),
                None => RequestModel::Absent,
            };
            let request = RouteRequest {
                host: asked.host,
                path: asked.path,
                query: asked.query,
                method: &asked.method,
                headers: &asked.headers,
                model,
            };
            let answer = match snapshot.route(ListenerIndex(listener), &request) {
                Lookup::Rule(matched) => Answer::Rule(matched.rule.index, matched.prefix.map(str::to_owned)),
                Lookup::NeedsModel => Answer::NeedsModel,
                Lookup::UnknownModel => Answer::UnknownModel,
                Lookup::NoRoute => Answer::NoRoute,
            };
            prop_assert_eq!(answer, oracle::route(&document, listener, &request), "{:?}", asked);
        }
    }
}
