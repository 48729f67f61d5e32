//! `…/models/{model}:generateContent` and `:streamGenerateContent`, Google's API.

pub(super) mod vectors;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Dialect,
    error::ApiError,
    request::{Content, GenerateRequest, Text, parse},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow)]
    system_instruction: Option<Turn<'a>>,
    #[serde(borrow)]
    contents: Vec<Turn<'a>>,
    generation_config: Option<GenerationConfig>,
    tools: Option<Value>,
    #[serde(rename = "toolConfig")]
    _tool_config: Option<Value>,
    #[serde(rename = "safetySettings")]
    _safety: Option<Value>,
    #[serde(rename = "cachedContent")]
    _cached: Option<Value>,
    #[serde(rename = "labels")]
    _labels: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow)]
    parts: Content<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    max_output_tokens: Option<i64>,
}

/// Reads a request for `model`.
pub(super) fn generate_request(
    model: String,
    streams: bool,
    body: &[u8],
) -> Result<GenerateRequest<'_>, ApiError> {
    let parsed: Request<'_> = parse(body)?;
    if parsed.contents.is_empty() {
        return Err(ApiError::bad_request("GenerateContentRequest.contents: contents is not specified"));
    }
    let mut request = GenerateRequest {
        model: Some(model.into()),
        max_tokens: parsed.generation_config.unwrap_or_default().max_output_tokens,
        streams,
        ..GenerateRequest::default()
    };
    request.push_tools(parsed.tools.as_ref());
    if let Some(system) = &parsed.system_instruction {
        request.push_turn("system", &system.parts);
    }
    for turn in &parsed.contents {
        match turn.role.as_ref().map_or("user", |role| &role.0) {
            role @ ("user" | "model") => request.push_turn(role, &turn.parts),
            _ => return Err(ApiError::bad_request("Please use a valid role: user, model.")),
        }
    }
    request.push_opening(parsed.tools.as_ref());
    Ok(request)
}

pub(super) struct Gemini;

impl Dialect for Gemini {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let mut response = last(answer);
        if answer.call.is_none() {
            response["candidates"][0]["content"]["parts"] = json!([{"text": answer.completion.text()}]);
        }
        response.to_string().into_bytes()
    }

    fn open(&self, _answer: &Answer) -> String {
        String::new()
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        let head = format!(
            "data: {{\"responseId\":\"{}\",\"modelVersion\":{},\"candidates\":[{{\"index\":0,\"content\":{{\"role\":\
             \"model\",\"parts\":[{{\"text\":",
            answer.id,
            json!(answer.model),
        );
        (head, "}]}}]}\r\n\r\n")
    }

    fn holds_calls(&self) -> bool {
        true
    }

    fn close(&self, answer: &Answer) -> String {
        format!("data: {}\r\n\r\n", last(answer))
    }
}

/// The response, or the stream's last event, without its text; with its call, if it has one.
fn last(answer: &Answer) -> Value {
    let output = answer.completion.tokens();
    let part = match &answer.call {
        Some(call) => json!({"functionCall": {"name": call.name, "args": answer.arguments()}}),
        None => json!({"text": ""}),
    };
    json!({
        "responseId": answer.id,
        "modelVersion": answer.model,
        "candidates": [{
            "index": 0,
            "content": {"role": "model", "parts": [part]},
            "finishReason": if answer.completion.stops { "STOP" } else { "MAX_TOKENS" },
        }],
        "usageMetadata": {
            "promptTokenCount": answer.prompt_tokens,
            "cachedContentTokenCount": answer.cached_tokens,
            "candidatesTokenCount": output,
            "totalTokenCount": answer.prompt_tokens + output,
        },
    })
}
