use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::alias::Aliases;
use crate::anthropic::answer::Reader;
use crate::json::{Value, parse};
use crate::translation::ReadAnswer;

fn asked(is_stream: bool) -> Asked {
    Asked { model: "asked".into(), is_stream, request_id: "r1".into(), ..Asked::default() }
}

/// The events of a stream, each with the name that it is sent under checked.
fn written(events: Vec<Event<'_>>) -> Vec<Json> {
    let mut writer = Writer::new(asked(true));
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    writer.end(&mut out);
    writer.end(&mut out);
    let text = String::from_utf8(out).unwrap();
    let events = text.split_terminator("\n\n").map(|event| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Json = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        data
    });
    events.collect()
}

/// What happens in a stream in short: `+tool_use 1` a block begins, `-1` it ends, `1 text` a delta.
fn short(events: &[Json]) -> Vec<String> {
    let of = |event: &Json| {
        let index = &event["index"];
        let delta = &event["delta"];
        match event["type"].as_str()? {
            "content_block_start" => {
                let block = &event["content_block"];
                let name =
                    block.get("name").map_or(String::new(), |name| format!(" {}", name.as_str().unwrap()));
                Some(format!("+{} {index}{name}", block["type"].as_str()?))
            }
            "content_block_delta" => {
                let said = ["text", "thinking", "signature", "partial_json"]
                    .iter()
                    .find_map(|it| delta[it].as_str());
                Some(format!("{index} {}", said.unwrap_or("citation")))
            }
            "content_block_stop" => Some(format!("-{index}")),
            "message_start" | "message_stop" => None,
            "message_delta" => Some(delta["stop_reason"].as_str()?.to_owned()),
            other => Some(other.to_owned()),
        }
    };
    events.iter().filter_map(of).collect()
}

fn whole(events: Vec<Event<'_>>) -> Json {
    let mut writer = Writer::new(asked(false));
    let mut out = Vec::new();
    events.into_iter().for_each(|event| writer.write(event, &mut out));
    assert_eq!(out, b"");
    writer.end(&mut out);
    serde_json::from_slice(&out).unwrap()
}

fn start() -> Event<'static> {
    Event::Start { id: Some(Text::from("chatcmpl-1")), model: Some(Text::from("m")), created: Some(1) }
}

fn text(text: &str) -> Event<'_> {
    Event::Text(Text::from(text))
}

fn call(call: usize, name: &str) -> Event<'_> {
    Event::ToolCall { call, id: Text::from(format!("id{call}")), name: Text::from(name), signature: None }
}

fn arguments(call: usize, text: &str) -> Event<'_> {
    Event::Arguments { call, text: Text::from(text) }
}

fn finish(reason: Finish) -> Event<'static> {
    Event::Finish { reason, stop_sequence: None }
}

fn usage(input: u64, output: u64, cache_read: u64, cache_write: u64) -> Event<'static> {
    Event::Usage(Usage {
        input: Some(input),
        output: Some(output),
        cache_read: Some(cache_read),
        cache_write: Some(cache_write),
        reasoning: None,
    })
}

#[test]
fn a_stream_has_the_events_that_clients_expect() {
    let events = written(vec![
        start(),
        usage(100, 0, 60, 30),
        Event::Ping,
        Event::Reasoning(Text::from("Hm")),
        text("A\n"),
        Event::Text(Text::Escaped("\\u00e9")),
        call(0, "get"),
        arguments(0, "{\"a\":"),
        arguments(0, "1}"),
        finish(Finish::ToolCalls),
        usage(100, 7, 60, 30),
    ]);
    let counted = |output: u64| json!({"input_tokens": 10, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 60, "output_tokens": output});
    let delta =
        |index: u64, delta: Json| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let begin = |index: u64, block: Json| json!({"type": "content_block_start", "index": index, "content_block": block});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let expected = [
        json!({"type": "message_start", "message": {"id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
            "content": [], "stop_reason": null, "stop_sequence": null, "usage": counted(0)}}),
        json!({"type": "ping"}),
        begin(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hm"})),
        stop(0),
        begin(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "A\n"})),
    ];
    assert_eq!(events[..expected.len()], expected);
    let rest = [
        stop(1),
        begin(2, json!({"type": "tool_use", "id": "id0", "name": "get", "input": {}})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
        delta(2, json!({"type": "input_json_delta", "partial_json": "1}"})),
        stop(2),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": counted(7)}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(events[events.len() - rest.len()..], rest);
}

#[test]
fn text_after_text_is_one_block_until_the_part_ends() {
    let events = written(vec![text("a"), text(""), text("b"), Event::EndOfPart, Event::EndOfPart, text("c")]);
    assert_eq!(short(&events), ["+text 0", "0 a", "0 b", "-0", "+text 1", "1 c", "-1", "end_turn"]);
}

#[test]
fn thoughts_end_with_their_signature() {
    let events = written(vec![
        Event::Reasoning(Text::from("a")),
        Event::Signature(Text::from("s")),
        Event::Signature(Text::from("t")),
        Event::Redacted(Text::from("d")),
        Event::Reasoning(Text::from("b")),
        Event::EndOfPart,
    ]);
    let expected = [
        "+thinking 0",
        "0 a",
        "0 s",
        "-0",
        "+thinking 1",
        "1 t",
        "-1",
        "+redacted_thinking 2",
        "-2",
        "+thinking 3",
        "3 b",
        "-3",
        "end_turn",
    ];
    assert_eq!(short(&events), expected);
}

#[test]
fn citations_are_those_of_the_text_that_is_open() {
    let Ok(citation) = parse(br#"{"type":"char_location"}"#) else { panic!() };
    let cite = || Event::Citation(citation.clone());
    let events = written(vec![cite(), text("a"), cite(), Event::EndOfPart, cite()]);
    assert_eq!(short(&events), ["+text 0", "0 a", "0 citation", "-0", "end_turn"]);
}

#[test]
fn interleaved_calls_wait_for_their_block() {
    let events = written(vec![
        call(0, "f"),
        call(1, "g"),
        arguments(1, "{\"b\""),
        arguments(0, "{\"a\": \"}\\\""),
        arguments(0, "\"}"),
        arguments(1, ": 2}"),
        call(2, "h"),
        call(3, "i"),
        arguments(3, "{}"),
        arguments(9, "{}"),
        call(1, "again"),
        finish(Finish::Stop),
    ]);
    let expected = [
        "+tool_use 0 f",
        "0 {\"a\": \"}\\\"",
        "0 \"}",
        "-0",
        "+tool_use 1 g",
        "1 {\"b\"",
        "1 : 2}",
        "-1",
        "+tool_use 2 h",
        "-2",
        "+tool_use 3 i",
        "3 {}",
        "-3",
        // Whatever the upstream calls it.
        "tool_use",
    ];
    assert_eq!(short(&events), expected);
}

#[test]
fn calls_in_a_row_stream_as_they_come() {
    let mut writer = Writer::new(asked(true));
    let mut out = Vec::new();
    for event in [call(0, "f"), arguments(0, "{\"a\": [1]}"), call(1, "g"), arguments(1, "{")] {
        writer.write(event, &mut out);
    }
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.contains(r#""index":1,"content_block":{"type":"tool_use","id":"id1","name":"g","input":{}}"#),
        "{out}"
    );
    assert!(out.contains(r#""index":1,"delta":{"type":"input_json_delta","partial_json":"{"}"#), "{out}");
    let events = written(vec![call(0, "f"), Event::EndOfPart, call(1, "g"), arguments(1, "{}"), text("a")]);
    assert_eq!(
        short(&events),
        ["+tool_use 0 f", "-0", "+tool_use 1 g", "1 {}", "-1", "+text 2", "2 a", "-2", "tool_use"]
    );
}

#[test]
fn words_in_the_middle_of_a_call_do_not_cut_it_off() {
    let events = written(vec![
        call(0, "f"),
        text("\n"),
        call(1, "g"),
        arguments(0, "{\"a\""),
        text("b"),
        Event::Text(Text::Escaped("\\u0063")),
        Event::Reasoning(Text::from("Hm")),
        arguments(1, "{}"),
        arguments(0, ":1}"),
        Event::Reasoning(Text::from("m")),
        text("d"),
    ]);
    let expected = [
        "+tool_use 0 f",
        "0 {\"a\"",
        "0 :1}",
        "-0",
        "+tool_use 1 g",
        "1 {}",
        "-1",
        "+text 2",
        "2 bc",
        "-2",
        "+thinking 3",
        "3 Hm",
        "3 m",
        "-3",
        "+text 4",
        "4 d",
        "-4",
        "tool_use",
    ];
    assert_eq!(short(&events), expected);
}

proptest! {
    #[test]
    fn nothing_of_a_call_is_lost_however_calls_interleave(
        inputs in prop::collection::vec("[{}\"\\\\a:]{0,6}", 1..5),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        // Strings within objects, and what looks like the end of one within strings.
        let inputs: Vec<_> = inputs.iter().map(|input| json!({"x": input}).to_string()).collect();
        let mut at = vec![0; inputs.len()];
        let mut begun = 0;
        let mut events = Vec::new();
        let pieces = |call: usize, at: usize| inputs[call].get(at..at + 1);
        for pick in &picks {
            let pick = pick.index(inputs.len());
            if pick >= begun {
                events.push(call(begun, "f"));
                begun += 1;
            } else if let Some(piece) = pieces(pick, at[pick]) {
                events.push(arguments(pick, piece));
                at[pick] += 1;
            }
        }
        for call in 0..begun {
            events.push(arguments(call, &inputs[call][at[call]..]));
        }
        let written = written(events);
        let (mut open, mut found) = (None, Vec::new());
        for event in &written {
            let index = event["index"].as_u64();
            match event["type"].as_str().unwrap() {
                "content_block_start" => {
                    prop_assert_eq!((open, index), (None, Some(found.len() as u64)));
                    open = index;
                    found.push(String::new());
                }
                "content_block_delta" => {
                    prop_assert_eq!(open, index);
                    found.last_mut().unwrap().push_str(event["delta"]["partial_json"].as_str().unwrap());
                }
                "content_block_stop" => prop_assert_eq!(open.take(), index),
                _ => prop_assert_eq!(open, None),
            }
        }
        prop_assert_eq!(&found, &inputs[..begun]);
    }
}

#[test]
fn calls_that_wait_are_bounded() {
    let mut writer = Writer::new(asked(true));
    let mut out = Vec::new();
    writer.write(call(0, "f"), &mut out);
    writer.write(call(1, "g"), &mut out);
    let before = out.len();
    let piece = "x".repeat(64 * 1024);
    for _ in 0..15 {
        writer.write(arguments(1, &piece), &mut out);
    }
    assert_eq!(out.len(), before);
    writer.write(arguments(1, &piece), &mut out);
    writer.write(arguments(1, &piece), &mut out);
    writer.end(&mut out);
    let end = String::from_utf8(out[before..].to_vec()).unwrap();
    assert!(
        end.starts_with("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\""),
        "{end}"
    );
    assert_eq!(end.matches("event: ").count(), 1);
}

#[test]
fn an_error_ends_the_stream_as_an_error() {
    let events = written(vec![start(), text("a"), Event::Error(Failure::new(529, "Overloaded")), text("b")]);
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r1"});
    assert_eq!(events.last(), Some(&error));
    assert_eq!(events.len(), 4);
}

#[test]
fn reasons_to_stop_are_told() {
    for (reason, expected) in [
        (Finish::Stop, "end_turn"),
        (Finish::Length, "max_tokens"),
        (Finish::ToolCalls, "tool_use"),
        (Finish::ContentFilter, "refusal"),
        (Finish::Pause, "pause_turn"),
    ] {
        assert_eq!(short(&written(vec![finish(reason)])), [expected]);
        assert_eq!(whole(vec![finish(reason)])["stop_reason"], expected);
    }
    let stopped = || Event::Finish { reason: Finish::StopSequence, stop_sequence: Some(Text::from("E\"")) };
    let delta = json!({"stop_reason": "stop_sequence", "stop_sequence": "E\""});
    assert_eq!(written(vec![stopped()])[1]["delta"], delta);
    assert_eq!(whole(vec![stopped()])["stop_sequence"], "E\"");
    let refused = vec![Event::Refusal(Text::from("No")), finish(Finish::Stop)];
    assert_eq!(short(&written(refused)), ["+text 0", "0 No", "-0", "refusal"]);
}

#[test]
fn ids_are_made_of_the_requests_where_there_are_none() {
    let nameless = || Event::ToolCall { call: 0, id: Text::from(""), name: Text::from("f"), signature: None };
    let events = written(vec![Event::Start { id: None, model: None, created: None }, nameless()]);
    assert_eq!(events[0]["message"]["id"], "msg_r1");
    assert_eq!(events[0]["message"]["model"], "asked");
    assert_eq!(events[1]["content_block"]["id"], "toolu_r1_0");
    let body = whole(vec![nameless()]);
    assert_eq!((&body["id"], &body["content"][0]["id"]), (&json!("msg_r1"), &json!("toolu_r1_0")));
}

#[test]
fn a_thought_signature_comes_back_with_the_calls_id() {
    let signed = || Event::ToolCall {
        call: 0,
        id: Text::from("c1"),
        name: Text::from("f"),
        signature: Some(Text::from("c2ln+/=")),
    };
    assert_eq!(written(vec![signed()])[1]["content_block"]["id"], "c1__thought__c2ln+/=");
    assert_eq!(whole(vec![signed()])["content"][0]["id"], "c1__thought__c2ln+/=");
}

#[test]
fn a_whole_answer_has_everything_at_once() {
    let Ok(citation) = parse(br#"{"type": "char_location"}"#) else { panic!() };
    let body = whole(vec![
        start(),
        Event::Reasoning(Text::from("H")),
        Event::Reasoning(Text::Escaped("\\u006d")),
        Event::Signature(Text::from("s")),
        Event::Redacted(Text::from("d")),
        text("\"a\n"),
        Event::Text(Text::Escaped("\\ud83d")),
        Event::Text(Text::Escaped("\\ude00")),
        Event::Citation(citation),
        Event::EndOfPart,
        text("b"),
        call(0, "f"),
        call(1, "g"),
        arguments(1, "{\"b\""),
        arguments(0, "{\"a\": 1.0, \"b\": \""),
        Event::Arguments { call: 0, text: Text::Escaped("\\ud83d") },
        Event::Arguments { call: 0, text: Text::Escaped("\\ude00\\\"}") },
        arguments(1, ": 2"),
        call(2, "h"),
        finish(Finish::Length),
        Event::Usage(Usage { input: Some(9), output: Some(4), reasoning: Some(3), ..Usage::default() }),
    ]);
    let tool = |id: &str, name: &str, input: Json| json!({"type": "tool_use", "id": id, "name": name, "input": input});
    let expected = json!({
        "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "\"a\n😀", "citations": [{"type": "char_location"}]},
            {"type": "text", "text": "b"},
            tool("id0", "f", json!({"a": 1.0, "b": "😀"})),
            tool("id1", "g", json!({"INVALID_JSON": "{\"b\": 2"})),
            tool("id2", "h", json!({})),
        ],
        "stop_reason": "max_tokens", "stop_sequence": null,
        "usage": {"input_tokens": 9, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 3}},
    });
    assert_eq!(body, expected);
}

/// An answer of Anthropic's, read and written again.
fn again(reader: fn(Aliases) -> Reader, is_stream: bool, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut reader, mut writer) = (reader(Aliases::default()), Writer::new(asked(is_stream)));
    let mut out = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let is_end = at + 1 == pieces.len();
        reader.read(piece, is_end, &mut |event| writer.write(event, &mut out)).unwrap();
    }
    assert!(reader.is_complete());
    writer.end(&mut out);
    out
}

#[test]
fn an_answer_that_is_read_and_written_is_itself() {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [
            {"type": "thinking", "thinking": "Hm \u{e9}", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ=="},
            {"type": "text", "text": "a\u{2028}\n", "citations": [{"type": "page_location", "cited_text": "x"}]},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"q": [1.50, {}]}},
            {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
        ],
        "stop_reason": "stop_sequence", "stop_sequence": "END",
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3, "output_tokens": 4},
    });
    let bytes = body.to_string();
    let same = again(Reader::whole, false, &[bytes.as_bytes()]);
    assert_eq!(serde_json::from_slice::<Json>(&same).unwrap(), body);
    // As a stream, and that as a whole again.
    let streamed = again(Reader::whole, true, &[bytes.as_bytes()]);
    let same = again(Reader::stream, false, &[&streamed]);
    assert_eq!(serde_json::from_slice::<Json>(&same).unwrap(), body);
    let pieces: Vec<_> = streamed.chunks(1).collect();
    assert_eq!(again(Reader::stream, true, &pieces), again(Reader::stream, true, &[&streamed]));
    let Ok(Value::Object(_)) = parse(&same) else { panic!("no object") };
}
