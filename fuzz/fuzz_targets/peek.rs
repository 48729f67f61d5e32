//! No body makes a peek panic, no cut changes its outcome, and where `serde_json` accepts a body both read
//! the same.
//!
//! `cargo +nightly fuzz run peek fuzz/corpus/peek peek/tests/corpus/json peek/tests/corpus/sniff
//! peek/tests/corpus/form`

#![no_main]

#[path = "../../peek/tests/support/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use penstock_peek::{Coding, Decoder, Options, Peek, PeekError, Peeked, replacement, splice};

use self::oracle::{Expected, PROMPT, expect, peek};

const JSON: &str = "application/json";
const TYPES: [&str; 3] = [JSON, "application/octet-stream", "multipart/form-data; boundary=b"];

fuzz_target!(|body: &[u8]| {
    let _ = PROMPT;
    let cuts = cuts(body);
    for content_type in TYPES {
        let whole = peek(content_type, &[body]);
        assert_eq!(peek(content_type, &chunks(body, &cuts)), whole, "{content_type} cut at {cuts:?}");
        assert_eq!(peek(content_type, &body.chunks(1).collect::<Vec<_>>()), whole, "{content_type} bytewise");
        check_splice(content_type, body, &whole);
    }
    match (expect(body), peek(JSON, &[body])) {
        (Some(Ok(expected)), Ok(peeked)) => assert_eq!(Expected::of(&peeked), expected),
        (Some(Err(reason)), Err(error)) => assert_eq!(error.reason(), reason),
        (Some(expected), outcome) => panic!("expected {expected:?}, got {outcome:?}"),
        (None, _) => {}
    }
    if let Some(coding) = coding(body) {
        let _ = decode(coding, &chunks(body, &cuts));
    }
});

/// A renamed body reads as the new name and, apart from it, the same.
fn check_splice(content_type: &str, body: &[u8], whole: &Result<Peeked, PeekError>) {
    let Ok(Peeked { model: Some(model), .. }) = whole else { return };
    let with = replacement("new", model.notation).expect("the name is plain");
    let spliced =
        splice(&[body.to_vec().into()], model.range.clone(), with).expect("the range is in the body");
    let renamed = peek(content_type, &[&spliced.chunks.concat()]).expect("a renamed body is as sound");
    assert_eq!(renamed.model.expect("it has a model").name, "new");
    assert_eq!(renamed.blocks, whole.as_ref().expect("it is sound").blocks);
}

/// The coding that a body could have, by its first byte; brotli has no signature, so short ones are tried.
fn coding(body: &[u8]) -> Option<Coding> {
    match body.first()? {
        0x1F => Some(Coding::Gzip),
        0x78 => Some(Coding::Deflate),
        0x28 => Some(Coding::Zstd),
        _ => (body.len() < 16).then_some(Coding::Brotli),
    }
}

fn decode(coding: Coding, chunks: &[&[u8]]) -> Result<Peeked, PeekError> {
    let options = Options { max_decoded_bytes: 1 << 20, ..Options::default() };
    let peek = Peek::new(Some(JSON.as_bytes()), &options)?;
    let length = chunks.iter().map(|chunk| chunk.len()).sum();
    let mut decoder = Decoder::new(coding, length, false, &options, peek)?;
    for chunk in chunks {
        decoder.feed(chunk)?;
    }
    decoder.finish()?.finish()
}

/// Three places to cut, which follow from the body.
fn cuts(body: &[u8]) -> [usize; 3] {
    let mut state = body.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let mut cuts = [0; 3].map(|_: usize| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        usize::try_from(state >> 33).unwrap_or(0) % (body.len() + 1)
    });
    cuts.sort_unstable();
    cuts
}

fn chunks<'a>(body: &'a [u8], cuts: &[usize; 3]) -> [&'a [u8]; 4] {
    let [a, b, c] = *cuts;
    [&body[..a], &body[a..b], &body[b..c], &body[c..]]
}
