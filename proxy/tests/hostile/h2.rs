//! HTTP/2: what its own framing lets a client try.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gate::{Gate, chat_body, sim};
use crate::harness::{MODEL, within};

/// A client that keeps to the protocol.
pub(crate) struct H2 {
    sender: SendRequest<Bytes>,
}

impl H2 {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let (sender, connection) = within("a handshake", h2::client::handshake(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender }
    }

    /// Sends the head of a POST.
    pub(crate) async fn open(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::post(format!("http://llm{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = within("room for a stream", self.sender.clone().ready()).await.unwrap();
        sender.send_request(request.body(()).unwrap(), false).unwrap()
    }

    /// Sends a POST and reads the answer, whose body is JSON.
    ///
    /// # Errors
    /// The stream or the connection was reset.
    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(u16, Value), h2::Error> {
        let (answer, mut sending) = self.open(path, headers).await;
        let sent = async {
            for piece in body.chunks(16 << 10) {
                sending.reserve_capacity(piece.len());
                while sending.capacity() < piece.len() {
                    if !matches!(std::future::poll_fn(|cx| sending.poll_capacity(cx)).await, Some(Ok(_))) {
                        return;
                    }
                }
                if sending.send_data(Bytes::copy_from_slice(piece), false).is_err() {
                    return;
                }
            }
            let _refused = sending.send_data(Bytes::new(), true);
        };
        let (answer, ()) = within("an answer", async { tokio::join!(answer, sent) }).await;
        let answer = answer?;
        let status = answer.status().as_u16();
        let body = read(answer.into_body()).await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Starts a POST without a body and reads nothing of its answer.
    pub(crate) async fn start(&mut self, path: &str) -> RecvStream {
        let (answer, mut sending) = self.open(path, &[]).await;
        sending.send_data(Bytes::new(), true).unwrap();
        within("an answer", answer).await.unwrap().into_body()
    }
}

async fn read(mut body: RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = within("a piece of the answer", body.data()).await {
        let piece = piece?;
        let _closed = body.flow_control().release_capacity(piece.len());
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// What became of a stream of raw frames.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Answered; 8 stands for 200, 12 for 400, 13 for 404 (HPACK's static table).
    Answered(u8),
    /// The stream was reset.
    Reset,
    /// The whole connection was ended.
    Ended,
}

/// Sends a request of these raw header fields, without a body, on a connection of its own.
async fn raw(to: SocketAddr, fields: &[(&str, &str)]) -> Fate {
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal without indexing under a new name (RFC 7541 §6.2.2), nothing Huffman-coded.
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend_from_slice(&frame(4, 0, 0, &[]));
    // END_HEADERS and END_STREAM.
    bytes.extend_from_slice(&frame(1, 0b101, 1, &block));
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    within("the stream's fate", async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return Fate::Ended;
            }
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            if stream.read_exact(&mut payload).await.is_err() {
                return Fate::Ended;
            }
            match head[3] {
                1 => return Fate::Answered(payload[0] & 0x7f),
                3 => return Fate::Reset,
                7 => return Fate::Ended,
                _ => {}
            }
        }
    })
    .await
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_heads_never_reach_the_upstream() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let good = [(":method", "GET"), (":scheme", "http"), (":path", "/sim/sink"), (":authority", "llm")];
    assert_eq!(raw(gate.http, &good).await, Fate::Answered(8));
    assert_eq!(sim.requests().len(), 1);
    sim.forget_requests();

    let with = |name: &'static str, value: &'static str| {
        let mut fields = good.to_vec();
        fields.push((name, value));
        fields
    };
    let changed = |name: &str, value: &'static str| {
        let mut fields = good.to_vec();
        fields.iter_mut().find(|field| field.0 == name).unwrap().1 = value;
        fields
    };
    let without = |name: &str| good.iter().filter(|field| field.0 != name).copied().collect::<Vec<_>>();
    let cases = [
        ("no method", without(":method")),
        ("no path", without(":path")),
        ("no authority", without(":authority")),
        ("two methods", with(":method", "POST")),
        ("two paths", with(":path", "/raw/other")),
        ("two authorities", with(":authority", "evil")),
        ("an unknown pseudo header", with(":evil", "x")),
        ("a pseudo header of answers", with(":status", "200")),
        ("a pseudo header behind the others", [&[("x", "y")], &good[..]].concat()),
        ("a line break in a value", with("x", "a\r\nhost: evil")),
        ("a null in a value", with("x", "a\0b")),
        ("a line break in a name", with("x\r\ny", "a")),
        ("a colon in a name", with("x: y", "a")),
        ("a capital in a name", with("X-Upper", "a")),
        ("an empty name", with("", "a")),
        ("a line break in the path", changed(":path", "/sim/sink HTTP/1.1\r\nhost: evil\r\n\r\n")),
        ("a space in the path", changed(":path", "/sim/sink HTTP/1.1")),
        ("an absolute path", changed(":path", "http://evil/sim/sink")),
        ("a path without a slash", changed(":path", "raw/sink")),
        ("an empty path", changed(":path", "")),
        ("dot segments", changed(":path", "/raw/../secret/sink")),
        ("escaped dot segments", changed(":path", "/raw/%2e%2e/secret/sink")),
        ("a space in the method", changed(":method", "GET /raw/other")),
        ("a line break in the method", changed(":method", "GET /x HTTP/1.1\r\nx: ")),
        ("user info in the authority", changed(":authority", "root@llm")),
        ("a path in the authority", changed(":authority", "llm/raw")),
        ("another host", with("host", "evil")),
        ("connection", with("connection", "close")),
        ("keep-alive", with("keep-alive", "1")),
        ("proxy-connection", with("proxy-connection", "keep-alive")),
        ("transfer-encoding", with("transfer-encoding", "chunked")),
        ("upgrade", with("upgrade", "websocket")),
        ("te other than trailers", with("te", "gzip")),
        ("a length that is none", with("content-length", "x")),
        ("a negative length", with("content-length", "-1")),
        ("a length without a body", with("content-length", "5")),
        ("a tunnel", vec![(":method", "CONNECT"), (":authority", "llm:443")]),
        ("a WebSocket", [&[(":protocol", "websocket")], &changed(":method", "CONNECT")[..]].concat()),
        ("trace", changed(":method", "TRACE")),
    ];
    for (case, fields) in &cases {
        let fate = raw(gate.http, fields).await;
        assert_ne!(fate, Fate::Answered(8), "{case}");
        gate.settled().await;
        assert_eq!(sim.stats().completed, 1, "{case}: the upstream saw {:?}", sim.requests());
    }
    assert_eq!(raw(gate.http, &good).await, Fate::Answered(8));
    gate.close().await;
}

/// The library cuts it off. In HTTP/1 it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_of_a_path_reaches_nobody() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let path = |path| [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "llm")];
    for (asked, seen) in [("/sim/sink#/../x", "/sim/sink"), ("/sim/sink?q=1#x", "/sim/sink?q=1")] {
        assert_eq!(raw(gate.http, &path(asked)).await, Fate::Answered(8), "{asked}");
        assert_eq!(sim.requests().pop().unwrap().path, seen, "{asked}");
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_leaves_the_others_of_its_connection_unharmed() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let mut h2 = H2::connect(gate.http).await;
    let body = chat_body(MODEL);
    for (case, path, headers, sent, status, code) in [
        ("unknown model", "/v1/chat/completions", vec![], r#"{"model":"x"}"#, 404, "model_not_found"),
        ("two models", "/v1/chat/completions", vec![], r#"{"model":"x","model":"y"}"#, 400, "invalid_model"),
        ("dots", "/raw/../x", vec![], "", 400, "bad_request"),
        ("a host with a list", "/nowhere", vec![], "{}", 404, "unknown_url"),
        ("expectation", "/raw/x", vec![("expect", "x")], "{}", 417, "expectation_failed"),
    ] {
        let answer = h2.post(path, &headers, sent.as_bytes()).await;
        let (given, json) = answer.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!((given, json["error"]["code"].as_str()), (status, Some(code)), "{case}");
        let (status, json) = h2.post("/v1/chat/completions", &[], body.as_bytes()).await.unwrap();
        assert_eq!((status, &json["model"]), (200, &MODEL.into()), "after {case}");
    }
    drop(h2);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_the_body_belies_is_refused() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let body = chat_body(MODEL);
    for path in ["/v1/chat/completions", "/sim/sink"] {
        for length in [body.len() - 1, body.len() + 1] {
            let mut h2 = H2::connect(gate.http).await;
            let length = length.to_string();
            let answer = h2.post(path, &[("content-length", &length)], body.as_bytes()).await;
            assert!(answer.is_err() || answer.is_ok_and(|(status, _)| status == 400), "{path}");
        }
    }
    gate.settled().await;
    assert_eq!(sim.stats().completed, 0, "{:?}", sim.requests());
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expectation_is_met_or_passed_over() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let mut h2 = H2::connect(gate.http).await;
    let (status, _) = h2
        .post("/v1/chat/completions", &[("expect", "100-continue")], chat_body(MODEL).as_bytes())
        .await
        .unwrap();
    assert_eq!(status, 200);
    assert_eq!(sim.requests()[0].header("expect"), None);
    drop(h2);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_in_several_fields_reach_the_upstream_as_one() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let mut h2 = H2::connect(gate.http).await;
    for (sent, seen) in [
        (&["a=1"][..], "a=1"),
        (&["a=1", "b=2"], "a=1; b=2"),
        (&["a=1; b=2", "c=3", "d=4"], "a=1; b=2; c=3; d=4"),
    ] {
        let fields: Vec<_> =
            sent.iter().map(|cookie| ("cookie", *cookie)).chain([("x-list", "1"), ("x-list", "2")]).collect();
        let (status, _) = h2.post("/sim/sink", &fields, b"").await.unwrap();
        assert_eq!(status, 200);
        let headers = sim.requests().pop().unwrap().headers;
        let all = |name: &str| {
            headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(all("cookie"), [seen]);
        assert_eq!(all("x-list"), ["1", "2"], "other fields stay apart");
    }
    drop(h2);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_open_as_many_streams_as_the_limit_says() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), serde_json::json!({"http2Streams": 3})).await;
    let mut h2 = H2::connect(gate.http).await;
    let mut open = Vec::new();
    let (status, _) = h2.post("/sim/sink", &[], b"x").await.unwrap();
    assert_eq!(status, 200);
    for _ in 0..3 {
        open.push(h2.open("/v1/chat/completions", &[]).await);
    }
    let mut fourth = h2.sender.clone();
    let is_ready = std::future::poll_fn(|cx| std::task::Poll::Ready(fourth.poll_ready(cx).is_ready())).await;
    // The client's library holds the fourth back, because the gateway told it the limit.
    assert!(!is_ready || fourth.current_max_send_streams() == 3);
    assert_eq!(fourth.current_max_send_streams(), 3);
    drop((open, h2, fourth));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_that_carry_nothing_are_cut() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), json!({"http2ControlFrames": 1000})).await;
    let mut cut = 0.0;
    // PING, SETTINGS, PRIORITY, WINDOW_UPDATE of the connection by one, and a type that nobody knows.
    let floods = [
        frame(0x6, 0, 0, &[0; 8]),
        frame(0x4, 0, 0, &[]),
        frame(0x2, 0, 1, &[0; 5]),
        frame(0x8, 0, 0, &[0, 0, 0, 1]),
        frame(0xfe, 0, 0, &[0; 9]),
    ];
    for flood in floods {
        let mut stream = TcpStream::connect(gate.http).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let write = async {
            let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(0x4, 0, 0, &[])].concat();
            writer.write_all(&preface).await.unwrap();
            let many = flood.repeat(100);
            // As long as it is taken.
            while writer.write_all(&many).await.is_ok() {}
        };
        let read = async {
            let mut answers = vec![0; 64 << 10];
            while reader.read(&mut answers).await.is_ok_and(|bytes| bytes > 0) {}
        };
        within("the flood to be cut", async { tokio::join!(write, read) }).await;
        cut += 1.0;
        gate.hit("limits.http2ControlFrames", cut).await;
    }
    // Requests allow for as much as they cause.
    let mut client = H2::connect(gate.http).await;
    for _ in 0..200 {
        let (status, _) =
            client.post("/v1/chat/completions", &[], chat_body(MODEL).as_bytes()).await.unwrap();
        assert_eq!(status, 200);
    }
    gate.settled().await;
    gate.close().await;
}
