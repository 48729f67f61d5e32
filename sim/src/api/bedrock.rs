//! `/model/{id}/converse` and `/converse-stream`, AWS Bedrock's API. It takes what Bedrock takes: signed requests with turns
//! that alternate and have no empty texts.

pub(super) mod vectors;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Dialect, Finish,
    error::ApiError,
    request::{Content, GenerateRequest, Text, parse},
};
use crate::eventstream;

/// The header that identifies an answer.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow, default)]
    system: Option<Content<'a>>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    inference_config: Option<InferenceConfig>,
    tool_config: Option<Value>,
    #[serde(rename = "additionalModelRequestFields")]
    _more: Option<Value>,
    #[serde(rename = "additionalModelResponseFieldPaths")]
    _paths: Option<Vec<String>>,
    #[serde(rename = "requestMetadata")]
    _metadata: Option<Value>,
    #[serde(rename = "serviceTier")]
    _tier: Option<Value>,
    #[serde(rename = "outputConfig")]
    _output: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Content<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InferenceConfig {
    max_tokens: Option<i64>,
    #[serde(rename = "temperature")]
    _temperature: Option<f64>,
    #[serde(rename = "topP")]
    _top_p: Option<f64>,
    #[serde(rename = "stopSequences")]
    _stop: Option<Vec<String>>,
}

/// Reads a request for `model`.
pub(super) fn conversation(
    model: String,
    streams: bool,
    body: &[u8],
) -> Result<GenerateRequest<'_>, ApiError> {
    let parsed: Request<'_> = parse(body)?;
    check_turns(&parsed.messages)?;
    let mut request = GenerateRequest {
        model: Some(model.into()),
        max_tokens: parsed.inference_config.unwrap_or_default().max_tokens,
        streams,
        ..GenerateRequest::default()
    };
    request.push_tools(parsed.tool_config.as_ref());
    if let Some(system) = &parsed.system {
        request.push_turn("system", system);
    }
    for message in &parsed.messages {
        request.push_turn(&message.role.0, &message.content);
    }
    request.push_opening(parsed.tool_config.as_ref());
    Ok(request)
}

/// Whether there is a signature, or a key in its place. Whose it is is known where the server has keys to check by.
pub(super) fn check_signature(headers: &HeaderMap) -> Result<(), ApiError> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_signed = |value: &str| {
        let parts = ["Credential=", "SignedHeaders=", "Signature="];
        value.starts_with("AWS4-HMAC-SHA256 ") && parts.iter().all(|part| value.contains(part))
    };
    match authorization {
        None => Err(ApiError::forbidden("Missing Authentication Token")),
        Some(value) if value.starts_with("Bearer ") => Ok(()),
        Some(value) if is_signed(value) && headers.contains_key("x-amz-date") => Ok(()),
        Some(_) => Err(ApiError::forbidden("The request signature we calculated does not match.")),
    }
}

fn check_turns(messages: &[Message<'_>]) -> Result<(), ApiError> {
    for (at, message) in messages.iter().enumerate() {
        let expected = if at % 2 == 0 { "user" } else { "assistant" };
        if message.role.0 != expected {
            return Err(ApiError::bad_request(
                "A conversation must alternate between user and assistant roles, and start with user.",
            ));
        }
        let is_empty = match &message.content {
            Content::Parts(parts) => parts.is_empty() || parts.iter().any(|part| part.trim().is_empty()),
            Content::None | Content::Text(_) => true,
        };
        if is_empty {
            let message = format!("The content field in the Message object at messages.{at} is empty.");
            return Err(ApiError::bad_request(message));
        }
    }
    Ok(())
}

pub(super) struct Converse;

impl Dialect for Converse {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let content = match &answer.call {
            Some(call) => json!({"toolUse": {
                "toolUseId": tool_use_id(answer), "name": call.name, "input": answer.arguments(),
            }}),
            None => json!({"text": answer.completion.text()}),
        };
        let answered = json!({
            "output": {"message": {"role": "assistant", "content": [content]}},
            "stopReason": stop_reason(answer),
            "usage": usage(answer),
            "metrics": {"latencyMs": 1},
        });
        answered.to_string().into_bytes()
    }

    fn open(&self, answer: &Answer) -> String {
        let opening = json!({"role": "assistant", "p": "abc"}).to_string();
        match &answer.call {
            None => opening,
            Some(call) => {
                let start = json!({"toolUse": {"toolUseId": tool_use_id(answer), "name": call.name}});
                format!("{opening}\n{}", json!({"contentBlockIndex": 0, "start": start}))
            }
        }
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        if answer.call.is_some() {
            let head = "{\"contentBlockIndex\":0,\"delta\":{\"toolUse\":{\"input\":";
            return (head.to_owned(), "}}}");
        }
        ("{\"contentBlockIndex\":0,\"delta\":{\"text\":".to_owned(), "}}")
    }

    fn close(&self, answer: &Answer) -> String {
        [
            json!({"contentBlockIndex": 0}),
            json!({"stopReason": stop_reason(answer)}),
            json!({"usage": usage(answer), "metrics": {"latencyMs": 1}}),
        ]
        .map(|event| event.to_string())
        .join("\n")
    }

    fn content_type(&self) -> &'static str {
        eventstream::CONTENT_TYPE
    }

    fn wire(&self, events: Bytes) -> Bytes {
        eventstream::frames(&events).concat().into()
    }
}

fn stop_reason(answer: &Answer) -> Value {
    json!(match answer.finish() {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Call => "tool_use",
    })
}

fn tool_use_id(answer: &Answer) -> String {
    format!("tooluse_{}", answer.id)
}

fn usage(answer: &Answer) -> Value {
    let (input, output) = (answer.prompt_tokens - answer.cached_tokens, answer.completion.tokens());
    json!({
        "inputTokens": input, "outputTokens": output, "totalTokens": answer.prompt_tokens + output,
        "cacheReadInputTokens": answer.cached_tokens, "cacheWriteInputTokens": 0,
    })
}
