//! Which policies limit a route, and where data planes count.

use penstock_translate::world::Kind;
use penstock_translate::{Options, Translation, limit_store, translate};

use crate::support::{condition, documents, options, world};

/// A Gateway with two listeners, and a route.
const SCENE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: ns}
spec:
  gatewayClassName: penstock
  listeners: [{name: one, protocol: HTTP, port: 8080}, {name: two, protocol: HTTP, port: 8081}]
---
apiVersion: v1
kind: Service
metadata: {name: plain, namespace: ns}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: ns}
spec:
  parentRefs: [{name: gw}]
  rules: [{name: m, backendRefs: [{name: plain, port: 80}]}]
---
";

/// A policy that limits requests a second; `limits` are `local` or `global`, each with an amount.
fn policy(name: &str, target: &str, more: &str, limits: &[(&str, u32)]) -> String {
    let limit = |(kind, amount): &(&str, u32)| {
        format!("{kind}: {{rules: [{{limit: {{requests: {amount}, unit: Second}}}}]}}")
    };
    let limits: Vec<String> = limits.iter().map(limit).collect();
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: BackendTrafficPolicy\nmetadata: {{name: {name}, namespace: ns}}\n\
         spec: {{targetRefs: [{{group: gateway.networking.k8s.io, {target}}}]{more}, rateLimit: {{{}}}}}\n---\n",
        limits.join(", ")
    )
}

fn scene(policies: &str, options: &Options) -> Translation {
    translate(&world(documents(&format!("{SCENE}{policies}"))), options)
}

/// The limits of the route, as listeners, name and amount.
fn limits(translation: &Translation) -> Vec<(String, String, String)> {
    let document = &translation.gateways.values().next().expect("a Gateway").document;
    let mut all = Vec::new();
    for route in &document.routes {
        for name in route.rules.iter().flat_map(|rule| &rule.policies) {
            let policy = document.policies.iter().find(|policy| policy.name == *name).expect("it is there");
            let of_policy = policy
                .limits
                .iter()
                .map(|limit| (route.listeners.join("+"), limit.name.clone(), limit.amount.to_string()));
            all.extend(of_policy);
        }
    }
    all
}

fn expected(all: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    all.iter()
        .map(|(at, name, amount)| ((*at).to_owned(), (*name).to_owned(), (*amount).to_owned()))
        .collect()
}

#[test]
fn the_more_specific_policy_takes_the_place_of_the_others_or_stands_beside_them() {
    let gateway = policy("gw", "kind: Gateway, name: gw", "", &[("global", 1), ("local", 2)]);
    let listener = policy("two", "kind: Gateway, name: gw, sectionName: two", "", &[("global", 3)]);
    let route = |more: &str| policy("r", "kind: HTTPRoute, name: r", more, &[("local", 4)]);
    let rule = policy("m", "kind: HTTPRoute, name: r, sectionName: m", "", &[("local", 5)]);
    let merging = route(", mergeType: StrategicMerge");
    for (policies, limited) in [
        (gateway.clone(), &[("one+two", "local-0", "2"), ("one+two", "global-0", "1")][..]),
        (
            format!("{gateway}{listener}"),
            &[("two", "global-0", "3"), ("one", "local-0", "2"), ("one", "global-0", "1")],
        ),
        (format!("{gateway}{}", route("")), &[("one+two", "local-0", "4")]),
        (format!("{gateway}{merging}"), &[("one+two", "local-0", "4"), ("one+two", "global-0", "1")]),
        (format!("{gateway}{merging}{rule}"), &[("one+two", "local-0", "5")]),
    ] {
        assert_eq!(limits(&scene(&policies, &options())), expected(limited), "{policies}");
    }
}

#[test]
fn data_planes_of_a_gateway_share_counters_that_no_others_have() {
    let gateway = policy("gw", "kind: Gateway, name: gw", "", &[("global", 1)]);
    let with_store = Options { limit_store: Some(limit_store("redis://redis:6379").unwrap()), ..options() };
    let translation = scene(&gateway, &with_store);
    let document = &translation.gateways.values().next().expect("a Gateway").document;
    let store = document.limit_store.as_ref().expect("a store");
    assert_eq!((&*store.redis.addresses[0], &*store.redis.key_prefix), ("redis:6379", "penstock"));
    assert_eq!(store.redis.scope.as_deref(), Some("ns.gw"));
    let said = |translation: &Translation| {
        condition(translation, (Kind::BackendTrafficPolicy, "gw"), "Accepted").2.contains("--limit-store")
    };
    assert!(!said(&translation));
    let translation = scene(&gateway, &options());
    assert!(said(&translation));
    assert!(translation.gateways.values().all(|gateway| gateway.document.limit_store.is_none()));
}

#[test]
fn a_quota_is_one_for_each_backend_whatever_gateway_leads_to_it() {
    let gateway = |name: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: ns}}\n\
             spec: {{gatewayClassName: penstock, listeners: [{{name: one, protocol: HTTP, port: 8080}}]}}\n---\n"
        )
    };
    let backend = |name: &str| {
        format!(
            "apiVersion: aigateway.envoyproxy.io/v1beta1\nkind: AIServiceBackend\nmetadata: {{name: {name}, namespace: ns}}\n\
             spec: {{schema: {{name: OpenAI}}, backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: b}}}}\n---\n"
        )
    };
    let manifests = format!(
        "{SCENE}{}{}{}
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: b, namespace: ns}}
spec: {{endpoints: [{{fqdn: {{hostname: api.example.com, port: 443}}}}]}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: ai, namespace: ns}}
spec:
  parentRefs: [{{name: gw}}, {{name: other}}]
  rules:
  - matches: [{{headers: [{{type: Exact, name: x-ai-eg-model, value: m}}]}}]
    backendRefs: [{{name: east}}, {{name: west}}]
---
apiVersion: aigateway.envoyproxy.io/v1alpha1
kind: QuotaPolicy
metadata: {{name: azure, namespace: ns}}
spec:
  targetRefs:
  - {{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: east}}
  - {{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: west}}
  serviceQuota: {{quota: {{limit: 1000, duration: 1m}}}}
",
        gateway("other"),
        backend("east"),
        backend("west"),
    );
    let with_store = Options { limit_store: Some(limit_store("redis://redis:6379").unwrap()), ..options() };
    let translation = translate(&world(documents(&manifests)), &with_store);
    let counted: Vec<_> = translation
        .gateways
        .values()
        .map(|gateway| {
            let document = &gateway.document;
            let scope = document.limit_store.as_ref().and_then(|store| store.redis.scope.clone());
            let limited = document.backends.iter().filter(|backend| !backend.policies.is_empty());
            let owners = limited.map(|backend| {
                let policy =
                    document.policies.iter().find(|policy| backend.policies == [policy.name.clone()]);
                let policy = policy.expect("its quota");
                assert!(policy.limits[0].per.is_empty());
                (policy.name.clone(), policy.limits[0].shared_as.clone().unwrap_or_default())
            });
            (scope.unwrap_or_default(), owners.collect::<Vec<_>>())
        })
        .collect();
    let owned =
        |backend: &str| (format!("quota.ns.azure.{backend}"), format!("quota.aiservicebackend.ns.{backend}"));
    let both = vec![owned("east"), owned("west")];
    assert_eq!(counted, [("ns.gw".to_owned(), both.clone()), ("ns.other".to_owned(), both)]);
}
