//! `penstock serve` as a supervisor and a person see it: the real program, replaced while clients use it, and what it says.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod harness;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use harness::{
    Client, MODEL, Protocol, RawServer, Task, backend, chat, eventually, get, pool, post, post_json, sim,
    spawn, with, within,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

/// The program, while it runs.
struct Serve {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Serve {
    fn start(document: &Path, handover: Option<&Path>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
        command.arg("serve").arg(document).args(["--log-format", "json"]).env_remove("RUST_LOG");
        if let Some(path) = handover {
            command.arg("--handover").arg(path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// Waits for a line with these words.
    async fn line(&mut self, words: &str) -> Value {
        let mut seen = Vec::new();
        let found = within("a line", async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                if line.contains(words) {
                    return serde_json::from_str(&line).ok();
                }
                seen.push(line);
            }
            None
        });
        found.await.unwrap_or_else(|| panic!("{words} was not said"))
    }

    async fn address(&mut self, words: &str) -> SocketAddr {
        self.line(words).await["address"].as_str().unwrap().parse().unwrap()
    }

    async fn end(&mut self) -> Option<i32> {
        within("the end", self.child.wait()).await.unwrap().code()
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }
}

/// A folder with a routing document, and the path at which processes hand over.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(document: Value) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("routing.json", document);
        folder
    }

    fn write(&self, name: &str, document: Value) -> PathBuf {
        let head = json!({
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "RoutingConfig",
            "listeners": [{"name": "http", "address": "127.0.0.1:0"}],
            "admin": {"address": "127.0.0.1:0", "hosts": ["gateway.test"]},
            "accessLog": {"enabled": false},
        });
        let path = self.0.path().join(name);
        std::fs::write(&path, with(head, document).to_string()).unwrap();
        path
    }

    fn document(&self) -> PathBuf {
        self.0.path().join("routing.json")
    }

    fn handover(&self) -> PathBuf {
        self.0.path().join("handover.sock")
    }
}

/// A document that sends everything to one server. Connections that lie idle are kept for longer than any client pauses.
fn everything_to(server: SocketAddr) -> Value {
    json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server])],
        "shutdown": {"linger": "1m"},
    })
}

/// Clients that ask without a pause.
struct Traffic {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<Task<Result<(), String>>>,
}

impl Traffic {
    /// As many clients of each kind: with a connection for each request, and with one that they keep while they may.
    fn start(address: SocketAddr, each: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |keeps: bool| {
            let (stop, answered) = (stop.clone(), answered.clone());
            spawn(async move {
                let mut kept = None;
                while !stop.load(Relaxed) {
                    let asked = ask(address, kept.take(), keeps).await;
                    kept = asked.map_err(|error| format!("keeps: {keeps}, after {answered:?}: {error}"))?;
                    answered.fetch_add(1, Relaxed);
                }
                Ok(())
            })
        };
        let clients = (0..2 * each).map(|number| client(number % 2 == 0)).collect();
        Self { stop, answered, clients }
    }

    /// Waits for some more answers.
    async fn goes_on(&self) {
        let enough = self.answered.load(Relaxed) + 100;
        eventually("more answers", || (self.answered.load(Relaxed) >= enough).then_some(())).await;
    }

    /// Ends it; fails if a single request has.
    async fn succeeded(self) {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.join().await.unwrap();
        }
    }
}

/// One request. The connection that comes back may be used again.
async fn ask(address: SocketAddr, kept: Option<TcpStream>, keeps: bool) -> io::Result<Option<TcpStream>> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => TcpStream::connect(address).await?,
    };
    let body = chat(MODEL, false).to_string();
    let connection = if keeps { "keep-alive" } else { "close" };
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\nconnection: {connection}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let head = loop {
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break String::from_utf8_lossy(&answer[..end + 4]).to_ascii_lowercase();
        }
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    if !head.starts_with("http/1.1 200 ") {
        return Err(io::Error::other(head));
    }
    let length =
        head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other(head.clone()))?;
    while answer.len() < head.len() + length {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(stream).filter(|_| keeps && !head.contains("connection: close")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_replaced_without_a_failed_request() {
    let server = sim(MODEL).await;
    let folder = Folder::new(everything_to(server.addr()));
    let start = || Serve::start(&folder.document(), Some(&folder.handover()));
    let mut running = start();
    let address = running.address(r#""listener":"http""#).await;
    let admin = running.address("admin listening").await;
    let traffic = Traffic::start(address, 4);
    traffic.goes_on().await;
    for _ in 0..3 {
        let mut next = start();
        next.line("serving in place of the process before").await;
        assert_eq!(running.end().await, Some(0));
        traffic.goes_on().await;
        running = next;
        let ready = Client::connect(admin, Protocol::H1).await.send(get("/readyz")).await;
        assert_eq!(ready.json()["ready"], true);
    }
    traffic.succeeded().await;
    // The last one ends as ever, and closes its sockets.
    running.signal("TERM").await;
    assert_eq!(running.end().await, Some(0));
    assert!(TcpStream::connect(address).await.is_err());
}

/// Connects, with TLS where there is a certificate to trust.
async fn client(
    address: SocketAddr,
    trusted: Option<&CertificateDer<'static>>,
    protocol: Protocol,
) -> Client {
    let Some(trusted) = trusted else { return Client::connect(address, protocol).await };
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols =
        vec![if protocol == Protocol::H2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let name = ServerName::try_from("gateway.test").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    Client::on(stream.unwrap(), protocol).await
}

/// A server whose streams begin at once, and end when they are told to.
async fn streams_until(end: watch::Receiver<bool>) -> RawServer {
    RawServer::start(move |mut connection| {
        let mut end = end.clone();
        async move {
            while connection.request().await.is_some() {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                let chunk = |event: &str| format!("{:x}\r\n{event}\r\n", event.len());
                connection.send([head, &chunk("data: {}\n\n")].concat()).await;
                drop(end.wait_for(|is_over| *is_over).await);
                connection.send([&chunk("data: [DONE]\n\n"), "0\r\n\r\n"].concat()).await;
            }
        }
    })
    .await
}

/// A stream goes on where it began, whatever its client speaks, and new connections are the next process's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_outlast_the_takeover_that_they_span() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["gateway.test".to_owned()]).unwrap();
    let (end, is_over) = watch::channel(false);
    let server = streams_until(is_over).await;
    let folder = Folder::new(json!({}));
    let file = |name: &str| folder.0.path().join(name);
    std::fs::write(file("tls.crt"), cert.pem()).unwrap();
    std::fs::write(file("tls.key"), signing_key.serialize_pem()).unwrap();
    let certificate = json!({"certificateFile": file("tls.crt"), "privateKeyFile": file("tls.key")});
    folder.write("routing.json", with(everything_to(server.addr()), json!({"listeners": [
        {"name": "http", "address": "127.0.0.1:0"},
        {"name": "https", "address": "127.0.0.1:0", "protocol": "HTTPS", "tls": {"certificates": [certificate]}},
    ]})));
    let start = || Serve::start(&folder.document(), Some(&folder.handover()));
    let mut running = start();
    let plain = running.address(r#""listener":"http""#).await;
    let secure = running.address(r#""listener":"https""#).await;
    let ways = [(plain, None), (secure, Some(cert.der()))]
        .into_iter()
        .flat_map(|way| [(way, Protocol::H1), (way, Protocol::H2)]);

    let mut streams = Vec::new();
    for ((address, trusted), protocol) in ways.clone() {
        let mut client = client(address, trusted, protocol).await;
        let mut stream = client.open(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.next().await.unwrap().unwrap(), "data: {}\n\n");
        streams.push((client, stream));
    }
    let mut next = start();
    next.line("serving in place of the process before").await;
    for ((address, trusted), protocol) in ways {
        let mut client = client(address, trusted, protocol).await;
        assert_eq!(client.send(get("/v1/models")).await.status, 200, "{address} {protocol:?}");
    }
    assert_eq!(running.child.try_wait().unwrap(), None, "it ended before its streams");
    end.send(true).unwrap();
    for (client, stream) in streams {
        assert_eq!(stream.rest().await, ("data: [DONE]\n\n".to_owned(), true));
        drop(client);
    }
    assert_eq!(running.end().await, Some(0));
    next.signal("TERM").await;
    assert_eq!(next.end().await, Some(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_cannot_start_changes_nothing() {
    let server = sim(MODEL).await;
    let folder = Folder::new(everything_to(server.addr()));
    let mut running = Serve::start(&folder.document(), Some(&folder.handover()));
    let address = running.address(r#""listener":"http""#).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = json!({"listeners": [
        {"name": "http", "address": "127.0.0.1:0"},
        {"name": "taken", "address": taken.local_addr().unwrap().to_string()},
    ]});
    let faulty = folder.write("faulty.json", with(everything_to(server.addr()), listeners));
    let traffic = Traffic::start(address, 1);
    assert_eq!(Serve::start(&faulty, Some(&folder.handover())).end().await, Some(1));
    running.line("the sockets were not handed over").await;
    traffic.goes_on().await;
    let mut next = Serve::start(&folder.document(), Some(&folder.handover()));
    next.line("serving in place of the process before").await;
    assert_eq!(running.end().await, Some(0));
    traffic.goes_on().await;
    traffic.succeeded().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_a_server_cannot_be_used_is_told_once_and_kept() {
    let server = sim(MODEL).await;
    // It speaks no TLS.
    let secure = with(backend("secure", &[server.addr()]), json!({"tls": {"insecureSkipVerify": true}}));
    let folder = Folder::new(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "secure"}], "retry": {"attempts": 1}}]}],
        "backends": [with(secure, json!({"ejection": {"consecutiveFailures": 1000}}))],
    }));
    let mut running = Serve::start(&folder.document(), None);
    let address = running.address(r#""listener":"http""#).await;
    let admin = running.address("admin listening").await;
    for _ in 0..5 {
        let mut client = Client::connect(address, Protocol::H1).await;
        assert_eq!(client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await.status, 502);
    }
    let pools = Client::connect(admin, Protocol::H1).await.send(get("/debug/pools")).await.json();
    let failure = &pools["backends"][0]["endpoints"][0]["last_failure"];
    assert_eq!(failure["reason"], "upstream_tls", "{pools:#}");
    let cause = failure["cause"].as_str().unwrap().to_owned();
    assert!(!cause.is_empty() && failure["at"].is_string(), "{failure}");
    running.signal("TERM").await;
    let mut told = Vec::new();
    while let Some(line) = running.log.next_line().await.unwrap() {
        told.extend(
            line.contains("an attempt failed").then(|| serde_json::from_str::<Value>(&line).unwrap()),
        );
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["level"], &told[0]["endpoint"]),
        (&json!("WARN"), &json!(server.addr().to_string())),
        "{told:?}"
    );
    // Each has the local port of its connection in it.
    for cause in [&*cause, told[0]["cause"].as_str().unwrap()] {
        assert!(cause.contains("InvalidContentType"), "{cause}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_nobody_could_say_who_may_ask_is_told_once() {
    let server = sim(MODEL).await;
    // It speaks no gRPC.
    let auth = with(backend("auth", &[server.addr()]), json!({"protocol": "h2c"}));
    let folder = Folder::new(json!({
        "policies": [{"name": "p", "external": {"grpc": {"backend": "auth"}}}],
        "routes": [{"name": "r", "rules": [{"policies": ["p"], "targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[server.addr()]), auth],
    }));
    let mut running = Serve::start(&folder.document(), None);
    let address = running.address(r#""listener":"http""#).await;
    for _ in 0..3 {
        let mut client = Client::connect(address, Protocol::H1).await;
        assert_eq!(client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await.status, 403);
    }
    running.signal("TERM").await;
    let mut told = Vec::new();
    while let Some(line) = running.log.next_line().await.unwrap() {
        told.extend(line.contains("nobody could say").then(|| serde_json::from_str::<Value>(&line).unwrap()));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["level"], &told[0]["policy"], &told[0]["reason"]),
        (&json!("WARN"), &json!("p"), &json!("status")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_logged_can_be_changed_while_the_program_runs() {
    let folder = Folder::new(json!({}));
    let mut running = Serve::start(&folder.document(), None);
    let admin = running.address("admin listening").await;
    let mut client = Client::connect(admin, Protocol::H1).await;
    let at_first = client.send(get("/debug/log")).await.text();
    assert!(at_first.contains("info") && at_first.contains("pingora_proxy=off"), "{at_first}");

    let change = |filter: &'static str| post("/debug/log", &[], filter);
    assert_eq!(client.send(change("warn,penstock=warn")).await.status, 200);
    assert!(client.send(get("/debug/log")).await.text().contains("penstock=warn"));
    for (wrong, part) in [("eror", "eror is no level"), ("info,rustls", "rustls is no level")] {
        let refused = client.send(change(wrong)).await;
        assert_eq!(refused.status, 400, "{wrong}");
        assert!(refused.text().contains(part), "{}", refused.text());
    }
    let of_a_page = post("/debug/log", &[("origin", "http://elsewhere.example")], "trace");
    assert_eq!(client.send(of_a_page).await.status, 403);
    assert_eq!(client.send(change("")).await.text(), at_first, "what was logged at the start");
    // Of the two changes, the first is one after which nothing of its level is told.
    running.signal("TERM").await;
    let mut told = Vec::new();
    while let Some(line) = running.log.next_line().await.unwrap() {
        told.extend(line.contains("what is logged was changed").then_some(line));
    }
    assert!(matches!(&*told, [line] if line.contains("pingora_proxy=off")), "{told:?}");
}
