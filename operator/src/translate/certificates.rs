//! Whether certificates, keys and authorities can be used. As strict as the data plane, which refuses a whole document
//! for one that it cannot load: a broken certificate must affect its listener alone.

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

/// Checks a chain and its key, both PEM.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn check_pair(chain: &[u8], key: &[u8]) -> Result<(), String> {
    let chain = certificates(chain)?;
    check_version(chain.first())?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "there is no unencrypted private key in tls.key".to_owned())?;
    CertifiedKey::from_der(chain, key, &ring::default_provider())
        .map(|_| ())
        .map_err(|error| format!("the certificate and its key cannot be used: {error}"))
}

/// Version 1 is what `openssl x509 -req` makes without extensions, as in recipes of Envoy Gateway, whose TLS library takes
/// it. The data plane's does not, and says so in words that name no way out.
fn check_version(certificate: Option<&CertificateDer<'_>>) -> Result<(), String> {
    let parsed = certificate.and_then(|certificate| X509Certificate::from_der(certificate).ok());
    match parsed {
        Some((_, certificate)) if certificate.version() == X509Version::V1 => Err(
            "the certificate is of X.509 version 1, which is not served: issue it anew as version 3 with its host as a \
             subjectAltName (openssl x509 -req … -extfile <(echo subjectAltName=DNS:HOST))"
                .to_owned(),
        ),
        // What cannot be read here is for the TLS library to judge.
        _ => Ok(()),
    }
}

/// Checks authorities, PEM.
///
/// # Errors
/// What is wrong, for people.
pub(super) fn check_authorities(pem: &[u8]) -> Result<(), String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|error| format!("an authority cannot be used: {error}"))?;
    }
    Ok(())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match parsed {
        Ok(certificates) if certificates.is_empty() => Err("there is no certificate in it".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("it is not valid PEM: {error}")),
    }
}
