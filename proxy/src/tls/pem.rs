//! PEM files: certificate chains and private keys, with errors that say what to mend.

use std::{
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use penstock_sources::files::{self, ReadError};
use rustls::{crypto::CryptoProvider, pki_types::pem::PemObject, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use xxhash_rust::xxh3::Xxh3;

/// The largest PEM file that is read, in bytes. A chain is a few kilobytes and a whole operating
/// system's bundle of authorities a few hundred.
pub const PEM_LIMIT_BYTES: u64 = 4 << 20;

/// What is wrong with a certificate or key file. Each message names the file and what it should hold.
#[derive(Debug, Error)]
pub enum PemError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// A section of the file is broken.
    #[error("{}: not valid PEM: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// There is no certificate in the file.
    #[error(
        "{}: no certificate in it: expected at least one BEGIN CERTIFICATE section, the server's own first",
        path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no key in the file, or it is encrypted.
    #[error(
        "{}: no private key in it: expected an unencrypted BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or \
         BEGIN EC PRIVATE KEY section",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate is well-formed PEM, but not a certificate.
    #[error("{}: certificate {position} in it cannot be parsed: {reason}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 1.
        position: usize,
        /// What the parser says.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "{}: this private key does not belong to the first certificate in {}; give the pair that was issued together",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The key is of a kind that cannot be used.
    #[error("{}: this private key cannot be used: {source}", path.display())]
    BadKey {
        /// The key file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
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
    /// Of the content of both files.
    pub fingerprint: u64,
    /// The key, for those who sign with something else than rustls' server side.
    pub(crate) key: PrivateKey,
}

/// A private key in DER. Prints nothing.
#[derive(Clone)]
pub(crate) struct PrivateKey(pub(crate) Vec<u8>);

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PrivateKey(redacted)")
    }
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// See [`PemError`].
pub fn identity(certificate_file: &Path, key_file: &Path) -> Result<Identity, PemError> {
    let certificate_text = read(certificate_file)?;
    let key_text = read(key_file)?;
    let chain = parse_certificates(certificate_file, &certificate_text)?;
    let key = parse_key(key_file, &key_text)?;
    let key_bytes = PrivateKey(key.secret_der().to_vec());
    let (names, not_after) = describe(certificate_file, &chain)?;
    let certified =
        CertifiedKey::from_der(chain.clone(), key, &provider()).map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => {
                PemError::Mismatch { certificate: certificate_file.to_owned(), key: key_file.to_owned() }
            }
            source => PemError::BadKey { path: key_file.to_owned(), source },
        })?;
    let fingerprint = fingerprint(&[&certificate_text, &key_text]);
    Ok(Identity { chain, certified, names, not_after, fingerprint, key: key_bytes })
}

/// Reads a bundle of authorities. Returns them with a fingerprint of the file's content.
///
/// # Errors
/// See [`PemError`].
pub fn authorities(path: &Path) -> Result<(Vec<CertificateDer<'static>>, u64), PemError> {
    let text = read(path)?;
    let certificates = parse_certificates(path, &text)?;
    let mut store = rustls::RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        // rustls is stricter than the parser; found out now rather than at every connection.
        store.add(certificate.clone()).map_err(|error| PemError::BadCertificate {
            path: path.to_owned(),
            position: index + 1,
            reason: error.to_string(),
        })?;
    }
    Ok((certificates, fingerprint(&[&text])))
}

/// The crypto provider that all of the gateway's TLS uses.
#[must_use]
pub fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    files::read(path, PEM_LIMIT_BYTES).map_err(|source| PemError::Read { path: path.to_owned(), source })
}

fn parse_certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates
        .map_err(|error| PemError::Syntax { path: path.to_owned(), reason: error.to_string() })?;
    if certificates.is_empty() {
        return Err(PemError::NoCertificate { path: path.to_owned() });
    }
    for (index, certificate) in certificates.iter().enumerate() {
        parse(path, index + 1, certificate)?;
    }
    Ok(certificates)
}

fn parse_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => PemError::NoKey { path: path.to_owned() },
        error => PemError::Syntax { path: path.to_owned(), reason: error.to_string() },
    })
}

/// Parses a certificate with the parser that pingora uses, which panics where this returns an error.
fn parse<'a>(
    path: &Path,
    position: usize,
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, PemError> {
    X509Certificate::from_der(certificate).map(|(_, parsed)| parsed).map_err(|error| {
        PemError::BadCertificate { path: path.to_owned(), position, reason: error.to_string() }
    })
}

/// The DNS names and the expiry of a chain's first certificate.
fn describe(path: &Path, chain: &[CertificateDer<'static>]) -> Result<(Vec<String>, i64), PemError> {
    let Some(own) = chain.first() else {
        return Err(PemError::NoCertificate { path: path.to_owned() });
    };
    let parsed = parse(path, 1, own)?;
    let alternatives = parsed.subject_alternative_name().ok().flatten();
    let names = alternatives
        .iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect();
    Ok((names, parsed.validity().not_after.timestamp()))
}

fn fingerprint(contents: &[&[u8]]) -> u64 {
    let mut hasher = Xxh3::new();
    for content in contents {
        // With its length, so that bytes cannot move from one file to the other unseen.
        content.hash(&mut hasher);
    }
    hasher.finish()
}
