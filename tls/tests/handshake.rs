//! What the two sides are configured with, shown by handshakes between them.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::fs;
use std::io;
use std::sync::Arc;

use penstock_tls::{ClientOptions, ClientTls, Identity, IdentityFiles, PemError, PemFiles, ServerTls};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[path = "support/files.rs"]
mod files;

use self::files::Files;

fn pair(files: &Files, name: &str, names: &[&str]) -> IdentityFiles {
    let (certificate, private_key) = files.issue(name, names);
    IdentityFiles { certificate, private_key }
}

fn trusting(files: &Files) -> ClientOptions {
    ClientOptions { authorities: Some(files.authority()), ..ClientOptions::verified() }
}

/// The client's end of a handshake.
async fn shake(
    server: ServerConfig,
    client: ClientConfig,
    name: &str,
) -> io::Result<TlsStream<DuplexStream>> {
    let (near, far) = tokio::io::duplex(16 << 10);
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let accepted = TlsAcceptor::from(Arc::new(server)).accept(far);
    let connected = TlsConnector::from(Arc::new(client)).connect(name, near);
    let (accepted, connected) = tokio::join!(accepted, connected);
    connected.and_then(|stream| accepted.map(|_| stream))
}

async fn connect(
    server: &ServerTls,
    options: &ClientOptions,
    host: &str,
) -> io::Result<TlsStream<DuplexStream>> {
    shake(server.config(), ClientTls::load(options).unwrap().config(), options.server_name(host)).await
}

fn shown(stream: &TlsStream<DuplexStream>) -> &CertificateDer<'static> {
    &stream.get_ref().1.peer_certificates().unwrap()[0]
}

#[tokio::test]
async fn a_server_is_verified_by_name_by_address_or_not_at_all() {
    let files = Files::new();
    let named = ServerTls::load(vec![pair(&files, "a", &["a.test"])]).unwrap();
    let addressed = ServerTls::load(vec![pair(&files, "b", &["127.0.0.1"])]).unwrap();
    let insecure = ClientOptions { is_verified: false, ..ClientOptions::verified() };
    let renamed = ClientOptions { server_name: Some("a.test".into()), ..trusting(&files) };
    for (what, server, options, host, is_accepted) in [
        ("right name", &named, &trusting(&files), "a.test", true),
        ("wrong name", &named, &trusting(&files), "b.test", false),
        ("address for a name", &named, &trusting(&files), "127.0.0.1", false),
        ("unknown authority", &named, &ClientOptions::verified(), "a.test", false),
        ("unverified", &named, &insecure, "b.test", true),
        ("unverified address", &named, &insecure, "127.0.0.1", true),
        ("name of its own", &named, &renamed, "127.0.0.1", true),
        ("right address", &addressed, &trusting(&files), "127.0.0.1", true),
        ("wrong address", &addressed, &trusting(&files), "127.0.0.2", false),
    ] {
        let client = connect(server, options, host).await;
        assert_eq!(client.is_ok(), is_accepted, "{what}: {:?}", client.err());
    }
}

#[tokio::test]
async fn a_server_without_the_key_of_its_certificate_is_refused_even_if_unverified() {
    let files = Files::new();
    let [shown, other] = ["a", "b"].map(|name| Identity::load(&pair(&files, name, &["a.test"])).unwrap());
    let mut forged = shown.certified.clone();
    forged.key = other.certified.key.clone();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(forged));
    let server = builder.with_cert_resolver(resolver);
    let options = ClientOptions { is_verified: false, ..ClientOptions::verified() };
    let client = ClientTls::load(&options).unwrap().config();
    assert!(shake(server, client, "a.test").await.is_err());
}

#[tokio::test]
async fn the_newest_version_and_http2_come_first() {
    let files = Files::new();
    let server = ServerTls::load(vec![pair(&files, "a", &["a.test"])]).unwrap();
    let client = ClientTls::load(&trusting(&files)).unwrap();
    for (offered, agreed) in [(&["http/1.1", "h2"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let mut config = client.config();
        config.alpn_protocols = offered.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let stream = shake(server.config(), config, "a.test").await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.alpn_protocol(), Some(agreed.as_bytes()));
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let files = Files::new();
    let mut roots = RootCertStore::empty();
    let client = pair(&files, "client", &["client.test"]);
    let options = ClientOptions { identity: Some(client), ..trusting(&files) };
    let loaded = ClientTls::load(&options).unwrap();
    roots.add(loaded.authorities.as_ref().unwrap()[0].clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let server = Identity::load(&pair(&files, "server", &["a.test"])).unwrap();
    let config = || {
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(server.certified.clone()));
        builder.with_client_cert_verifier(verifier.clone().build().unwrap()).with_cert_resolver(resolver)
    };
    let (near, far) = tokio::io::duplex(16 << 10);
    let name = ServerName::try_from("a.test").unwrap();
    let connector = TlsConnector::from(Arc::new(loaded.config()));
    let acceptor = TlsAcceptor::from(Arc::new(config()));
    let (accepted, connected) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    connected.unwrap();
    let accepted = accepted.unwrap();
    let own = &loaded.identity.as_ref().unwrap().chain[0];
    assert_eq!(&accepted.get_ref().1.peer_certificates().unwrap()[0], own);

    let nobody = ClientTls::load(&trusting(&files)).unwrap();
    let (near, far) = tokio::io::duplex(16 << 10);
    let name = ServerName::try_from("a.test").unwrap();
    let connector = TlsConnector::from(Arc::new(nobody.config()));
    let acceptor = TlsAcceptor::from(Arc::new(config()));
    // The client has done its part before the server finds out (TLS 1.3).
    let (accepted, _) = tokio::join!(acceptor.accept(far), connector.connect(name, near));
    assert!(accepted.is_err());
}

/// Whether a client that comes again takes up its session of before.
async fn is_resumed(server: ServerConfig, mut client: ClientConfig) -> bool {
    client.resumption = Resumption::in_memory_sessions(8);
    let (server, client) = (Arc::new(server), Arc::new(client));
    let mut kind = None;
    for _ in 0..2 {
        let (near, far) = tokio::io::duplex(16 << 10);
        let name = ServerName::try_from("a.test").unwrap();
        let accepted = TlsAcceptor::from(server.clone()).accept(far);
        let connected = TlsConnector::from(client.clone()).connect(name, near);
        let (accepted, connected) = tokio::join!(accepted, connected);
        let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        // Tickets come with what the server sends.
        accepted.write_all(b"x").await.unwrap();
        connected.read_u8().await.unwrap();
        kind = accepted.get_ref().1.handshake_kind();
    }
    kind == Some(HandshakeKind::Resumed)
}

#[tokio::test]
async fn clients_that_show_certificates_show_them_each_time() {
    let files = Files::new();
    let identity = pair(&files, "client", &["client.test"]);
    let options = ClientOptions { identity: Some(identity), ..trusting(&files) };
    let client = || ClientTls::load(&options).unwrap().config();
    let pairs = vec![pair(&files, "server", &["a.test"])];
    assert!(is_resumed(ServerTls::load(pairs.clone()).unwrap().config(), client()).await);
    let verifying = ServerTls::load(pairs.clone()).unwrap().verifying_clients(&files.authority()).unwrap();
    assert!(!is_resumed(verifying.config(), client()).await);
}

#[tokio::test]
async fn a_new_certificate_is_served_and_a_bad_one_is_not() {
    let files = Files::new();
    let pair = pair(&files, "a", &["old.test"]);
    let server = ServerTls::load(vec![pair.clone()]).unwrap();
    let config = server.config();
    let client = ClientTls::load(&trusting(&files)).unwrap();
    assert!(!server.reload().unwrap(), "nothing changed");
    let old = shake(config.clone(), client.config(), "old.test").await.unwrap();

    files.issue("a", &["new.test"]);
    assert!(server.reload().unwrap());
    let new = shake(config.clone(), client.config(), "new.test").await.unwrap();
    assert_ne!(shown(&new), shown(&old));

    let (other, _) = files.issue("other", &["other.test"]);
    fs::copy(other, &pair.certificate).unwrap();
    let errors = server.reload().unwrap_err().0;
    assert!(matches!(errors[..], [PemError::Mismatch { .. }]), "{errors:?}");
    let kept = shake(config, client.config(), "new.test").await.unwrap();
    assert_eq!(shown(&kept), shown(&new));
}
