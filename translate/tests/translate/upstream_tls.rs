//! BackendTLSPolicies: a credential never goes over plaintext because a policy missed its target, and statuses say which
//! policy is in force.

use penstock_translate::world::Kind;

use crate::support::{condition, document, translated};

const POLICY: (Kind, &str) = (Kind::BackendTlsPolicy, "tls");

/// A route to an AIServiceBackend with a credential, whose Backend `provider` has these endpoints.
fn provider(endpoints: &str) -> String {
    format!(
        "
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: models, namespace: ns}}
spec:
  parentRefs: [{{name: gw, kind: Gateway, group: gateway.networking.k8s.io}}]
  rules:
    - matches: [{{headers: [{{name: x-ai-eg-model, value: m}}]}}]
      backendRefs: [{{name: provider}}]
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: provider, namespace: ns}}
spec:
  schema: {{name: OpenAI}}
  backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: provider}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: BackendSecurityPolicy
metadata: {{name: key, namespace: ns}}
spec:
  type: APIKey
  targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: provider}}]
  apiKey: {{secretRef: {{name: keys}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: ns}}
stringData: {{apiKey: not-a-real-key}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: provider, namespace: ns}}
spec: {{endpoints: [{endpoints}]}}
---
"
    )
}

/// A BackendTLSPolicy `name` for the Backend `provider`.
fn policy(name: &str, created: &str, target: &str, names: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: {name}, namespace: ns, creationTimestamp: {created:?}}}
spec:
  targetRefs: [{{group: gateway.envoyproxy.io, kind: Backend, name: provider{target}}}]
  validation: {{wellKnownCACertificates: System, hostname: api.example.com{names}}}
---
"
    )
}

const HTTPS: &str = "{fqdn: {hostname: api.example.com, port: 443}}";
const BOTH: &str =
    "{fqdn: {hostname: api.example.com, port: 443}}, {fqdn: {hostname: api.example.com, port: 80}}";
const DAY: &str = "2026-01-01T00:00:00Z";

#[test]
fn a_section_of_a_backend_is_the_number_of_its_port() {
    let manifests = provider(HTTPS) + &policy("tls", DAY, ", sectionName: \"443\"", "");
    let translation = translated(&manifests);
    let document = document(&translation);
    assert!(document.contains("sni: api.example.com"), "{document}");
    assert!(document.contains("credential:"), "{document}");
    let (is_accepted, _, message) = condition(&translation, POLICY, "Accepted");
    assert!(is_accepted && message.contains("port \"443\" of Backend ns/provider"), "{message}");
}

#[test]
fn a_credential_does_not_go_over_plaintext_where_a_policy_missed_its_port() {
    let manifests = provider(HTTPS) + &policy("tls", DAY, ", sectionName: https", "");
    let translation = translated(&manifests);
    let (is_accepted, reason, message) = condition(&translation, POLICY, "Accepted");
    assert_eq!((is_accepted, reason), (false, "TargetNotFound"), "{message}");
    assert!(!message.contains("in force"), "{message}");
    let document = document(&translation);
    assert!(document.contains("status: 500") && !document.contains("credential:"), "{document}");
    let (is_accepted, _, message) = condition(&translation, (Kind::AiServiceBackend, "provider"), "Accepted");
    assert!(!is_accepted && message.contains("no credential is sent without TLS"), "{message}");
    let resolved = condition(&translation, (Kind::AiGatewayRoute, "models"), "ResolvedRefs");
    assert!(!resolved.0, "{resolved:?}");
}

#[test]
fn ports_of_which_only_one_has_tls_are_refused() {
    let manifests = provider(BOTH) + &policy("tls", DAY, ", sectionName: \"443\"", "");
    let translation = translated(&manifests);
    let document = document(&translation);
    assert!(document.contains("status: 500") && !document.contains("credential:"), "{document}");
    let (is_accepted, _, message) = condition(&translation, (Kind::Backend, "provider"), "Accepted");
    assert!(!is_accepted && message.contains("make a Backend for each port"), "{message}");
}

#[test]
fn names_that_cannot_be_verified_close_the_way() {
    let uri = ", subjectAltNames: [{type: URI, uri: \"spiffe://example.com/api\"}]";
    let translation = translated(&(provider(HTTPS) + &policy("tls", DAY, "", uri)));
    let document = document(&translation);
    assert!(document.contains("status: 500") && !document.contains("credential:"), "{document}");
    let (is_accepted, reason, message) = condition(&translation, POLICY, "Accepted");
    assert_eq!((is_accepted, reason), (false, "Invalid"), "{message}");
    assert!(message.contains("subjectAltNames"), "{message}");
    // A route says why, too.
    let (is_resolved, _, message) = condition(&translation, (Kind::AiGatewayRoute, "models"), "ResolvedRefs");
    assert!(!is_resolved && message.contains("subjectAltNames"), "{message}");
}

#[test]
fn a_name_that_is_the_hostname_is_verified_anyway() {
    let same = ", subjectAltNames: [{type: Hostname, hostname: API.example.com}]";
    let translation = translated(&(provider(HTTPS) + &policy("tls", DAY, "", same)));
    assert!(condition(&translation, POLICY, "Accepted").0);
    assert!(document(&translation).contains("sni: api.example.com"));
}

#[test]
fn a_policy_that_an_older_one_overrules_says_so() {
    let manifests =
        provider(HTTPS) + &policy("tls", DAY, "", "") + &policy("late", "2026-01-02T00:00:00Z", "", "");
    let translation = translated(&manifests);
    assert!(condition(&translation, POLICY, "Accepted").0);
    let (is_accepted, reason, message) =
        condition(&translation, (Kind::BackendTlsPolicy, "late"), "Accepted");
    assert_eq!((is_accepted, reason), (false, "Conflicted"), "{message}");
}

#[test]
fn a_service_has_sections_by_name() {
    let manifests = |section: &str| {
        format!(
            "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route, namespace: ns}}
spec: {{parentRefs: [{{name: gw}}], rules: [{{backendRefs: [{{name: s, port: 443}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: s, namespace: ns}}
spec: {{ports: [{{name: https, port: 443}}, {{name: http, port: 80}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {{name: tls, namespace: ns}}
spec:
  targetRefs: [{{group: \"\", kind: Service, name: s, sectionName: {section}}}]
  validation: {{wellKnownCACertificates: System, hostname: s.example.com}}
"
        )
    };
    let translation = translated(&manifests("https"));
    assert!(condition(&translation, POLICY, "Accepted").0);
    assert!(document(&translation).contains("sni: s.example.com"));
    let translation = translated(&manifests("htps"));
    assert_eq!(condition(&translation, POLICY, "Accepted").1, "TargetNotFound");
    assert!(!document(&translation).contains("sni: s.example.com"));
}
