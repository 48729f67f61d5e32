//! PEM files: read within a bound, and taken apart, with errors that say what to mend.

use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, Der, PrivateKeyDer, TrustAnchor};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};
use xxhash_rust::xxh3::Xxh3;

use crate::provider::provider;

/// The largest PEM file that is read, in bytes. A chain is a few kilobytes and a whole operating
/// system's bundle of authorities a few hundred.
pub const PEM_LIMIT_BYTES: u64 = 4 << 20;

/// Something that was built from certificate and key files.
pub trait PemFiles: Send + Sync {
    /// The files that it was built from.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads the files again. Says whether anything changed; what cannot be read stays as it was.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    fn reload(&self) -> Result<bool, PemErrors>;
}

/// All that is wrong with some files, at least one thing.
#[derive(Debug, Error)]
#[error("{}", joined(.0))]
pub struct PemErrors(pub Vec<PemError>);

impl PemErrors {
    /// The first of them.
    pub(crate) fn into_first(self) -> PemError {
        self.0.into_iter().next().expect("there is at least one")
    }
}

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
    /// What the file holds cannot be used.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: PemFault,
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
}

/// Why a PEM file could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file is missing, or may not be opened.
    #[error("cannot open the file: {0}")]
    Open(#[source] io::Error),
    /// The path leads to a directory, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// The file is larger than [`PEM_LIMIT_BYTES`].
    #[error("larger than {PEM_LIMIT_BYTES} bytes, the most that is read")]
    TooLarge,
    /// The file could be opened but not read.
    #[error("cannot read the file: {0}")]
    Read(#[source] io::Error),
}

/// What is wrong with certificates or a key.
#[derive(Debug, Error)]
pub enum PemFault {
    /// A section is broken.
    #[error("not valid PEM: {0}")]
    Syntax(#[source] rustls_pki_types::pem::Error),
    /// There is no certificate.
    #[error("no certificate in it: expected at least one BEGIN CERTIFICATE section, the server's own first")]
    NoCertificate,
    /// There is no key, or it is encrypted.
    #[error(
        "no private key in it: expected an unencrypted BEGIN PRIVATE KEY, BEGIN RSA PRIVATE KEY or \
         BEGIN EC PRIVATE KEY section"
    )]
    NoKey,
    /// A certificate is well-formed PEM, but not a certificate.
    #[error("certificate {position} in it cannot be parsed: {reason}")]
    BadCertificate {
        /// Which one, counted from 1.
        position: usize,
        /// What the parser says.
        reason: String,
    },
    /// A certificate has an older version than TLS takes. `openssl x509 -req` makes these unless it is told otherwise.
    #[error(
        "certificate {position} in it is of X.509 version {version}, and TLS takes version 3 only: an older one has no \
         subjectAltName that a name could be checked against. Issue it again with extensions, which makes it version \
         3, for example: openssl x509 -req ... -extfile <(printf 'subjectAltName=DNS:www.example.com')"
    )]
    Version {
        /// Which one, counted from 1.
        position: usize,
        /// Its version, counted from 1.
        version: u32,
    },
    /// There is no list of revoked certificates.
    #[error("no list of revoked certificates in it: expected at least one BEGIN X509 CRL section")]
    NoRevocations,
    /// A list of revoked certificates is well-formed PEM, but not such a list.
    #[error("the list of revoked certificates cannot be used: {0}")]
    BadRevocations(#[source] rustls::server::VerifierBuilderError),
    /// The key belongs to another certificate.
    #[error(
        "the private key does not belong to the first certificate; give the pair that was issued together"
    )]
    Mismatch,
    /// The key is of a kind that cannot be used.
    #[error("this private key cannot be used: {0}")]
    BadKey(#[source] rustls::Error),
}

impl PemError {
    /// Puts the file's name in front of a fault.
    pub(crate) fn of(path: &Path) -> impl FnOnce(PemFault) -> Self {
        |source| Self::Content { path: path.to_owned(), source }
    }
}

/// Reads a whole regular file of at most [`PEM_LIMIT_BYTES`]. Symbolic links are followed.
///
/// # Errors
/// [`PemError::Read`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PemError> {
    read_file(path).map_err(|source| PemError::Read { path: path.to_owned(), source })
}

fn read_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    // Asked before opening, because opening a pipe waits for its writer.
    if !std::fs::metadata(path).map_err(ReadError::Open)?.is_file() {
        return Err(ReadError::NotAFile);
    }
    let mut content = Vec::new();
    let file = File::open(path).map_err(ReadError::Open)?;
    // One byte more than allowed tells a file of exactly the limit from a larger one; the size that the metadata gives
    // is a guess while someone writes.
    file.take(PEM_LIMIT_BYTES + 1).read_to_end(&mut content).map_err(ReadError::Read)?;
    if content.len() as u64 > PEM_LIMIT_BYTES { Err(ReadError::TooLarge) } else { Ok(content) }
}

/// The certificates in a PEM text, at least one, each of which can be parsed.
///
/// # Errors
/// See [`PemFault`].
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>().map_err(PemFault::Syntax)?;
    if certificates.is_empty() {
        return Err(PemFault::NoCertificate);
    }
    for (index, certificate) in certificates.iter().enumerate() {
        parse(index + 1, certificate)?;
    }
    Ok(certificates)
}

/// The certificates of authorities in a PEM text, each of which can be trusted.
///
/// # Errors
/// See [`PemFault`].
pub fn authorities(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemFault> {
    let certificates = certificates(text)?;
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        // rustls is stricter than the parser; found out now rather than at every connection.
        store
            .add(certificate.clone())
            .map_err(|error| PemFault::BadCertificate { position: index + 1, reason: error.to_string() })?;
    }
    Ok(certificates)
}

/// The lists of revoked certificates in a PEM text, at least one, each of which can be used.
///
/// # Errors
/// See [`PemFault`].
pub fn revocations(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, PemFault> {
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(PemFault::Syntax)?;
    if lists.is_empty() {
        return Err(PemFault::NoRevocations);
    }
    // rustls says so only beside authorities, of which any will do.
    let mut roots = RootCertStore::empty();
    roots.roots.push(no_authority());
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()));
    match builder.with_crls(lists.iter().cloned()).build() {
        Ok(_) => Ok(lists),
        Err(error) => Err(PemFault::BadRevocations(error)),
    }
}

/// An authority that has signed nothing.
fn no_authority() -> TrustAnchor<'static> {
    TrustAnchor {
        subject: Der::from_slice(&[]),
        subject_public_key_info: Der::from_slice(&[]),
        name_constraints: None,
    }
}

/// The first private key in a PEM text.
///
/// # Errors
/// See [`PemFault`].
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemFault> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => PemFault::NoKey,
        error => PemFault::Syntax(error),
    })
}

fn joined(errors: &[PemError]) -> String {
    errors.iter().map(PemError::to_string).collect::<Vec<_>>().join("; ")
}

/// Parses a certificate with the parser that Pingora uses, which panics where this returns an error.
pub(crate) fn parse<'a>(
    position: usize,
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, PemFault> {
    let parsed = X509Certificate::from_der(certificate);
    let parsed = parsed.map_err(|error| PemFault::BadCertificate { position, reason: error.to_string() });
    parsed.map(|(_, parsed)| parsed)
}

/// A number that changes with the content of any of these.
pub(crate) fn fingerprint<'a>(contents: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = Xxh3::new();
    for content in contents {
        // With its length, so that bytes cannot move from one to the next unseen.
        content.hash(&mut hasher);
    }
    hasher.finish()
}
