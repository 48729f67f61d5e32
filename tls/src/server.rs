//! TLS towards clients.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ServerConfig, SupportedProtocolVersion};

use crate::clients::{ClientCheck, ClientCheckOptions};
use crate::identity::{Identity, IdentityFiles};
use crate::pem::{PemError, PemErrors, PemFiles};
use crate::provider::{HAS_VERSIONS, VERSIONS, provider};
use crate::resolver::Resolver;

/// What is offered by ALPN, the best first, where nothing else is said.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What is said about a listener's TLS beside its certificates.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The versions that are spoken, the best first. If there are none in [`VERSIONS`], all of those.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// The cipher suites of TLS 1.2; all that are known if there are none.
    pub ciphers: Vec<CipherSuite>,
    /// What is offered by ALPN, the best first.
    pub protocols: Vec<Vec<u8>>,
    /// What clients have to show; nothing if left out.
    pub clients: Option<ClientCheckOptions>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            versions: VERSIONS.to_vec(),
            ciphers: Vec::new(),
            protocols: PROTOCOLS.map(<[u8]>::to_vec).into(),
            clients: None,
        }
    }
}

/// The TLS side of one listener, whose certificates can be replaced while it serves.
pub struct ServerTls {
    pairs: Vec<IdentityFiles>,
    resolver: Arc<Resolver>,
    identities: Mutex<Vec<Identity>>,
    options: ServerOptions,
    /// Looks at clients' certificates; `None`: clients are not asked for one.
    clients: Option<Arc<ClientCheck>>,
}

impl ServerTls {
    /// Reads certificates and keys. The first pair also answers clients that ask for no name or for
    /// one that no certificate carries.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn load(pairs: Vec<IdentityFiles>) -> Result<Self, PemErrors> {
        Self::with_options(pairs, ServerOptions::default())
    }

    /// The same, with more to say.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files, those of authorities included.
    pub fn with_options(pairs: Vec<IdentityFiles>, options: ServerOptions) -> Result<Self, PemErrors> {
        let clients = options.clients.as_ref().map(ClientCheck::load).transpose();
        let (identities, clients) = match (read(&pairs), clients) {
            (Ok(identities), Ok(clients)) => (identities, clients.map(Arc::new)),
            (Err(mut errors), Err(more)) => {
                errors.0.extend(more.0);
                return Err(errors);
            }
            (Err(errors), Ok(_)) | (Ok(_), Err(errors)) => return Err(errors),
        };
        let resolver = Arc::new(Resolver::new(&identities));
        Ok(Self { pairs, resolver, identities: Mutex::new(identities), options, clients })
    }

    /// Asks every client for a certificate of an authority in this PEM file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn verifying_clients(self, authorities: &Path) -> Result<Self, PemError> {
        let options = ClientCheckOptions::verified(vec![authorities.to_owned()]);
        let check = ClientCheck::load(&options).map_err(PemErrors::into_first)?;
        Ok(Self { clients: Some(Arc::new(check)), ..self })
    }

    /// The configuration for rustls. It follows the certificates and authorities as they are reloaded.
    #[must_use]
    pub fn config(&self) -> ServerConfig {
        let provider = Arc::new(self.provider());
        let wanted: Vec<_> =
            VERSIONS.into_iter().filter(|version| self.options.versions.contains(version)).collect();
        let versions = if wanted.is_empty() { VERSIONS.to_vec() } else { wanted };
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&versions).expect(HAS_VERSIONS);
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(check) => builder.with_client_cert_verifier(check.clone()),
        };
        let mut config = builder.with_cert_resolver(self.resolver.clone());
        config.alpn_protocols.clone_from(&self.options.protocols);
        if self.clients.is_some() {
            // A session that is taken up again brings the certificate that was checked when it began, by the authorities of
            // that time.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config
    }

    /// The cryptography, with the cipher suites that may be used. Those of TLS 1.3 stay: there is no bad one, and without
    /// one of a version nothing could be configured.
    fn provider(&self) -> CryptoProvider {
        let mut provider = provider();
        let ciphers = &self.options.ciphers;
        let (is_old, all) =
            (|suite: &rustls::SupportedCipherSuite| suite.tls13().is_none(), provider.clone());
        provider.cipher_suites.retain(|suite| !is_old(suite) || ciphers.contains(&suite.suite()));
        if provider.cipher_suites.iter().any(is_old) { provider } else { all }
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
        let pairs = self.pairs.iter().flat_map(|pair| [pair.certificate.clone(), pair.private_key.clone()]);
        pairs.chain(self.clients.iter().flat_map(|check| check.files())).collect()
    }

    fn reload(&self) -> Result<bool, PemErrors> {
        // All or none: a rotation replaces the two files of a pair one after the other, and between
        // the two they do not match.
        let authorities_changed = self.clients.as_ref().map_or(Ok(false), |check| check.reload())?;
        let new = read(&self.pairs)?;
        let mut identities = self.identities.lock();
        let fingerprints = |of: &[Identity]| of.iter().map(|of| of.fingerprint).collect::<Vec<_>>();
        let changed = fingerprints(&new) != fingerprints(&identities);
        if changed {
            self.resolver.replace(&new);
            *identities = new;
        }
        Ok(changed || authorities_changed)
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
