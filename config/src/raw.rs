//! The routing document as people and the operator write it.
//!
//! These types mirror the document field by field; their doc comments are its reference. Nothing here is checked
//! beyond its shape: that is what [`Snapshot::compile`](crate::Snapshot::compile) is for.

mod cors;
mod credential;
mod endpoints;
mod hash;
mod limit;
mod limit_store;
mod listener;
mod matching;
mod model;
mod policy;
mod price;
mod route;
mod upstream;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::settings::{
    RawAccessLog, RawAdmin, RawConnection, RawEjection, RawFailureRuns, RawHealthCheck, RawLimits,
    RawMetrics, RawPeek, RawQueue, RawRetry, RawSaturation, RawShutdown, RawTelemetry, RawTimeouts,
};
pub use cors::RawCors;
pub use credential::{
    RawAwsSigning, RawAwsWebIdentity, RawAzureCredential, RawCredential, RawCredentialOverride,
    RawGcpCredential, RawGcpWorkloadIdentity, RawOidcClient, RawRuleCredential, RawToken,
};
pub use endpoints::{BackendEndpointsDocument, EndpointsKind, PoolEndpointsDocument};
pub use hash::{RawHashBy, RawHashCookie};
pub use limit::{
    RawCount, RawLimit, RawLimitMatch, RawLimitPath, RawMissing, RawPeriod, RawTextMatch, RawTextMatchType,
    RawWeekStart, RawWindow,
};
pub use limit_store::{RawLimitStore, RawOnStoreFailure, RawRedis, RawRedisMode, RawRedisTls};
pub use listener::{
    RawCertificate, RawCertificateName, RawClientAddress, RawClientCertificates, RawListener,
    RawListenerLimits, RawListenerTls, RawProtocol,
};
pub use matching::{
    RawHeaderMatch, RawMatch, RawMethod, RawPathMatch, RawPathMatchType, RawQueryParamMatch,
    RawValueMatchType,
};
pub use model::{MAX_MODEL_DETAIL_BYTES, RawModel};
pub use policy::{
    RawAccess, RawAccessRule, RawApiKeys, RawAuthentication, RawAuthorization, RawBasic, RawClaimHeader,
    RawClaimMatch, RawClaimType, RawConsumer, RawContextExtension, RawExternal, RawExternalBody,
    RawExternalGrpc, RawExternalHttp, RawExtract, RawHeaderValues, RawJwt, RawJwtProvider, RawOidc,
    RawPolicy, RawSameSite,
};
pub use price::{PricesDocument, RawPrice, RawPriceTier, RawPriceUnit};
pub use route::{
    RawBodyEdits, RawBodyMember, RawFraction, RawHeader, RawHeaderEdits, RawMirror, RawPathRewrite,
    RawPathRewriteType, RawRedirect, RawRegexReplacement, RawRespond, RawResponseOverride, RawResponseSource,
    RawRoute, RawRule, RawScheme, RawStatusRange, RawStatusReason, RawTarget, RawUrlRewrite,
};
pub use upstream::{
    RawApi, RawBackend, RawBackendEndpoint, RawEndpoint, RawModelRewrite, RawModelRewriteTarget,
    RawObjective, RawPool, RawUpstreamTls,
};

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
    /// How many gateways serve this document side by side. Model servers are scraped by each of them, so the intervals
    /// of all grow with their number.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 10_000))]
    pub replicas: u32,
    /// Where the files are that this document names as `secret:KEY`: a directory, relative to this document, with a file
    /// for each key; in Kubernetes, the name of a Secret in the same namespace. Every field that takes the path of a file
    /// takes `secret:KEY` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub secrets_from: Option<String>,
    /// Where clients connect to. At least one.
    #[schemars(length(min = 1, max = 256))]
    pub listeners: Vec<RawListener>,
    /// Which requests go where. Which rule wins does not depend on the order, except among equals.
    #[serde(default)]
    #[schemars(length(max = 20_000))]
    pub routes: Vec<RawRoute>,
    /// Who asks, as keys, users and tokens tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100_000))]
    pub consumers: Vec<RawConsumer>,
    /// What is asked of requests before they are served, where listeners and rules name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20_000))]
    pub policies: Vec<RawPolicy>,
    /// What models cost, for limits of `Cost`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20_000))]
    pub prices: Vec<RawPrice>,
    /// The path of a file, or `secret:KEY`, with more of them: an object that has `prices`. Read again when it changes. Of two
    /// prices for the same, the one in this document counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub prices_file: Option<String>,
    /// Where the gateways that serve this document share the counters of limits. Left out: each counts for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_store: Option<RawLimitStore>,
    /// What is known of single models, for `GET /v1/models`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100_000))]
    pub models: Vec<RawModel>,
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
    /// What others' tools expect to see of requests.
    #[serde(default)]
    pub telemetry: RawTelemetry,
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

fn one() -> u32 {
    1
}
