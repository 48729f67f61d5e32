//! What BackendTrafficPolicies change of how requests are tried.

use penstock_config::raw::RawRule;
use penstock_config::{Span, Timeout};
use penstock_translate::world::Kind;
use penstock_translate::{POLICIES_NOT_ACTED_ON, Translation};

use crate::support::{condition, translated};

/// A Gateway with two listeners, and a route in two priorities, as Envoy AI Gateway's example of a fallback has it.
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
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {name: fallback, namespace: ns}
spec:
  parentRefs: [{name: gw}]
  rules:
    - name: m
      matches: [{headers: [{name: x-ai-eg-model, value: m}]}]
      backendRefs: [{name: failing, priority: 0}, {name: good, priority: 1}]
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {name: failing, namespace: ns}
spec: {schema: {name: OpenAI}, backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: failing}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: failing, namespace: ns}
spec: {endpoints: [{fqdn: {hostname: failing.example.com, port: 443}}]}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {name: good, namespace: ns}
spec: {schema: {name: AWSBedrock}, backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: good}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: good, namespace: ns}
spec: {endpoints: [{fqdn: {hostname: bedrock-runtime.us-east-1.amazonaws.com, port: 443}}]}
---
";

fn scene(policies: &[(&str, &str)]) -> Translation {
    let policies = policies.iter().map(|(name, spec)| {
        format!(
            "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: BackendTrafficPolicy\n\
             metadata: {{name: {name}, namespace: ns}}\nspec: {spec}\n---\n"
        )
    });
    translated(&(SCENE.to_owned() + &policies.collect::<String>()))
}

/// The rule of each listener, by its name.
fn rules(translation: &Translation) -> Vec<(String, RawRule)> {
    let mut rules = Vec::new();
    for route in &translation.gateways.values().next().unwrap().document.routes {
        for listener in &route.listeners {
            rules.push((listener.clone(), route.rules[0].clone()));
        }
    }
    rules.sort_by(|a, b| a.0.cmp(&b.0));
    rules
}

const ROUTE: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: fallback}]";
const GATEWAY: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]";
const LISTENER: &str =
    "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw, sectionName: two}]";

/// The policy is for the HTTPRoute that Envoy AI Gateway would make of the route.
#[test]
fn a_fallback_as_it_is_published_is_one() {
    let spec = format!(
        "{{{ROUTE}, retry: {{numAttemptsPerPriority: 1, numRetries: 5, \
         perRetry: {{backOff: {{baseInterval: 100ms, maxInterval: 10s}}, timeout: 30s}}, \
         retryOn: {{httpStatusCodes: [500], triggers: [connect-failure, retriable-status-codes]}}}}}}"
    );
    let translation = scene(&[("p", &spec)]);
    let rules = rules(&translation);
    assert_eq!(rules.len(), 2);
    for (_, rule) in rules {
        assert_eq!((rule.retry.attempts, rule.retry.attempts_per_priority), (6, 1));
        assert_eq!(rule.retry.statuses.0, [500]);
        assert_eq!(rule.timeouts.per_try, Timeout::secs(30));
        // That of Envoy AI Gateway.
        assert_eq!(rule.timeouts.request, Timeout::secs(60));
        let priorities: Vec<u32> = rule.targets.iter().map(|target| target.priority).collect();
        assert_eq!(priorities, [0, 1]);
    }
    let (is_accepted, _, message) = condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
    assert!(is_accepted, "{message}");
}

#[test]
fn the_more_specific_policy_counts_and_merges_if_it_says_so() {
    let gateway =
        format!("{{{GATEWAY}, retry: {{numRetries: 7}}, timeout: {{http: {{requestTimeout: 9s}}}}}}");
    let listener = format!("{{{LISTENER}, retry: {{numRetries: 1}}}}");
    let translation = scene(&[("g", &gateway), ("l", &listener)]);
    let of = |translation: &Translation| -> Vec<(u32, Span)> {
        rules(translation).iter().map(|(_, rule)| (rule.retry.attempts, rule.timeouts.request.0)).collect()
    };
    assert_eq!(of(&translation), [(8, Span::secs(9)), (2, Span::secs(60))]);
    let route = |merge: &str| format!("{{{ROUTE}, {merge} retry: {{numRetries: 3}}}}");
    let whole = scene(&[("g", &gateway), ("r", &route(""))]);
    assert_eq!(of(&whole), [(4, Span::secs(60)); 2]);
    let merged = scene(&[("g", &gateway), ("r", &route("mergeType: StrategicMerge,"))]);
    assert_eq!(of(&merged), [(4, Span::secs(9)); 2]);
}

#[test]
fn what_is_not_acted_on_is_named_and_what_cannot_be_is_not_in_force() {
    let partly = format!(
        "{{{GATEWAY}, retry: {{retryOn: {{triggers: [reset, cancelled]}}}}, circuitBreaker: {{}}, \
         timeout: {{tcp: {{connectTimeout: 1s}}}}}}"
    );
    let translation = scene(&[("p", &partly)]);
    let (is_accepted, _, message) = condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
    assert!(is_accepted, "{message}");
    for left_out in ["spec.circuitBreaker", "spec.retry.retryOn.triggers: cancelled", "spec.timeout.tcp"] {
        assert!(message.contains(left_out), "{message}");
        let (_, _, message) = condition(&translation, (Kind::Gateway, "gw"), POLICIES_NOT_ACTED_ON);
        assert!(message.contains(left_out), "{message}");
    }
    let wrong = format!("{{{GATEWAY}, retry: {{numRetries: 7, perRetry: {{timeout: soon}}}}}}");
    let translation = scene(&[("p", &wrong)]);
    let (is_accepted, reason, message) =
        condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
    assert_eq!((is_accepted, reason), (false, "Invalid"));
    assert!(message.starts_with("spec.retry.perRetry.timeout: "), "{message}");
    assert!(rules(&translation).iter().all(|(_, rule)| rule.retry.attempts == 3));
}
