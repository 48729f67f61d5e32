//! Which web pages may ask.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::Span;

/// Which web pages of other origins may ask, and see answers (CORS, the Fetch standard). What browsers ask before a request
/// (a preflight) is answered by the gateway, before anybody has to say who it is. What upstreams say of it is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawCors {
    /// The origins of these pages: `https://app.example.com`, `https://*.example.com` for all hosts below, `https://*` for
    /// all hosts, or `*` for all origins. No page may ask if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub allow_origins: Vec<String>,
    /// The methods that they may use beside `GET`, `HEAD` and `POST`, or `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub allow_methods: Vec<String>,
    /// The headers that they may send beside those that every page may, or `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub allow_headers: Vec<String>,
    /// The headers of answers that they may read beside those that every page may, or `*` for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub expose_headers: Vec<String>,
    /// How long a browser may keep in mind what it was told of this. Left out: the browser decides (usually 5 s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// Whether requests may have what the browser holds for the gateway: cookies, passwords, certificates. A page that
    /// sends a key or token itself does not need it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_credentials: bool,
}
