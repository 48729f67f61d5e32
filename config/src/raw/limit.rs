//! How much: limits of policies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RawMethod, RawPathMatchType};
use crate::cidr::Cidr;
use crate::decimal::Decimal;
use crate::knob::Span;

/// A limit of what requests may take. What a request will take is reserved before it is served, and set right when it has
/// been. One that has no room is answered with 429. Those of a pool's or backend's policies are asked for each attempt, and
/// one that denies lets the next target be tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawLimit {
    /// Its name, unique among the limits of the policy; clients that it refuses are told it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What is counted. Left out: `Requests`, or what `expression` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<RawCount>,
    /// In the place of `count`: an expression of CEL that makes a whole number of usage. It knows `model`, `backend` and
    /// `route_name` (texts), and `input_tokens`, `cached_input_tokens`, `cache_creation_input_tokens`, `output_tokens`,
    /// `total_tokens` and `reasoning_tokens` (`uint`, so that numbers beside them are written `2u`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
    /// What each request counts beside that. Left out: 1 of `Requests` and `Concurrency`, nothing of others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<Decimal>,
    /// The most: requests, tokens, requests at a time, and of `Cost` US dollars.
    pub amount: Decimal,
    /// Over what time. Of every limit but `Concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<RawWindow>,
    /// What there is a counter for each value of; left out, one counter is for all. `consumer`, `model` (as clients call it),
    /// `route`, `rule`, `listener`, `address`, `method`, `path`, `host`, and with a name: `tag:NAME`, `claim:PATH`,
    /// `header:NAME`, `query:NAME`, `address:24/56` (as many bits of IPv4 and IPv6 in common are one). In policies of pools and
    /// backends also `targetModel` (as the upstream calls it) and `upstream`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub per: Vec<String>,
    /// What becomes of a request that lacks a value of `per`.
    #[serde(default, skip_serializing_if = "RawMissing::is_default")]
    pub missing: RawMissing,
    /// Which requests it is for. Left out: all.
    #[serde(default, skip_serializing_if = "RawLimitMatch::is_default")]
    pub when: RawLimitMatch,
    /// It only counts: what it would refuse passes, and is seen in metrics.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
    /// The gateways that serve this document share its counters, in `limitStore`. Left out: if that is there. Not shared, each
    /// gateway lets the whole amount pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// What its counters belong to, such as an account at a provider: all documents with the same `limitStore` that have a limit
    /// of this name with the same `sharedAs` share its counters, whatever their policies are called and whatever the store's
    /// `scope` is. Left out: they belong to the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub shared_as: Option<String>,
    /// A stream that goes on beyond what is left is cut. Of limits of output, all tokens and cost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut_streams: bool,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawCount {
    /// Requests.
    #[default]
    Requests,
    /// Tokens of prompts, those from a cache included.
    InputTokens,
    /// Tokens of prompts that came from a cache.
    CachedInputTokens,
    /// Tokens of prompts that were written to a cache.
    CacheWriteTokens,
    /// Tokens generated, reasoning included.
    OutputTokens,
    /// Tokens generated that are reasoning.
    ReasoningTokens,
    /// Input and output.
    TotalTokens,
    /// US dollars, by `prices`.
    Cost,
    /// Requests in flight, streams among them.
    Concurrency,
}

/// Over what time a limit counts. Exactly one of `tokenBucket`, `sliding`, `fixed` and `calendar`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawWindow {
    /// A bucket of the whole amount that is filled evenly, wholly in this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "8784h"))]
    pub token_bucket: Option<Span>,
    /// Any stretch of this length, to a sixtieth of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "8784h"))]
    pub sliding: Option<Span>,
    /// Stretches of this length, counted from 1970 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "8784h"))]
    pub fixed: Option<Span>,
    /// Periods of the calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<RawPeriod>,
    /// With `calendar`: the time zone whose midnights count, by its IANA name. Left out: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// With `calendar: Week`: the day that begins it. Left out: `Monday`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub week_start: Option<RawWeekStart>,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawPeriod {
    /// From one full hour to the next.
    Hour,
    /// From midnight.
    Day,
    /// From the midnight that begins `weekStart`.
    Week,
    /// From the first.
    Month,
    /// From the first of January.
    Year,
}

/// The day that begins a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawWeekStart {
    /// As ISO 8601 has it.
    Monday,
    /// As in the United States.
    Sunday,
}

/// What becomes of a request that lacks a value of `per`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawMissing {
    /// All such requests have one counter.
    #[default]
    Together,
    /// The limit is not for them.
    Unlimited,
    /// They are refused.
    Deny,
}

/// Which requests a limit is for: those that meet all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawLimitMatch {
    /// One of these methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub methods: Vec<RawMethod>,
    /// None of these methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub not_methods: Vec<RawMethod>,
    /// One of these models, by the names that clients use, and in policies of pools and backends by those that upstreams use:
    /// exact, or a prefix followed by `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub models: Vec<String>,
    /// By one of these consumers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub consumers: Vec<String>,
    /// By a consumer that has each of these tags, with one of the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Vec<String>>,
    /// From an address in one of these ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub addresses: Vec<Cidr>,
    /// From an address in none of these ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub not_addresses: Vec<Cidr>,
    /// With all of these headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub headers: Vec<RawTextMatch>,
    /// With all of these parameters of the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub query_params: Vec<RawTextMatch>,
    /// With a path that meets all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub paths: Vec<RawLimitPath>,
}

/// What is asked of a header or of a parameter of the query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawTextMatch {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: RawTextMatchType,
    /// Its name. Among headers, `x-ai-eg-model` stands for the model that the request's body names, never for a header that
    /// the client sent.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// The value, or a pattern. Not of `Present`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// The contrary is asked. A request without the header or parameter meets that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// How a header or a parameter of the query is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawTextMatchType {
    /// The value is this one.
    #[default]
    Exact,
    /// The whole value matches this regular expression (the syntax of Rust's `regex`: no look-around).
    RegularExpression,
    /// It is there, whatever its value.
    Present,
}

/// What is asked of the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawLimitPath {
    /// How the value is compared.
    #[serde(rename = "type", default)]
    pub kind: RawPathMatchType,
    /// The path, its prefix, or a pattern.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
    /// The contrary is asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

impl RawMissing {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl RawLimitMatch {
    /// Whether it asks nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
