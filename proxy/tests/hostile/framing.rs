//! Shapes on which two HTTP parsers disagree, and which smuggle a request past one of them.

use crate::gate::{Gate, chat, chat_body, sim};
use crate::harness::MODEL;

/// A second request, hidden behind the first: if the gateway or the upstream ever sees it, it was smuggled.
const HIDDEN: &str = "GET /raw/smuggled HTTP/1.1\r\nhost: llm\r\n\r\n";

/// A chat completion with these framing headers, and `body` as it is.
fn framed(version: &str, framing: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/{version}\r\nhost: llm\r\ncontent-type: application/json\r\n{framing}\r\n{body}"
    )
}

/// The body of a chat completion in one chunk.
fn one_chunk() -> String {
    let body = chat_body(MODEL);
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_framing_is_refused_and_ends_the_connection() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let (body, chunks) = (chat_body(MODEL), one_chunk());
    let length = format!("content-length: {}\r\n", body.len());
    let te = "transfer-encoding: chunked\r\n";
    let cases: Vec<(&str, String)> = vec![
        ("both, length first", framed("1.1", &format!("{length}{te}"), &chunks)),
        ("both, coding first", framed("1.1", &format!("{te}{length}"), &chunks)),
        ("both, length 0", framed("1.1", &format!("content-length: 0\r\n{te}"), &chunks)),
        ("both, spelt oddly", framed("1.1", &format!("CoNtEnT-LeNgTh: 5\r\n{te}"), &chunks)),
        ("two lengths that differ", framed("1.1", &format!("{length}content-length: 3\r\n"), &body)),
        ("two lengths that agree", framed("1.1", &format!("{length}{length}"), &body)),
        ("a list of lengths", framed("1.1", &format!("content-length: {0}, {0}\r\n", body.len()), &body)),
        ("a negative length", framed("1.1", "content-length: -1\r\n", &body)),
        ("a length with a sign", framed("1.1", &format!("content-length: +{}\r\n", body.len()), &body)),
        ("a hexadecimal length", framed("1.1", "content-length: 0x10\r\n", &body)),
        ("a length in words", framed("1.1", "content-length: many\r\n", &body)),
        ("an empty length", framed("1.1", "content-length: \r\n", &body)),
        ("a length with an exponent", framed("1.1", "content-length: 1e2\r\n", &body)),
        ("a length with a space", framed("1.1", "content-length: 1 0\r\n", &body)),
        ("a length beyond 64 bits", framed("1.1", "content-length: 18446744073709551617\r\n", &body)),
        ("chunked twice", framed("1.1", &format!("{te}{te}"), &chunks)),
        ("chunked, chunked", framed("1.1", "transfer-encoding: chunked, chunked\r\n", &chunks)),
        ("chunked, identity", framed("1.1", "transfer-encoding: chunked, identity\r\n", &chunks)),
        ("identity, chunked", framed("1.1", "transfer-encoding: identity, chunked\r\n", &chunks)),
        ("gzip, chunked", framed("1.1", "transfer-encoding: gzip, chunked\r\n", &chunks)),
        ("identity", framed("1.1", "transfer-encoding: identity\r\n", &body)),
        ("x-chunked", framed("1.1", "transfer-encoding: xchunked\r\n", &chunks)),
        ("chunked with a parameter", framed("1.1", "transfer-encoding: chunked;q=1\r\n", &chunks)),
        ("chunked in quotes", framed("1.1", "transfer-encoding: \"chunked\"\r\n", &chunks)),
        ("chunked behind a vertical tab", framed("1.1", "transfer-encoding: \x0bchunked\r\n", &chunks)),
        ("an empty coding", framed("1.1", "transfer-encoding: \r\n", &chunks)),
        ("a folded coding", framed("1.1", "transfer-encoding:\r\n chunked\r\n", &chunks)),
        ("a folded header", framed("1.1", &format!("x: a\r\n b\r\n{length}"), &body)),
        (
            "a space before the colon",
            framed("1.1", &format!("transfer-encoding : chunked\r\n{length}"), &body),
        ),
        (
            "a tab before the colon",
            framed("1.1", &format!("transfer-encoding\t: chunked\r\n{length}"), &body),
        ),
        (
            "a space before the name",
            framed("1.1", &format!(" transfer-encoding: chunked\r\n{length}"), &body),
        ),
        (
            "a carriage return in a value",
            framed("1.1", &format!("x: a\rtransfer-encoding: chunked\r\n{length}"), &body),
        ),
        ("a null in a value", framed("1.1", &format!("x: a\0b\r\n{length}"), &body)),
        ("a null in a name", framed("1.1", &format!("x\0: a\r\n{length}"), &body)),
        ("a header without a colon", framed("1.1", &format!("x\r\n{length}"), &body)),
        ("a header without a name", framed("1.1", &format!(": x\r\n{length}"), &body)),
        ("HTTP/1.0 with a coding", framed("1.0", te, &chunks)),
        ("HTTP/1.0 with both", framed("1.0", &format!("{length}{te}"), &chunks)),
        ("HTTP/0.9", "GET /\r\n\r\n".to_owned()),
        ("HTTP/1.2", framed("1.2", &length, &body)),
        ("HTTP/2.0 in words", framed("2.0", &length, &body)),
        ("HTTP/1.10", framed("1.10", &length, &body)),
        ("no version", "GET / \r\nhost: llm\r\n\r\n".to_owned()),
        ("a tab in the request line", "GET\t/ HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned()),
        ("a null in the method", "GE\0T / HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned()),
        ("garbage", "\x16\x03\x01\x02\r\n\r\n\r\n".to_owned()),
        ("a colon for a method", ": / HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned()),
    ];
    for (case, request) in &cases {
        let mut wire = gate.wire().await;
        wire.send(format!("{request}{HIDDEN}")).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 400, "{case}: {answer:?}");
        assert_eq!(answer.refusal(case), "bad_request", "{case}");
        assert_eq!(answer.header("connection"), Some("close"), "{case}");
        wire.ends().await;
        assert!(sim.requests().is_empty(), "{case}: the upstream saw {:?}", sim.requests());
    }
    assert_eq!(gate.ask(chat(MODEL)).await.status, 200);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bare_line_feeds_do_not_move_the_end_of_a_request() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let body = chat_body(MODEL);
    let request =
        format!("POST /v1/chat/completions HTTP/1.1\nhost: llm\ncontent-length: {}\n\n{body}", body.len());
    let mut wire = gate.wire().await;
    wire.send(format!("{request}{}", chat(MODEL))).await;
    // RFC 9112 §2.2 lets a recipient take a line feed for a line's end; what counts is that both see one request.
    let first = wire.answer().await;
    if first.status == 400 {
        wire.ends().await;
        assert!(sim.requests().is_empty());
    } else {
        assert_eq!((first.status, wire.answer().await.status), (200, 200));
        assert_eq!(sim.requests().len(), 2);
        assert!(sim.requests().iter().all(|seen| seen.body_bytes == body.len() as u64));
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_chunks_are_refused_and_end_the_connection() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let long = "x".repeat(20 << 10);
    let cases: Vec<(&str, String)> = vec![
        ("a size beyond 64 bits", "fffffffffffffffff\r\n{}".to_owned()),
        ("a size of 64 bits", "ffffffffffffffff\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a negative size", "-2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size with a sign", "+2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size with a prefix", "0x2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size in words", "two\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a chunk longer than its size", "1\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a chunk without its end", "2\r\n{}0\r\n\r\n".to_owned()),
        ("no size, at the start", "\r\n\r\n".to_owned()),
        ("no size for the last chunk", "2\r\n{}\r\n\r\n\r\n".to_owned()),
        ("an extension without a size", "2\r\n{}\r\n;x\r\n\r\n".to_owned()),
        ("a space before a size", " 2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a space for a size", "2\r\n{}\r\n \r\n\r\n".to_owned()),
        ("a space in a size", "2 0\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a tab in a size", "0\t2\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a size with too many zeros", format!("{}2\r\n{{}}\r\n0\r\n\r\n", "0".repeat(16))),
        ("a line feed behind a size", "2\n{}\r\n0\r\n\r\n".to_owned()),
        ("a carriage return behind a size", "2\r{}\r\n0\r\n\r\n".to_owned()),
        ("a line feed in an extension", "2;a\nb\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a carriage return in an extension", "2;a\rb\r\n{}\r\n0\r\n\r\n".to_owned()),
        ("a line feed behind a chunk", "2\r\n{}\n0\r\n\r\n".to_owned()),
        ("a line feed behind the last size", "2\r\n{}\r\n0\n\r\n".to_owned()),
        ("a line feed at the end", "2\r\n{}\r\n0\r\n\n".to_owned()),
        ("a line feed in trailers", "2\r\n{}\r\n0\r\nx: y\n\r\n".to_owned()),
        ("an endless extension", format!("2;{long}\r\n{{}}\r\n0\r\n\r\n")),
        ("endless trailers", format!("2\r\n{{}}\r\n0\r\nx: {}\r\n\r\n", long.repeat(5))),
    ];
    for path in ["/v1/chat/completions", "/raw/sim"] {
        for (case, chunks) in &cases {
            let mut wire = gate.wire().await;
            let head = format!("POST {path} HTTP/1.1\r\nhost: llm\r\ntransfer-encoding: chunked\r\n\r\n");
            wire.send_all_it_takes(format!("{head}{chunks}{HIDDEN}")).await;
            let answer = wire.answer().await;
            assert_eq!(answer.status, 400, "{path}, {case}: {answer:?}");
            assert_eq!(answer.refusal(case), "bad_request", "{path}, {case}");
            wire.ends().await;
        }
    }
    gate.settled().await;
    assert_eq!(sim.stats().completed, 0);
    assert!(!sim.requests().iter().any(|seen| seen.path.contains("smuggled")));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_come_with_the_request_before_are_judged_alike() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let chunked = "transfer-encoding: chunked\r\n";
    let broken = framed("1.1", chunked, &one_chunk().replace("\r\n0\r\n\r\n", "\r\n\r\n\r\n"));
    let good = framed("1.1", chunked, &one_chunk());
    let (mut asked, models) = (0, "GET /v1/models HTTP/1.1\r\nhost: llm\r\n\r\n");
    for before in [chat(MODEL), good.clone(), models.to_owned(), good.repeat(3)] {
        let count = before.matches(" HTTP/1.1\r\n").count();
        let all = format!("{before}{broken}{HIDDEN}");
        for piece in [all.len(), 1, 11] {
            let mut wire = gate.wire().await;
            for bytes in all.as_bytes().chunks(piece) {
                wire.send_all_it_takes(bytes).await;
            }
            for _ in 0..count {
                assert_eq!(wire.answer().await.status, 200, "{piece}: {before}");
            }
            let answer = wire.answer().await;
            assert_eq!(answer.status, 400, "{piece}: {before}");
            assert_eq!(answer.refusal(&before), "bad_request");
            wire.ends().await;
            asked += if before == models { 0 } else { count as u64 };
        }
    }
    gate.settled().await;
    assert_eq!(sim.stats().completed, asked);
    assert!(!sim.requests().iter().any(|seen| seen.path.contains("smuggled")));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extensions_and_trailers_are_not_part_of_the_body() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let body = chat_body(MODEL);
    let (one, two) = body.split_at(10);
    let chunks = format!(
        "a;name=\"value\"\r\n{one}\r\n{:X} ; x\r\n{two}\r\n000\r\nx-ai-eg-model: trailer\r\nhost: evil\r\n\r\n",
        two.len()
    );
    let mut wire = gate.wire().await;
    wire.send(format!("{}{}", framed("1.1", "transfer-encoding: chunked\r\n", &chunks), chat(MODEL))).await;
    assert_eq!((wire.answer().await.status, wire.answer().await.status), (200, 200));
    let seen = sim.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].body_xxh64, seen[1].body_xxh64);
    assert_eq!((seen[0].header("x-ai-eg-model"), seen[0].header("host")), (None, Some("llm")));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_and_none_is_lost() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let kinds = |number: usize| match number % 5 {
        0 => (chat(MODEL), 200),
        1 => (chat("nobody-has-this"), 404),
        2 => ("GET /v1/models HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned(), 200),
        3 => (framed("1.1", "transfer-encoding: chunked\r\n", &one_chunk()), 200),
        _ => ("GET /nowhere HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned(), 404),
    };
    let requests: Vec<(String, u16)> = (0..40)
        .map(|number| {
            let (request, status) = kinds(number);
            (request.replacen("\r\n", &format!("\r\nx-request-id: number-{number}\r\n"), 1), status)
        })
        .collect();
    let all: String = requests.iter().map(|(request, _)| request.as_str()).collect();
    // In one write, and a byte at a time, so that requests are cut everywhere.
    for piece in [all.len(), 1, 7] {
        let mut wire = gate.wire().await;
        for bytes in all.as_bytes().chunks(piece) {
            wire.send(bytes).await;
        }
        for (number, (_, status)) in requests.iter().enumerate() {
            let answer = wire.answer().await;
            assert_eq!(answer.status, *status, "pieces of {piece}, {number}: {answer:?}");
            assert_eq!(
                answer.header("x-request-id"),
                Some(&*format!("number-{number}")),
                "pieces of {piece}"
            );
        }
    }
    assert_eq!(sim.stats().requests, 3 * 16);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_leaves_the_next_on_its_connection_unharmed() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let refused = [
        (chat("nobody-has-this"), 404),
        (crate::gate::post("/v1/chat/completions", "{}"), 400),
        (crate::gate::post("/v1/chat/completions", r#"{"model":"a","model":"b"}"#), 400),
        (crate::gate::post("/nowhere", "{}"), 404),
        ("TRACE / HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned(), 405),
        // Policies compare methods as they are written.
        ("delete /raw/x HTTP/1.1\r\nhost: llm\r\n\r\n".to_owned(), 405),
    ];
    let mut wire = gate.wire().await;
    for (request, status) in &refused {
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, *status, "{answer:?}");
        answer.refusal(request);
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{request}");
        wire.send(chat(MODEL)).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &answer.json()["model"]), (200, &MODEL.into()), "after {request}");
    }
    assert_eq!(sim.requests().len(), refused.len());
    gate.close().await;
}

/// A chat completion whose body goes on behind the model for so many bytes.
fn padded(model: &str, bytes: usize) -> String {
    crate::gate::post(
        "/v1/chat/completions",
        &format!(r#"{{"model":"{model}","pad":"{}","messages":[]}}"#, "x".repeat(bytes)),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_behind_long_bodies_stay_whole() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let sizes = [200_000, 0, 5_000, 70_000, 0, 1_000_000, 65_536, 10];
    let all: String = sizes.iter().map(|bytes| padded(MODEL, *bytes)).collect();
    for piece in [all.len(), 100_000, 1_447] {
        let mut wire = gate.wire().await;
        for bytes in all.as_bytes().chunks(piece) {
            wire.send(bytes).await;
        }
        for number in 0..sizes.len() {
            let answer = wire.answer().await;
            assert_eq!(answer.status, 200, "pieces of {piece}, {number}: {answer:?}");
        }
    }
    let seen: Vec<_> = sim.requests().iter().map(|seen| seen.body_xxh64.clone()).collect();
    let expected = sizes.map(|bytes| {
        let request = padded(MODEL, bytes);
        penstock_sim::record::body_hash(request.split_once("\r\n\r\n").unwrap().1.as_bytes())
    });
    assert_eq!(seen, [expected.clone(), expected.clone(), expected].concat());
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_that_is_refused_in_its_middle_leaves_the_next_request_unharmed() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let mut wire = gate.wire().await;
    for _ in 0..3 {
        let long = "x".repeat(200_000);
        let twice = format!(r#"{{"model":"{MODEL}","pad":"{long}","model":"other","more":"{long}"}}"#);
        wire.send(crate::gate::post("/v1/chat/completions", &twice)).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.header("connection")), (400, Some("keep-alive")), "{answer:?}");
        wire.send(chat(MODEL)).await;
        assert_eq!(wire.answer().await.status, 200);
    }
    assert_eq!(sim.requests().len(), 3);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_in_the_middle_of_a_long_body_reaches_nobody() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for _ in 0..10 {
        let request = padded(MODEL, 300_000);
        let mut wire = gate.wire().await;
        wire.send(&request.as_bytes()[..250_000]).await;
        drop(wire);
    }
    // The gateway is as it was.
    assert_eq!(gate.ask(chat(MODEL)).await.status, 200);
    assert!(
        sim.requests().iter().all(|seen| seen.body_xxh64
            == penstock_sim::record::body_hash(crate::gate::chat_body(MODEL).as_bytes()))
    );
    gate.close().await;
}
