use std::collections::HashSet;

use http::HeaderValue;
use penstock_config::ClaimPath;
use serde_json::json;

use super::*;
use crate::limits::testing::{Request, consumer, identity};

const ID: LimitId = [7; 16];

fn key(per: &[Dimension], request: &Request) -> Key {
    request.with(|ask| key_of(&ID, per, Missing::Together, ask)).unwrap()
}

fn header(name: &'static str) -> Dimension {
    Dimension::Header(HeaderName::from_static(name))
}

fn with_headers(headers: &[(&'static str, &str)]) -> Request {
    let mut request = Request::new();
    for (name, value) in headers {
        request.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    request
}

#[test]
fn requests_with_other_values_have_other_keys_however_the_values_are_divided() {
    let per = [header("x-a"), header("x-b")];
    let long = "x".repeat(65);
    let longer = "x".repeat(200);
    let keys: HashSet<Key> = [
        with_headers(&[]),
        with_headers(&[("x-a", "")]),
        with_headers(&[("x-b", "")]),
        with_headers(&[("x-a", ""), ("x-b", "")]),
        with_headers(&[("x-a", "ab"), ("x-b", "c")]),
        with_headers(&[("x-a", "a"), ("x-b", "bc")]),
        with_headers(&[("x-a", "abc")]),
        with_headers(&[("x-b", "abc")]),
        with_headers(&[("x-a", &long)]),
        with_headers(&[("x-a", &longer)]),
        with_headers(&[("x-a", &long), ("x-b", &long)]),
    ]
    .iter()
    .map(|request| key(&per, request))
    .collect();
    assert_eq!(keys.len(), 11);
    assert!(keys.iter().all(|key| !key.starts_with(&overflow_key(&ID)) && key.len() <= 16 + 2 * 33 + 64));
}

#[test]
fn several_headers_of_a_name_are_one_with_commas() {
    let per = [header("x-a")];
    let twice = with_headers(&[("x-a", "b"), ("x-a", "c")]);
    assert_eq!(key(&per, &twice), key(&per, &with_headers(&[("x-a", "b,c")])));
}

#[test]
fn who_asks_is_the_first_who_has_a_name_a_tag_or_a_claim() {
    let mut tagged = consumer("second");
    tagged.tags.insert("team".into(), "search".into());
    let mut by_token = identity(consumer("third"));
    by_token.claims = Some(std::sync::Arc::new(json!({"org": {"id": 4711}, "empty": "", "none": null})));
    let request =
        Request { identities: vec![identity(consumer("")), identity(tagged), by_token], ..Request::new() };
    let claim = |path: &str| Dimension::Claim(ClaimPath::parse(path).unwrap());
    let text = |dimension| key(&[dimension], &request)[16..].to_vec();
    assert_eq!(text(Dimension::Consumer), b"\x06second");
    assert_eq!(text(Dimension::Tag("team".into())), b"\x06search");
    assert_eq!(text(claim("org.id")), b"\x044711");
    for missing in [claim("empty"), claim("none"), claim("org.name"), Dimension::Tag("tier".into())] {
        assert_eq!(text(missing), [MISSING]);
    }
}

#[test]
fn addresses_count_by_their_first_bits_and_mapped_ones_as_themselves() {
    let of = |address: &str, v4_bits, v6_bits| {
        let request = Request { address: Some(address.parse().unwrap()), ..Request::new() };
        key(&[Dimension::Address { v4_bits, v6_bits }], &request)
    };
    assert_eq!(of("10.1.2.3", 24, 56), of("10.1.2.200", 24, 56));
    assert_eq!(of("10.1.2.3", 24, 56), of("::ffff:10.1.2.9", 24, 56));
    assert_ne!(of("10.1.2.3", 32, 128), of("10.1.2.4", 32, 128));
    assert_eq!(of("10.1.2.3", 0, 0), of("192.168.0.1", 0, 0));
    assert_eq!(of("2001:db8::1", 24, 56), of("2001:db8:0:ff::1", 24, 56));
    assert_ne!(of("2001:db8::1", 24, 56), of("2001:db8:0:100::1", 24, 56));
}

#[test]
fn each_dimension_is_what_the_request_has_of_it() {
    let request = Request {
        target_model: Some("llama"),
        upstream: Some("pool"),
        host: "API.Example.com",
        query: Some("a=1&u=%41b&u=2"),
        ..Request::new()
    };
    for (dimension, value) in [
        (Dimension::Model, &b"\x03gpt"[..]),
        (Dimension::TargetModel, b"\x05llama"),
        (Dimension::Upstream, b"\x04pool"),
        (Dimension::Route, b"\x04chat"),
        (Dimension::Rule, b"\x04chat\x010"),
        (Dimension::Listener, b"\x06public"),
        (Dimension::Query("u".into()), b"\x02Ab"),
        (Dimension::Method, b"\x04POST"),
        (Dimension::Path, b"\x14/v1/chat/completions"),
        (Dimension::Host, b"\x0fapi.example.com"),
    ] {
        assert_eq!(&key(std::slice::from_ref(&dimension), &request)[16..], value, "{dimension:?}");
    }
}

#[test]
fn a_value_that_is_missing_is_told_by_its_name() {
    let per = [Dimension::Method, header("x-user")];
    let at = Request::new().with(|ask| key_of(&ID, &per, Missing::Deny, ask)).unwrap_err();
    assert_eq!(name(&per[at]), "header:x-user");
    for (dimension, text) in [
        (Dimension::Tag("team".into()), "tag:team"),
        (Dimension::Claim(ClaimPath::parse("org.id").unwrap()), "claim:org.id"),
        (Dimension::Query("u".into()), "query:u"),
        (Dimension::Address { v4_bits: 24, v6_bits: 56 }, "address:24/56"),
        (Dimension::TargetModel, "targetModel"),
    ] {
        assert_eq!(name(&dimension), text);
    }
}
