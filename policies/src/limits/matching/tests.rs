use http::{HeaderName, HeaderValue, Method};
use penstock_config::{Cidr, Pattern};

use super::*;
use crate::limits::testing::{Request, consumer, identity};

fn is_for(when: &LimitMatch, request: &Request) -> bool {
    request.with(|ask| super::is_for(when, ask))
}

fn text<N>(name: N, value: Option<&str>, is_inverted: bool) -> TextMatch<N> {
    TextMatch { name, value: value.map(|value| Comparison::Exact(value.into())), is_inverted }
}

fn tier(values: &[&str]) -> Request {
    let mut request = Request::new();
    for value in values {
        request.headers.append("x-tier", HeaderValue::from_str(value).unwrap());
    }
    request
}

#[test]
fn a_limit_that_asks_nothing_is_for_all() {
    assert!(is_for(&LimitMatch::default(), &Request::new()));
}

#[test]
fn headers_match_by_one_value_and_lead_past_by_all_of_them() {
    let when = |value, is_inverted| LimitMatch {
        headers: [text(HeaderName::from_static("x-tier"), value, is_inverted)].into(),
        ..LimitMatch::default()
    };
    for (value, is_inverted, there, expected) in [
        (Some("free"), false, &["free"][..], true),
        (Some("free"), false, &["gold"], false),
        (Some("free"), false, &[], false),
        (Some("free"), false, &["gold", "free"], true),
        // Whoever is not gold is limited, and saying gold beside something else makes nobody gold.
        (Some("gold"), true, &["gold"], false),
        (Some("gold"), true, &["free"], true),
        (Some("gold"), true, &[], true),
        (Some("gold"), true, &["free", "gold"], true),
        (Some("gold"), true, &["gold", "gold"], false),
        (None, false, &["any"], true),
        (None, false, &[], false),
        (None, true, &["any"], false),
        (None, true, &[], true),
    ] {
        assert_eq!(
            is_for(&when(value, is_inverted), &tier(there)),
            expected,
            "{value:?} {is_inverted} {there:?}"
        );
    }
}

#[test]
fn expressions_match_whole_values() {
    let value = Some(Comparison::Regex(Pattern::new("gold|fr.*").unwrap()));
    let header = TextMatch { name: HeaderName::from_static("x-tier"), value, is_inverted: false };
    let when = LimitMatch { headers: [header].into(), ..LimitMatch::default() };
    for (there, expected) in [("gold", true), ("free", true), ("golden", false), ("a gold", false)] {
        assert_eq!(is_for(&when, &tier(&[there])), expected, "{there}");
    }
}

#[test]
fn parameters_of_the_query_are_found_however_they_are_encoded() {
    let when = LimitMatch { query: [text("u".into(), Some("a b"), false)].into(), ..LimitMatch::default() };
    for (query, expected) in
        [(Some("u=a%20b"), true), (Some("%75=a%20b&u=c"), true), (Some("u=a"), false), (None, false)]
    {
        assert_eq!(is_for(&when, &Request { query, ..Request::new() }), expected, "{query:?}");
    }
}

#[test]
fn paths_match_whole_or_by_segments() {
    let path = |value, is_inverted| LimitMatch {
        paths: [PathMatch { value, is_inverted }].into(),
        ..LimitMatch::default()
    };
    let exact = path(PathComparison::Exact("/v1".into()), false);
    let prefix = path(PathComparison::Prefix("/v1/".into()), false);
    let others = path(PathComparison::Prefix("/v1".into()), true);
    let all = path(PathComparison::Prefix("/".into()), false);
    let regex = path(PathComparison::Regex(Pattern::new("/v[0-9]+").unwrap()), false);
    for (asked, matches) in [
        ("/v1", [true, true, false, true, true]),
        ("/v1/chat", [false, true, false, true, false]),
        ("/v12", [false, false, true, true, true]),
        ("/", [false, false, true, true, false]),
        // However they are written.
        ("/v1/", [true, true, false, true, true]),
        ("//v1", [true, true, true, true, true]),
        ("/%761", [true, true, true, true, true]),
        ("/v1;x/chat", [false, true, true, true, false]),
    ] {
        let request = Request { path: asked, ..Request::new() };
        let found = [&exact, &prefix, &others, &all, &regex].map(|when| is_for(when, &request));
        assert_eq!(found, matches, "{asked}");
    }
}

#[test]
fn who_asks_has_the_name_and_the_tags_in_one_person() {
    let mut search = consumer("search");
    search.tags.insert("team".into(), "red".into());
    let mut other = consumer("other");
    other.tags.insert("team".into(), "blue".into());
    let request = Request { identities: vec![identity(search), identity(other)], ..Request::new() };
    let when = |name: &str, team: &str| LimitMatch {
        consumers: [name.into()].into(),
        tags: [("team".into(), [team.into()].into())].into(),
        ..LimitMatch::default()
    };
    assert!(is_for(&when("search", "red"), &request) && is_for(&when("other", "blue"), &request));
    assert!(!is_for(&when("search", "blue"), &request));
    assert!(!is_for(&when("search", "red"), &Request::new()));
}

#[test]
fn hiding_the_model_or_the_address_leads_past_no_limit() {
    let models = LimitMatch { models: Some(ModelNames::new(["gpt"])), ..LimitMatch::default() };
    let unknown = Request { model: None, ..Request::new() };
    let list = Request { model: None, of_model: Some(Model::List), ..Request::new() };
    assert!(is_for(&models, &Request::new()) && is_for(&models, &unknown));
    assert!(!is_for(&models, &list));
    assert!(!is_for(&models, &Request { model: Some("llama"), ..Request::new() }));

    let range: Box<[Cidr]> = [Cidr::parse("10.0.0.0/8").unwrap()].into();
    let within = LimitMatch { addresses: range.clone(), ..LimitMatch::default() };
    let without = LimitMatch { other_addresses: range, ..LimitMatch::default() };
    for (address, is_within, is_without) in
        [(Some("10.1.1.1"), true, false), (Some("11.1.1.1"), false, true), (None, true, true)]
    {
        let address = address.map(|address| address.parse().unwrap());
        let request = Request { address, ..Request::new() };
        assert_eq!((is_for(&within, &request), is_for(&without, &request)), (is_within, is_without));
    }
}

#[test]
fn methods_are_some_or_all_but_some() {
    let some = LimitMatch { methods: [Method::POST].into(), ..LimitMatch::default() };
    let others = LimitMatch { other_methods: [Method::POST].into(), ..LimitMatch::default() };
    let get = Request { method: Method::GET, ..Request::new() };
    assert!(is_for(&some, &Request::new()) && !is_for(&some, &get));
    assert!(!is_for(&others, &Request::new()) && is_for(&others, &get));
}

#[test]
fn the_model_of_the_body_stands_for_its_header() {
    let when = |value, is_inverted| LimitMatch {
        headers: [text(HeaderName::from_static("x-ai-eg-model"), value, is_inverted)].into(),
        ..LimitMatch::default()
    };
    let of = |model| Request { model, ..Request::new() };
    for (value, is_inverted, model, expected) in [
        (Some("gpt"), false, Some("gpt"), true),
        (Some("gpt"), false, Some("llama"), false),
        (Some("gpt"), true, Some("gpt"), false),
        (Some("gpt"), true, Some("llama"), true),
        (None, false, Some("gpt"), true),
        // What cannot be known leads past no limit.
        (Some("gpt"), false, None, true),
        (Some("gpt"), true, None, true),
    ] {
        assert_eq!(
            is_for(&when(value, is_inverted), &of(model)),
            expected,
            "{value:?} {is_inverted} {model:?}"
        );
    }
}

#[test]
fn of_what_an_upstream_is_asked_for_the_model_is_the_one_that_it_knows() {
    let when = LimitMatch { models: Some(ModelNames::new(["gpt-4o-2024"])), ..LimitMatch::default() };
    let of = |target_model| Request { model: Some("gpt"), target_model, ..Request::new() };
    assert!(is_for(&when, &of(Some("gpt-4o-2024"))));
    assert!(!is_for(&when, &of(Some("gpt-4o-2025"))));
    assert!(!is_for(&when, &of(None)));
}
