//! TLS towards metrics pages that are served by it.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use penstock_config::UpstreamTls;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};
use tokio::{net::TcpStream, task};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Why TLS towards a metrics page did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        error: pem::Error,
    },
    /// The configured name is no name that a certificate can have.
    #[error("{0:?} is no server name")]
    Name(Arc<str>),
    /// Certificate and key do not fit together, or a certificate is none.
    #[error(transparent)]
    Config(#[from] rustls::Error),
    /// The handshake failed.
    #[error("handshake: {0}")]
    Handshake(#[source] io::Error),
}

/// What the scrapes of one pool share: the files are read once, and again after a failed handshake, so that
/// a rotated certificate is found.
#[derive(Debug)]
pub(crate) struct TlsClient {
    spec: UpstreamTls,
    config: Mutex<Option<Arc<ClientConfig>>>,
}

/// Two are equal if they were asked for the same.
impl PartialEq for TlsClient {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl TlsClient {
    pub(crate) fn new(spec: UpstreamTls) -> Self {
        Self { spec, config: Mutex::default() }
    }

    /// Speaks TLS over a connection to an endpoint with this address.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        ip: IpAddr,
    ) -> Result<TlsStream<TcpStream>, TlsError> {
        let name = match &self.spec.sni {
            Some(sni) => {
                ServerName::try_from(sni.to_string()).map_err(|_| TlsError::Name(Arc::clone(sni)))?
            }
            None => ServerName::from(ip),
        };
        let connector = TlsConnector::from(self.config().await?);
        connector.connect(name, stream).await.map_err(|error| {
            *self.config.lock() = None;
            TlsError::Handshake(error)
        })
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let known = self.config.lock().clone();
        if let Some(config) = known {
            return Ok(config);
        }
        let spec = self.spec.clone();
        let load = task::spawn_blocking(move || load(&spec));
        let config = Arc::new(load.await.expect("loading certificates does not panic, nor is it aborted")?);
        *self.config.lock() = Some(Arc::clone(&config));
        Ok(config)
    }
}

fn load(spec: &UpstreamTls) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match spec.is_verified {
        true => builder.with_root_certificates(roots(spec.ca.as_deref())?),
        false => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider))),
    };
    let Some(client) = &spec.client_certificate else { return Ok(builder.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_file(&client.private_key);
    let key = key.map_err(|error| TlsError::File { path: client.private_key.clone(), error })?;
    Ok(builder.with_client_auth_cert(certificates(&client.certificate)?, key)?)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let trusted = match ca {
        Some(path) => certificates(path)?,
        // Broken ones among the system's are not ours to report.
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(trusted);
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |error| TlsError::File { path: path.to_owned(), error };
    let certificates = CertificateDer::pem_file_iter(path).map_err(fault)?;
    certificates.collect::<Result<_, _>>().map_err(fault)
}

/// `insecureSkipVerify`: any certificate will do, as long as the server has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
