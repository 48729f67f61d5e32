//! Which requests go to the same endpoint of a backend.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::Span;

/// What requests have to have in common to go to the same endpoint (consistent hashing, on a ring: an endpoint that comes
/// or goes moves its own share of them and no others). Whatever is said here counts together. A request that has nothing
/// of it goes to any endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHashBy {
    /// The client's address, by what trusted proxies say where there are any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub client: bool,
    /// The values of headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<String>,
    /// The first value of each of these query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query_params: Vec<String>,
    /// A cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<RawHashCookie>,
}

/// A cookie by which requests are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHashCookie {
    /// Its name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// A client that lacks it is given one, at random, which it is to keep for so long; `0s` is until its session ends. Left
    /// out, nobody is given one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "8760h"))]
    pub ttl: Option<Span>,
    /// Further attributes of the one that is given, such as `SameSite: Lax` or `Path: /`; one without a value, such as
    /// `Secure`, has an empty one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub attributes: BTreeMap<String, String>,
}
