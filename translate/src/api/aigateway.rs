//! Envoy AI Gateway: `v1alpha1` and `v1beta1`, which are alike in what is read.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Body, HttpHeader, HttpTimeouts, HttpValueMatch, ObjectRef, ParentRef};

/// `AIGatewayRoute`: models and where they are served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiGatewayRoute {
    /// The gateways.
    pub parent_refs: Vec<ParentRef>,
    /// The hosts it is for; all if empty.
    pub hostnames: Vec<String>,
    /// Its rules.
    pub rules: Vec<AiRule>,
    /// What is counted of requests, for limits that refer to it. Where anything is, streams have to report their tokens.
    pub llm_request_costs: Vec<AiRequestCost>,
}

/// Something that is counted of requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiRequestCost {
    /// What limits refer to it by (`cost.response.metadata.key`).
    pub metadata_key: String,
    /// `InputToken`, `CachedInputToken`, `CacheCreationInputToken`, `OutputToken`, `ReasoningToken`, `TotalToken` or `CEL`.
    #[serde(rename = "type")]
    pub kind: String,
    /// With `CEL`: the expression.
    pub cel: Option<String>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiRule {
    /// Its name.
    pub name: Option<String>,
    /// A request must meet one of these; every request does if empty.
    pub matches: Vec<AiRuleMatch>,
    /// Where requests go.
    pub backend_refs: Vec<AiBackendRef>,
    /// Deadlines; 60 s for the request if left out.
    pub timeouts: Option<HttpTimeouts>,
    /// The longest pause in a response.
    pub stream_idle_timeout: Option<String>,
    /// Who offers its models.
    pub models_owned_by: Option<String>,
    /// Since when.
    pub models_created_at: Option<String>,
}

/// Conditions on a request, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiRuleMatch {
    /// On its headers; `x-ai-eg-model` is the model that its body names.
    pub headers: Vec<HttpValueMatch>,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiBackendRef {
    /// Left out for an `AIServiceBackend` (or an Envoy Gateway `Backend` of that name).
    pub group: Option<String>,
    /// Left out, or `InferencePool`.
    pub kind: Option<String>,
    /// The route's if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What the model is called there.
    pub model_name_override: Option<String>,
    /// Changes to headers of requests that go there.
    pub header_mutation: Option<AiHeaderMutation>,
    /// Changes to bodies of requests that go there.
    pub body_mutation: Option<AiBodyMutation>,
    /// 1 if left out; 0 takes it out of use.
    pub weight: Option<u32>,
    /// Lower is used first; 0 if left out.
    pub priority: Option<u32>,
}

/// Changes to headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiHeaderMutation {
    /// Replaced.
    pub set: Vec<HttpHeader>,
    /// Removed.
    pub remove: Vec<String>,
}

/// Changes to the top-level members of bodies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiBodyMutation {
    /// Replaced, or added.
    pub set: Vec<AiBodyField>,
    /// Removed.
    pub remove: Vec<String>,
}

/// A member of a body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiBodyField {
    /// Its name.
    pub path: String,
    /// Its value, as JSON.
    pub value: String,
}

/// `AIServiceBackend`: a provider of models.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AiServiceBackend {
    /// What it speaks.
    pub schema: VersionedSchema,
    /// An Envoy Gateway `Backend`.
    pub backend_ref: ObjectRef,
    /// Changes to headers of requests that go there.
    pub header_mutation: Option<AiHeaderMutation>,
    /// Changes to bodies of requests that go there.
    pub body_mutation: Option<AiBodyMutation>,
}

/// What a provider speaks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VersionedSchema {
    /// `OpenAI`, `Anthropic`, `AWSBedrock`, `AWSAnthropic`, `AzureOpenAI`, `GCPVertexAI`, `GCPAnthropic` or `Cohere`.
    pub name: String,
    /// The API's version: of `AzureOpenAI`, `AWSAnthropic` and `GCPAnthropic`.
    pub version: Option<String>,
    /// What stands before the path in place of `v1`.
    pub prefix: Option<String>,
}

/// `GatewayConfig`: settings of a gateway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayConfig {
    /// What is counted of requests, as in an `AIGatewayRoute`, for all of the gateway's.
    #[serde(rename = "globalLLMRequestCosts")]
    pub global_llm_request_costs: Vec<AiRequestCost>,
}

impl Body for AiGatewayRoute {}
impl Body for AiServiceBackend {}
impl Body for GatewayConfig {}
