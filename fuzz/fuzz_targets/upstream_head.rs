//! No response's head makes the parser panic, no cut changes what it comes to, and what is accepted is framed as each
//! of its lines says, read apart from the parser.
//!
//! `cargo +nightly fuzz run upstream-head fuzz/corpus/upstream-head fuzz/seeds/upstream-head`

#![no_main]

use bytes::BytesMut;
use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use penstock_wire::head::{self, BadHead, Framing, Head};

/// Longer inputs are cut in a few places only, in bytes.
const MAX_BYTEWISE: usize = 512;

fuzz_target!(|input: &[u8]| {
    for is_head in [false, true] {
        let whole = take(input, input.len().max(1), is_head);
        let piece = if input.len() <= MAX_BYTEWISE { 1 } else { input.len() / 5 };
        let pieces = take(input, piece, is_head);
        match (&whole, &pieces) {
            (Ok(Some((whole, used))), Ok(Some((pieces, used_in_pieces)))) => {
                assert_eq!(used, used_in_pieces);
                assert_eq!(whole.framing, pieces.framing);
                assert_eq!(whole.keeps_alive, pieces.keeps_alive);
                assert_eq!(whole.header.headers, pieces.header.headers);
                check(whole, &input[..*used], is_head);
            }
            (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
            (whole, pieces) => panic!("whole: {whole:?}; in pieces of {piece}: {pieces:?}"),
        }
    }
});

/// The head at the start of `input`, which comes in pieces of `piece` bytes, and its length.
fn take(input: &[u8], piece: usize, is_head: bool) -> Result<Option<(Head, usize)>, BadHead> {
    let mut buffer = BytesMut::new();
    let mut fed = 0;
    for bytes in input.chunks(piece) {
        buffer.extend_from_slice(bytes);
        fed += bytes.len();
        if let Some(head) = head::take(&mut buffer, is_head)? {
            return Ok(Some((head, fed - buffer.len())));
        }
    }
    Ok(None)
}

fn check(head: &Head, raw: &[u8], is_head: bool) {
    let headers = &head.header.headers;
    let lengths = values(raw, b"content-length");
    let codings = values(raw, b"transfer-encoding");
    assert!(codings.len() <= 1, "{codings:?}");
    assert!(codings.iter().all(|coding| coding.eq_ignore_ascii_case(b"chunked")), "{codings:?}");
    let status = head.header.status;
    let has_no_body = is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match head.framing {
        Framing::Empty => assert!(has_no_body),
        Framing::Chunked => assert!(!codings.is_empty() && !has_no_body),
        Framing::Length(length) => {
            assert!(codings.is_empty() && !has_no_body && !lengths.is_empty());
            assert!(lengths.iter().all(|digits| number(digits) == Some(length)), "{lengths:?}");
        }
        Framing::Close => {
            assert!(codings.is_empty() && lengths.is_empty() && !has_no_body && !head.keeps_alive)
        }
    }
    // Framed in two ways: the length goes, and so does the connection.
    if !codings.is_empty() && !lengths.is_empty() {
        assert!(!head.keeps_alive && !headers.contains_key("content-length"));
    }
    for name in ["transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "trailer"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    for value in headers.values() {
        assert!(!value.as_bytes().iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
}

/// What the lines of `raw` with this name say, lists taken apart.
fn values<'a>(raw: &'a [u8], name: &[u8]) -> Vec<&'a [u8]> {
    let fields = raw.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let is_named = line[..colon].trim_ascii_end().eq_ignore_ascii_case(name);
        is_named.then(|| &line[colon + 1..])
    });
    fields.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}
