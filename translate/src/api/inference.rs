//! The Gateway API Inference Extension: pools, objectives and rewrites.

use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Body;

/// `InferencePool`: Pods that serve the same models.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InferencePool {
    /// Which Pods of its namespace.
    pub selector: PoolSelector,
    /// Their ports. Each port of a Pod is an endpoint.
    pub target_ports: Vec<PoolPort>,
    /// `http` if left out, or `kubernetes.io/h2c`.
    #[schemars(length(max = 253))]
    pub app_protocol: Option<String>,
    /// An endpoint picker, whose configuration is used here in its stead.
    pub endpoint_picker_ref: Option<EndpointPickerRef>,
}

/// Which Pods are in a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolSelector {
    /// Those with all of these labels.
    pub match_labels: BTreeMap<String, String>,
}

/// A port of a pool's Pods.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolPort {
    /// Its number.
    #[schemars(range(min = 1, max = 65_535))]
    pub number: u16,
}

/// A reference to an endpoint picker's Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPickerRef {
    /// Empty (the core group) if left out.
    #[schemars(extend("x-default" = ""))]
    pub group: Option<String>,
    /// `Service` if left out.
    #[schemars(extend("x-default" = "Service"))]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// Its port, to which nothing is sent: the picker runs in process.
    pub port: Option<PoolPort>,
    /// What happens while it cannot be reached, which does not come up: the picker runs in process.
    #[schemars(extend("x-default" = "FailClose"))]
    pub failure_mode: Option<String>,
}

/// `InferenceObjective`: a priority that requests to a pool can ask for by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceObjective {
    /// Higher is served first; 0 if left out.
    pub priority: Option<i32>,
    /// The pool.
    pub pool_ref: PoolRef,
}

/// A reference to a pool in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PoolRef {
    /// `inference.networking.k8s.io` if left out.
    #[schemars(extend("x-default" = "inference.networking.k8s.io"))]
    pub group: Option<String>,
    /// `InferencePool` if left out.
    #[schemars(extend("x-default" = "InferencePool"))]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
}

/// `InferenceModelRewrite`: other names for models on their way to a pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InferenceModelRewrite {
    /// The pool.
    pub pool_ref: PoolRef,
    /// Which models get which names.
    pub rules: Vec<RewriteRule>,
}

/// Models and what they are called at the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteRule {
    /// A request must ask for one of these; every model is meant if empty.
    pub matches: Vec<RewriteMatch>,
    /// The names, one of which is chosen by weight.
    pub targets: Vec<RewriteTarget>,
}

/// A condition on a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteMatch {
    /// On its model.
    pub model: Option<RewriteModelMatch>,
}

/// A condition on a model's name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteModelMatch {
    /// `Exact`, the only type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The name.
    pub value: String,
}

/// A name at the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RewriteTarget {
    /// Its share.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub weight: Option<u32>,
    /// The name.
    pub model_rewrite: String,
}

/// [`InferenceObjective`] of the group `inference.networking.x-k8s.io`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct LegacyInferenceObjective(pub InferenceObjective);

/// [`InferenceModelRewrite`] of the group `inference.networking.x-k8s.io`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct LegacyInferenceModelRewrite(pub InferenceModelRewrite);

impl Body for InferencePool {}
impl Body for InferenceObjective {}
impl Body for LegacyInferenceObjective {}
impl Body for InferenceModelRewrite {}
impl Body for LegacyInferenceModelRewrite {}

impl Deref for LegacyInferenceObjective {
    type Target = InferenceObjective;

    fn deref(&self) -> &InferenceObjective {
        &self.0
    }
}

impl Deref for LegacyInferenceModelRewrite {
    type Target = InferenceModelRewrite;

    fn deref(&self) -> &InferenceModelRewrite {
        &self.0
    }
}
