//! The test upstream: by itself, and side by side with the original where that is at hand.
//!
//! `PENSTOCK_REAL_TESTUPSTREAM` names the original's program; without it, only our own answers are checked.

use std::{
    io::Write,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Method, Request};
use penstock_sim::options::{Options, Personality};

use crate::{
    client::{Answer, Body, Client, request, unframed},
    start,
};

const CHAT: &str = "/v1/chat/completions";

fn upstream() -> Options {
    Options {
        personality: Personality::TestUpstream { id: "test".to_owned() },
        record_requests: 0,
        ..Options::default()
    }
}

fn b64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// A request by path, headers and body.
struct Case {
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
}

fn case(headers: &[(&'static str, &str)]) -> Case {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Case { path: CHAT, headers, body: r#"{"model":"m1"}"# }
}

impl Case {
    fn at(mut self, path: &'static str) -> Self {
        self.path = path;
        self
    }

    fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        self
    }

    fn request(&self) -> Request<Body> {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        request(Method::POST, self.path, &headers, self.body)
    }
}

fn expectations() -> Vec<Case> {
    vec![
        case(&[]),
        case(&[("x-expected-host", "sim")]),
        case(&[("x-expected-host", "other")]),
        case(&[("x-expected-headers", &b64("a:b")), ("a", "b")]),
        case(&[("x-expected-headers", &b64("a:b")), ("a", "c")]),
        case(&[("x-expected-headers", &b64("a:b"))]),
        case(&[("x-expected-headers", &b64("a:b:c")), ("a", "b:c")]),
        case(&[("x-expected-headers", &b64("bad"))]),
        case(&[("x-expected-headers", "!!!")]),
        case(&[("x-non-expected-request-headers", &b64("a,b")), ("b", "c")]),
        case(&[("x-non-expected-request-headers", &b64("a,b"))]),
        case(&[("x-non-expected-request-headers", "@@")]),
        case(&[("x-expected-testupstream-id", "test")]),
        case(&[("x-expected-testupstream-id", "other")]),
        case(&[("x-expected-path", &b64(CHAT))]),
        case(&[("x-expected-path", &b64("/other"))]),
        case(&[("x-expected-path", "@@")]),
        case(&[("x-expected-raw-query", "a=b")]).at("/v1/chat/completions?a=b"),
        case(&[("x-expected-raw-query", "a=c")]).at("/v1/chat/completions?a=b"),
        case(&[("x-expected-request-body", &b64(r#"{"model":"m1"}"#))]),
        case(&[("x-expected-request-body", &b64("other"))]),
        case(&[("x-expected-path", &b64("/x")), ("x-expected-testupstream-id", "zz")]),
        case(&[("x-expected-path", &b64("/x")), ("x-expected-raw-query", "zz")]),
        case(&[("x-expected-request-body", &b64("zz")), ("x-response-headers", &b64("bad"))]),
    ]
}

fn responses() -> Vec<Case> {
    let two_lines =
        b64("{\"role\":\"assistant\"}\n{\"delta\":{\"text\":\"x\"},\"contentBlockIndex\":0}\n\n{\"zzz\":1}");
    let events = b64("event: a\ndata: x\n\nevent: b\ndata: y\n\n");
    let lines = b64("l1\nl2\n");
    let with = |kind: &str, body: &str| case(&[("x-response-type", kind), ("x-response-body", body)]);
    vec![
        case(&[("x-response-body", &b64("{\"a\":1}"))]),
        case(&[("x-response-body", "@@")]),
        case(&[("x-response-status", "503"), ("x-response-body", &b64("no"))]),
        case(&[("x-response-status", "404"), ("x-response-body", &b64("no"))]),
        case(&[("x-response-status", "abc")]),
        case(&[("x-response-headers", &b64("x-a:b,x-c: d")), ("x-response-body", &b64("{}"))]),
        case(&[("x-response-headers", &b64("content-type:text/plain")), ("x-response-body", &b64("{}"))]),
        case(&[("x-response-headers", &b64("bad"))]),
        case(&[("x-response-headers", "@@")]),
        with("empty", &lines),
        with("unheard-of", &lines),
        with("gzip", &lines),
        with("sse", &lines),
        with("sse", &events),
        with("sse-gzip", &lines),
        with("aws-event-stream", &two_lines),
        case(&[("x-response-type", "sse")]),
        case(&[("x-response-type", "aws-event-stream")]),
        case(&[("x-fake-response", "bogus")]),
        case(&[]).at("/v1/completions"),
        case(&[]).at("/v1/embeddings"),
        case(&[]).at("/").body("text"),
        case(&[]).body(r#"{"model":5,"x":"#),
        case(&[]).body(r#"{"model":"a\u0041"}"#),
        case(&[]).body("text"),
    ]
}

/// What is compared: everything but the date, the order of headers, and texts that are drawn or compressed.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length"))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    let mut body = answer.body.to_vec();
    if answer.header("content-encoding") == "gzip" {
        let mut plain = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut plain).unwrap();
        body = plain;
    }
    let drawn = serde_json::from_slice::<serde_json::Value>(&body).ok().and_then(|mut json| {
        *json.pointer_mut("/choices/0/message/content")? = "drawn".into();
        Some(json.to_string().into_bytes())
    });
    (answer.status.as_u16(), headers, drawn.unwrap_or(body))
}

#[tokio::test]
async fn it_does_what_headers_say() {
    let sim = start(upstream()).await;
    let mut client = Client::http1(sim.addr()).await;
    let plain = client.send(case(&[]).request()).await.unwrap();
    assert_eq!((plain.status.as_u16(), plain.header("testupstream-id")), (200, "test"));
    assert_eq!(plain.header("x-model"), "m1");
    assert_eq!(plain.json()["usage"]["total_tokens"], 300);
    let refused = client.send(case(&[("x-expected-host", "other")]).request()).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.header("x-testupstream-error")), (400, "true"));
    assert_eq!(refused.text(), "unexpected host: got \"sim\", expected \"other\"\n");
    assert_eq!(client.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_request_without_a_length_is_refused_unless_a_gateway_picked_the_endpoint() {
    let sim = start(upstream()).await;
    let mut client = Client::http1(sim.addr()).await;
    let piece = || vec![bytes::Bytes::from_static(b"{\"model\":\"m1\"}")];
    let refused = client.send(unframed(CHAT, piece())).await.unwrap();
    assert_eq!(refused.text(), "no Content-Length header, using request body length: 14\n");
    let mut picked = unframed(CHAT, piece());
    picked.headers_mut().insert("x-gateway-destination-endpoint", "10.0.0.1:8000".parse().unwrap());
    assert_eq!(client.send(picked).await.unwrap().status, 200);
}

#[tokio::test]
async fn fake_responses_have_their_sizes() {
    let sim = start(upstream()).await;
    let mut client = Client::http1(sim.addr()).await;
    for (key, bytes) in [("small", 5_000), ("medium", 500_000), ("large", 5_000_000)] {
        let answer = client.send(case(&[("x-fake-response", key)]).request()).await.unwrap();
        assert!((bytes..bytes * 5 / 4).contains(&answer.body.len()), "{key}: {}", answer.body.len());
        answer.json();
    }
}

#[tokio::test]
async fn it_answers_as_the_original_does() {
    let Ok(program) = std::env::var("PENSTOCK_REAL_TESTUPSTREAM") else {
        // Not by `println!`: the test harness keeps what tests print that pass.
        let _ = writeln!(std::io::stderr(), "skipped: PENSTOCK_REAL_TESTUPSTREAM names no program");
        return;
    };
    let original = Original::start(&program).await;
    let sim = start(upstream()).await;
    let mut ours = Client::http1(sim.addr()).await;
    let mut theirs = Client::http1(original.addr).await;
    for case in expectations().iter().chain(&responses()) {
        let mine = ours.send(case.request()).await.unwrap();
        let other = theirs.send(case.request()).await.unwrap();
        assert_eq!(essence(&mine), essence(&other), "{} {:?} {}", case.path, case.headers, case.body);
    }
}

struct Original {
    child: Child,
    addr: SocketAddr,
}

impl Original {
    /// It cannot say which port it took, so one that was free a moment ago is given to it.
    async fn start(program: &str) -> Self {
        let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .env("TESTUPSTREAM_ID", "test")
            .env("LISTENER_PORT", addr.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let original = Self { child, addr };
        while tokio::net::TcpStream::connect(addr).await.is_err() {
            tokio::task::yield_now().await;
        }
        original
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
