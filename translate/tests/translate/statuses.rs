//! Statuses say what is so: where something is not served, which reference leads nowhere, and what would mend it.

use penstock_translate::world::Kind;
use penstock_translate::{Status, Translation};

use crate::support::{condition, conditions, translated};

/// A Secret `certificate` as `openssl x509 -req` makes it where it is given no extensions.
fn version_1() -> String {
    let secrets =
        std::fs::read_to_string(crate::support::folder("tests/data/listeners/secrets.yaml")).unwrap();
    let secret = secrets.split("\n---\n").find(|secret| secret.contains("name: version-1")).unwrap();
    format!("{}\n---\n", secret.replace("namespace: infra", "namespace: ns"))
}

/// A Gateway `secure` with one listener, and a route to it.
const SECURE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: secure, namespace: ns}
spec:
  gatewayClassName: penstock
  listeners: [{name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: version-1}]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route, namespace: ns}
spec: {parentRefs: [{name: secure}], rules: [{backendRefs: [{name: nowhere, port: 80}]}]}
---
";

const GATEWAY: (Kind, &str) = (Kind::Gateway, "secure");

#[test]
fn a_certificate_of_version_1_is_refused_with_the_way_to_mend_it() {
    let translation = translated(&(SECURE.to_owned() + &version_1()));
    let (is_resolved, reason, message) = condition(&translation, GATEWAY, "ResolvedRefs");
    assert_eq!((is_resolved, reason), (false, "InvalidCertificateRef"), "{message}");
    assert!(message.contains("version 3") && message.contains("subjectAltName"), "{message}");
    for it in conditions(&translation, Kind::Gateway, "secure") {
        assert!(!it.message.contains("the listener is served"), "{}: {}", it.kind, it.message);
    }
}

/// How many routes the only listener of a Gateway counts.
fn attached_routes(translation: &Translation, name: &str) -> u32 {
    let is_it = |kind, id: &penstock_translate::world::ObjectId| id.kind == kind && id.key.name == name;
    let mut updates = translation.statuses.iter();
    let update = updates.find(|update| is_it(Kind::Gateway, &update.object)).expect("a status");
    let Status::Gateway { listeners, .. } = &update.status else { panic!("no Gateway's status") };
    listeners[0].attached_routes
}

#[test]
fn a_listener_without_its_certificate_counts_its_routes() {
    let translation = translated(SECURE);
    let (is_resolved, _, message) = condition(&translation, GATEWAY, "ResolvedRefs");
    assert!(!is_resolved && message.contains("does not exist"), "{message}");
    assert_eq!(attached_routes(&translation, "secure"), 1);
    let (is_accepted, _, message) = condition(&translation, (Kind::HttpRoute, "route"), "Accepted");
    assert!(is_accepted && message.contains("not served there now: https"), "{message}");
    // Its backend does not exist either, served or not.
    let resolved = condition(&translation, (Kind::HttpRoute, "route"), "ResolvedRefs");
    assert_eq!((resolved.0, resolved.1), (false, "BackendNotFound"), "{resolved:?}");
    assert_eq!(
        translation.gateways.len(),
        1,
        "no document for a Gateway without a listener that can be served"
    );
}

#[test]
fn a_listener_counts_routes_whose_rules_are_refused() {
    let cors = "{filters: [{type: CORS}]}";
    let translation = translated(&route("{name: gw}", cors));
    assert!(!condition(&translation, ROUTE, "Accepted").0);
    assert_eq!(attached_routes(&translation, "gw"), 1, "a change of the listener concerns it");
    // By two references it is still one route.
    let translation = translated(&route("{name: gw}, {name: gw, sectionName: http}", cors));
    assert_eq!(attached_routes(&translation, "gw"), 1);
    let translation = translated(&route("{name: gw, sectionName: other}", cors));
    assert_eq!(attached_routes(&translation, "gw"), 0);
}

/// A route whose rules are these, attached as `parent` says.
fn route(parent: &str, rules: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route, namespace: ns}}
spec: {{hostnames: [a.example.com], parentRefs: [{parent}], rules: [{rules}]}}
---
"
    )
}

const ROUTE: (Kind, &str) = (Kind::HttpRoute, "route");

#[test]
fn a_service_that_does_not_exist_is_never_resolved() {
    let nowhere = "backendRefs: [{name: nowhere, port: 80}]";
    for (parent, rule) in [
        ("{name: gw}", nowhere.to_owned()),
        // Not attached.
        ("{name: gw, sectionName: other}", nowhere.to_owned()),
        // With faults that come before it.
        ("{name: gw}", format!("filters: [{{type: CORS}}], {nowhere}")),
        ("{name: gw}", format!("matches: [{{method: STRANGE}}], {nowhere}")),
        ("{name: gw}", format!("timeouts: {{request: soon}}, {nowhere}")),
    ] {
        let translation = translated(&route(parent, &format!("{{{rule}}}")));
        let (is_resolved, reason, message) = condition(&translation, ROUTE, "ResolvedRefs");
        assert_eq!((is_resolved, reason), (false, "BackendNotFound"), "{parent} {rule}: {message}");
        assert!(message.contains("ns/nowhere"), "{message}");
    }
}

#[test]
fn what_many_rules_have_in_common_is_told_once_and_hides_nothing_else() {
    let cors = "{filters: [{type: CORS}]}, ".repeat(18);
    let translation =
        translated(&route("{name: gw}", &format!("{cors}{{timeouts: {{request: soon}}}}, {{name: sound}}")));
    let (is_partial, _, message) = condition(&translation, ROUTE, "PartiallyInvalid");
    assert!(is_partial && message.starts_with("Dropped Rule(s): rules[0], rules[1], "), "{message}");
    assert!(message.contains("rules[7] and 10 more: a filter of type CORS lacks its section; "), "{message}");
    assert!(message.contains("; rules[18]: timeouts.request: not a duration"), "{message}");
}

#[test]
fn references_that_are_not_shown_are_counted() {
    let missing = |number: usize| format!("{{backendRefs: [{{name: missing-{}, port: 80}}]}}", number % 10);
    let rules: Vec<String> = (0..16).map(missing).collect();
    let translation = translated(&route("{name: gw}", &rules.join(", ")));
    let (_, _, message) = condition(&translation, ROUTE, "ResolvedRefs");
    assert_eq!(message.matches("does not exist").count(), 8, "{message}");
    assert!(message.ends_with("missing-7 does not exist; and 2 more"), "{message}");
}

#[test]
fn a_route_of_a_listener_set_is_told_that_nobody_serves_it() {
    let set = "
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more, namespace: ns}
spec: {parentRef: {name: gw}, listeners: [{name: extra, protocol: HTTP, port: 8081}]}
---
";
    let parent = "{group: gateway.networking.k8s.io, kind: ListenerSet, name: more}";
    let translation = translated(&(set.to_owned() + &route(parent, "{}")));
    let (is_accepted, reason, message) = condition(&translation, ROUTE, "Accepted");
    assert_eq!((is_accepted, reason), (false, "UnsupportedValue"), "{message}");
    assert!(message.contains("attach the route to Gateway ns/gw"), "{message}");
    let (is_accepted, reason, _) = condition(&translation, (Kind::ListenerSet, "more"), "Accepted");
    assert_eq!((is_accepted, reason), (false, "NotAllowed"));
    assert_eq!(attached_routes(&translation, "gw"), 0);
}

#[test]
fn a_route_whose_parent_does_not_exist_has_an_event() {
    let translation = translated(&route("{name: gw}, {name: typo}", "{}"));
    let about: Vec<&str> = translation
        .events
        .iter()
        .filter(|event| event.reason == "ParentNotFound")
        .map(|event| event.message.as_str())
        .collect();
    assert_eq!(about, ["the Gateway ns/typo of parentRefs does not exist"]);
    // Its status is for whoever serves such a Gateway to write.
    assert_eq!(conditions(&translation, Kind::HttpRoute, "route").len(), 2);
}

#[test]
fn an_address_without_a_value_is_any_address() {
    let gateway = |address: &str| {
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: addressed, namespace: ns}}
spec: {{gatewayClassName: penstock, addresses: [{address}], listeners: [{{name: http, protocol: HTTP, port: 80}}]}}
"
        )
    };
    let unread = |address: &str| {
        let translation = translated(&gateway(address));
        let all = conditions(&translation, Kind::Gateway, "addressed");
        assert!(all[0].is_true(), "{all:?}");
        let fields = all.iter().find(|it| it.kind == penstock_translate::FIELDS_NOT_ACTED_ON);
        fields.map(|it| it.message.clone())
    };
    assert_eq!(unread("{type: IPAddress}"), None);
    assert!(
        unread("{type: IPAddress, value: 192.0.2.1}").is_some_and(|it| it.contains("spec.addresses[].value"))
    );
}

#[test]
fn features_that_are_claimed_have_the_names_of_gateway_api_in_order() {
    let features = penstock_translate::FEATURES;
    assert!(features.is_sorted(), "{features:?}");
    for claimed in [
        "GatewayAddressEmpty",
        "GatewayInfrastructurePropagation",
        "HTTPRoute303RedirectStatusCode",
        "HTTPRoute307RedirectStatusCode",
        "HTTPRoute308RedirectStatusCode",
    ] {
        assert!(features.contains(&claimed), "{claimed}");
    }
}

#[test]
fn every_redirect_that_is_claimed_is_served() {
    for status in [301, 302, 303, 307, 308] {
        let rule =
            format!("{{filters: [{{type: RequestRedirect, requestRedirect: {{statusCode: {status}}}}}]}}");
        let translation = translated(&route("{name: gw}", &rule));
        assert!(condition(&translation, ROUTE, "Accepted").0);
        let document = crate::support::document(&translation);
        assert!(document.contains(&format!("statusCode: {status}")), "{document}");
    }
}

#[test]
fn a_header_that_is_set_and_added_does_not_make_the_rule_a_500() {
    let modifier = "set: [{name: X-Team, value: a}], add: [{name: x-team, value: b}], remove: [x-team]";
    for kind in ["requestHeaderModifier", "responseHeaderModifier"] {
        let class = kind[..1].to_uppercase() + &kind[1..];
        let rule = format!(
            "{{filters: [{{type: {class}, {kind}: {{{modifier}}}}}], backendRefs: [{{name: s, port: 80}}]}}"
        );
        let service = "
apiVersion: v1
kind: Service
metadata: {name: s, namespace: ns}
spec: {ports: [{port: 80}]}
";
        let translation = translated(&(route("{name: gw}", &rule) + service));
        let document = crate::support::document(&translation);
        assert!(!document.contains("status: 500") && document.contains("backend: ns.s.80"), "{document}");
        assert!(conditions(&translation, Kind::HttpRoute, "route").iter().all(|it| it.is_true()));
    }
}

#[test]
fn a_match_that_cannot_be_leaves_its_rules_other_matches_as_they_are() {
    let translation = translated(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: ns}
spec: {gatewayClassName: penstock, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route, namespace: ns}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches:
    - {path: {value: /guarded}}
    - {path: {type: RegularExpression, value: '/(unclosed'}}
    - {headers: [{name: x, value: gold}]}
    - {method: BREW}
    backendRefs: [{name: s, port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: ns}
spec: {ports: [{port: 80}]}
",
    );
    let document = &translation.gateways.values().next().unwrap().document;
    assert_eq!(document.routes.len(), 1, "{:#?}", conditions(&translation, Kind::HttpRoute, "route"));
    let matches = serde_json::to_value(&document.routes[0].rules[0].matches).unwrap();
    assert_eq!(matches.as_array().unwrap().len(), 2, "{matches}");
    assert_eq!(matches[0]["path"]["value"], "/guarded");
    assert_eq!(matches[1]["headers"][0]["name"], "x");
    assert_eq!(document.routes[0].rules[0].targets[0].backend.as_deref(), Some("ns.s.80"));
    let route = (Kind::HttpRoute, "route");
    assert!(condition(&translation, route, "Accepted").0);
    let (is_partial, _, message) = condition(&translation, route, "PartiallyInvalid");
    assert!(is_partial && message.starts_with("Dropped Match(es): rules[0]: "), "{message}");
}
