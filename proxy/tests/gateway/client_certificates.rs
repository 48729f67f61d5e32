//! Certificates of clients, and what else a listener says of TLS.

use std::net::SocketAddr;

use penstock_sources::Applier as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::{Gateway, MODEL, pool, sim, with, within};
use crate::tls::Pki;

/// A gateway whose listener has this TLS beside its certificate.
async fn gateway(pki: &Pki, tls: Value, server: SocketAddr) -> Gateway {
    pki.issue("own", "gateway.test");
    let mut listeners = pki.listeners();
    listeners[0]["tls"] = with(listeners[0]["tls"].clone(), tls);
    Gateway::start(document(&listeners, server)).await
}

fn document(listeners: &Value, server: SocketAddr) -> Value {
    json!({
        "listeners": listeners,
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server])],
    })
}

/// Whether a connection is served. With TLS 1.3 a client hears of a certificate that is refused when it reads.
async fn is_served(connected: std::io::Result<TlsStream<TcpStream>>) -> bool {
    let Ok(mut stream) = connected else { return false };
    let request = b"GET /v1/models HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let _broken = within("an answer or the end", stream.read_to_end(&mut answer)).await;
    answer.starts_with(b"HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_show_certificates_of_the_authorities_that_are_believed() {
    let (pki, stranger, server) = (Pki::new(), Pki::new(), sim(MODEL).await);
    pki.issue("client", "client.test");
    stranger.issue("client", "client.test");
    let authorities = json!([pki.path("ca.crt")]);
    // What a client with none, with one of a stranger's and with a good one gets.
    for (proof, expected) in [
        (json!({"authorityFiles": authorities}), [false, false, true]),
        (json!({"authorityFiles": authorities, "proof": "VerifiedIfGiven"}), [true, false, true]),
        (json!({"proof": "Any"}), [false, true, true]),
    ] {
        let gateway = gateway(&pki, json!({"clients": proof}), server.addr()).await;
        let shown = [None, Some((&stranger, "client")), Some((&pki, "client"))];
        for (shown, expected) in shown.into_iter().zip(expected) {
            let who = shown.map(|(whose, _)| std::ptr::eq(whose, &pki));
            let connected = pki.connect_as(gateway.addr(), "gateway.test", "http/1.1", shown).await;
            assert_eq!(is_served(connected).await, expected, "{proof} {who:?}");
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_one_that_is_listed_and_has_a_name_that_is_wanted() {
    let (pki, stranger, server) = (Pki::new(), Pki::new(), sim(MODEL).await);
    pki.issue_numbered("app", "spiffe://corp/app", 1);
    pki.issue_numbered("job", "spiffe://corp/job", 2);
    stranger.issue_numbered("app", "spiffe://corp/app", 1);
    let hash = |whose: &Pki, name: &str| {
        let pem = std::fs::read(whose.path(&format!("{name}.crt"))).unwrap();
        let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
        penstock_policies::key_digest(&certificate).to_string().replace("sha256:", "")
    };
    let authorities = json!([pki.path("ca.crt")]);
    let uri = |how: &str, value: &str| json!([{"type": "URI", "match": how, "value": value}]);
    // What clients with the certificates `app` and `job`, and with `app` of a stranger get.
    for (clients, expected) in [
        (
            json!({"authorityFiles": authorities, "names": uri("Exact", "spiffe://corp/app")}),
            [true, false, false],
        ),
        (
            json!({"authorityFiles": authorities, "names": uri("Prefix", "spiffe://corp/")}),
            [true, true, false],
        ),
        (
            json!({"authorityFiles": authorities, "certificateHashes": [hash(&pki, "job")]}),
            [false, true, false],
        ),
        // Listed ones need nobody to vouch for them.
        (json!({"certificateHashes": [hash(&stranger, "app"), hash(&pki, "app")]}), [true, false, true]),
        (
            json!({"certificateHashes": [hash(&stranger, "app")], "names": uri("Suffix", "/job")}),
            [false, false, false],
        ),
    ] {
        let gateway = gateway(&pki, json!({"clients": clients}), server.addr()).await;
        for (shown, expected) in [(&pki, "app"), (&pki, "job"), (&stranger, "app")].into_iter().zip(expected)
        {
            let connected = pki.connect_as(gateway.addr(), "gateway.test", "http/1.1", Some(shown)).await;
            assert_eq!(is_served(connected).await, expected, "{clients} {}", shown.1);
        }
        let nothing = pki.connect_as(gateway.addr(), "gateway.test", "http/1.1", None).await;
        assert!(!is_served(nothing).await, "{clients}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_none_and_lists_are_read_again() {
    let (pki, server) = (Pki::new(), sim(MODEL).await);
    pki.issue_numbered("app", "spiffe://corp/app", 1);
    pki.issue_numbered("job", "spiffe://corp/job", 2);
    pki.revoke("revoked.crl", &[2]);
    let clients =
        json!({"authorityFiles": [pki.path("ca.crt")], "revocationFiles": [pki.path("revoked.crl")]});
    let gateway = gateway(&pki, json!({"clients": clients}), server.addr()).await;
    let served = async |name: &str| {
        let shown = Some((&pki, name));
        is_served(pki.connect_as(gateway.addr(), "gateway.test", "http/1.1", shown).await).await
    };
    assert_eq!((served("app").await, served("job").await), (true, false));
    pki.revoke("revoked.crl", &[1]);
    gateway.server().reload_files();
    assert_eq!((served("app").await, served("job").await), (false, true));
    std::fs::write(pki.path("revoked.crl"), "nothing").unwrap();
    gateway.server().reload_files();
    assert_eq!((served("app").await, served("job").await), (false, true), "the list before stays");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_are_read_again_and_a_bad_file_leaves_the_old_ones() {
    let (pki, other, server) = (Pki::new(), Pki::new(), sim(MODEL).await);
    pki.issue("client", "client.test");
    other.issue("client", "client.test");
    let believed = pki.path("believed.crt");
    std::fs::copy(pki.path("ca.crt"), &believed).unwrap();
    let gateway = gateway(&pki, json!({"clients": {"authorityFiles": [believed]}}), server.addr()).await;
    let served = async |whose: &Pki| {
        let shown = Some((whose, "client"));
        is_served(pki.connect_as(gateway.addr(), "gateway.test", "http/1.1", shown).await).await
    };
    assert_eq!((served(&pki).await, served(&other).await), (true, false));
    std::fs::copy(other.path("ca.crt"), &believed).unwrap();
    gateway.server().reload_files();
    assert_eq!((served(&pki).await, served(&other).await), (false, true));
    std::fs::write(&believed, "nothing").unwrap();
    gateway.server().reload_files();
    assert_eq!((served(&pki).await, served(&other).await), (false, true));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_protocols_are_those_that_are_wanted() {
    let (pki, server) = (Pki::new(), sim(MODEL).await);
    for (tls, version, protocol) in [
        (json!({}), rustls::ProtocolVersion::TLSv1_3, Some(&b"h2"[..])),
        (json!({"maxVersion": "1.2"}), rustls::ProtocolVersion::TLSv1_2, Some(b"h2")),
        (
            json!({"maxVersion": "1.2", "ciphers": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]}),
            rustls::ProtocolVersion::TLSv1_2,
            Some(b"h2"),
        ),
        (json!({"minVersion": "1.3"}), rustls::ProtocolVersion::TLSv1_3, Some(b"h2")),
    ] {
        let gateway = gateway(&pki, tls.clone(), server.addr()).await;
        let stream = pki.connect_as(gateway.addr(), "gateway.test", "h2", None).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(version), "{tls}");
        assert_eq!(connection.alpn_protocol(), protocol, "{tls}");
        if tls.get("ciphers").is_some() {
            let suite = connection.negotiated_cipher_suite().unwrap().suite();
            assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        }
        drop(stream);
        gateway.stop().await;
    }
    let gateway = gateway(&pki, json!({"protocols": ["http/1.1"]}), server.addr()).await;
    assert!(pki.connect_as(gateway.addr(), "gateway.test", "h2", None).await.is_err(), "h2 is not offered");
    assert!(is_served(pki.connect_as(gateway.addr(), "gateway.test", "http/1.1", None).await).await);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_of_the_proxy_protocol_comes_before_the_handshake() {
    let (pki, server) = (Pki::new(), sim(MODEL).await);
    pki.issue("own", "gateway.test");
    let mut listeners = pki.listeners();
    listeners[0]["proxyProtocol"] = json!("Required");
    let gateway = Gateway::start(document(&listeners, server.addr())).await;
    let mut stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\x12\x34\0\x50";
    stream.write_all(header).await.unwrap();
    assert!(is_served(pki.handshake(stream, "gateway.test", "http/1.1", None).await).await);
    assert_eq!(gateway.log(1).await[0]["client"], "203.0.113.7:4660");
    // Without one nobody is served.
    assert!(!is_served(pki.connect_as(gateway.addr(), "gateway.test", "http/1.1", None).await).await);
    gateway.stop().await;
}
