//! Envoy Gateway: which requests go to the same endpoint, as a BackendTrafficPolicy says it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What requests have to have in common to go to the same endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficHash {
    /// `SourceIP`, `Header`, `Headers`, `Cookie` or `QueryParams`.
    #[serde(rename = "type")]
    pub kind: String,
    /// With `Header`.
    pub header: Option<TrafficHashName>,
    /// With `Headers`.
    pub headers: Vec<TrafficHashName>,
    /// With `QueryParams`.
    pub query_params: Vec<TrafficHashName>,
    /// With `Cookie`.
    pub cookie: Option<TrafficHashCookie>,
    /// The size of Maglev's table; 65537 if left out.
    pub table_size: Option<i64>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A header or a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficHashName {
    /// Its name.
    pub name: String,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A cookie.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficHashCookie {
    /// Its name.
    pub name: String,
    /// For how long one is given to clients that lack it.
    pub ttl: Option<String>,
    /// Further attributes of that.
    pub attributes: BTreeMap<String, String>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}
