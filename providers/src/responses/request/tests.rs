use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::read;
use crate::conversation::{
    Arguments, Content, Conversation, Format, Notes, Part, Reasoning, Refused, Role, Source, ToolChoice,
};
use crate::json::{Text, Value, Writer, parse};

fn text(text: &Text<'_>) -> Json {
    text.decoded().into()
}

fn value(value: &Value<'_>) -> Json {
    let mut out = Writer::default();
    out.value(value);
    serde_json::from_slice(&out.finish()).unwrap()
}

fn source(source: &Source<'_>) -> Json {
    match source {
        Source::Url(url) => json!({"url": text(url)}),
        Source::Base64 { media_type, data } => json!({"media_type": text(media_type), "data": text(data)}),
        Source::File(id) => json!({"file": text(id)}),
        Source::Text(plain) => json!({"text": text(plain)}),
    }
}

fn part(part: &Part<'_>) -> Json {
    let mut shown = match &part.content {
        Content::Text(said) => return text(said),
        Content::Image { source: from, detail } => {
            json!({"image": source(from), "detail": detail.as_ref().map(text)})
        }
        Content::Document { source: from, name, .. } => {
            json!({"document": source(from), "name": name.as_ref().map(text)})
        }
        Content::Audio { data, format } => json!({"audio": text(data), "format": text(format)}),
        Content::Reasoning { text: thought, signature } => {
            json!({"reasoning": text(thought), "signature": signature.as_ref().map(text)})
        }
        Content::Redacted(data) => json!({"redacted": text(data)}),
        Content::ToolCall { id, name, arguments, signature } => {
            let arguments = match arguments {
                Arguments::Written(written) => text(written),
                Arguments::Value(written) => value(written),
            };
            json!({
                "call": text(id), "name": text(name), "arguments": arguments,
                "signature": signature.as_ref().map(text),
            })
        }
        Content::ToolResult { id, parts, is_error } => {
            json!({"result": text(id), "parts": parts.iter().map(self::part).collect::<Vec<_>>(), "is_error": is_error})
        }
        Content::Refusal(words) => json!({"refusal": text(words)}),
        Content::Other { kind, .. } => json!({"other": text(kind)}),
    };
    if let (Some(cache), Some(members)) = (&part.cache, shown.as_object_mut()) {
        members.insert("cache".into(), value(cache));
    }
    shown
}

/// The turns as pairs of a side and its parts.
fn turns(conversation: &Conversation<'_>) -> Json {
    let turns = conversation.turns.iter().map(|turn| {
        let role = if turn.role == Role::User { "user" } else { "assistant" };
        json!([role, turn.parts.iter().map(part).collect::<Vec<_>>()])
    });
    turns.collect()
}

fn with<R>(body: &Json, look: impl FnOnce(Result<Conversation<'_>, Refused>, &Notes) -> R) -> R {
    let body = body.to_string();
    let document = parse(body.as_bytes()).unwrap();
    let mut notes = Notes::default();
    let read = read(document.as_object().unwrap(), &mut notes);
    look(read, &notes)
}

fn of_input(input: &Json) -> (Json, Vec<String>) {
    with(&json!({"model": "m", "input": input}), |read, notes| {
        (turns(&read.unwrap()), notes.names().iter().map(ToString::to_string).collect())
    })
}

fn refused(body: &Json) -> Refused {
    with(body, |read, _| read.expect_err(&body.to_string()))
}

#[test]
fn input_is_read_into_turns() {
    for (input, expected) in [
        (json!("hi \"you\"\n"), json!([["user", ["hi \"you\"\n"]]])),
        (
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": []}]),
            json!([["user", ["a"]], ["assistant", ["b"]], ["user", []]]),
        ),
        (
            json!([{"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBO/Rw0=", "detail": "low"},
                {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"},
                {"type": "input_image", "file_id": "file-1", "detail": "high"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"},
                {"type": "input_file", "file_data": "JVBE", "filename": "B.PDF"},
                {"type": "input_file", "file_url": "https://example.com/a.pdf"},
                {"type": "input_file", "file_id": "file-2"},
                {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
            ]}]),
            json!([["user", [
                "look",
                {"image": {"media_type": "image/png", "data": "iVBO/Rw0="}, "detail": "low"},
                {"image": {"url": "https://example.com/a.png"}, "detail": null},
                {"image": {"file": "file-1"}, "detail": "high"},
                {"document": {"media_type": "application/pdf", "data": "JVBE"}, "name": "a.pdf"},
                {"document": {"media_type": "application/pdf", "data": "JVBE"}, "name": "B.PDF"},
                {"document": {"url": "https://example.com/a.pdf"}, "name": null},
                {"document": {"file": "file-2"}, "name": null},
                {"audio": "UklG", "format": "wav"},
            ]]]),
        ),
        (
            json!([{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "no", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "I can't."},
            ]}]),
            json!([["assistant", ["no", {"refusal": "I can't."}]]]),
        ),
    ] {
        assert_eq!(of_input(&input), (expected, vec![]), "{input}");
    }
}

fn call(id: &str) -> Json {
    json!({"type": "function_call", "id": "fc_1", "call_id": id, "name": "f", "arguments": "{\"a\":1}", "status": "completed"})
}

fn called(id: &str) -> Json {
    json!({"call": id, "name": "f", "arguments": "{\"a\":1}", "signature": null})
}

fn output(id: &str, output: &str) -> Json {
    json!({"type": "function_call_output", "call_id": id, "output": output})
}

fn result(id: &str, output: &str) -> Json {
    json!({"result": id, "parts": [output], "is_error": false})
}

fn said(text: &str) -> Json {
    json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
}

#[test]
fn parallel_calls_are_one_turn_and_so_are_their_results() {
    let input = json!([
        {"role": "user", "content": "go"}, said("well"), call("1"), said("and"), call("2"), output("1", "x"),
        output("2", "y"), {"role": "user", "content": "more"}, output("3", "z"),
    ]);
    let expected = json!([
        ["user", ["go"]],
        ["assistant", ["well", called("1"), "and", called("2")]],
        ["user", [result("1", "x"), result("2", "y")]],
        ["user", ["more"]],
        ["user", [result("3", "z")]],
    ]);
    assert_eq!(of_input(&input).0, expected);
}

#[test]
fn two_messages_of_the_model_are_two_turns() {
    let input = json!([said("a"), said("b"), {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}, call("1")]);
    let hm = json!({"reasoning": "hm", "signature": null});
    let expected = json!([["assistant", ["a"]], ["assistant", ["b"]], ["assistant", [hm, called("1")]]]);
    assert_eq!(of_input(&input).0, expected);
}

#[test]
fn a_tools_output_may_have_parts() {
    let parts = json!([{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "data:image/png;base64,AA=="}]);
    let input = json!([{"type": "function_call_output", "call_id": "1", "output": parts}]);
    let image = json!({"image": {"media_type": "image/png", "data": "AA=="}, "detail": null});
    assert_eq!(
        of_input(&input).0,
        json!([["user", [{"result": "1", "parts": ["see", image], "is_error": false}]]])
    );
}

#[test]
fn a_custom_tools_history_is_a_functions() {
    let input = json!([
        {"type": "custom_tool_call", "call_id": "1", "name": "patch", "input": "a \"b\"\n"},
        {"type": "custom_tool_call_output", "call_id": "1", "output": "done"},
    ]);
    let call = json!({"call": "1", "name": "patch", "arguments": "{\"input\":\"a \\\"b\\\"\\n\"}", "signature": null});
    assert_eq!(of_input(&input).0, json!([["assistant", [call]], ["user", [result("1", "done")]]]));
}

#[test]
fn reasoning_items_come_back_to_their_provider() {
    let summary = |text: &str| json!([{"type": "summary_text", "text": text}]);
    for (item, expected, noted) in [
        (
            json!({"summary": summary("hm"), "encrypted_content": "penstock:1:signature:Eq/B=="}),
            json!([{"reasoning": "hm", "signature": "Eq/B=="}]),
            None,
        ),
        (
            json!({"summary": [], "encrypted_content": "penstock:1:redacted:Eq/B=="}),
            json!([{"redacted": "Eq/B=="}]),
            None,
        ),
        (
            json!({"summary": [], "encrypted_content": "penstock:1:signature:Eq"}),
            json!([{"reasoning": "", "signature": "Eq"}]),
            None,
        ),
        // vLLM and others write the thought itself.
        (
            json!({"summary": [], "content": [{"type": "reasoning_text", "text": "raw"}], "encrypted_content": null}),
            json!([{"reasoning": "raw", "signature": null}]),
            None,
        ),
        (
            json!({"summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}),
            json!([{"reasoning": "a\n\nb", "signature": null}]),
            None,
        ),
        // OpenAI's own, which nobody else can read: the words stay.
        (
            json!({"summary": summary("hm"), "encrypted_content": "gAAAAABo"}),
            json!([{"reasoning": "hm", "signature": null}]),
            Some("input[].encrypted_content"),
        ),
    ] {
        let mut item = item;
        item["type"] = "reasoning".into();
        item["id"] = "rs_1".into();
        let noted: Vec<_> = noted.into_iter().map(ToString::to_string).collect();
        assert_eq!(of_input(&json!([item])), (json!([["assistant", expected]]), noted), "{item}");
    }
}

#[test]
fn a_reasoning_item_that_says_nothing_does_not_fail() {
    let input = json!([{"type": "reasoning", "id": "rs_1", "summary": []}, call("1")]);
    assert_eq!(of_input(&input).0, json!([["assistant", [called("1")]]]));
}

#[test]
fn a_calls_signature_is_the_next_items_only() {
    let carrier =
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "penstock:1:call:sig"});
    let (read, _) = of_input(&json!([carrier, call("1"), call("2")]));
    assert_eq!(read[0][1][0]["signature"], "sig");
    assert_eq!(read[0][1][1]["signature"], Json::Null);
    let (read, _) = of_input(&json!([carrier, said("x"), call("1")]));
    assert_eq!(read[0][1][1], called("1"));
}

#[test]
fn instructions_are_those_of_the_request_and_of_every_message() {
    let body = json!({"model": "m", "instructions": "be kind", "input": [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"role": "system", "content": [{"type": "input_text", "text": "be quick"}]},
    ]});
    with(&body, |read, notes| {
        let read = read.unwrap();
        let system: Vec<_> = read.system.iter().map(part).collect();
        assert_eq!(system, ["be kind", "be brief", "be quick"]);
        assert_eq!(turns(&read), json!([["user", ["hi"]]]));
        assert_eq!(notes.names(), [""; 0]);
    });
}

#[test]
fn marks_of_the_cache_are_kept() {
    let input = json!([{"role": "user", "content": [
        {"type": "input_image", "file_id": "a", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
        {"type": "input_image", "file_id": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]}]);
    let (read, _) = of_input(&input);
    assert_eq!(read[0][1][0]["cache"], json!({"type": "ephemeral"}));
    assert_eq!(read[0][1][1]["cache"], json!({"type": "ephemeral", "ttl": "1h"}));
}

#[test]
fn settings_are_mapped() {
    let body = json!({
        "model": "m", "input": "x", "max_output_tokens": 100, "temperature": 0.50, "top_p": 0.9,
        "parallel_tool_calls": false, "stream": true, "service_tier": "flex", "safety_identifier": "u-1",
        "reasoning": {"effort": "high", "summary": "auto"}, "prompt_cache_key": "k", "top_k": 5, "seed": 7, "min_p": 0.1,
        "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "strict": true, "schema": {"type": "object"}}},
        "metadata": {"a": "b"}, "include": ["reasoning.encrypted_content"], "store": false, "truncation": "disabled",
        "background": false, "previous_response_id": null, "stream_options": {"include_obfuscation": false},
        "top_logprobs": 0, "prompt": null,
    });
    with(&body, |read, notes| {
        let read = read.unwrap();
        assert_eq!(read.model, Some("m".into()));
        assert_eq!((read.max_tokens, read.temperature, read.top_p), (Some("100"), Some("0.5"), Some("0.9")));
        assert_eq!((read.parallel_tools, read.is_stream, read.wants_usage), (Some(false), true, true));
        assert_eq!((read.service_tier, read.user), (Some("flex".into()), Some("u-1".into())));
        assert_eq!((read.top_k, read.seed), (Some("5"), Some("7")));
        assert_eq!(read.reasoning, Some(Reasoning::Effort("high".into())));
        let Some(Format::JsonSchema { name, schema, is_strict }) = &read.format else { panic!("no schema") };
        assert_eq!((name, *is_strict), (&Some("n".into()), Some(true)));
        assert_eq!(value(schema), json!({"type": "object"}));
        let mut rest: Vec<_> = read.rest.iter().map(|(name, rest)| (name.as_ref(), value(rest))).collect();
        rest.sort_by_key(|(name, _)| *name);
        assert_eq!(
            rest,
            [("min_p", json!(0.1)), ("prompt_cache_key", json!("k")), ("verbosity", json!("low"))]
        );
        assert_eq!(notes.names(), [""; 0], "nothing was left out");
    });
}

#[test]
fn forms_and_efforts_that_say_nothing_are_none() {
    with(
        &json!({"input": "x", "text": {"format": {"type": "text"}}, "reasoning": {"effort": null}, "service_tier": "auto"}),
        |read, _| {
            let read = read.unwrap();
            assert!(read.format.is_none() && read.reasoning.is_none() && read.service_tier.is_none());
        },
    );
    with(
        &json!({"input": "x", "text": {"format": {"type": "json_object"}}, "reasoning": {"effort": "none"}}),
        |read, _| {
            let read = read.unwrap();
            assert!(matches!(read.format, Some(Format::JsonObject)));
            assert_eq!(read.reasoning, Some(Reasoning::Off));
        },
    );
}

#[test]
fn the_end_user_is_who_the_newer_member_names() {
    with(&json!({"input": "x", "user": "u", "safety_identifier": "s"}), |read, _| {
        let read = read.unwrap();
        assert_eq!(read.user, Some("s".into()));
        assert_eq!(
            read.rest.iter().map(|(name, value)| (name.as_ref(), value.as_text())).collect::<Vec<_>>(),
            [("user", Some(&"u".into()))]
        );
    });
    with(&json!({"input": "x", "user": "u", "safety_identifier": "u"}), |read, _| {
        assert!(read.unwrap().rest.is_empty())
    });
    with(&json!({"input": "x", "user": "u"}), |read, _| assert_eq!(read.unwrap().user, Some("u".into())));
}

#[test]
fn what_is_left_out_is_noted() {
    for (body, noted) in [
        (json!({"store": true}), "store"),
        (json!({"truncation": "auto"}), "truncation"),
        (json!({"include": ["reasoning.encrypted_content", "file_search_call.results"]}), "include"),
        (json!({"include": ["message.output_text.logprobs"]}), "include"),
        (json!({"top_logprobs": 3}), "top_logprobs"),
        (json!({"max_tool_calls": 3}), "max_tool_calls"),
        (json!({"moderation": {"model": "omni-moderation-latest"}}), "moderation"),
        (json!({"stream_options": {"include_obfuscation": true}}), "stream_options.include_obfuscation"),
        (json!({"reasoning": {"summary": "detailed"}}), "reasoning.summary"),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "description": "d"}}}),
            "text.format.description",
        ),
        (
            json!({"tools": [{"type": "function", "name": "f", "parameters": null, "defer_loading": true}]}),
            "tools[].defer_loading",
        ),
        (json!({"input": [{"role": "assistant", "content": "x", "phase": "commentary"}]}), "input[].phase"),
        (json!({"input": [{"type": "web_search_call", "id": "ws_1"}]}), "input[].web_search_call"),
        (json!({"input": [{"type": "A \"b\"\n"}]}), "input[].type"),
        (
            json!({"input": [{"role": "assistant", "content": [
                {"type": "output_text", "text": "x", "annotations": [{"type": "url_citation"}]}]}]}),
            "input[].content[].annotations",
        ),
    ] {
        let mut body = body;
        if body.get("input").is_none() {
            body["input"] = "x".into();
        }
        with(&body, |read, notes| {
            assert!(read.unwrap().rest.is_empty());
            assert_eq!(notes.names(), [noted], "{body}");
        });
    }
}

#[test]
fn tools_are_flat_functions_and_others_as_they_are() {
    let web = json!({"type": "web_search", "filters": {}});
    let custom = json!({"type": "custom", "name": "patch", "format": {"type": "grammar"}});
    let body = json!({"input": "x", "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": false},
        {"type": "function", "name": "g", "parameters": null, "strict": null},
        web, custom,
    ]});
    with(&body, |read, notes| {
        let tools = read.unwrap().tools;
        let names: Vec<_> = tools.iter().map(|tool| tool.name.decoded()).collect();
        assert_eq!(names, ["f", "g", "web_search", "patch"]);
        assert_eq!(tools[0].description, Some("d".into()));
        assert_eq!(tools[0].parameters.as_ref().map(value), Some(json!({"type": "object"})));
        assert_eq!((tools[0].is_strict, tools[1].is_strict), (Some(false), None));
        assert!(tools[1].parameters.is_none() && tools[1].other.is_none());
        assert_eq!(tools[2].other.as_ref().map(value), Some(web.clone()));
        assert_eq!(tools[3].other.as_ref().map(value), Some(custom.clone()));
        assert_eq!(notes.names(), [""; 0]);
    });
}

#[test]
fn every_choice_of_a_tool_is_read() {
    let tools = json!([
        {"type": "function", "name": "f", "parameters": {}}, {"type": "function", "name": "g", "parameters": {}},
        {"type": "web_search"},
    ]);
    let allowed = |mode: &str, tools: Json| json!({"type": "allowed_tools", "mode": mode, "tools": tools});
    let all = vec!["f", "g", "web_search"];
    for (choice, expected, left) in [
        (json!("auto"), Some(ToolChoice::Auto), all.clone()),
        (json!("required"), Some(ToolChoice::Any), all.clone()),
        (json!("none"), Some(ToolChoice::None), all.clone()),
        (json!(null), None, all.clone()),
        (json!({"type": "function", "name": "g"}), Some(ToolChoice::Named("g".into())), all.clone()),
        (json!({"type": "custom", "name": "c"}), Some(ToolChoice::Named("c".into())), all.clone()),
        (allowed("auto", json!([{"type": "function", "name": "g"}])), Some(ToolChoice::Auto), vec!["g"]),
        (
            allowed("required", json!([{"type": "web_search"}, {"type": "function", "name": "f"}])),
            Some(ToolChoice::Any),
            vec!["f", "web_search"],
        ),
    ] {
        with(&json!({"input": "x", "tools": tools, "tool_choice": choice}), |read, _| {
            let read = read.unwrap();
            assert_eq!(read.tool_choice, expected, "{choice}");
            let names: Vec<_> = read.tools.iter().map(|tool| tool.name.decoded()).collect();
            assert_eq!(names, left, "{choice}");
        });
    }
}

#[test]
fn what_leans_on_stored_state_is_refused_with_the_fix() {
    for (body, param, fix) in [
        (json!({"previous_response_id": "resp_1"}), "previous_response_id", "`input`"),
        (json!({"conversation": {"id": "conv_1"}}), "conversation", "`input`"),
        (json!({"prompt": {"id": "pmpt_1"}}), "prompt", "`instructions`"),
        (json!({"background": true}), "background", "stream"),
        (json!({"input": [{"type": "item_reference", "id": "msg_1"}]}), "input[0]", "send the item itself"),
        (json!({"input": [{"id": "msg_1"}]}), "input[0]", "send the item itself"),
        (
            json!({"input": [{"role": "user", "content": "x"}, {"type": "compaction", "encrypted_content": "x"}]}),
            "input[1]",
            "send its items",
        ),
    ] {
        let mut body = body;
        if body.get("input").is_none() {
            body["input"] = "x".into();
        }
        let refused = refused(&body);
        assert_eq!(refused.param, param);
        assert!(refused.message.contains(fix) && !refused.message.starts_with(param), "{refused}");
    }
}

#[test]
fn what_is_not_as_the_api_has_it_is_refused_at_its_place() {
    let content = |part: Json| json!({"input": [{"role": "user", "content": [part]}]});
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": 1}), "input"),
        (json!({"input": ["x"]}), "input[0]"),
        (json!({"input": [{}]}), "input[0].type"),
        (json!({"input": [{"role": "tool", "content": "x"}]}), "input[0].role"),
        (json!({"input": [{"role": "user"}]}), "input[0].content"),
        (content(json!("x")), "input[0].content[0]"),
        (content(json!({"type": "video"})), "input[0].content[0].type"),
        (content(json!({"type": "refusal", "refusal": "x"})), "input[0].content[0].type"),
        (content(json!({"type": "input_text", "text": 1})), "input[0].content[0].text"),
        (content(json!({"type": "input_image"})), "input[0].content[0]"),
        (
            content(json!({"type": "input_image", "image_url": "data:image/png,x"})),
            "input[0].content[0].image_url",
        ),
        (
            content(json!({"type": "input_image", "image_url": "data:;base64,x"})),
            "input[0].content[0].image_url",
        ),
        (
            content(json!({"type": "input_file", "file_data": "x", "filename": "a.exe"})),
            "input[0].content[0].file_data",
        ),
        (content(json!({"type": "input_file"})), "input[0].content[0]"),
        (content(json!({"type": "input_audio"})), "input[0].content[0].input_audio"),
        (
            json!({"input": [{"role": "system", "content": [{"type": "input_image", "file_id": "x"}]}]}),
            "input[0].content[0].type",
        ),
        (json!({"input": [{"type": "function_call", "call_id": "1", "name": "f"}]}), "input[0].arguments"),
        (json!({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}), "input[0].call_id"),
        (json!({"input": [{"type": "function_call_output", "call_id": "1"}]}), "input[0].output"),
        (
            json!({"input": [{"type": "function_call_output", "call_id": null, "output": "x"}]}),
            "input[0].call_id",
        ),
        (json!({"input": [{"type": "reasoning", "summary": "x"}]}), "input[0].summary"),
        (json!({"input": [{"type": "reasoning", "summary": [{}]}]}), "input[0].summary[0].text"),
        (json!({"input": "x", "instructions": ["x"]}), "instructions"),
        (json!({"input": "x", "temperature": "1"}), "temperature"),
        (json!({"input": "x", "stream": 1}), "stream"),
        (json!({"input": "x", "reasoning": "high"}), "reasoning"),
        (json!({"input": "x", "reasoning": {"effort": 1}}), "reasoning.effort"),
        (json!({"input": "x", "text": {"format": {}}}), "text.format.type"),
        (
            json!({"input": "x", "text": {"format": {"type": "json_schema", "name": "n"}}}),
            "text.format.schema",
        ),
        (json!({"input": "x", "text": {"format": {"type": "grammar"}}}), "text.format.type"),
        (json!({"input": "x", "tools": {}}), "tools"),
        (json!({"input": "x", "tools": [{"name": "f"}]}), "tools[0].type"),
        (json!({"input": "x", "tools": [{"type": "function", "function": {"name": "f"}}]}), "tools[0].name"),
        (
            json!({"input": "x", "tools": [{"type": "function", "name": "f", "parameters": "{}"}]}),
            "tools[0].parameters",
        ),
        (json!({"input": "x", "tool_choice": "any"}), "tool_choice"),
        (json!({"input": "x", "tool_choice": {"type": "file_search"}}), "tool_choice.type"),
        (json!({"input": "x", "tool_choice": {"type": "mcp", "server_label": "x"}}), "tool_choice.type"),
        (
            json!({"input": "x", "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}),
            "tool_choice.tools",
        ),
        (json!({"input": "x", "include": "x"}), "include"),
    ] {
        let refused = refused(&body);
        assert_eq!(refused.param, param, "{body}: {}", refused.message);
    }
}

/// Documents of the API's words in any place and of any kind.
fn documents() -> impl Strategy<Value = Json> {
    const NAMES: [&str; 24] = [
        "input",
        "role",
        "content",
        "type",
        "text",
        "summary",
        "encrypted_content",
        "call_id",
        "name",
        "arguments",
        "output",
        "tools",
        "tool_choice",
        "format",
        "schema",
        "reasoning",
        "effort",
        "image_url",
        "file_data",
        "filename",
        "include",
        "mode",
        "instructions",
        "input_audio",
    ];
    const WORDS: [&str; 22] = [
        "message",
        "user",
        "assistant",
        "system",
        "input_text",
        "output_text",
        "refusal",
        "input_image",
        "input_file",
        "function_call",
        "function_call_output",
        "reasoning",
        "function",
        "allowed_tools",
        "json_schema",
        "auto",
        "data:image/png;base64,AA==",
        "data:,",
        "penstock:1:call:x",
        "penstock:1:signature:",
        "é\n\"",
        "",
    ];
    let leaf = prop_oneof![
        6 => prop::sample::select(&WORDS[..]).prop_map(Json::from),
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        1 => any::<u8>().prop_map(Json::from),
    ];
    let inner = leaf.prop_recursive(5, 60, 6, |inner| {
        let members = prop::collection::vec((prop::sample::select(&NAMES[..]), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Json::from),
            members.prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    });
    prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..8)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused_at_a_place(body in documents()) {
        with(&body, |read, _| {
            if let Err(refused) = read {
                let names = refused.param.split(['.', '[']).next().unwrap();
                assert!(!names.is_empty() && !refused.message.starts_with(&refused.param), "{refused:?}");
            }
        });
    }
}
