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
        "{{{GATEWAY}, retry: {{retryOn: {{triggers: [reset, cancelled]}}}}, \
         circuitBreaker: {{maxRequestsPerConnection: 1}}, timeout: {{http: {{maxStreamDuration: 1s}}}}}}"
    );
    let translation = scene(&[("p", &partly)]);
    let (is_accepted, _, message) = condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
    assert!(is_accepted, "{message}");
    for left_out in [
        "spec.circuitBreaker.maxRequestsPerConnection",
        "spec.retry.retryOn.triggers: cancelled",
        "spec.timeout.http.maxStreamDuration",
    ] {
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

/// The backends of the document, by name: the most requests, and the time that connecting may take.
fn backends(translation: &Translation) -> Vec<(String, Option<u32>, Span)> {
    let document = &translation.gateways.values().next().unwrap().document;
    let said = document.backends.iter().map(|backend| {
        let most = backend.circuit_breaker.and_then(|circuit| circuit.max_parallel_requests);
        (backend.name.clone(), most, backend.connection.connect_timeout)
    });
    let mut said: Vec<_> = said.collect();
    said.sort();
    said
}

fn targets(translation: &Translation) -> Vec<(String, Vec<String>)> {
    let names = |rule: RawRule| rule.targets.into_iter().filter_map(|target| target.backend).collect();
    rules(translation).into_iter().map(|(listener, rule)| (listener, names(rule))).collect()
}

#[test]
fn what_a_policy_says_of_backends_is_said_of_those_that_its_rules_lead_to() {
    let spec = format!(
        "{{{GATEWAY}, circuitBreaker: {{maxParallelRequests: 7}}, timeout: {{tcp: {{connectTimeout: 4s}}}}, \
         http2: {{maxConcurrentStreams: 9, initialStreamWindowSize: 64Ki}}}}"
    );
    let translation = scene(&[("p", &spec)]);
    let document = &translation.gateways.values().next().unwrap().document;
    assert!(document.backends.iter().all(|backend| backend.connection.http2_streams == 9));
    let own = |name: &str| (name.to_owned(), Some(7), Span::secs(4));
    assert_eq!(backends(&translation), [own("ns.failing"), own("ns.good")]);
    let (is_accepted, _, message) = condition(&translation, (Kind::BackendTrafficPolicy, "p"), "Accepted");
    assert!(is_accepted && !message.contains("circuitBreaker"), "{message}");
    let is_named = |field: &str| message.contains(field);
    assert!(is_named("spec.http2.initialStreamWindowSize") && !is_named("maxConcurrentStreams"), "{message}");
}

#[test]
fn listeners_that_want_a_backend_differently_have_it_each_in_their_own_way() {
    let spec = format!("{{{LISTENER}, circuitBreaker: {{maxParallelRequests: 7}}}}");
    let translation = scene(&[("p", &spec)]);
    let of: Vec<(String, Vec<String>)> = targets(&translation);
    let plain: Vec<&str> = of[0].1.iter().map(String::as_str).collect();
    let bounded: Vec<&str> = of[1].1.iter().map(String::as_str).collect();
    assert_eq!((plain.len(), bounded.len()), (2, 2), "{of:?}");
    for (name, most, _) in backends(&translation) {
        let is_bounded = bounded.contains(&name.as_str());
        assert_ne!(is_bounded, plain.contains(&name.as_str()), "{name}");
        assert_eq!(most, is_bounded.then_some(7), "{name}");
    }
    assert_eq!(backends(&translation).len(), 4);
    // Each can be asked: where its endpoints are is said of it too.
    let document = &translation.gateways.values().next().unwrap().document;
    assert!(document.backends.iter().all(|backend| !backend.endpoints.is_empty()));
}

/// Pools choose by themselves, and the status of the route says so.
#[test]
fn what_has_no_meaning_for_a_pool_is_named() {
    const POOL: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: llama, namespace: ns}
spec: {selector: {matchLabels: {app: llama}}, targetPorts: [{number: 8000}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pooled, namespace: ns}
spec:
  parentRefs: [{name: gw}]
  rules:
    - backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: llama}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: p, namespace: ns}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]
  circuitBreaker: {maxParallelRequests: 7}
  healthCheck: {passive: {}}
---
";
    let translation = translated(&(SCENE.to_owned() + POOL));
    let (is_so, _, message) = condition(&translation, (Kind::HttpRoute, "pooled"), POLICIES_NOT_ACTED_ON);
    assert!(is_so);
    assert!(message.contains("circuitBreaker, healthCheck of its BackendTrafficPolicy"), "{message}");
    assert!(message.contains("the pool ns.llama"), "{message}");
}

#[test]
fn health_checks_are_those_of_the_backends() {
    let spec = format!(
        "{{{ROUTE}, healthCheck: {{panicThreshold: 20, passive: {{consecutive5XxErrors: 3}}, \
         active: {{type: HTTP, http: {{path: /ready}}}}}}}}"
    );
    let translation = scene(&[("p", &spec)]);
    let document = &translation.gateways.values().next().unwrap().document;
    for backend in &document.backends {
        assert_eq!(backend.failure_runs.as_ref().unwrap().server_errors, 3, "{}", backend.name);
        assert_eq!(backend.health_check.as_ref().unwrap().path, "/ready", "{}", backend.name);
        assert_eq!(backend.panic_percent, 20, "{}", backend.name);
    }
    assert_eq!(document.backends.len(), 2);
}
