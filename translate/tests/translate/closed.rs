//! What restricts and is not acted on closes what it is for, nothing else, and says so.

use std::collections::BTreeMap;

use penstock_config::raw::RawStatusReason;
use penstock_translate::world::{Key, Kind, World};
use penstock_translate::{CLOSED, POLICIES_IGNORED, POLICIES_NOT_ACTED_ON, Severity, Translation, translate};

use crate::support::{condition, conditions, documents, options, translated, world};

/// A Gateway with two listeners, and three routes: `a` with a named rule and another, `b`, and the AIGatewayRoute `ai`.
const SCENE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: ns, labels: {tier: public}}
spec:
  gatewayClassName: penstock
  listeners:
    - {name: one, protocol: HTTP, port: 8080, allowedRoutes: {namespaces: {from: All}}}
    - {name: two, protocol: HTTP, port: 8081}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a, namespace: ns, labels: {team: red}}
spec:
  parentRefs: [{name: gw}]
  rules:
    - {name: first, matches: [{path: {value: /a/1}}], filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301}}]}
    - {matches: [{path: {value: /a/2}}], backendRefs: [{name: s, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: b, namespace: ns, labels: {team: blue}}
spec: {parentRefs: [{name: gw}], rules: [{matches: [{path: {value: /b}}], backendRefs: [{name: s, port: 80}]}]}
---
apiVersion: aigateway.envoyproxy.io/v1alpha1
kind: AIGatewayRoute
metadata: {name: ai, namespace: ns, labels: {team: red}}
spec:
  parentRefs: [{name: gw, sectionName: one}]
  rules: [{name: m, matches: [{headers: [{name: x-ai-eg-model, value: m}]}], backendRefs: [{name: p}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: far, namespace: other, labels: {team: red}}
spec: {parentRefs: [{name: gw, namespace: ns, sectionName: one}], rules: [{matches: [{path: {value: /far}}], backendRefs: [{name: s, port: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: ns}
spec: {ports: [{port: 80}]}
---
";

/// A policy of Envoy Gateway's.
fn policy(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: ns}}\nspec: {spec}\n---\n"
    )
}

fn security(name: &str, spec: &str) -> String {
    policy("SecurityPolicy", name, spec)
}

/// What nobody here acts on.
const OIDC: &str = "oidc: {provider: {issuer: 'https://a.example', backendRefs: [{name: b, port: 443}]}}";

/// A SecurityPolicy `p` with these targets that wants people to log in.
fn oidc(targets: &str) -> String {
    security("p", &format!("{{{targets}, {OIDC}}}"))
}

fn cluster(manifests: &str) -> World {
    world(documents(&format!("{SCENE}{manifests}")))
}

fn scene(manifests: &str) -> Translation {
    translate(&cluster(manifests), &options())
}

/// The rules that are closed, as `listener route/rule`; `all` where none is open.
fn closed(translation: &Translation) -> Vec<String> {
    let gateway = translation.gateways.values().next().expect("a Gateway");
    let mut rules: BTreeMap<String, bool> = BTreeMap::new();
    for route in &gateway.document.routes {
        for (index, rule) in route.rules.iter().enumerate() {
            let reasons: Vec<_> = rule.targets.iter().map(|target| target.reason).collect();
            let is_closed = reasons == [Some(RawStatusReason::UnsupportedPolicy)];
            if is_closed {
                assert_eq!(rule.targets[0].status, Some(500));
                assert!(rule.redirect.is_none() && rule.mirrors.is_empty(), "{rule:?}");
            }
            let name = route.name.split('.').nth(1).unwrap_or(&route.name).to_owned();
            for listener in &route.listeners {
                rules.insert(format!("{listener} {name}/{index}"), is_closed);
            }
        }
    }
    assert_eq!(rules.len(), 8, "{rules:?}");
    if rules.values().all(|is_closed| *is_closed) {
        return vec!["all".to_owned()];
    }
    rules.into_iter().filter_map(|(rule, is_closed)| is_closed.then_some(rule)).collect()
}

const A: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a}]";
const GW: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]";

/// What [`A`] closes.
const ALL_OF_A: [&str; 4] = ["one a/0", "one a/1", "two a/0", "two a/1"];

#[test]
fn a_policy_closes_what_it_is_for_as_envoy_gateway_resolves_it() {
    let section = |kind: &str, name: &str, section: &str| {
        format!(
            "targetRefs: [{{group: gateway.networking.k8s.io, kind: {kind}, name: {name}, sectionName: {section}}}]"
        )
    };
    let selector = |rest: &str| format!("targetSelectors: [{{kind: HTTPRoute, {rest}}}]");
    for (targets, expected) in [
        (A.to_owned(), ALL_OF_A.to_vec()),
        (A.replace("targetRefs: [{", "targetRef: {").replace("}]", "}"), ALL_OF_A.to_vec()),
        (section("HTTPRoute", "a", "first"), vec!["one a/0", "two a/0"]),
        (section("HTTPRoute", "a", "no-such"), vec![]),
        (GW.to_owned(), vec!["all"]),
        (section("Gateway", "gw", "two"), vec!["two a/0", "two a/1", "two b/0"]),
        (section("Gateway", "gw", "three"), vec![]),
        // The HTTPRoute that Envoy AI Gateway would make, with rules that are called as it likes.
        (A.replace("name: a", "name: ai"), vec!["one ai/0"]),
        (section("HTTPRoute", "ai", "rule-0"), vec!["one ai/0"]),
        (selector("matchLabels: {team: red}"), [&ALL_OF_A[..2], &["one ai/0"], &ALL_OF_A[2..]].concat()),
        (
            selector("matchExpressions: [{key: team, operator: NotIn, values: [red]}]"),
            vec!["one b/0", "two b/0"],
        ),
        ("targetSelectors: [{kind: Gateway, matchLabels: {tier: public}}]".to_owned(), vec!["all"]),
        (selector("matchLabels: {team: green}"), vec![]),
        // Of another namespace only what that lets it choose.
        (
            selector("matchLabels: {team: red}, namespaces: {from: All}"),
            [&ALL_OF_A[..2], &["one ai/0"], &ALL_OF_A[2..]].concat(),
        ),
        (A.replace("HTTPRoute", "GRPCRoute"), vec![]),
        (A.replace("gateway.networking.k8s.io", "example.com"), vec![]),
    ] {
        assert_eq!(closed(&scene(&oidc(&targets))), expected, "{targets}");
    }
}

#[test]
fn a_policy_reaches_into_other_namespaces_as_far_as_they_let_it() {
    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: ns}]
  to: [{group: gateway.networking.k8s.io, kind: HTTPRoute}]
---
";
    let everywhere =
        "targetSelectors: [{kind: HTTPRoute, matchLabels: {team: red}, namespaces: {from: All}}]";
    let closed = closed(&scene(&(oidc(everywhere) + grant)));
    assert!(closed.contains(&"one far/0".to_owned()), "{closed:?}");
}

#[test]
fn the_more_specific_policy_takes_the_place_of_the_others() {
    let gateway = oidc(GW);
    let own = |spec: &str| security("own", &format!("{{{A}, {spec}}}"));
    let but_a = ["one ai/0", "one b/0", "one far/0", "two b/0"];
    assert_eq!(closed(&scene(&(gateway.clone() + &own("cors: {}")))), but_a);
    assert_eq!(closed(&scene(&(gateway.clone() + &own("mergeType: JSONMerge, cors: {}")))), ["all"]);
    let rule =
        "{targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a, sectionName: first}]}";
    let closed_of_a = closed(&scene(&(oidc(A) + &security("rule", rule))));
    assert_eq!(closed_of_a, ["one a/1", "two a/1"], "a rule's policy that says nothing opens the rule");
    // Policies of other kinds are another matter.
    let limit = policy("BackendTrafficPolicy", "limit", &format!("{{{A}, retry: {{numRetries: 1}}}}"));
    assert_eq!(closed(&scene(&(gateway + &limit))), ["all"]);
}

#[test]
fn of_two_for_the_same_thing_the_older_counts() {
    let dated = |name: &str, year: &str, spec: &str| {
        security(name, &format!("{{{A}, {spec}}}")).replace(
            "namespace: ns}",
            &format!("namespace: ns, creationTimestamp: '{year}-01-01T00:00:00Z'}}"),
        )
    };
    let open_first = dated("z", "2025", "cors: {}") + &dated("a", "2026", "oidc: {}");
    let translation = scene(&open_first);
    assert!(closed(&translation).is_empty());
    let (is_accepted, reason, _) = condition(&translation, (Kind::SecurityPolicy, "a"), "Accepted");
    assert_eq!((is_accepted, reason), (false, "Conflicted"));
    let closed_first = dated("z", "2025", "oidc: {}") + &dated("a", "2026", "cors: {}");
    assert_eq!(closed(&scene(&closed_first)), ALL_OF_A);
    // One for a rule that the route does not have is not for the route, however old it is.
    let ai = |rest: &str| {
        format!("targetRefs: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: ai{rest}}}]")
    };
    let of_ai = |name: &str, year: &str, spec: &str| {
        security(name, &format!("{{{spec}}}")).replace(
            "namespace: ns}",
            &format!("namespace: ns, creationTimestamp: '{year}-01-01T00:00:00Z'}}"),
        )
    };
    let rule_first = of_ai("z", "2025", &(ai(", sectionName: rule-0") + ", cors: {}"))
        + &of_ai("a", "2026", &(ai("") + ", oidc: {}"));
    assert_eq!(closed(&scene(&rule_first)), ["one ai/0"]);
}

#[test]
fn every_kind_closes_for_what_restricts_and_is_named_for_the_rest() {
    for (kind, spec, is_closed) in [
        ("SecurityPolicy", OIDC, true),
        ("SecurityPolicy", "extAuth: {failOpen: true, later: {}}", true),
        ("SecurityPolicy", "jwt: {later: {}}", true),
        ("SecurityPolicy", "csrf: {}", true),
        ("BackendTrafficPolicy", "faultInjection: {}, somethingNew: {}", false),
        ("ClientTrafficPolicy", "tls: {clientValidation: {subjectAltNames: {otherNames: [{oid: a}]}}}", true),
        ("BackendTrafficPolicy", "mergeType: Replace", true),
        ("EnvoyExtensionPolicy", "extProc: [{backendRefs: []}]", true),
        ("EnvoyExtensionPolicy", "lua: [{type: Inline}]", true),
        ("EnvoyExtensionPolicy", "wasm: [{failOpen: true}]", false),
        ("EnvoyPatchPolicy", "jsonPatches: [{}]", false),
    ] {
        let translation = scene(&policy(kind, "p", &format!("{{{GW}, {spec}}}")));
        let expected: &[&str] = if is_closed { &["all"] } else { &[] };
        assert_eq!(closed(&translation), expected, "{kind} {spec}");
        let says = if is_closed { CLOSED } else { POLICIES_NOT_ACTED_ON };
        let (_, reason, message) = condition(&translation, (Kind::Gateway, "gw"), says);
        assert_eq!(reason, "UnsupportedPolicy");
        assert!(message.contains(&format!("{kind} ns/p (spec.")), "{message}");
        let kind = Kind::in_group("gateway.envoyproxy.io", kind).unwrap();
        let (is_accepted, reason, message) = condition(&translation, (kind, "p"), "Accepted");
        assert_eq!((is_accepted, reason), (false, "Unsupported"), "{message}");
        let mut events = translation.events.iter();
        assert!(events.any(|it| it.object.kind == kind && it.severity == Severity::Warning), "{spec}");
    }
}

#[test]
fn limits_that_cannot_be_close_what_they_are_for() {
    for (limits, part) in [
        ("later: {}", "spec.rateLimit: unknown field `later`"),
        ("global: {rules: [{limit: {fromMetadata: {}}}]}", "unknown field `fromMetadata`"),
        ("local: {rules: [{limit: {requests: 1, unit: Age}}]}", "spec.rateLimit.local.rules[0].limit.unit"),
    ] {
        let translation =
            scene(&policy("BackendTrafficPolicy", "p", &format!("{{{GW}, rateLimit: {{{limits}}}}}")));
        assert_eq!(closed(&translation), ["all"], "{limits}");
        let of_policy = condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
        assert_eq!((of_policy.0, of_policy.1), (false, "Invalid"), "{limits}");
        assert!(of_policy.2.contains(part), "{limits}: {}", of_policy.2);
        let (_, _, message) = condition(&translation, (Kind::Gateway, "gw"), CLOSED);
        assert!(message.contains(part), "{limits}: {message}");
    }
    let sound =
        format!("{{{GW}, rateLimit: {{local: {{rules: [{{limit: {{requests: 1, unit: Hour}}}}]}}}}}}");
    assert!(closed(&scene(&policy("BackendTrafficPolicy", "p", &sound))).is_empty());
}

#[test]
fn a_policy_that_says_nothing_closes_nothing() {
    let translation = scene(&security("p", &format!("{{{GW}}}")));
    assert!(closed(&translation).is_empty());
    assert!(condition(&translation, (Kind::SecurityPolicy, "p"), "Accepted").0);
    assert!(
        conditions(&translation, Kind::Gateway, "gw").iter().all(|it| !it.kind.starts_with("penstock.dev/"))
    );
}

#[test]
fn a_policy_that_cannot_be_read_closes_its_namespace() {
    let translation = scene(&security("p", "{targetRefs: a, cors: {}}"));
    assert_eq!(closed(&translation), ["all"], "the Gateway is of that namespace");
    let (_, reason, message) = condition(&translation, (Kind::SecurityPolicy, "p"), "Accepted");
    assert_eq!(reason, "Invalid", "{message}");
    // One that could not restrict anything closes nothing.
    assert!(closed(&scene(&policy("EnvoyPatchPolicy", "p", "{targetRef: a}"))).is_empty());
}

#[test]
fn routes_say_which_of_their_rules_are_closed_and_why() {
    let translation = scene(&oidc(A));
    let (is_closed, _, message) = condition(&translation, (Kind::HttpRoute, "a"), CLOSED);
    assert!(
        is_closed && message.starts_with("SecurityPolicy ns/p (spec.oidc.provider.backendRefs) restricts"),
        "{message}"
    );
    assert!(message.contains("penstock.dev/ignore"), "it says what to do: {message}");
    assert!(condition(&translation, (Kind::HttpRoute, "a"), "Accepted").0, "it is attached all the same");
    assert!(conditions(&translation, Kind::HttpRoute, "b").iter().all(|it| it.kind != CLOSED));
    let rule = A.replace("name: a", "name: a, sectionName: first");
    let translation = scene(&oidc(&rule));
    let (_, _, message) = condition(&translation, (Kind::HttpRoute, "a"), CLOSED);
    assert!(
        message.starts_with("rules[0]: at one, two: SecurityPolicy ns/p (spec.oidc.provider.backendRefs)"),
        "{message}"
    );
    let listener = GW.replace("name: gw", "name: gw, sectionName: one");
    let translation = scene(&oidc(&listener));
    let (_, _, message) = condition(&translation, (Kind::HttpRoute, "b"), CLOSED);
    assert!(message.starts_with("rules[0]: at one: "), "{message}");
    let (_, _, message) = condition(&translation, (Kind::AiGatewayRoute, "ai"), CLOSED);
    assert!(message.starts_with("SecurityPolicy ns/p"), "{message}");
    assert!(condition(&translation, (Kind::Gateway, "gw"), CLOSED).0, "its listener says so");
}

#[test]
fn what_something_else_enforces_is_open_and_said_aloud() {
    let ignored =
        oidc(A).replace("namespace: ns}", "namespace: ns, annotations: {penstock.dev/ignore: 'true'}}");
    let translation = scene(&ignored);
    assert!(closed(&translation).is_empty());
    let (is_open, _, message) = condition(&translation, (Kind::HttpRoute, "a"), POLICIES_IGNORED);
    assert!(is_open && message.contains("SecurityPolicy ns/p"), "{message}");
    let (is_accepted, reason, _) = condition(&translation, (Kind::SecurityPolicy, "p"), "Accepted");
    assert_eq!((is_accepted, reason), (false, "Ignored"));
    assert!(translation.events.iter().any(|it| it.reason == "Ignored"));
    // It keeps its place: whoever enforces it enforces it instead of the Gateway's.
    let gateway = oidc(GW).replace("name: p,", "name: of-gateway,");
    assert_eq!(
        closed(&scene(&(ignored.clone() + &gateway))),
        ["one ai/0", "one b/0", "one far/0", "two b/0"]
    );
    for other in ["'false'", "'yes'", "''"] {
        assert_eq!(closed(&scene(&ignored.replace("'true'", other))), ALL_OF_A, "{other}");
    }
}

#[test]
fn a_gateway_whose_authorities_cannot_be_had_is_closed_where_it_has_tls() {
    let secrets =
        std::fs::read_to_string(crate::support::folder("tests/data/listeners/secrets.yaml")).unwrap();
    let certificate = secrets.split("\n---\n").find(|it| it.contains("type: kubernetes.io/tls")).unwrap();
    let name = certificate.lines().find_map(|line| line.split("name: ").nth(1)).unwrap();
    let name = name.split([',', '}']).next().unwrap();
    let certificate = certificate.replace("namespace: infra", "namespace: ns");
    let manifests = format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw, namespace: ns}}
spec:
  gatewayClassName: penstock
  listeners:
    - {{name: plain, protocol: HTTP, port: 80}}
    - {{name: tls, protocol: HTTPS, port: 443, tls: {{certificateRefs: [{{name: {name}}}]}}}}
  tls: {{frontend: {{default: {{validation: {{caCertificateRefs: [{{kind: ConfigMap, name: ca}}]}}}}}}, backend: {{clientCertificateRef: {{name: x}}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: ns}}
spec: {{parentRefs: [{{name: gw}}], rules: [{{backendRefs: [{{name: s, port: 80}}]}}]}}
---
{certificate}
---
"
    );
    let translation = translated(&manifests);
    let document = &translation.gateways.values().next().unwrap().document;
    let by_listener: BTreeMap<&str, bool> = document
        .routes
        .iter()
        .map(|route| (route.listeners[0].as_str(), route.rules[0].targets[0].reason.is_some()))
        .collect();
    assert_eq!(by_listener, BTreeMap::from([("plain", false), ("tls", true)]));
    let (_, _, message) = condition(&translation, (Kind::HttpRoute, "r"), CLOSED);
    let why = "Gateway ns/gw (spec.tls.frontend: caCertificateRefs: there is no ConfigMap ns/ca with ca.crt)";
    assert!(message.contains(why), "{message}");
    let (_, _, message) = condition(&translation, (Kind::Gateway, "gw"), "penstock.dev/FieldsNotActedOn");
    assert!(message.ends_with(": spec.tls.backend"), "{message}");
}

#[test]
fn filters_that_are_not_acted_on_close_their_rule() {
    for filter in [
        "{type: ExternalAuth, externalAuth: {protocol: HTTP}}",
        "{type: ExtensionRef, extensionRef: {group: gateway.envoyproxy.io, kind: HTTPRouteFilter, name: gone}}",
        "{type: ExtensionRef, extensionRef: {group: example.com, kind: Filter, name: f}}",
    ] {
        for rule in [
            format!("{{filters: [{filter}], backendRefs: [{{name: s, port: 80}}]}}"),
            format!("{{backendRefs: [{{name: s, port: 80, filters: [{filter}]}}]}}"),
        ] {
            let translation = translated(&format!(
                "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r, namespace: ns}}
spec: {{parentRefs: [{{name: gw}}], rules: [{rule}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: s, namespace: ns}}
spec: {{ports: [{{port: 80}}]}}
---
"
            ));
            let document = &translation.gateways.values().next().unwrap().document;
            let targets = &document.routes[0].rules[0].targets;
            assert_eq!(targets.iter().map(|it| it.status).collect::<Vec<_>>(), [Some(500)], "{rule}");
        }
    }
}

#[test]
fn a_quota_that_cannot_be_closes_the_backend_that_it_is_for() {
    let manifests = "
apiVersion: aigateway.envoyproxy.io/v1alpha1
kind: AIServiceBackend
metadata: {name: p, namespace: ns}
spec: {schema: {name: OpenAI}, backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: b}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: b, namespace: ns}
spec: {endpoints: [{fqdn: {hostname: api.example.com, port: 443}}]}
---
apiVersion: aigateway.envoyproxy.io/v1alpha1
kind: QuotaPolicy
metadata: {name: q, namespace: ns}
spec:
  targetRefs: [{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: p}]
  perModelQuotas: [{modelName: m, quota: {}}]
---
";
    let translation = scene(manifests);
    assert_eq!(closed(&translation), ["one ai/0"]);
    let (is_accepted, reason, message) = condition(&translation, (Kind::AiServiceBackend, "p"), "Accepted");
    assert_eq!((is_accepted, reason), (false, "UnsupportedPolicy"), "{message}");
    let (is_accepted, reason, _) = condition(&translation, (Kind::QuotaPolicy, "q"), "Accepted");
    assert_eq!((is_accepted, reason), (false, "Invalid"));
    assert!(closed(&scene(&manifests.replace("perModelQuotas: [{modelName: m, quota: {}}]", ""))).is_empty());
}

/// Large clusters have many policies, with large things in them.
#[test]
fn no_more_is_kept_of_a_policy_than_what_tells_whom_it_concerns() {
    let script = "x".repeat(1 << 20);
    let large =
        policy("EnvoyExtensionPolicy", "p", &format!("{{{GW}, lua: [{{type: Inline, inline: {script}}}]}}"))
            .replace(
                "namespace: ns}",
                &format!("namespace: ns, annotations: {{note: {script}}}, labels: {{l: {script}}}}}"),
            );
    let world = cluster(&large);
    let kept = world.extension_policies.get(&Key::new("ns", "p")).unwrap();
    assert_eq!(kept.closing, ["spec.lua"]);
    let size = format!("{kept:?}").len();
    assert!(size < 1000, "{size} bytes");
}

#[test]
fn kinds_that_nobody_knows_are_named_by_the_class() {
    let unknown_kinds = ["wafpolicies.gateway.envoyproxy.io".to_owned()].into();
    let options = penstock_translate::Options { unknown_kinds, ..options() };
    let translation = translate(&cluster(""), &options);
    let (_, _, message) =
        condition(&translation, (Kind::GatewayClass, "penstock"), "penstock.dev/UnknownKinds");
    assert!(message.ends_with(": wafpolicies.gateway.envoyproxy.io"), "{message}");
}

/// A Gateway for everything: 200 routes, and a policy for each.
#[test]
fn each_route_has_its_own_policy_and_no_other() {
    let mut manifests = String::new();
    for number in 0..200 {
        manifests.push_str(&format!(
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r{number}, namespace: ns}}
spec: {{parentRefs: [{{name: gw, sectionName: two}}], rules: [{{matches: [{{path: {{value: /r/{number}}}}}]}}]}}
---
"
        ));
        let targets = A.replace("name: a}", &format!("name: r{number}}}"));
        let spec = if number % 2 == 0 { "oidc: {}" } else { "cors: {}" };
        manifests.push_str(&security(&format!("p{number}"), &format!("{{{targets}, {spec}}}")));
    }
    let translation = scene(&manifests);
    for number in 0..200 {
        let name = format!("r{number}");
        let closed =
            conditions(&translation, Kind::HttpRoute, &name).into_iter().find(|it| it.kind == CLOSED);
        assert_eq!(closed.is_some(), number % 2 == 0, "{name}");
        if let Some(closed) = closed {
            assert!(
                closed.message.starts_with(&format!("SecurityPolicy ns/p{number} (")),
                "{}",
                closed.message
            );
        }
    }
}
