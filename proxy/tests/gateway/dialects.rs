//! Upstreams that do not speak the clients' API: requests are encoded once an attempt, responses decoded as they come, and
//! nothing of a response is heard before it has content.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::uri::PathAndQuery;
use penstock_proxy::codec::{About, Codec, CodecError, Decoder, Draft};
use penstock_proxy::policy::{Extension, UpstreamKind};
use pingora_http::ResponseHeader;
use serde_json::{Value, json};

use crate::harness::{Gateway, Protocol, RawServer, backend, post, post_json, with};

/// A dialect whose bodies are the clients' turned around, byte by byte, and that fails with a line of exclamation marks.
struct Backwards(Arc<AtomicUsize>);

/// Reads line by line: what begins with a dash is no content.
#[derive(Default)]
struct Forwards {
    line: Vec<u8>,
    has_content: bool,
    has_failed: bool,
}

impl Codec for Backwards {
    fn translates(&self, _path: &str) -> bool {
        true
    }

    fn encode(&self, draft: &mut Draft, _about: About<'_>) -> Result<Option<Box<dyn Decoder>>, CodecError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let body = draft.body.concat();
        if body.windows(10).any(|word| word == b"palindrome") {
            return Err(CodecError::Request("palindromes have no direction".to_owned()));
        }
        draft.body = vec![body.into_iter().rev().collect::<Vec<u8>>().into()];
        draft.target = PathAndQuery::from_static("/backwards");
        Ok(Some(Box::new(Forwards::default())))
    }
}

impl Decoder for Forwards {
    fn head(&mut self, head: &mut ResponseHeader) -> Result<(), CodecError> {
        head.insert_header("x-was", "backwards").map_err(|error| CodecError::Upstream(error))
    }

    fn body(&mut self, data: Bytes, is_end: bool) -> Result<Bytes, CodecError> {
        let mut decoded = Vec::new();
        for byte in data {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match line.first() {
                Some(b'!') => self.has_failed = true,
                Some(b'-') | None => {}
                Some(_) => decoded.extend(line.iter().rev()),
            }
        }
        // What came before a failure is the client's to have.
        if self.has_failed && (decoded.is_empty() || is_end) {
            return Err(CodecError::Upstream("it exclaims".into()));
        }
        self.has_content |= !decoded.is_empty();
        Ok(decoded.into())
    }

    fn has_content(&self) -> bool {
        self.has_content
    }
}

struct Dialects(Arc<AtomicUsize>);

impl Extension for Dialects {
    fn codec(&self, kind: UpstreamKind, name: &str) -> Option<Arc<dyn Codec>> {
        (kind == UpstreamKind::Backend && name.starts_with("backwards"))
            .then(|| Arc::new(Backwards(self.0.clone())) as Arc<dyn Codec>)
    }
}

/// An upstream that sends each of these pieces as a chunk of its own, and then ends the response if that is so.
async fn chunks(pieces: &'static [&'static str], ends: bool) -> RawServer {
    RawServer::start(move |mut connection| async move {
        while let Some((head, body)) = connection.request().await {
            assert!(head.starts_with("post /backwards "), "{head}");
            assert!(body.starts_with(b"}"), "its body is turned around");
            connection.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            for piece in pieces {
                connection.send(format!("{:x}\r\n{piece}\r\n", piece.len())).await;
            }
            if !ends {
                return;
            }
            connection.send("0\r\n\r\n").await;
        }
    })
    .await
}

/// A gateway whose only rule tries these backends in this order.
async fn in_order(backends: Vec<Value>, encoded: &Arc<AtomicUsize>) -> Gateway {
    let target = |(at, backend): (usize, &Value)| json!({"backend": backend["name"], "priority": at});
    let targets: Vec<Value> = backends.iter().enumerate().map(target).collect();
    let document = json!({
        "routes": [{"name": "r", "rules": [{"targets": targets}]}],
        "backends": backends,
    });
    Gateway::extended(document, Arc::new(Dialects(encoded.clone()))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_encoded_from_what_it_decodes_to() {
    let server = chunks(&["olleh\n"], true).await;
    let encoded = Arc::default();
    let gateway = in_order(vec![backend("backwards", &[server.addr()])], &encoded).await;
    let mut client = gateway.client(Protocol::H1).await;
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let packed = crate::encodings::gzip(&json!({"say": "olleh"}).to_string());
    // The upstream looks whether what it is sent is the text, turned around.
    let reply = client.send(post("/v1/chat/completions", &headers, packed)).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "hello"));
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

fn question() -> http::Request<crate::harness::Body> {
    post_json("/v1/chat/completions", &json!({"say": "olleh"}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_encoded_and_its_response_decoded() {
    let server = chunks(&["-ping\n", "olleh\n", "!\n", "-ping\n"], true).await;
    let encoded = Arc::default();
    let gateway = in_order(vec![backend("backwards", &[server.addr()])], &encoded).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        // Cut off after its first content, or refused where all of it came at once.
        let ended = client.try_send(question()).await;
        assert!(ended.is_err() || ended.unwrap().status == 502);
    }
    gateway.stop().await;
    server.stop().await;

    let server = chunks(&["-ping\n", "olleh\n", "dlrow\n"], true).await;
    let gateway = in_order(vec![backend("backwards", &[server.addr()])], &encoded).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = client.send(question()).await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"helloworld"[..]));
        assert_eq!(reply.headers["x-was"], "backwards");
    }
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_fails_after_its_200_and_before_any_content_is_followed_by_another() {
    for (pieces, ends) in [(&["-ping\n", "!\n"][..], true), (&["-ping\n"][..], false), (&["!\n"][..], true)] {
        let bad = chunks(pieces, ends).await;
        let good = chunks(&["olleh\n"], true).await;
        let encoded: Arc<AtomicUsize> = Arc::default();
        let backends = vec![backend("backwards-1", &[bad.addr()]), backend("backwards-2", &[good.addr()])];
        let gateway = in_order(backends, &encoded).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(question()).await;
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"hello"[..]), "{pieces:?}");
        assert_eq!(encoded.load(Ordering::Relaxed), 2, "once an attempt");
        let line = gateway.log(1).await.pop().unwrap();
        assert_eq!((&line["attempts"], &line["backend"]), (&json!(2), &json!("backwards-2")), "{line}");
        drop(client);
        gateway.stop().await;
        bad.stop().await;
        good.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dialect_has_no_words_for_is_the_clients_fault() {
    let server = chunks(&["olleh\n"], true).await;
    let gateway = in_order(vec![backend("backwards", &[server.addr()])], &Arc::default()).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &json!({"say": "palindrome"}))).await;
    assert_eq!(reply.status, 400);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], "unsupported_request");
    assert!(error["message"].as_str().unwrap().contains("palindromes have no direction"), "{error}");
    assert_eq!(server.accepted(), 0);
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

/// The same hold without a dialect: a rule may ask for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_may_have_responses_held_until_they_have_content() {
    const EVENTS: &str =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let failed = chunk("data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n");
    let said = chunk("data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\ndata: [DONE]\n\n");
    let ping = chunk(": ping\n\n");
    let role = chunk("data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n");
    for until_content in [true, false] {
        for first in [format!("{EVENTS}{failed}0\r\n\r\n"), format!("{EVENTS}{ping}")] {
            let whole = format!("{EVENTS}{role}{said}0\r\n\r\n");
            let serve = |text: String| {
                RawServer::start(move |mut connection| {
                    let text = text.clone();
                    async move {
                        if connection.request().await.is_some() {
                            connection.send(text).await;
                        }
                    }
                })
            };
            let (bad, good) = (serve(first.clone()).await, serve(whole).await);
            let rule = json!({
                "targets": [{"backend": "bad", "priority": 0}, {"backend": "good", "priority": 1}],
                "retry": {"untilContent": until_content},
            });
            let document = json!({
                "routes": [{"name": "r", "rules": [rule]}],
                "backends": [
                    with(backend("bad", &[bad.addr()]), json!({"ejection": {"consecutiveFailures": 0}})),
                    backend("good", &[good.addr()]),
                ],
            });
            let gateway = Gateway::start(document).await;
            let mut client = gateway.client(Protocol::H1).await;
            let reply = client.send(question()).await;
            assert_eq!(reply.status, 200);
            let text = reply.text();
            assert_eq!(text.contains("hello") && !text.contains("error"), until_content, "{first}: {text}");
            assert_eq!(gateway.log(1).await[0]["attempts"], if until_content { 2 } else { 1 }, "{first}");
            drop(client);
            gateway.stop().await;
            bad.stop().await;
            good.stop().await;
        }
    }
}
