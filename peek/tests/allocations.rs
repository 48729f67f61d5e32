//! What a peek allocates depends on what it finds, not on how many chunks the body comes in.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::measure;
use penstock_peek::{Options, Peek};

const PROMPT_BYTES: usize = 220 * 1024;

fn chat() -> Vec<u8> {
    let text = "a line of prose with \\\"escapes\\\" and \\u4f60\\u597d\\n".repeat(PROMPT_BYTES / 50);
    format!(r#"{{"model":"m","user":"u","messages":[{{"role":"user","content":"{text}"}}],"max_tokens":1}}"#)
        .into_bytes()
}

fn feed(content_type: &str, body: &[u8], chunk_bytes: usize) -> u64 {
    let allocations = measure(|| {
        let mut peek = Peek::new(Some(content_type.as_bytes()), &Options::default()).unwrap();
        peek.expect_bytes(body.len());
        for chunk in body.chunks(chunk_bytes) {
            peek.feed(chunk).unwrap();
        }
        assert_eq!(peek.finish().unwrap().model.unwrap().name, "m");
    });
    allocations.count_total
}

#[test]
fn a_chunk_of_json_allocates_nothing() {
    let body = chat();
    // Block hashes, a partial block, the model, the user, and what scalars are put together in.
    assert_eq!(feed("application/json", &body, body.len()), 5);
    for chunk_bytes in [65_536, 16_384, 1_500, 100] {
        // A name or scalar that a border cuts in two may make that last one grow.
        let allocations = feed("application/json", &body, chunk_bytes);
        assert!(allocations <= 6, "{allocations} allocations in chunks of {chunk_bytes}");
    }
    let mut peek = Peek::new(None, &Options::default()).unwrap();
    peek.expect_bytes(body.len());
    let (head, tail) = body.split_at(1_000);
    peek.feed(head).unwrap();
    for chunk in tail[..tail.len() - 100].chunks(777) {
        assert_eq!(measure(|| peek.feed(chunk).unwrap()).count_total, 0);
    }
}

#[test]
fn a_chunk_of_a_file_allocates_nothing() {
    let mut body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n".to_vec();
    body.extend(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n");
    let mut peek = Peek::new(Some(b"multipart/form-data; boundary=b"), &Options::default()).unwrap();
    peek.feed(&body).unwrap();
    for chunk in [&b"\r\n--"[..], &[b'\r'; 100], b"\n-", b"--b", b"\r", &[0; 5_000]].repeat(20) {
        assert_eq!(measure(|| peek.feed(chunk).unwrap()).count_total, 0);
    }
}
