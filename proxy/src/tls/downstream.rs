//! A listener's TLS: the handshake with a client.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use penstock_config::{
    CertificateFiles, CertificateName, CertificateNameKind, CertificateNameMatch, CipherSuite, ClientProof,
    ClientProtocol, ListenerTls, TlsVersion,
};
use penstock_tls::{
    CertificateTest, ClientCheckOptions, ClientProof as Proof, IdentityFiles, NameKind, NameMatch, NameTest,
    PemErrors, PemFiles, ServerOptions, ServerTls, VERSIONS,
};
use pingora_core::listeners::TlsAccept;
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::tls::server::handshake_with_callback;
use pingora_core::protocols::tls::{SslDigest, TlsRef};
use pingora_core::protocols::{Stream, l4};
use rustls::ProtocolVersion;
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
    spec: ListenerTls,
}

impl DownstreamTls {
    /// Reads certificates and keys, and authorities of clients; see [`ServerTls::with_options`].
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub fn load(spec: ListenerTls) -> Result<Self, PemErrors> {
        let files = |pair: &CertificateFiles| IdentityFiles {
            certificate: pair.certificate.clone(),
            private_key: pair.private_key.clone(),
        };
        let tls = ServerTls::with_options(spec.certificates.iter().map(files).collect(), options(&spec))?;
        let acceptor = Acceptor::from_server_config(Arc::new(tls.config()));
        Ok(Self { acceptor, tls, spec })
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

    /// What this was built from.
    #[must_use]
    pub fn spec(&self) -> &ListenerTls {
        &self.spec
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
        formatter.debug_struct("DownstreamTls").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// What a listener says beside its certificates, in rustls's words.
fn options(spec: &ListenerTls) -> ServerOptions {
    let versions = VERSIONS.into_iter().filter(|version| {
        let version = match version.version {
            ProtocolVersion::TLSv1_2 => TlsVersion::V12,
            _ => TlsVersion::V13,
        };
        (spec.min_version..=spec.max_version).contains(&version)
    });
    let protocol = |protocol: &ClientProtocol| match protocol {
        ClientProtocol::H2 => b"h2".to_vec(),
        ClientProtocol::Http1 => b"http/1.1".to_vec(),
    };
    let clients = spec.clients.as_ref().map(|clients| ClientCheckOptions {
        proof: match clients.proof {
            ClientProof::Verified => Proof::Verified,
            ClientProof::VerifiedIfGiven => Proof::VerifiedIfGiven,
            ClientProof::Any => Proof::Any,
        },
        authorities: clients.authorities.clone(),
        revocations: clients.revocations.clone(),
        revocations_of_clients_only: clients.revocations_of_clients_only,
        test: CertificateTest {
            certificate_hashes: clients.certificate_hashes.clone(),
            key_hashes: clients.key_hashes.clone(),
            names: clients.names.iter().map(name).collect(),
        },
    });
    ServerOptions {
        versions: versions.collect(),
        ciphers: spec.ciphers.iter().map(|suite| cipher(*suite)).collect(),
        protocols: spec.protocols.iter().map(protocol).collect(),
        clients,
    }
}

fn name(name: &CertificateName) -> NameTest {
    NameTest {
        kind: match name.kind {
            CertificateNameKind::Dns => NameKind::Dns,
            CertificateNameKind::Uri => NameKind::Uri,
            CertificateNameKind::Email => NameKind::Email,
            CertificateNameKind::Address => NameKind::Address,
        },
        how: match name.how {
            CertificateNameMatch::Exact => NameMatch::Exact,
            CertificateNameMatch::Prefix => NameMatch::Prefix,
            CertificateNameMatch::Suffix => NameMatch::Suffix,
        },
        value: name.value.to_string(),
    }
}

fn cipher(suite: CipherSuite) -> rustls::CipherSuite {
    use rustls::CipherSuite as Suite;
    match suite {
        CipherSuite::EcdsaAes256 => Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdsaAes128 => Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdsaChacha20 => Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::RsaAes256 => Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::RsaAes128 => Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::RsaChacha20 => Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
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
