//! No chunked body makes the decoder panic, no cut changes what it comes to, a slower reading of the standard's
//! grammar comes to the same, and what is written in chunks is read back.
//!
//! `cargo +nightly fuzz run upstream-chunks fuzz/corpus/upstream-chunks fuzz/seeds/upstream-chunks`

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use penstock_wire::chunked::Decoder;

/// As much of extensions or trailers is certainly read, in bytes; the decoder's own bound is above what a fuzzer tries.
const MAX_INPUT_BYTES: usize = 16 * 1024;

/// What a body comes to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It is whole; how many bytes it took with its coding.
    Whole { body: Vec<u8>, used: usize },
    /// More has to come.
    Unfinished { body: Vec<u8> },
    /// The coding is broken.
    Broken,
}

fuzz_target!(|input: &[u8]| {
    let input = &input[..input.len().min(MAX_INPUT_BYTES)];
    let whole = decode(input, input.len().max(1));
    assert_eq!(decode(input, 1), whole, "bytewise");
    assert_eq!(decode(input, 7), whole, "in sevens");
    assert_eq!(read(input), whole);
    let (written, size) = write(input);
    let read_back = Outcome::Whole { body: input.to_vec(), used: written.len() };
    assert_eq!(decode(&written, written.len()), read_back, "in chunks of {size}");
    assert_eq!(decode(&written, size + 1), read_back, "in chunks of {size}");
});

fn decode(input: &[u8], piece: usize) -> Outcome {
    let (mut decoder, mut buffer, mut body, mut fed) = (Decoder::default(), BytesMut::new(), Vec::new(), 0);
    for bytes in input.chunks(piece) {
        buffer.extend_from_slice(bytes);
        fed += bytes.len();
        let Ok(data) = decoder.decode(&mut buffer) else { return Outcome::Broken };
        body.extend_from_slice(&data);
        if decoder.is_done() {
            return Outcome::Whole { body, used: fed - buffer.len() };
        }
        assert!(buffer.is_empty(), "what is not the body's is left only behind its end");
    }
    Outcome::Unfinished { body }
}

/// RFC 9112, section 7.1, a line at a time.
fn read(input: &[u8]) -> Outcome {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let (size, next) = match line(input, at) {
            Line::Whole(line, next) => match chunk_size(line) {
                Some(size) => (size, next),
                None => return Outcome::Broken,
            },
            Line::Broken => return Outcome::Broken,
            // A part of a line may be wrong already.
            Line::Unfinished { line, has_cr } if may_become_size(line, has_cr) => {
                return Outcome::Unfinished { body };
            }
            Line::Unfinished { .. } => return Outcome::Broken,
        };
        at = next;
        if size == 0 {
            return trailers(input, at, body);
        }
        let here = usize::try_from(size).map_or(input.len() - at, |size| size.min(input.len() - at));
        body.extend_from_slice(&input[at..at + here]);
        at += here;
        if (here as u64) < size {
            return Outcome::Unfinished { body };
        }
        match &input[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Outcome::Unfinished { body },
            _ => return Outcome::Broken,
        }
    }
}

fn trailers(input: &[u8], mut at: usize, body: Vec<u8>) -> Outcome {
    loop {
        match line(input, at) {
            Line::Whole([], next) => return Outcome::Whole { body, used: next },
            Line::Whole(_, next) => at = next,
            Line::Unfinished { .. } => return Outcome::Unfinished { body },
            Line::Broken => return Outcome::Broken,
        }
    }
}

enum Line<'a> {
    /// Without its end, and where the next one begins.
    Whole(&'a [u8], usize),
    /// Without the CR that it may end with.
    Unfinished { line: &'a [u8], has_cr: bool },
    /// With a CR or LF that is not part of a CRLF.
    Broken,
}

fn line(input: &[u8], at: usize) -> Line<'_> {
    let rest = &input[at..];
    let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return Line::Unfinished { line: rest, has_cr: false };
    };
    match &rest[end..] {
        [b'\r', b'\n', ..] => Line::Whole(&rest[..end], at + end + 2),
        [b'\r'] => Line::Unfinished { line: &rest[..end], has_cr: true },
        _ => Line::Broken,
    }
}

/// Hexadecimal digits of a number below 2^63, then spaces and tabs, then nothing or a semicolon and what may follow it.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let padding = line[digits..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let is_followed_well = matches!(line.get(digits + padding), None | Some(b';'));
    let is_number = (1..=16).contains(&digits) && is_followed_well;
    let size = || u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok();
    is_number.then(size).flatten().filter(|size| *size < 1 << 63)
}

fn may_become_size(line: &[u8], has_cr: bool) -> bool {
    (line.is_empty() && !has_cr) || chunk_size(line).is_some()
}

/// `body` in chunks, whose size follows from it.
fn write(body: &[u8]) -> (Vec<u8>, usize) {
    let size = 1 + body.first().map_or(0, |byte| usize::from(*byte));
    let mut written = Vec::new();
    for chunk in body.chunks(size) {
        written.extend_from_slice(format!("{:X};a=\"b\"\r\n", chunk.len()).as_bytes());
        written.extend_from_slice(chunk);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"0\r\nx-trailer: y\r\n\r\n");
    (written, size)
}
