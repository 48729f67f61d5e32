//! Envoy Gateway: limits of a BackendTrafficPolicy; and those of Envoy AI Gateway's QuotaPolicy, which selects alike.
//!
//! Fields that are not known are errors: one that somebody adds may well restrict.

use std::ops::Deref;

use serde::Deserialize;
use serde_json::Value;

use super::{Body, PolicyTargets};

/// How often clients may ask.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimit {
    /// `Local` or `Global`. Out of use: what is there counts.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Counted by each data plane.
    pub local: Option<RateLimitRules>,
    /// Counted for all data planes together.
    pub global: Option<RateLimitRules>,
}

/// Rules of limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitRules {
    /// Each counts by itself.
    pub rules: Vec<RateLimitRule>,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitRule {
    /// Which requests it is for: those that meet all.
    pub client_selectors: Vec<RateLimitSelector>,
    /// The most.
    pub limit: RateLimitValue,
    /// What a request counts; 1 if left out.
    pub cost: Option<RateLimitCost>,
    /// Whether everything that the policy is for counts together.
    pub shared: Option<bool>,
    /// Whether it only counts.
    pub shadow_mode: Option<bool>,
    /// Which headers tell of it.
    pub x_rate_limit_headers: Option<String>,
}

/// Which requests a limit is for: those that meet all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitSelector {
    /// With all of these headers.
    pub headers: Vec<RateLimitMatch>,
    /// With one of these methods.
    pub methods: Vec<RateLimitPlain>,
    /// With this path; a prefix if nothing else is said.
    pub path: Option<RateLimitPlain>,
    /// From these addresses.
    #[serde(rename = "sourceCIDR")]
    pub source_cidr: Option<RateLimitPlain>,
    /// With all of these parameters of the query.
    pub query_params: Vec<RateLimitMatch>,
}

/// What is asked of something that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitMatch {
    /// `Exact` (if left out), `RegularExpression`, or `Distinct`: each value counts by itself.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Whether the contrary is asked.
    pub invert: Option<bool>,
}

/// What is asked of something that has no name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitPlain {
    /// How it is compared.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The value.
    pub value: String,
    /// Whether the contrary is asked.
    pub invert: Option<bool>,
}

/// The most in some time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitValue {
    /// How many.
    pub requests: Option<u64>,
    /// `Second`, `Minute`, `Hour`, `Day`, `Week`, `Month` or `Year`.
    pub unit: String,
}

/// What a request counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitCost {
    /// Before it is served.
    pub request: Option<RateLimitCostOf>,
    /// When it has been.
    pub response: Option<RateLimitCostOf>,
}

/// Where a cost comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitCostOf {
    /// `Number` or `Metadata`.
    pub from: String,
    /// With `Number`.
    pub number: Option<u64>,
    /// With `Metadata`.
    pub metadata: Option<RateLimitMetadata>,
}

/// What somebody noted of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RateLimitMetadata {
    /// Whose note it is.
    pub namespace: String,
    /// Which of them.
    pub key: String,
}

/// `QuotaPolicy`: how many tokens a provider may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct QuotaPolicy {
    /// What it is for.
    #[serde(flatten)]
    pub targets: PolicyTargets,
    /// Of all models: a [`ServiceQuota`].
    pub service_quota: Option<Value>,
    /// Of single models, [`ModelQuota`]s.
    pub per_model_quotas: Vec<Value>,
}

impl Body for QuotaPolicy {}

impl Deref for QuotaPolicy {
    type Target = PolicyTargets;

    fn deref(&self) -> &PolicyTargets {
        &self.targets
    }
}

/// How much of all models.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ServiceQuota {
    /// What a request counts, in CEL; all tokens if left out.
    pub cost_expression: Option<String>,
    /// The most.
    pub quota: Option<QuotaValue>,
}

/// How much of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ModelQuota {
    /// The model, as the provider calls it.
    pub model_name: String,
    /// How much.
    pub quota: QuotaDefinition,
}

/// How much of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct QuotaDefinition {
    /// What a request counts, in CEL; all tokens if left out.
    pub cost_expression: Option<String>,
    /// `Shared`.
    pub mode: Option<String>,
    /// For all.
    pub default_bucket: Option<QuotaValue>,
    /// For some.
    pub bucket_rules: Vec<QuotaRule>,
}

/// How much for some.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct QuotaRule {
    /// For whom: those who meet all.
    pub client_selectors: Vec<RateLimitSelector>,
    /// The most.
    pub quota: QuotaValue,
    /// Whether it only counts.
    pub shadow_mode: Option<bool>,
}

/// The most in some time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct QuotaValue {
    /// How many.
    pub limit: Option<u64>,
    /// `1s`, `1m`, `1h` or `1d`.
    pub duration: String,
}
