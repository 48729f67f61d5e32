//! Tests of choosing targets, rewriting paths and redirecting.

use super::*;

fn target(index: usize, weight: u32) -> Target {
    Target {
        destination: Destination::Upstream(Upstream::Pool(PoolIndex(index))),
        weight: NonZeroU32::new(weight).expect("positive"),
        model_override: None,
        context_window: 0,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        body: BodyEdits::default(),
        rewrite: None,
    }
}

fn tier(weights: &[u32]) -> Tier {
    let targets = weights.iter().enumerate().map(|(index, weight)| target(index, *weight)).collect();
    Tier { priority: 0, targets }
}

/// How often each target is chosen over all residues.
fn shares(tier: &Tier, excluded: &[usize]) -> Vec<usize> {
    let mut shares = vec![0; tier.targets.len()];
    for r in 0..1000 {
        let is_excluded = |target: &Target| {
            excluded.iter().any(|index| target.upstream() == Some(Upstream::Pool(PoolIndex(*index))))
        };
        let chosen = tier.choose(r, is_excluded).and_then(Target::upstream);
        if let Some(Upstream::Pool(PoolIndex(index))) = chosen {
            shares[index] += 1;
        }
    }
    shares
}

#[test]
fn targets_are_chosen_by_weight() {
    assert_eq!(shares(&tier(&[7, 2, 1]), &[]), [700, 200, 100]);
    assert_eq!(shares(&tier(&[1]), &[]), [1000]);
}

#[test]
fn excluded_targets_leave_their_share_to_the_others() {
    assert_eq!(shares(&tier(&[8, 1, 1]), &[0]), [0, 500, 500]);
    assert_eq!(shares(&tier(&[8, 1, 1]), &[0, 1, 2]), [0, 0, 0]);
}

#[test]
fn the_largest_weights_do_not_overflow() {
    let tier = tier(&[u32::MAX; 128]);
    assert!(tier.choose(u64::MAX, |_| false).is_some());
}

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
fn a_share_is_exact() {
    let count = |numerator, denominator, of: u64| {
        let share = Share::new(numerator, denominator).expect("a share");
        (0..of).filter(|r| share.includes(*r)).count()
    };
    assert_eq!(count(1, 1000, 10_000), 10);
    assert_eq!(count(2, 3, 9000), 6000);
    assert_eq!(count(0, 7, 700), 0);
    assert_eq!(count(u32::MAX, u32::MAX, 1000), 1000);
    assert!(Share::new(1, u32::MAX).is_some_and(|share| share.includes(0) && !share.includes(1)));
    assert_eq!((Share::new(2, 1), Share::new(0, 0)), (None, None));
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
