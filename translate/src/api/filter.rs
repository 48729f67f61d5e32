//! Envoy Gateway: HTTPRouteFilter.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Body, HeaderModifier, HttpHeader, SecretRef};

/// `HTTPRouteFilter`: what rules of HTTPRoutes do beyond the Gateway API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteFilter {
    /// Changes to host and path.
    pub url_rewrite: Option<FilterUrlRewrite>,
    /// An answer that is the same for all.
    pub direct_response: Option<FilterResponse>,
    /// A secret that requests are sent with.
    pub credential_injection: Option<FilterCredentialInjection>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

impl Body for HttpRouteFilter {}

/// A secret that requests are sent with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterCredentialInjection {
    /// In which header; `Authorization` by default.
    pub header: Option<String>,
    /// Whether it takes the place of what a request has there; not by default.
    pub overwrite: Option<bool>,
    /// Where it is.
    pub credential: FilterCredential,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Where a secret is that requests are sent with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterCredential {
    /// The Secret, which has it under `credential`.
    pub value_ref: Option<SecretRef>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Changes to host and path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterUrlRewrite {
    /// To the host.
    pub hostname: Option<FilterHostname>,
    /// To the path.
    pub path: Option<FilterPath>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A change of host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterHostname {
    /// `Header` or `Backend`.
    #[serde(rename = "type")]
    pub kind: String,
    /// With `Header`.
    pub header: Option<String>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A change of path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterPath {
    /// `ReplaceRegexMatch`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is looked for, and what it becomes.
    pub replace_regex_match: Option<FilterRegex>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// What is looked for, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterRegex {
    /// A pattern of RE2's.
    pub pattern: String,
    /// With groups as `\1`.
    pub substitution: String,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// An answer that is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterResponse {
    /// Its status; 200 if left out.
    pub status_code: Option<u16>,
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

/// A body.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterBody {
    /// `Inline` or `ValueRef`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// With `Inline`.
    pub inline: Option<String>,
    /// With `ValueRef`: a ConfigMap.
    pub value_ref: Option<FilterBodyRef>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Where a body is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterBodyRef {
    /// The group; the core's if left out.
    pub group: Option<String>,
    /// The kind.
    pub kind: Option<String>,
    /// The name.
    pub name: String,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Changes to the headers of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterHeaders {
    /// Replaced.
    pub set: Vec<FilterHeader>,
    /// Added.
    pub add: Vec<FilterHeader>,
    /// Removed.
    pub remove: Vec<String>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A header of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FilterHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

impl From<&FilterHeaders> for HeaderModifier {
    fn from(headers: &FilterHeaders) -> Self {
        let of = |headers: &[FilterHeader]| {
            let header = |it: &FilterHeader| HttpHeader { name: it.name.clone(), value: it.value.clone() };
            headers.iter().map(header).collect()
        };
        Self { set: of(&headers.set), add: of(&headers.add), remove: headers.remove.clone() }
    }
}
