use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::Writer;
use crate::answer::{Event, Failure, FailureKind, Finish, Usage};
use crate::conversation::{Content, Notes};
use crate::json::{Text, Value, parse};
use crate::responses::echo::Echo;
use crate::responses::request;
use crate::sse::Events;
use crate::translation::{Asked, WriteAnswer};

fn echo(body: &Json) -> Echo {
    let body = body.to_string();
    let Value::Object(body) = parse(body.as_bytes()).unwrap() else { panic!("not an object") };
    Echo::of(&body)
}

fn writer(is_stream: bool) -> Writer {
    let asked =
        Asked { model: "asked".into(), is_stream, now: 7, request_id: "req-1".into(), ..Asked::default() };
    Writer::new(asked, echo(&json!({})))
}

fn start() -> Event<'static> {
    Event::Start { id: Some("chatcmpl-1".into()), model: Some("m".into()), created: Some(1_700_000_000) }
}

fn finish(reason: Finish) -> Event<'static> {
    Event::Finish { reason, stop_sequence: None }
}

fn text(piece: &'static str) -> Event<'static> {
    Event::Text(Text::Escaped(piece))
}

fn call(call: usize, id: &'static str) -> Event<'static> {
    Event::ToolCall { call, id: id.into(), name: "get_weather".into(), signature: None }
}

fn arguments(call: usize, piece: &'static str) -> Event<'static> {
    Event::Arguments { call, text: Text::Escaped(piece) }
}

fn written(events: &[Event<'_>], is_stream: bool) -> Vec<u8> {
    let (mut writer, mut out) = (writer(is_stream), Vec::new());
    for event in events {
        writer.write(event.clone(), &mut out);
    }
    writer.end(&mut out);
    out
}

/// The events of a stream, whose names are their types and whose numbers count up.
fn parsed(stream: &[u8]) -> Vec<Json> {
    let mut found: Vec<Json> = Vec::new();
    let mut events = Events::default();
    events
        .feed(stream, |name, data| {
            let event: Json = serde_json::from_slice(data).unwrap();
            assert_eq!(event["type"].as_str().unwrap().as_bytes(), name);
            assert_eq!(event["sequence_number"], found.len());
            found.push(event);
        })
        .unwrap();
    found
}

fn stream(events: &[Event<'_>]) -> Vec<Json> {
    parsed(&written(events, true))
}

fn whole(events: &[Event<'_>]) -> Json {
    serde_json::from_slice(&written(events, false)).unwrap()
}

fn kinds(events: &[Json]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().trim_start_matches("response.")).collect()
}

/// The response that a stream ends with, after checks that hold for each: items and parts are repeated as they came.
fn last(events: &[Json]) -> Json {
    let response = events.last().unwrap()["response"].clone();
    let done = events.iter().filter(|event| event["type"] == "response.output_item.done");
    assert_eq!(response["output"], done.map(|event| event["item"].clone()).collect::<Json>());
    for event in events.iter().filter(|event| event["type"] == "response.content_part.done") {
        let item = &response["output"][event["output_index"].as_u64().unwrap() as usize];
        assert_eq!(item["content"][event["content_index"].as_u64().unwrap() as usize], event["part"]);
        assert_eq!(item["id"], event["item_id"]);
    }
    response
}

#[test]
fn a_text_is_told_from_its_first_piece_to_the_whole_response() {
    let events = [
        start(),
        text(""),
        text("Hel"),
        Event::Ping,
        text(r"lo \ud83d\ude00"),
        Event::EndOfPart,
        finish(Finish::Stop),
        Event::Usage(Usage { input: Some(10), output: Some(4), cache_read: Some(3), ..Usage::default() }),
    ];
    let told = stream(&events);
    assert_eq!(
        kinds(&told),
        [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed",
        ]
    );
    assert_eq!(
        told[4],
        json!({
            "type": "response.output_text.delta", "sequence_number": 4, "item_id": "msg_chatcmpl-1_0",
            "output_index": 0, "content_index": 0, "delta": "Hel", "logprobs": [],
        })
    );
    assert_eq!(told[0]["response"]["status"], "in_progress");
    assert_eq!(told[0]["response"]["output"], json!([]));
    assert_eq!(told[6]["text"], "Hello 😀");
    let response = last(&told);
    assert_eq!(response, whole(&events));
    let part = json!({"type": "output_text", "text": "Hello 😀", "annotations": [], "logprobs": []});
    assert_eq!(
        response,
        json!({
            "id": "resp_chatcmpl-1", "object": "response", "created_at": 1_700_000_000, "status": "completed",
            "error": null, "incomplete_details": null, "model": "m",
            "output": [{
                "id": "msg_chatcmpl-1_0", "type": "message", "status": "completed", "role": "assistant",
                "content": [part],
            }],
            "usage": {
                "input_tokens": 10, "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
                "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 14,
            },
            "instructions": null, "max_output_tokens": null, "max_tool_calls": null, "metadata": {},
            "parallel_tool_calls": true, "prompt_cache_key": null, "safety_identifier": null, "temperature": null,
            "tool_choice": "auto", "tools": [], "top_p": null, "truncation": "disabled", "user": null,
            "background": false, "previous_response_id": null, "store": false,
            "reasoning": {"effort": null, "summary": null}, "text": {"format": {"type": "text"}},
        })
    );
}

#[test]
fn calls_keep_the_upstreams_ids_and_may_grow_side_by_side() {
    let events = [
        start(),
        text("Let me see."),
        call(0, "call_a"),
        arguments(0, r#"{\"city\":"#),
        call(1, "toolu_b"),
        arguments(1, r#"{\"city\":\"Rome\"}"#),
        arguments(0, r#"\"Oslo\"}"#),
        finish(Finish::ToolCalls),
    ];
    let told = stream(&events);
    let response = last(&told);
    assert_eq!(response, whole(&events));
    assert_eq!(response["status"], "completed");
    let call = |index: usize, id: &str, city: &str| {
        json!({
            "id": format!("fc_chatcmpl-1_{index}"), "type": "function_call", "status": "completed", "call_id": id,
            "name": "get_weather", "arguments": format!("{{\"city\":\"{city}\"}}"),
        })
    };
    assert_eq!(response["output"][1], call(1, "call_a", "Oslo"));
    assert_eq!(response["output"][2], call(2, "toolu_b", "Rome"));
    let pieces: Vec<_> = told
        .iter()
        .filter(|event| event["type"] == "response.function_call_arguments.delta")
        .map(|event| (event["output_index"].as_u64().unwrap(), event["delta"].as_str().unwrap()))
        .collect();
    assert_eq!(pieces, [(1, "{\"city\":"), (2, "{\"city\":\"Rome\"}"), (1, "\"Oslo\"}")]);
}

#[test]
fn a_call_without_arguments_is_called_with_an_empty_object() {
    let told = stream(&[start(), call(0, "a"), Event::EndOfPart, finish(Finish::ToolCalls)]);
    assert_eq!(
        kinds(&told)[2..],
        [
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    assert_eq!(told[3]["delta"], "{}");
    assert_eq!(told[4]["arguments"], "{}");
    assert_eq!(last(&told)["output"][0]["arguments"], "{}");
}

#[test]
fn a_call_that_was_cut_is_not_given_for_a_whole_one() {
    let events =
        [start(), call(0, "a"), arguments(0, "{}"), call(1, "b"), Event::EndOfPart, finish(Finish::Length)];
    let response = last(&stream(&events));
    assert_eq!(response["output"][0]["status"], "completed");
    assert_eq!(response["output"][1]["status"], "incomplete");
    assert_eq!(response["output"][1]["arguments"], "");
}

#[test]
fn arguments_of_no_open_call_are_not_anothers() {
    let events = [
        start(),
        call(0, "a"),
        arguments(5, "x"),
        Event::EndOfPart,
        arguments(0, "y"),
        text("z"),
        arguments(0, "y"),
        finish(Finish::Stop),
    ];
    let output = last(&stream(&events))["output"].clone();
    assert_eq!(output[0]["arguments"], "{}");
    assert_eq!(output[1]["content"][0]["text"], "z");
    assert_eq!(output.as_array().unwrap().len(), 2);
}

#[test]
fn thoughts_come_back_in_the_next_turn_byte_for_byte() {
    let events = [
        start(),
        Event::Reasoning(Text::Escaped(r"caf\u00e9")),
        Event::Reasoning(Text::Escaped(r"\n?")),
        Event::Signature(Text::Escaped(r"Eq\/+==")),
        Event::EndOfPart,
        Event::Redacted("gA\"A".into()),
        Event::Reasoning("second".into()),
        Event::EndOfPart,
        Event::ToolCall { call: 0, id: "c1".into(), name: "f".into(), signature: Some("CiQ=".into()) },
        arguments(0, "{}"),
        finish(Finish::ToolCalls),
    ];
    let told = stream(&events);
    assert_eq!(
        kinds(&told)[2..9],
        [
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
        ]
    );
    let response = last(&told);
    assert_eq!(response, whole(&events));
    let body = json!({"input": response["output"]}).to_string();
    let body = parse(body.as_bytes()).unwrap();
    let mut notes = Notes::default();
    let conversation = request::read(body.as_object().unwrap(), &mut notes).unwrap();
    assert_eq!(notes, Notes::default());
    let [turn] = conversation.turns.as_slice() else { panic!("not one turn") };
    let [first, redacted, second, call] = turn.parts.as_slice() else { panic!("{:?}", turn.parts) };
    assert!(matches!(&first.content, Content::Reasoning { text, signature: Some(signature) }
        if *text == "café\n?" && *signature == "Eq/+=="));
    assert!(matches!(&redacted.content, Content::Redacted(data) if *data == "gA\"A"));
    assert!(matches!(&second.content, Content::Reasoning { text, signature: None } if *text == "second"));
    assert!(matches!(&call.content, Content::ToolCall { id, signature: Some(signature), .. }
        if *id == "c1" && *signature == "CiQ="));
}

#[test]
fn texts_and_refusals_are_parts_of_one_message_until_something_else_comes() {
    let events = [
        start(),
        text("a"),
        Event::EndOfPart,
        text("b"),
        Event::Refusal("no".into()),
        Event::Refusal("!".into()),
        call(0, "x"),
        text("c"),
        finish(Finish::ContentFilter),
    ];
    let told = stream(&events);
    let response = last(&told);
    assert_eq!(response, whole(&events));
    assert_eq!(
        (&response["status"], &response["incomplete_details"]),
        (&json!("incomplete"), &json!({"reason": "content_filter"}))
    );
    let text = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let refusal = json!({"type": "refusal", "refusal": "no!"});
    assert_eq!(response["output"][0]["content"], json!([text("a"), text("b"), refusal]));
    assert_eq!(
        (&response["output"][0]["status"], &response["output"][2]["status"]),
        (&json!("completed"), &json!("incomplete"))
    );
    assert!(kinds(&told).contains(&"refusal.delta") && kinds(&told).contains(&"refusal.done"));
}

#[test]
fn citations_are_annotations_of_their_text() {
    let citation = parse(br#"{"type":"web_search_result_location","url":"https:\/\/a.example","title":"A \"b\"","cited_text":"x"}"#).unwrap();
    let document = parse(br#"{"type":"char_location","document_index":0}"#).unwrap();
    let events = [
        start(),
        text(r"\u00e9t"),
        Event::Citation(document),
        Event::Citation(citation),
        text("\u{e9}"),
        Event::EndOfPart,
        text("b"),
        finish(Finish::Stop),
    ];
    let told = stream(&events);
    let annotation = json!({"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://a.example", "title": "A \"b\""});
    let event = told.iter().find(|event| event["type"] == "response.output_text.annotation.added").unwrap();
    assert_eq!((&event["annotation"], &event["annotation_index"]), (&annotation, &json!(0)));
    let response = last(&told);
    assert_eq!(response, whole(&events));
    assert_eq!(response["output"][0]["content"][0]["annotations"], json!([annotation]));
    assert_eq!(response["output"][0]["content"][1]["annotations"], json!([]));
}

#[test]
fn every_reason_has_its_status() {
    for (reason, status, details) in [
        (Finish::Stop, "completed", Json::Null),
        (Finish::StopSequence, "completed", Json::Null),
        (Finish::ToolCalls, "completed", Json::Null),
        (Finish::Pause, "completed", Json::Null),
        (Finish::Length, "incomplete", json!({"reason": "max_output_tokens"})),
        (Finish::ContentFilter, "incomplete", json!({"reason": "content_filter"})),
    ] {
        let events = [start(), text("x"), finish(reason)];
        let told = stream(&events);
        let response = last(&told);
        assert_eq!(
            (&response["status"], &response["incomplete_details"]),
            (&json!(status), &details),
            "{reason:?}"
        );
        assert_eq!(kinds(&told).last().unwrap(), &status);
        assert_eq!(response["usage"], Json::Null);
        assert_eq!(response["output"][0]["status"], status);
        assert_eq!(response, whole(&events));
    }
}

#[test]
fn a_failure_in_a_stream_is_its_end() {
    let failure = Failure { kind: FailureKind::RateLimit, ..Failure::new(429, "slow \"down\"") };
    let told =
        stream(&[start(), text("a"), call(0, "x"), arguments(0, "{"), Event::Error(failure), text("b")]);
    let kinds = kinds(&told);
    assert_eq!(kinds[kinds.len() - 2..], ["error", "failed"]);
    let error = &told[told.len() - 2];
    assert_eq!(
        (&error["code"], &error["message"], &error["param"]),
        (&json!("rate_limit_exceeded"), &json!("slow \"down\""), &Json::Null)
    );
    let response = last(&told);
    assert_eq!(response["status"], "failed");
    assert_eq!(response["error"], json!({"code": "rate_limit_exceeded", "message": "slow \"down\""}));
    assert_eq!(response["output"].as_array().unwrap().len(), 1, "a call that was cut is none");
}

#[test]
fn an_answer_that_is_too_long_to_repeat_fails_instead_of_being_cut() {
    let piece = "x".repeat(1024 * 1024);
    let (mut writer, mut out) = (writer(true), Vec::new());
    writer.write(start(), &mut out);
    for _ in 0..64 {
        writer.write(Event::Text(piece.as_str().into()), &mut out);
    }
    writer.end(&mut out);
    assert!(out.len() < 5 * 1024 * 1024, "{}", out.len());
    let told = parsed(&out);
    let response = &told.last().unwrap()["response"];
    assert_eq!(response["status"], "failed");
    assert!(response["error"]["message"].as_str().unwrap().contains("max_output_tokens"));
}

#[test]
fn items_without_words_count_too() {
    let (mut writer, mut out) = (writer(true), Vec::new());
    for call in 0..20_000 {
        writer.write(Event::ToolCall { call, id: "a".into(), name: "f".into(), signature: None }, &mut out);
    }
    assert!(out.windows(22).any(|window| window == b"event: response.failed"));
}

#[test]
fn an_answer_without_a_start_or_an_end_has_both() {
    let events = [text("x")];
    let response = last(&stream(&events));
    assert_eq!(response, whole(&events));
    assert_eq!(
        (&response["id"], &response["model"], &response["created_at"]),
        (&json!("resp_req-1"), &json!("asked"), &json!(7))
    );
    assert_eq!(response["status"], "completed");
    assert_eq!(last(&stream(&[]))["output"], json!([]));
    let hostile =
        Event::Start { id: Some("\"\n/é".into()), model: Some("m".repeat(300).into()), created: None };
    let response = whole(&[hostile]);
    assert!(
        response["id"].as_str().unwrap().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    );
    assert_eq!(response["model"], "asked");
}

#[test]
fn the_request_is_repeated() {
    let request = json!({
        "instructions": "be \"kind\"", "max_output_tokens": 5, "metadata": {"a": "b"}, "parallel_tool_calls": false,
        "temperature": 0.5, "top_p": 0.25, "tool_choice": {"type": "function", "name": "f"},
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": true}], "truncation": "auto",
        "user": "u", "prompt_cache_key": "k", "safety_identifier": "s", "max_tool_calls": 2,
    });
    let mut body = request.clone();
    body["store"] = true.into();
    body["reasoning"] = json!({"effort": "low"});
    body["text"] = json!({"verbosity": "low"});
    let mut out = Vec::new();
    Writer::new(Asked::default(), echo(&body)).end(&mut out);
    let response: Json = serde_json::from_slice(&out).unwrap();
    for (name, value) in request.as_object().unwrap() {
        assert_eq!(&response[name], value, "{name}");
    }
    assert_eq!(response["store"], false, "as it is");
    assert_eq!(response["reasoning"], json!({"effort": "low", "summary": null}));
    assert_eq!(response["text"], json!({"format": {"type": "text"}, "verbosity": "low"}));
}

/// What may happen in an answer, in any order, whether or not an upstream would do it.
fn happenings() -> impl Strategy<Value = Vec<Event<'static>>> {
    let piece = prop_oneof![
        Just(Text::Escaped(r"caf\u00e9\n")),
        Just(Text::Escaped("")),
        Just(Text::from("\"{\\")),
        Just(Text::from("a b")),
    ];
    let citation = r#"{"url":"https://a","title":null}"#;
    let event = prop_oneof![
        4 => piece.clone().prop_map(Event::Text),
        2 => piece.clone().prop_map(Event::Reasoning),
        1 => piece.clone().prop_map(Event::Signature),
        1 => piece.clone().prop_map(Event::Redacted),
        1 => piece.clone().prop_map(Event::Refusal),
        2 => (0_usize..3, prop::option::of(piece.clone())).prop_map(|(call, signature)| {
            Event::ToolCall { call, id: format!("call_{call}").into(), name: "f".into(), signature }
        }),
        3 => (0_usize..3, piece).prop_map(|(call, text)| Event::Arguments { call, text }),
        1 => Just(Event::Citation(parse(citation.as_bytes()).unwrap())),
        2 => Just(Event::EndOfPart),
        1 => Just(Event::Ping),
        1 => Just(Event::Usage(Usage { input: Some(1), ..Usage::default() })),
    ];
    (prop::collection::vec(event, 0..30), prop::bool::ANY).prop_map(|(events, is_cut)| {
        let mut all = vec![start()];
        all.extend(events);
        all.push(finish(if is_cut { Finish::Length } else { Finish::Stop }));
        all
    })
}

proptest! {
    #[test]
    fn a_stream_says_piece_by_piece_what_it_repeats_and_what_a_whole_body_says(events in happenings()) {
        let told = stream(&events);
        let response = last(&told);
        prop_assert_eq!(&response, &whole(&events));
        let mut pieces: BTreeMap<(u64, u64, String), String> = BTreeMap::new();
        let mut begun = Vec::new();
        for event in &told {
            let kind = event["type"].as_str().unwrap();
            let item = event["output_index"].as_u64().unwrap_or_default();
            let part = event["content_index"].as_u64().unwrap_or_default();
            if kind == "response.output_item.added" {
                prop_assert_eq!(item, begun.len() as u64);
                begun.push(event["item"]["id"].clone());
            } else if let Some(kind) = kind.strip_suffix(".delta") {
                prop_assert_eq!(&event["item_id"], &begun[usize::try_from(item).unwrap()]);
                pieces.entry((item, part, kind.to_owned())).or_default().push_str(event["delta"].as_str().unwrap());
            } else if let Some(kind) = kind.strip_suffix(".done")
                && let Some(whole) = ["text", "refusal", "arguments"].iter().find_map(|name| event[name].as_str())
            {
                let said = pieces.remove(&(item, part, kind.to_owned())).unwrap_or_default();
                prop_assert_eq!(said, whole);
            }
        }
        prop_assert!(pieces.is_empty(), "pieces without an end: {:?}", pieces);
        prop_assert_eq!(begun.len(), response["output"].as_array().unwrap().len());
    }
}
