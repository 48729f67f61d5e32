use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::report::Usage;

const REPORTED: Option<UsageSource> = Some(UsageSource::Reported);

fn tap(kind: &str) -> Tap {
    Tap::new(Some(kind.as_bytes()), None)
}

/// The report of a body that arrives in these chunks, with the count of content events as `feed` returned it.
fn report<'a>(kind: &str, chunks: impl IntoIterator<Item = &'a [u8]>) -> Report {
    let mut tap = tap(kind);
    let content_events: u64 = chunks.into_iter().map(|chunk| u64::from(tap.feed(chunk).content_events)).sum();
    let report = tap.finish();
    assert_eq!(report.content_events, content_events);
    report
}

fn events(text: &str) -> Report {
    let whole = report("text/event-stream; charset=utf-8", [text.as_bytes()]);
    let bytewise = report("text/event-stream", text.as_bytes().chunks(1));
    assert_eq!(whole, bytewise, "{text}");
    whole
}

fn document(text: &str) -> Report {
    let whole = report("application/json", [text.as_bytes()]);
    assert_eq!(whole, report("application/json", text.as_bytes().chunks(1)), "{text}");
    whole
}

fn usage(input: u64, output: u64) -> Usage {
    Usage { input: Some(input), output: Some(output), total: Some(input + output), ..Usage::default() }
}

/// The report of a body that came to its end, had no error in it and said what it took.
fn complete(usage: Usage, content_events: u64) -> Report {
    Report { usage, usage_source: REPORTED, content_events, is_complete: Some(true), has_error_event: false }
}

#[test]
fn a_response_that_is_counted_elsewhere_is_read_for_its_events_only() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
                  data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\ndata: [DONE]\n\n";
    for size in [1, 7, stream.len()] {
        let mut tap = Tap::of_counted(Some(b"text/event-stream"), None);
        for chunk in stream.as_bytes().chunks(size) {
            tap.feed(chunk);
        }
        assert_eq!(tap.position(), StreamPosition { events: 3, is_between_events: true });
        let report = tap.finish();
        assert_eq!((report.content_events, report.is_complete), (1, Some(true)));
        let estimate = Usage { output: Some(1), ..Usage::default() };
        assert_eq!((report.usage, report.usage_source), (estimate, Some(UsageSource::Estimated)));
    }
    let mut tap = Tap::of_counted(Some(b"application/json"), None);
    tap.feed(b"{\"usage\":{\"prompt_tokens\":3}}");
    assert_eq!(tap.finish(), Report::default());
}

#[test]
fn a_chat_stream_with_usage_at_its_end() {
    let report = events(concat!(
        "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\":{\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"usage\"}}]}\n\n",
        "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"total_tokens\":12,",
        "\"prompt_tokens_details\":{\"cached_tokens\":8},\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\n",
        "data: [DONE]\n\n",
    ));
    let usage = Usage { cached_input: Some(8), reasoning: Some(2), ..usage(9, 3) };
    assert_eq!(report, complete(usage, 3));
}

#[test]
fn a_growing_usage_in_every_event_counts_once() {
    let event = |n: u64| {
        format!(
            "data: {{\"choices\":[{{\"text\":\"a\"}}],\"usage\":{{\"prompt_tokens\":5,\"total_tokens\":{},\"completion_tokens\":{n}}}}}\n\n",
            5 + n
        )
    };
    let report = events(&(1..=4).map(event).collect::<String>());
    assert_eq!((report.usage, report.content_events, report.is_complete), (usage(5, 4), 4, Some(false)));
}

#[test]
fn a_stream_of_the_messages_api() {
    let report = events(concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":4,",
        "\"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n",
        "event: ping\ndata: {\"type\": \"ping\"}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"!\"}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":7}}\n\n",
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ));
    let usage = Usage { cached_input: Some(100), cache_creation: Some(10), ..usage(114, 7) };
    assert_eq!(report, complete(usage, 2));
}

#[test]
fn a_stream_of_the_responses_api_with_a_huge_last_event() {
    let text = "\\\"usage\\\":{}".repeat(20_000);
    let report = events(&format!(
        concat!(
            "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"usage\":null}}}}\n\n",
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}}\n\n",
            "data: {{\"type\":\"response.output_text.delta\",\"delta\":\"b\"}}\n\n",
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"output\":[{{\"text\":\"{}\"}}],",
            "\"usage\":{{\"input_tokens\":3,\"input_tokens_details\":{{\"cached_tokens\":0}},\"output_tokens\":2,",
            "\"output_tokens_details\":{{\"reasoning_tokens\":1}},\"total_tokens\":5}}}}}}\n\n",
        ),
        text
    ));
    let usage = Usage { cached_input: Some(0), reasoning: Some(1), ..usage(3, 2) };
    assert_eq!(report, complete(usage, 2));
}

#[test]
fn errors_within_a_stream() {
    for stream in [
        "data: {\"error\":{\"message\":\"x\"}}\n\n",
        "data: { \"error\" : {} }\n\n",
        "data: {\"object\":\"error\",\"message\":\"x\"}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n",
        "event: response.failed\ndata: {\"type\":\"response.failed\"}\n\n",
        "data: {\"type\":\"error\",\"code\":null}\n\n",
    ] {
        let report = events(stream);
        assert!(report.has_error_event && report.content_events == 0, "{stream}");
    }
    assert!(!events("data: {\"error\":null,\"choices\":[{}]}\n\n").has_error_event);
}

#[test]
fn every_way_to_write_an_event_stream() {
    let lf = ": comment\nid: 1\ndata: {\"choices\":[{}],\ndata: \"usage\":{\"prompt_tokens\":1,\ndata:\"completion_tokens\":2}}\n\nretry: 5\n\n\ndata\n\ndata:[DONE]\n\n";
    for newline in ["\n", "\r", "\r\n"] {
        for mark in ["", "\u{FEFF}"] {
            let text = format!("{mark}{}", lf.replace('\n', newline));
            let report = events(&text);
            assert_eq!(report.usage, usage(1, 2), "{text:?}");
            assert_eq!((report.content_events, report.is_complete), (1, Some(true)), "{text:?}");
        }
    }
    assert_eq!(events("\u{FEFF}data: [DONE]\n\n").is_complete, Some(true));
    assert_eq!(events("data: a\n\n\u{FEFF}data: [DONE]\n\n").is_complete, Some(false));
    assert_eq!(
        events("data: [DONE]\n").is_complete,
        Some(true),
        "a last blank line that is missing is forgiven"
    );
    assert_eq!(events("database: [DONE]\n\n data: [DONE]\n\n").is_complete, Some(false));
}

#[test]
fn the_position_tells_whether_an_event_is_open() {
    let mut tap = tap("text/event-stream");
    assert!(tap.is_event_stream());
    let mut position = |chunk: &str| {
        tap.feed(chunk.as_bytes());
        (tap.position().events, tap.position().is_between_events)
    };
    assert_eq!(position(""), (0, true));
    assert_eq!(position("data: {}\n"), (0, false));
    assert_eq!(position("\n"), (1, true));
    assert_eq!(position("d"), (1, false));
    assert_eq!(position("ata: {}\r\n\r"), (2, true));
    assert_eq!(position("\n"), (2, true));
    assert_eq!(position("data: a\n\ndata: b\n\nevent: x\n"), (4, false));
}

#[test]
fn a_json_answer() {
    let report = document(
        "{\"choices\":[{\"text\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":99}\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2},\"x\":[]}",
    );
    assert_eq!(report, complete(usage(1, 2), 0));
    assert_eq!(document("{\"usage\":{\"prompt_tokens\":1").is_complete, Some(false));
    assert_eq!(document("[{\"usage\":{\"prompt_tokens\":1}}]").usage, Usage::default());
    assert_eq!(document("{\"data\":{\"usage\":{\"prompt_tokens\":1}}}").usage, Usage::default());
}

#[test]
fn a_large_embedding_is_skipped() {
    let vector = vec![json!(-0.012_345_678_9); 4096];
    let body = json!({"data": vec![json!({"embedding": vector}); 16], "usage": {"prompt_tokens": 7, "total_tokens": 7}});
    let usage = document(&body.to_string()).usage;
    assert_eq!(usage, Usage { input: Some(7), total: Some(7), ..Usage::default() });
}

#[test]
fn odd_members_do_not_cost_the_counts_beside_them() {
    let odd = "{\"usage\":{\"prompt_tokens\":12.0,\"completion_tokens\":-1,\"total_tokens\":\"x\",\"prompt_tokens_details\":null,\
               \"completion_tokens_details\":[1],\"cost\":{\"a\":[{}]},\"cache_read_input_tokens\":null}}";
    assert_eq!(document(odd).usage, Usage { input: Some(12), ..Usage::default() });
    let huge = format!("{{\"usage\":{{\"x\":\"{}\",\"prompt_tokens\":1}}}}", "a".repeat(10_000));
    assert_eq!(document(&huge).usage, Usage::default());
}

#[test]
fn only_plain_event_streams_and_json_are_looked_into() {
    let body = b"{\"usage\":{\"prompt_tokens\":1}}";
    let encoded = Some(UsageSource::Encoded);
    for (kind, encoding, source) in [
        (Some("application/json"), None, REPORTED),
        (Some("Application/JSON; charset=utf-8"), Some("identity"), REPORTED),
        (Some("application/problem+json"), None, REPORTED),
        (Some("application/json"), Some("gzip"), encoded),
        (Some("text/event-stream"), Some("br"), encoded),
        (Some("audio/mpeg"), None, None),
        (Some("audio/mpeg"), Some("gzip"), None),
        (Some("+jso"), None, None),
        (None, None, None),
    ] {
        let mut tap = Tap::new(kind.map(str::as_bytes), encoding.map(str::as_bytes));
        tap.feed(body);
        let report = tap.finish();
        assert_eq!(report.usage_source, source, "{kind:?}");
        assert_eq!(report.is_complete.is_some(), source == REPORTED, "{kind:?}");
        assert_eq!(report.usage.input.is_some(), source == REPORTED, "{kind:?}");
        assert!(!tap.is_event_stream());
        assert_eq!(tap.is_stream(), kind == Some("text/event-stream"), "{kind:?}");
    }
}

#[test]
fn a_stream_whose_server_counts_no_tokens_has_its_events_counted() {
    let chat = concat!(
        "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\n",
        "data: {\"id\":\"1\",\"choices\":[],\"usage\":null}\n\n",
        ": ping\n\ndata: [DONE]\n\n",
    );
    let completions = "data: {\"object\":\"text_completion\",\"choices\":[{\"text\":\"a\"}]}\n\n".repeat(3);
    let responses = concat!(
        "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"b\"}\n\n",
        "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"text\":\"ab\"}\n\n",
    );
    for (stream, count) in [(chat, 3), (&completions, 3), (responses, 2)] {
        let report = events(stream);
        assert_eq!(report.usage, Usage { output: Some(count), ..Usage::default() }, "{stream}");
        assert_eq!(report.usage_source, Some(UsageSource::Estimated), "{stream}");
    }
    // What the server did say stays.
    let input = "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":5}}\n\n";
    let report = events(input);
    assert_eq!((report.usage, report.usage_source), (usage(5, 1), Some(UsageSource::Estimated)));
    // Nothing to count is no estimate.
    for stream in ["", ": ping\n\n", "data: [DONE]\n\n", "data: {\"error\":{}}\n\n"] {
        assert_eq!((events(stream).usage, events(stream).usage_source), (Usage::default(), None), "{stream}");
    }
}

/// Cuts `bytes` at places drawn from `cuts`.
fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("usage".to_owned()),
        Just("choices".to_owned()),
        Just("response".to_owned()),
        Just("message".to_owned()),
        Just("error".to_owned()),
        "[a-z\"\\\\é]{0,9}",
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~é\n\"\\\\{}\\[\\]]{0,20}".prop_map(Value::from),
        Just(Value::from("usage")),
        Just(Value::from("\"usage\":{\"prompt_tokens\":9}")),
        (0..1000_u64, 0..1000_u64).prop_map(|(i, o)| json!({"prompt_tokens": i, "completion_tokens": o})),
        (0..1000_u64).prop_map(|n| json!({"input_tokens": n, "output_tokens": null, "input_tokens_details": {"cached_tokens": n}})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn object() -> impl Strategy<Value = Value> {
    prop::collection::vec((name(), value()), 0..6)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// What the scanner must find, read off a parsed document in its order.
fn merge_expected(document: &Value, counts: &mut Counts) {
    let Some(members) = document.as_object() else { return };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("usage", Value::Object(_)) => counts.merge(value.to_string().as_bytes()),
            ("response" | "message", Value::Object(inner)) => {
                if let Some(usage @ Value::Object(_)) = inner.get("usage") {
                    counts.merge(usage.to_string().as_bytes());
                }
            }
            _ => {}
        }
    }
}

fn written(document: &Value, is_pretty: bool) -> String {
    if is_pretty { serde_json::to_string_pretty(document).unwrap() } else { document.to_string() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_document_means_what_serde_json_says(document in object(), is_pretty: bool, cuts in cuts()) {
        let mut counts = Counts::default();
        merge_expected(&document, &mut counts);
        let text = written(&document, is_pretty);
        let report = report("application/json", cut(text.as_bytes(), &cuts));
        prop_assert_eq!(report.usage, counts.usage());
        prop_assert_eq!(report.is_complete, Some(true));
    }

    #[test]
    fn a_stream_means_what_serde_json_says(
        documents in prop::collection::vec((object(), any::<bool>()), 0..8),
        is_done: bool,
        newline in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cuts in cuts(),
    ) {
        let mut counts = Counts::default();
        let mut content_events = 0;
        let mut has_error_event = false;
        let mut text = String::new();
        for (document, is_pretty) in &documents {
            merge_expected(document, &mut counts);
            let first = document.as_object().unwrap().iter().next();
            let is_error = first.is_some_and(|(name, value)| name == "error" && !value.is_null());
            has_error_event |= is_error;
            content_events += u64::from(!is_error && document["choices"] != json!([]));
            for line in written(document, *is_pretty).lines() {
                text += &format!("data: {line}{newline}");
            }
            text += newline;
        }
        if is_done {
            text += &format!("data: [DONE]{newline}{newline}");
        }
        let report = report("text/event-stream", cut(text.as_bytes(), &cuts));
        let reported = counts.usage();
        let is_estimated = reported.output.is_none() && content_events > 0;
        let usage = match is_estimated {
            true => Usage { output: Some(content_events), total: reported.input.map(|input| input + content_events), ..reported },
            false => reported,
        };
        let reported = (reported != Usage::default()).then_some(UsageSource::Reported);
        let usage_source = if is_estimated { Some(UsageSource::Estimated) } else { reported };
        prop_assert_eq!(report, Report { usage, usage_source, content_events, is_complete: Some(is_done), has_error_event });
    }

    #[test]
    fn the_cut_of_any_bytes_makes_no_difference(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "data", ":", " ", "event", "\n", "\r", "\n\n", "{", "}", "[", "]", "\"", "\\", "usage", "\"usage\"", "choices", "\"choices\":[ ]",
            "{\"usage\":{\"prompt_tokens\":5}}", "error", "[DONE]", "message_stop", "\u{FEFF}", "x", ",", "null", "response", "data: ", "{\"type\":\"",
        ]), 0..40),
        cuts in cuts(),
    ) {
        let text = pieces.concat();
        for kind in ["text/event-stream", "application/json"] {
            prop_assert_eq!(report(kind, cut(text.as_bytes(), &cuts)), report(kind, [text.as_bytes()]));
        }
    }
}
