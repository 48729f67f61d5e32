//! Which web pages may ask: SecurityPolicies, and filters of HTTPRoutes.

use penstock_config::Span;
use penstock_config::raw::{RawCors, RawRule};
use penstock_translate::Translation;
use penstock_translate::world::Kind;

use super::{A, GW, KEYS, accepted, asked, document, policies, policy, scene};
use crate::support::condition;

const CORS: &str = "cors: {allowOrigins: ['https://*.example.com', 'https://*.example.com'], allowMethods: [GET, POST], \
                    allowHeaders: [authorization], exposeHeaders: [x-request-id], maxAge: 10m, allowCredentials: true}";

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn said() -> RawCors {
    RawCors {
        allow_origins: names(&["https://*.example.com"]),
        allow_methods: names(&["GET", "POST"]),
        allow_headers: names(&["authorization"]),
        expose_headers: names(&["x-request-id"]),
        max_age: Some(Span::secs(600)),
        allow_credentials: true,
    }
}

#[test]
fn a_policy_says_which_pages_may_ask_beside_what_it_asks_or_alone() {
    let alone = scene(&policy("p", GW, CORS));
    assert!(document(&alone).listeners.iter().all(|listener| listener.policies == ["ns.p"]));
    let own = &policies(&alone)["ns.p"];
    assert_eq!((own.cors.as_ref(), &own.authentication, &own.authorization), (Some(&said()), &None, &None));
    assert_eq!(accepted(&alone, "p"), (true, "Accepted", "the policy is in force"));
    let both = scene(&policy("p", A, &format!("{KEYS}, {CORS}")));
    assert_eq!(asked(&both)["one a/0"], "ns.p");
    let own = &policies(&both)["ns.p"];
    assert!(own.authentication.is_some() && own.cors == Some(said()));
}

#[test]
fn a_policy_that_merges_says_the_rest_of_what_its_parent_says() {
    let merging =
        "mergeType: StrategicMerge, cors: {allowOrigins: ['https://a.example'], allowCredentials: false}";
    let translation = scene(&(policy("g", GW, CORS) + &policy("r", A, merging)));
    let merged = RawCors { allow_origins: names(&["https://a.example"]), allow_credentials: false, ..said() };
    assert_eq!(policies(&translation)["ns.r.over.ns.g"].cors, Some(merged));
}

#[test]
fn what_cannot_be_said_closes_and_is_told() {
    for (spec, says) in [
        ("cors: {allowOrigins: ['https://a.example/path']}", "spec.cors: cors.allowOrigins[0]: "),
        ("cors: {allowOrigins: ['*'], maxAge: soon}", "cors.maxAge: "),
        ("cors: {allowOrigins: ['*'], allowHeaders: ['a b']}", "spec.cors: cors.allowHeaders[0]: "),
    ] {
        let translation = scene(&policy("p", GW, spec));
        assert!(asked(&translation).values().all(|it| it == "closed"), "{spec}");
        let (is_accepted, reason, message) = accepted(&translation, "p");
        assert_eq!((is_accepted, reason), (false, "Invalid"), "{spec}");
        assert!(message.contains(says), "{spec}: {message}");
    }
    let later = scene(&policy("p", GW, "cors: {allowOrigins: ['*'], later: true}"));
    assert!(asked(&later).values().all(|it| it == "closed"));
}

/// A route with a filter, and a service.
fn filtered(filter: &str, of_reference: &str) -> Translation {
    scene(&format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: f, namespace: ns}}\n\
         spec: {{parentRefs: [{{name: gw}}], rules: [{{matches: [{{path: {{value: /f}}}}], filters: [{filter}], \
         backendRefs: [{{name: s, port: 80, filters: [{of_reference}]}}]}}]}}\n---\n"
    ))
}

fn rule(translation: &Translation) -> &RawRule {
    let routes = &document(translation).routes;
    &routes.iter().find(|route| route.name == "ns.f").unwrap().rules[0]
}

#[test]
fn a_filter_of_a_route_says_it_for_its_rule() {
    let filter = "{type: CORS, cors: {allowOrigins: ['https://*.example.com'], allowMethods: [GET, POST], allowHeaders: \
                  [authorization], exposeHeaders: [x-request-id], maxAge: 600, allowCredentials: true}}";
    assert_eq!(rule(&filtered(filter, "")).cors, Some(said()));
    let short = filtered("{type: CORS, cors: {allowOrigins: ['*']}}", "");
    assert_eq!(rule(&short).cors.as_ref().unwrap().max_age, Some(Span::secs(5)));
    assert!(condition(&short, (Kind::HttpRoute, "f"), "Accepted").0);
}

#[test]
fn a_filter_that_cannot_be_refuses_its_rule() {
    for (filter, of_reference, says) in [
        (
            "{type: CORS, cors: {allowOrigins: [nowhere]}}",
            "",
            "a CORS filter cannot be: cors.allowOrigins[0]: ",
        ),
        ("{type: CORS}", "", "a filter of type CORS lacks its section"),
        ("", "{type: CORS, cors: {allowOrigins: ['*']}}", "ExternalAuth and CORS are for rules"),
    ] {
        let translation = filtered(filter, of_reference);
        let rule = rule(&translation);
        assert_eq!((rule.targets[0].status, &rule.cors), (Some(500), &None), "{says}");
        let (_, _, message) = condition(&translation, (Kind::HttpRoute, "f"), "Accepted");
        assert!(message.contains(says), "{message}");
    }
}
