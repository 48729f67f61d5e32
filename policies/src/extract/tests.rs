use http::header::AUTHORIZATION;
use proptest::prelude::*;

use super::*;

fn places(extracts: &[Extract]) -> Places {
    Places::new(extracts.iter().cloned())
}

fn header(name: &'static str, prefix: &str) -> Extract {
    Extract::Header { name: HeaderName::from_static(name), prefix: prefix.into() }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

/// The text that is shown, `<nothing>` or `<twice>`.
fn found(extracts: &[Extract], lines: &[(&'static str, &str)], query: Option<&str>) -> String {
    match places(extracts).find(&headers(lines), query) {
        Shown::Nothing => "<nothing>".to_owned(),
        Shown::Twice => "<twice>".to_owned(),
        Shown::Once { text, .. } => String::from_utf8_lossy(&text).into_owned(),
    }
}

#[test]
fn a_prefix_is_compared_without_regard_to_case_and_is_no_part_of_the_credential() {
    let bearer = [header("authorization", "Bearer ")];
    for (value, text) in [
        ("Bearer k", "k"),
        ("bearer k", "k"),
        ("BEARER   k", "k"),
        ("Bearer k l", "k l"),
        ("Bearer", "<nothing>"),
        ("Bearer ", "<nothing>"),
        ("Bearerk", "<nothing>"),
        ("Bearer\tk", "<nothing>"),
        ("Basic k", "<nothing>"),
        ("Bearer Bearer k", "Bearer k"),
        ("", "<nothing>"),
    ] {
        assert_eq!(found(&bearer, &[("authorization", value)], None), text, "{value:?}");
    }
    assert_eq!(found(&[header("x-api-key", "")], &[("x-api-key", "k")], None), "k");
}

#[test]
fn the_first_place_that_has_something_counts() {
    let all = [header("authorization", "Bearer "), header("x-api-key", ""), Extract::Query("key".into())];
    assert_eq!(found(&all, &[("x-api-key", "b"), ("authorization", "Bearer a")], Some("key=c")), "a");
    assert_eq!(found(&all, &[("x-api-key", "b"), ("authorization", "Basic a")], Some("key=c")), "b");
    assert_eq!(found(&all, &[("x-api-key", ""), ("authorization", "Bearer ")], Some("key=c")), "c");
    assert_eq!(found(&all, &[], None), "<nothing>");
    let turned: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(found(&turned, &[("authorization", "Bearer a")], Some("key=c")), "c");
}

#[test]
fn what_is_there_twice_is_not_chosen_from() {
    let all =
        [header("authorization", "Bearer "), Extract::Query("key".into()), Extract::Cookie("key".into())];
    for second in ["Bearer a", "Bearer b", "Basic b", ""] {
        let lines = [("authorization", "Bearer a"), ("authorization", second)];
        assert_eq!(found(&all, &lines, Some("key=c")), "<twice>", "{second}");
    }
    for query in ["key=a&key=a", "key=a&k%65y=b", "key&key=a", "key=a&b=c&key="] {
        assert_eq!(found(&all, &[], Some(query)), "<twice>", "{query}");
    }
    assert_eq!(found(&all, &[("cookie", "key=a; key=b")], None), "<twice>");
    assert_eq!(found(&all, &[("cookie", "key=a"), ("cookie", "c=d;key=b")], None), "<twice>");
}

#[test]
fn parameters_are_decoded_and_plus_is_no_space() {
    let key = [Extract::Query("api key".into())];
    for (query, text) in [
        ("api%20key=a%2Bb", "a+b"),
        ("x=y&%61pi%20key=a+b%3D=&z", "a+b=="),
        ("api%20key=%zz%2", "%zz%2"),
        ("api%20key=a;b=c", "a;b=c"),
        ("api+key=a", "<nothing>"),
        ("API%20key=a", "<nothing>"),
        ("xapi%20key=a", "<nothing>"),
        ("api%20key", "<nothing>"),
        ("", "<nothing>"),
    ] {
        assert_eq!(found(&key, &[], Some(query)), text, "{query}");
    }
}

#[test]
fn cookies_may_be_spread_over_headers() {
    let cookie = [Extract::Cookie("session".into())];
    for (values, text) in [
        (&["session=a"][..], "a"),
        (&["x=y; session=a=b ;z"], "a=b"),
        (&["x=y", "z=1;session=a"], "a"),
        (&["session"], "<nothing>"),
        (&["Session=a; xsession=b; x=session=c"], "<nothing>"),
        (&["session=\"a\""], "\"a\""),
    ] {
        let lines: Vec<_> = values.iter().map(|value| ("cookie", *value)).collect();
        assert_eq!(found(&cookie, &lines, None), text, "{values:?}");
    }
}

#[test]
fn a_credential_need_not_be_text() {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Bearer \xff\xfe").unwrap());
    let bearer = places(&[header("authorization", "bearer ")]);
    assert!(matches!(bearer.find(&headers, None), Shown::Once { text, .. } if *text == *b"\xff\xfe"));
    // A prefix of many bytes does not cut a character of the value.
    headers.insert(AUTHORIZATION, HeaderValue::from_bytes("Beare\u{e9}".as_bytes()).unwrap());
    assert_eq!(bearer.find(&headers, None), Shown::Nothing);
}

#[test]
fn a_parameter_is_taken_out_and_the_rest_stays_as_it_was() {
    for (query, rest) in [
        ("key=a", ""),
        ("key", ""),
        ("a=b&key=c", "a=b"),
        ("key=c&a=b", "a=b"),
        ("a=%41+b&k%65y=c&&key=d&e", "a=%41+b&&e"),
        ("keys=a&xkey=b&a=key", "keys=a&xkey=b&a=key"),
        ("", ""),
        ("&", "&"),
    ] {
        assert_eq!(remove_query(query, "key"), rest, "{query}");
    }
}

#[test]
fn a_cookie_is_taken_out_and_the_rest_stays_as_it_was() {
    for (value, rest) in [
        ("key=a", None),
        ("key=a; ", None),
        ("a=b; key=c; d=\"e;f\"", Some("a=b; d=\"e;f\"")),
        ("key=c; a=b", Some("a=b")),
        ("a=b;key =c;key=d", Some("a=b")),
        ("keys=a; xkey=b; c=key=d", Some("keys=a; xkey=b; c=key=d")),
    ] {
        let rest = rest.map(HeaderValue::from_static);
        assert_eq!(remove_cookie(&HeaderValue::from_static(value), "key"), rest, "{value}");
    }
}

proptest! {
    #[test]
    fn nothing_is_found_where_it_was_taken_out(query in "[key%65&=;+ ]{0,40}", cookies in "[key=; \"]{1,40}") {
        let rest = remove_query(&query, "key");
        prop_assert_eq!(found(&[Extract::Query("key".into())], &[], Some(&rest)), "<nothing>");
        let cookie = remove_cookie(&cookies.parse().unwrap(), "key");
        let left: Vec<_> = cookie.iter().map(|value| ("cookie", value.to_str().unwrap())).collect();
        prop_assert_eq!(found(&[Extract::Cookie("key".into())], &left, None), "<nothing>");
    }

    #[test]
    fn other_parameters_stay_in_their_order(names in prop::collection::vec("(key|k%65y|other|[a-z]{1,3})=[a-z]{0,3}", 0..8)) {
        let is_other = |pair: &&String| !pair.starts_with("key=") && !pair.starts_with("k%65y=");
        let others: Vec<_> = names.iter().filter(is_other).map(String::as_str).collect();
        prop_assert_eq!(remove_query(&names.join("&"), "key"), others.join("&"));
    }
}
