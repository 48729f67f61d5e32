//! Gateway API: BackendTLSPolicy.

use serde::Deserialize;

use super::ObjectRef;
use crate::world::Body;

/// `BackendTLSPolicy`: TLS towards Services and Backends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsPolicy {
    /// What it is for, in its namespace.
    pub target_refs: Vec<ObjectRef>,
    /// How certificates are checked.
    pub validation: BackendTlsValidation,
}

/// How an upstream's certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTlsValidation {
    /// ConfigMaps or Secrets with `ca.crt`.
    pub ca_certificate_refs: Vec<ObjectRef>,
    /// `System`: the authorities that the data plane's image has.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<String>,
    /// The name that is asked for and verified.
    pub hostname: String,
}

impl Body for BackendTlsPolicy {}
