//! Routes, their rules, and what a rule does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RawCors, RawMatch, RawRetry, RawRuleCredential, RawTimeouts};
use crate::knob::Size;
use crate::settings::{StreamUsage, Untranslatable};

mod response;
mod url;

pub use response::{RawResponseOverride, RawResponseSource, RawStatusRange};
pub use url::{
    RawPathRewrite, RawPathRewriteType, RawRedirect, RawRegexReplacement, RawRespond, RawScheme,
    RawUrlRewrite,
};

/// Rules for some hosts on some listeners.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRoute {
    /// Its name, unique among routes; logs and metrics show it. Lower case letters, digits, `-` and `.`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The listeners it holds for. None is all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub listeners: Vec<String>,
    /// The hosts it holds for; `*.example.com` stands for every host below `example.com`. None is every host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub hostnames: Vec<String>,
    /// Who offers its models, as `GET /v1/models` tells it.
    #[serde(default = "owner")]
    #[schemars(length(min = 1, max = 253))]
    pub models_owned_by: String,
    /// Since when, in RFC 3339, such as `2026-01-31T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub models_created_at: Option<String>,
    /// The rules. At least one.
    #[schemars(length(min = 1, max = 20_000))]
    pub rules: Vec<RawRule>,
}

/// Requests that meet one of the matches, and what is done with them. Of several rules that a request meets, the one
/// with the most specific match wins: the host first (exact, then the longest wildcard), then the path (exact, then the
/// longest prefix, then a pattern), then a condition on the method, then the number of conditions on headers, then on
/// query parameters; among equals, the first in the document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRule {
    /// Its name, for logs and metrics; its position in the route if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// A request must meet one of these. None is met by every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub matches: Vec<RawMatch>,
    /// Short for a condition on `x-ai-eg-model` in every match: the request must ask for one of these models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub models: Vec<String>,
    /// Where requests are sent. A rule has either targets, a redirect or `respond`. If every target has weight 0, the answer is
    /// 503.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub targets: Vec<RawTarget>,
    /// Where copies of requests are sent. What they answer is ignored; a copy never delays or fails its request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub mirrors: Vec<RawMirror>,
    /// Answers with a redirect instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<RawRedirect>,
    /// Answers with this instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<RawRespond>,
    /// The most bytes that the body of its requests may have, where that is less than at its listeners. Answer: 413.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1", "x-maximum" = "4GiB"))]
    pub body_bytes: Option<Size>,
    /// Changes to the request's headers.
    #[serde(default, skip_serializing_if = "RawHeaderEdits::is_empty")]
    pub request_headers: RawHeaderEdits,
    /// A secret that requests are sent with, behind the changes to headers. An upstream's own credential in the same header
    /// takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<RawRuleCredential>,
    /// Changes to the response's headers.
    #[serde(default, skip_serializing_if = "RawHeaderEdits::is_empty")]
    pub response_headers: RawHeaderEdits,
    /// Answers in place of those that have some statuses. The first that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub response_overrides: Vec<RawResponseOverride>,
    /// Changes to host and path before the request is forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<RawUrlRewrite>,
    /// The names of policies that its requests have to pass, behind those of the listener. `GET /v1/models` does not show
    /// the models of a rule that has any, since only the listener's policies are asked there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub policies: Vec<String>,
    /// Which web pages may ask, in place of what its policies and those of its listener say of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<RawCors>,
    /// What becomes of a request that is translated (`api` of its pool or backend) and has members that the other API has
    /// no place for.
    #[serde(default, skip_serializing_if = "Untranslatable::is_default")]
    pub untranslatable: Untranslatable,
    /// When streams of OpenAI's chat and completions report the tokens that they took, without which nobody can count them
    /// exactly.
    #[serde(default, skip_serializing_if = "StreamUsage::is_default")]
    pub usage: StreamUsage,
    /// Deadlines.
    #[serde(default)]
    pub timeouts: RawTimeouts,
    /// When a failed attempt is followed by another.
    #[serde(default)]
    pub retry: RawRetry,
}

/// Where requests are sent: a pool or a backend. Or a fixed answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawTarget {
    /// The name of a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pool: Option<String>,
    /// The name of a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub backend: Option<String>,
    /// Answers with this error instead, for a reference that leads nowhere but has its share of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 500, max = 599))]
    pub status: Option<u16>,
    /// With `status`: why. Clients are told, by the error's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RawStatusReason>,
    /// Its share of the requests among the targets of equal priority. 0 takes it out of use.
    #[serde(default = "one")]
    #[schemars(range(max = 1_000_000))]
    pub weight: u32,
    /// Lower is used first; a target of a higher number is used while no lower one can serve.
    #[serde(default)]
    #[schemars(range(max = 1_000))]
    pub priority: u32,
    /// What the model is called there: written into the body in place of what the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub model_override: Option<String>,
    /// How many tokens the model's context has there. A request that another target says is too long for it goes on to one
    /// that has more; a target that says nothing has less than one that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub context_window: Option<u32>,
    /// Changes to the headers of requests sent there, after those of the rule.
    #[serde(default, skip_serializing_if = "RawHeaderEdits::is_empty")]
    pub request_headers: RawHeaderEdits,
    /// Changes to the headers of responses that come from there, after those of the rule.
    #[serde(default, skip_serializing_if = "RawHeaderEdits::is_empty")]
    pub response_headers: RawHeaderEdits,
    /// Changes to the bodies of requests sent there, where they are JSON objects: the last of all changes, made to what the
    /// upstream's API has after translation.
    #[serde(default, skip_serializing_if = "RawBodyEdits::is_empty")]
    pub body: RawBodyEdits,
    /// Changes to host and path of requests sent there. What is set here takes the place of what the rule's sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<RawUrlRewrite>,
}

/// Why a target is a fixed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RawStatusReason {
    /// It stands for something that does not exist or may not be used.
    #[default]
    InvalidTarget,
    /// A policy restricts these requests, and nothing here enforces it.
    UnsupportedPolicy,
}

/// Where copies of requests are sent: a pool, whose `modelRewrites` hold for them, or a backend. A target's
/// `modelOverride` does not hold for copies, and a compressed body that its pool renames a model in is not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawMirror {
    /// The name of a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub pool: Option<String>,
    /// The name of a backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub backend: Option<String>,
    /// How many of a hundred requests are copied; all if neither this nor `fraction` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,
    /// The share of the requests that are copied, where whole percents are too coarse. In place of `percent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<RawFraction>,
}

/// A share of requests: `{numerator: 1, denominator: 1000}` is one in a thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawFraction {
    /// So many; at most as many as the denominator.
    #[schemars(range(max = 4_294_967_295_u32))]
    pub numerator: u32,
    /// Of so many.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub denominator: u32,
}

/// Changes to headers, in the order: remove, set, add.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHeaderEdits {
    /// Headers that replace those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub set: Vec<RawHeader>,
    /// Headers that are added to those of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub add: Vec<RawHeader>,
    /// Names of headers that are taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub remove: Vec<String>,
}

/// Changes to the top-level members of a body, in the order: remove, set. A body in which a member that is changed occurs
/// twice is refused, as is one that is no sound JSON at its top level.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawBodyEdits {
    /// Members that get a value in place of the one they have, or are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub set: Vec<RawBodyMember>,
    /// Names of members that are taken out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub remove: Vec<String>,
}

/// A member of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawBodyMember {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Its value: anything that JSON has.
    #[schemars(schema_with = "anything")]
    pub value: serde_json::Value,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHeader {
    /// Its name. Those that frame a message, such as `content-length`, cannot be changed.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

impl Default for RawTarget {
    /// What the document's defaults make of a target that says nothing; it leads nowhere.
    fn default() -> Self {
        Self {
            pool: None,
            backend: None,
            status: None,
            reason: None,
            weight: one(),
            priority: 0,
            model_override: None,
            context_window: None,
            request_headers: RawHeaderEdits::default(),
            response_headers: RawHeaderEdits::default(),
            body: RawBodyEdits::default(),
            url_rewrite: None,
        }
    }
}

impl RawHeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

impl RawBodyEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

fn anything(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({})
}

fn owner() -> String {
    "penstock".to_owned()
}

fn one() -> u32 {
    1
}

fn hundred() -> u32 {
    100
}
