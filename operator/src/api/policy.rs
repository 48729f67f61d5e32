//! Gateway API: BackendTLSPolicy.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{LocalRef, TargetRef};
use crate::world::Body;

/// `BackendTLSPolicy`: TLS towards Services and Backends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsPolicy {
    /// What it is for, in its namespace.
    pub target_refs: Vec<TargetRef>,
    /// How certificates are checked.
    pub validation: BackendTlsValidation,
}

/// How an upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsValidation {
    /// ConfigMaps or Secrets with `ca.crt`.
    pub ca_certificate_refs: Vec<LocalRef>,
    /// `System`: the authorities that the data plane's image has.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<String>,
    /// The name that is asked for and verified.
    pub hostname: String,
}

impl Body for BackendTlsPolicy {}
