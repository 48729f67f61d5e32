//! Requests.

use penstock_providers::Schema;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::{CHAT, MESSAGES, PATHS, SCHEMAS, encode, is_same};

/// What is said in a conversation.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    User(String),
    Model(String),
    /// Calls of a tool, each with its id and what it is called with, and what they returned.
    Calls(Vec<(String, String, String)>),
}

/// A conversation that each API has a form for.
#[derive(Clone, Debug)]
struct Conversation {
    system: Option<String>,
    said: Vec<Said>,
    max_tokens: u32,
    temperature: Option<f64>,
    stop: Vec<String>,
}

fn text() -> impl Strategy<Value = String> {
    // Not blank at its ends, which Anthropic's API does not take everywhere.
    "[a-zäß\"\\\\/<]([ -~\n\té😀]{0,12}[a-z.}\"\\\\])?"
}

prop_compose! {
    fn conversations()(
        system in prop::option::of(text()),
        turns in prop::collection::vec(
            (text(), prop::option::of(text()), prop::collection::vec((text(), text()), 0..3)),
            0..4
        ),
        last in text(),
        max_tokens in 1_u32..4000,
        temperature in prop::option::of(0_u32..=100),
        stop in prop::collection::vec(text(), 0..3),
    ) -> Conversation {
        let mut said = Vec::new();
        let mut count = 0;
        for (asked, answered, calls) in turns {
            said.push(Said::User(asked));
            // A turn of the model's says something.
            if answered.is_some() || calls.is_empty() {
                said.push(Said::Model(answered.unwrap_or_else(|| "Yes.".to_owned())));
            }
            if !calls.is_empty() {
                said.push(Said::Calls(calls.into_iter().map(|(argument, returned)| {
                    count += 1;
                    (format!("call_{count}"), argument, returned)
                }).collect()));
            }
        }
        said.push(Said::User(last));
        Conversation { system, said, max_tokens, temperature: temperature.map(|t| f64::from(t) / 100.0), stop }
    }
}

proptest! {
    #[test]
    fn what_is_asked_reaches_every_upstream(asked in conversations()) {
        for path in PATHS {
            let body = written(&asked, path).to_string();
            for schema in SCHEMAS.into_iter().filter(|schema| !is_same(path, *schema)) {
                let (encoded, sent) = encode(path, schema, &body);
                prop_assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
                let sent = parsed(&sent);
                let (said, settings) = read(&sent, schema);
                prop_assert_eq!(said, lines(&asked, schema), "{} to {:?}: {}", path, schema, sent);
                // Responses have no stop sequences.
                let stop = if path == "/v1/responses" { json!([]) } else { json!(asked.stop) };
                prop_assert_eq!(settings, json!([asked.max_tokens, asked.temperature, stop]), "{}", sent);
            }
        }
    }

    /// Put as Messages, a chat stays the same from then on, and is itself again on the way back.
    #[test]
    fn a_chat_is_the_same_after_a_way_through_messages(asked in conversations(), is_stream: bool) {
        let mut chat = written(&asked, CHAT);
        chat["stream"] = json!(is_stream);
        let (_, messages) = encode(CHAT, Schema::Anthropic, &chat.to_string());
        let (encoded, back) = encode(MESSAGES, Schema::OpenAi, std::str::from_utf8(&messages).unwrap());
        prop_assert!(encoded.dropped.is_empty(), "{:?}", encoded.dropped);
        let back = parsed(&back);
        prop_assert_eq!(read(&back, Schema::OpenAi), read(&chat, Schema::OpenAi), "{}", back);
        for member in ["model", "tools"] {
            prop_assert_eq!(&back[member], &chat[member], "{}", member);
        }
        prop_assert_eq!(back["stream"].as_bool().unwrap_or(false), is_stream);
        let (_, again) = encode(CHAT, Schema::Anthropic, &back.to_string());
        prop_assert_eq!(parsed(&again), parsed(&messages));
    }
}

fn parsed(body: &[u8]) -> Json {
    serde_json::from_slice(body).unwrap()
}

/// The conversation as a client asks it.
fn written(asked: &Conversation, path: &str) -> Json {
    let mut body = json!({"model": "claude-3-5-sonnet"});
    let parameters = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    match path {
        "/v1/chat/completions" => {
            let mut messages: Vec<Json> =
                asked.system.iter().map(|text| json!({"role": "system", "content": text})).collect();
            messages.extend(asked.said.iter().flat_map(chat_messages));
            body["messages"] = json!(messages);
            body["max_tokens"] = json!(asked.max_tokens);
            body["tools"] =
                json!([{"type": "function", "function": {"name": "f", "parameters": parameters}}]);
        }
        "/v1/messages" => {
            if let Some(system) = &asked.system {
                body["system"] = json!(system);
            }
            body["messages"] = asked.said.iter().flat_map(claude_messages).collect();
            body["max_tokens"] = json!(asked.max_tokens);
            body["tools"] = json!([{"name": "f", "input_schema": parameters}]);
        }
        _ => {
            if let Some(system) = &asked.system {
                body["instructions"] = json!(system);
            }
            body["input"] = asked.said.iter().flat_map(response_items).collect();
            body["max_output_tokens"] = json!(asked.max_tokens);
            body["tools"] =
                json!([{"type": "function", "name": "f", "parameters": parameters, "strict": false}]);
        }
    }
    if let Some(temperature) = asked.temperature {
        body["temperature"] = json!(temperature);
    }
    if !asked.stop.is_empty() && path != "/v1/responses" {
        let name = if path == "/v1/messages" { "stop_sequences" } else { "stop" };
        body[name] = json!(asked.stop);
    }
    body
}

fn chat_messages(said: &Said) -> Vec<Json> {
    match said {
        Said::User(text) => vec![json!({"role": "user", "content": text})],
        Said::Model(text) => vec![json!({"role": "assistant", "content": text})],
        Said::Calls(calls) => {
            let called = calls.iter().map(|(id, argument, _)| {
                json!({"id": id, "type": "function",
                    "function": {"name": "f", "arguments": json!({"a": argument}).to_string()}})
            });
            let mut messages =
                vec![json!({"role": "assistant", "content": null, "tool_calls": called.collect::<Vec<_>>()})];
            messages.extend(
                calls
                    .iter()
                    .map(|(id, _, result)| json!({"role": "tool", "tool_call_id": id, "content": result})),
            );
            messages
        }
    }
}

fn claude_messages(said: &Said) -> Vec<Json> {
    match said {
        Said::User(text) => vec![json!({"role": "user", "content": text})],
        Said::Model(text) => vec![json!({"role": "assistant", "content": [{"type": "text", "text": text}]})],
        Said::Calls(calls) => {
            let uses = calls.iter().map(|(id, argument, _)| {
                json!({"type": "tool_use", "id": id, "name": "f", "input": {"a": argument}})
            });
            let results = calls
                .iter()
                .map(|(id, _, result)| json!({"type": "tool_result", "tool_use_id": id, "content": result}));
            vec![
                json!({"role": "assistant", "content": uses.collect::<Vec<_>>()}),
                json!({"role": "user", "content": results.collect::<Vec<_>>()}),
            ]
        }
    }
}

fn response_items(said: &Said) -> Vec<Json> {
    match said {
        Said::User(text) => vec![json!({"role": "user", "content": text})],
        Said::Model(text) => {
            vec![json!({"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]})]
        }
        Said::Calls(calls) => {
            let called = calls.iter().map(|(id, argument, _)| {
                json!({"type": "function_call", "call_id": id, "name": "f",
                    "arguments": json!({"a": argument}).to_string()})
            });
            let returned = calls.iter().map(
                |(id, _, result)| json!({"type": "function_call_output", "call_id": id, "output": result}),
            );
            called.chain(returned).collect()
        }
    }
}

/// One line for each thing that is said: by whom, which call, and the text.
type Line = (&'static str, String, String);

/// What an upstream is to be asked.
fn lines(asked: &Conversation, schema: Schema) -> Vec<Line> {
    // Gemini on Vertex has no ids of calls; their order says which result is whose.
    let id = |id: &str| if schema == Schema::Gemini { String::new() } else { id.to_owned() };
    let mut lines: Vec<Line> =
        asked.system.iter().map(|text| ("system", String::new(), text.clone())).collect();
    for said in &asked.said {
        match said {
            Said::User(text) => lines.push(("user", String::new(), text.clone())),
            Said::Model(text) => lines.push(("model", String::new(), text.clone())),
            Said::Calls(calls) => {
                lines.extend(calls.iter().map(|(call, argument, _)| ("call", id(call), argument.clone())));
                lines.extend(calls.iter().map(|(call, _, result)| ("result", id(call), result.clone())));
            }
        }
    }
    lines
}

/// What an upstream's request says, and its limit, temperature and stop sequences.
fn read(sent: &Json, schema: Schema) -> (Vec<Line>, Json) {
    let list = |value: &Json| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Json| value.as_str().unwrap_or_else(|| panic!("{value} in {sent}")).to_owned();
    let mut lines = Vec::new();
    match schema {
        Schema::OpenAi => {
            for message in list(&sent["messages"]) {
                let role = message["role"].as_str().unwrap();
                if role == "tool" {
                    lines.push(("result", text(&message["tool_call_id"]), texts(&message["content"])));
                    continue;
                }
                let who = match role {
                    "assistant" => "model",
                    "system" | "developer" => "system",
                    _ => "user",
                };
                let said = texts(&message["content"]);
                if !said.is_empty() {
                    lines.push((who, String::new(), said));
                }
                for call in list(&message["tool_calls"]) {
                    assert_eq!(call["function"]["name"], "f");
                    let arguments: Json =
                        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                    lines.push(("call", text(&call["id"]), text(&arguments["a"])));
                }
            }
            let limit = sent.get("max_completion_tokens").unwrap_or(&sent["max_tokens"]);
            (lines, json!([limit, sent["temperature"], list(&sent["stop"])]))
        }
        Schema::Anthropic => {
            lines.extend(sent.get("system").map(|system| ("system", String::new(), texts(system))));
            for message in list(&sent["messages"]) {
                let who = if message["role"] == "user" { "user" } else { "model" };
                let blocks = match &message["content"] {
                    Json::String(_) => vec![json!({"type": "text", "text": message["content"]})],
                    content => list(content),
                };
                lines.extend(blocks.iter().map(|block| match block["type"].as_str().unwrap() {
                    "text" => (who, String::new(), text(&block["text"])),
                    "tool_use" => ("call", text(&block["id"]), text(&block["input"]["a"])),
                    "tool_result" => ("result", text(&block["tool_use_id"]), texts(&block["content"])),
                    other => panic!("{other}"),
                }));
            }
            (lines, json!([sent["max_tokens"], sent["temperature"], list(&sent["stop_sequences"])]))
        }
        Schema::AwsBedrock => {
            lines.extend(sent.get("system").map(|system| ("system", String::new(), texts(system))));
            for message in list(&sent["messages"]) {
                let who = if message["role"] == "user" { "user" } else { "model" };
                lines.extend(list(&message["content"]).iter().map(|block| {
                    if let Some(call) = block.get("toolUse") {
                        ("call", text(&call["toolUseId"]), text(&call["input"]["a"]))
                    } else if let Some(result) = block.get("toolResult") {
                        ("result", text(&result["toolUseId"]), texts(&result["content"]))
                    } else {
                        (who, String::new(), text(&block["text"]))
                    }
                }));
            }
            let settings = &sent["inferenceConfig"];
            (lines, json!([settings["maxTokens"], settings["temperature"], list(&settings["stopSequences"])]))
        }
        _ => {
            lines.extend(
                sent.get("systemInstruction")
                    .map(|system| ("system", String::new(), texts(&system["parts"]))),
            );
            for content in list(&sent["contents"]) {
                let who = if content["role"] == "user" { "user" } else { "model" };
                lines.extend(list(&content["parts"]).iter().map(|part| {
                    if let Some(call) = part.get("functionCall") {
                        ("call", String::new(), text(&call["args"]["a"]))
                    } else if let Some(result) = part.get("functionResponse") {
                        assert_eq!(result["name"], "f");
                        ("result", String::new(), text(&result["response"]["output"]))
                    } else {
                        (who, String::new(), text(&part["text"]))
                    }
                }));
            }
            let settings = &sent["generationConfig"];
            (
                lines,
                json!([
                    settings["maxOutputTokens"],
                    settings["temperature"],
                    list(&settings["stopSequences"])
                ]),
            )
        }
    }
}

/// A text, or the texts of parts.
fn texts(content: &Json) -> String {
    match content {
        Json::Array(parts) => parts.iter().map(|part| part["text"].as_str().unwrap_or_default()).collect(),
        content => content.as_str().unwrap_or_default().to_owned(),
    }
}
