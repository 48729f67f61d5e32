//! Upstreams that answer whatever they like. The gateway must not panic, not leak, and above all not give one client
//! what was meant for another.

use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::gate::{Gate, Setup, chat};
use crate::harness::{MODEL, eventually};
use crate::villain::{Then, Villain};

const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\ngood";
const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\npoison";

/// One bad answer, and what the client may get for it.
enum Expect {
    /// An error of the gateway's own.
    Refusal,
    /// This status and body.
    Exactly(u16, &'static str),
    /// An answer that shows that it is incomplete, or an error.
    Broken,
    /// Anything, as long as it is one answer.
    Anything,
}

use Expect::{Anything, Broken, Exactly, Refusal};

fn cases() -> Vec<(&'static str, Vec<u8>, Then, Expect)> {
    let ok = "HTTP/1.1 200 OK\r\n";
    let text = |text: &str| text.as_bytes().to_vec();
    let with = |headers: &str, body: &str| text(&format!("{ok}{headers}\r\n{body}"));
    vec![
        ("nothing", text(""), Then::Close, Refusal),
        ("garbage", text("\0\x01\x02garbage\r\n\r\n"), Then::Close, Refusal),
        ("garbage without an end", text("\x16\x03\x01garbage"), Then::Repeat, Refusal),
        ("a greeting of another protocol", text("220 mail.example.com ESMTP\r\n"), Then::Stay, Refusal),
        ("half a head", text("HTTP/1.1 200 OK\r\ncontent-le"), Then::Close, Refusal),
        (
            "a huge header",
            with(&format!("x: {}\r\ncontent-length: 0\r\n", "y".repeat(4 << 20)), ""),
            Then::Stay,
            Refusal,
        ),
        (
            "a thousand headers",
            with(&format!("{}content-length: 0\r\n", "x: y\r\n".repeat(1000)), ""),
            Then::Stay,
            Refusal,
        ),
        ("a head without an end", text(&format!("{ok}x: y\r\n")), Then::Stay, Refusal),
        ("headers for ever", text(&"x: y\r\n".repeat(1000)), Then::Repeat, Refusal),
        ("a length that is none", with("content-length: abc\r\n", "good"), Then::Stay, Refusal),
        ("a negative length", with("content-length: -1\r\n", "good"), Then::Stay, Refusal),
        ("a length with a sign", with("content-length: +4\r\n", "good"), Then::Stay, Refusal),
        ("two lengths", with("content-length: 4\r\ncontent-length: 5\r\n", "good"), Then::Stay, Refusal),
        (
            "length and coding",
            with(
                "content-length: 4\r\ntransfer-encoding: chunked\r\n",
                "0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            ),
            Then::Stay,
            Anything,
        ),
        ("an unknown coding", with("transfer-encoding: gzip\r\n", POISON), Then::Close, Anything),
        ("a status that is none", text("HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n"), Then::Stay, Refusal),
        (
            "a status of four digits",
            text("HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n"),
            Then::Stay,
            Refusal,
        ),
        ("a status of zero", text("HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n"), Then::Stay, Refusal),
        ("a status of 099", text("HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n"), Then::Stay, Refusal),
        (
            "a switch of protocols",
            text(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\npoison",
            ),
            Then::Stay,
            Refusal,
        ),
        ("a null in a header", with("x: a\0b\r\ncontent-length: 4\r\n", "good"), Then::Stay, Refusal),
        (
            "a carriage return in a header",
            with("x: a\rset-cookie: evil=1\r\ncontent-length: 4\r\n", "good"),
            Then::Stay,
            Refusal,
        ),
        (
            "a folded header",
            with("x: a\r\n set-cookie: evil=1\r\ncontent-length: 4\r\n", "good"),
            Then::Stay,
            Anything,
        ),
        ("a space before the colon", with("content-length : 4\r\n", "good"), Then::Close, Anything),
        (
            "a second answer behind the first",
            text(&format!("{GOOD}{POISON}")),
            Then::Stay,
            Exactly(200, "good"),
        ),
        ("rubbish behind the answer", text(&format!("{GOOD}rubbish")), Then::Stay, Exactly(200, "good")),
        (
            "more than its length",
            with("content-length: 4\r\n", "good and more"),
            Then::Stay,
            Exactly(200, "good"),
        ),
        ("less than its length", with("content-length: 40\r\n", "good"), Then::Close, Broken),
        (
            "a body on 204",
            text(&format!("HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\n{POISON}")),
            Then::Stay,
            Exactly(204, ""),
        ),
        (
            "a body on 304",
            text(&format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\n\r\n{POISON}")),
            Then::Stay,
            Exactly(304, ""),
        ),
        (
            "a chunk that ends early",
            with("transfer-encoding: chunked\r\n", "ff\r\ngood"),
            Then::Close,
            Broken,
        ),
        ("no last chunk", with("transfer-encoding: chunked\r\n", "4\r\ngood\r\n"), Then::Close, Broken),
        (
            "a chunk of no size",
            with("transfer-encoding: chunked\r\n", "zz\r\ngood\r\n0\r\n\r\n"),
            Then::Stay,
            Broken,
        ),
        (
            "a chunk beyond 64 bits",
            with("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\ngood"),
            Then::Stay,
            Broken,
        ),
        (
            "a chunk longer than its size",
            with("transfer-encoding: chunked\r\n", "2\r\ngood\r\n0\r\n\r\n"),
            Then::Stay,
            Broken,
        ),
        (
            "an answer behind the last chunk",
            with("transfer-encoding: chunked\r\n", &format!("4\r\ngood\r\n0\r\n\r\n{POISON}")),
            Then::Stay,
            Exactly(200, "good"),
        ),
        ("HTTP/1.0 without a length", text("HTTP/1.0 200 OK\r\n\r\ngood"), Then::Close, Exactly(200, "good")),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_answer_harms_the_request_that_got_it_and_no_other() {
    for path in ["/v1/chat/completions", "/raw/x"] {
        for (case, bytes, then, expect) in cases() {
            let case = format!("{path}, {case}");
            let villain = Villain::new(move |number| match number {
                0 => (bytes.clone(), then),
                _ => (GOOD.into(), Then::Stay),
            })
            .await;
            let setup = Setup { timeouts: json!({"perTry": "1s", "streamIdle": "1s"}), ..Setup::default() };
            let gate = Gate::with(villain.address, setup).await;
            let request = chat(MODEL).replacen("/v1/chat/completions", path, 1);
            let mut wire = gate.wire().await;
            wire.send(&request).await;
            match expect {
                Refusal => {
                    let answer = wire.answer().await;
                    assert!(matches!(answer.status, 502 | 504), "{case}: {answer:?}");
                    answer.refusal(&case);
                }
                Exactly(status, body) => {
                    let answer = wire.answer().await;
                    assert_eq!((answer.status, &*answer.body), (status, body.as_bytes()), "{case}");
                    assert!(status != 204 || answer.header("content-length").is_none(), "{case}: {answer:?}");
                }
                Broken => {
                    let rest = String::from_utf8_lossy(&wire.rest().await).into_owned();
                    let is_whole = rest.ends_with("0\r\n\r\n") || rest.ends_with("rest");
                    assert!(!is_whole || rest.starts_with("HTTP/1.1 502"), "{case}: {rest}");
                }
                Anything => {
                    let answer = wire.answer().await;
                    assert_eq!(answer.header("set-cookie"), None, "{case}: {answer:?}");
                }
            }
            // The next requests get their own answers: on the same connection, where it was kept, and on others.
            for _ in 0..3 {
                let answer = gate.ask(&request).await;
                assert_eq!((answer.status, &*answer.body), (200, &b"good"[..]), "after {case}");
            }
            gate.settled().await;
            drop(wire);
            gate.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_asked_for_is_given_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answered, closed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (may_poison, is_closed) = (answered.clone(), closed.clone());
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            assert!(stream.read(&mut buffer).await.unwrap() > 0);
            stream.write_all(GOOD.as_bytes()).await.unwrap();
            if number > 0 {
                continue;
            }
            may_poison.notified().await;
            stream.write_all(POISON.as_bytes()).await.unwrap();
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
            is_closed.notify_one();
        }
    });
    let gate = Gate::open(address).await;
    let mut wire = gate.wire().await;
    wire.send(chat(MODEL)).await;
    assert_eq!(wire.answer().await.body, b"good");
    answered.notify_one();
    // The gateway notices the bytes on its idle connection, and gives it up.
    crate::harness::within("the connection to be given up", closed.notified()).await;
    wire.send(chat(MODEL)).await;
    assert_eq!(wire.answer().await.body, b"good");
    drop(wire);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_hints_do_not_outlast_the_attempt() {
    let villain = Villain::always("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", Then::Repeat).await;
    let setup = Setup { timeouts: json!({"perTry": "500ms"}), ..Setup::default() };
    let gate = Gate::with(villain.address, setup).await;
    let mut wire = gate.wire().await;
    wire.send(chat(MODEL)).await;
    let answer = wire.try_answer().await;
    if let Some(answer) = answer {
        assert!(matches!(answer.status, 502 | 504), "{answer:?}");
        answer.refusal("hints");
    }
    drop(wire);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_hints_do_not_keep_an_attempt_from_being_judged() {
    // The answer behind the hints is retried like any other.
    let villain = Villain::new(|number| match number {
        0 => (b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec(), Then::Close),
        _ => (GOOD.into(), Then::Stay),
    })
    .await;
    let gate = Gate::open(villain.address).await;
    let mut wire = gate.wire().await;
    wire.send(chat(MODEL)).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, &*answer.refusal("hints")), (502, "upstream_reset"), "{answer:?}");
    drop(wire);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_after_100_continue_is_answered() {
    let villain = Villain::always("", Then::Close).await;
    let gate = Gate::open(villain.address).await;
    let expecting = |request: String| request.replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1);
    let cases = [
        (chat(MODEL), 502, "upstream_reset"),
        (chat("nobody-has-this"), 404, "model_not_found"),
        (crate::gate::post("/v1/chat/completions", r#"{"model":1}"#), 400, "invalid_model"),
        (crate::gate::post("/raw/x", "x"), 502, "upstream_reset"),
    ];
    for (request, status, code) in cases {
        let request = expecting(request);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut wire = gate.wire().await;
        wire.send(format!("{head}\r\n\r\n")).await;
        assert_eq!(wire.head().await.unwrap().status, 100);
        wire.send(body).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.refusal(head)), (status, code), "{head}");
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_reports_and_odd_headers_do_no_harm() {
    for report in [
        "TEXT named_metrics.kv_cache_usage_perc=nan".to_owned(),
        "JSON {\"named_metrics\":{\"kv_cache_usage_perc\":1e999,\"num_requests_waiting\":-1}}".to_owned(),
        format!("TEXT {}", "named_metrics.kv_cache_usage_perc=0.5,".repeat(10_000)),
        "\u{fffd}\u{fffd}".to_owned(),
        "BIN AAAA".to_owned(),
        String::new(),
    ] {
        let answer = GOOD.replacen(
            "\r\n",
            &format!(
                "\r\nendpoint-load-metrics: {report}\r\nendpoint-load-metrics: TEXT x=1\r\nX-Kept: y\r\n"
            ),
            1,
        );
        let villain = Villain::always(answer, Then::Stay).await;
        let gate = Gate::open(villain.address).await;
        for _ in 0..3 {
            let answer = gate.ask(chat(MODEL)).await;
            assert_eq!((answer.status, &*answer.body), (200, &b"good"[..]));
            assert_eq!(answer.header("endpoint-load-metrics"), None);
            assert_eq!(answer.header("x-kept"), Some("y"));
        }
        gate.close().await;
    }

    let odd =
        [&b"HTTP/1.1 200 OK\r\nset-cookie: a=\xff\xfe\x80; path=/\r\ncontent-length: 4\r\n\r\ngood"[..]]
            .concat();
    let villain = Villain::always(odd, Then::Stay).await;
    let gate = Gate::open(villain.address).await;
    let mut wire = gate.wire().await;
    wire.send(chat(MODEL).replacen("\r\n", "\r\nconnection: close\r\n", 1)).await;
    let rest = wire.rest().await;
    assert!(rest.windows(5).any(|bytes| bytes == b"a=\xff\xfe\x80"), "{}", rest.escape_ascii());
    drop(wire);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_endless_event_passes_without_being_held() {
    const PIECES: usize = 512;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"x\":\"")
            .await
            .unwrap();
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..PIECES {
            stream.write_all(&piece).await.unwrap();
        }
        stream.write_all(b"\"}\n\ndata: [DONE]\n\n").await.unwrap();
        stream.shutdown().await.unwrap();
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    });
    let gate = Gate::open(address).await;
    let answer = gate.ask(chat(MODEL)).await;
    assert_eq!(answer.status, 200);
    let end = answer.body.len().saturating_sub(100);
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"), "{}", answer.body[end..].escape_ascii());
    assert!(answer.body.len() > PIECES * (64 << 10), "{}", answer.body.len());
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_stream_passes_unchanged() {
    let bytes = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0, 1];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 14\r\n\r\n";
    let villain = Villain::always([head.as_bytes(), &bytes].concat(), Then::Stay).await;
    let gate = Gate::open(villain.address).await;
    let answer = gate.ask(chat(MODEL)).await;
    assert_eq!((answer.header("content-encoding"), &*answer.body), (Some("gzip"), &bytes[..]));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_says_so_and_leaves_the_connection_sound() {
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: {}\n\r\n";
    let villain = Villain::always(stream, Then::Close).await;
    let gate = Gate::open(villain.address).await;
    let mut wire = gate.wire().await;
    // The body has come to its end, so that the client may send its next request there.
    for _ in 0..2 {
        wire.send(chat(MODEL)).await;
        let answer = wire.answer().await;
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("stream_broken") && !text.contains("[DONE]"), "{text}");
    }
    eventually("the endpoint to be settled", || (gate.leftovers()[2] == 0).then_some(())).await;
    drop(wire);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_sees_each_header_and_body_once() {
    let villain = Villain::always(GOOD, Then::Stay).await;
    let gate = Gate::open(villain.address).await;
    let request = chat(MODEL).replacen(
        "\r\n",
        "\r\nproxy-authorization: Basic x\r\nkeep-alive: 1\r\nte: trailers, gzip\r\nproxy-connection: x\r\ntrailer: x\r\n",
        1,
    );
    assert_eq!(gate.ask(&request).await.status, 200);
    let seen = villain.seen().remove(0);
    let head = seen.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    for name in ["host", "content-length", "x-request-id", "content-type", "x-forwarded-for"] {
        assert_eq!(head.matches(&format!("\r\n{name}:")).count(), 1, "{name}: {head}");
    }
    for name in ["transfer-encoding", "keep-alive", "proxy-connection", "expect"] {
        assert_eq!(head.matches(&format!("\r\n{name}:")).count(), 0, "{name}: {head}");
    }
    gate.close().await;
}
