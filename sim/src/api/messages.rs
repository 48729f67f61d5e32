//! `/v1/messages`, Anthropic's API as vLLM serves it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Dialect,
    ask::{Ask, Content, Text, parse},
    chat::Message,
    error::ApiError,
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

pub(super) fn ask(body: &[u8]) -> Result<Ask<'_>, ApiError> {
    let request: Request<'_> = parse(body)?;
    let mut ask = Ask {
        model: request.model.map(|model| model.0),
        max_tokens: Some(request.max_tokens),
        streams: request.stream.unwrap_or(false),
        ..Ask::default()
    };
    ask.push_tools(request.tools.as_ref());
    if !matches!(request.system, Content::None) {
        ask.push_turn("system", &request.system);
    }
    for message in &request.messages {
        ask.push_turn(&message.role.0, &message.content);
    }
    ask.push_opening();
    Ok(ask)
}

pub(super) struct Messages;

impl Dialect for Messages {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let content = json!([{"type": "text", "text": answer.script.text()}]);
        message(answer, &content, &stop_reason(answer), answer.script.tokens()).to_string().into_bytes()
    }

    fn open(&self, answer: &Answer) -> String {
        [
            event("message_start", json!({"message": message(answer, &json!([]), &Value::Null, 0)})),
            event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
        ]
        .concat()
    }

    fn frame(&self, _answer: &Answer) -> (String, &'static str) {
        let head = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                    \"delta\":{\"type\":\"text_delta\",\"text\":";
        (head.to_owned(), "}}\n\n")
    }

    fn close(&self, answer: &Answer) -> String {
        let delta = json!({"stop_reason": stop_reason(answer), "stop_sequence": null});
        [
            event("content_block_stop", json!({"index": 0})),
            event("message_delta", json!({"delta": delta, "usage": usage(answer, answer.script.tokens())})),
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
    json!(if answer.script.stops { "end_turn" } else { "max_tokens" })
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
