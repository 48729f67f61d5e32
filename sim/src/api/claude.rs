//! Claude by Bedrock's InvokeModel and by Vertex's rawPredict: Anthropic's Messages without the model, with a version, and
//! without the members that the platforms do not know.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Answer, Dialect,
    error::ApiError,
    messages::{self, Messages},
    request::{GenerateRequest, parse},
};
use crate::eventstream;

/// Where Claude is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Platform {
    Bedrock,
    Vertex,
}

/// Members that both take.
const MEMBERS: [&str; 16] = [
    "anthropic_beta",
    "anthropic_version",
    "cache_control",
    "context_management",
    "max_tokens",
    "messages",
    "metadata",
    "output_config",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_p",
];

impl Platform {
    fn version(self) -> &'static str {
        match self {
            Self::Bedrock => "bedrock-2023-05-31",
            Self::Vertex => "vertex-2023-10-16",
        }
    }

    fn takes(self, member: &str) -> bool {
        match (self, member) {
            (_, "top_k") => true,
            (Self::Bedrock, "stream" | "metadata") => false,
            // Vertex has betas in the header.
            (Self::Vertex, "anthropic_beta") => false,
            _ => MEMBERS.contains(&member),
        }
    }
}

/// Reads a request for `model`.
pub(super) fn generate_request(
    platform: Platform,
    model: String,
    streams: bool,
    body: &[u8],
) -> Result<GenerateRequest<'_>, ApiError> {
    check(platform, body)?;
    let mut request = messages::generate_request(body)?;
    request.model = Some(model.into());
    request.streams |= streams;
    Ok(request)
}

/// Refuses what the platform does.
pub(super) fn check(platform: Platform, body: &[u8]) -> Result<(), ApiError> {
    let members: Map<String, Value> = parse(body)?;
    if let Some(member) = members.keys().find(|member| !platform.takes(member)) {
        return Err(ApiError::bad_request(format!("{member}: Extra inputs are not permitted")));
    }
    match members.get("anthropic_version").and_then(Value::as_str) {
        Some(version) if version == platform.version() => {}
        Some(_) => return Err(ApiError::bad_request("anthropic_version: Invalid API version")),
        None => return Err(ApiError::bad_request("anthropic_version: Field required")),
    }
    if members.values().any(has_scope) {
        return Err(ApiError::bad_request("cache_control.ephemeral.scope: Extra inputs are not permitted"));
    }
    Ok(())
}

/// Whether a mark for the cache has a scope, which only Anthropic itself knows.
fn has_scope(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_scope),
        Value::Object(members) => {
            let mark = members.get("cache_control").and_then(Value::as_object);
            mark.is_some_and(|mark| mark.contains_key("scope"))
                || members.get("content").is_some_and(has_scope)
        }
        _ => false,
    }
}

/// Anthropic's answers in the frames of Bedrock's stream.
pub(super) struct Invoked;

impl Dialect for Invoked {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        Messages.whole(answer)
    }

    fn open(&self, answer: &Answer) -> String {
        Messages.open(answer)
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        Messages.frame(answer)
    }

    fn close(&self, answer: &Answer) -> String {
        let metrics = json!({
            "type": "message_stop",
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": answer.prompt_tokens, "outputTokenCount": answer.completion.tokens(),
                "invocationLatency": 1, "firstByteLatency": 1,
            },
        });
        Messages.close(answer).replace("{\"type\":\"message_stop\"}", &metrics.to_string())
    }

    fn content_type(&self) -> &'static str {
        eventstream::CONTENT_TYPE
    }

    fn wire(&self, events: Bytes) -> Bytes {
        let data = events.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data: "));
        let frames: Vec<Bytes> = data
            .map(|data| {
                let payload = json!({"bytes": BASE64_STANDARD.encode(data), "p": "abcdefgh"});
                eventstream::event("chunk", payload.to_string().as_bytes())
            })
            .collect();
        frames.concat().into()
    }
}
