//! What SecurityPolicies ask of requests: where, of whom, and what becomes of those that cannot be.

mod asked;
mod cors;
mod external;
mod login;
mod placed;

use std::collections::BTreeMap;

use penstock_config::Snapshot;
use penstock_config::raw::{Document, RawPolicy, RawStatusReason};
use penstock_picker::EpcCheck;
use penstock_translate::world::{Kind, World};
use penstock_translate::{GatewayOutput, Translation, translate};

use crate::support::{condition, documents, options, world};

/// A Gateway with two listeners, the HTTPRoutes `a` with a named rule and another, and `b`, and the AIGatewayRoute `ai` at
/// the first; and what policies refer to.
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
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a, namespace: ns, labels: {team: red}}
spec:
  parentRefs: [{name: gw}]
  rules:
    - {name: first, matches: [{path: {value: /a/1}}], backendRefs: [{name: s, port: 80}]}
    - {matches: [{path: {value: /a/2}}], filters: [{type: RequestRedirect, requestRedirect: {hostname: x.example}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: b, namespace: ns}
spec: {parentRefs: [{name: gw}], rules: [{matches: [{path: {value: /b}}], backendRefs: [{name: s, port: 80}]}]}
---
apiVersion: aigateway.envoyproxy.io/v1alpha1
kind: AIGatewayRoute
metadata: {name: ai, namespace: ns}
spec:
  parentRefs: [{name: gw, sectionName: one}]
  rules: [{name: m, matches: [{headers: [{name: x-ai-eg-model, value: m}]}], backendRefs: [{name: p}]}]
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: ns}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: ns}
stringData: {client1: supersecret, client2: \"other-secret\\n\"}
---
apiVersion: v1
kind: Secret
metadata: {name: more-keys, namespace: ns}
stringData: {client1: another, client3: third}
---
apiVersion: v1
kind: Secret
metadata: {name: users, namespace: ns}
stringData: {.htpasswd: \"foo:{SHA}Yb8Rr4hUY0YjvLJgsCmWwtmlTzA=\\n\"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: keyset, namespace: ns}
data: {jwks: '{\"keys\": [{\"kty\": \"RSA\"}]}'}
---
";

const A: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a}]";
const AI: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: ai}]";
const FIRST: &str =
    "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a, sectionName: first}]";
const GW: &str = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]";
const TWO: &str =
    "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw, sectionName: two}]";

const KEYS: &str = "apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}]}";
const USERS: &str = "basicAuth: {users: {name: users}}";
const TOKENS: &str = "jwt: {providers: [{name: example, localJWKS: {type: ValueRef, valueRef: {kind: ConfigMap, name: keyset}}}]}";

/// A SecurityPolicy.
fn policy(name: &str, targets: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\n\
         metadata: {{name: {name}, namespace: ns}}\nspec: {{{targets}, {spec}}}\n---\n"
    )
}

fn cluster(manifests: &str) -> World {
    world(documents(&format!("{SCENE}{manifests}")))
}

/// What a cluster with policies means, which can always be served.
fn scene(manifests: &str) -> Translation {
    let translation = translate(&cluster(manifests), &options());
    let text = serde_json::to_string(document(&translation)).unwrap();
    if let Err(faults) = Snapshot::compile(&text, &EpcCheck) {
        panic!("{manifests}: {faults}");
    }
    translation
}

fn gateway(translation: &Translation) -> &GatewayOutput {
    translation.gateways.values().next().expect("a Gateway")
}

fn document(translation: &Translation) -> &Document {
    &gateway(translation).document
}

/// The policies of a translation's document, by name.
fn policies(translation: &Translation) -> BTreeMap<&str, &RawPolicy> {
    document(translation).policies.iter().map(|policy| (policy.name.as_str(), policy)).collect()
}

/// Where policies are asked: by `listener`, or by `listener route/rule`; `closed` for rules that are.
fn asked(translation: &Translation) -> BTreeMap<String, String> {
    let mut asked = BTreeMap::new();
    let document = document(translation);
    for listener in document.listeners.iter().filter(|listener| !listener.policies.is_empty()) {
        asked.insert(listener.name.clone(), listener.policies.join(" "));
    }
    for route in &document.routes {
        let name = route.name.split('.').nth(1).unwrap_or(&route.name);
        for (index, rule) in route.rules.iter().enumerate() {
            let reasons: Vec<_> = rule.targets.iter().map(|target| target.reason).collect();
            let is_closed = reasons == [Some(RawStatusReason::UnsupportedPolicy)];
            assert!(!is_closed || rule.policies.is_empty(), "{rule:?}");
            for listener in route.listeners.iter().filter(|_| is_closed || !rule.policies.is_empty()) {
                let policies = if is_closed { "closed".to_owned() } else { rule.policies.join(" ") };
                asked.insert(format!("{listener} {name}/{index}"), policies);
            }
        }
    }
    asked
}

/// As [`asked`] tells it, from pairs.
fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(place, policies)| ((*place).to_owned(), (*policies).to_owned())).collect()
}

/// What the status of a policy says.
fn accepted<'t>(translation: &'t Translation, name: &str) -> (bool, &'static str, &'t str) {
    condition(translation, (Kind::SecurityPolicy, name), "Accepted")
}
