//! A listener's TLS: the handshake with a client.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use penstock_config::CertificateFiles;
use penstock_tls::{IdentityFiles, PemErrors, PemFiles, ServerTls};
use pingora_core::listeners::TlsAccept;
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::tls::server::handshake_with_callback;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{Stream, l4};
use thiserror::Error;

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

/// The TLS side of one listener.
pub struct DownstreamTls {
    acceptor: Acceptor,
    tls: ServerTls,
    pairs: Vec<CertificateFiles>,
}

impl DownstreamTls {
    /// Reads certificates and keys; see [`ServerTls::load`].
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn load(pairs: Vec<CertificateFiles>) -> Result<Self, PemErrors> {
        let files = |pair: &CertificateFiles| IdentityFiles {
            certificate: pair.certificate.clone(),
            private_key: pair.private_key.clone(),
        };
        let tls = ServerTls::load(pairs.iter().map(files).collect())?;
        let acceptor = Acceptor::from_server_config(Arc::new(tls.config()));
        Ok(Self { acceptor, tls, pairs })
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
        let handshake = handshake_with_callback(&self.acceptor, stream, &NoteServerName);
        match tokio::time::timeout(limit, handshake).await {
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

    /// Each certificate's file, and when the one of it that is in force expires, in seconds since 1970.
    #[must_use]
    pub fn expiries(&self) -> Vec<(PathBuf, i64)> {
        self.tls.expiries()
    }
}

impl PemFiles for DownstreamTls {
    fn files(&self) -> Vec<PathBuf> {
        self.tls.files()
    }

    fn reload(&self) -> Result<bool, PemErrors> {
        self.tls.reload()
    }
}

impl fmt::Debug for DownstreamTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DownstreamTls").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

/// The name that the client asked for in its handshake (SNI, RFC 6066), in lower case.
#[must_use]
pub fn server_name(digest: &SslDigest) -> Option<&str> {
    digest.extension.get::<ServerName>().map(|name| &*name.0)
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
