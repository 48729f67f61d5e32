//! No response makes the tap panic, no cut changes its report, its events are those of the standard's own algorithm,
//! and the usage of a JSON document is that of the same document written by `serde_json`.
//!
//! `cargo +nightly fuzz run tap fuzz/corpus/tap fuzz/seeds/tap`

#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_tap::{Report, StreamPosition, Tap};
use serde_json::Value;

const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";

/// The largest `usage` object that the tap reads, in bytes.
const MAX_USAGE_BYTES: usize = 4096;

fuzz_target!(|body: &[u8]| {
    let middle = body.len() / 2;
    for content_type in [EVENT_STREAM, JSON] {
        let whole = tap(content_type, [body]);
        assert_eq!(tap(content_type, body.chunks(1)), whole, "{content_type} bytewise");
        assert_eq!(tap(content_type, body.chunks(7)), whole, "{content_type} in sevens");
        assert_eq!(tap(content_type, [&body[..middle], &body[middle..]]), whole, "{content_type} halved");
    }
    let (report, position) = tap(EVENT_STREAM, [body]);
    assert_eq!(position.events, events(body));
    assert!(report.content_events <= position.events);
    check_usage(body);
});

/// What the tap says of a body in these chunks.
fn tap<'a>(content_type: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Report, StreamPosition) {
    let mut tap = Tap::new(Some(content_type.as_bytes()), None);
    let mut content_events = 0;
    for chunk in chunks {
        content_events += u64::from(tap.feed(chunk).content_events);
    }
    let position = tap.position();
    let report = tap.finish();
    assert_eq!(report.content_events, content_events);
    (report, position)
}

/// The events of a stream that are dispatched (WHATWG HTML, 9.2.6), a byte at a time.
fn events(stream: &[u8]) -> u64 {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let (mut events, mut has_data, mut line, mut at) = (0, false, Vec::new(), 0);
    while let Some(&byte) = stream.get(at) {
        at += 1;
        if !matches!(byte, b'\n' | b'\r') {
            line.push(byte);
            continue;
        }
        at += usize::from(byte == b'\r' && stream.get(at) == Some(&b'\n'));
        if line.is_empty() {
            events += u64::from(has_data);
            has_data = false;
        }
        has_data |= line.split(|byte| *byte == b':').next() == Some(b"data");
        line.clear();
    }
    events
}

/// Space between tokens makes no difference. Bodies that `serde_json` reads otherwise, by its rules for names that are
/// escaped or repeated, are left out, and so are those that may come too close to the largest `usage`.
fn check_usage(body: &[u8]) {
    let Ok(document @ Value::Object(_)) = serde_json::from_slice::<Value>(body) else { return };
    let written = document.to_string();
    let quotes = |text: &[u8]| text.iter().filter(|byte| **byte == b'"').count();
    let is_same = !body.contains(&b'\\') && quotes(body) == quotes(written.as_bytes());
    if is_same && body.len().max(written.len()) <= MAX_USAGE_BYTES {
        let (report, _) = tap(JSON, [body]);
        assert_eq!(report.is_complete, Some(true));
        assert_eq!(report, tap(JSON, [written.as_bytes()]).0, "{written}");
    }
}
