//! Answers in place of others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RawHeaderEdits, RawRedirect};

/// An answer in place of those that have some statuses. What it says of status, body and headers is all that is left of a
/// response of an upstream; an answer of the gateway's own keeps its other headers, such as `Retry-After`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawResponseOverride {
    /// The statuses. At least one.
    #[schemars(length(min = 1, max = 64))]
    pub statuses: Vec<RawStatusRange>,
    /// Whose answers are replaced.
    #[serde(default, skip_serializing_if = "RawResponseSource::is_default")]
    pub source: RawResponseSource,
    /// The status in place of theirs, which stays if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// What the body is, as `Content-Type` says it. `text/plain` if this is left out and there is a body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub content_type: Option<String>,
    /// The body in place of theirs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 65_536))]
    pub body: String,
    /// Changes to its headers.
    #[serde(default, skip_serializing_if = "RawHeaderEdits::is_empty")]
    pub headers: RawHeaderEdits,
    /// A redirect, which takes the place of `status`, `contentType` and `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<RawRedirect>,
}

/// Statuses from one to another. Those of successes are not for this: what they took has to be read of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawStatusRange {
    /// The first.
    #[schemars(range(min = 300, max = 599))]
    pub from: u16,
    /// The last; the first alone if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 300, max = 599))]
    pub to: Option<u16>,
}

/// Whose answers are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
pub enum RawResponseSource {
    /// Anybody's.
    #[default]
    All,
    /// Those of the upstream that was asked last.
    Upstream,
    /// The gateway's own, such as refusals of policies and limits.
    Gateway,
}

impl RawResponseSource {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
