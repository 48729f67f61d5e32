//! `/v1/messages`, Anthropic's API as vLLM serves it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Dialect, Finish,
    chat::Message,
    error::ApiError,
    request::{Content, GenerateRequest, Text, parse},
};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow, default)]
    system: Content<'a>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    tools: Option<Value>,
    max_tokens: i64,
    stream: Option<bool>,
}

pub(super) fn generate_request(body: &[u8]) -> Result<GenerateRequest<'_>, ApiError> {
    let parsed: Request<'_> = parse(body)?;
    let mut request = GenerateRequest {
        model: parsed.model.map(|model| model.0),
        max_tokens: Some(parsed.max_tokens),
        streams: parsed.stream.unwrap_or(false),
        ..GenerateRequest::default()
    };
    request.push_tools(parsed.tools.as_ref());
    if !matches!(parsed.system, Content::None) {
        request.push_turn("system", &parsed.system);
    }
    for message in &parsed.messages {
        request.push_turn(&message.role.0, &message.content);
    }
    request.push_opening(parsed.tools.as_ref());
    Ok(request)
}

pub(super) struct Messages;

impl Dialect for Messages {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let content = match &answer.call {
            Some(call) => json!([tool_use(answer, &call.name, &answer.arguments())]),
            None => json!([{"type": "text", "text": answer.completion.text()}]),
        };
        message(answer, &content, &stop_reason(answer), answer.completion.tokens()).to_string().into_bytes()
    }

    fn open(&self, answer: &Answer) -> String {
        let block = match &answer.call {
            Some(call) => tool_use(answer, &call.name, &json!({})),
            None => json!({"type": "text", "text": ""}),
        };
        [
            event("message_start", json!({"message": message(answer, &json!([]), &Value::Null, 0)})),
            event("content_block_start", json!({"index": 0, "content_block": block})),
        ]
        .concat()
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        if answer.call.is_some() {
            let head = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                        \"delta\":{\"type\":\"input_json_delta\",\"partial_json\":";
            return (head.to_owned(), "}}\n\n");
        }
        let head = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                    \"delta\":{\"type\":\"text_delta\",\"text\":";
        (head.to_owned(), "}}\n\n")
    }

    fn close(&self, answer: &Answer) -> String {
        let delta = json!({"stop_reason": stop_reason(answer), "stop_sequence": null});
        [
            event("content_block_stop", json!({"index": 0})),
            event(
                "message_delta",
                json!({"delta": delta, "usage": usage(answer, answer.completion.tokens())}),
            ),
            event("message_stop", json!({})),
        ]
        .concat()
    }
}

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = json!(kind);
    format!("event: {kind}\ndata: {data}\n\n")
}

fn stop_reason(answer: &Answer) -> Value {
    json!(match answer.finish() {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Call => "tool_use",
    })
}

fn tool_use(answer: &Answer, name: &str, input: &Value) -> Value {
    json!({"type": "tool_use", "id": format!("toolu_{}", answer.id), "name": name, "input": input})
}

fn usage(answer: &Answer, output: usize) -> Value {
    json!({
        // Anthropic counts cached tokens apart from the others.
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "output_tokens": output,
    })
}

fn message(answer: &Answer, content: &Value, stop_reason: &Value, output: usize) -> Value {
    json!({
        "id": format!("msg_{}", answer.id),
        "type": "message",
        "role": "assistant",
        "content": content,
        "model": answer.model,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": usage(answer, output),
    })
}
