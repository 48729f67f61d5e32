//! TLS on both sides, and what HTTP/2 clients are told at the start.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use penstock_sim::options::{Options, TlsOptions};
use penstock_sources::Applier;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, RevokedCertParams, SanType, date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawClient, backend, chat, eventually, pool, post_json, sim, sim_with,
    spawn, with, within,
};

/// What an HTTP/2 client sends first, and its SETTINGS, of which there are none.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const NO_SETTINGS: &[u8; 9] = b"\0\0\0\x04\0\0\0\0\0";

/// An authority and what it signed, in files.
pub(crate) struct Pki {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { folder: tempfile::tempdir().unwrap(), authority };
        pki.write("ca.crt", &pki.authority.pem());
        pki
    }

    /// Writes NAME.crt and NAME.key for a DNS name.
    pub(crate) fn issue(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        self.write(&format!("{name}.crt"), &params.signed_by(&key, &self.authority).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// The same, with a serial number and for a URI.
    pub(crate) fn issue_numbered(&self, name: &str, uri: &str, serial: u64) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        params.serial_number = Some(serial.into());
        self.write(&format!("{name}.crt"), &params.signed_by(&key, &self.authority).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// Writes a list of certificates that the authority has revoked, by their numbers.
    pub(crate) fn revoke(&self, name: &str, serials: &[u64]) {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        self.write(name, &params.signed_by(&self.authority).unwrap().pem().unwrap());
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn listeners(&self) -> Value {
        let certificate =
            json!({"certificateFile": self.path("own.crt"), "privateKeyFile": self.path("own.key")});
        json!([{
            "name": "https", "address": "127.0.0.1:0", "protocol": "HTTPS",
            "tls": {"certificates": [certificate]},
        }])
    }

    /// A handshake as a client that trusts the authority makes it.
    async fn connect(
        &self,
        addr: SocketAddr,
        host: &str,
        protocol: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(addr, host, protocol, None).await
    }

    /// The same, by a client that shows the certificate NAME.crt of some authority.
    pub(crate) async fn connect_as(
        &self,
        addr: SocketAddr,
        host: &str,
        protocol: &str,
        shown: Option<(&Self, &str)>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(addr).await?;
        self.handshake(stream, host, protocol, shown).await
    }

    /// The same, on a connection that is there.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
        protocol: &str,
        shown: Option<(&Self, &str)>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((pki, name)) => {
                let read = |kind: &str| std::fs::read(pki.path(&format!("{name}.{kind}"))).unwrap();
                let chain = CertificateDer::pem_slice_iter(&read("crt")).collect::<Result<_, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(&read("key")).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let name = ServerName::try_from(host.to_owned()).unwrap();
        within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_speaks_tls_with_either_protocol() {
    let (pki, server) = (Pki::new(), sim(MODEL).await);
    pki.issue("own", "gateway.test");
    let gateway = Gateway::start(json!({
        "listeners": pki.listeners(),
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    for (name, protocol) in [("http/1.1", Protocol::H1), ("h2", Protocol::H2)] {
        let stream = pki.connect(gateway.addr(), "gateway.test", name).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(name.as_bytes()));
        let mut client = Client::on(stream, protocol).await;
        for _ in 0..3 {
            let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    assert!(server.requests().iter().all(|seen| seen.header("x-forwarded-proto") == Some("https")));
    // Whoever does not speak TLS gets no answer, and does no harm.
    let mut plain = gateway.client(Protocol::H1).await;
    assert!(plain.try_send(post_json("/v1/chat/completions", &chat(MODEL, false))).await.is_err());
    drop(plain);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_of_another_listeners_certificate_is_misdirected() {
    let (pki, server) = (Pki::new(), sim(MODEL).await);
    pki.issue("exact", "a.own.test");
    pki.issue("wild", "*.own.test");
    // Port 0 is another port for each listener, so one is taken and given back, where nobody else takes any.
    let address = TcpListener::bind("127.0.0.21:0").unwrap().local_addr().unwrap();
    let listener = |name: &str, hostname: &str| {
        let certificate = json!({
            "certificateFile": pki.path(&format!("{name}.crt")), "privateKeyFile": pki.path(&format!("{name}.key")),
        });
        json!({
            "name": name, "hostname": hostname, "address": address, "protocol": "HTTPS",
            "tls": {"certificates": [certificate]},
        })
    };
    let gateway = Gateway::start(json!({
        "listeners": [listener("exact", "a.own.test"), listener("wild", "*.own.test")],
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    let asking = |host: &str| {
        let mut request = post_json("/v1/chat/completions", &chat(MODEL, false));
        *request.uri_mut() = format!("http://{host}/v1/chat/completions").parse().unwrap();
        request.headers_mut().insert("host", host.parse().unwrap());
        request
    };
    for (name, protocol) in [("http/1.1", Protocol::H1), ("h2", Protocol::H2)] {
        for (server_name, host, status) in [
            ("a.own.test", "a.own.test", 200),
            ("a.own.test", "A.OWN.TEST:443", 200),
            ("a.own.test", "b.own.test", 421),
            ("b.own.test", "a.own.test", 421),
            ("b.own.test", "c.own.test", 200),
            ("a.own.test", "a.own.test.", 200),
            // Nobody's: another connection would not help.
            ("a.own.test", "other.test", 404),
        ] {
            let mut client =
                Client::on(pki.connect(address, server_name, name).await.unwrap(), protocol).await;
            let reply = client.send(asking(host)).await;
            assert_eq!(reply.status, status, "{name} {server_name} {host}: {}", reply.text());
            if status == 421 {
                assert_eq!(reply.code(), "misdirected_request");
                // The connection is as good as before for what it was opened for.
                assert_eq!(client.send(asking(server_name)).await.status, 200);
            }
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_to_new_connections() {
    let pki = Pki::new();
    pki.issue("own", "gateway.test");
    let gateway = Gateway::start(json!({"listeners": pki.listeners()})).await;
    let shown = async || {
        let stream = pki.connect(gateway.addr(), "gateway.test", "http/1.1").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    assert_eq!(shown().await, first);
    pki.issue("own", "gateway.test");
    gateway.server().reload_files();
    let second = shown().await;
    assert_ne!(second, first);
    // A broken renewal leaves the last good one in place.
    pki.write("own.crt", "no certificate");
    gateway.server().reload_files();
    assert_eq!(shown().await, second);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstreams_certificate_is_checked_and_ours_is_shown() {
    let pki = Pki::new();
    pki.issue("server", "model.test");
    pki.issue("client", "penstock");
    let server = sim_with(Options {
        tls: Some(TlsOptions {
            certificate_file: pki.path("server.crt"),
            key_file: pki.path("server.key"),
            client_ca_file: Some(pki.path("ca.crt")),
        }),
        ..Options::default()
    })
    .await;
    let tls = |sni: &str| json!({"tls": {"sni": sni, "caFile": pki.path("ca.crt")}});
    let own = json!({"tls": {"clientCertificateFile": pki.path("client.crt"), "clientKeyFile": pki.path("client.key")}});
    for protocol in ["http1", "h2"] {
        let more = |sni: &str| with(tls(sni), json!({"protocol": protocol}));
        for (sni, shows_own, is_trusted) in [
            ("model.test", true, true),
            // A name that the certificate is not for, and a server that wants a certificate and gets none.
            ("other.test", true, false),
            ("model.test", false, false),
        ] {
            let more = if shows_own { with(more(sni), own.clone()) } else { more(sni) };
            let gateway = Gateway::start(json!({
                "routes": [{"name": "r", "rules": [
                    {"matches": [{"path": {"value": "/v1/chat"}}], "targets": [{"pool": "p"}]},
                    {"targets": [{"backend": "b"}]},
                ]}],
                "pools": [with(pool("p", &[server.addr()]), more.clone())],
                "backends": [with(backend("b", &[server.addr()]), more)],
            }))
            .await;
            let mut client = gateway.client(Protocol::H2).await;
            for path in ["/v1/chat/completions", "/v1/completions"] {
                let asked = json!({
                    "model": MODEL, "prompt": "Why?", "messages": [{"role": "user", "content": "Why?"}],
                });
                let reply = client.send(post_json(path, &asked)).await;
                let what = format!("{protocol} {sni} {shows_own} {path}: {}", reply.text());
                assert_eq!(
                    (reply.status == 200, reply.status.is_server_error()),
                    (is_trusted, !is_trusted),
                    "{what}"
                );
            }
            drop(client);
            gateway.stop().await;
        }
    }
    assert_eq!(server.stats().completed, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http2_client_is_told_how_many_streams_it_may_open() {
    let gateway = Gateway::start(json!({"limits": {"http2Streams": 7}})).await;
    let stream = TcpStream::connect(gateway.addr()).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = spawn(connection);
    let sender = within("the connection", sender.ready()).await.unwrap();
    eventually("the gateway's settings", || (sender.current_max_send_streams() == 7).then_some(())).await;
    drop((sender, connection));
    gateway.stop().await;
}

/// What comes behind a body cannot stay in the socket here: it is decrypted with the body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_chunks_end_where_they_end_behind_tls() {
    let (pki, server) = (Pki::new(), sim(MODEL).await);
    pki.issue("own", "gateway.test");
    let gateway = Gateway::start(json!({
        "listeners": pki.listeners(),
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    let body = chat(MODEL, false).to_string();
    let good = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway.test\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let broken = good.replace("\r\n0\r\n\r\n", "\r\n\r\n\r\n");
    let all = format!("{good}{good}{good}{broken}");
    for piece in [all.len(), good.len(), 1] {
        let mut stream = pki.connect(gateway.addr(), "gateway.test", "http/1.1").await.unwrap();
        for bytes in all.as_bytes().chunks(piece) {
            stream.write_all(bytes).await.unwrap();
        }
        stream.flush().await.unwrap();
        let mut said = Vec::new();
        let _ended = within("the connection to end", stream.read_to_end(&mut said)).await;
        let said = String::from_utf8_lossy(&said);
        let statuses: Vec<_> = said.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "200", "200", "400"], "{piece}: {said}");
    }
    assert_eq!(server.stats().completed, 9);
    gateway.stop().await;
}

/// A handshake, and then nothing: not even the preface that HTTP/2 begins with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_says_nothing_behind_its_handshake_is_closed() {
    let pki = Pki::new();
    pki.issue("own", "gateway.test");
    let gateway = Gateway::start(json!({
        "listeners": pki.listeners(),
        "limits": {"headerTimeout": "300ms", "keepAliveTimeout": "1h"},
        "shutdown": {"linger": "50ms"},
    }))
    .await;
    for protocol in ["h2", "http/1.1"] {
        let mut silent = pki.connect(gateway.addr(), "gateway.test", protocol).await.unwrap();
        let mut said = Vec::new();
        let ended = within("the gateway to close the connection", silent.read_to_end(&mut said)).await;
        let is_told = String::from_utf8_lossy(&said).contains("408");
        assert_eq!(is_told, protocol == "http/1.1", "{protocol}: {ended:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preface_that_stops_half_way_behind_a_handshake_is_waited_for_as_long_as_a_head() {
    let pki = Pki::new();
    pki.issue("own", "gateway.test");
    let gateway = Gateway::start(json!({
        "listeners": pki.listeners(),
        "limits": {"headerTimeout": "300ms", "keepAliveTimeout": "1h"},
    }))
    .await;
    for (sent, times) in [(0, 1.0), (1, 2.0), (10, 3.0), (PREFACE.len() - 1, 4.0)] {
        let mut silent = pki.connect(gateway.addr(), "gateway.test", "h2").await.unwrap();
        silent.write_all(&PREFACE[..sent]).await.unwrap();
        let mut said = Vec::new();
        let _ended = within("the gateway to close the connection", silent.read_to_end(&mut said)).await;
        let hits = || gateway.metric("penstock_limit_hits_total", &["\"limits.headerTimeout\""]);
        eventually("the limit to be counted", || (hits() == times).then_some(())).await;
    }
    gateway.stop().await;
}

/// All that HTTP/2 begins with, or all but the client's settings, and then nothing: no request, and no answer to what the
/// gateway says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_says_nothing_behind_its_preface_is_closed_as_an_idle_one_is() {
    let pki = Pki::new();
    pki.issue("own", "gateway.test");
    let [secure, plain] = [pki.listeners()[0].clone(), json!({"name": "http", "address": "127.0.0.1:0"})];
    let gateway = Gateway::start(json!({
        "listeners": [secure, plain],
        "limits": {"headerTimeout": "5m", "keepAliveTimeout": "1s"},
    }))
    .await;
    for sent in [&PREFACE[..], &[&PREFACE[..], NO_SETTINGS].concat()] {
        let mut encrypted = pki.connect(gateway.addr_of("https"), "gateway.test", "h2").await.unwrap();
        let mut plain = RawClient::connect(gateway.addr_of("http")).await;
        encrypted.write_all(sent).await.unwrap();
        plain.send(sent).await;
        let mut said = Vec::new();
        let _ended = within("the gateway to close the connection", encrypted.read_to_end(&mut said)).await;
        for said in [said, plain.rest().await] {
            // It was taken for HTTP/2: a frame of SETTINGS came back.
            assert_eq!(said.get(3), Some(&4), "{}", said.escape_ascii());
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_say_nothing_do_not_hold_up_the_end() {
    let pki = Pki::new();
    pki.issue("own", "gateway.test");
    let gateway = Gateway::start(json!({
        "listeners": pki.listeners(),
        "limits": {"headerTimeout": "5m"},
        "shutdown": {"linger": "50ms"},
    }))
    .await;
    let mut silent = Vec::new();
    for (protocol, sent) in [
        ("h2", Vec::new()),
        ("http/1.1", Vec::new()),
        ("h2", PREFACE[..10].to_vec()),
        ("h2", PREFACE.to_vec()),
        ("h2", [&PREFACE[..], NO_SETTINGS].concat()),
    ] {
        let mut stream = pki.connect(gateway.addr(), "gateway.test", protocol).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        silent.push(stream);
    }
    let ended = within("the drain", gateway.drain(std::time::Duration::from_secs(3600))).await;
    assert_eq!(ended, penstock_proxy::server::Drained::Completely);
    gateway.stop().await;
    drop(silent);
}
