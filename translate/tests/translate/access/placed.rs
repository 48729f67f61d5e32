//! Where policies are asked: the most specific one counts, and listeners ask where all of their rules would.

use penstock_translate::world::Kind;
use penstock_translate::{CLOSED, POLICIES_IGNORED};

use super::{
    A, AI, FIRST, GW, KEYS, TOKENS, TWO, USERS, accepted, asked, document, expected, policies, policy, scene,
};
use crate::support::{condition, conditions};

#[test]
fn a_listener_asks_where_no_route_says_otherwise() {
    let translation = scene(&policy("g", GW, KEYS));
    assert_eq!(asked(&translation), expected(&[("one", "ns.g"), ("two", "ns.g")]));
    let two = scene(&(policy("g", GW, KEYS) + &policy("t", TWO, USERS)));
    assert_eq!(asked(&two), expected(&[("one", "ns.g"), ("two", "ns.t")]));
}

#[test]
fn rules_ask_where_they_differ() {
    let translation = scene(&(policy("g", GW, KEYS) + &policy("r", A, USERS)));
    let expected_places = expected(&[
        ("one a/0", "ns.r"),
        ("one a/1", "ns.r"),
        ("one ai/0", "ns.g"),
        ("one b/0", "ns.g"),
        ("two a/0", "ns.r"),
        ("two a/1", "ns.r"),
        ("two b/0", "ns.g"),
    ]);
    assert_eq!(asked(&translation), expected_places);
    let overridden = |translation: &penstock_translate::Translation, name: &str| {
        let all = conditions(translation, Kind::SecurityPolicy, name);
        all.iter().find(|it| it.kind == "Overridden").map(|it| it.message.clone())
    };
    assert!(overridden(&translation, "g").unwrap().ends_with(": ns/a"));
    let rule = scene(&(policy("g", GW, KEYS) + &policy("r", A, USERS) + &policy("f", FIRST, TOKENS)));
    assert!(overridden(&rule, "r").unwrap().ends_with(": ns/a"));
    assert_eq!(overridden(&rule, "f"), None);
    let mut expected_places = expected_places;
    expected_places.insert("one a/0".to_owned(), "ns.f".to_owned());
    expected_places.insert("two a/0".to_owned(), "ns.f".to_owned());
    assert_eq!(asked(&rule), expected_places);
}

/// Its list of models, and what it says of paths that nobody serves, are behind the policy then.
#[test]
fn a_listener_asks_what_all_of_its_routes_ask() {
    let only = scene(&policy("r", AI, KEYS));
    assert_eq!(asked(&only), expected(&[("one ai/0", "ns.r")]));
    let all = "targetSelectors: [{kind: HTTPRoute, matchExpressions: [{key: x, operator: DoesNotExist}]}]";
    let translation = scene(&policy("r", all, KEYS));
    assert_eq!(asked(&translation), expected(&[("one", "ns.r"), ("two", "ns.r")]));
}

#[test]
fn a_listener_without_routes_asks_what_its_gateway_asks() {
    let manifests = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: ns}
spec: {gatewayClassName: penstock, listeners: [{name: three, protocol: HTTP, port: 8082, hostname: nobody.example}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a, namespace: ns}
spec: {hostnames: [other.example], parentRefs: [{name: gw}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: b, namespace: ns}
spec: {hostnames: [other.example], parentRefs: [{name: gw}]}
---
apiVersion: aigateway.envoyproxy.io/v1alpha1
kind: AIGatewayRoute
metadata: {name: ai, namespace: ns}
spec: {parentRefs: [{name: elsewhere}]}
---
";
    let translation = scene(&(manifests.to_owned() + &policy("g", GW, KEYS)));
    assert_eq!(asked(&translation), expected(&[("three", "ns.g")]));
}

#[test]
fn an_empty_policy_opens_a_route_and_an_ignored_one_keeps_its_place() {
    let open = "";
    let but_a = expected(&[("one ai/0", "ns.g"), ("one b/0", "ns.g"), ("two b/0", "ns.g")]);
    assert_eq!(asked(&scene(&(policy("g", GW, KEYS) + &policy("r", A, open)))), but_a);
    let ignored = policy("r", A, USERS)
        .replace("namespace: ns}", "namespace: ns, annotations: {penstock.dev/ignore: 'true'}}");
    let translation = scene(&(policy("g", GW, KEYS) + &ignored));
    assert_eq!(asked(&translation), but_a);
    assert!(condition(&translation, (Kind::HttpRoute, "a"), POLICIES_IGNORED).0);
    assert_eq!(accepted(&translation, "r").1, "Ignored");
}

#[test]
fn a_policy_that_merges_says_what_it_says_beside_its_parent() {
    let rules = "mergeType: StrategicMerge, authorization: {defaultAction: Allow}";
    let parent = format!(
        "{KEYS}, {TOKENS}, authorization: {{rules: [{{action: Deny, principal: {{clientCIDRs: ['192.0.2.0/24']}}}}]}}"
    );
    let translation = scene(&(policy("g", GW, &parent) + &policy("r", A, rules)));
    let merged = ["ns.r.over.ns.g.api-key", "ns.r.over.ns.g.jwt"].join(" ");
    assert_eq!(asked(&translation)["one a/0"], merged);
    assert_eq!(asked(&translation)["one b/0"], "ns.g.api-key ns.g.jwt");
    let policies = policies(&translation);
    let authorization = policies["ns.r.over.ns.g.jwt"].authorization.as_ref().unwrap();
    assert_eq!(authorization.rules.len(), 1, "what one does not say is the other's");
    assert_eq!(authorization.default_action, penstock_config::raw::RawAccess::Allow);
    assert!(accepted(&translation, "r").0);
    // Alone, it lacks what only a parent would have.
    let part = policy("r", A, "mergeType: JSONMerge, apiKeyAuth: {sanitize: true}");
    let alone = scene(&part);
    assert_eq!(asked(&alone)["one a/0"], "closed");
    assert_eq!(accepted(&alone, "r").1, "Invalid");
    let both = scene(&(policy("g", GW, KEYS) + &part));
    let of_keys = super::policies(&both)["ns.r.over.ns.g"].authentication.clone().unwrap().api_key.unwrap();
    assert!(!of_keys.forward && of_keys.file.is_some());
    assert!(accepted(&both, "r").0);
}

/// Whoever has a route would otherwise decide on what the status of its Gateway's policy says.
#[test]
fn a_policy_is_not_at_fault_for_what_another_says_beside_it() {
    for wrong in
        [KEYS.replace("name: keys", "name: missing"), "apiKeyAuth: {forwardClientIDHeader: host}".to_owned()]
    {
        let beside = policy("r", A, &format!("mergeType: StrategicMerge, {wrong}"));
        let translation = scene(&(policy("g", GW, KEYS) + &beside));
        assert_eq!(accepted(&translation, "g"), (true, "Accepted", "the policy is in force"), "{wrong}");
        let (is_accepted, reason, message) = accepted(&translation, "r");
        assert_eq!((is_accepted, reason), (false, "Invalid"), "{wrong}: {message}");
    }
}

#[test]
fn of_two_for_the_same_thing_the_older_counts() {
    let dated = |name: &str, year: &str, spec: &str| {
        policy(name, GW, spec).replace(
            "namespace: ns}",
            &format!("namespace: ns, creationTimestamp: '{year}-01-01T00:00:00Z'}}"),
        )
    };
    let translation = scene(&(dated("young", "2026", KEYS) + &dated("old", "2025", USERS)));
    assert_eq!(asked(&translation), expected(&[("one", "ns.old"), ("two", "ns.old")]));
    assert_eq!(accepted(&translation, "young").1, "Conflicted");
}

#[test]
fn an_invalid_policy_closes_its_own_routes_and_no_others() {
    let wrong = KEYS.replace("name: keys", "name: missing");
    let translation = scene(&(policy("g", GW, KEYS) + &policy("r", A, &wrong)));
    let places = asked(&translation);
    assert_eq!(places["one a/0"], "closed");
    assert_eq!((places["one b/0"].as_str(), places["one ai/0"].as_str()), ("ns.g", "ns.g"));
    assert!(conditions(&translation, Kind::HttpRoute, "b").iter().all(|it| it.kind != CLOSED));
}

#[test]
fn claims_change_the_route_only_where_a_listener_asks() {
    let spec = TOKENS.replace(
        "name: example,",
        "name: example, recomputeRoute: true, claimToHeaders: [{header: x-tenant, claim: tenant}],",
    );
    assert_eq!(asked(&scene(&policy("g", GW, &spec))), expected(&[("one", "ns.g"), ("two", "ns.g")]));
    let translation = scene(&policy("r", A, &spec));
    let places = expected(&[
        ("one a/0", "closed"),
        ("one a/1", "closed"),
        ("two a/0", "closed"),
        ("two a/1", "closed"),
    ]);
    assert_eq!(asked(&translation), places);
    let (is_accepted, reason, message) = accepted(&translation, "r");
    assert_eq!((is_accepted, reason), (false, "Invalid"), "{message}");
    assert!(message.contains("recomputeRoute"), "{message}");
    assert_eq!(asked(&scene(&policy("r", A, &spec.replace("true", "false"))))["one a/0"], "ns.r");
}

/// A proxy's address would stand for all of its clients.
#[test]
fn addresses_are_those_that_proxies_tell_where_a_policy_says_so() {
    let rules = "authorization: {rules: [{action: Allow, principal: {clientCIDRs: ['10.0.0.0/8']}}]}";
    let proxies = format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\n\
         metadata: {{name: c, namespace: ns}}\n\
         spec: {{{TWO}, clientIPDetection: {{xForwardedFor: {{numTrustedHops: 1}}}}}}\n---\n"
    );
    let translation = scene(&(proxies + &policy("g", GW, rules)));
    assert_eq!(asked(&translation), expected(&[("one", "ns.g"), ("two", "ns.g")]));
    let gateway = translation.gateways.values().next().expect("a Gateway");
    let hops: Vec<u32> = gateway.document.listeners.iter().map(|listener| listener.trusted_hops).collect();
    assert_eq!(hops, [0, 1]);
}

#[test]
fn a_policy_for_a_rule_that_may_be_any_closes_the_route() {
    let section = AI.replace("name: ai", "name: ai, sectionName: rule-0");
    let translation = scene(&policy("r", &section, KEYS));
    assert_eq!(asked(&translation), expected(&[("one ai/0", "closed")]));
    let named = AI.replace("name: ai", "name: ai, sectionName: m");
    assert_eq!(asked(&scene(&policy("r", &named, KEYS))), expected(&[("one ai/0", "ns.r")]));
}

#[test]
fn policies_whose_names_come_out_the_same_stay_apart() {
    let both = format!("{KEYS}, {TOKENS}");
    let translation = scene(&(policy("x", GW, &both) + &policy("x.jwt", A, USERS)));
    let names: Vec<&str> = document(&translation).policies.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let places = asked(&translation);
    assert_ne!(places["one a/0"], places["one b/0"].split(' ').next_back().unwrap());
}
