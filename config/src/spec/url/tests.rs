//! Tests of rewriting paths and redirecting.

use super::*;

#[test]
fn prefixes_are_replaced_as_gateway_api_has_it() {
    // Request path, matched prefix, replacement, result. Final slashes of prefix and replacement are cut when the
    // document is lowered.
    let table = [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar/", "/foo", "/xyz", "/xyz/bar/"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/", "", "/v1", "/v1/"),
        ("/chat", "", "/v1", "/v1/chat"),
        ("/chat", "", "", "/chat"),
    ];
    for (path, prefix, replacement, expected) in table {
        assert_eq!(
            PathRewrite::Prefix(replacement.into()).apply(path, prefix),
            expected,
            "{path} {prefix} {replacement}"
        );
    }
    assert_eq!(PathRewrite::Full("/all".into()).apply("/foo/bar", "/foo"), "/all");
}

#[test]
fn a_location_keeps_what_the_redirect_does_not_name() {
    let plain = Redirect { scheme: None, hostname: None, path: None, port: None, status: StatusCode::FOUND };
    let asked =
        RedirectTarget { is_tls: false, host: "a.test:8080", port: 8080, path: "/x", query: Some("q=1") };
    let located = |redirect: Redirect| redirect.location(&asked, "");
    assert_eq!(located(plain.clone()), "http://a.test:8080/x?q=1");
    assert_eq!(located(Redirect { scheme: Some("https"), ..plain.clone() }), "https://a.test/x?q=1");
    assert_eq!(
        located(Redirect { scheme: Some("https"), port: Some(8443), ..plain.clone() }),
        "https://a.test:8443/x?q=1"
    );
    assert_eq!(located(Redirect { port: Some(80), ..plain.clone() }), "http://a.test/x?q=1");
    assert_eq!(
        located(Redirect { hostname: Some("b.test".into()), ..plain.clone() }),
        "http://b.test:8080/x?q=1"
    );
    let path = Some(PathRewrite::Full("/y".into()));
    assert_eq!(located(Redirect { path, ..plain.clone() }), "http://a.test:8080/y?q=1");
    let six = RedirectTarget { is_tls: true, host: "[::1]", port: 443, path: "/", query: None };
    assert_eq!(plain.location(&six, ""), "https://[::1]/");
}

#[test]
fn patterns_replace_what_they_match_as_re2_does() {
    for (pattern, substitution, path, expected) in [
        ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
        ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
        ("^(.*?)one(.*)$", r"\1two\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
        ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
        ("(a)", r"$1\\\0x", "/a", "/$1\\ax"),
        ("^/a", "", "/ab", "/b"),
        ("z", "y", "/a", "/a"),
    ] {
        let replacement = RegexReplacement::new(Regex::new(pattern).unwrap(), substitution).unwrap();
        assert_eq!(PathRewrite::Regex(replacement).apply(path, ""), expected, "{pattern}");
    }
    let pattern = Regex::new("(a)").unwrap();
    for substitution in [r"\2", r"\x", "\\"] {
        assert!(RegexReplacement::new(pattern.clone(), substitution).is_none(), "{substitution}");
    }
}
