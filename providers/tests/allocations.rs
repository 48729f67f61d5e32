//! What a streamed event allocates does not depend on how many came before it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use allocation_counter::{AllocationInfo, measure};
use penstock_providers::Translation;

use streams::Stream;

#[path = "support/streams.rs"]
mod streams;

/// What so many events allocate.
fn fed(translation: &mut Translation, event: &[u8], count: usize, out: &mut Vec<u8>) -> AllocationInfo {
    measure(|| {
        for _ in 0..count {
            out.clear();
            translation.body(event, false, out).unwrap();
            assert!(!out.is_empty());
        }
    })
}

#[test]
fn the_ten_thousandth_event_allocates_what_the_hundredth_does() {
    let streams = Stream::all();
    assert_eq!(streams.len(), 8 + 8 + 6);
    for stream in streams {
        let (mut translation, mut out) = (stream.begun(), Vec::new());
        fed(&mut translation, &stream.event, 99, &mut out);
        let hundredth = fed(&mut translation, &stream.event, 1, &mut out);
        let between = fed(&mut translation, &stream.event, 9_899, &mut out);
        let ten_thousandth = fed(&mut translation, &stream.event, 1, &mut out);
        assert_eq!(ten_thousandth.bytes_total, hundredth.bytes_total, "{}", stream.name);
        assert_eq!(between.bytes_total, 9_899 * hundredth.bytes_total, "{}", stream.name);
        assert_eq!(between.bytes_current, 0, "{}: something stays", stream.name);
    }
}
