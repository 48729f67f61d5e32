use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::bedrock::eventstream::{encode_event, encode_exception};
use crate::{Api, Call, Place, Provider, Schema};

/// The parts that streams of an upstream's API are made of here.
struct Parts {
    schema: Schema,
    path: &'static str,
    /// Content, which the client has by the time of what follows.
    content: Vec<u8>,
    /// The upstream says that it failed.
    failure: Vec<u8>,
    /// The answer's own end; empty where an API has none but the body's.
    end: Vec<u8>,
    /// What cannot be read.
    noise: Vec<u8>,
}

fn parts() -> Vec<Parts> {
    const CHAT: &str = "/v1/chat/completions";
    const MESSAGES: &str = "/v1/messages";
    const CLAUDE: [&str; 4] = [
        r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let sse = |data: &str| format!("data: {data}\n\n").into_bytes();
    let chunk = |event: &str| {
        let bytes = BASE64_STANDARD.encode(event);
        encode_event("chunk", &serde_json::json!({ "bytes": bytes }).to_string())
    };
    let content =
        |frame: &dyn Fn(&str) -> Vec<u8>| CLAUDE[..3].iter().flat_map(|event| frame(event)).collect();
    let thrown = || encode_exception("throttlingException", "slow down");
    let invoke = |path| Parts {
        schema: Schema::AwsAnthropic,
        path,
        content: content(&chunk),
        failure: thrown(),
        end: chunk(CLAUDE[3]),
        noise: encode_event("chunk", r#"{"bytes":"%%"}"#),
    };
    vec![
        Parts {
            schema: Schema::OpenAi,
            path: MESSAGES,
            content: sse(r#"{"id":"c","choices":[{"index":0,"delta":{"content":"Hi"}}]}"#),
            failure: sse(r#"{"error":{"message":"slow down"}}"#),
            end: sse("[DONE]"),
            noise: sse("{"),
        },
        Parts {
            schema: Schema::Anthropic,
            path: CHAT,
            content: content(&sse),
            failure: sse(r#"{"type":"error","error":{"type":"overloaded_error","message":"slow down"}}"#),
            end: sse(CLAUDE[3]),
            noise: sse("{"),
        },
        invoke(CHAT),
        invoke(MESSAGES),
        Parts {
            schema: Schema::AwsBedrock,
            path: CHAT,
            content: encode_event("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#),
            failure: thrown(),
            end: [
                encode_event("messageStop", r#"{"stopReason":"end_turn"}"#),
                encode_event("metadata", "{}"),
            ]
            .concat(),
            noise: encode_event("contentBlockDelta", "{"),
        },
        Parts {
            schema: Schema::Gemini,
            path: CHAT,
            content: sse(r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]}"#),
            failure: sse(r#"{"error":{"code":429,"message":"slow down"}}"#),
            end: Vec::new(),
            noise: sse("{"),
        },
    ]
}

/// What the client is sent of a stream that comes in `pieces`.
fn sent<'a>(parts: &Parts, pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let body = br#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    let headers = HeaderMap::new();
    let call = Call {
        model: Some("m"),
        asked_model: Some("m"),
        request_id: "r1",
        ..Call::new(parts.path, &headers, body)
    };
    assert_eq!(call.api, Api::of_path(parts.path));
    let encoded = Provider::new(parts.schema, Place::default(), false).encode(&call);
    let mut translation = encoded.expect("the request is sound").translation.expect("it is translated");
    translation.begin(200, &headers);
    let mut out = Vec::new();
    for piece in pieces {
        translation.body(piece, false, &mut out).expect("the client has content");
    }
    translation.body(b"", true, &mut out).expect("the client has content");
    String::from_utf8(out).expect("UTF-8")
}

/// Found by fuzzing: what could not be read behind a failure took its place, if both came in one piece.
#[test]
fn what_comes_behind_a_failure_or_the_end_changes_nothing() {
    for parts in parts() {
        let name = format!("{:?} as {}", parts.schema, parts.path);
        let Parts { content, failure, end, noise, .. } = &parts;
        for first in [failure, end, noise].into_iter().filter(|part| !part.is_empty()) {
            let alone = [content.as_slice(), first].concat();
            let expected = sent(&parts, std::iter::once(alone.as_slice()));
            assert!(expected.contains("Hi"), "{name}: {expected}");
            assert_eq!(expected.contains("slow down"), first == failure, "{name}: {expected}");
            for second in [failure, end, noise, &b"HTTP/1.1 200 OK\r\n\r\n".to_vec()] {
                let stream = [alone.as_slice(), second].concat();
                let cuts = [
                    &[&stream[..]] as &[&[u8]],
                    &[&alone, second],
                    &[content, &[first.as_slice(), second].concat()],
                ]
                .map(|pieces| sent(&parts, pieces.iter().copied()));
                assert_eq!(cuts.iter().find(|sent| **sent != expected), None, "{name}: not {expected}");
                assert_eq!(sent(&parts, stream.chunks(1)), expected, "{name}");
            }
        }
    }
}
