//! TLS towards a server.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::identity::{Identity, IdentityFiles};
use crate::pem::{self, PemError, PemErrors};
use crate::provider::{HAS_VERSIONS, VERSIONS, provider};
use crate::verify::AnyCertificate;

/// How a server is verified, and who the client says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// The name that is asked for and verified in place of the server's own.
    pub server_name: Option<Arc<str>>,
    /// A PEM file of authorities that are trusted instead of the system's.
    pub authorities: Option<PathBuf>,
    /// The certificate by which the client shows who it is.
    pub identity: Option<IdentityFiles>,
    /// Whether the server's certificate is verified, and its name.
    pub is_verified: bool,
}

/// [`ClientOptions`], with the files that they name.
#[derive(Debug)]
pub struct ClientTls {
    /// The authorities that are trusted; `None`: the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Who the client says it is.
    pub identity: Option<Identity>,
    /// Whether the server's certificate is verified, and its name.
    pub is_verified: bool,
    /// Of the content of all files; 0 without any.
    pub fingerprint: u64,
}

impl ClientOptions {
    /// Verifies servers by the system's authorities, and says nothing of the client.
    #[must_use]
    pub const fn verified() -> Self {
        Self { server_name: None, authorities: None, identity: None, is_verified: true }
    }

    /// The name of a server that is asked for and verified. `host` is its DNS name, or its address where it has none.
    /// Never empty unless `host` is.
    #[must_use]
    pub fn server_name<'a>(&'a self, host: &'a str) -> &'a str {
        // An IPv6 address in a URL has brackets; rustls wants it bare.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        self.server_name.as_deref().unwrap_or(bare.unwrap_or(host))
    }

    /// The files that are named.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|files| [&files.certificate, &files.private_key]);
        self.authorities.iter().chain(identity).cloned().collect()
    }
}

impl ClientTls {
    /// Reads the files that `options` name.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(options: &ClientOptions) -> Result<Self, PemErrors> {
        let mut errors = Vec::new();
        let mut loaded =
            Self { authorities: None, identity: None, is_verified: options.is_verified, fingerprint: 0 };
        if let Some(path) = &options.authorities {
            let read = pem::read(path).and_then(|text| pem::authorities(&text).map_err(PemError::of(path)));
            match read {
                Ok(certificates) => {
                    loaded.fingerprint ^= pem::fingerprint(certificates.iter().map(AsRef::as_ref));
                    loaded.authorities = Some(certificates);
                }
                Err(error) => errors.push(error),
            }
        }
        match options.identity.as_ref().map(Identity::load).transpose() {
            Ok(identity) => {
                // Rotated, so that the same file as authority and as client does not cancel out.
                loaded.fingerprint ^= identity.as_ref().map_or(0, |of| of.fingerprint.rotate_left(1));
                loaded.identity = identity;
            }
            Err(error) => errors.push(error),
        }
        if errors.is_empty() { Ok(loaded) } else { Err(PemErrors(errors)) }
    }

    /// The configuration for rustls, without protocols for ALPN. Reads the system's authorities where they are trusted,
    /// which takes milliseconds.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let provider = Arc::new(provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&VERSIONS).expect(HAS_VERSIONS);
        let builder = match self.is_verified {
            true => builder.with_root_certificates(self.roots()),
            false => {
                let verifier: Arc<dyn ServerCertVerifier> = Arc::new(AnyCertificate(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier)
            }
        };
        match &self.identity {
            Some(identity) => {
                let certified = SingleCertAndKey::from(identity.certified.clone());
                builder.with_client_cert_resolver(Arc::new(certified))
            }
            None => builder.with_no_client_auth(),
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            // Each was added to such a store before.
            Some(certificates) => roots.add_parsable_certificates(certificates.iter().cloned()),
            // Broken ones among the system's are not ours to report.
            None => roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs),
        };
        roots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_name_is_never_empty_and_never_bracketed() {
        let options = ClientOptions::verified();
        assert_eq!(options.server_name("[::1]"), "::1");
        assert_eq!(options.server_name("a.test"), "a.test");
        let options = ClientOptions { server_name: Some("b.test".into()), ..options };
        assert_eq!(options.server_name("[::1]"), "b.test");
    }
}
