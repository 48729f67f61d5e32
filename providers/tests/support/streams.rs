//! Streams of each API of upstreams, each with the event that makes most of it: a token.

use http::HeaderMap;
use penstock_providers::{Api, Call, Place, Provider, Schema, Translation};

use self::frames::frame;

#[path = "frames.rs"]
mod frames;

/// The path of OpenAI's chat.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// The path of Anthropic's Messages.
pub(crate) const MESSAGES: &str = "/v1/messages";

/// A stream of an upstream, and the client's API that it is translated to.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) schema: Schema,
    pub(crate) path: &'static str,
    /// What comes before the first token.
    pub(crate) begin: Vec<u8>,
    /// A token.
    pub(crate) event: Vec<u8>,
}

/// What an event says.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// A token of the answer.
    Text,
    /// A token of a thought.
    Thought,
    /// A part of what a tool is called with.
    Arguments,
}

impl Stream {
    /// One for each pair of APIs that differ, and each thing that is said in pieces.
    pub(crate) fn all() -> Vec<Self> {
        [Says::Text, Says::Thought, Says::Arguments].into_iter().flat_map(Self::of).collect()
    }

    /// One for each pair of APIs that differ, and that can say this in pieces.
    fn of(says: Says) -> Vec<Self> {
        use Schema::{Anthropic, AwsAnthropic, AwsBedrock, Gemini, OpenAi};
        let pairs = [
            ("Anthropic to chat", Anthropic, CHAT),
            ("Bedrock to chat", AwsBedrock, CHAT),
            ("InvokeModel to chat", AwsAnthropic, CHAT),
            ("Gemini to chat", Gemini, CHAT),
            ("chat to messages", OpenAi, MESSAGES),
            ("Bedrock to messages", AwsBedrock, MESSAGES),
            ("InvokeModel to messages", AwsAnthropic, MESSAGES),
            ("Gemini to messages", Gemini, MESSAGES),
        ];
        let streams = pairs.into_iter().filter_map(|(name, schema, path)| {
            let (begin, event) = stream(schema, says)?;
            let name = format!("{name}, {says:?}");
            Some(Self { name, schema, path, begin, event })
        });
        streams.collect()
    }

    /// What translates the stream, as it is before its first token.
    pub(crate) fn begun(&self) -> Translation {
        let body =
            br#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
        let call = Call {
            api: Api::of_path(self.path),
            path: self.path,
            query: None,
            model: Some("m"),
            asked_model: Some("m"),
            headers: &HeaderMap::new(),
            body,
            now: 1_760_000_000,
            request_id: "7f1c9a521f8e4a55",
        };
        let encoded = Provider::new(self.schema, Place::default(), false).encode(&call);
        let mut translation = encoded.expect("the request is sound").translation.expect("it is translated");
        translation.begin(200, &HeaderMap::new());
        translation.body(&self.begin, false, &mut Vec::new()).expect("the stream is sound");
        translation
    }
}

/// The beginning of a stream of this API, and an event that says this; `None` where the API says it at once.
fn stream(schema: Schema, says: Says) -> Option<(Vec<u8>, Vec<u8>)> {
    const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":10,"output_tokens":1}}}"#;
    let sse = |data: &str| format!("data: {data}\n\n").into_bytes();
    let (block, delta) = claude(says);
    Some(match schema {
        Schema::AwsBedrock => {
            let start = frame("messageStart", r#"{"role":"assistant","p":"abcdefgh"}"#);
            let call =
                r#"{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t1","name":"f"}},"p":"abcd"}"#;
            let (begin, delta) = match says {
                Says::Text => (start, r#"{"text":" the"}"#),
                Says::Thought => (start, r#"{"reasoningContent":{"text":" the"}}"#),
                Says::Arguments => {
                    ([start, frame("contentBlockStart", call)].concat(), r#"{"toolUse":{"input":" the"}}"#)
                }
            };
            let token = format!(r#"{{"contentBlockIndex":0,"delta":{delta},"p":"abcdefghijklmnopqrstu"}}"#);
            (begin, frame("contentBlockDelta", &token))
        }
        Schema::AwsAnthropic => ([chunk(START), chunk(block)].concat(), chunk(&delta)),
        Schema::Gemini => {
            let part = match says {
                Says::Text => r#"{"text":" the"}"#,
                Says::Thought => r#"{"text":" the","thought":true}"#,
                Says::Arguments => return None,
            };
            let token = format!(
                r#"{{"candidates":[{{"content":{{"parts":[{part}],"role":"model"}},"index":0}}],"usageMetadata":{{"promptTokenCount":30,"candidatesTokenCount":4,"totalTokenCount":34}},"modelVersion":"m","responseId":"abc"}}"#
            );
            (sse(&token), sse(&token))
        }
        Schema::OpenAi => {
            let token = |delta: &str| {
                sse(&format!(
                    r#"{{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1760000000,"model":"m","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]}}"#
                ))
            };
            let (begin, delta) = match says {
                Says::Text => (r#"{"content":" the"}"#, r#"{"content":" the"}"#),
                Says::Thought => (r#"{"reasoning_content":" the"}"#, r#"{"reasoning_content":" the"}"#),
                Says::Arguments => (
                    r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}"#,
                    r#"{"tool_calls":[{"index":0,"function":{"arguments":" the"}}]}"#,
                ),
            };
            (token(begin), token(delta))
        }
        _ => ([sse(START), sse(block)].concat(), [b"event: content_block_delta\n", &*sse(&delta)].concat()),
    })
}

/// The beginning of Claude's block that says this, and a piece of it.
fn claude(says: Says) -> (&'static str, String) {
    let (block, delta) = match says {
        Says::Text => (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"text_delta","text":" the"}"#,
        ),
        Says::Thought => (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type":"thinking_delta","thinking":" the"}"#,
        ),
        Says::Arguments => (
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#,
            r#"{"type":"input_json_delta","partial_json":" the"}"#,
        ),
    };
    (block, format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#))
}

/// An event of the model, as InvokeModel wraps it.
fn chunk(event: &str) -> Vec<u8> {
    use base64::Engine as _;
    let wrapped = base64::prelude::BASE64_STANDARD.encode(event);
    frame("chunk", &format!(r#"{{"bytes":"{wrapped}","p":"abcdefg"}}"#))
}
