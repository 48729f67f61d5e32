//! How a listener terminates TLS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::Span;
use crate::settings::{
    CertificateNameKind, CertificateNameMatch, CipherSuite, ClientProof, ClientProtocol, TlsVersion,
};

/// How a listener terminates TLS. Listeners that share an address have the same, but for certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawListenerTls {
    /// At least one. The name that a client asks for (SNI) chooses among them, and among those of all listeners that
    /// share the address; the first serves whoever matches none.
    #[schemars(length(min = 1, max = 1024))]
    pub certificates: Vec<RawCertificate>,
    /// What clients have to show of themselves. Left out, they are not asked for a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<RawClientCertificates>,
    /// The oldest version that is spoken.
    #[serde(default, skip_serializing_if = "TlsVersion::is_oldest")]
    pub min_version: TlsVersion,
    /// The newest version that is spoken; the newest there is if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
    /// The cipher suites of TLS 1.2 that may be used; all of them if left out. Those of TLS 1.3 cannot be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 6))]
    pub ciphers: Vec<CipherSuite>,
    /// What is offered to clients by ALPN, the best first; `h2` and `http/1.1` if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub protocols: Vec<ClientProtocol>,
    /// How long a handshake may take; as long as a head if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "5m"))]
    pub handshake_timeout: Option<Span>,
}

/// A certificate and its key. The files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawCertificate {
    /// The path of a PEM file, or `secret:KEY`, with the certificate, followed by its chain.
    #[schemars(length(min = 1, max = 4096))]
    pub certificate_file: String,
    /// The path of a PEM file, or `secret:KEY`, with the private key.
    #[schemars(length(min = 1, max = 4096))]
    pub private_key_file: String,
}

/// What clients have to show of themselves in the handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawClientCertificates {
    /// Whether a client needs a certificate, and what is looked at.
    #[serde(default)]
    pub proof: ClientProof,
    /// The paths of PEM files, or `secret:KEY`, with the authorities whose certificates are believed. The files are read
    /// again when they change. Needed unless `proof` is `Any`, or there are hashes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 4096)))]
    pub authority_files: Vec<String>,
    /// The SHA-256 of the certificates that clients may show, as `openssl x509 -fingerprint -sha256` has it: 64 hexadecimal
    /// digits, with colons or without. Beside `keyHashes`, either will do. Without `authorityFiles` nobody else has to vouch
    /// for them; they have to be valid at the time all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 64, max = 95)))]
    pub certificate_hashes: Vec<String>,
    /// The SHA-256 of the keys of such certificates (`SubjectPublicKeyInfo` in DER), in hexadecimal digits. They stay what
    /// they are where a certificate is renewed with its key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 64, max = 95)))]
    pub key_hashes: Vec<String>,
    /// Names of which the certificate has to be for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub names: Vec<RawCertificateName>,
    /// The paths of PEM files, or `secret:KEY`, with lists of revoked certificates (CRLs). The files are read again when they
    /// change. With any, each authority that signed something in a client's chain needs a list that is not out of date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 4096)))]
    pub revocation_files: Vec<String>,
    /// Whether only clients' own certificates are looked for in these lists, and not those between them and an authority.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revocations_of_clients_only: bool,
}

/// A condition on the names that a client's certificate is for (`subjectAltName`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawCertificateName {
    /// What kind of name.
    #[serde(rename = "type")]
    pub kind: CertificateNameKind,
    /// How it is compared.
    #[serde(default, rename = "match", skip_serializing_if = "CertificateNameMatch::is_default")]
    pub how: CertificateNameMatch,
    /// What it is compared with.
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

impl RawListenerTls {
    /// What holds before it is known which listener of an address a request is for.
    pub(crate) fn of_connections(&self) -> Self {
        Self { certificates: Vec::new(), ..self.clone() }
    }
}
