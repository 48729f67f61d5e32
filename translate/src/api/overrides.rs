//! Envoy Gateway: what a BackendTrafficPolicy answers in place of something else.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{FilterBody, FilterHeaders, HttpPathModifier};

/// What is answered in place of something else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficOverride {
    /// What it is for.
    #[serde(rename = "match")]
    pub conditions: TrafficOverrideMatch,
    /// Whose answers: `All`, `Local` or `Backend`.
    pub source: Option<String>,
    /// An answer.
    pub response: Option<TrafficOverrideResponse>,
    /// A redirect in its place.
    pub redirect: Option<TrafficOverrideRedirect>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// What answers are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficOverrideMatch {
    /// Their statuses.
    pub status_codes: Vec<TrafficStatus>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A status, or some.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficStatus {
    /// `Value` or `Range`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// With `Value`.
    pub value: Option<i64>,
    /// With `Range`.
    pub range: Option<TrafficStatusRange>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Statuses from one to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficStatusRange {
    /// The first.
    pub start: i64,
    /// The last.
    pub end: i64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficOverrideResponse {
    /// Its status; the one that there is if left out.
    pub status_code: Option<i64>,
    /// What its body is.
    pub content_type: Option<String>,
    /// Its body.
    pub body: Option<FilterBody>,
    /// Its headers.
    pub header: Option<FilterHeaders>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A redirect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficOverrideRedirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<HttpPathModifier>,
    /// The port.
    pub port: Option<u16>,
    /// 302 if left out.
    pub status_code: Option<u16>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}
