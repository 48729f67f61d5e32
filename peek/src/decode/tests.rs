use std::io::Read;

use flate2::{
    Compression,
    read::{GzEncoder, ZlibEncoder},
};

use super::*;
use crate::Peeked;

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
const BODY: &[u8] = br#"{"model":"a","messages":[{"role":"user","content":"hello hello hello"}]}"#;

fn encode(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    match coding {
        "gzip" => GzEncoder::new(body, Compression::default()).read_to_end(&mut encoded).unwrap(),
        "deflate" => ZlibEncoder::new(body, Compression::default()).read_to_end(&mut encoded).unwrap(),
        "br" => brotli::CompressorReader::new(body, 4096, 5, 22).read_to_end(&mut encoded).unwrap(),
        _ => zstd::stream::read::Encoder::new(body, 3).unwrap().read_to_end(&mut encoded).unwrap(),
    };
    encoded
}

fn peek(coding: &str, chunks: &[&[u8]], options: &Options) -> Result<Peeked, PeekError> {
    peek_as("application/json", coding, chunks, options)
}

fn peek_as(
    content_type: &str,
    coding: &str,
    chunks: &[&[u8]],
    options: &Options,
) -> Result<Peeked, PeekError> {
    let peek = Peek::new(Some(content_type.as_bytes()), options)?;
    let coding = Coding::parse(coding.as_bytes())?.unwrap();
    let length = chunks.iter().map(|chunk| chunk.len()).sum();
    let mut decoder = Decoder::new(coding, length, peek.is_form(), options, peek)?;
    for chunk in chunks {
        decoder.feed(chunk)?;
    }
    decoder.finish()?.finish()
}

#[test]
fn reads_through_every_coding_wherever_it_is_cut() {
    for coding in CODINGS {
        let encoded = encode(coding, BODY);
        for cut in 0..=encoded.len() {
            let (head, tail) = encoded.split_at(cut);
            let peeked = peek(coding, &[head, tail], &Options::default()).unwrap();
            let model = peeked.model.unwrap();
            assert_eq!((&*model.name, model.range), ("a", 9..12), "{coding} cut at {cut}");
            assert_eq!(peeked.malformed, None, "{coding} cut at {cut}");
        }
        let bytes: Vec<_> = encoded.chunks(1).collect();
        assert!(peek(coding, &bytes, &Options::default()).unwrap().model.is_some());
    }
}

#[test]
fn reads_an_encoded_form() {
    let form = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n--b--\r\n";
    for coding in CODINGS {
        let encoded = encode(coding, form);
        let content_type = "multipart/form-data; boundary=b";
        let peeked = peek_as(content_type, coding, &[&encoded], &Options::default()).unwrap();
        assert_eq!(&form[peeked.model.unwrap().range], b"a");
    }
}

#[test]
fn refuses_what_it_decodes_to_as_it_would_refuse_it_plain() {
    for coding in CODINGS {
        let encoded = encode(coding, br#"{"model":"a","model":"b"}"#);
        let refusal = peek(coding, &[&encoded], &Options::default()).unwrap_err();
        assert_eq!(refusal.reason(), "duplicate_model", "{coding}");
    }
}

/// A body of `bytes` that is nearly nothing but one letter.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut bomb = br#"{"model":"a","prompt":""#.to_vec();
    bomb.resize(bytes, b'x');
    bomb
}

#[test]
fn stops_a_bomb_at_the_bound() {
    let options = Options { max_decoded_bytes: 1 << 18, ..Options::default() };
    for coding in CODINGS {
        let encoded = encode(coding, &bomb(8 << 20));
        assert!(encoded.len() < 16 * 1024, "{coding} is a bomb");
        let refusal = peek(coding, &[&encoded], &options).unwrap_err();
        assert_eq!(refusal, PeekError::DecodedTooLarge { limit: 1 << 18 }, "{coding}");
        assert_eq!(refusal.status(), 413);
    }
}

/// The sink of a test: counts, and knows nothing of peeks.
#[derive(Default)]
struct Tally(u64);

impl Sink for &mut Tally {
    type Error = PeekError;

    fn take(&mut self, decoded: &[u8]) -> Result<(), PeekError> {
        self.0 += decoded.len() as u64;
        Ok(())
    }
}

#[test]
fn a_small_bomb_decodes_to_no_more_than_its_size_allows() {
    let options = Options::default();
    for (coding, name) in [(Coding::Gzip, "gzip"), (Coding::Brotli, "br"), (Coding::Zstd, "zstd")] {
        let encoded = encode(name, &bomb(4 << 20));
        let (mut tally, length) = (Tally::default(), encoded.len());
        let mut decoder = Decoder::new(coding, length, false, &options, &mut tally).unwrap();
        let refusal = decoder.feed(&encoded).unwrap_err();
        drop(decoder);
        let limit = FREE_BYTES + 200 * length as u64;
        assert_eq!(refusal, PeekError::DecodedTooFar { ratio: 200, limit }, "{name}");
        assert_eq!((refusal.status(), refusal.reason()), (413, "decoded_too_far"));
        assert!(tally.0 <= limit, "{name}: {} of {limit}", tally.0);
    }
}

#[test]
fn prompts_that_repeat_themselves_pass() {
    // A long one whose lines differ by a number, and a short one that says one word for ever.
    let turn =
        "Please read the file src/main.rs once more and tell me which of its functions are never called. ";
    let long = format!(r#"{{"model":"a","prompt":"{}"}}"#, {
        let numbered = |n: usize| format!("{}: {turn}", n * 7919 % 10_007);
        (0..6_000).map(numbered).collect::<String>()
    });
    let short = format!(r#"{{"model":"a","prompt":"{}"}}"#, "hello ".repeat(40_000));
    for coding in CODINGS {
        for body in [&long, &short] {
            let encoded = encode(coding, body.as_bytes());
            assert!(body.len() > 20 * encoded.len(), "{coding}: {} in {}", body.len(), encoded.len());
            let peeked =
                peek(coding, &[&encoded], &Options::default()).map(|peeked| peeked.model.unwrap().name);
            assert_eq!(peeked.as_deref(), Ok("a"), "{coding}: {} in {}", body.len(), encoded.len());
        }
    }
}

#[test]
fn a_body_of_the_bound_passes() {
    let options = Options { max_decoded_bytes: BODY.len() as u64, ..Options::default() };
    for coding in CODINGS {
        assert!(peek(coding, &[&encode(coding, BODY)], &options).is_ok(), "{coding}");
    }
}

#[test]
fn refuses_garbage_and_what_follows_the_end() {
    for coding in CODINGS {
        let garbage = peek(coding, &[b"\xF3garbage, long enough for every header"], &Options::default());
        assert_eq!(garbage.unwrap_err().reason(), "corrupt_encoding", "{coding}");
        let mut followed = encode(coding, BODY);
        followed.extend(b"garbage, long enough for every header");
        let refusal = peek(coding, &[&followed], &Options::default()).unwrap_err();
        assert_eq!(refusal.reason(), "corrupt_encoding", "{coding}");
    }
}

#[test]
fn a_stream_that_ends_early_is_corrupt_or_known_to_be_truncated() {
    for coding in CODINGS {
        let encoded = encode(coding, BODY);
        for len in 1..encoded.len() {
            match peek(coding, &[&encoded[..len]], &Options::default()) {
                Err(error) => assert!(
                    matches!(error.reason(), "corrupt_encoding" | "model_broken"),
                    "{coding} of {len} bytes: {error}"
                ),
                // The checksum is cut off but the document is whole, or the format cannot tell.
                Ok(peeked) => assert!(peeked.model.is_none() || peeked.model.unwrap().name == "a"),
            }
        }
    }
}

#[test]
fn reads_members_and_frames_in_a_row() {
    let (head, tail) = BODY.split_at(30);
    for coding in ["gzip", "zstd"] {
        let encoded = [encode(coding, head), encode(coding, tail)].concat();
        let peeked = peek(coding, &[&encoded], &Options::default()).unwrap();
        assert_eq!((peeked.model.unwrap().name.as_str(), peeked.malformed), ("a", None), "{coding}");
    }
}

#[test]
fn refuses_a_second_document_in_a_second_member() {
    let encoded = [encode("gzip", br#"{"model":"a"}"#), encode("gzip", br#"{"model":"b"}"#)].concat();
    let refusal = peek("gzip", &[&encoded], &Options::default()).unwrap_err();
    assert_eq!(refusal.reason(), "ambiguous_json");
}

#[test]
fn refuses_a_plain_body_that_claims_to_be_encoded() {
    for coding in CODINGS {
        for body in [&b"{\"model\":\"a\"}"[..], b" \r\n\t{\"model\":\"a\"}"] {
            let refusal = peek(coding, &[body], &Options::default()).unwrap_err();
            assert_eq!(refusal.reason(), "plain_behind_encoding", "{coding}");
            // White space in a chunk of its own reaches the decoder, which may be the one to refuse.
            assert!(peek(coding, &[&body[..1], &body[1..]], &Options::default()).is_err(), "{coding}");
        }
        let form = peek_as("multipart/form-data; boundary=b", coding, &[b"--b\r\n"], &Options::default());
        assert_eq!(form.unwrap_err().reason(), "plain_behind_encoding", "{coding}");
    }
}

#[test]
fn an_empty_body_is_empty_in_every_coding() {
    for coding in CODINGS {
        assert_eq!(peek(coding, &[], &Options::default()), Ok(Peeked::default()), "{coding}");
        let encoded = encode(coding, b"");
        assert_eq!(peek(coding, &[&encoded], &Options::default()), Ok(Peeked::default()), "{coding}");
    }
}

#[test]
fn zstd_windows_beyond_the_limit_are_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(BODY).unwrap();
    let encoded = encoder.finish().unwrap();
    assert_eq!(peek("zstd", &[&encoded], &Options::default()).unwrap_err().reason(), "corrupt_encoding");
}
