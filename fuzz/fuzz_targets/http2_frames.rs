//! No bytes make the reader of HTTP/2 frames panic, and no cut changes which frames it sees: those that the standard has
//! there. Nobody gets more through than there is credit for.
//!
//! `cargo +nightly fuzz run http2-frames fuzz/corpus/http2-frames fuzz/seeds/http2-frames`

#![no_main]

use std::convert::Infallible;

use libfuzzer_sys::fuzz_target;
use penstock_wire::frames::{Credit, Frame, Frames};
use tokio::time::Instant;

/// What may be spent at once.
const LIMIT: u32 = 1000;

// The first byte is how long the preface is.
fuzz_target!(|input: &[u8]| {
    let Some((preface, bytes)) = input.split_first() else { return };
    let preface = usize::from(*preface);
    let expected = frames(bytes.get(preface..).unwrap_or_default());
    for piece in [bytes.len().max(1), 1, 2, 7, 9, 10] {
        assert_eq!(read(preface, bytes, piece), expected, "in pieces of {piece}");
    }
    is_ended_at(preface, bytes, expected.len() / 2, expected.len());
    spend(&expected);
});

fn read(preface: usize, bytes: &[u8], piece: usize) -> Vec<Frame> {
    let (mut frames, mut seen) = (Frames::behind(preface), Vec::new());
    for bytes in bytes.chunks(piece) {
        let Ok(()) = frames.read(bytes, |frame| {
            seen.push(frame);
            Ok::<_, Infallible>(())
        });
    }
    seen
}

/// RFC 9113, section 4.1, a frame at a time.
fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some((header, rest)) = bytes.split_at_checked(9) {
        let number = |at: std::ops::Range<usize>| {
            header[at].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let length = usize::try_from(number(0..3)).expect("24 bits");
        let stream = u32::try_from(number(5..9) % (1 << 31)).expect("31 bits");
        frames.push(Frame { kind: header[3], flags: header[4], stream, length });
        bytes = rest.get(length..).unwrap_or_default();
    }
    frames
}

/// A frame that is refused is the last one that is looked at.
fn is_ended_at(preface: usize, bytes: &[u8], refused: usize, all: usize) {
    let mut seen = 0;
    let ended = Frames::behind(preface).read(bytes, |_| {
        seen += 1;
        if seen == refused + 1 { Err(()) } else { Ok(()) }
    });
    assert_eq!((ended, seen), if all == 0 { (Ok(()), 0) } else { (Err(()), refused + 1) });
}

/// Earns and spends as much as the frames' streams say.
fn spend(frames: &[Frame]) {
    let begun = Instant::now();
    let mut credit = Credit::new(LIMIT, begun);
    let (mut spent, mut earned) = (0, 0);
    for frame in frames {
        if frame.kind % 2 == 0 {
            credit.earn(frame.stream);
            earned += u128::from(frame.stream);
        } else if credit.spend(frame.stream).is_ok() {
            spent += u128::from(frame.stream);
        }
    }
    // A hundredth of the limit grows back in a second.
    let grown = begun.elapsed().as_millis() * u128::from(LIMIT) / 100_000;
    assert!(spent <= u128::from(LIMIT) + earned + grown, "{spent} were spent, {earned} earned");
}
