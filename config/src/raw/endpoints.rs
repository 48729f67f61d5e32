//! Lists of endpoints that are published apart from the routing document, because they change far more often.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiVersion, RawBackendEndpoint, RawEndpoint, RawMetadata};

/// Model servers of a pool, which names this document in its `endpointsFrom`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolEndpointsDocument {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of document.
    pub kind: EndpointsKind,
    /// What the publisher says about the document.
    #[serde(default)]
    pub metadata: RawMetadata,
    /// The model servers.
    #[serde(default)]
    #[schemars(length(max = 50_000))]
    pub endpoints: Vec<RawEndpoint>,
}

/// Endpoints of a backend, which names this document in its `endpointsFrom`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendEndpointsDocument {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// The kind of document.
    pub kind: EndpointsKind,
    /// What the publisher says about the document.
    #[serde(default)]
    pub metadata: RawMetadata,
    /// The endpoints.
    #[serde(default)]
    #[schemars(length(max = 10_000))]
    pub endpoints: Vec<RawBackendEndpoint>,
}

/// The kind of document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EndpointsKind {
    /// Endpoints of one pool or backend.
    #[default]
    Endpoints,
}
