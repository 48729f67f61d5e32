//! No answer of an upstream makes its translation panic, and no cut changes what is written: a whole body is JSON, a stream
//! is events whose data are JSON or `[DONE]`, and neither is out of proportion to what came.
//!
//! Bedrock is also sent what other inputs are to it: the events of an event stream, put into frames with right checksums,
//! which no mutation would find.
//!
//! `cargo +nightly fuzz run providers-answer fuzz/corpus/providers-answer fuzz/seeds/providers-answer`

#![no_main]

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use penstock_providers::{Api, Call, Place, Provider, Schema, Translation};
use serde::de::IgnoredAny;

/// Requests of each API that is translated; one with what an answer repeats.
const REQUESTS: [(&str, &str); 3] = [
    (
        "/v1/chat/completions",
        r#""messages":[{"role":"user","content":"Hi"}],"stream_options":{"include_usage":true}"#,
    ),
    ("/v1/messages", r#""messages":[{"role":"user","content":"Hi"}],"max_tokens":9"#),
    ("/v1/responses", r#""input":"Hi","metadata":{"a":"b"},"instructions":"Be brief.""#),
];

/// One of each form of answers.
const SCHEMAS: [Schema; 5] =
    [Schema::OpenAi, Schema::Anthropic, Schema::AwsBedrock, Schema::AwsAnthropic, Schema::Gemini];

/// What a body may be written as at most, in bytes: an event has what all events of its stream have, and names of the
/// upstream's that are short; an answer is repeated at a stream's end, some three times by OpenAI's Responses.
const MAX_GROWTH: usize = 256;
const MAX_START: usize = 64 * 1024;

fuzz_target!(|body: &[u8]| {
    let frames = frames(body, |event, data| frame(event, data));
    let chunks = frames_of_chunks(body);
    // One client's API for each, so that more inputs are tried.
    let (path, request) = REQUESTS[hash(body) as usize % REQUESTS.len()];
    for schema in SCHEMAS {
        for is_stream in [false, true] {
            let translation = || translation(path, request, schema, is_stream);
            check(&translation, 200, is_stream, body);
            match (schema, is_stream) {
                (_, false) => check(&translation, 529, is_stream, body),
                (Schema::AwsBedrock, true) => check(&translation, 200, is_stream, &frames),
                (Schema::AwsAnthropic, true) => check(&translation, 200, is_stream, &chunks),
                _ => {}
            }
        }
    }
});

/// What translates answers of `schema`; `None` if they need no translation.
fn translation(path: &str, request: &str, schema: Schema, is_stream: bool) -> Option<Translation> {
    let body = format!(r#"{{"model":"m",{request},"stream":{is_stream}}}"#);
    let call = Call {
        api: Api::of_path(path),
        path,
        query: None,
        model: Some("m"),
        asked_model: Some("m"),
        headers: &HeaderMap::new(),
        body: body.as_bytes(),
        now: 1_760_000_000,
        request_id: "7f1c9a52",
    };
    Provider::new(schema, Place::default(), false).encode(&call).expect("the request is sound").translation
}

fn check(translation: &dyn Fn() -> Option<Translation>, status: u16, is_stream: bool, body: &[u8]) {
    let Some((is_sound, whole, is_as_it_is)) = translate(translation, status, [body]) else { return };
    let (sound, in_pieces, _) = translate(translation, status, cut(body)).expect("it is translated");
    assert_eq!(sound, is_sound);
    assert_eq!(String::from_utf8_lossy(&in_pieces), String::from_utf8_lossy(&whole));
    if is_as_it_is {
        return;
    }
    assert!(whole.len() <= MAX_START + MAX_GROWTH * body.len(), "{} bytes of {}", whole.len(), body.len());
    let text = std::str::from_utf8(&whole).expect("UTF-8");
    if is_stream && status == 200 {
        check_events(text);
    } else if is_sound {
        check_json(text);
    }
}

/// What a body becomes that comes in these pieces: whether all of it was translated, what was written, and whether that is
/// the body as it is.
fn translate<'a>(
    translation: &dyn Fn() -> Option<Translation>,
    status: u16,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Option<(bool, Vec<u8>, bool)> {
    let mut translation = translation()?;
    let mut headers = HeaderMap::new();
    headers.insert("x-amzn-errortype", HeaderValue::from_static("ThrottlingException"));
    translation.begin(status, &headers);
    let is_as_it_is = translation.content_type().is_none();
    let mut out = Vec::new();
    let mut pieces = pieces.into_iter().peekable();
    while let Some(piece) = pieces.next() {
        if translation.body(piece, pieces.peek().is_none(), &mut out).is_err() {
            return Some((false, out, is_as_it_is));
        }
    }
    Some((true, out, is_as_it_is))
}

/// The body cut in places that follow from its bytes.
fn cut(body: &[u8]) -> Vec<&[u8]> {
    let (mut pieces, mut rest) = (Vec::new(), body);
    let mut state = hash(body);
    loop {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Short ones as well as long ones, and empty ones.
        let length = (state >> 20) as usize >> (state >> 16 & 15);
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            return pieces;
        }
    }
}

/// FNV-1a, 32 bits.
fn hash(body: &[u8]) -> u32 {
    body.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn check_events(stream: &str) {
    assert!(stream.is_empty() || stream.ends_with("\n\n"), "{stream}");
    for line in stream.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        match line.split_once(": ") {
            Some(("data", "[DONE]")) | Some(("event" | "", _)) => {}
            Some(("data", data)) => check_json(data),
            _ => panic!("{line:?} in {stream}"),
        }
    }
}

fn check_json(text: &str) {
    // Not as a value: `serde_json` has none for lone surrogates, which go through as they are.
    serde_json::from_str::<IgnoredAny>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
}

/// The events of an event stream, as `make` frames them: name, and data.
fn frames(stream: &[u8], make: impl Fn(&str, &[u8]) -> Vec<u8>) -> Vec<u8> {
    let (mut frames, mut name) = (Vec::new(), "");
    for line in stream.split(|byte| *byte == b'\n') {
        if let Some(event) = line.strip_prefix(b"event: ") {
            name = std::str::from_utf8(event).unwrap_or_default();
        } else if let Some(data) = line.strip_prefix(b"data: ") {
            // A line's end may stand in a frame's JSON; an event stream has none, so that this stands for it.
            let data: Vec<u8> = data.iter().map(|byte| if *byte == 0x0b { b'\n' } else { *byte }).collect();
            frames.extend(make(name, &data));
        }
    }
    frames
}

fn frames_of_chunks(stream: &[u8]) -> Vec<u8> {
    frames(stream, |_, data| {
        let chunk = format!(r#"{{"bytes":"{}"}}"#, BASE64_STANDARD.encode(data));
        frame("chunk", chunk.as_bytes())
    })
}

/// A message of AWS's event streams; an exception if its name ends so.
fn frame(name: &str, payload: &[u8]) -> Vec<u8> {
    let (kind, message_type) = match name.ends_with("Exception") {
        true => (":exception-type", "exception"),
        false => (":event-type", "event"),
    };
    let mut headers = Vec::new();
    for (field, value) in [(kind, name), (":message-type", message_type)] {
        let Ok(length) = u16::try_from(value.len()) else { return Vec::new() };
        headers.push(field.len() as u8);
        headers.extend_from_slice(field.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&length.to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = (12 + headers.len() + payload.len() + 4) as u32;
    let mut frame = total.to_be_bytes().to_vec();
    frame.extend((headers.len() as u32).to_be_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend_from_slice(payload);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}
