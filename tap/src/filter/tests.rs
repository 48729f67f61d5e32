use super::*;

const DELTA: &str =
    "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n";
const USAGE: &str =
    "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// What comes out of a stream that comes in these pieces.
fn filtered<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut filter = UsageFilter::default();
    let mut out = Vec::new();
    let pieces: Vec<_> = pieces.into_iter().collect();
    for (at, piece) in pieces.iter().enumerate() {
        match filter.feed(piece, at + 1 == pieces.len()) {
            Filtered::AsItIs => out.extend_from_slice(piece),
            Filtered::Instead(instead) => out.extend(instead),
        }
    }
    String::from_utf8(out).unwrap()
}

/// The stream, cut at each byte in turn, and byte by byte.
fn always(stream: &str, wanted: &str) {
    for at in 0..=stream.len() {
        let (head, tail) = stream.as_bytes().split_at(at);
        assert_eq!(filtered([head, tail]), wanted, "cut at {at}");
    }
    assert_eq!(filtered(stream.as_bytes().chunks(1)), wanted);
}

#[test]
fn the_event_that_only_brings_the_usage_is_left_out() {
    always(&[DELTA, USAGE, DONE].concat(), &[DELTA, DONE].concat());
    for (from, to) in [("\n", "\r\n"), ("\n", "\r"), ("data: ", "data:"), ("data: ", ": hi\nid: 4\ndata: ")] {
        let [delta, usage, done] = [DELTA, USAGE, DONE].map(|event| event.replace(from, to));
        for at in 0..=usage.len() {
            let stream = [&*delta, &*usage, &*done].concat();
            let (head, tail) = stream.as_bytes().split_at(delta.len() + at);
            // Of a blank line that is cut within, the line feed may stay: nothing is between two blank lines.
            let out = filtered([head, tail]).replace(&format!("{delta}\n"), &delta);
            assert_eq!(out, [&*delta, &*done].concat(), "cut at {at} of {usage:?}");
        }
    }
}

/// Some servers end without a blank line.
#[test]
fn the_last_event_is_left_out_as_well() {
    for usage in [USAGE.trim_end(), &USAGE[..USAGE.len() - 1], USAGE] {
        always(&[DELTA, usage].concat(), DELTA);
    }
    always(&[DELTA, DONE.trim_end()].concat(), &[DELTA, DONE.trim_end()].concat());
}

#[test]
fn every_other_event_stays() {
    for event in [
        // Azure's first event has no choices either, and Groq's last has a choice.
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":3}}\n\n",
        "data: {\"error\":{\"message\":\"usage\"}}\n\n",
        "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":3}}\n\n",
        "event: ping\n\n",
        ": comment\n\n",
    ] {
        always(&[DELTA, event, DONE].concat(), &[DELTA, event, DONE].concat());
    }
}

#[test]
fn a_stream_that_breaks_off_is_passed_on_to_its_last_byte() {
    // Within its counts: once they are whole it is the event, whatever follows.
    let cut = &USAGE[..USAGE.len() - "}}\n\n".len()];
    always(&[DELTA, cut].concat(), &[DELTA, cut].concat());
}

#[test]
fn an_event_that_is_too_long_to_be_the_one_is_not_held() {
    let long = DELTA.replace("\"a\"", &format!("\"{}\"", "a".repeat(3 * MAX_HELD_BYTES)));
    let stream = [&*long, USAGE, DONE].concat();
    assert_eq!(filtered(stream.as_bytes().chunks(1000)), [&*long, DONE].concat());
    let mut filter = UsageFilter::default();
    assert_eq!(filter.feed(&long.as_bytes()[..MAX_HELD_BYTES], false), Filtered::Instead(Vec::new()));
    assert!(filter.is_between_events());
    let passed = filter.feed(b"aa", false);
    assert!(matches!(passed, Filtered::Instead(passed) if passed.len() == MAX_HELD_BYTES + 2));
    assert!(!filter.is_between_events());
}

#[test]
fn whole_events_go_through_as_they_are() {
    let mut filter = UsageFilter::default();
    assert_eq!(filter.feed([DELTA, DELTA].concat().as_bytes(), false), Filtered::AsItIs);
    assert_eq!(filter.feed(DONE.as_bytes(), true), Filtered::AsItIs);
}
