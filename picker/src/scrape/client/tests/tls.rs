use std::fs;

use penstock_config::{ClientCertificate, UpstreamTls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority, and a directory with the files that it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = tempfile::tempdir().unwrap();
        fs::write(files.path().join("ca.pem"), issuer.pem()).unwrap();
        let (client, key) = Self::issue(&issuer, "gateway");
        fs::write(files.path().join("client.pem"), client.pem()).unwrap();
        fs::write(files.path().join("client.key"), key.serialize_pem()).unwrap();
        Self { issuer, files }
    }

    fn issue(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, issuer).unwrap(), key)
    }

    /// Serves the page by TLS under this name, to clients that have a certificate of the authority.
    async fn serve(&self, name: &str) -> SocketAddr {
        let (certificate, key) = Self::issue(&self.issuer, name);
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.allow_unauthenticated().build().unwrap())
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    let response = match stream.get_ref().1.peer_certificates() {
                        Some(_) => format!("HTTP/1.1 200 OK\r\ncontent-length: 28\r\n\r\n{}", &PAGE[..28]),
                        None => page(),
                    };
                    tokio::spawn(answer(stream, response));
                }
            }
        });
        address
    }

    fn spec(&self) -> UpstreamTls {
        let ca = Some(self.files.path().join("ca.pem"));
        UpstreamTls { sni: None, ca, client_certificate: None, is_verified: true }
    }
}

async fn fetch(address: SocketAddr, spec: UpstreamTls) -> Result<Reading, ScrapeError> {
    client(address, Some(TlsClient::new(spec))).fetch().await
}

#[tokio::test]
async fn a_page_behind_tls_is_verified_by_name_or_address() {
    let authority = Authority::new();
    let by_ip = authority.serve("127.0.0.1").await;
    assert_eq!(loaded(fetch(by_ip, authority.spec()).await), LOAD);

    let by_name = authority.serve("metrics.example.com").await;
    let named = UpstreamTls { sni: Some(Arc::from("metrics.example.com")), ..authority.spec() };
    assert_eq!(loaded(fetch(by_name, named).await), LOAD);
    let error = fetch(by_name, authority.spec()).await.unwrap_err();
    assert_eq!(error.kind().label(), "tls", "{error}");
}

#[tokio::test]
async fn an_unknown_authority_is_refused_unless_told_otherwise() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = authority.serve("127.0.0.1").await;
    let error = fetch(address, other.spec()).await.unwrap_err();
    assert_eq!(error.kind().label(), "tls", "{error}");
    let unverified = UpstreamTls { is_verified: false, ..other.spec() };
    assert_eq!(loaded(fetch(address, unverified).await), LOAD);
}

#[tokio::test]
async fn the_client_shows_its_certificate() {
    let authority = Authority::new();
    let address = authority.serve("127.0.0.1").await;
    let files = authority.files.path();
    let client =
        ClientCertificate { certificate: files.join("client.pem"), private_key: files.join("client.key") };
    let spec = UpstreamTls { client_certificate: Some(client), ..authority.spec() };
    // To clients that it knows the server shows just the first line.
    assert_eq!(loaded(fetch(address, spec).await), (Some(3), None));
}

#[tokio::test]
async fn files_and_names_at_fault_are_named() {
    let authority = Authority::new();
    let address = authority.serve("127.0.0.1").await;
    let missing = UpstreamTls { ca: Some("/nonexistent/ca.pem".into()), ..authority.spec() };
    let error = fetch(address, missing).await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/ca.pem"), "{error}");
    let misnamed = UpstreamTls { sni: Some(Arc::from("no name")), ..authority.spec() };
    let error = fetch(address, misnamed).await.unwrap_err().to_string();
    assert!(error.contains("no name"), "{error}");
}

#[tokio::test]
async fn rotated_files_are_read_after_a_failed_handshake() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = authority.serve("127.0.0.1").await;
    let mut client = client(address, Some(TlsClient::new(other.spec())));
    client.fetch().await.unwrap_err();
    fs::copy(authority.files.path().join("ca.pem"), other.files.path().join("ca.pem")).unwrap();
    assert_eq!(loaded(client.fetch().await), LOAD);
}
