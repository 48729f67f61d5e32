//! A listener's TLS: its certificates, and the handshake with a client.

use std::{
    any::Any,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use penstock_config::CertificateFiles;
use pingora_core::{
    listeners::{
        TlsAccept,
        tls::{Acceptor, TlsSettings},
    },
    protocols::{
        ALPN, Stream, l4,
        tls::{SslDigest, TlsRef},
    },
};
use thiserror::Error;

use super::{
    PemFiles,
    pem::{self, Identity, PemError},
    resolver::Resolver,
};

/// Why a connection was closed before its first request.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The client took too long, or never meant to speak TLS.
    #[error("TLS handshake not finished within {0:?}")]
    TimedOut(Duration),
    /// Client and gateway did not agree, or the client left.
    #[error("TLS handshake failed: {0}")]
    Failed(#[source] Box<pingora_error::Error>),
}

/// The TLS side of one listener: TLS 1.2 and 1.3, ALPN `h2` before `http/1.1`, the certificate chosen
/// by the name that the client asks for.
pub struct DownstreamTls {
    acceptor: Acceptor,
    resolver: Arc<Resolver>,
    pairs: Vec<CertificateFiles>,
    identities: Mutex<Vec<Identity>>,
}

impl DownstreamTls {
    /// Reads certificates and keys. The first pair also answers clients that ask for no name or for
    /// one that no certificate carries.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn load(pairs: Vec<CertificateFiles>) -> Result<Self, Vec<PemError>> {
        let identities = read(&pairs)?;
        let resolver = Arc::new(Resolver::new(&identities));
        Ok(Self { acceptor: acceptor(resolver.clone()), resolver, pairs, identities: Mutex::new(identities) })
    }

    /// Does the handshake on an accepted connection.
    ///
    /// The stream that comes back knows its protocol ([`pingora_core::protocols::Ssl::selected_alpn_proto`])
    /// and its [`SslDigest`], which carries the name that the client asked for: see [`server_name`].
    ///
    /// # Errors
    /// See [`HandshakeError`]. The connection is closed then.
    pub async fn accept(
        &self,
        stream: l4::stream::Stream,
        limit: Duration,
    ) -> Result<Stream, HandshakeError> {
        match tokio::time::timeout(limit, self.acceptor.tls_handshake(stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(HandshakeError::Failed(error)),
            Err(_) => Err(HandshakeError::TimedOut(limit)),
        }
    }

    /// The pairs that this was built from, in order.
    #[must_use]
    pub fn pairs(&self) -> &[CertificateFiles] {
        &self.pairs
    }

    /// When the first of the certificates in force expires, in seconds since 1970.
    #[must_use]
    pub fn first_expiry(&self) -> Option<i64> {
        self.identities.lock().iter().map(|identity| identity.not_after).min()
    }
}

impl PemFiles for DownstreamTls {
    fn files(&self) -> Vec<PathBuf> {
        self.pairs.iter().flat_map(|pair| [pair.certificate.clone(), pair.private_key.clone()]).collect()
    }

    fn reload(&self) -> Result<bool, Vec<PemError>> {
        // All or none: a rotation replaces the two files of a pair one after the other, and between
        // the two they do not match.
        let new = read(&self.pairs)?;
        let mut identities = self.identities.lock();
        let changed = !new
            .iter()
            .map(|identity| identity.fingerprint)
            .eq(identities.iter().map(|identity| identity.fingerprint));
        if changed {
            self.resolver.replace(&new);
            *identities = new;
        }
        Ok(changed)
    }
}

impl std::fmt::Debug for DownstreamTls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("DownstreamTls").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

/// The name that the client asked for in its handshake (SNI, RFC 6066), in lower case.
#[must_use]
pub fn server_name(digest: &SslDigest) -> Option<&str> {
    digest.extension.get::<ServerName>().map(|name| &*name.0)
}

fn read(pairs: &[CertificateFiles]) -> Result<Vec<Identity>, Vec<PemError>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let mut errors = Vec::new();
    let mut identities = Vec::with_capacity(pairs.len());
    for pair in pairs {
        match pem::identity(&pair.certificate, &pair.private_key) {
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
    if errors.is_empty() { Ok(identities) } else { Err(errors) }
}

fn acceptor(resolver: Arc<Resolver>) -> Acceptor {
    #[expect(clippy::expect_used, reason = "the constructor has no failing branch with rustls")]
    let mut settings =
        TlsSettings::with_callbacks(Box::new(NoteServerName)).expect("cannot fail with rustls");
    settings.set_alpn(ALPN::H2H1);
    settings.set_cert_resolver(resolver);
    // With a resolver set, building reads no file and has nothing to panic about.
    settings.build()
}

/// What [`server_name`] finds in the digest.
#[derive(Debug)]
struct ServerName(Box<str>);

/// Keeps the name that the client asked for, which pingora's digest has no field for.
struct NoteServerName;

#[async_trait]
impl TlsAccept for NoteServerName {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let name = tls.server_name()?;
        Some(Arc::new(ServerName(name.into())))
    }
}
