//! Gateway API: BackendTLSPolicy.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Body, LocalRef, TargetRef};

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
    /// The name that is asked for, and verified unless `subject_alt_names` has others.
    pub hostname: String,
    /// Names of which the certificate must have one. Only `hostname` itself can be verified.
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SubjectAltName {
    /// `Hostname` or `URI`.
    #[serde(rename = "type")]
    pub kind: String,
    /// With `Hostname`.
    pub hostname: Option<String>,
    /// With `URI`.
    pub uri: Option<String>,
}

impl Body for BackendTlsPolicy {}
