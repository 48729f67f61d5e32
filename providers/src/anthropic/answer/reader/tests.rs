use serde_json::{Value as Json, json};

use super::*;
use crate::answer::{Failure, FailureKind};

/// What an event says, without a borrow.
fn told(event: &Event<'_>) -> String {
    let text = |text: &Text<'_>| text.decoded().into_owned();
    let maybe = |it: &Option<Text<'_>>| it.as_ref().map_or("-".to_owned(), text);
    match event {
        Event::Start { id, model, .. } => format!("start {} {}", maybe(id), maybe(model)),
        Event::Text(it) => format!("text {}", text(it)),
        Event::Reasoning(it) => format!("reasoning {}", text(it)),
        Event::Signature(it) => format!("signature {}", text(it)),
        Event::Redacted(it) => format!("redacted {}", text(it)),
        Event::Refusal(it) => format!("refusal {}", text(it)),
        Event::ToolCall { call, id, name, .. } => format!("call {call} {} {}", text(id), text(name)),
        Event::Arguments { call, text: it } => format!("arguments {call} {}", text(it)),
        Event::Citation(Value::Object(it)) => format!("citation {}", it.raw),
        Event::Citation(_) => "citation".to_owned(),
        Event::Logprobs(items) => format!("logprobs {items}"),
        Event::EndOfPart => "end".to_owned(),
        Event::Ping => "ping".to_owned(),
        Event::Usage(it) => format!(
            "usage {:?} {:?} {:?} {:?} {:?}",
            it.input, it.output, it.cache_read, it.cache_write, it.reasoning
        )
        .replace("None", "-")
        .replace("Some(", "")
        .replace(')', ""),
        Event::Finish { reason, stop_sequence } => format!("finish {reason:?} {}", maybe(stop_sequence)),
        Event::Error(Failure { status, kind, message, .. }) => {
            format!("error {status} {kind:?} {}", text(message))
        }
    }
}

fn stream(events: &[Json]) -> String {
    events.iter().map(|it| format!("event: {}\ndata: {it}\n\n", it["type"].as_str().unwrap_or("x"))).collect()
}

fn read(mut reader: Reader, pieces: &[&[u8]]) -> (Vec<String>, Result<(), Broken>, bool) {
    let mut events = Vec::new();
    let mut result = Ok(());
    for (at, piece) in pieces.iter().enumerate() {
        let is_end = at + 1 == pieces.len();
        result = result.and(reader.read(piece, is_end, &mut |event| events.push(told(&event))));
    }
    (events, result, reader.is_complete())
}

fn read_stream(events: &[Json]) -> (Vec<String>, bool) {
    let body = stream(events);
    let (found, result, is_complete) = read(Reader::stream(Aliases::default()), &[body.as_bytes()]);
    assert_eq!(result, Ok(()));
    (found, is_complete)
}

/// A stream with all that there is in one.
fn long_stream(alias: &str) -> Vec<Json> {
    let delta =
        |index: u64, delta: Json| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let start = |index: u64, block: Json| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 200, "cache_read_input_tokens": 3000, "output_tokens": 1}}}),
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        json!({"type": "ping"}),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hm\n"})),
        delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
        stop(0),
        start(1, json!({"type": "redacted_thinking", "data": "ZGF0YQ=="})),
        stop(1),
        start(2, json!({"type": "text", "text": ""})),
        delta(2, json!({"type": "text_delta", "text": "I \u{e9}"})),
        delta(2, json!({"type": "text_delta", "text": "call"})),
        delta(2, json!({"type": "citations_delta", "citation": {"type": "char_location"}})),
        stop(2),
        start(3, json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})),
        delta(3, json!({"type": "input_json_delta", "partial_json": "{\"query\": 1}"})),
        stop(3),
        start(4, json!({"type": "tool_use", "id": "toolu_1", "name": alias, "input": {}})),
        delta(4, json!({"type": "input_json_delta", "partial_json": ""})),
        delta(4, json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
        delta(4, json!({"type": "input_json_delta", "partial_json": " \"b\"}"})),
        stop(4),
        start(5, json!({"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}})),
        stop(5),
        start(6, json!({"type": "tool_use", "id": "toolu_3", "name": "whole", "input": {"x": 1}})),
        stop(6),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 7}}}),
        json!({"type": "message_stop"}),
    ]
}

#[test]
fn a_stream_is_read_whatever_its_pieces_are() {
    let mut aliases = Aliases::default();
    let alias = aliases.of("mcp.get", 128).into_owned();
    let body = stream(&long_stream(&alias));
    let expected = [
        "start msg_1 claude-sonnet-4-5",
        "usage 3210 1 3000 200 -",
        "ping",
        "reasoning Hm\n",
        "signature c2ln",
        "end",
        "redacted ZGF0YQ==",
        "text I \u{e9}",
        "text call",
        r#"citation {"type":"char_location"}"#,
        "end",
        // Counted over calls only, not over blocks.
        "call 0 toolu_1 mcp.get",
        r#"arguments 0 {"a":"#,
        r#"arguments 0  "b"}"#,
        "end",
        "call 1 toolu_2 now",
        "end",
        "call 2 toolu_3 whole",
        r#"arguments 2 {"x":1}"#,
        "end",
        "usage 3210 40 3000 200 7",
        "finish ToolCalls -",
    ];
    let reader = || Reader::stream(aliases.clone());
    let whole = read(reader(), &[body.as_bytes()]);
    assert_eq!(whole, (expected.iter().map(ToString::to_string).collect(), Ok(()), true));
    for at in 0..body.len() {
        let (first, second) = body.as_bytes().split_at(at);
        assert_eq!(read(reader(), &[first, second]), whole, "{at}");
    }
    let bytes: Vec<_> = body.as_bytes().chunks(1).collect();
    assert_eq!(read(reader(), &bytes), whole);
}

#[test]
fn events_are_read_in_another_framing() {
    let mut reader = Reader::stream(Aliases::default());
    let mut found = Vec::new();
    for event in long_stream("get") {
        reader.event(event.to_string().as_bytes(), &mut |event| found.push(told(&event))).unwrap();
    }
    assert_eq!(found, read_stream(&long_stream("get")).0);
    assert!(reader.is_complete());
    let broken = Reader::stream(Aliases::default()).event(b"[]", &mut |_| {});
    assert_eq!(broken, Err(Broken::Unreadable("an event is an array, not an object".to_owned())));
}

#[test]
fn a_stream_that_breaks_off_is_not_complete() {
    let mut events = long_stream("get");
    events.pop();
    assert!(!read_stream(&events).1);
    let (_, result, is_complete) = read(Reader::stream(Aliases::default()), &[b"data: {\"type\"\n\n"]);
    assert!(matches!(result, Err(Broken::Unreadable(_))) && !is_complete);
}

#[test]
fn an_overload_after_200_is_an_error_and_not_a_clean_end() {
    for (body, expected) in [
        (
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            "error 529 Overloaded Overloaded",
        ),
        (
            json!({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}),
            "error 429 RateLimit m",
        ),
        (json!({"type": "error", "error": {"type": "new_error", "message": "m"}}), "error 500 Server m"),
    ] {
        let (found, is_complete) = read_stream(&[body.clone(), json!({"type": "message_stop"})]);
        assert_eq!((found, is_complete), (vec![expected.to_owned()], false));
        let (found, result, is_complete) =
            read(Reader::whole(Aliases::default()), &[body.to_string().as_bytes()]);
        assert_eq!((found, result, is_complete), (vec![expected.to_owned()], Ok(()), false));
    }
    assert_eq!(FailureKind::of_status(529), FailureKind::Overloaded);
}

#[test]
fn reasons_to_stop_are_told_apart() {
    for (delta, expected) in [
        (json!({"stop_reason": "end_turn"}), vec!["finish Stop -"]),
        (json!({"stop_reason": "stop_sequence", "stop_sequence": "END"}), vec!["finish StopSequence END"]),
        (json!({"stop_reason": "max_tokens"}), vec!["finish Length -"]),
        (json!({"stop_reason": "model_context_window_exceeded"}), vec!["finish Length -"]),
        (json!({"stop_reason": "tool_use"}), vec!["finish ToolCalls -"]),
        (json!({"stop_reason": "pause_turn"}), vec!["finish Pause -"]),
        (json!({"stop_reason": "refusal"}), vec!["finish ContentFilter -"]),
        (
            json!({"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber", "explanation": "No."}}),
            vec!["refusal No.", "finish ContentFilter -"],
        ),
        (json!({"stop_reason": null}), vec!["finish Stop -"]),
    ] {
        let events = [
            json!({"type": "message_start", "message": {}}),
            json!({"type": "message_delta", "delta": delta}),
            json!({"type": "message_stop"}),
        ];
        let (found, is_complete) = read_stream(&events);
        assert!(is_complete);
        assert_eq!(found[1..], expected, "{delta}");
        let mut body = delta.clone();
        body["content"] = json!([]);
        let (found, _, is_complete) = read(Reader::whole(Aliases::default()), &[body.to_string().as_bytes()]);
        assert!(is_complete);
        assert_eq!(found[1..], expected, "{delta}");
    }
}

#[test]
fn a_streams_last_counts_replace_its_first() {
    let delta = |usage: Json| json!({"type": "message_delta", "delta": {}, "usage": usage});
    let (found, _) = read_stream(&[
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 0, "output_tokens": 0}}}),
        delta(json!({"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 7})),
        delta(json!({"output_tokens": 9, "cache_read_input_tokens": null})),
    ]);
    assert_eq!(found[1..], ["usage 0 0 - - -", "usage 12 6 7 - -", "usage 12 9 7 - -"]);
}

#[test]
fn what_is_missing_or_unknown_does_no_harm() {
    let (found, _) = read_stream(&[
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}),
        json!({"type": "content_block_start", "content_block": {"type": "text", "text": "b"}}),
        json!({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}),
        json!({"type": "content_block_delta", "delta": {"type": "new_delta"}}),
        json!({"type": "message_start", "message": {"id": "late"}}),
        json!({"type": "new_event"}),
        json!({"no": "type"}),
    ]);
    assert_eq!(found, ["start - -", "text b"]);
}

#[test]
fn a_whole_answer_is_the_same_events() {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ=="},
            {"type": "text", "text": "a", "citations": [{"type": "page_location"}]},
            {"type": "web_search_tool_result", "tool_use_id": "x", "content": []},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"q": "\"\u{e9}\n"}},
            {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": null, "output_tokens": 4},
    })
    .to_string();
    let expected = [
        "start msg_1 claude-sonnet-4-5",
        "usage 3 4 2 - -",
        "reasoning Hm",
        "signature c2ln",
        "end",
        "redacted ZGF0YQ==",
        "text a",
        r#"citation {"type":"page_location"}"#,
        "end",
        "text b",
        "end",
        "call 0 toolu_1 get",
        "arguments 0 {\"q\":\"\\\"\u{e9}\\n\"}",
        "end",
        "call 1 toolu_2 now",
        "end",
        "finish ToolCalls -",
    ];
    let (first, second) = body.as_bytes().split_at(100);
    let (found, result, is_complete) = read(Reader::whole(Aliases::default()), &[first, second, b""]);
    assert_eq!((found.as_slice(), result, is_complete), (&expected.map(str::to_owned)[..], Ok(()), true));
    for body in ["{}", "[]", "", "{\"content\": {}}"] {
        let (_, result, is_complete) = read(Reader::whole(Aliases::default()), &[body.as_bytes()]);
        assert!(matches!(result, Err(Broken::Unreadable(_))) && !is_complete, "{body}");
    }
}
