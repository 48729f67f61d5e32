//! TLS towards metrics pages that are served by it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use penstock_config::UpstreamTls;
use penstock_tls::{ClientOptions, ClientTls, IdentityFiles, PemErrors};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{net::TcpStream, task};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Why TLS towards a metrics page did not come about.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Certificate or key files cannot be used.
    #[error(transparent)]
    Files(#[from] PemErrors),
    /// The configured name is no name that a certificate can have.
    #[error("{0:?} is no server name")]
    Name(Box<str>),
    /// The handshake failed.
    #[error("handshake: {0}")]
    Handshake(#[source] io::Error),
}

/// What the scrapes of one pool share: the files are read once, and again after a failed handshake, so that
/// a rotated certificate is found.
#[derive(Debug)]
pub(crate) struct TlsClient {
    options: ClientOptions,
    config: Mutex<Option<Arc<ClientConfig>>>,
}

/// Two are equal if they were asked for the same.
impl PartialEq for TlsClient {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

impl TlsClient {
    pub(crate) fn new(spec: UpstreamTls) -> Self {
        Self { options: options(spec), config: Mutex::default() }
    }

    /// Speaks TLS over a connection to an endpoint with this address.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        ip: IpAddr,
    ) -> Result<TlsStream<TcpStream>, TlsError> {
        let address = ip.to_string();
        let name = self.options.server_name(&address);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.into()))?;
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
        let options = self.options.clone();
        let load = task::spawn_blocking(move || ClientTls::load(&options).map(|tls| tls.config()));
        let loaded = load.await.expect("loading certificates does not panic, nor is it aborted");
        let config = Arc::new(loaded?);
        *self.config.lock() = Some(Arc::clone(&config));
        Ok(config)
    }
}

fn options(spec: UpstreamTls) -> ClientOptions {
    let identity = spec
        .client_certificate
        .map(|files| IdentityFiles { certificate: files.certificate, private_key: files.private_key });
    ClientOptions { server_name: spec.sni, authorities: spec.ca, identity, is_verified: spec.is_verified }
}
