use proptest::prelude::*;

use super::*;
use crate::answer::FailureKind;
use crate::json::Text;

/// What is read of `body` in pieces of `size` bytes: each event as text, pieces of one text joined.
fn read(body: &[u8], is_stream: bool, aliases: &Aliases, size: usize) -> (Vec<String>, Result<bool, Broken>) {
    let mut reader = Reader::new(is_stream, aliases.clone(), "req-1");
    let mut events: Vec<String> = Vec::new();
    let mut sink = |event: Event<'_>| events.push(shown(&event));
    for piece in body.chunks(size) {
        if let Err(broken) = reader.read(piece, false, &mut sink) {
            return (events, Err(broken));
        }
    }
    let ended = reader.read(b"", true, &mut sink).map(|()| reader.is_complete());
    (events, ended)
}

fn shown(event: &Event<'_>) -> String {
    let plain = |text: &Text<'_>| text.decoded().into_owned();
    let some = |text: &Option<Text<'_>>| text.as_ref().map_or("-".to_owned(), plain);
    match event {
        Event::Start { id, model, created } => format!("start {} {} {created:?}", some(id), some(model)),
        Event::Text(text) => format!("text {}", plain(text)),
        Event::Reasoning(text) => format!("reasoning {}", plain(text)),
        Event::Signature(text) => format!("signature {}", plain(text)),
        Event::Refusal(text) => format!("refusal {}", plain(text)),
        Event::ToolCall { call, id, name, signature } => {
            format!("call {call} {} {} {}", plain(id), plain(name), some(signature))
        }
        Event::Arguments { call, text } => format!("arguments {call} {}", plain(text)),
        Event::Citation(Value::Object(citation)) => format!("citation {}", citation.raw),
        Event::EndOfPart => "end".to_owned(),
        Event::Usage(usage) => format!("usage {usage:?}"),
        Event::Finish { reason, .. } => format!("finish {reason:?}"),
        Event::Error(failure) => {
            format!("error {} {:?} {}", failure.status, failure.kind, plain(&failure.message))
        }
        other => format!("{other:?}"),
    }
}

fn stream(body: &str) -> (Vec<String>, Result<bool, Broken>) {
    read(body.as_bytes(), true, &Aliases::default(), usize::MAX)
}

fn whole(body: &str) -> (Vec<String>, Result<bool, Broken>) {
    read(body.as_bytes(), false, &Aliases::default(), usize::MAX)
}

/// A stream of events with these data.
fn events(data: &[&str]) -> String {
    data.iter().map(|data| format!("data: {data}\r\n\r\n")).collect()
}

/// As Gemini 3 streams a thought and two calls: the first is signed, finish is `STOP`, usage grows.
const CALLS: [&str; 4] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"Let me \"see\".","thought":true}],"role":"model"},"index":0}],
      "usageMetadata":{"promptTokenCount":30,"thoughtsTokenCount":4},"modelVersion":"gemini-3-pro-preview",
      "responseId":"abc-123","createTime":"2025-06-04T12:34:56.123456Z"}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"get_weather","args":{"city":"Köln","days":[1,2]}},
      "thoughtSignature":"CpQB\u003d\u003d"},{"functionCall":{"id":"own","name":"now","args":{}}}],"role":"model"}}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP"}],
      "usageMetadata":{"promptTokenCount":30,"candidatesTokenCount":12,"thoughtsTokenCount":5,"cachedContentTokenCount":20}}"#,
    r#"{"usageMetadata":{"promptTokenCount":30,"candidatesTokenCount":14,"toolUsePromptTokenCount":2,"totalTokenCount":44}}"#,
];

#[test]
fn a_stream_is_read_the_same_however_it_is_cut() {
    let wanted = [
        "start abc-123 gemini-3-pro-preview Some(1749040496)",
        "reasoning Let me \"see\".",
        "signature gemini:CpQB==",
        "call 0 call_abc-123_0 get_weather CpQB==",
        r#"arguments 0 {"city":"Köln","days":[1,2]}"#,
        "end",
        "call 1 own now -",
        "end",
        "finish ToolCalls",
        "usage Usage { input: Some(32), output: Some(19), cache_read: Some(20), cache_write: None, reasoning: Some(5) }",
    ];
    let data = CALLS.map(|data| data.replace('\n', ""));
    let crlf = events(&data.each_ref().map(String::as_str));
    for body in [crlf.clone(), crlf.replace("\r\n", "\n"), crlf.trim_end().to_owned()] {
        for size in [1, 2, 3, 7, usize::MAX] {
            let (events, ended) = read(body.as_bytes(), true, &Aliases::default(), size);
            assert_eq!(events, wanted, "pieces of {size}");
            assert_eq!(ended, Ok(true));
        }
        for at in 0..body.len() {
            let mut reader = Reader::new(true, Aliases::default(), "req-1");
            let mut events = Vec::new();
            let mut sink = |event: Event<'_>| events.push(shown(&event));
            reader.read(&body.as_bytes()[..at], false, &mut sink).unwrap();
            reader.read(&body.as_bytes()[at..], true, &mut sink).unwrap();
            assert_eq!(events, wanted, "cut at {at}");
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_not_complete() {
    let data = CALLS.map(|data| data.replace('\n', ""));
    let all = events(&data.each_ref().map(String::as_str));
    let finish = all.find("\"STOP\"").unwrap();
    for at in (0..finish).filter(|at| all.is_char_boundary(*at)) {
        let (events, ended) = stream(&all[..at]);
        assert!(matches!(ended, Ok(false) | Err(Broken::Incomplete)), "cut at {at}: {ended:?}");
        assert!(!events.iter().any(|event| event.starts_with("finish")), "cut at {at}");
    }
    // What was counted until then is known.
    let (events, _) = stream(&events(&[&data[0]]));
    assert!(events.last().unwrap().starts_with("usage Usage { input: Some(30)"));
}

#[test]
fn an_answer_comes_whole() {
    let (events, ended) = whole(
        r#"{"candidates":[{"content":{"parts":[
            {"text":"thinking","thought":true},
            {"text":"Hello","thoughtSignature":"c2ln"},
            {"text":" world"},
            {"inlineData":{"mimeType":"image/png","data":"iVBOR"}}
        ],"role":"model"},"finishReason":"MAX_TOKENS","index":0},{"content":{"parts":[{"text":"second"}]}}],
        "usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5},
        "modelVersion":"gemini-2.5-flash"}"#,
    );
    assert_eq!(
        events,
        [
            "start - gemini-2.5-flash None",
            "reasoning thinking",
            "signature gemini:c2ln",
            "text Hello",
            "text  world",
            "text ![image](data:image/png;base64,",
            "text iVBOR",
            "text )",
            "finish Length",
            "usage Usage { input: Some(3), output: Some(2), cache_read: None, cache_write: None, reasoning: None }",
        ],
    );
    assert_eq!(ended, Ok(true));
    let bare = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#;
    assert_eq!(whole(bare).0, ["start - - None", "call 0 call_req-1_0 f -", "end", "finish ToolCalls"]);
}

#[test]
fn what_is_no_answer_is_an_error() {
    for body in ["{}", r#"{"candidates":[]}"#, r#"{"promptFeedback":{}}"#] {
        assert_eq!(whole(body).1, Ok(false), "{body}");
        assert_eq!(stream(&events(&[body])).1, Ok(false), "{body}");
    }
    for body in ["", "[]", "7", "<html>", r#"{"candidates":[{"#] {
        assert!(matches!(whole(body).1, Err(Broken::Unreadable(_))), "{body}");
    }
    let broken = format!("{}{}", events(&["{\"a\": }"]), events(&CALLS.map(|_| "{}")));
    assert!(matches!(stream(&broken).1, Err(Broken::Unreadable(_))));
}

#[test]
fn the_reason_of_the_end_is_the_clients() {
    let ends = |reason: &str| {
        let body = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"x"}}]}},"finishReason":"{reason}"}}]}}"#
        );
        let (events, _) = whole(&body);
        events.last().unwrap().clone()
    };
    for (reason, end) in [
        ("STOP", "finish Stop"),
        ("MAX_TOKENS", "finish Length"),
        ("SAFETY", "finish ContentFilter"),
        ("RECITATION", "finish ContentFilter"),
        ("BLOCKLIST", "finish ContentFilter"),
        ("PROHIBITED_CONTENT", "finish ContentFilter"),
        ("SPII", "finish ContentFilter"),
        ("IMAGE_SAFETY", "finish ContentFilter"),
        ("OTHER", "finish Stop"),
        ("NEW_REASON", "finish Stop"),
        ("MALFORMED_FUNCTION_CALL", "error 502 Server the model's answer ended with MALFORMED_FUNCTION_CALL"),
        (
            "MISSING_THOUGHT_SIGNATURE",
            "error 400 InvalidRequest the model's answer ended with MISSING_THOUGHT_SIGNATURE",
        ),
    ] {
        assert_eq!(ends(reason), end, "{reason}");
    }
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"no"},"responseId":"r"}"#;
    let wanted = ["start r - None", "refusal no", "finish ContentFilter"];
    assert_eq!(whole(blocked), (wanted.map(str::to_owned).to_vec(), Ok(true)));
    assert_eq!(stream(&events(&[blocked])), (wanted.map(str::to_owned).to_vec(), Ok(true)));
}

#[test]
fn an_error_within_a_stream_is_no_clean_end() {
    let error = r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#;
    for error in [error.to_owned(), format!("[{error}]")] {
        let text = r#"{"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}"#;
        let (events, ended) = stream(&events(&[text, &error, text]));
        assert_eq!(events, ["start - - None", "text x", "error 503 Overloaded The model is overloaded."]);
        assert_eq!(ended, Ok(false));
    }
    assert_eq!(FailureKind::of_status(503), FailureKind::Overloaded);
}

#[test]
fn a_tool_is_called_by_the_name_that_the_client_knows() {
    let mut aliases = Aliases::default();
    let alias = aliases.identifier("mcp.server.tool", 64).into_owned();
    let body =
        format!(r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"name":"{alias}"}}}}]}}}}]}}"#);
    let (events, _) = read(body.as_bytes(), false, &aliases, usize::MAX);
    assert_eq!(events[1], "call 0 call_req-1_0 mcp.server.tool -");
}

#[test]
fn ids_that_are_made_up_are_short_enough_for_every_client() {
    let long = "x".repeat(200);
    let body = format!(
        r#"{{"responseId":"{long}","candidates":[{{"content":{{"parts":[
        {{"functionCall":{{"name":"f"}}}},{{"functionCall":{{"name":"f"}}}}]}}}}]}}"#
    );
    let (events, _) = whole(&body);
    let ids: Vec<_> =
        events.iter().filter_map(|event| event.strip_prefix("call ")?.split(' ').nth(1)).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids.iter().all(|id| id.len() <= 40), "{ids:?}");
}

#[test]
fn sources_with_an_address_are_citations() {
    let (events, _) = whole(
        r#"{"candidates":[{"content":{"parts":[{"text":"Spain won."}]},"finishReason":"STOP","groundingMetadata":{
            "webSearchQueries":["euro 2024"],
            "groundingChunks":[{"web":{"uri":"https://a.example/\u00e4","title":"a"}},{"retrievedContext":{"uri":"gs://b/c"}},{"web":{}}],
            "groundingSupports":[{"segment":{"endIndex":10,"text":"Spain won."},"groundingChunkIndices":[0,1,2,9,-1]}]},
            "citationMetadata":{"citations":[{"startIndex":0,"endIndex":5,"uri":"https://c.example"},{"title":"book"}]}}]}"#,
    );
    let citations: Vec<serde_json::Value> = events
        .iter()
        .filter_map(|event| serde_json::from_str(event.strip_prefix("citation ")?).unwrap())
        .collect();
    let citation = |url: &str, title: Option<&str>, text: &str| {
        serde_json::json!({
            "type": "web_search_result_location", "url": url, "title": title, "cited_text": text, "encrypted_index": "",
        })
    };
    assert_eq!(
        citations,
        [
            citation("https://a.example/ä", Some("a"), "Spain won."),
            citation("gs://b/c", None, "Spain won."),
            citation("https://c.example", None, ""),
        ],
    );
    assert_eq!(events[1], "text Spain won.");
    assert_eq!(events.last().unwrap(), "finish Stop");
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..24),
        is_stream: bool,
        size in 1..9_usize,
    ) {
        let body = pieces.concat();
        let (events, ended) = read(body.as_bytes(), is_stream, &Aliases::default(), size);
        let is_finished = events.iter().any(|event| event.starts_with("finish"));
        prop_assert_eq!(ended == Ok(true), is_finished);
        prop_assert!(events.iter().filter(|event| event.starts_with("start")).count() <= 1);
    }
}

/// What answers are made of, for those that nobody would make.
const PIECES: [&str; 16] = [
    "data: ",
    "\n\n",
    "\r",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"candidates\":[",
    "{\"content\":{\"parts\":[",
    "{\"text\":\"x\"}",
    "{\"functionCall\":{\"args\":{}}}",
    "\"finishReason\":\"STOP\"",
    "\"error\":{}",
    "\"usageMetadata\":{\"promptTokenCount\":1}",
    "data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n",
];
