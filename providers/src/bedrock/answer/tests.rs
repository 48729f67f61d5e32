use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::answer::FailureKind;
use crate::bedrock::eventstream::{encode, encode_event, encode_exception};

const LONG: &str = "mcp.files.read";

fn aliases() -> (Aliases, String) {
    let mut aliases = Aliases::default();
    let alias = aliases.of(LONG, 64).into_owned();
    (aliases, alias)
}

/// What is read of `pieces`, texts that follow one another joined; whether it is complete.
fn read(is_stream: bool, pieces: &[&[u8]]) -> (Vec<String>, Result<(), Broken>, bool) {
    let mut reader = Reader::new(aliases().0, is_stream);
    let mut events: Vec<String> = Vec::new();
    let mut sink = |event: Event<'_>| events.push(told(event));
    for (at, piece) in pieces.iter().enumerate() {
        if let Err(broken) = reader.read(piece, at + 1 == pieces.len(), &mut sink) {
            return (events, Err(broken), reader.is_complete());
        }
    }
    let is_complete = reader.is_complete();
    (events, Ok(()), is_complete)
}

fn told(event: Event<'_>) -> String {
    match event {
        Event::Start { id, model, created } => format!("start {:?}", (id, model, created)),
        Event::Text(text) => format!("text {}", text.decoded()),
        Event::Reasoning(text) => format!("reasoning {}", text.decoded()),
        Event::Signature(text) => format!("signature {}", text.decoded()),
        Event::Redacted(text) => format!("redacted {}", text.decoded()),
        Event::Refusal(text) => format!("refusal {}", text.decoded()),
        Event::ToolCall { call, id, name, .. } => format!("call {call} {} {}", id.decoded(), name.decoded()),
        Event::Arguments { call, text } => format!("arguments {call} {}", text.decoded()),
        Event::Citation(Value::Object(object)) => format!("citation {}", object.raw),
        Event::Citation(_) => panic!("a citation is an object"),
        Event::Logprobs(items) => format!("logprobs {items}"),
        Event::EndOfPart => "end".to_owned(),
        Event::Ping => "ping".to_owned(),
        Event::Usage(Usage { input, output, cache_read, cache_write, .. }) => {
            format!("usage {:?}", [input, output, cache_read, cache_write].map(Option::unwrap_or_default))
        }
        Event::Finish { reason, stop_sequence } => {
            let stop: Vec<_> = stop_sequence.iter().map(Text::decoded).collect();
            format!("finish {reason:?} {}", stop.concat())
        }
        Event::Error(failure) => {
            format!("error {} {:?} {}", failure.status, failure.kind, failure.message.decoded())
        }
    }
}

fn frames(events: &[(&str, serde_json::Value)]) -> Vec<u8> {
    events.iter().flat_map(|(name, event)| encode_event(name, &event.to_string())).collect()
}

fn metadata() -> (&'static str, serde_json::Value) {
    let usage = json!({
        "inputTokens": 30, "outputTokens": 628, "totalTokens": 758,
        "cacheReadInputTokens": 70, "cacheWriteInputTokens": 30,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 30}],
    });
    ("metadata", json!({"usage": usage, "metrics": {"latencyMs": 1275}, "p": "abcdefg"}))
}

/// An answer with everything in it, as Claude gives it.
fn stream() -> Vec<u8> {
    let delta = |block: u64, delta: serde_json::Value| {
        ("contentBlockDelta", json!({"contentBlockIndex": block, "delta": delta, "p": "abcd"}))
    };
    let stop = |block: u64| ("contentBlockStop", json!({"contentBlockIndex": block}));
    let call = |block: u64, id: &str, name: &str| {
        let start = json!({"toolUse": {"toolUseId": id, "name": name}});
        ("contentBlockStart", json!({"contentBlockIndex": block, "start": start}))
    };
    frames(&[
        ("messageStart", json!({"role": "assistant"})),
        delta(0, json!({"reasoningContent": {"text": "hm"}})),
        delta(0, json!({"reasoningContent": {"signature": "c2ln"}})),
        stop(0),
        delta(1, json!({"reasoningContent": {"redactedContent": "RW1wdHk="}})),
        stop(1),
        delta(2, json!({"text": "Grüße \"1\""})),
        delta(2, json!({"text": "\n"})),
        delta(
            2,
            json!({"citation": {
                "title": "t", "sourceContent": [{"text": "a"}, {"text": "b\n"}],
                "location": {"documentPage": {"documentIndex": 0, "start": 2, "end": 3}},
            }}),
        ),
        stop(2),
        call(3, "tooluse_1", &aliases().1),
        delta(3, json!({"toolUse": {"input": "{\"q\":"}})),
        delta(3, json!({"toolUse": {"input": "1}"}})),
        stop(3),
        call(5, "tooluse_2", "find"),
        stop(5),
        ("messageStop", json!({"stopReason": "tool_use"})),
        metadata(),
    ])
}

fn expected() -> Vec<&'static str> {
    vec![
        "start (None, None, None)",
        "reasoning hm",
        "signature c2ln",
        "end",
        "redacted RW1wdHk=",
        "end",
        "text Grüße \"1\"",
        "text \n",
        r#"citation {"type":"page_location","cited_text":"ab\n","document_title":"t","document_index":0,"start_page_number":2,"end_page_number":3}"#,
        "end",
        "call 0 tooluse_1 mcp.files.read",
        "arguments 0 {\"q\":",
        "arguments 0 1}",
        "end",
        "call 1 tooluse_2 find",
        "end",
        "finish ToolCalls ",
        "usage [130, 628, 70, 30]",
    ]
}

#[test]
fn a_stream_is_read_event_by_event_and_ends_with_its_usage() {
    assert_eq!(
        read(true, &[&stream()]),
        (expected().iter().map(ToString::to_string).collect(), Ok(()), true)
    );
}

#[test]
fn a_stream_reads_the_same_split_at_every_byte() {
    let stream = stream();
    let whole = read(true, &[&stream]);
    for at in 0..=stream.len() {
        assert_eq!(read(true, &[&stream[..at], &stream[at..]]), whole, "{at}");
    }
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(read(true, &bytes), whole);
}

/// Complaint: zero tokens were counted, since what was used comes after the end.
#[test]
fn an_answer_is_complete_with_its_usage_and_not_before() {
    let stop = frames(&[("messageStop", json!({"stopReason": "end_turn"}))]);
    let end = frames(&[metadata()]);
    let mut reader = Reader::new(Aliases::default(), true);
    reader.read(&stop, false, &mut |_| {}).unwrap();
    assert!(!reader.is_complete());
    reader.read(&end, false, &mut |_| {}).unwrap();
    assert!(reader.is_complete());
    assert!(!read(true, &[&end]).2, "no reason was given");
}

#[test]
fn what_follows_the_end_changes_nothing() {
    let whole = read(true, &[&stream()]);
    for more in [encode_exception("throttlingException", "x"), b"HTTP/1.1 200".to_vec(), vec![0; 40]] {
        assert_eq!(read(true, &[&[stream(), more].concat()]), whole);
    }
}

#[test]
fn a_stream_that_breaks_off_is_not_complete() {
    let stream = stream();
    for end in 0..stream.len() {
        let (_, read, is_complete) = read(true, &[&stream[..end]]);
        assert!(read.is_ok() || read == Err(Broken::Incomplete), "{end}");
        assert!(!is_complete, "{end}");
    }
}

/// Complaint: a failure within a stream ended it as if all were well.
#[test]
fn failures_within_a_stream_are_told() {
    use FailureKind::*;
    for (name, status, kind) in [
        ("internalServerException", 500, Server),
        ("modelStreamErrorException", 502, Server),
        ("validationException", 400, InvalidRequest),
        ("throttlingException", 429, RateLimit),
        ("serviceUnavailableException", 503, Overloaded),
        ("modelTimeoutException", 408, Timeout),
        ("newException", 502, Server),
    ] {
        let start = frames(&[("messageStart", json!({"role": "assistant"}))]);
        let (events, read, is_complete) = read(true, &[&start, &encode_exception(name, "oh no")]);
        assert_eq!(events[1..], [format!("error {status} {kind:?} oh no")]);
        assert_eq!((read, is_complete), (Ok(()), false));
    }
    let error =
        encode(&[(":message-type", "error"), (":error-code", "Busy"), (":error-message", "later")], b"");
    assert_eq!(read(true, &[&error]).0, ["error 502 Server later"]);
    let malformed = frames(&[("messageStop", json!({"stopReason": "malformed_tool_use"}))]);
    assert_eq!(
        read(true, &[&malformed]).0[1..],
        [
            "error 502 Server the model's answer cannot be used (malformed_tool_use); the request may be sent again"
        ]
    );
}

#[test]
fn reasons_to_end_are_told_apart() {
    for (stop_reason, expected) in [
        ("end_turn", "finish Stop "),
        ("tool_use", "finish ToolCalls "),
        ("max_tokens", "finish Length "),
        ("model_context_window_exceeded", "finish Length "),
        ("stop_sequence", "finish StopSequence END"),
        ("content_filtered", "finish ContentFilter "),
        ("guardrail_intervened", "finish ContentFilter "),
        ("something_new", "finish Stop "),
    ] {
        let mut stop = json!({"stopReason": stop_reason});
        if stop_reason == "stop_sequence" {
            stop["additionalModelResponseFields"] = json!({"stop_sequence": "END"});
        }
        assert_eq!(read(true, &[&frames(&[("messageStop", stop)])]).0[1], expected);
    }
}

#[test]
fn tools_of_the_provider_and_new_events_pass_unseen() {
    let (_, read, is_complete) = read(
        true,
        &[
            &encode_event("initial-response", ""),
            &frames(&[
                (
                    "contentBlockStart",
                    json!({"contentBlockIndex": 0, "start": {"toolUse": {
                        "toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use",
                    }}}),
                ),
                ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}})),
                ("messageStop", json!({"stopReason": "end_turn"})),
                metadata(),
            ]),
        ],
    );
    assert_eq!((read, is_complete), (Ok(()), true));
}

#[test]
fn calls_without_end_are_given_up() {
    let start = |block: usize| {
        let start = json!({"toolUse": {"toolUseId": "t", "name": "f"}});
        encode_event("contentBlockStart", &json!({"contentBlockIndex": block, "start": start}).to_string())
    };
    let stream: Vec<u8> = (0..=MAX_OPEN_CALLS).flat_map(start).collect();
    let (events, read, _) = read(true, &[&stream]);
    assert_eq!(events.len(), MAX_OPEN_CALLS + 1);
    assert!(matches!(read, Err(Broken::Unreadable(_))));
}

#[test]
fn what_is_no_stream_of_this_api_cannot_be_read() {
    for body in
        [b"event: x\ndata: {}\n\n".to_vec(), encode_event("messageStop", "{"), encode_event("metadata", "1")]
    {
        assert!(matches!(read(true, &[&body]).1, Err(Broken::Unreadable(_))));
    }
}

#[test]
fn a_whole_answer_is_read_as_its_stream_would_be() {
    let location = json!({"documentPage": {"documentIndex": 0, "start": 2, "end": 3}});
    let body = json!({
        "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "RW1wdHk="}},
            {"citationsContent": {
                "content": [{"text": "Grüße \"1\""}, {"text": "\n"}],
                "citations": [{"title": "t", "sourceContent": [{"text": "a"}, {"text": "b\n"}], "location": location}],
            }},
            {"toolUse": {"toolUseId": "tooluse_1", "name": aliases().1, "input": {"q": 1}}},
            {"toolUse": {"toolUseId": "tooluse_2", "name": "find", "input": {}}},
            {"toolUse": {"toolUseId": "t", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}},
        ]}},
        "stopReason": "tool_use",
        "usage": metadata().1["usage"],
        "metrics": {"latencyMs": 1},
    })
    .to_string();
    let (events, result, is_complete) = read(true, &[]);
    assert_eq!((events.len(), result, is_complete), (0, Ok(()), false));
    let mut wanted = expected();
    wanted.splice(
        11..16,
        ["arguments 0 {\"q\":1}", "end", "call 1 tooluse_2 find", "arguments 1 {}", "end", "end"],
    );
    let end = wanted.len() - 2;
    wanted.swap(end, end + 1);
    let halves = body.as_bytes().split_at(body.len() / 2);
    for pieces in [vec![body.as_bytes()], vec![halves.0, halves.1]] {
        assert_eq!(read(false, &pieces), (wanted.iter().map(ToString::to_string).collect(), Ok(()), true));
    }
}

#[test]
fn a_whole_answer_without_a_message_cannot_be_read() {
    for body in ["", "{", "{}", "[]", r#"{"output":{}}"#] {
        let (events, result, is_complete) = read(false, &[body.as_bytes()]);
        assert!(events.is_empty() && !is_complete);
        assert!(matches!(result, Err(Broken::Unreadable(_))), "{body}");
    }
}

#[test]
fn places_of_citations_have_anthropics_names() {
    let chunk = json!({"documentIndex": 1, "start": 2, "end": 3});
    for (location, expected) in [
        (
            json!({"documentChar": chunk}),
            r#"{"type":"char_location","cited_text":"x","document_title":null,"document_index":1,"start_char_index":2,"end_char_index":3}"#,
        ),
        (
            json!({"documentChunk": chunk}),
            r#"{"type":"content_block_location","cited_text":"x","document_title":null,"document_index":1,"start_block_index":2,"end_block_index":3}"#,
        ),
        (
            json!({"searchResultLocation": {"searchResultIndex": 4, "start": 0, "end": 1}}),
            r#"{"type":"search_result_location","cited_text":"x","title":null,"source":"s","search_result_index":4,"start_block_index":0,"end_block_index":1}"#,
        ),
        (
            json!({"web": {"url": "https://example.com", "domain": "example.com"}}),
            r#"{"type":"web_search_result_location","cited_text":"x","title":null,"url":"https://example.com","encrypted_index":""}"#,
        ),
    ] {
        let citation = json!({"source": "s", "sourceContent": [{"text": "x"}], "location": location});
        let delta = json!({"contentBlockIndex": 0, "delta": {"citation": citation}});
        assert_eq!(
            read(true, &[&frames(&[("contentBlockDelta", delta)])]).0[1],
            format!("citation {expected}")
        );
    }
}

proptest! {
    #[test]
    fn damaged_events_read_the_same_in_any_pieces(
        event in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let (name, sound) = [
            ("contentBlockStart", r#"{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}"#),
            ("contentBlockDelta", r#"{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{}"}}}"#),
            ("messageStop", r#"{"stopReason":"stop_sequence","additionalModelResponseFields":{"stop_sequence":"x"}}"#),
            ("metadata", r#"{"usage":{"inputTokens":18446744073709551615,"cacheReadInputTokens":18446744073709551615}}"#),
        ][event];
        let mut payload = sound.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(payload.len());
            payload[place] = byte;
        }
        let stream = encode(&[(":message-type", "event"), (":event-type", name)], &payload);
        let (before, after) = stream.split_at(cut.index(stream.len()));
        prop_assert_eq!(read(true, &[before, after]), read(true, &[&stream]));
    }
}
