//! BackendSecurityPolicies: what cannot be honoured closes its target and says so, and nobody gets another's identity. What
//! can be is in `tests/data/credentials`.

use penstock_translate::world::Kind;

use crate::support::{condition, document, translated};

const POLICY: (Kind, &str) = (Kind::BackendSecurityPolicy, "key");

/// A route of the namespace `ns`, whose Gateway it attaches to, to an AIServiceBackend of `team` with a policy.
fn provider(team: &str, schema: &str, policy: &str) -> String {
    format!(
        "
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIGatewayRoute
metadata: {{name: models, namespace: ns}}
spec:
  parentRefs: [{{name: gw, kind: Gateway, group: gateway.networking.k8s.io}}]
  rules:
    - matches: [{{headers: [{{name: x-ai-eg-model, value: m}}]}}]
      backendRefs: [{{name: provider, namespace: {team}}}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: routes, namespace: {team}}}
spec:
  from: [{{group: aigateway.envoyproxy.io, kind: AIGatewayRoute, namespace: ns}}]
  to: [{{group: aigateway.envoyproxy.io, kind: AIServiceBackend}}]
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: AIServiceBackend
metadata: {{name: provider, namespace: {team}}}
spec:
  schema: {{name: {schema}}}
  backendRef: {{group: gateway.envoyproxy.io, kind: Backend, name: provider}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {{name: provider, namespace: {team}}}
spec: {{endpoints: [{{fqdn: {{hostname: api.example.com, port: 443}}}}], tls: {{wellKnownCACertificates: System}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys, namespace: {team}}}
stringData: {{apiKey: not-a-real-key}}
---
apiVersion: aigateway.envoyproxy.io/v1beta1
kind: BackendSecurityPolicy
metadata: {{name: key, namespace: {team}}}
spec:
  targetRefs: [{{group: aigateway.envoyproxy.io, kind: AIServiceBackend, name: provider}}]
  {policy}
---
"
    )
}

const OWN_IDENTITIES: &[(&str, &str)] = &[
    ("AWSBedrock", "{type: AWSCredentials, awsCredentials: {region: us-east-1}}"),
    ("GCPVertexAI", "{type: GCPCredentials, gcpCredentials: {projectName: p, region: global}}"),
];

/// The fields of a policy, to stand beside its `targetRefs`.
fn fields(flow: &str) -> String {
    let inner = flow.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap();
    let (kind, section) = inner.split_once(", ").unwrap();
    format!("{kind}\n  {section}")
}

#[test]
fn a_data_planes_identity_is_for_policies_of_its_gateways_namespace() {
    for (schema, policy) in OWN_IDENTITIES {
        let own = translated(&provider("ns", schema, &fields(policy)));
        let (is_accepted, _, message) = condition(&own, POLICY, "Accepted");
        assert!(is_accepted, "{message}");
        let text = document(&own);
        assert!(text.contains("backend: ns.provider") && !text.contains("status: 500"), "{text}");

        let foreign = translated(&provider("team", schema, &fields(policy)));
        let text = document(&foreign);
        assert!(text.contains("status: 500") && !text.contains("credential:"), "{text}");
        for object in [POLICY, (Kind::AiServiceBackend, "provider")] {
            let (is_accepted, _, message) = condition(&foreign, object, "Accepted");
            assert!(!is_accepted, "{message}");
            assert!(message.contains("refer to Gateway gw"), "it says what would help: {message}");
        }
    }
}

#[test]
fn a_gateway_can_lend_its_identity() {
    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: identity, namespace: ns}
spec:
  from: [{group: aigateway.envoyproxy.io, kind: BackendSecurityPolicy, namespace: team}]
  to: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]
---
";
    let (schema, policy) = OWN_IDENTITIES[0];
    let text = document(&translated(&(provider("team", schema, &fields(policy)) + grant)));
    assert!(text.contains("backend: team.provider") && !text.contains("status: 500"), "{text}");
}

#[test]
fn a_credential_that_the_document_refuses_is_told_by_its_policy() {
    let policy = "type: AWSCredentials
  awsCredentials: {region: \"us-east-1:443\"}";
    let translation = translated(&provider("ns", "AWSBedrock", policy));
    let text = document(&translation);
    assert!(text.contains("status: 500") && !text.contains("credential:"), "{text}");
    let (is_accepted, reason, message) = condition(&translation, POLICY, "Accepted");
    assert_eq!((is_accepted, reason), (false, "Invalid"), "{message}");
    assert!(message.contains("region"), "{message}");
}

#[test]
fn what_the_api_server_fills_in_is_no_field_that_somebody_wrote() {
    let policy = "type: AzureCredentials
  azureCredentials:
    clientID: app
    tenantID: tenant
    oidcExchangeToken:
      oidc: {provider: {issuer: \"https://login.example.com\"}, clientID: c, clientSecret: {name: keys}, refreshToken: true}";
    let secret = "
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: ns}
stringData: {client-secret: not-a-real-secret}
---
";
    let translation = translated(&(provider("ns", "AzureOpenAI", policy) + secret));
    let conditions = crate::support::conditions(&translation, POLICY.0, POLICY.1);
    let kinds: Vec<&str> = conditions.iter().map(|condition| condition.kind).collect();
    assert_eq!(kinds, ["Accepted"], "{conditions:?}");
}
