use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use penstock_config::{CertificateFiles, ClientCertificate, UpstreamTls};
use pingora_core::{
    connectors::http::Connector,
    protocols::{ALPN, Stream, l4},
    upstreams::peer::HttpPeer,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

/// A directory of certificates, all from one authority.
pub(super) struct Files {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    authority: String,
}

impl Files {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        Self { dir: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key), authority }
    }

    /// Writes NAME.crt and NAME.key for the DNS names or addresses in `names`.
    pub(super) fn issue(&self, name: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (
            self.write(&format!("{name}.crt"), &certificate.pem()),
            self.write(&format!("{name}.key"), &key.serialize_pem()),
        )
    }

    fn pair(&self, name: &str, names: &[&str]) -> CertificateFiles {
        let (certificate, private_key) = self.issue(name, names);
        CertificateFiles { certificate, private_key }
    }

    fn authority(&self) -> PathBuf {
        self.write("ca.crt", &self.authority)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
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
    let server = DownstreamTls::load(vec![files.pair("a", &["a.test"])]).unwrap();
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
    let named = DownstreamTls::load(vec![files.pair("a", &["a.test"])]).unwrap();
    let addressed = DownstreamTls::load(vec![files.pair("b", &["127.0.0.1"])]).unwrap();
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
async fn a_new_certificate_is_served_and_a_bad_one_is_not() {
    let files = Files::new();
    let pair = files.pair("a", &["old.test"]);
    let server = DownstreamTls::load(vec![pair.clone()]).unwrap();
    assert!(!server.reload().unwrap(), "nothing changed");

    files.issue("a", &["new.test"]);
    assert!(server.reload().unwrap());
    assert!(connect(&server, trusting(&files), "new.test", ALPN::H1).await.1.is_ok());

    let (other, _) = files.issue("other", &["other.test"]);
    fs::copy(other, &pair.certificate).unwrap();
    let errors = server.reload().unwrap_err();
    assert!(matches!(errors[..], [PemError::Mismatch { .. }]), "{errors:?}");
    assert!(connect(&server, trusting(&files), "new.test", ALPN::H1).await.1.is_ok());
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
        let identity = pem::identity(&client.0, &client.1).unwrap();
        identity.key.0.len()
    });
    assert_eq!(before.options.ca.as_ref().unwrap().len(), 1);
    assert_eq!(upstream.files().len(), 3);

    files.issue("client", &["client.test"]);
    assert!(upstream.reload().unwrap());
    assert_ne!(peer().group_key, before.group_key, "a new certificate must not reuse old connections");

    fs::write(&client.1, "garbage").unwrap();
    let after = peer().group_key;
    assert!(matches!(upstream.reload().unwrap_err()[..], [PemError::NoKey { .. }]));
    assert_eq!(peer().group_key, after);
}

#[test]
fn a_server_name_is_never_empty_and_never_bracketed() {
    let upstream = UpstreamContext::load(plain()).unwrap();
    assert_eq!(upstream.server_name("[::1]"), "::1");
    assert_eq!(upstream.server_name("a.test"), "a.test");
    let upstream = UpstreamContext::load(UpstreamTls { sni: Some("b.test".into()), ..plain() }).unwrap();
    assert_eq!(upstream.server_name("[::1]"), "b.test");
}

#[tokio::test]
async fn a_silent_client_is_cut_and_a_plain_one_refused() {
    let files = Files::new();
    let server = DownstreamTls::load(vec![files.pair("a", &["a.test"])]).unwrap();
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

#[test]
fn every_fault_of_a_file_is_told_with_its_name() {
    let files = Files::new();
    let (certificate, key) = files.issue("a", &["a.test"]);
    let missing = files.dir.path().join("missing");
    let empty = files.write("empty", "");
    let broken = files.write("broken", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n");
    let nonsense = files.write("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted = files.write(
        "encrypted",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let unusable = files.write("unusable", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (certificate, key, file, words) in [
        (&missing, &key, &missing, "cannot open the file"),
        (&empty, &key, &empty, "no certificate in it"),
        (&key, &key, &key, "no certificate in it"),
        (&broken, &key, &broken, "not valid PEM"),
        (&nonsense, &key, &nonsense, "certificate 1 in it cannot be parsed"),
        (&certificate, &certificate, &certificate, "no private key in it"),
        (&certificate, &encrypted, &encrypted, "unencrypted"),
        (&certificate, &unusable, &unusable, "cannot be used"),
    ] {
        let error = pem::identity(certificate, key).unwrap_err().to_string();
        assert!(error.starts_with(&*file.to_string_lossy()), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let errors = DownstreamTls::load(vec![
        CertificateFiles { certificate: missing.clone(), private_key: key.clone() },
        CertificateFiles { certificate: empty, private_key: key },
    ]);
    assert_eq!(errors.unwrap_err().len(), 2, "all faults at once");
    assert!(UpstreamContext::load(UpstreamTls { ca: Some(missing), ..plain() }).is_err());
}

/// Used by the resolver's tests too.
#[test]
fn an_identity_knows_its_names_and_its_expiry() {
    let files = Files::new();
    let (certificate, key) = files.issue("a", &["A.test", "*.b.test"]);
    let identity = pem::identity(&certificate, Path::new(&key)).unwrap();
    assert_eq!(identity.names, ["a.test", "*.b.test"]);
    assert!(identity.not_after > 0);
    assert!(!format!("{identity:?}").contains("PRIVATE"), "keys are never printed");
}
