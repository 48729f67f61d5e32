//! Answers, whole and as streams.

use http::HeaderMap;
use penstock_providers::Schema;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::frames::frame;
use crate::{PATHS, SCHEMAS, encode, is_same};

/// What a model answers: a text or none, calls of a tool, and what it took.
#[derive(Clone, Debug)]
struct Answer {
    text: Option<String>,
    /// What each call is called with.
    calls: Vec<String>,
    /// Whether it ended since it had taken all the tokens that it may.
    is_cut: bool,
    input: u32,
    output: u32,
}

/// What a client reads of an answer: its text, its calls, why it ended, and the tokens.
type Read = (String, Vec<Json>, &'static str, [u64; 2]);

prop_compose! {
    fn answers()(
        text in prop::option::of("[a-zäß\"\\\\/<][ -~\n\té😀]{0,12}[a-z.}\"\\\\]"),
        calls in prop::collection::vec("[ -~\né😀\"\\\\]{0,8}", 0..3),
        is_cut: bool,
        input in 1_u32..5000,
        output in 1_u32..5000,
    ) -> Answer {
        let is_cut = is_cut && calls.is_empty();
        let text = if calls.is_empty() { text.or_else(|| Some("Yes.".to_owned())) } else { text };
        Answer { text, calls, is_cut, input, output }
    }
}

proptest! {
    #[test]
    fn what_is_answered_reaches_every_client(answer in answers(), cut in 1_usize..40) {
        for path in PATHS {
            for schema in SCHEMAS.into_iter().filter(|schema| !is_same(path, *schema)) {
                for is_stream in [false, true] {
                    let came = came(&answer, schema, is_stream);
                    let shown = shown(path, schema, is_stream, &came, cut);
                    let read = if is_stream { read_stream(path, &shown) } else { read_whole(path, &shown) };
                    let whole = String::from_utf8_lossy(&shown);
                    prop_assert_eq!(read, wanted(&answer), "{} of {:?}, {}: {}", path, schema, is_stream, whole);
                }
            }
        }
    }
}

impl Answer {
    /// Why it ended, in the words of an API: cut, at its end, or with calls.
    fn end(&self, [cut, end, calls]: [&'static str; 3]) -> &'static str {
        match self {
            Self { is_cut: true, .. } => cut,
            Self { calls: none, .. } if none.is_empty() => end,
            _ => calls,
        }
    }
}

fn wanted(answer: &Answer) -> Read {
    let calls = answer.calls.iter().map(|argument| json!({"a": argument})).collect();
    let end = answer.end(["cut", "end", "calls"]);
    (answer.text.clone().unwrap_or_default(), calls, end, [answer.input.into(), answer.output.into()])
}

/// What the client is shown of a body that comes in pieces of so many bytes.
fn shown(path: &str, schema: Schema, is_stream: bool, came: &[u8], cut: usize) -> Vec<u8> {
    let question = json!({"role": "user", "content": "Hi"});
    let mut body = json!({"model": "m", "stream": is_stream});
    match path {
        "/v1/responses" => body["input"] = json!([question]),
        _ => body["messages"] = json!([question]),
    }
    if path == "/v1/messages" {
        body["max_tokens"] = json!(9);
    }
    if path == "/v1/chat/completions" && is_stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    let (encoded, _) = encode(path, schema, &body.to_string());
    let mut translation = encoded.translation.unwrap();
    translation.begin(200, &HeaderMap::new());
    let mut out = Vec::new();
    for piece in came.chunks(cut) {
        translation.body(piece, false, &mut out).unwrap();
    }
    translation.body(b"", true, &mut out).unwrap();
    out
}

/// An upstream's answer.
fn came(answer: &Answer, schema: Schema, is_stream: bool) -> Vec<u8> {
    match (schema, is_stream) {
        (Schema::OpenAi, false) => chat(answer).to_string().into_bytes(),
        (Schema::OpenAi, true) => chat_stream(answer),
        (Schema::Anthropic, false) => claude(answer).to_string().into_bytes(),
        (Schema::Anthropic, true) => claude_stream(answer),
        (Schema::AwsBedrock, false) => converse(answer).to_string().into_bytes(),
        (Schema::AwsBedrock, true) => converse_stream(answer),
        (_, false) => gemini(answer).to_string().into_bytes(),
        (_, true) => format!("data: {}\n\n", gemini(answer)).into_bytes(),
    }
}

fn arguments(argument: &str) -> Json {
    json!({"a": argument})
}

fn chat_finish(answer: &Answer) -> &'static str {
    answer.end(["length", "stop", "tool_calls"])
}

fn chat_usage(answer: &Answer) -> Json {
    json!({"prompt_tokens": answer.input, "completion_tokens": answer.output,
        "total_tokens": answer.input + answer.output})
}

fn chat_call(at: usize, argument: &str) -> Json {
    json!({"index": at, "id": format!("call_{at}"), "type": "function",
        "function": {"name": "f", "arguments": arguments(argument).to_string()}})
}

fn chat(answer: &Answer) -> Json {
    let mut message = json!({"role": "assistant", "content": answer.text});
    if !answer.calls.is_empty() {
        message["tool_calls"] =
            answer.calls.iter().enumerate().map(|(at, call)| chat_call(at, call)).collect();
    }
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": chat_finish(answer)}],
        "usage": chat_usage(answer)})
}

fn chat_stream(answer: &Answer) -> Vec<u8> {
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    deltas.extend(pieces(answer.text.as_deref()).into_iter().map(|text| json!({"content": text})));
    for (at, argument) in answer.calls.iter().enumerate() {
        let mut begin = chat_call(at, argument);
        let whole = begin["function"]["arguments"].take();
        begin["function"]["arguments"] = json!("");
        deltas.push(json!({"tool_calls": [begin]}));
        deltas.extend(
            pieces(whole.as_str())
                .into_iter()
                .map(|text| json!({"tool_calls": [{"index": at, "function": {"arguments": text}}]})),
        );
    }
    let event = |choices: Json, usage: Json| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let choice = |delta: Json, end: Option<&str>| json!([{"index": 0, "delta": delta, "finish_reason": end}]);
    let mut stream: String = deltas.into_iter().map(|delta| event(choice(delta, None), Json::Null)).collect();
    stream += &event(choice(json!({}), Some(chat_finish(answer))), Json::Null);
    stream += &event(json!([]), chat_usage(answer));
    stream += "data: [DONE]\n\n";
    stream.into_bytes()
}

fn claude_finish(answer: &Answer) -> &'static str {
    answer.end(["max_tokens", "end_turn", "tool_use"])
}

fn claude(answer: &Answer) -> Json {
    let mut content: Vec<Json> =
        answer.text.iter().map(|text| json!({"type": "text", "text": text})).collect();
    content.extend(answer.calls.iter().enumerate().map(|(at, argument)| {
        json!({"type": "tool_use", "id": format!("toolu_{at}"), "name": "f", "input": arguments(argument)})
    }));
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": claude_finish(answer), "stop_sequence": null,
        "usage": {"input_tokens": answer.input, "output_tokens": answer.output}})
}

fn claude_stream(answer: &Answer) -> Vec<u8> {
    let mut events = vec![json!({"type": "message_start", "message": {"id": "msg_1", "type": "message",
        "role": "assistant", "model": "m", "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": answer.input, "output_tokens": 1}}})];
    let mut block = |at: usize, start: Json, deltas: Vec<Json>| {
        events.push(json!({"type": "content_block_start", "index": at, "content_block": start}));
        events.extend(
            deltas
                .into_iter()
                .map(|delta| json!({"type": "content_block_delta", "index": at, "delta": delta})),
        );
        events.push(json!({"type": "content_block_stop", "index": at}));
    };
    if answer.text.is_some() {
        let deltas = pieces(answer.text.as_deref()).into_iter();
        let deltas = deltas.map(|text| json!({"type": "text_delta", "text": text})).collect();
        block(0, json!({"type": "text", "text": ""}), deltas);
    }
    for (at, argument) in answer.calls.iter().enumerate() {
        let start = json!({"type": "tool_use", "id": format!("toolu_{at}"), "name": "f", "input": {}});
        let whole = arguments(argument).to_string();
        let deltas = pieces(Some(&whole)).into_iter();
        let deltas = deltas.map(|text| json!({"type": "input_json_delta", "partial_json": text})).collect();
        block(at + usize::from(answer.text.is_some()), start, deltas);
    }
    events.push(json!({"type": "message_delta",
        "delta": {"stop_reason": claude_finish(answer), "stop_sequence": null},
        "usage": {"output_tokens": answer.output}}));
    events.push(json!({"type": "message_stop"}));
    let event = |event: &Json| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(event).collect::<String>().into_bytes()
}

fn converse_usage(answer: &Answer) -> Json {
    json!({"inputTokens": answer.input, "outputTokens": answer.output,
        "totalTokens": answer.input + answer.output})
}

fn converse(answer: &Answer) -> Json {
    let mut content: Vec<Json> = answer.text.iter().map(|text| json!({"text": text})).collect();
    content.extend(answer.calls.iter().enumerate().map(|(at, argument)| {
        json!({"toolUse": {"toolUseId": format!("t{at}"), "name": "f", "input": arguments(argument)}})
    }));
    json!({"output": {"message": {"role": "assistant", "content": content}},
        "stopReason": claude_finish(answer), "usage": converse_usage(answer), "metrics": {"latencyMs": 1}})
}

fn converse_stream(answer: &Answer) -> Vec<u8> {
    let mut stream = frame("messageStart", r#"{"role":"assistant"}"#);
    let mut event = |kind: &str, payload: Json| stream.extend(frame(kind, &payload.to_string()));
    if answer.text.is_some() {
        for text in pieces(answer.text.as_deref()) {
            event("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": text}}));
        }
        event("contentBlockStop", json!({"contentBlockIndex": 0}));
    }
    for (at, argument) in answer.calls.iter().enumerate() {
        let index = at + usize::from(answer.text.is_some());
        let start = json!({"toolUse": {"toolUseId": format!("t{at}"), "name": "f"}});
        event("contentBlockStart", json!({"contentBlockIndex": index, "start": start}));
        let whole = arguments(argument).to_string();
        for text in pieces(Some(&whole)) {
            let delta = json!({"toolUse": {"input": text}});
            event("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta}));
        }
        event("contentBlockStop", json!({"contentBlockIndex": index}));
    }
    event("messageStop", json!({"stopReason": claude_finish(answer)}));
    event("metadata", json!({"usage": converse_usage(answer), "metrics": {"latencyMs": 1}}));
    stream
}

fn gemini(answer: &Answer) -> Json {
    let mut parts: Vec<Json> = answer.text.iter().map(|text| json!({"text": text})).collect();
    parts.extend(
        answer
            .calls
            .iter()
            .map(|argument| json!({"functionCall": {"name": "f", "args": arguments(argument)}})),
    );
    let finish = answer.end(["MAX_TOKENS", "STOP", "STOP"]);
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": answer.input, "candidatesTokenCount": answer.output,
            "totalTokenCount": answer.input + answer.output},
        "modelVersion": "m", "responseId": "r"})
}

/// A text in pieces of a few characters.
fn pieces(text: Option<&str>) -> Vec<String> {
    let characters: Vec<char> = text.unwrap_or_default().chars().collect();
    characters.chunks(5).map(|piece| piece.iter().collect()).collect()
}

fn parsed(text: &Json) -> Json {
    serde_json::from_str(text.as_str().unwrap()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn tokens(usage: &Json, names: [&str; 2]) -> [u64; 2] {
    names.map(|name| usage[name].as_u64().unwrap_or_else(|| panic!("no {name} in {usage}")))
}

/// Why an answer ended, in the tests' words.
fn end(reason: &Json) -> &'static str {
    match reason.as_str().unwrap() {
        "stop" | "end_turn" => "end",
        "length" | "max_tokens" => "cut",
        "tool_calls" | "tool_use" => "calls",
        other => panic!("{other}"),
    }
}

fn read_whole(path: &str, shown: &[u8]) -> Read {
    let answer: Json = serde_json::from_slice(shown).unwrap();
    match path {
        "/v1/chat/completions" => {
            let choice = &answer["choices"][0];
            let calls = choice["message"]["tool_calls"].as_array().into_iter().flatten();
            let calls = calls.map(|call| parsed(&call["function"]["arguments"])).collect();
            let text = choice["message"]["content"].as_str().unwrap_or_default().to_owned();
            let tokens = tokens(&answer["usage"], ["prompt_tokens", "completion_tokens"]);
            (text, calls, end(&choice["finish_reason"]), tokens)
        }
        "/v1/messages" => {
            let blocks = answer["content"].as_array().unwrap();
            let text = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
            let calls = blocks.iter().filter_map(|block| block.get("input").cloned()).collect();
            (
                text,
                calls,
                end(&answer["stop_reason"]),
                tokens(&answer["usage"], ["input_tokens", "output_tokens"]),
            )
        }
        _ => read_response(&answer),
    }
}

fn read_response(answer: &Json) -> Read {
    let items = answer["output"].as_array().unwrap();
    let content = items.iter().filter_map(|item| item["content"].as_array()).flatten();
    let text = content.filter_map(|part| part["text"].as_str()).collect();
    let calls = items.iter().filter(|item| item["type"] == "function_call");
    let calls: Vec<_> = calls.map(|call| parsed(&call["arguments"])).collect();
    let end = match answer["status"].as_str().unwrap() {
        "incomplete" => {
            assert_eq!(answer["incomplete_details"]["reason"], "max_output_tokens");
            "cut"
        }
        _ if calls.is_empty() => "end",
        _ => "calls",
    };
    (text, calls, end, tokens(&answer["usage"], ["input_tokens", "output_tokens"]))
}

fn read_stream(path: &str, shown: &[u8]) -> Read {
    let shown = std::str::from_utf8(shown).unwrap();
    let data = shown.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let events: Vec<Json> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    match path {
        "/v1/chat/completions" => {
            let (mut text, mut calls, mut finish) = (String::new(), Vec::<String>::new(), Json::Null);
            for event in &events {
                let Some(choice) = event["choices"].get(0) else { continue };
                text += choice["delta"]["content"].as_str().unwrap_or_default();
                for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                    let at = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
                    calls.resize(calls.len().max(at + 1), String::new());
                    calls[at] += call["function"]["arguments"].as_str().unwrap_or_default();
                }
                if !choice["finish_reason"].is_null() {
                    finish = choice["finish_reason"].clone();
                }
            }
            assert!(shown.ends_with("data: [DONE]\n\n"), "{shown}");
            let usage = &events.iter().rev().find(|event| event["usage"].is_object()).unwrap()["usage"];
            let calls = calls.iter().map(|call| parsed(&json!(call))).collect();
            (text, calls, end(&finish), tokens(usage, ["prompt_tokens", "completion_tokens"]))
        }
        "/v1/messages" => {
            let (mut text, mut calls, mut usage) = (String::new(), Vec::<String>::new(), json!({}));
            let mut finish = Json::Null;
            for event in &events {
                match event["type"].as_str().unwrap() {
                    "content_block_start" if event["content_block"]["type"] == "tool_use" => {
                        calls.push(String::new());
                    }
                    "content_block_delta" if event["delta"]["type"] == "text_delta" => {
                        text += event["delta"]["text"].as_str().unwrap();
                    }
                    "content_block_delta" => {
                        *calls.last_mut().unwrap() += event["delta"]["partial_json"].as_str().unwrap();
                    }
                    kind @ ("message_start" | "message_delta") => {
                        let counted = if kind == "message_start" {
                            &event["message"]["usage"]
                        } else {
                            &event["usage"]
                        };
                        for (name, count) in counted.as_object().into_iter().flatten() {
                            usage[name] = count.clone();
                        }
                        if kind == "message_delta" {
                            finish = event["delta"]["stop_reason"].clone();
                        }
                    }
                    _ => {}
                }
            }
            let calls = calls.iter().map(|call| parsed(&json!(call))).collect();
            (text, calls, end(&finish), tokens(&usage, ["input_tokens", "output_tokens"]))
        }
        _ => {
            let last = events.last().unwrap();
            let kind = last["type"].as_str().unwrap();
            assert!(matches!(kind, "response.completed" | "response.incomplete"), "{kind}");
            let text: String = events
                .iter()
                .filter(|event| event["type"] == "response.output_text.delta")
                .map(|event| event["delta"].as_str().unwrap())
                .collect();
            let read = read_response(&last["response"]);
            assert_eq!(read.0, text, "what came in pieces is what the end repeats");
            read
        }
    }
}
