use std::fs;
use std::time::Duration;

use penstock_config::{CertificateFiles, ClientCertificate, ListenerTls, UpstreamTls};
use penstock_tls::{Identity, IdentityFiles, PemError, PemFault, PemFiles};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::{ALPN, Stream, l4};
use pingora_core::upstreams::peer::HttpPeer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

#[path = "../../../tls/tests/support/files.rs"]
mod files;

use self::files::Files;

const LIMIT: Duration = Duration::from_secs(30);

fn pair(files: &Files, name: &str, names: &[&str]) -> CertificateFiles {
    let (certificate, private_key) = files.issue(name, names);
    CertificateFiles { certificate, private_key }
}

fn plain() -> UpstreamTls {
    UpstreamTls { sni: None, ca: None, client_certificate: None, is_verified: true }
}

fn trusting(files: &Files) -> UpstreamTls {
    UpstreamTls { ca: Some(files.authority()), ..plain() }
}

/// One connection from pingora's client to a [`DownstreamTls`]; gives both ends' view.
async fn connect(
    server: &DownstreamTls,
    spec: UpstreamTls,
    host: &str,
    alpn: ALPN,
) -> (Result<Stream, HandshakeError>, Result<(), Box<pingora_error::Error>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = HttpPeer::new(listener.local_addr().unwrap(), false, String::new());
    UpstreamContext::load(spec).unwrap().configure(&mut peer, host);
    peer.options.alpn = alpn;
    let client = async {
        let connector = Connector::<()>::new(None);
        connector.get_http_session(&peer).await.map(drop)
    };
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        server.accept(l4::stream::Stream::from(stream), LIMIT).await
    };
    tokio::join!(server, client)
}

fn asked_name(stream: &Stream) -> Option<String> {
    server_name(&stream.get_ssl_digest().unwrap()).map(str::to_owned)
}

#[tokio::test]
async fn a_client_gets_its_protocol_and_its_name_is_noted() {
    let files = Files::new();
    let server = DownstreamTls::load(ListenerTls::serving(vec![pair(&files, "a", &["a.test"])])).unwrap();
    for (alpn, expected) in [(ALPN::H2H1, ALPN::H2), (ALPN::H1, ALPN::H1)] {
        // Pingora's h2 client waits for spec, which nobody sends here, so only ours is awaited.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = HttpPeer::new(listener.local_addr().unwrap(), false, String::new());
        UpstreamContext::load(trusting(&files)).unwrap().configure(&mut peer, "a.test");
        peer.options.alpn = alpn;
        let client = tokio::spawn(async move {
            let _ = Connector::<()>::new(None).get_http_session(&peer).await;
        });
        let (stream, _) = listener.accept().await.unwrap();
        let stream = server.accept(l4::stream::Stream::from(stream), LIMIT).await.unwrap();
        assert_eq!(stream.selected_alpn_proto(), Some(expected));
        assert_eq!(asked_name(&stream).as_deref(), Some("a.test"));
        client.abort();
    }
}

#[tokio::test]
async fn an_upstream_is_verified_by_name_by_address_or_not_at_all() {
    let files = Files::new();
    let named = DownstreamTls::load(ListenerTls::serving(vec![pair(&files, "a", &["a.test"])])).unwrap();
    let addressed =
        DownstreamTls::load(ListenerTls::serving(vec![pair(&files, "b", &["127.0.0.1"])])).unwrap();
    let insecure = UpstreamTls { is_verified: false, ..plain() };
    let renamed = UpstreamTls { sni: Some("a.test".into()), ..trusting(&files) };
    for (what, server, spec, host, accepted) in [
        ("right name", &named, trusting(&files), "a.test", true),
        ("wrong name", &named, trusting(&files), "b.test", false),
        ("address for a name", &named, trusting(&files), "127.0.0.1", false),
        ("unknown authority", &named, plain(), "a.test", false),
        ("unverified", &named, insecure.clone(), "b.test", true),
        ("unverified address", &named, insecure, "127.0.0.1", true),
        ("name of its own", &named, renamed, "127.0.0.1", true),
        ("right address", &addressed, trusting(&files), "127.0.0.1", true),
        ("wrong address", &addressed, trusting(&files), "127.0.0.2", false),
    ] {
        let (_, client) = connect(server, spec, host, ALPN::H1).await;
        assert_eq!(client.is_ok(), accepted, "{what}: {client:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_and_authorities_are_loaded_and_reloaded() {
    let files = Files::new();
    let client = files.issue("client", &["client.test"]);
    let files_of_client = ClientCertificate { certificate: client.0.clone(), private_key: client.1.clone() };
    let spec = UpstreamTls { client_certificate: Some(files_of_client), ..trusting(&files) };
    let upstream = UpstreamContext::load(spec).unwrap();
    let peer = || {
        let mut peer = HttpPeer::new("127.0.0.1:1", false, String::new());
        upstream.configure(&mut peer, "a.test");
        peer
    };
    let before = peer();
    assert_eq!(before.client_cert_key.as_ref().unwrap().key().len(), {
        let files = IdentityFiles { certificate: client.0.clone(), private_key: client.1.clone() };
        Identity::load(&files).unwrap().key.der().len()
    });
    assert_eq!(before.options.ca.as_ref().unwrap().len(), 1);
    assert_eq!(upstream.files().len(), 3);

    files.issue("client", &["client.test"]);
    assert!(upstream.reload().unwrap());
    assert_ne!(peer().group_key, before.group_key, "a new certificate must not reuse old connections");

    fs::write(&client.1, "garbage").unwrap();
    let after = peer().group_key;
    let errors = upstream.reload().unwrap_err().0;
    assert!(matches!(errors[..], [PemError::Content { source: PemFault::NoKey, .. }]), "{errors:?}");
    assert_eq!(peer().group_key, after);
}

#[tokio::test]
async fn a_silent_client_is_cut_and_a_plain_one_refused() {
    let files = Files::new();
    let server = DownstreamTls::load(ListenerTls::serving(vec![pair(&files, "a", &["a.test"])])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();

    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let limit = Duration::from_millis(1);
    let result = server.accept(l4::stream::Stream::from(stream), limit).await;
    assert!(matches!(result, Err(HandshakeError::TimedOut(_))));

    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let result = server.accept(l4::stream::Stream::from(stream), LIMIT).await;
    assert!(matches!(result, Err(HandshakeError::Failed(_))));
}
