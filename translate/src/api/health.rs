//! Envoy Gateway: how a BackendTrafficPolicy tells endpoints that are well from others.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// How endpoints that are well are told from others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficHealthCheck {
    /// By asking them.
    pub active: Option<TrafficActiveCheck>,
    /// By how requests end.
    pub passive: Option<TrafficPassiveCheck>,
    /// The share, in percent, below which all are used.
    pub panic_threshold: Option<i64>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// How endpoints are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficActiveCheck {
    /// `HTTP`, `TCP` or `GRPC`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How long a check may take; 1 s if left out.
    pub timeout: Option<String>,
    /// Between two checks; 3 s if left out.
    pub interval: Option<String>,
    /// Failures until it is not well; 3 if left out.
    pub unhealthy_threshold: Option<i64>,
    /// Successes until it is well; 1 if left out.
    pub healthy_threshold: Option<i64>,
    /// For `HTTP`.
    pub http: Option<TrafficHttpCheck>,
    /// For `TCP`.
    pub tcp: Option<BTreeMap<String, Value>>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// How endpoints are asked by requests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficHttpCheck {
    /// What `Host` says.
    pub hostname: Option<String>,
    /// The path.
    pub path: String,
    /// The method; `GET` if left out.
    pub method: Option<String>,
    /// The statuses that are well; 200 if left out.
    pub expected_statuses: Option<Vec<u16>>,
    /// What the body has.
    pub expected_response: Option<TrafficExpectedResponse>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// What the body of an answer to a check has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficExpectedResponse {
    /// As text.
    pub text: Option<String>,
    /// As bytes, in base64.
    pub binary: Option<String>,
}

/// How requests that end badly tell endpoints that are not well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPassiveCheck {
    /// Whether requests that were not answered count apart.
    pub split_external_local_origin_errors: bool,
    /// Requests in a row that were not answered, where they count apart; 5 if left out.
    pub consecutive_local_origin_failures: Option<i64>,
    /// Answers of 502, 503 and 504 in a row; none if left out.
    pub consecutive_gateway_errors: Option<i64>,
    /// Answers of 500 to 599 in a row; 5 if left out.
    #[serde(rename = "consecutive5XxErrors")]
    pub consecutive_server_errors: Option<i64>,
    /// Between two looks at all endpoints; requests are judged as they end, so it has nothing to say.
    pub interval: Option<String>,
    /// How long an endpoint is left out; 30 s if left out.
    pub base_ejection_time: Option<String>,
    /// The most endpoints that are left out, in percent; 10 if left out.
    pub max_ejection_percent: Option<i64>,
    /// What is not acted on.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}
