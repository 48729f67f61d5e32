use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::alias::Aliases;
use crate::answer::{Failure, Finish, Usage};
use crate::json::parse;
use crate::translation::{Broken, ReadAnswer};

fn asked(is_stream: bool) -> Asked {
    Asked { model: "asked".into(), is_stream, wants_usage: true, now: 7, request_id: "r1".into() }
}

/// An event in short.
fn told(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, model, created } => {
            let text =
                |text: &Option<crate::json::Text<'_>>| text.as_ref().map(|text| text.decoded().into_owned());
            format!(
                "start {:?} {:?} {created:?}",
                text(id).unwrap_or_default(),
                text(model).unwrap_or_default()
            )
        }
        Event::Text(text) => format!("text {}", text.decoded()),
        Event::Reasoning(text) => format!("reasoning {}", text.decoded()),
        Event::Signature(text) => format!("signature {}", text.decoded()),
        Event::Redacted(text) => format!("redacted {}", text.decoded()),
        Event::Refusal(text) => format!("refusal {}", text.decoded()),
        Event::ToolCall { call, id, name, signature } => {
            let signature = signature.as_ref().map(|text| format!(" {}", text.decoded())).unwrap_or_default();
            format!("call {call} {} {}{signature}", id.decoded(), name.decoded())
        }
        Event::Arguments { call, text } => format!("arguments {call} {}", text.decoded()),
        Event::Citation(value) => format!("citation {}", value.as_object().unwrap().word("url").unwrap()),
        Event::Logprobs(items) => format!("logprobs {items}"),
        Event::EndOfPart => "end".to_owned(),
        Event::Ping => "ping".to_owned(),
        Event::Usage(Usage { input, output, cache_read, cache_write, reasoning }) => {
            let all = [input, output, cache_read, cache_write, reasoning]
                .map(|count| count.map_or("-".to_owned(), |count| count.to_string()));
            format!("usage {}", all.join(" "))
        }
        Event::Finish { reason, stop_sequence } => {
            let stop = stop_sequence.as_ref().map(|text| format!(" {}", text.decoded())).unwrap_or_default();
            format!("finish {reason:?}{stop}")
        }
        Event::Error(failure) => {
            format!("error {} {:?} {}", failure.status, failure.kind, failure.message.decoded())
        }
    }
}

struct Read {
    events: Vec<String>,
    result: Result<(), Broken>,
    is_complete: bool,
}

fn read(is_stream: bool, pieces: &[&[u8]]) -> Read {
    let mut reader = Reader::new(&asked(is_stream), Aliases::default());
    let (mut events, mut result) = (Vec::new(), Ok(()));
    for (at, piece) in pieces.iter().enumerate() {
        if result.is_ok() {
            result = reader.read(piece, at + 1 == pieces.len(), &mut |event| events.push(told(&event)));
        }
    }
    Read { events, result, is_complete: reader.is_complete() }
}

/// A stream of chunks whose choice has these deltas.
fn stream(chunks: &[Json]) -> String {
    let chunk = |chunk: &Json| {
        let mut whole = json!({"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m1"});
        whole.as_object_mut().unwrap().extend(chunk.as_object().unwrap().clone());
        format!("data: {whole}\n\n")
    };
    let chunks: String = chunks.iter().map(chunk).collect();
    format!(": hello\n\n{chunks}data: [DONE]\n\n")
}

#[expect(clippy::needless_pass_by_value, reason = "tables read better without references")]
fn delta(delta: Json) -> Json {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}], "usage": null})
}

fn finished(reason: &str) -> Json {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

/// A stream that has everything.
fn everything() -> String {
    let call = |call: Json| delta(json!({"tool_calls": [call]}));
    stream(&[
        json!({"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": []}),
        delta(json!({"role": "assistant", "content": "", "refusal": null})),
        delta(json!({"reasoning": "hm"})),
        delta(json!({"reasoning_content": "m", "thinking_blocks": [{"type": "thinking", "thinking": "m"}]})),
        delta(json!({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "s1"}]})),
        delta(json!({"thinking_blocks": [{"type": "redacted_thinking", "data": "xyz"}]})),
        delta(json!({"content": "grüß \"dich\"\n"})),
        delta(json!({"content": [{"type": "text", "text": "ok"}]})),
        delta(
            json!({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a", "title": "A"}}]}),
        ),
        delta(json!({"refusal": "no"})),
        call(json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})),
        call(json!({"index": 0, "function": {"arguments": "{\"x\":"}})),
        call(json!({"index": 0, "function": {"arguments": "1}"}})),
        call(json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "sig"}}})),
        finished("tool_calls"),
        json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 5}}}),
    ])
}

#[test]
fn a_stream_with_everything_is_read() {
    let Read { events, result, is_complete } = read(true, &[everything().as_bytes()]);
    assert_eq!((result, is_complete), (Ok(()), true));
    assert_eq!(
        events,
        [
            "start \"c1\" \"m1\" Some(5)",
            "reasoning hm",
            "reasoning m",
            "signature s1",
            "redacted xyz",
            "text grüß \"dich\"\n",
            "text ok",
            "citation https://a",
            "refusal no",
            "call 0 a f",
            "arguments 0 {\"x\":",
            "arguments 0 1}",
            "call 1 b g sig",
            "arguments 1 {}",
            "finish ToolCalls",
            "usage 10 20 4 - 5",
        ]
    );
}

/// What a stream becomes that is read and written again.
fn through(pieces: &[&[u8]]) -> Vec<u8> {
    let (mut reader, mut writer, mut out) =
        (Reader::new(&asked(true), Aliases::default()), Writer::new(&asked(true)), Vec::new());
    for (at, piece) in pieces.iter().enumerate() {
        reader.read(piece, at + 1 == pieces.len(), &mut |event| writer.write(event, &mut out)).unwrap();
    }
    assert!(reader.is_complete());
    writer.end(&mut out);
    out
}

#[test]
fn pieces_of_a_stream_do_not_matter() {
    let stream = everything();
    let whole = through(&[stream.as_bytes()]);
    assert_eq!(through(&stream.as_bytes().chunks(1).collect::<Vec<_>>()), whole);
    for at in 0..stream.len() {
        let (first, second) = stream.as_bytes().split_at(at);
        assert_eq!(through(&[first, second]), whole, "cut at {at}");
    }
}

/// What is written is read as it was before it was.
#[test]
fn a_stream_that_is_written_is_read_again() {
    let stream = everything();
    let again = through(&[stream.as_bytes()]);
    assert_eq!(read(true, &[&again]).events, read(true, &[stream.as_bytes()]).events);
    assert_eq!(through(&[&again]), again);
}

#[test]
fn a_body_with_everything_is_read_and_written() {
    let message = json!({
        "role": "assistant", "content": "grüß \"dich\"", "refusal": null, "reasoning_content": "hmm",
        "thinking_blocks": [{"type": "thinking", "thinking": "hmm", "signature": "s1"}, {"type": "redacted_thinking", "data": "x"}],
        "annotations": [{"type": "url_citation",
            "url_citation": {"url": "https://a", "title": "A", "start_index": 0, "end_index": 11}}],
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"},
             "extra_content": {"google": {"thought_signature": "sig"}}}]
    });
    let body = json!({
        "id": "c1", "object": "chat.completion", "created": 5, "model": "m1",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 5}}
    });
    let text = body.to_string();
    let mut reader = Reader::new(&asked(false), Aliases::default());
    let (mut writer, mut out) = (Writer::new(&asked(false)), Vec::new());
    let (first, second) = text.as_bytes().split_at(100);
    reader.read(first, false, &mut |_| panic!("too early")).unwrap();
    assert!(!reader.is_complete());
    reader.read(second, true, &mut |event| writer.write(event, &mut out)).unwrap();
    assert!(reader.is_complete() && out.is_empty());
    writer.end(&mut out);
    assert_eq!(serde_json::from_slice::<Json>(&out).unwrap(), body);
}

#[test]
fn answers_end_for_the_reason_that_there_was() {
    let vllm = json!({"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": "END"}]});
    let token = json!({"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": 128009}]});
    let call = delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]}));
    for (chunks, last) in [
        (vec![finished("stop")], "finish Stop"),
        (vec![finished("length")], "finish Length"),
        (vec![finished("content_filter")], "finish ContentFilter"),
        (vec![finished("function_call")], "finish ToolCalls"),
        (vec![vllm], "finish StopSequence END"),
        (vec![token], "finish Stop"),
        // A call that the request forced ends like a text.
        (vec![call, finished("stop")], "finish ToolCalls"),
        (vec![delta(json!({"content": "a"}))], "finish Stop"),
        (vec![finished("abort")], "error 502 Server the answer was broken off: abort"),
    ] {
        let text = stream(&chunks);
        let found = read(true, &[text.as_bytes()]);
        assert_eq!(found.events.last().unwrap(), last);
        assert_eq!(found.is_complete, last.starts_with("finish"));
    }
}

/// Calls come numbered by index, by id, or not at all, and their names after their arguments.
#[test]
fn calls_are_told_apart_however_they_are_numbered() {
    let call = |call: Json| delta(json!({"tool_calls": [call]}));
    let f = |id: &str| json!({"id": id, "function": {"name": "f", "arguments": "{}"}});
    let numbered = |index: u64, id: &str| json!({"index": index, "id": id, "function": {"name": "f", "arguments": "{}"}});
    let two: &[&str] = &["call 0 a f", "arguments 0 {}", "call 1 b f", "arguments 1 {}"];
    let nameless = |index: u64| json!({"index": index, "function": {"name": "f", "arguments": "{}"}});
    for (chunks, expected) in [
        (vec![call(numbered(0, "a")), call(numbered(1, "b"))], two),
        (vec![call(numbered(3, "a")), call(numbered(7, "b"))], two),
        (vec![call(numbered(0, "a")), call(numbered(0, "b"))], two),
        (vec![call(f("a")), call(f("b"))], two),
        (vec![delta(json!({"tool_calls": [f("a"), f("b")]}))], two),
        (
            vec![call(nameless(0)), call(nameless(1))],
            &["call 0 call_r1_0 f", "arguments 0 {}", "call 1 call_r1_1 f", "arguments 1 {}"],
        ),
        (
            vec![
                call(json!({"index": 0, "id": "a", "function": {"arguments": "{\"x\""}})),
                call(json!({"index": 0, "function": {"arguments": ":1"}})),
                call(json!({"index": 0, "function": {"name": "f"}})),
                call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}})),
            ],
            &["call 0 a f", "arguments 0 {\"x\":1", "arguments 0 }"],
        ),
        (
            vec![
                delta(json!({"function_call": {"name": "f", "arguments": "{"}})),
                delta(json!({"function_call": {"arguments": "}"}})),
            ],
            &["call 0 call_r1_0 f", "arguments 0 {", "arguments 0 }"],
        ),
    ] {
        let text = stream(&[&chunks[..], &[finished("tool_calls")]].concat());
        let found = read(true, &[text.as_bytes()]);
        assert_eq!(found.result, Ok(()));
        assert_eq!(&found.events[1..found.events.len() - 1], expected);
    }
}

/// MCP's names are longer than OpenAI takes: the client has to see its own again.
#[test]
fn a_tool_is_called_by_the_clients_name() {
    let (name, mut aliases) = ("mcp.".repeat(30), Aliases::default());
    let alias = aliases.of(&name, 64).into_owned();
    let text = stream(&[
        delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": alias}}]})),
        finished("tool_calls"),
    ]);
    let mut reader = Reader::new(&asked(true), aliases);
    let mut events = Vec::new();
    reader.read(text.as_bytes(), true, &mut |event| events.push(told(&event))).unwrap();
    assert_eq!(events[1], format!("call 0 a {name}"));
}

#[test]
fn a_call_of_no_tool_is_a_fault() {
    let text = stream(&[
        delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]})),
        finished("tool_calls"),
    ]);
    assert!(matches!(read(true, &[text.as_bytes()]).result, Err(Broken::Unreadable(_))));
    let calls: Vec<_> = (0..2000)
        .map(|index| json!({"index": index, "id": index.to_string(), "function": {"name": "f"}}))
        .collect();
    let text = stream(&[delta(json!({"tool_calls": calls}))]);
    assert!(matches!(read(true, &[text.as_bytes()]).result, Err(Broken::Unreadable(_))));
}

/// An error after the status is no end of an answer.
#[test]
fn an_error_in_a_stream_is_told() {
    let begun = format!("data: {}\n\n", delta(json!({"content": "a"})));
    for (event, error) in [
        (
            "data: {\"error\":{\"message\":\"m\",\"type\":\"BadRequestError\",\"code\":400}}\n\n",
            "error 400 InvalidRequest m",
        ),
        ("data: {\"object\":\"error\",\"message\":\"m\",\"code\":503}\n\n", "error 503 Overloaded m"),
        (
            "event: error\ndata: {\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}\n\n",
            "error 429 RateLimit m",
        ),
        ("event: error\ndata: it broke\n\n", "error 500 Server it broke"),
        ("data: {\"error\":\"gone\"}\n\n", "error 500 Server gone"),
    ] {
        let found = read(true, &[format!("{begun}{event}data: [DONE]\n\n").as_bytes()]);
        assert_eq!(found.events[1..], ["text a", error], "{event}");
        assert!(!found.is_complete, "{event}");
    }
    let found = read(false, &[br#"{"error":{"message":"m","code":429}}"#]);
    assert_eq!((found.events, found.is_complete), (vec!["error 429 RateLimit m".to_owned()], false));
}

#[test]
fn a_stream_that_breaks_off_is_not_complete() {
    let begun = format!("data: {}\n\n", delta(json!({"content": "a"})));
    assert!(!read(true, &[begun.as_bytes()]).is_complete);
    // Some servers leave the last event out, and have said why the answer ended.
    assert!(read(true, &[format!("{begun}data: {}\n\n", finished("stop")).as_bytes()]).is_complete);
    assert!(read(true, &[format!("{begun}data: [DONE]").as_bytes()]).is_complete);
    let found = read(true, &[format!("{begun}data: {{\n\n").as_bytes()]);
    assert!(matches!(found.result, Err(Broken::Unreadable(_))) && !found.is_complete);
    for body in ["{", "{}", r#"{"choices":[]}"#, ""] {
        let found = read(false, &[body.as_bytes()]);
        assert!(matches!(found.result, Err(Broken::Unreadable(_))), "{body}");
    }
}

fn written(is_stream: bool, wants_usage: bool, events: Vec<Event<'_>>) -> String {
    let mut writer = Writer::new(&Asked { wants_usage, ..asked(is_stream) });
    let mut out = Vec::new();
    for event in events {
        writer.write(event, &mut out);
    }
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

fn start() -> Event<'static> {
    Event::Start { id: None, model: None, created: None }
}

fn call(call: usize, id: &'static str) -> Event<'static> {
    Event::ToolCall { call, id: id.into(), name: "f".into(), signature: None }
}

fn finish(reason: Finish) -> Event<'static> {
    Event::Finish { reason, stop_sequence: None }
}

/// The deltas of a stream of chunks, each with why it ends if it does.
fn deltas(stream: &str) -> Vec<Json> {
    let data = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    let chunks =
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str::<Json>(data).unwrap());
    chunks
        .map(|mut chunk| {
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!(
                (&chunk["id"], &chunk["model"], &chunk["created"]),
                (&json!("chatcmpl-r1"), &json!("asked"), &json!(7))
            );
            if chunk["choices"] == json!([]) {
                return chunk["usage"].take();
            }
            match chunk["choices"][0]["finish_reason"].take() {
                Json::Null => chunk["choices"][0]["delta"].take(),
                reason => reason,
            }
        })
        .collect()
}

#[test]
fn a_stream_is_written_chunk_by_chunk() {
    let events = vec![
        start(),
        Event::Ping,
        Event::Reasoning("hm".into()),
        Event::Signature("s1".into()),
        Event::Redacted("x".into()),
        Event::Reasoning("ha".into()),
        Event::Text("a\n".into()),
        Event::EndOfPart,
        call(0, "a"),
        Event::EndOfPart,
        call(1, "b"),
        Event::Arguments { call: 1, text: "".into() },
        Event::Arguments { call: 1, text: "{}".into() },
        Event::Usage(Usage { input: Some(3), output: Some(1), ..Usage::default() }),
        finish(Finish::ToolCalls),
        Event::Usage(Usage { output: Some(9), cache_read: Some(2), ..Usage::default() }),
    ];
    let stream = written(true, true, events);
    assert!(stream.contains(": ping\n\n") && stream.ends_with("data: [DONE]\n\n"));
    let arguments = |index: u64| json!({"tool_calls": [{"index": index, "function": {"arguments": "{}"}}]});
    let begun = |index: u64, id: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": "f", "arguments": ""}}]});
    let block = |block: Json| json!({"thinking_blocks": [block]});
    let thought = |index: u64, text: &str| {
        let block = json!({"index": index, "type": "thinking", "thinking": text});
        json!({"reasoning_content": text, "thinking_blocks": [block]})
    };
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 2}});
    let expected = [
        json!({"role": "assistant", "content": ""}),
        thought(0, "hm"),
        // OpenAI's library puts together what has the same index, and fails on lists without.
        block(json!({"index": 0, "type": "thinking", "thinking": "", "signature": "s1"})),
        block(json!({"index": 1, "type": "redacted_thinking", "data": "x"})),
        thought(2, "ha"),
        json!({"content": "a\n"}),
        begun(0, "a"),
        begun(1, "b"),
        arguments(1),
        // A call without arguments.
        arguments(0),
        json!("tool_calls"),
        usage,
    ];
    assert_eq!(deltas(&stream), expected);
}

#[test]
fn usage_is_written_only_where_it_was_asked_for() {
    let events =
        || vec![start(), Event::Usage(Usage { input: Some(1), ..Usage::default() }), finish(Finish::Stop)];
    assert!(written(true, true, events()).contains("prompt_tokens"));
    assert!(!written(true, false, events()).contains("prompt_tokens"));
    assert!(written(false, false, events()).contains("prompt_tokens"));
}

#[test]
fn every_reason_has_openais_name() {
    for (reason, name) in [
        (Finish::Stop, "stop"),
        (Finish::StopSequence, "stop"),
        (Finish::Pause, "stop"),
        (Finish::Length, "length"),
        (Finish::ToolCalls, "tool_calls"),
        (Finish::ContentFilter, "content_filter"),
    ] {
        assert_eq!(deltas(&written(true, false, vec![start(), finish(reason)]))[1], name);
        let body: Json = serde_json::from_str(&written(false, false, vec![start(), finish(reason)])).unwrap();
        assert_eq!(body["choices"][0]["finish_reason"], name);
    }
}

/// An error is the last thing in a stream: with `[DONE]` behind it, clients take it for an answer.
#[test]
fn nothing_follows_an_error() {
    let events = vec![
        start(),
        Event::Error(Failure::new(503, "too \"busy\"")),
        Event::Text("a".into()),
        finish(Finish::Stop),
    ];
    let stream = written(true, true, events);
    let last = stream.split("\n\n").nth(1).unwrap();
    let error =
        json!({"message": "too \"busy\"", "type": "server_error", "param": null, "code": "overloaded"});
    assert_eq!(serde_json::from_str::<Json>(&last["data: ".len()..]).unwrap(), json!({"error": error}));
    assert_eq!(stream.split("\n\n").nth(2), Some(""));
    assert_eq!(written(false, true, vec![start(), Event::Error(Failure::new(503, "m"))]), "");
}

#[test]
fn a_body_has_every_part_in_its_place() {
    let message = |events: Vec<Event<'_>>| {
        let mut body: Json = serde_json::from_str(&written(false, false, events)).unwrap();
        assert_eq!(
            (&body["id"], &body["model"], &body["created"]),
            (&json!("chatcmpl-r1"), &json!("asked"), &json!(7))
        );
        body["choices"][0]["message"].take()
    };
    let made = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    assert_eq!(
        message(vec![start(), call(0, "a"), finish(Finish::ToolCalls)]),
        json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": made})
    );
    assert_eq!(
        message(vec![start(), finish(Finish::Length)]),
        json!({"role": "assistant", "content": "", "refusal": null})
    );
    assert_eq!(
        message(vec![start(), Event::Refusal("n".into()), Event::Refusal("o".into()), finish(Finish::Stop)]),
        json!({"role": "assistant", "content": null, "refusal": "no"})
    );
    let thoughts = vec![
        start(),
        Event::Reasoning("h".into()),
        Event::Reasoning("m".into()),
        Event::EndOfPart,
        Event::Reasoning("ha".into()),
        Event::Signature("s".into()),
        Event::Signature("t".into()),
        finish(Finish::Stop),
    ];
    let thought =
        |text: &str, signature: &str| json!({"type": "thinking", "thinking": text, "signature": signature});
    let blocks = json!([{"type": "thinking", "thinking": "hm"}, thought("ha", "s"), thought("", "t")]);
    let said = message(thoughts);
    assert_eq!((&said["reasoning_content"], &said["thinking_blocks"]), (&json!("hmha"), &blocks));
    // All blocks of text make one.
    let texts = vec![
        start(),
        Event::Text("a".into()),
        Event::EndOfPart,
        Event::Text("b".into()),
        finish(Finish::Stop),
    ];
    assert_eq!(message(texts)["content"], "ab");
}

#[test]
fn a_citation_has_the_place_of_its_text() {
    let citation =
        parse(br#"{"type":"web_search_result_location","url":"https://a","title":null,"cited_text":"x"}"#)
            .unwrap();
    let page = parse(br#"{"type":"page_location","document_index":0}"#).unwrap();
    let events = || {
        vec![
            start(),
            Event::Text("grüß ".into()),
            Event::EndOfPart,
            Event::Text(crate::json::Text::Escaped("d\\u00fc")),
            Event::Text("ch".into()),
            Event::Citation(citation.clone()),
            Event::Citation(page.clone()),
            finish(Finish::Stop),
        ]
    };
    let cited = json!({"url": "https://a", "title": "", "start_index": 5, "end_index": 9});
    let body: Json = serde_json::from_str(&written(false, false, events())).unwrap();
    assert_eq!(
        body["choices"][0]["message"]["annotations"],
        json!([{"type": "url_citation", "url_citation": cited}])
    );
    let streamed = json!([{"index": 0, "type": "url_citation", "url_citation": cited}]);
    assert_eq!(deltas(&written(true, false, events()))[4], json!({"annotations": streamed}));
}

proptest! {
    /// What is broken somewhere is told, or read; it is never the reason of a panic.
    #[test]
    fn no_stream_breaks_the_reader(from: prop::sample::Index, length in 0..40_usize, junk in "[\\[\\]{}\",:0-9a-z\\\\\n]{0,6}") {
        let mut stream = everything().into_bytes();
        let from = from.index(stream.len());
        let to = (from + length).min(stream.len());
        stream.splice(from..to, junk.bytes());
        let (mut reader, mut writer) = (Reader::new(&asked(true), Aliases::default()), Writer::new(&asked(true)));
        let mut out = Vec::new();
        let result = reader.read(&stream, true, &mut |event| writer.write(event, &mut out));
        let text = String::from_utf8(out).unwrap();
        for data in text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
            prop_assert!(serde_json::from_str::<Json>(data).is_ok(), "{data}");
        }
        prop_assert!(!(result.is_err() && reader.is_complete()));
    }
}
