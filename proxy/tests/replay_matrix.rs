//! The regression test of the attempt loop: any body, in any framing, reaches any attempt byte for byte.
//!
//! A cell of the matrix is one request: how the client frames its body × its size × which attempt succeeds and what
//! befell the ones before × what the upstream speaks × how the body gets there (held back for the peek, passed on while
//! it is being uploaded, with the model's name replaced). The upstream that answered reports length and hash of what
//! it received. All requests of a lane go over one connection: a byte too many or too few would derail the next one.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod harness;

use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;
use penstock_sim::Handle;
use penstock_sim::faults::{Action, Fault};
use penstock_sim::record::{Framing, RecordedRequest, body_hash};
use serde_json::{Value, json};

use harness::{
    Body, Client, Gateway, MODEL, Protocol, RawClient, RawServer, RefusedPort, Task, backend, body, chunked,
    pool, request, sim, spawn, with, within,
};

/// The largest body; the gateway's own limit is twice that.
const LARGEST: usize = 32 << 20;

const SIZES: [usize; 7] = [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 1 << 20, LARGEST];

/// What befalls the attempts before the one that succeeds, by the names of the upstreams that do it.
const FATES: [&[&str]; 9] = [
    &[],
    &["refused"],
    &["reset"],
    &["early"],
    &["busy"],
    &["refused", "reset"],
    &["early", "busy"],
    &["reset", "refused"],
    &["busy", "early"],
];

/// Of those, the ones that the largest body goes through: each of its cells moves up to 130 MB.
const FATES_OF_THE_LARGEST: [&[&str]; 3] = [&[], &["reset"], &["early", "busy"]];

/// How a body gets to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Read to its end for the picker, then sent.
    Peeked,
    /// Sent on while it comes in; what was sent is kept for the next attempt.
    Tee,
    /// Sent with another model's name in it.
    Renamed,
}

/// How the client frames its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Length,
    Stream,
}

const WAYS: [Way; 3] = [Way::Peeked, Way::Tee, Way::Renamed];

/// The upstreams, which fail in all the ways that a first and second attempt can.
struct Upstreams {
    refused: RefusedPort,
    reset: Handle,
    early: Handle,
    busy: Handle,
    good: Handle,
}

impl Upstreams {
    async fn start() -> Self {
        let upstreams = Self {
            refused: RefusedPort::take(),
            reset: sim(MODEL).await,
            early: sim(MODEL).await,
            busy: sim(MODEL).await,
            good: sim(MODEL).await,
        };
        upstreams.reset.faults().push(Fault::new(Action::Reset));
        upstreams.early.faults().push(Fault::new(Action::ResetBeforeBody));
        upstreams.busy.faults().push(Fault::status(503));
        upstreams
    }

    fn all(&self) -> [(&'static str, SocketAddr); 5] {
        [
            ("refused", self.refused.addr()),
            ("reset", self.reset.addr()),
            ("early", self.early.addr()),
            ("busy", self.busy.addr()),
            ("good", self.good.addr()),
        ]
    }

    async fn gateway(&self) -> Gateway {
        let mut upstreams = (Vec::new(), Vec::new());
        for (protocol, name) in [("http1", "h1"), ("h2c", "h2")] {
            let more = json!({"protocol": protocol, "ejection": {"consecutiveFailures": 0}});
            for (fate, address) in self.all() {
                let name = format!("{name}-{fate}");
                upstreams.0.push(with(pool(&name, &[address]), more.clone()));
                upstreams.1.push(with(backend(&name, &[address]), more.clone()));
            }
        }
        let rules: Vec<Value> = WAYS
            .into_iter()
            .flat_map(|way| {
                ["h1", "h2"]
                    .into_iter()
                    .flat_map(move |upstream| FATES.into_iter().map(move |fates| rule(way, upstream, fates)))
            })
            .collect();
        Gateway::start(json!({
            "routes": [{"name": "matrix", "rules": rules}],
            "pools": upstreams.0,
            "backends": upstreams.1,
        }))
        .await
    }
}

/// The path of a cell's route; the simulator's sink takes whatever is below `/sim/sink`.
fn path(way: Way, upstream: &str, fates: &[&str]) -> String {
    format!("/sim/sink/{way:?}/{upstream}/{}", fates.join("+"))
}

/// Tries the upstreams of `fates` in this order, and the good one last.
fn rule(way: Way, upstream: &str, fates: &[&str]) -> Value {
    let kind = if way == Way::Tee { "backend" } else { "pool" };
    let mut targets: Vec<Value> = Vec::new();
    for (priority, fate) in fates.iter().chain(&["good"]).enumerate() {
        let mut target = json!({"priority": priority});
        target[kind] = format!("{upstream}-{fate}").into();
        if way == Way::Renamed {
            target["modelOverride"] = renamed(priority).into();
        }
        targets.push(target);
    }
    json!({
        "matches": [{"path": {"type": "Exact", "value": path(way, upstream, fates)}}],
        "targets": targets,
        "retry": {"attempts": 3, "budgetPercent": 100, "minRetriesPerSecond": 10_000, "backoff": "0s"},
    })
}

/// What the model is called at the upstream of this priority: shorter, as long, longer than the client's name for it.
fn renamed(priority: usize) -> &'static str {
    ["m", "a-rather-longer-name-than-the-client-used", "same-long"][priority]
}

/// The name that clients use.
const ASKED: &str = "short-one";

/// A request's body, and what is to arrive for it.
struct Content {
    sent: Bytes,
    expected_bytes: u64,
    expected_hash: String,
}

/// A body of exactly `size` bytes, unlike that of any other cell.
fn content(way: Way, fates: &[&str], size: usize, cell: usize, filler: &Bytes) -> Content {
    let head = format!("{{\"cell\":{cell},\"model\":\"{ASKED}\",\"prompt\":\"");
    let tail = "\",\"stream\":false}";
    let sent = match size.checked_sub(head.len() + tail.len()) {
        Some(room) => {
            let start = cell % 251;
            [head.as_bytes(), &filler[start..start + room], tail.as_bytes()].concat()
        }
        None => vec![b'0' + (cell % 10) as u8; size],
    };
    assert_eq!(sent.len(), size);
    let expected = match way {
        Way::Renamed => {
            let text = String::from_utf8(sent.clone()).unwrap();
            text.replacen(&format!("\"{ASKED}\""), &format!("\"{}\"", renamed(fates.len())), 1).into_bytes()
        }
        Way::Peeked | Way::Tee => sent.clone(),
    };
    Content { sent: sent.into(), expected_bytes: expected.len() as u64, expected_hash: body_hash(&expected) }
}

/// Cuts a body into pieces of very different sizes.
fn pieces(mut body: Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for size in [1, 7, 1000, 16 << 10, 100_000, 1 << 20].into_iter().cycle() {
        if body.is_empty() {
            return pieces;
        }
        pieces.push(body.split_to(body.len().min(size)));
    }
    pieces
}

fn framed(sent: Sent, bytes: Bytes) -> Body {
    match sent {
        Sent::Length => body(bytes),
        Sent::Stream => chunked(pieces(bytes)),
    }
}

/// One connection of a client, and everything that is sent over it.
#[derive(Clone, Copy, Debug)]
struct Lane {
    way: Way,
    client: Protocol,
    sent: Sent,
    upstream: Protocol,
}

impl Lane {
    fn all() -> Vec<Self> {
        let mut lanes = Vec::new();
        for way in WAYS {
            for client in [Protocol::H1, Protocol::H2] {
                for sent in [Sent::Length, Sent::Stream] {
                    for upstream in [Protocol::H1, Protocol::H2] {
                        lanes.push(Self { way, client, sent, upstream });
                    }
                }
            }
        }
        lanes
    }

    fn cells(self) -> Vec<(usize, &'static [&'static str])> {
        let is_meant = |size: usize| self.way != Way::Renamed || size > 1;
        let sizes = SIZES.into_iter().filter(|size| is_meant(*size));
        let fates = |size| if size == LARGEST { &FATES_OF_THE_LARGEST[..] } else { &FATES[..] };
        sizes.flat_map(|size| fates(size).iter().map(move |fates| (size, *fates))).collect()
    }

    async fn run(self, addr: SocketAddr, filler: Bytes) -> usize {
        let mut client = Client::connect(addr, self.client).await;
        let cells = self.cells();
        let count = cells.len();
        for (cell, (size, fates)) in cells.into_iter().enumerate() {
            let content = content(self.way, fates, size, cell, &filler);
            let upstream = if self.upstream == Protocol::H1 { "h1" } else { "h2" };
            let sent =
                request(Method::POST, &path(self.way, upstream, fates), &[], framed(self.sent, content.sent));
            let what = format!("{self:?}, {size} bytes, {fates:?}");
            let reply = client.try_send(sent).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
            assert_eq!(reply.status, 200, "{what}: {}", reply.text());
            let seen: RecordedRequest = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(
                (seen.body_bytes, &seen.body_xxh64),
                (content.expected_bytes, &content.expected_hash),
                "{what}"
            );
            let version = if self.upstream == Protocol::H1 { "HTTP/1.1" } else { "HTTP/2.0" };
            assert_eq!(seen.version, version, "{what}");
        }
        count
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_body_reaches_every_attempt() {
    let upstreams = Upstreams::start().await;
    let gateway = upstreams.gateway().await;
    // Text without quotes or backslashes, whose period no power of two divides.
    let filler: Bytes = (0..LARGEST + 251).map(|at| b'a' + (at % 251 % 26) as u8).collect::<Vec<u8>>().into();
    let lanes = Lane::all();
    let connections = lanes.len();
    let mut cells = 0;
    // Four at a time: what counts is what a lane does in sequence, and 24 largest bodies at once would take a gigabyte.
    for few in lanes.chunks(4) {
        let running: Vec<Task<usize>> =
            few.iter().map(|lane| spawn(lane.run(gateway.addr(), filler.clone()))).collect();
        for lane in running {
            cells += lane.join().await;
        }
    }
    println!("replay matrix: {cells} cells over {connections} connections");
    assert_eq!(gateway.metric("penstock_connections_accepted_total", &[]), connections as f64);
    assert_eq!(upstreams.good.stats().completed, cells as u64);
    gateway.stop().await;
}

/// A client that waits for `100 Continue` gets it once, whatever becomes of the attempts, and keeps its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_continue_is_answered_once_and_the_connection_lives_on() {
    let upstreams = Upstreams::start().await;
    let gateway = upstreams.gateway().await;
    let filler: Bytes = vec![b'x'; 1 << 20].into();
    let mut cells = 0;
    for way in WAYS {
        let mut client = RawClient::connect(gateway.addr()).await;
        for sent in [Sent::Length, Sent::Stream] {
            for upstream in ["h1", "h2"] {
                for fates in FATES {
                    for size in [200, 100_000] {
                        let content = content(way, fates, size, cells, &filler);
                        let what = format!("{way:?} {sent:?} {upstream} {fates:?} {size}");
                        let framing = match sent {
                            Sent::Length => format!("content-length: {size}"),
                            Sent::Stream => "transfer-encoding: chunked".to_owned(),
                        };
                        let path = path(way, upstream, fates);
                        let head = format!(
                            "POST {path} HTTP/1.1\r\nhost: gateway.test\r\nexpect: 100-continue\r\n{framing}\r\n\r\n"
                        );
                        client.send(head).await;
                        assert_eq!(client.reply().await.map(|reply| reply.status), Some(100), "{what}");
                        match sent {
                            Sent::Length => client.send(&content.sent).await,
                            Sent::Stream => {
                                for piece in pieces(content.sent) {
                                    client.send(format!("{:x}\r\n", piece.len())).await;
                                    client.send(&piece).await;
                                    client.send("\r\n").await;
                                }
                                client.send("0\r\n\r\n").await;
                            }
                        }
                        let reply = client.reply().await.unwrap_or_else(|| panic!("{what}: closed"));
                        assert_eq!(reply.status, 200, "{what}");
                        let seen: RecordedRequest = serde_json::from_slice(&reply.body).unwrap();
                        assert_eq!(
                            (seen.body_bytes, &seen.body_xxh64, seen.header("expect")),
                            (content.expected_bytes, &content.expected_hash, None),
                            "{what}"
                        );
                        cells += 1;
                    }
                }
            }
        }
    }
    println!("expect: {cells} cells over {} connections", WAYS.len());
    assert_eq!(gateway.metric("penstock_connections_accepted_total", &[]), WAYS.len() as f64);
    gateway.stop().await;
}

/// Where no model is needed, the upstream has the first bytes before the client has sent the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_nobody_has_to_read_is_sent_on_while_it_comes_in() {
    let (arrived, mut first_bytes) = tokio::sync::mpsc::channel(1);
    let upstream = RawServer::start(move |mut connection| {
        let arrived = arrived.clone();
        async move {
            let seen = connection.until("first half").await;
            arrived.send(seen).await.unwrap();
            connection.until("second half").await;
            connection.respond(200, "", "all here").await;
            connection.closed().await;
        }
    })
    .await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [backend("b", &[upstream.addr()])],
    }))
    .await;
    let mut client = RawClient::connect(gateway.addr()).await;
    client.send("POST /upload HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: 21\r\n\r\nfirst half").await;
    let seen = within("the first half", first_bytes.recv()).await.unwrap();
    assert!(!seen.contains("second half"), "{seen}");
    client.send("second half").await;
    assert_eq!(client.reply().await.unwrap().body, b"all here");
    drop(client);
    gateway.stop().await;
    upstream.stop().await;
}

/// A body that is all here is sent with its length, since not every model server reads chunks; one that streams
/// through is framed as the client framed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_was_read_is_sent_with_its_length() {
    let upstreams = Upstreams::start().await;
    let gateway = upstreams.gateway().await;
    for (way, expected) in [(Way::Peeked, Framing::Length), (Way::Tee, Framing::Chunked)] {
        let mut client = gateway.client(Protocol::H1).await;
        let body = chunked(vec![Bytes::from_static(b"{\"model\""), Bytes::from_static(b":\"m\"}")]);
        let reply = client.send(request(Method::POST, &path(way, "h1", &[]), &[], body)).await;
        let seen: RecordedRequest = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(seen.framing, expected, "{way:?}");
    }
    gateway.stop().await;
}

/// A client that sends its next request before it has the answer to the last gets both, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let upstreams = Upstreams::start().await;
    let gateway = upstreams.gateway().await;
    for way in WAYS {
        for fates in FATES {
            let mut client = RawClient::connect(gateway.addr()).await;
            let mut requests = Vec::new();
            for length in [300, 301, 302] {
                let body = content(way, fates, length, 0, &vec![b'x'; 1000].into()).sent;
                let head = format!(
                    "POST {} HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: {length}\r\n\r\n",
                    path(way, "h1", fates)
                );
                requests.extend_from_slice(head.as_bytes());
                requests.extend_from_slice(&body);
            }
            client.send(requests).await;
            let base = renamed(fates.len()).len() as u64;
            for length in [300, 301, 302] {
                let reply = client.reply().await.unwrap_or_else(|| panic!("{way:?} {fates:?}: closed"));
                let expected = if way == Way::Renamed { length + base - ASKED.len() as u64 } else { length };
                assert_eq!(reply.json()["body_bytes"], expected, "{way:?} {fates:?}");
            }
        }
    }
    gateway.stop().await;
}
