//! What a rule asks of a request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Conditions that a request must meet, all of them. Each left out is met by every request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawMatch {
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RawPathMatch>,
    /// Headers, each by its name once. `x-ai-eg-model` stands for the model that the request's body names, never for a
    /// header that the client sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<RawHeaderMatch>,
    /// Query parameters, each by its name once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query_params: Vec<RawQueryParamMatch>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<RawMethod>,
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawPathMatch {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: RawPathMatchType,
    /// The path, its prefix, or a pattern.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// How a path is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawPathMatchType {
    /// The path is this one.
    Exact,
    /// The path is this one or lies below it: `/v1` matches `/v1` and `/v1/models`, not `/v1beta`.
    #[default]
    PathPrefix,
    /// The whole path matches this regular expression (the syntax of Rust's `regex`: no look-around).
    RegularExpression,
}

/// A condition on a header. A header that was sent several times counts as its values joined by commas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHeaderMatch {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: RawValueMatchType,
    /// The header's name, in any case.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value, or a pattern.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// A condition on a query parameter, compared after percent-decoding. Of one given several times, the first counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawQueryParamMatch {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: RawValueMatchType,
    /// The parameter's name; case counts.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value, or a pattern.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

/// How a header or a query parameter is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RawValueMatchType {
    /// The value is this one.
    #[default]
    Exact,
    /// The whole value matches this regular expression (the syntax of Rust's `regex`: no look-around).
    RegularExpression,
}

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum RawMethod {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

fn root() -> String {
    "/".to_owned()
}
