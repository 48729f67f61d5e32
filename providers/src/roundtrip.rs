//! What a request says in one API it says in the other as well, and in the first again on the way back.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::alias::Aliases;
use crate::anthropic::{self, platform::Platform};
use crate::conversation::Notes;
use crate::json::{Object, Text, Value, parse};
use crate::openai::{self, request::Upstream};

/// One of a model's turns, and what follows from it.
#[derive(Clone, Debug)]
enum Said {
    Text(String),
    /// Text before calls, arguments of each, and what each returned.
    Calls(Option<String>, Vec<(String, String)>),
}

fn text() -> impl Strategy<Value = String> {
    // Not blank at its ends, which Anthropic's API does not take everywhere.
    "[a-zäß\"\\\\/<]([ -~\n\té😀]{0,12}[a-z.}\"\\\\])?"
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        text().prop_map(Said::Text),
        (prop::option::of(text()), prop::collection::vec((text(), text()), 1..3))
            .prop_map(|(before, calls)| Said::Calls(before, calls)),
    ]
}

prop_compose! {
    /// A request for a chat completion that has a counterpart in Anthropic's API, member by member.
    fn chats()(
        system in prop::option::of(text()),
        turns in prop::collection::vec((text(), said()), 0..4),
        last in text(),
        max_tokens in 1_u32..4000,
        temperature in prop::option::of(0_u32..=100),
        stop in prop::collection::vec(text(), 0..3),
        is_stream: bool,
    ) -> Json {
        let mut messages = Vec::new();
        messages.extend(system.map(|text| json!({"role": "system", "content": text})));
        let mut count = 0;
        for (asked, said) in turns {
            messages.push(json!({"role": "user", "content": asked}));
            match said {
                Said::Text(text) => messages.push(json!({"role": "assistant", "content": text})),
                Said::Calls(before, calls) => {
                    let first = count;
                    let called: Vec<Json> = calls.iter().map(|(argument, _)| {
                        count += 1;
                        json!({"id": format!("call_{count}"), "type": "function",
                            "function": {"name": "f", "arguments": json!({"a": argument}).to_string()}})
                    }).collect();
                    messages.push(json!({"role": "assistant", "content": before, "tool_calls": called}));
                    messages.extend(calls.iter().enumerate().map(|(at, (_, returned))| {
                        json!({"role": "tool", "tool_call_id": format!("call_{}", first + at + 1), "content": returned})
                    }));
                }
            }
        }
        messages.push(json!({"role": "user", "content": last}));
        let mut chat = json!({"model": "claude-3-5-sonnet", "messages": messages, "max_tokens": max_tokens,
            "tools": [{"type": "function", "function": {"name": "f", "description": "d",
                "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}]});
        if let Some(temperature) = temperature {
            chat["temperature"] = json!(f64::from(temperature) / 100.0);
        }
        if !stop.is_empty() {
            chat["stop"] = json!(stop);
        }
        if is_stream {
            chat["stream"] = json!(true);
        }
        chat
    }
}

proptest! {
    #[test]
    fn a_chat_is_the_same_after_a_way_through_messages(chat in chats()) {
        let written = chat.to_string();
        let there = to_messages(&written);
        let back = to_chat(&there);
        prop_assert_eq!(sayings(&back), sayings(&chat), "{}", there);
        for member in ["model", "temperature", "stop", "tools"] {
            prop_assert_eq!(back.get(member), chat.get(member), "{}: {}", member, there);
        }
        let limit = |chat: &Json| chat.get("max_completion_tokens").or(chat.get("max_tokens")).cloned();
        prop_assert_eq!(limit(&back), limit(&chat));
        prop_assert_eq!(back["stream"].as_bool().unwrap_or(false), chat["stream"].as_bool().unwrap_or(false));
        // What is said in Messages stays the same from then on.
        let again: Json = serde_json::from_str(&to_messages(&back.to_string())).unwrap();
        prop_assert_eq!(again, serde_json::from_str::<Json>(&there).unwrap());
    }
}

fn object<'d, 'a>(value: &'d Value<'a>) -> &'d Object<'a> {
    value.as_object().unwrap()
}

fn to_messages(chat: &str) -> String {
    let (mut aliases, mut notes) = (Aliases::default(), Notes::default());
    let document = parse(chat.as_bytes()).unwrap();
    let mut conversation = openai::request::read(object(&document)).unwrap();
    conversation.model = Some(Text::from("claude-3-5-sonnet"));
    let platform = Platform::Anthropic;
    let written =
        anthropic::request::write(&conversation, platform, None, None, &mut aliases, &mut notes).unwrap();
    assert!(notes.names().is_empty(), "{notes:?}");
    String::from_utf8(written.body.concat(conversation.body)).unwrap()
}

fn to_chat(messages: &str) -> Json {
    let (mut aliases, mut notes) = (Aliases::default(), Notes::default());
    let document = parse(messages.as_bytes()).unwrap();
    let conversation = anthropic::request::read(object(&document)).unwrap();
    let written = openai::request::write(&conversation, &mut notes, Upstream::Engine, &mut aliases).unwrap();
    assert!(notes.names().is_empty(), "{notes:?}");
    serde_json::from_slice(&written.concat(conversation.body)).unwrap()
}

/// Who says what, whichever way it is written.
fn sayings(chat: &Json) -> Vec<(String, String, Vec<Json>)> {
    let words = |content: &Json| match content {
        Json::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        content => content.as_str().unwrap_or_default().to_owned(),
    };
    let called = |call: &Json| {
        let function = &call["function"];
        let arguments: Json = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
        json!([call["id"], function["name"], arguments])
    };
    let messages = chat["messages"].as_array().unwrap().iter();
    let saying = |message: &Json| {
        let role = message["role"].as_str().unwrap().to_owned();
        let mut calls: Vec<Json> =
            message["tool_calls"].as_array().into_iter().flatten().map(called).collect();
        calls.extend(message.get("tool_call_id").cloned());
        (role, words(&message["content"]), calls)
    };
    messages.map(saying).collect()
}
