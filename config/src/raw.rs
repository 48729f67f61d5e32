//! The routing document as people and the operator write it.
//!
//! These types mirror the document field by field; their doc comments are its reference. Nothing here is checked
//! beyond its shape: that is what [`Snapshot::compile`](crate::Snapshot::compile) is for.

mod listener;
mod matching;
mod route;
mod upstream;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::settings::{
    RawAccessLog, RawAdmin, RawConnection, RawEjection, RawHealthCheck, RawLimits, RawMetrics, RawPeek,
    RawQueue, RawRetry, RawSaturation, RawShutdown, RawTimeouts,
};
pub use listener::{RawCertificate, RawListener, RawListenerTls, RawProtocol};
pub use matching::{
    RawHeaderMatch, RawMatch, RawMethod, RawPathMatch, RawPathMatchType, RawQueryParamMatch,
    RawValueMatchType,
};
pub use route::{
    RawHeader, RawHeaderEdits, RawPathRewrite, RawPathRewriteType, RawRedirect, RawRoute, RawRule, RawScheme,
    RawTarget, RawUrlRewrite,
};
pub use upstream::{RawBackend, RawBackendEndpoint, RawEndpoint, RawObjective, RawPool, RawUpstreamTls};

/// The routing document: everything that one data plane serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of document.
    pub kind: Kind,
    /// What the publisher says about the document.
    #[serde(default)]
    pub metadata: RawMetadata,
    /// Where clients connect to. At least one.
    #[schemars(length(min = 1, max = 256))]
    pub listeners: Vec<RawListener>,
    /// Which requests go where. Which rule wins does not depend on the order, except among equals.
    #[serde(default)]
    #[schemars(length(max = 20_000))]
    pub routes: Vec<RawRoute>,
    /// Groups of model servers among which the picker chooses.
    #[serde(default)]
    #[schemars(length(max = 20_000))]
    pub pools: Vec<RawPool>,
    /// Plain upstreams: services and hosted APIs.
    #[serde(default)]
    #[schemars(length(max = 20_000))]
    pub backends: Vec<RawBackend>,
    /// What clients may ask of the gateway.
    #[serde(default)]
    pub limits: RawLimits,
    /// What is gathered from request bodies for prefix-aware picking.
    #[serde(default)]
    pub peek: RawPeek,
    /// The log of requests.
    #[serde(default)]
    pub access_log: RawAccessLog,
    /// The listener for health, metrics and debugging.
    #[serde(default)]
    pub admin: RawAdmin,
    /// What happens at SIGTERM.
    #[serde(default)]
    pub shutdown: RawShutdown,
}

/// The version of the format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version. Fields may still change.
    #[default]
    #[serde(rename = "penstock.dev/v1alpha1")]
    V1Alpha1,
}

/// The kind of document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// Listeners, routes and what they lead to.
    #[default]
    RoutingConfig,
}

/// What the publisher says about a document. Shown by the admin listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawMetadata {
    /// What the document is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// A number that grows with every change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}
