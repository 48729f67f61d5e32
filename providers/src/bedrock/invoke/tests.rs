use super::*;
use crate::answer::FailureKind;
use crate::bedrock::eventstream::{encode_event, encode_exception};

const START: &str = r#"{"type":"message_start","message":{"id":"msg_bdrk_1","type":"message","role":"assistant","content":[],"usage":{"input_tokens":10,"cache_read_input_tokens":70,"cache_creation_input_tokens":20,"output_tokens":1}}}"#;
const BLOCK: &str = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const DELTA: &str =
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Gr\u00fc\u00dfe\n"}}"#;
const STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
const END: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":12,"input_tokens":10}}"#;
const LAST: &str = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":10,"outputTokenCount":12}}"#;
const ALL: [(&str, &str); 6] = [
    ("message_start", START),
    ("content_block_start", BLOCK),
    ("content_block_delta", DELTA),
    ("content_block_stop", STOP),
    ("message_delta", END),
    ("message_stop", LAST),
];

fn chunk(event: &str) -> Vec<u8> {
    let payload = serde_json::json!({ "bytes": BASE64_STANDARD.encode(event), "p": "abcd" });
    encode_event("chunk", &payload.to_string())
}

fn stream() -> Vec<u8> {
    ALL.iter().flat_map(|(_, event)| chunk(event)).collect()
}

fn rewrap(pieces: &[&[u8]]) -> (String, Result<(), Broken>, Rewrap) {
    let (mut rewrap, mut out) = (Rewrap::default(), Vec::new());
    let mut read = Ok(());
    for (at, piece) in pieces.iter().enumerate() {
        read = rewrap.read(piece, at + 1 == pieces.len(), &mut out);
        if read.is_err() {
            break;
        }
    }
    (String::from_utf8(out).unwrap(), read, rewrap)
}

#[test]
fn events_come_out_as_they_went_in_with_their_type_before_them() {
    let expected: String =
        ALL.iter().map(|(kind, event)| format!("event: {kind}\ndata: {event}\n\n")).collect();
    let (out, read, rewrap) = rewrap(&[&stream()]);
    assert_eq!((out, read), (expected, Ok(())));
    assert!(rewrap.is_complete() && rewrap.has_content());
    let counted = Usage {
        input: Some(100),
        output: Some(12),
        cache_read: Some(70),
        cache_write: Some(20),
        reasoning: None,
    };
    assert_eq!(rewrap.usage(), counted);
}

#[test]
fn a_stream_comes_out_the_same_split_at_every_byte() {
    let stream = stream();
    let whole = rewrap(&[&stream]).0;
    for at in 0..=stream.len() {
        let (out, read, rewrap) = rewrap(&[&stream[..at], &stream[at..]]);
        assert_eq!((&out, read, rewrap.is_complete()), (&whole, Ok(()), true), "{at}");
    }
    assert_eq!(rewrap(&stream.chunks(1).collect::<Vec<_>>()).0, whole);
}

#[test]
fn a_stream_that_breaks_off_never_ends_well() {
    let stream = stream();
    for end in 0..stream.len() {
        let (_, read, rewrap) = rewrap(&[&stream[..end]]);
        assert_eq!((read, rewrap.is_complete()), (Err(Broken::Incomplete), false), "{end}");
    }
}

#[test]
fn a_failure_is_told_with_whether_the_client_has_content() {
    let failed = encode_exception("throttlingException", "Too many requests");
    for (before, has_content) in [(0, false), (1, false), (2, true), (4, true)] {
        let mut stream: Vec<u8> = ALL[..before].iter().flat_map(|(_, event)| chunk(event)).collect();
        stream.extend_from_slice(&failed);
        let (out, read, rewrap) = rewrap(&[&stream]);
        let Err(Broken::Failed(failure)) = read else { panic!("{read:?}") };
        assert_eq!((failure.status, failure.kind), (429, FailureKind::RateLimit));
        assert_eq!(rewrap.has_content(), has_content, "{before}");
        assert_eq!(out.matches("event: ").count(), before);
    }
}

/// Complaint: Claude said within the stream that it is overloaded, and nobody else was asked.
#[test]
fn an_error_of_the_models_own_is_a_failure() {
    for (code, status, kind) in [
        ("overloaded_error", 503, FailureKind::Overloaded),
        ("rate_limit_error", 429, FailureKind::RateLimit),
        ("api_error", 500, FailureKind::Server),
    ] {
        let error = serde_json::json!({"type": "error", "error": {"type": code, "message": "Overloaded"}});
        let (out, read, rewrap) = rewrap(&[&chunk(&error.to_string())]);
        let Err(Broken::Failed(failure)) = read else { panic!("{read:?}") };
        assert_eq!((failure.status, failure.kind), (status, kind));
        assert_eq!((failure.code.unwrap(), failure.message), (Text::plain(code), Text::plain("Overloaded")));
        assert!(out.is_empty() && !rewrap.has_content());
    }
}

#[test]
fn lines_within_an_event_do_not_end_it() {
    let (out, _, _) = rewrap(&[&chunk("{\n  \"type\":\r\n \"ping\"\n}")]);
    assert_eq!(out, "event: ping\ndata: {   \"type\":   \"ping\" }\n\n");
}

#[test]
fn what_cannot_be_unwrapped_is_an_error() {
    for stream in [
        encode_event("chunk", "{"),
        encode_event("chunk", r#"{"bytes":"%%"}"#),
        chunk("no json"),
        chunk("{}"),
        chunk("{\"type\":\"a\\nb\"}"),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
    ] {
        assert!(matches!(rewrap(&[&stream]).1, Err(Broken::Unreadable(_))));
    }
}

#[test]
fn events_are_handed_on_and_what_is_new_is_passed_over() {
    let mut seen = Vec::new();
    let stream = [
        encode_event("new", "?"),
        encode_event("chunk", r#"{"new":1}"#),
        chunk(DELTA),
        encode_exception("modelStreamErrorException", "x"),
    ]
    .concat();
    let mut events = InvokeEvents::default();
    events
        .feed(&stream, true, &mut |event| {
            seen.push(match event {
                InvokeEvent::Json(json) => String::from_utf8(json.to_vec()).unwrap(),
                InvokeEvent::Failed(failure) => format!("{} {:?}", failure.status, failure.kind),
            });
        })
        .unwrap();
    assert_eq!(seen, [DELTA, "502 Server"]);
}
