//! `/v1/responses`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, Dialect,
    error::ApiError,
    request::{Content, GenerateRequest, Text, parse},
};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    input: Input<'a>,
    #[serde(borrow)]
    instructions: Option<Text<'a>>,
    tools: Option<Value>,
    max_output_tokens: Option<i64>,
    stream: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input<'a> {
    Text(#[serde(borrow)] Text<'a>),
    Items(#[serde(borrow)] Vec<Item<'a>>),
}

/// A message, a call of a tool or its result; others say nothing here.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    role: Option<Text<'a>>,
    #[serde(borrow, default)]
    content: Content<'a>,
    #[serde(borrow, default)]
    arguments: Content<'a>,
    #[serde(borrow, default)]
    output: Content<'a>,
}

impl<'a> Item<'a> {
    fn turn(&self) -> (&str, &Content<'a>) {
        match (&self.role, &self.output) {
            (Some(role), _) => (&role.0, &self.content),
            (None, Content::None) => ("assistant", &self.arguments),
            (None, output) => ("tool", output),
        }
    }
}

pub(super) fn generate_request(body: &[u8]) -> Result<GenerateRequest<'_>, ApiError> {
    let parsed: Request<'_> = parse(body)?;
    let mut request = GenerateRequest {
        model: parsed.model.map(|model| model.0),
        max_tokens: parsed.max_output_tokens,
        streams: parsed.stream.unwrap_or(false),
        ..GenerateRequest::default()
    };
    request.push_tools(parsed.tools.as_ref());
    if let Some(instructions) = parsed.instructions {
        request.push_turn("system", &Content::Text(instructions.0));
    }
    match parsed.input {
        Input::Text(text) => request.push_turn("user", &Content::Text(text.0)),
        Input::Items(items) => {
            for (role, content) in items.iter().map(Item::turn) {
                request.push_turn(role, content);
            }
        }
    }
    request.push_opening(parsed.tools.as_ref());
    Ok(request)
}

pub(super) struct Responses;

impl Dialect for Responses {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        finished(answer).to_string().into_bytes()
    }

    fn open(&self, answer: &Answer) -> String {
        let created = response(answer, "in_progress", &[], &Value::Null);
        if let Some(call) = &answer.call {
            let item = call_item(answer, &call.name, "in_progress", "");
            return [
                event("response.created", json!({"response": created})),
                event("response.in_progress", json!({"response": created})),
                event("response.output_item.added", json!({"output_index": 0, "item": item})),
            ]
            .concat();
        }
        let empty = part("");
        [
            event("response.created", json!({"response": created})),
            event("response.in_progress", json!({"response": created})),
            event(
                "response.output_item.added",
                json!({"output_index": 0, "item": item(answer, "in_progress", &[])}),
            ),
            event(
                "response.content_part.added",
                json!({"item_id": item_id(answer), "output_index": 0, "content_index": 0, "part": empty}),
            ),
        ]
        .concat()
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        let id = item_id(answer);
        if answer.call.is_some() {
            let head = format!(
                "event: response.function_call_arguments.delta\ndata: {{\"type\":\
                 \"response.function_call_arguments.delta\",\"item_id\":\"{id}\",\"output_index\":0,\"delta\":"
            );
            return (head, "}\n\n");
        }
        let head = format!(
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"item_id\":\"{id}\",\
             \"output_index\":0,\"content_index\":0,\"delta\":"
        );
        (head, "}\n\n")
    }

    fn close(&self, answer: &Answer) -> String {
        let id = item_id(answer);
        let text = answer.completion.text();
        if let Some(call) = &answer.call {
            let item = call_item(answer, &call.name, "completed", &text);
            return [
                event(
                    "response.function_call_arguments.done",
                    json!({"item_id": id, "output_index": 0, "name": call.name, "arguments": text}),
                ),
                event("response.output_item.done", json!({"output_index": 0, "item": item})),
                event("response.completed", json!({"response": finished(answer)})),
            ]
            .concat();
        }
        let place = |name: &str, value: Value| json!({"item_id": id, "output_index": 0, "content_index": 0, name: value});
        [
            event("response.output_text.done", place("text", json!(text))),
            event("response.content_part.done", place("part", part(&text))),
            event(
                "response.output_item.done",
                json!({"output_index": 0, "item": item(answer, "completed", &[part(&text)])}),
            ),
            event("response.completed", json!({"response": finished(answer)})),
        ]
        .concat()
    }
}

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = json!(kind);
    format!("event: {kind}\ndata: {data}\n\n")
}

fn item_id(answer: &Answer) -> String {
    let kind = if answer.call.is_some() { "fc" } else { "msg" };
    format!("{kind}_{}", answer.id)
}

fn call_item(answer: &Answer, name: &str, status: &str, arguments: &str) -> Value {
    json!({
        "type": "function_call", "id": item_id(answer), "call_id": format!("call_{}", answer.id), "name": name,
        "arguments": arguments, "status": status,
    })
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": null})
}

fn item(answer: &Answer, status: &str, content: &[Value]) -> Value {
    json!({
        "type": "message", "id": item_id(answer), "role": "assistant", "status": status, "content": content,
    })
}

fn finished(answer: &Answer) -> Value {
    let (input, output) = (answer.prompt_tokens, answer.completion.tokens());
    let usage = json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input + output,
    });
    let status = if answer.completion.stops { "completed" } else { "incomplete" };
    let text = answer.completion.text();
    let item = match &answer.call {
        Some(call) => call_item(answer, &call.name, status, &text),
        None => item(answer, status, &[part(&text)]),
    };
    response(answer, status, &[item], &usage)
}

fn response(answer: &Answer, status: &str, output: &[Value], usage: &Value) -> Value {
    let details = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
    json!({
        "id": format!("resp_{}", answer.id),
        "object": "response",
        "created_at": answer.created,
        "model": answer.model,
        "status": status,
        "incomplete_details": details,
        "output": output,
        "text": {"format": {"type": "text"}},
        "usage": usage,
    })
}
