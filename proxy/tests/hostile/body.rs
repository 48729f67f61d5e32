//! Bodies that mean to be read in two ways, and models that mean to be more than a name.

use std::io::Write;

use crate::gate::{Gate, Setup, chat, chat_body, post, sim};
use crate::harness::MODEL;
use crate::wire::Answer;

/// What a chat completion with this body is answered.
async fn answer_to(gate: &Gate, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: llm\r\n{headers}content-length: {length}\r\n\r\n"
    );
    gate.ask([head.as_bytes(), body].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_could_be_read_in_two_ways_is_refused() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let deep = format!(r#"{{"x":{}{},"model":"{MODEL}"}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(300));
    let cases: Vec<(&str, &str, String)> = vec![
        ("twice", "invalid_model", format!(r#"{{"model":"{MODEL}","model":"{MODEL}"}}"#)),
        ("twice, once escaped", "invalid_model", format!(r#"{{"model":"{MODEL}","mod\u0065l":"alias"}}"#)),
        ("twice, once in capitals", "invalid_model", format!(r#"{{"model":"{MODEL}","MODEL":"alias"}}"#)),
        ("a line break", "invalid_model", r#"{"model":"a\r\nx-evil: 1"}"#.to_owned()),
        ("a line break in hexadecimal", "invalid_model", r#"{"model":"a\u000d\u000ahost: evil"}"#.to_owned()),
        ("a null", "invalid_model", r#"{"model":"a\u0000"}"#.to_owned()),
        ("a raw line feed", "invalid_model", "{\"model\":\"a\nb\"}".to_owned()),
        ("a lone surrogate", "invalid_model", r#"{"model":"a\ud800"}"#.to_owned()),
        ("too long", "invalid_model", long),
        ("empty", "invalid_model", r#"{"model":""}"#.to_owned()),
        ("a number", "invalid_model", r#"{"model":7}"#.to_owned()),
        ("a list", "invalid_model", format!(r#"{{"model":["{MODEL}"]}}"#)),
        ("null", "", r#"{"model":null}"#.to_owned()),
        ("deep nesting", "invalid_body", deep),
        ("broken, the model behind it", "invalid_model", format!(r#"{{"a":}},"model":"{MODEL}"}}"#)),
        ("a model without an end", "invalid_model", format!(r#"{{"model":"{MODEL}"#)),
    ];
    for (case, code, body) in &cases {
        let answer = answer_to(&gate, "content-type: application/json\r\n", body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{case}: {answer:?}");
        let given = answer.refusal(case);
        assert!(code.is_empty() || given == *code, "{case}: {given}");
        assert!(!answer.headers.iter().any(|(name, _)| name == "x-evil"), "{case}");
    }
    assert!(sim.requests().is_empty());
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_does_not_understand_reaches_the_upstream_unchanged() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for (case, body) in [
        ("a byte order mark", format!("\u{feff}{}", chat_body(MODEL)).into_bytes()),
        ("broken behind the model", format!(r#"{{"model":"{MODEL}","messages":[}}"#).into_bytes()),
        ("bad UTF-8", [format!(r#"{{"model":"{MODEL}","x":""#).as_bytes(), b"\xff\xfe", b"\"}"].concat()),
        ("a second document", format!("{}{{\"x\":1}}", chat_body(MODEL)).into_bytes()),
    ] {
        sim.forget_requests();
        let answer = answer_to(&gate, "content-type: application/json\r\n", &body).await;
        match sim.requests().pop() {
            Some(seen) => {
                assert_eq!(seen.body_xxh64, penstock_sim::record::body_hash(&body), "{case}");
            }
            None => {
                assert_eq!(answer.status, 400, "{case}");
                answer.refusal(case);
            }
        }
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_model_is_quoted_and_cannot_write_headers_or_markup() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for name in
        ["x\\\"}, {\\\"evil\\\": true", "<script>alert(1)</script>", "\u{202e}evil", "%0d%0ax: y", "💧"]
    {
        let answer = gate.ask(chat(name)).await;
        let is_known_code = matches!(&*answer.refusal(name), "model_not_found" | "invalid_model");
        assert!(is_known_code, "{name}: {answer:?}");
        assert!(answer.json().get("evil").is_none());
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_changes_the_model_and_nothing_else() {
    let sim = sim().await;
    let gate = Gate::with(sim.addr(), Setup { renamed: "a \"quoted\\name\"", ..Setup::default() }).await;
    // The member is named in an escape, its value is escaped, and other members look like it.
    let body = r#"{"x":{"model":"inner"},"mod\u0065l" : "\u0061lias" ,"messages":[{"role":"user","content":"\"model\":\"alias\""}]}"#;
    gate.ask(post("/v1/chat/completions", body)).await;
    let renamed = body.replace(r#""\u0061lias""#, r#""a \"quoted\\name\"""#);
    let seen = sim.requests().pop().unwrap();
    assert_eq!(seen.body_xxh64, penstock_sim::record::body_hash(renamed.as_bytes()));
    assert_eq!(seen.header("content-length"), Some(&*renamed.len().to_string()));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encodings_that_hide_the_body_are_decoded_within_bounds_or_refused() {
    let sim = sim().await;
    let gate = Gate::limited(sim.addr(), serde_json::json!({"decodedBodyBytes": "1MiB"})).await;
    let plain = chat_body(MODEL);
    let packed = gzip(plain.as_bytes());
    let bomb = gzip(&[plain.as_bytes(), &vec![b' '; 64 << 20]].concat());
    assert!(bomb.len() < 100 << 10);
    let small_bomb = gzip(&[plain.as_bytes(), &vec![b' '; 512 << 10]].concat());
    assert!(small_bomb.len() < 1 << 10);
    let twice = gzip(&gzip(&vec![b' '; 64 << 20]));
    let cases: [(&str, &str, &[u8], u16, &str); 9] = [
        ("gzip", "gzip", &packed, 200, ""),
        ("a bomb", "gzip", &bomb, 413, "request_too_large"),
        ("a small bomb", "gzip", &small_bomb, 413, "request_too_large"),
        ("a bomb in a bomb", "gzip, gzip", &twice, 415, "unsupported_encoding"),
        ("an unknown coding", "snappy", plain.as_bytes(), 415, "unsupported_encoding"),
        ("a known and an unknown one", "gzip, x", &packed, 415, "unsupported_encoding"),
        ("plain text that claims to be gzip", "gzip", plain.as_bytes(), 400, "invalid_body"),
        ("cut off", "gzip", &packed[..packed.len() / 2], 400, ""),
        ("rubbish", "gzip", &[0x1f, 0x8b, 0xff, 0xff, 0, 1, 2, 3], 400, "invalid_body"),
    ];
    for (case, coding, body, status, code) in cases {
        sim.forget_requests();
        let headers = format!("content-type: application/json\r\ncontent-encoding: {coding}\r\n");
        let answer = answer_to(&gate, &headers, body).await;
        assert_eq!(answer.status, status, "{case}: {answer:?}");
        match sim.requests().pop() {
            Some(seen) => {
                assert_eq!(status, 200, "{case} went through");
                assert_eq!(seen.body_xxh64, penstock_sim::record::body_hash(plain.as_bytes()), "{case}");
            }
            None => {
                let given = answer.refusal(case);
                assert!(code.is_empty() || given == code, "{case}: {given}");
            }
        }
    }
    gate.hit("limits.decodedBodyBytes", 1.0).await;
    gate.hit("limits.decodedBodyRatio", 1.0).await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn multipart_forms_that_can_be_taken_apart_in_two_ways_are_refused() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let part = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let model = part("model", MODEL);
    let form = "multipart/form-data; boundary=b";
    let cases = [
        ("two models", form, format!("{model}{model}--b--\r\n")),
        ("no boundary", "multipart/form-data", format!("{model}--b--\r\n")),
        ("two boundaries", "multipart/form-data; boundary=b; boundary=c", format!("{model}--b--\r\n")),
        (
            "an endless boundary",
            &*format!("multipart/form-data; boundary={}", "b".repeat(500)),
            model.clone(),
        ),
        ("a model with a line break", form, format!("{}--b--\r\n", part("model", "a\r\nx-evil: 1"))),
    ];
    for (case, content_type, body) in &cases {
        let request = format!(
            "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: llm\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = gate.ask(request).await;
        assert_eq!(answer.status, 400, "{case}: {answer:?}");
        answer.refusal(case);
    }
    let two_types = chat(MODEL).replacen("\r\n", "\r\ncontent-type: multipart/form-data; boundary=b\r\n", 1);
    assert_eq!(gate.ask(two_types).await.refusal("two content types"), "bad_request");
    assert!(sim.requests().is_empty());
    gate.close().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
