//! TLS towards clients.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::identity::{Identity, IdentityFiles};
use crate::pem::{self, PemError, PemErrors, PemFiles};
use crate::provider::{HAS_VERSIONS, VERSIONS, provider};
use crate::resolver::Resolver;

/// What is offered by ALPN, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The TLS side of one listener, whose certificates can be replaced while it serves.
pub struct ServerTls {
    pairs: Vec<IdentityFiles>,
    resolver: Arc<Resolver>,
    identities: Mutex<Vec<Identity>>,
    /// The authorities of clients' certificates; `None`: clients are not asked for one.
    client_roots: Option<Arc<RootCertStore>>,
}

impl ServerTls {
    /// Reads certificates and keys. The first pair also answers clients that ask for no name or for
    /// one that no certificate carries.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn load(pairs: Vec<IdentityFiles>) -> Result<Self, PemErrors> {
        let identities = read(&pairs)?;
        let resolver = Arc::new(Resolver::new(&identities));
        Ok(Self { pairs, resolver, identities: Mutex::new(identities), client_roots: None })
    }

    /// Asks every client for a certificate of an authority in this PEM file, which is read once.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn verifying_clients(self, authorities: &Path) -> Result<Self, PemError> {
        let certificates = pem::authorities(&pem::read(authorities)?).map_err(PemError::of(authorities))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        Ok(Self { client_roots: Some(Arc::new(roots)), ..self })
    }

    /// The configuration for rustls. It follows the certificates as they are reloaded.
    #[must_use]
    pub fn config(&self) -> ServerConfig {
        let provider = Arc::new(provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&VERSIONS).expect(HAS_VERSIONS);
        let builder = match &self.client_roots {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider);
                builder.with_client_cert_verifier(
                    verifier.build().expect("it has authorities, and no revocations"),
                )
            }
        };
        let mut config = builder.with_cert_resolver(self.resolver.clone());
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        config
    }

    /// Each certificate's file, and when the one of it that is in force expires, in seconds since 1970.
    #[must_use]
    pub fn expiries(&self) -> Vec<(PathBuf, i64)> {
        let identities = self.identities.lock();
        let files = self.pairs.iter().map(|pair| pair.certificate.clone());
        files.zip(identities.iter().map(|identity| identity.not_after)).collect()
    }
}

impl PemFiles for ServerTls {
    fn files(&self) -> Vec<PathBuf> {
        self.pairs.iter().flat_map(|pair| [pair.certificate.clone(), pair.private_key.clone()]).collect()
    }

    fn reload(&self) -> Result<bool, PemErrors> {
        // All or none: a rotation replaces the two files of a pair one after the other, and between
        // the two they do not match.
        let new = read(&self.pairs)?;
        let mut identities = self.identities.lock();
        let fingerprints = |of: &[Identity]| of.iter().map(|of| of.fingerprint).collect::<Vec<_>>();
        let changed = fingerprints(&new) != fingerprints(&identities);
        if changed {
            self.resolver.replace(&new);
            *identities = new;
        }
        Ok(changed)
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

fn read(pairs: &[IdentityFiles]) -> Result<Vec<Identity>, PemErrors> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let mut errors = Vec::new();
    let mut identities = Vec::with_capacity(pairs.len());
    for pair in pairs {
        match Identity::load(pair) {
            Ok(identity) => {
                // No reason to refuse it: the clock may be wrong, and an old certificate tells clients
                // more than a closed port.
                if identity.not_after <= now {
                    tracing::warn!(file = %pair.certificate.display(), "this certificate has expired");
                }
                identities.push(identity);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(identities) } else { Err(PemErrors(errors)) }
}
