//! Changes to host and path, redirects, and answers that are the same for all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes to where a forwarded request appears to go. The query stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawUrlRewrite {
    /// The new `Host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,
    /// A header of the request whose value is the new `Host`. Not beside `hostname`. A request that does not have it just once,
    /// with a host in it, keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub hostname_header: Option<String>,
    /// The new path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RawPathRewrite>,
}

/// An answer that is the same for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRespond {
    /// Its status.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// What its body is, as `Content-Type` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub content_type: Option<String>,
    /// Its body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 65_536))]
    pub body: String,
}

/// A change of path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawPathRewrite {
    /// What is replaced.
    #[serde(rename = "type")]
    pub kind: RawPathRewriteType,
    /// The new path, for `ReplaceFullPath`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub replace_full_path: Option<String>,
    /// The new prefix, for `ReplacePrefixMatch`; the rest of the path is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub replace_prefix_match: Option<String>,
    /// What is looked for and what it becomes, for `ReplaceRegexMatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_regex_match: Option<RawRegexReplacement>,
}

/// What is looked for in a path, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRegexReplacement {
    /// A pattern of RE2's kind. Each part of the path that it matches is replaced.
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: String,
    /// What each becomes. `\1` is what the first group matched, `\0` all of it, and `\\` a backslash.
    #[schemars(length(max = 1024))]
    pub substitution: String,
}

/// What a change of path replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RawPathRewriteType {
    /// The whole path.
    ReplaceFullPath,
    /// The prefix that matched. Every match of the rule must then be a `PathPrefix`.
    ReplacePrefixMatch,
    /// What a pattern matches. Not of redirects.
    ReplaceRegexMatch,
}

/// A redirect. What is left out stays as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRedirect {
    /// The scheme.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RawScheme>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub hostname: Option<String>,
    /// The path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<RawPathRewrite>,
    /// The port. Left out, it is the usual one of a scheme that is given here, or else the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
    /// The status: 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    #[schemars(range(min = 301, max = 308))]
    pub status_code: u16,
}

/// The scheme of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum RawScheme {
    Http,
    Https,
}

fn ok() -> u16 {
    200
}

fn found() -> u16 {
    302
}
