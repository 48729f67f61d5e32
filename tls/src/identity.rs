//! A certificate chain with its key: who a client or a server says it is.

use std::fmt;
use std::path::PathBuf;

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{X509Certificate, X509Version};

use crate::pem::{self, PemError, PemFault};
use crate::provider::provider;

/// Where a certificate chain and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// A PEM file: the certificate, then its chain.
    pub certificate: PathBuf,
    /// A PEM file: the private key, not encrypted.
    pub private_key: PathBuf,
}

/// A certificate chain with its key, checked to belong together.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The chain, own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// What rustls signs with.
    pub certified: CertifiedKey,
    /// The names that the certificate is good for, lower case; wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// When the first certificate expires, in seconds since 1970.
    pub not_after: i64,
    /// Of chain and key.
    pub fingerprint: u64,
    /// The key, for those who sign with something else than rustls' own types.
    pub key: PrivateKey,
}

/// A private key in DER. Prints nothing.
#[derive(Clone)]
pub struct PrivateKey(Vec<u8>);

impl Identity {
    /// Reads a certificate chain and its key.
    ///
    /// # Errors
    /// See [`PemError`].
    pub fn load(files: &IdentityFiles) -> Result<Self, PemError> {
        let (certificate, key) = (&files.certificate, &files.private_key);
        let (chain_text, key_text) = (pem::read(certificate)?, pem::read(key)?);
        let chain = pem::certificates(&chain_text).map_err(PemError::of(certificate))?;
        let private_key = pem::private_key(&key_text).map_err(PemError::of(key))?;
        Self::new(chain, private_key).map_err(|fault| match fault {
            PemFault::Mismatch => PemError::Mismatch { certificate: certificate.clone(), key: key.clone() },
            fault @ PemFault::BadKey(_) => PemError::of(key)(fault),
            fault => PemError::of(certificate)(fault),
        })
    }

    /// Puts a chain, which [`pem::certificates`] has read, and its key together.
    ///
    /// # Errors
    /// The first certificate is too old for TLS, or key and certificate do not belong together, or the key is of a kind
    /// that cannot be used.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, PemFault> {
        let own = chain.first().ok_or(PemFault::NoCertificate)?;
        let parsed = pem::parse(1, own)?;
        // Told before rustls finds out, whose words name neither the version nor what to do.
        if parsed.version() != X509Version::V3 {
            return Err(PemFault::Version { position: 1, version: parsed.version().0 + 1 });
        }
        let (names, not_after) = (names(&parsed), parsed.validity().not_after.timestamp());
        let secret = PrivateKey(key.secret_der().to_vec());
        let certified =
            CertifiedKey::from_der(chain.clone(), key, &provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => PemFault::Mismatch,
                error => PemFault::BadKey(error),
            })?;
        let contents = chain.iter().map(AsRef::as_ref).chain([secret.der()]);
        let fingerprint = pem::fingerprint(contents);
        Ok(Self { chain, certified, names, not_after, fingerprint, key: secret })
    }
}

impl PrivateKey {
    /// The key in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(redacted)")
    }
}

/// The DNS names of a certificate.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|names| &names.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}
