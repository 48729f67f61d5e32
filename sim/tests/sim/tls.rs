//! TLS with ALPN, and client certificates.

use std::{path::PathBuf, sync::Arc};

use penstock_sim::{
    Handle, Sim, StartError,
    options::{Options, TlsOptions},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{client::Client, start};

/// An authority with a server's and a client's certificate, on disk.
struct Pki {
    _folder: tempfile::TempDir,
    options: TlsOptions,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new(asks_clients: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let write = |name: &str, pem: String| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        let authorities = write("ca.crt", authority.pem());
        let options = TlsOptions {
            certificate_file: write("tls.crt", certificate.pem()),
            key_file: write("tls.key", key.serialize_pem()),
            client_ca_file: asks_clients.then_some(authorities),
        };
        Self { _folder: folder, options, authority }
    }

    async fn start(&self) -> Handle {
        start(Options { tls: Some(self.options.clone()), ..Options::default() }).await
    }

    async fn connect(&self, sim: &Handle, protocol: &str, with_certificate: bool) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = if with_certificate {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &self.authority).unwrap();
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(sim.addr()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

#[tokio::test]
async fn both_protocols_over_tls() {
    let pki = Pki::new(false);
    let sim = pki.start().await;
    let mut http1 = Client::http1_on(pki.connect(&sim, "http/1.1", false).await).await;
    assert_eq!(http1.get("/health").await.status, 200);
    let mut http2 = Client::http2_on(pki.connect(&sim, "h2", false).await).await;
    assert_eq!(http2.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_turned_away_where_one_is_asked_for() {
    let pki = Pki::new(true);
    let sim = pki.start().await;
    let mut known = Client::http1_on(pki.connect(&sim, "http/1.1", true).await).await;
    assert_eq!(known.get("/health").await.status, 200);
    let mut unknown = Client::http1_on(pki.connect(&sim, "http/1.1", false).await).await;
    let request = crate::client::request(http::Method::GET, "/health", &[], "");
    assert!(unknown.send(request).await.is_err());
}

#[tokio::test]
async fn missing_files_are_named() {
    let tls = TlsOptions {
        certificate_file: "/nowhere/tls.crt".into(),
        key_file: "/nowhere/tls.key".into(),
        client_ca_file: None,
    };
    let error = Sim::start(Options { tls: Some(tls), ..Options::default() }).await.unwrap_err();
    let StartError::Tls(errors) = &error else { panic!("{error}") };
    assert!(errors.to_string().contains("/nowhere/tls.crt"), "{errors}");
}
