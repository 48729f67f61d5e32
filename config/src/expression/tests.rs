use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::consumer::Consumer;

/// What is known of a request.
#[derive(Debug)]
struct Asked {
    headers: HeaderMap,
    query: Option<&'static str>,
    path: &'static str,
    address: Option<IpAddr>,
    model: Option<&'static str>,
    tokens: Option<u64>,
    consumer: Consumer,
    claims: Option<serde_json::Value>,
    is_known: bool,
}

fn asked() -> Asked {
    let tags = BTreeMap::from([("team".into(), "search".into())]);
    Asked {
        headers: HeaderMap::new(),
        query: None,
        path: "/v1/chat/completions",
        address: Some("10.1.2.3".parse().unwrap()),
        model: Some("gpt-4o"),
        tokens: Some(100),
        consumer: Consumer {
            name: "ann".into(),
            keys: Box::default(),
            tags,
            models: None,
            limits: BTreeMap::new(),
            priority: None,
        },
        claims: None,
        is_known: true,
    }
}

fn with_headers(headers: &[(&str, &str)]) -> Asked {
    let pairs = headers.iter().map(|(name, value)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    });
    let mut map = HeaderMap::new();
    pairs.for_each(|(name, value)| {
        map.append(name, value);
    });
    Asked { headers: map, ..asked() }
}

fn is_met(expression: &Expression, asked: &Asked) -> Option<bool> {
    with_request(asked, |request| expression.is_met(request))
}

fn with_request<T>(asked: &Asked, look: impl FnOnce(&ExpressionRequest<'_>) -> T) -> T {
    let identity = ExpressionIdentity {
        consumer: &asked.consumer,
        by: if asked.claims.is_some() { "jwt" } else { "api_key" },
        provider: if asked.claims.is_some() { "company" } else { "" },
        claims: asked.claims.as_ref(),
    };
    look(&ExpressionRequest {
        method: &Method::POST,
        host: "llm.example",
        path: asked.path,
        query: asked.query,
        headers: &asked.headers,
        address: asked.address,
        port: 4711,
        model: asked.model,
        tokens: asked.tokens,
        identities: if asked.is_known { std::slice::from_ref(&identity) } else { &[] },
    })
}

fn parsed(source: &str) -> Expression {
    Expression::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn fault(source: &str) -> String {
    match Expression::parse(source) {
        Ok(_) => panic!("{source} is no fault"),
        Err(message) => message,
    }
}

#[test]
fn an_expression_can_ask_for_all_that_is_documented() {
    let mut asked = with_headers(&[("x-team", "search"), ("accept", "*/*")]);
    asked.query = Some("a=b");
    asked.claims = Some(json!({
        "sub": "ann", "groups": ["dev", "ops"], "level": 3, "ratio": 0.5, "is_admin": true, "org": {"unit": "x"}
    }));
    for source in [
        "method == 'POST' && request.method == method",
        "host == 'llm.example' && request.host == host",
        "path == '/v1/chat/completions' && request.url_path == path",
        "request.path == '/v1/chat/completions?a=b' && request.query == 'a=b'",
        "headers['x-team'] == 'search' && request.headers['x-team'] == 'search'",
        "'x-team' in headers && !('x-other' in headers) && size(headers) == 2",
        "headers.exists(name, name.startsWith('x-'))",
        "headers.accept == '*/*' && has(headers.accept) && !has(headers.other)",
        "address == '10.1.2.3' && source.address == '10.1.2.3:4711' && source.port == 4711",
        "model == 'gpt-4o' && model in ['gpt-4o', 'gpt-5']",
        "tokens <= 100",
        "identity.name == 'ann' && identity.by == 'jwt' && identity.provider == 'company'",
        "tags.team == 'search' && tags['team'] == 'search' && 'team' in tags && !has(tags.tier)",
        "claims.sub == 'ann' && claims['sub'] == 'ann' && claims.level >= 3 && claims.ratio < 1.0",
        "claims.is_admin && claims.org.unit == 'x' && 'dev' in claims.groups && claims.groups == ['dev', 'ops']",
        "claims_of.company.sub == 'ann' && !has(claims_of.other)",
        "claims.groups.exists(g, g == 'ops') && claims.groups.all(g, size(g) == 3)",
        "claims.groups.exists_one(g, g == 'ops') && size(claims.groups.filter(g, g.startsWith('d'))) == 1",
        "model.matches('^gpt-[0-9]') && !model.matches('^4') && matches(model, 'o$')",
        "(tokens > 1000 ? model == 'x' : model.endsWith('4o')) && int('3') + 1 == 4",
        "type(claims.sub) == string",
    ] {
        assert_eq!(is_met(&parsed(source), &asked), Some(true), "{source}");
    }
}

#[test]
fn what_a_request_does_not_have_cannot_be_told_unless_it_does_not_matter() {
    let unknown = Asked { model: None, tokens: None, address: None, is_known: false, ..asked() };
    for (source, told) in [
        ("model == 'x'", None),
        ("model != 'x'", None),
        ("tokens < 5", None),
        ("address == '10.1.2.3'", None),
        ("source.port == 1", None),
        ("headers['x-team'] == 'a'", None),
        ("tags.team == 'a'", None),
        ("claims.sub == 'a'", None),
        ("identity.name == ''", Some(true)),
        ("path.startsWith('/v1') || model == 'x'", Some(true)),
        ("model == 'x' || path.startsWith('/v1')", Some(true)),
        ("model == 'x' && path == '/'", Some(false)),
        ("'x-team' in headers && headers['x-team'] == 'a'", Some(false)),
        ("claims.size() == 0 && tags.size() == 0", Some(true)),
    ] {
        assert_eq!(is_met(&parsed(source), &unknown), told, "{source}");
    }
}

#[test]
fn a_header_that_is_there_several_times_or_is_no_text_cannot_be_told() {
    let of = parsed("headers['x-team'] == 'a'");
    assert_eq!(is_met(&of, &with_headers(&[("x-team", "a"), ("x-team", "a")])), None);
    assert_eq!(is_met(&of, &with_headers(&[("x-team", "b"), ("x-team", "a")])), None);
    assert_eq!(is_met(&of, &with_headers(&[("X-Team", "a")])), Some(true));
    let mut odd = asked();
    odd.headers.insert("x-team", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(is_met(&of, &odd), None);
}

#[test]
fn what_a_claim_turns_out_to_be_cannot_be_told_by_another_type() {
    let of = parsed("claims.level > 2");
    for (level, told) in [(json!(3), Some(true)), (json!("3"), None), (json!(null), None), (json!([3]), None)]
    {
        let asked = Asked { claims: Some(json!({ "level": level })), ..asked() };
        assert_eq!(is_met(&of, &asked), told, "{level}");
    }
    let asked = Asked { claims: Some(json!({ "is_admin": "true" })), ..asked() };
    assert_eq!(is_met(&parsed("claims.is_admin"), &asked), None);
}

#[test]
fn what_is_wrong_is_told_before_a_request_comes() {
    for (source, message) in [
        ("", "expecting expression"),
        ("method ==", "column"),
        ("method = 'a'", "column"),
        ("nothing == 1", "there is no variable \"nothing\""),
        ("mehtod == 'POST'", "did you mean \"method\"?"),
        ("request.time > 1", "request has no \"time\""),
        ("request == 1", "request stands before one of its members"),
        ("has(request.query)", "is always there"),
        ("connection.mtls", "there is no variable \"connection\""),
        ("metadata.filter_metadata['a'] == 'b'", "there is no variable \"metadata\""),
        ("path.lowerAscii() == 'a'", "there is no function \"lowerAscii\""),
        ("false && path.nothing()", "there is no function \"nothing\""),
        ("path", "comes to a value of the type string"),
        ("1 + 1", "comes to a value of the type int"),
        ("path == 'a' || path", "comes to a value of the type string"),
        ("path == 'a' ? true : 1", "comes to a value of the type int"),
        ("path > 1", "takes no (string, int)"),
        ("headers['x'] > 1", "takes no (string, int)"),
        ("true || path.startsWith(1)", "takes no (string, int)"),
        ("!path", "comes to a value of the type string"),
        ("path.matches(method)", "has to be written out"),
        ("path.matches('(')", "the pattern is none"),
        ("path.matches('a{1000}{1000}')", "the pattern is too large"),
        ("path.matches()", "lacks its pattern"),
        ("matches('a')", "a text and a pattern"),
        ("@0 == 1", "column"),
        ("[1].exists(x, [1].exists(y, x == y))", "within another"),
        ("size([1].map(x, x + x)) > 0", "there is no map"),
        ("size([1].map(x, x > 0, x + x)) > 0", "there is no map"),
        ("[1].exists(model, model == 1)", "is a variable already"),
        ("Request{path: 'a'}.path == 'a'", "there is no"),
    ] {
        let told = fault(source);
        assert!(told.contains(message), "{source}: {told}");
        assert!(!told.contains('\n'), "{source}: {told}");
    }
}

#[test]
fn what_is_deep_or_long_is_refused_and_ends_nothing() {
    let nested = |open: &str, close: &str, n| format!("{}true{}", open.repeat(n), close.repeat(n));
    for source in [
        nested("(", ")", 2_000),
        nested("[", "]", 100),
        nested("{1:", "}", 100),
        format!("1{}==1", "+1".repeat(1_000)),
        format!("path{}", ".a".repeat(500)),
        format!("path{}", ".a()".repeat(250)),
        format!("claims{}", "[0]".repeat(500)),
        format!("true{}", "==true".repeat(500)),
        format!("true{}", " in [true]".repeat(200)),
        format!("{}true", "true?true:".repeat(300)),
        format!("true{}", " && true".repeat(1_000)),
        format!("true{}", " && [1].all(x, x > 0)".repeat(9)),
        format!("path == '{}'", "a".repeat(5_000)),
        format!("true{}", " && path.matches('a')".repeat(17)),
    ] {
        fault(&source);
    }
    assert!(Expression::parse(&format!("true{}", " && true".repeat(200))).is_ok());
    assert!(Expression::parse(&nested("(", ")", 20)).is_ok());
    assert!(Expression::parse(&format!("1{}==9", "+1".repeat(30))).is_ok());
}

#[test]
fn what_is_looked_at_is_known() {
    let uses = |source: &str| {
        let expression = parsed(source);
        (expression.uses_body(), expression.uses_path(), expression.uses_address())
    };
    assert_eq!(uses("method == 'POST' && tags.team == 'a' && claims.path == 'b'"), (false, false, false));
    assert_eq!(uses("true || model == 'a'"), (true, false, false));
    assert_eq!(uses("tokens > 5"), (true, false, false));
    assert_eq!(uses("request.path == '/'"), (false, true, false));
    assert_eq!(uses("path == '/'"), (false, true, false));
    assert_eq!(uses("[1].exists(x, address == 'a')"), (false, false, true));
    assert_eq!(uses("source.address == 'a'"), (false, false, true));
}

#[test]
fn expressions_are_equal_if_written_alike() {
    assert_eq!(parsed("path == '/'"), parsed("path == '/'"));
    assert_ne!(parsed("path == '/'"), parsed("path  == '/'"));
    assert_eq!(format!("{:?}", parsed("true")), "Expression(\"true\")");
}

proptest! {
    /// Whatever is written, it is an expression or a fault, and whatever is asked of an expression, it answers.
    #[test]
    fn nothing_ends_in_a_panic(
        source in r#"((path|headers|claims|tokens|model|tags|x|true|1|-1|9223372036854775807|'a'|b'\\xff'|1\.5|1u|\[|\]|\{|\}|\(|\)|\.|,|:|\?| in | && | \|\| |==|!=|<|\+|-|\*|/|%|!|matches|size|exists|all|filter|map|has|int|string|bytes|dyn|type|\\|"|é|\x00) ?){1,14}"#,
        level in any::<i64>(),
    ) {
        if let Ok(expression) = Expression::parse(&source) {
            let claims = Some(json!({ "a": level, "x": ["1", 1, null, {"a": 1.5}] }));
            is_met(&expression, &Asked { claims, ..with_headers(&[("a", "1"), ("x", "é")]) });
            is_met(&expression, &Asked { model: None, tokens: None, address: None, is_known: false, ..asked() });
        }
    }

    #[test]
    fn no_text_ends_in_a_panic(source in any::<String>()) {
        let _ = Expression::parse(&source);
    }
}

/// Texts that requests have in expressions of the common kind.
const TEXTS: [&str; 14] = [
    "method",
    "request.host",
    "path",
    "request.url_path",
    "request.query",
    "model",
    "identity.name",
    "identity.by",
    "identity.provider",
    "tags.team",
    "tags['tier']",
    "claims.sub",
    "headers['x-team']",
    "request.headers['x-other']",
];

const WRITTEN: [&str; 7] = ["''", "'ann'", "'gpt-4o'", "'gpt'", "'search'", "'POST'", "'company'"];

fn plain_test() -> impl Strategy<Value = String> {
    let text = || proptest::sample::select([TEXTS.as_slice(), WRITTEN.as_slice()].concat());
    let list = proptest::collection::vec(proptest::sample::select(WRITTEN.as_slice()), 0..4);
    prop_oneof![
        (text(), proptest::sample::select(vec!["==", "!="]), text())
            .prop_map(|(a, by, b)| format!("{a} {by} {b}")),
        (text(), proptest::sample::select(vec!["startsWith", "endsWith", "contains"]), text())
            .prop_map(|(a, by, b)| format!("{a}.{by}({b})")),
        (text(), list).prop_map(|(text, list)| format!("{text} in [{}]", list.join(", "))),
        proptest::sample::select(vec!["'x-team' in headers", "'x-other' in request.headers"])
            .prop_map(str::to_owned),
        (proptest::sample::select(vec!["<", "<=", ">", ">=", "==", "!="]), 99..102)
            .prop_map(|(by, number)| format!("tokens {by} {number}")),
    ]
}

fn plain_expression() -> impl Strategy<Value = String> {
    plain_test().prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

/// Requests that have what is asked for, lack it, or have it in a form that cannot be told.
fn any_asked() -> impl Strategy<Value = Asked> {
    let headers = proptest::collection::vec(
        (
            proptest::sample::select(vec!["x-team", "x-other"]),
            proptest::sample::select(vec!["search", "", "ann"]),
        ),
        0..3,
    );
    let claims = proptest::sample::select(vec![
        None,
        Some(json!({"sub": "ann"})),
        Some(json!({"sub": 1})),
        Some(json!({})),
    ]);
    let model = proptest::sample::select(vec![None, Some("gpt-4o"), Some("ann")]);
    let tokens = proptest::option::of(99_u64..102);
    (headers, claims, model, tokens, any::<bool>(), any::<bool>()).prop_map(
        |(headers, claims, model, tokens, is_known, has_query)| Asked {
            claims,
            model,
            tokens,
            is_known,
            query: has_query.then_some("search"),
            ..with_headers(&headers)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_needs_no_interpreter_comes_to_what_the_interpreter_says(source in plain_expression(), asked in any_asked()) {
        // Some come to the same whatever is asked, which is a fault of the document.
        let Ok(expression) = Expression::parse(&source) else { return Ok(()) };
        prop_assert!(expression.program.plain.is_some(), "{} is not plain", source);
        let by_interpreter = with_request(&asked, |request| expression.is_met_by_interpreter(request));
        let by_plain = with_request(&asked, |request| expression.program.plain.as_ref().unwrap().is_met(request));
        prop_assert!(by_plain.is_none() || by_plain == by_interpreter, "{}: {:?}, {:?}", source, by_plain, by_interpreter);
        prop_assert_eq!(is_met(&expression, &asked), by_interpreter, "{}", source);
    }
}

#[test]
fn common_conditions_need_no_interpreter_and_others_have_one() {
    for (source, is_plain) in [
        ("model.startsWith('gpt-') && tags.team == 'search'", true),
        ("identity.name in ['ann', 'bob'] || !(path == '/v1/models')", true),
        ("model.matches('^gpt')", false),
        ("claims.level >= 3", false),
        ("headers.exists(name, name == 'x')", false),
        ("request.path == '/'", false),
    ] {
        let expression = parsed(source);
        assert_eq!(expression.program.plain.is_some(), is_plain, "{source}");
    }
    let told = parsed("model.startsWith('gpt-') && tags.team == 'search'");
    let plain =
        |asked: &Asked| with_request(asked, |request| told.program.plain.as_ref().unwrap().is_met(request));
    assert_eq!(plain(&asked()), Some(true));
    assert_eq!(plain(&Asked { model: None, ..asked() }), None);
}
