use proptest::prelude::*;

use super::*;

type Read = (String, Vec<u8>);

fn read(pieces: &[&[u8]]) -> (Vec<Read>, Result<(), FrameError>, bool) {
    let (mut frames, mut found) = (Frames::default(), Vec::new());
    for piece in pieces {
        let fed =
            frames.feed(piece, |frame| found.push((format!("{:?}", frame.kind), frame.payload.to_vec())));
        if fed.is_err() {
            return (found, fed, false);
        }
    }
    (found, Ok(()), frames.is_between_frames())
}

/// Messages of botocore's own tests.
const EMPTY: &[u8] = b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2\x48\xeb\x7d\x98\xc8\xff";
const INT32_HEADER: &[u8] =
    b"\x00\x00\x00\x2d\x00\x00\x00\x10\x41\xc4\x24\xb8\x0aevent-type\x04\x00\x00\xa0\x0c\
    {'foo':'bar'}\x36\xf4\x80\xa0";
const ALL_HEADERS: &[u8] = b"\x00\x00\x00\xcc\x00\x00\x00\xaf\x0f\xae\x64\xca\x0aevent-type\x04\x00\x00\xa0\x0c\x0c\
    content-type\x07\x00\x10application/json\x0abool false\x01\x09bool true\x00\x04byte\x02\xcf\x08byte buf\x06\x00\x14\
    I'm a little teapot!\x09timestamp\x08\x00\x00\x00\x00\x00\x84_\xed\x05int16\x03\x00*\x05int64\x05\x00\x00\x00\x00\
    \x02\x87W\xb2\x04uuid\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10{'foo':'bar'}\xab\xa5\xf1\x0c";

#[test]
fn messages_of_the_sdks_own_tests_are_read() {
    let (found, fed, is_between) = read(&[EMPTY, INT32_HEADER, ALL_HEADERS]);
    assert_eq!(fed, Ok(()));
    let payloads: Vec<_> = found.iter().map(|(_, payload)| payload.as_slice()).collect();
    assert_eq!(payloads, [&b""[..], b"{'foo':'bar'}", b"{'foo':'bar'}"]);
    assert!(is_between);
}

#[test]
fn kinds_are_told_by_headers() {
    let error = encode(
        &[(":message-type", "error"), (":error-code", "InternalError"), (":error-message", "oh no")],
        b"",
    );
    for (frame, kind) in [
        (encode_event("metadata", "{}"), Kind::Event("metadata")),
        (encode_exception("throttlingException", "slow"), Kind::Exception("throttlingException")),
        (error, Kind::Error { code: "InternalError", message: "oh no" }),
    ] {
        let mut seen = Vec::new();
        Frames::default().feed(&frame, |frame| seen.push(format!("{:?}", frame.kind))).unwrap();
        assert_eq!(seen, [format!("{kind:?}")]);
    }
}

#[test]
fn a_message_within_one_piece_is_not_copied() {
    let piece = [encode_event("a", "{}"), encode_event("b", "{\"x\":1}")].concat();
    let bounds = piece.as_ptr_range();
    let mut seen = 0;
    Frames::default()
        .feed(&piece, |frame| {
            seen += usize::from(bounds.contains(&frame.payload.as_ptr()));
        })
        .unwrap();
    assert_eq!(seen, 2);
}

#[test]
fn one_flipped_bit_is_noticed_wherever_it_is() {
    let sound = encode_event("contentBlockDelta", "{\"delta\":{\"text\":\"hi\"}}");
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        let (found, fed, _) = read(&[&damaged]);
        assert_eq!((found.len(), fed), (0, Err(FrameError::Checksum)), "byte {at}");
    }
}

#[test]
fn impossible_lengths_are_refused_before_anything_is_kept() {
    let prelude = |total: u32, headers: u32| {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    };
    let most_headers = u32::try_from(MAX_HEADER_BYTES).unwrap();
    let most = u32::try_from(MAX_PAYLOAD_BYTES).unwrap() + 16;
    for (total, headers) in [
        (0, 0),
        (15, 0),
        (16, 1),
        (u32::MAX, 0),
        (u32::MAX, u32::MAX),
        (most + 1, 0),
        (most, most_headers + 1),
    ] {
        assert_eq!(read(&[&prelude(total, headers)]).1, Err(FrameError::Length), "{total} {headers}");
    }
    assert_eq!(read(&[&prelude(most, 0)]).1, Ok(()));
    assert_eq!(read(&[&prelude(most + most_headers, most_headers)]).1, Ok(()));
}

#[test]
fn headers_that_cannot_be_read_are_refused() {
    for headers in [
        &b"\x05name"[..],
        b"\x04name",
        b"\x04name\x0a",
        b"\x04name\x07\x00",
        b"\x04name\x07\x00\x02a",
        b"\x04name\x09123456789012345",
        b"\x0b:event-type\x07\x00\x01\xff",
        b"\x0b:event-type\x00",
    ] {
        assert_eq!(read(&[&encode_raw(headers, b"{}")]).1, Err(FrameError::Headers), "{headers:?}");
    }
}

#[test]
fn a_stream_that_ends_within_a_message_says_so() {
    let frame = encode_event("messageStop", "{}");
    for end in 1..frame.len() {
        let (found, fed, is_between) = read(&[&frame[..end]]);
        assert_eq!((found.len(), fed, is_between), (0, Ok(()), false), "{end}");
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        messages in prop::collection::vec(("[a-z]{0,6}", prop::collection::vec(any::<u8>(), 0..80)), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        garbage in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut stream: Vec<u8> = messages
            .iter()
            .flat_map(|(name, payload)| encode(&[(":message-type", "event"), (":event-type", name)], payload))
            .collect();
        stream.extend(garbage);
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let pieces: Vec<_> = at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        let bytes: Vec<_> = stream.chunks(1).collect();
        let whole = read(&[&stream]);
        prop_assert!(whole.0.len() >= messages.len());
        prop_assert_eq!(&read(&pieces), &whole);
        prop_assert_eq!(&read(&bytes), &whole);
    }

    #[test]
    fn headers_of_any_kind_end_in_an_answer(
        headers in prop::collection::vec(any::<u8>(), 0..60),
        payload in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let frame = encode_raw(&headers, &payload);
        match read(&[&frame]) {
            (found, Ok(()), true) => prop_assert_eq!(&found[0].1, &payload),
            (found, fed, _) => prop_assert_eq!((found.len(), fed), (0, Err(FrameError::Headers))),
        }
    }
}
