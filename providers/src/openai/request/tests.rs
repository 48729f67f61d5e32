use serde_json::{Value as Json, json};

use super::*;
use crate::alias::Aliases;
use crate::conversation::{
    Arguments, Content, Conversation, Notes, Part, Reasoning, Refused, Role, Source, Tool, ToolChoice, Turn,
};
use crate::json::{Text, Value, parse};

fn reading<T>(body: &Json, check: impl FnOnce(Result<Conversation<'_>, Refused>) -> T) -> T {
    let body = body.to_string();
    let document = parse(body.as_bytes()).unwrap();
    check(read(document.as_object().unwrap()))
}

/// The conversation that `messages` make, in short.
fn told(messages: &Json) -> Json {
    let body = json!({"model": "m", "messages": messages});
    reading(&body, |conversation| {
        let Conversation { system, turns, rest, .. } = conversation.unwrap();
        let turns: Vec<_> = turns.iter().map(|turn| (turn.role == Role::User, parts(&turn.parts))).collect();
        let side = |is_user| if is_user { "user" } else { "assistant" };
        let turns: Vec<_> = turns.into_iter().map(|(is_user, parts)| json!([side(is_user), parts])).collect();
        let rest: Vec<_> = rest.iter().map(|(name, _)| name.as_ref()).collect();
        json!({"system": parts(&system), "turns": turns, "rest": rest})
    })
}

fn parts(parts: &[Part<'_>]) -> Json {
    parts
        .iter()
        .map(|part| match &part.cache {
            Some(cache) => json!([self::part(&part.content), as_json(cache)]),
            None => self::part(&part.content),
        })
        .collect()
}

fn part(content: &Content<'_>) -> Json {
    let text = |text: &Text<'_>| text.decoded().into_owned();
    let optional = |given: &Option<Text<'_>>| given.as_ref().map(text);
    let from = |source: &Source<'_>| match source {
        Source::Url(url) => json!({"url": text(url)}),
        Source::Base64 { media_type, data } => json!({"type": text(media_type), "data": text(data)}),
        Source::File(id) => json!({"file": text(id)}),
        Source::Text(of) => json!({"text": text(of)}),
    };
    match content {
        Content::Text(of) => json!(text(of)),
        Content::Image { source, detail } => json!({"image": from(source), "detail": optional(detail)}),
        Content::Document { source, name, .. } => json!({"document": from(source), "name": optional(name)}),
        Content::Audio { data, format } => json!({"audio": text(data), "format": text(format)}),
        Content::Reasoning { text: of, signature } => {
            json!({"thought": text(of), "signature": optional(signature)})
        }
        Content::Redacted(data) => json!({"redacted": text(data)}),
        Content::ToolCall { id, name, arguments, signature } => {
            let arguments = match arguments {
                Arguments::Value(value) => as_json(value),
                Arguments::Written(of) => json!(text(of)),
            };
            json!({"call": text(id), "name": text(name), "arguments": arguments, "signature": optional(signature)})
        }
        Content::ToolResult { id, parts, .. } => json!({"result": text(id), "parts": self::parts(parts)}),
        Content::Refusal(of) => json!({"refusal": text(of)}),
        Content::Other { kind, .. } => json!({"other": text(kind)}),
    }
}

fn as_json(value: &Value<'_>) -> Json {
    let mut out = crate::json::Writer::default();
    out.value(value);
    serde_json::from_slice(&out.finish()).unwrap()
}

#[test]
fn messages_of_every_role_are_read() {
    let messages = json!([
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}, {"type": "text", "text": "be true"}]},
        {"role": "assistant", "content": null, "refusal": null, "audio": null, "function_call": null, "annotations": [],
         "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
                        {"id": "b", "type": "function", "function": {"name": "g", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "a", "content": "one"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "", "function_call": {"name": "old", "arguments": "{}"}},
        {"role": "function", "name": "old", "content": "three"},
        {"role": "assistant", "content": [{"type": "text", "text": "so"}, {"type": "refusal", "refusal": "no"}],
         "refusal": "never"}
    ]);
    let expected = json!({
        "system": ["be kind", "be brief", "be true"],
        "turns": [
            ["user", ["hi"]],
            ["assistant", [{"call": "a", "name": "f", "arguments": "{\"x\":1}", "signature": null},
                           {"call": "b", "name": "g", "arguments": "", "signature": null}]],
            ["user", [{"result": "a", "parts": ["one"]}]],
            ["user", [{"result": "b", "parts": ["two"]}]],
            ["assistant", [{"call": "call_1", "name": "old", "arguments": "{}", "signature": null}]],
            ["user", [{"result": "call_1", "parts": ["three"]}]],
            ["assistant", ["so", {"refusal": "no"}, {"refusal": "never"}]],
        ],
        "rest": ["messages[].name"]
    });
    assert_eq!(told(&messages), expected);
}

#[test]
fn parts_of_every_type_are_read() {
    let user = |part: Json| json!([{"role": "user", "content": [part]}]);
    let image = |url: &str| user(json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}}));
    let file = |file: Json| user(json!({"type": "file", "file": file}));
    for (messages, expected) in [
        (user(json!({"type": "text", "text": "a\"b"})), json!("a\"b")),
        (image("https://a/b.png"), json!({"image": {"url": "https://a/b.png"}, "detail": "low"})),
        (
            image("data:image/png;base64,iVBO"),
            json!({"image": {"type": "image/png", "data": "iVBO"}, "detail": "low"}),
        ),
        (
            image("DATA:image/JPG;name=x;base64,/9j/"),
            json!({"image": {"type": "image/jpeg", "data": "/9j/"}, "detail": "low"}),
        ),
        (
            image("data:application/pdf;base64,JVBE"),
            json!({"document": {"type": "application/pdf", "data": "JVBE"}, "name": null}),
        ),
        (image("https://a/b.PDF?x"), json!({"document": {"url": "https://a/b.PDF?x"}, "name": null})),
        (
            user(json!({"type": "image_url", "image_url": "https://a"})),
            json!({"image": {"url": "https://a"}, "detail": null}),
        ),
        (
            file(json!({"file_data": "data:text/csv;base64,YQ==", "filename": "a.csv"})),
            json!({"document": {"type": "text/csv", "data": "YQ=="}, "name": "a.csv"}),
        ),
        (
            file(json!({"file_data": "YQ==", "filename": "a.TXT"})),
            json!({"document": {"type": "text/plain", "data": "YQ=="}, "name": "a.TXT"}),
        ),
        (file(json!({"file_id": "file-1"})), json!({"document": {"file": "file-1"}, "name": null})),
        (
            file(json!({"file_id": "gs://a/b.pdf"})),
            json!({"document": {"url": "gs://a/b.pdf"}, "name": null}),
        ),
        (
            user(json!({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}})),
            json!({"audio": "UklG", "format": "wav"}),
        ),
    ] {
        assert_eq!(told(&messages)["turns"], json!([["user", [expected]]]), "{messages}");
    }
}

/// PHP's JSON has every slash escaped, and base64 has many.
#[test]
fn the_bytes_of_a_data_url_may_be_escaped() {
    let body = br#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image\/png;base64,a\/b"}}]}]}"#;
    let document = parse(body).unwrap();
    let conversation = read(document.as_object().unwrap()).unwrap();
    let Content::Image { source: Source::Base64 { media_type, data }, .. } =
        &conversation.turns[0].parts[0].content
    else {
        panic!("{conversation:?}")
    };
    assert_eq!((media_type.as_word(), data.decoded().as_ref()), (Some("image/png"), "a/b"));
}

#[test]
fn cache_marks_are_read_from_parts_messages_and_tools() {
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let messages = json!([
        {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": mark}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c", "cache_control": mark},
        {"role": "user", "content": [{"type": "text", "text": "d", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
        {"role": "tool", "tool_call_id": "x", "content": "e", "cache_control": mark}
    ]);
    let expected = json!({
        "system": [["a", mark], "b"],
        "turns": [["user", [["c", mark]]], ["user", [["d", {"type": "ephemeral"}]]],
                  ["user", [[{"result": "x", "parts": ["e"]}, mark]]]],
        "rest": []
    });
    assert_eq!(told(&messages), expected);
    let tools = json!({"messages": [], "tools": [
        {"type": "function", "function": {"name": "f"}, "cache_control": mark},
        {"type": "function", "function": {"name": "g", "cache_control": mark}},
    ]});
    reading(&tools, |conversation| {
        let tools = conversation.unwrap().tools;
        assert!(tools.iter().all(|tool| as_json(tool.cache.as_ref().unwrap()) == mark));
    });
}

/// "expected thinking, found tool_use": what the model thought did not come back, or not byte for byte.
#[test]
fn thoughts_come_back_with_their_signatures() {
    let assistant = |members: Json| {
        let mut message = json!({"role": "assistant", "content": "ok"});
        message.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!([message])
    };
    let block =
        |text: &str, signature: &str| json!({"type": "thinking", "thinking": text, "signature": signature});
    let thought = |text: &str, signature: Option<&str>| json!({"thought": text, "signature": signature});
    for (members, expected) in [
        (json!({"reasoning_content": "hm"}), json!([thought("hm", None)])),
        (json!({"reasoning": "hm"}), json!([thought("hm", None)])),
        (
            json!({"reasoning_content": "other", "thinking_blocks": [block("hm", "s1"), block("ha", "s2")]}),
            json!([thought("hm", Some("s1")), thought("ha", Some("s2"))]),
        ),
        (
            json!({"thinking_blocks": [{"type": "redacted_thinking", "data": "xyz"}, block("hm", "s")]}),
            json!([{"redacted": "xyz"}, thought("hm", Some("s"))]),
        ),
        // The deltas of a stream, put in a row.
        (
            json!({"thinking_blocks": [{"type": "thinking", "thinking": "h"}, block("m\n", ""), block("", "s"), block("x", "t")]}),
            json!([thought("hm\n", Some("s")), thought("x", Some("t"))]),
        ),
        (
            json!({"reasoning_content": "hm", "thinking_blocks": [block("", "s")]}),
            json!([thought("hm", Some("s"))]),
        ),
        (json!({"thinking_blocks": [block("", "s")]}), json!([thought("", Some("s"))])),
    ] {
        let mut expected = expected.as_array().unwrap().clone();
        expected.push(json!("ok"));
        assert_eq!(told(&assistant(members.clone()))["turns"], json!([["assistant", expected]]), "{members}");
    }
}

#[test]
fn the_signature_of_a_call_comes_back() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "sig"}}});
    let messages = json!([{"role": "assistant", "tool_calls": [call]}]);
    let expected =
        json!([["assistant", [{"call": "a", "name": "f", "arguments": "{}", "signature": "sig"}]]]);
    assert_eq!(told(&messages)["turns"], expected);
}

#[test]
fn members_of_the_request_are_read() {
    let body = json!({
        "model": "m", "messages": [], "max_tokens": 5, "max_completion_tokens": 7, "temperature": 0.5, "top_p": 0.9,
        "top_k": 4, "stop": "end", "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
        "seed": 1, "presence_penalty": 0.1, "frequency_penalty": -0.1, "user": "u", "service_tier": "flex",
        "parallel_tool_calls": false, "logprobs": false, "n": 1, "store": false, "logit_bias": {}, "modalities": ["text"],
        "verbosity": "medium", "audio": null, "metadata": {"a": "b"}, "store_": 1
    });
    reading(&body, |read| {
        let read = read.unwrap();
        assert_eq!(read.model.unwrap(), "m");
        assert_eq!(
            (read.max_tokens, read.temperature, read.top_p, read.top_k),
            (Some("7"), Some("0.5"), Some("0.9"), Some("4"))
        );
        assert_eq!(
            (read.seed, read.presence_penalty, read.frequency_penalty),
            (Some("1"), Some("0.1"), Some("-0.1"))
        );
        assert_eq!(read.stop, [Text::from("end")]);
        assert!(read.is_stream && read.wants_usage && read.logprobs.is_none());
        assert_eq!((read.user.unwrap(), read.service_tier.unwrap()), (Text::from("u"), Text::from("flex")));
        assert_eq!(read.parallel_tools, Some(false));
        assert_eq!(
            read.rest.iter().map(|(name, _)| name.as_ref()).collect::<Vec<_>>(),
            ["metadata", "store_"]
        );
    });
}

#[test]
fn reasoning_is_read_from_all_its_members() {
    let enabled = json!({"type": "enabled", "budget_tokens": 2000});
    for (members, expected) in [
        (json!({}), None),
        (json!({"reasoning_effort": "high"}), Some(Reasoning::Effort("high".into()))),
        (json!({"reasoning_effort": "none"}), Some(Reasoning::Off)),
        (json!({"thinking": enabled}), Some(Reasoning::Budget(2000))),
        (json!({"thinking": enabled, "reasoning_effort": "low"}), Some(Reasoning::Budget(2000))),
        (json!({"thinking": {"type": "adaptive"}}), Some(Reasoning::Adaptive)),
        (
            json!({"thinking": {"type": "adaptive"}, "reasoning_effort": "low"}),
            Some(Reasoning::Effort("low".into())),
        ),
        (json!({"thinking": {"type": "disabled"}}), Some(Reasoning::Off)),
    ] {
        let mut body = members.clone();
        body["messages"] = json!([]);
        reading(&body, |read| assert_eq!(read.unwrap().reasoning, expected, "{members}"));
    }
}

#[test]
fn the_choice_of_tools_is_read_in_every_form() {
    let tools = json!([
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": true}},
        {"type": "custom", "custom": {"name": "g"}}
    ]);
    let named = |name: &'static str| ToolChoice::Named(name.into());
    for (choice, expected, count) in [
        (json!("auto"), ToolChoice::Auto, 2),
        (json!("none"), ToolChoice::None, 2),
        (json!("required"), ToolChoice::Any, 2),
        (json!({"type": "function", "function": {"name": "f"}}), named("f"), 2),
        (json!({"type": "custom", "custom": {"name": "g"}}), named("g"), 2),
        (
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [
            {"type": "function", "function": {"name": "f"}}]}}),
            ToolChoice::Any,
            1,
        ),
    ] {
        let body = json!({"messages": [], "tools": tools, "tool_choice": choice});
        reading(&body, |read| {
            let read = read.unwrap();
            assert_eq!(read.tool_choice, Some(expected), "{choice}");
            assert_eq!(read.tools.len(), count, "{choice}");
            assert_eq!(read.tools[0].name, "f");
            assert_eq!(read.tools[0].is_strict, Some(true));
            assert!(read.tools.get(1).is_none_or(|custom| custom.other.is_some() && custom.name == "g"));
        });
    }
    let body = json!({"messages": [], "functions": [{"name": "f"}], "function_call": {"name": "f"}});
    reading(&body, |read| {
        let read = read.unwrap();
        assert_eq!((read.tools[0].name.decoded().as_ref(), read.tool_choice), ("f", Some(named("f"))));
    });
}

#[test]
fn refusals_name_the_place() {
    let user = |content: Json| json!({"messages": [{"role": "user", "content": content}]});
    for (body, param) in [
        (json!({}), "messages"),
        (json!({"messages": {}}), "messages"),
        (json!({"messages": [1]}), "messages[0]"),
        (json!({"messages": [{"content": "a"}]}), "messages[0].role"),
        (json!({"messages": [{"role": "critic"}]}), "messages[0].role"),
        (user(json!(7)), "messages[0].content"),
        (user(json!([{"type": "text", "text": "a"}, {"type": "hologram"}])), "messages[0].content[1].type"),
        (user(json!([{"type": "text"}])), "messages[0].content[0].text"),
        (user(json!([{"type": "image_url"}])), "messages[0].content[0].image_url"),
        (user(json!([{"type": "image_url", "image_url": {}}])), "messages[0].content[0].image_url.url"),
        (
            user(json!([{"type": "image_url", "image_url": "data:image/png,x"}])),
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!([{"type": "image_url", "image_url": "data:image/png"}])),
            "messages[0].content[0].image_url.url",
        ),
        (user(json!([{"type": "file", "file": {}}])), "messages[0].content[0].file"),
        (
            user(json!([{"type": "input_audio", "input_audio": {"data": ""}}])),
            "messages[0].content[0].input_audio.format",
        ),
        (
            json!({"messages": [{"role": "system", "content": [{"type": "file", "file": {"file_id": "a"}}]}]}),
            "messages[0].content[0].type",
        ),
        (json!({"messages": [{"role": "tool", "content": "a"}]}), "messages[0].tool_call_id"),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}]}),
            "messages[0].tool_calls[0].id",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {}}]}]}),
            "messages[0].tool_calls[0].function.name",
        ),
        (
            json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]}]}),
            "messages[0].tool_calls[0].custom",
        ),
        (
            json!({"messages": [{"role": "assistant", "thinking_blocks": [{"type": "x"}]}]}),
            "messages[0].thinking_blocks[0].type",
        ),
        (json!({"messages": [], "n": 2}), "n"),
        (json!({"messages": [], "temperature": "hot"}), "temperature"),
        (json!({"messages": [], "stop": ["a", 1]}), "stop[1]"),
        (json!({"messages": [], "stream_options": true}), "stream_options"),
        (json!({"messages": [], "thinking": {"type": "x"}}), "thinking.type"),
        (json!({"messages": [], "response_format": {"type": "xml"}}), "response_format.type"),
        (
            json!({"messages": [], "response_format": {"type": "json_schema", "json_schema": {}}}),
            "response_format.json_schema.schema",
        ),
        (json!({"messages": [], "tools": [{"type": "function", "function": {}}]}), "tools[0].function.name"),
        (json!({"messages": [], "tools": {}}), "tools"),
        (json!({"messages": [], "tool_choice": "perhaps"}), "tool_choice"),
        (
            json!({"messages": [], "tool_choice": {"type": "function", "function": {}}}),
            "tool_choice.function.name",
        ),
        (
            json!({"messages": [], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}}),
            "tool_choice.allowed_tools.mode",
        ),
    ] {
        reading(&body, |read| match read {
            Err(refused) => assert_eq!(refused.param, param, "{body}: {refused}"),
            Ok(_) => panic!("{body} was read"),
        });
    }
}

/// What `conversation` is written as, and what is left out.
fn put(conversation: &Conversation<'_>, upstream: Upstream) -> (Json, Vec<String>) {
    let mut notes = Notes::default();
    let written = write(conversation, &mut notes, upstream, &mut Aliases::default()).unwrap();
    (
        serde_json::from_slice(&written.concat(b"")).unwrap(),
        notes.names().iter().map(ToString::to_string).collect(),
    )
}

/// What a request is written as when it comes from this API itself: most of what others have can be said in it.
fn again(body: &Json, upstream: Upstream) -> (Json, Vec<String>) {
    reading(body, |conversation| put(&conversation.unwrap(), upstream))
}

/// A request with everything that OpenAI takes.
fn everything() -> Json {
    let tool = json!({"type": "function", "function": {"name": "f", "description": "d", "strict": true,
        "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": true}});
    json!({
        "model": "gpt-4o", "temperature": 0.5, "top_p": 0.9, "seed": 3, "presence_penalty": 1, "frequency_penalty": 1,
        "max_completion_tokens": 100, "stop": ["a", "b"], "stream": true, "stream_options": {"include_usage": true},
        "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false, "response_format": format,
        "reasoning_effort": "high", "user": "u", "metadata": {"k": "v"}, "logit_bias": {"1": 2},
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO", "detail": "low"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":\"\\\"\"}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "one"},
            {"role": "assistant", "content": "done"},
            {"role": "user", "content": "thanks"}
        ]
    })
}

#[test]
fn a_request_with_everything_is_written() {
    let body = everything();
    assert_eq!(again(&body, Upstream::OpenAi), (body.clone(), vec![]));
}

#[test]
fn an_engine_gets_its_own_members_and_openai_does_not() {
    let body = json!({
        "model": "m", "max_completion_tokens": 9, "top_k": 40, "min_p": 0.1, "store": true, "service_tier": "flex",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "ho", "reasoning_content": "hm"}]
    });
    let user = json!({"role": "user", "content": "hi"});
    let (written, notes) = again(&body, Upstream::Engine);
    let thought = json!({"role": "assistant", "content": "ho", "reasoning_content": "hm"});
    assert_eq!(
        written,
        json!({"model": "m", "max_tokens": 9, "top_k": 40, "min_p": 0.1, "messages": [user, thought]})
    );
    assert_eq!(notes, ["service_tier", "store"]);
    let (written, notes) = again(&body, Upstream::OpenAi);
    let said = json!({"role": "assistant", "content": "ho"});
    let expected = json!({"model": "m", "max_completion_tokens": 9, "store": true, "service_tier": "flex",
        "messages": [user, said]});
    assert_eq!(written, expected);
    assert_eq!(notes, ["messages[].content[].thinking", "top_k", "min_p"]);
}

#[test]
fn a_request_that_does_not_stream_does_not_ask_for_a_streams_usage() {
    let (written, _) = again(&json!({"messages": [{"role": "user", "content": "a"}]}), Upstream::OpenAi);
    assert_eq!(written, json!({"messages": [{"role": "user", "content": "a"}]}));
}

#[test]
fn results_precede_what_the_user_says_and_their_images_follow_them() {
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}});
    let body = json!({"messages": [
        {"role": "assistant", "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": ""}}, {"id": "b", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "x"}, image, {"type": "text", "text": "y"}]},
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "what is it?"}]},
        {"role": "tool", "tool_call_id": "b", "content": []}
    ]});
    let (written, _) = again(&body, Upstream::Engine);
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    assert_eq!(
        written["messages"],
        json!([
            {"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "a", "content": "x\ny"},
            {"role": "tool", "tool_call_id": "b", "content": ""},
            {"role": "user", "content": [image, {"type": "text", "text": "what is it?"}]}
        ])
    );
}

fn user(content: Content<'_>) -> Conversation<'_> {
    let turns = vec![Turn { role: Role::User, parts: vec![Part::new(content)] }];
    Conversation { turns, ..Conversation::default() }
}

fn document(source: Source<'static>) -> Content<'static> {
    let (name, context) = (Some("Title".into()), Some("From \"x\"".into()));
    Content::Document { source, name, context, citations: None }
}

#[test]
fn documents_are_files_or_text() {
    let pdf = || Source::Base64 { media_type: "application/pdf".into(), data: "JVBE".into() };
    let (written, notes) = put(&user(document(pdf())), Upstream::OpenAi);
    let file = json!({"filename": "Title", "file_data": "data:application/pdf;base64,JVBE"});
    assert_eq!(written["messages"][0]["content"], json!([{"type": "file", "file": file}]));
    assert_eq!(notes, ["messages[].content[].context"]);
    for upstream in [Upstream::OpenAi, Upstream::Engine] {
        let (written, notes) = put(&user(document(Source::Text("words".into()))), upstream);
        assert_eq!(written["messages"][0]["content"], "Title\n\nFrom \"x\"\n\nwords");
        assert!(notes.is_empty());
    }
    let file = || Content::Image { source: Source::File("f".into()), detail: None };
    for (content, upstream) in [
        (document(pdf()), Upstream::Engine),
        (document(Source::Url("https://a/b.pdf".into())), Upstream::OpenAi),
        (file(), Upstream::OpenAi),
        (
            Content::ToolResult { id: "a".into(), parts: vec![Part::new(file())], is_error: false },
            Upstream::Engine,
        ),
    ] {
        let refused =
            write(&user(content), &mut Notes::default(), upstream, &mut Aliases::default()).unwrap_err();
        assert_eq!(refused.param, "messages[0].content[0]");
    }
}

#[test]
fn nothing_is_left_out_in_silence() {
    let object = parse(b"{}").unwrap();
    let parts = vec![
        Part {
            content: Content::ToolResult { id: "a".into(), parts: vec![], is_error: true },
            cache: Some(object.clone()),
            place: None,
        },
        Part::new(Content::Other { kind: "search_result".into(), value: object.clone() }),
        Part::text("hi".into()),
    ];
    let answer = vec![Part::new(Content::Redacted("x".into()))];
    let turns = vec![Turn { role: Role::User, parts }, Turn { role: Role::Assistant, parts: answer }];
    let rest = vec![("context_management".into(), object)];
    let (written, notes) = put(&Conversation { turns, rest, ..Conversation::default() }, Upstream::Engine);
    let messages =
        json!([{"role": "tool", "tool_call_id": "a", "content": ""}, {"role": "user", "content": "hi"}]);
    assert_eq!(written, json!({"messages": messages}));
    assert_eq!(
        notes,
        [
            "cache_control",
            "messages[].content[].is_error",
            "messages[].content[].search_result",
            "messages[].content[].redacted_thinking",
            "context_management",
        ]
    );
}

/// A model that is told of a tool which its server does not run calls it again and again.
#[test]
fn tools_of_other_kinds_are_left_out_with_the_choice_of_them() {
    let body = json!({"messages": [], "tools": [{"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "function", "function": {"name": "web_search_20250305"}}});
    let (written, notes) = again(&body, Upstream::Engine);
    assert_eq!(written, json!({"messages": []}));
    assert_eq!(notes, ["tools[].web_search_20250305", "tool_choice"]);
    let custom = json!({"type": "custom", "custom": {"name": "g"}});
    let choice = json!({"type": "custom", "custom": {"name": "g"}});
    let body = json!({"messages": [], "tools": [custom], "tool_choice": choice});
    assert_eq!(again(&body, Upstream::OpenAi), (body, vec![]));
}

/// OpenAI refuses longer names, ids and users, and objects without properties.
#[test]
fn what_openai_finds_too_long_has_an_alias() {
    let (name, id, user) = ("n".repeat(100), "i".repeat(41), "u".repeat(140));
    let body = json!({
        "user": user,
        "messages": [
            {"role": "assistant", "tool_calls": [{"id": id, "function": {"name": name, "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": id, "content": "x"}],
        "tools": [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": name}}
    });
    let (kept, _) = again(&body, Upstream::Engine);
    assert_eq!((&kept["user"], &kept["tool_choice"]), (&body["user"], &body["tool_choice"]));
    let (written, _) = again(&body, Upstream::OpenAi);
    let call = &written["messages"][0]["tool_calls"][0];
    let alias = call["function"]["name"].as_str().unwrap();
    assert!(alias.len() <= 64 && written["user"].as_str().unwrap().len() <= 64);
    assert!(call["id"].as_str().unwrap().len() <= 40);
    assert_eq!(written["messages"][1]["tool_call_id"], call["id"]);
    assert_eq!(written["tools"][0]["function"]["name"], alias);
    assert_eq!(written["tool_choice"]["function"]["name"], alias);
    assert_eq!(written["tools"][0]["function"]["parameters"], json!({"type": "object", "properties": {}}));
}

#[test]
fn a_billing_header_is_no_instruction() {
    let system = json!({"role": "system", "content": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1a2b3;"},
        {"type": "text", "text": "You are Claude Code"}, {"type": "text", "text": "Be brief"}]});
    let (written, notes) = again(&json!({"messages": [system]}), Upstream::Engine);
    assert_eq!(
        written["messages"],
        json!([{"role": "system", "content": "You are Claude Code\n\nBe brief"}])
    );
    assert_eq!(notes, ["x-anthropic-billing-header"]);
}

#[test]
fn reasoning_is_asked_for_in_the_upstreams_words() {
    let effort = |word: &'static str| Some(Reasoning::Effort(word.into()));
    let off = json!({"chat_template_kwargs": {"enable_thinking": false}});
    let word = |word: &str| json!({"reasoning_effort": word});
    for (reasoning, openai, engine) in [
        (None, json!({}), json!({})),
        (Some(Reasoning::Adaptive), json!({}), json!({})),
        (Some(Reasoning::Off), json!({}), off),
        (Some(Reasoning::Budget(1024)), word("low"), word("low")),
        (Some(Reasoning::Budget(8000)), word("medium"), word("medium")),
        (Some(Reasoning::Budget(31_999)), word("high"), word("high")),
        (effort("minimal"), word("minimal"), word("low")),
        (effort("max"), word("max"), word("high")),
        (effort("colossal"), json!({}), json!({})),
    ] {
        let conversation = Conversation { reasoning: reasoning.clone(), ..Conversation::default() };
        for (upstream, mut expected) in [(Upstream::OpenAi, openai), (Upstream::Engine, engine)] {
            expected["messages"] = json!([]);
            assert_eq!(put(&conversation, upstream).0, expected, "{reasoning:?} {upstream:?}");
        }
    }
}

/// "Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions."
#[test]
fn newer_models_take_tools_or_an_effort() {
    let tool = || Tool {
        name: "f".into(),
        description: None,
        parameters: None,
        is_strict: None,
        cache: None,
        other: None,
    };
    for (model, has_effort) in [("gpt-5.2", true), ("gpt-5.4-mini", false), ("gpt-5", true), ("o3", true)] {
        let (model, reasoning) = (Some(model.into()), Some(Reasoning::Budget(9)));
        let conversation = Conversation { model, reasoning, tools: vec![tool()], ..Conversation::default() };
        let (written, notes) = put(&conversation, Upstream::OpenAi);
        assert_eq!(written.get("reasoning_effort").is_some(), has_effort, "{conversation:?}");
        assert_eq!(notes.is_empty(), has_effort);
    }
}

#[test]
fn more_stops_than_openai_takes_are_left_out() {
    let body = json!({"messages": [], "stop": ["a", "b", "", "c", "d", "e"]});
    let (written, notes) = again(&body, Upstream::OpenAi);
    assert_eq!((written["stop"].clone(), notes), (json!(["a", "b", "c", "d"]), vec!["stop[4]".to_owned()]));
    assert_eq!(again(&body, Upstream::Engine).0["stop"], json!(["a", "b", "c", "d", "e"]));
}

/// All that a request is with one of its values another.
fn spoilt(body: &Json) -> Vec<Json> {
    let mut all: Vec<_> = [
        json!(null),
        json!(true),
        json!(-1.5),
        json!("\u{1}\"x"),
        json!([]),
        json!([{}]),
        json!({}),
        json!({"type": "text"}),
    ]
    .into();
    match body {
        Json::Object(members) => {
            for (name, value) in members {
                all.extend(spoilt(value).into_iter().map(|value| {
                    let mut members = members.clone();
                    members.insert(name.clone(), value);
                    Json::Object(members)
                }));
            }
        }
        Json::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                all.extend(spoilt(item).into_iter().map(|item| {
                    let mut items = items.clone();
                    items[at] = item;
                    Json::Array(items)
                }));
            }
        }
        _ => {}
    }
    all
}

#[test]
fn a_request_that_is_wrong_somewhere_is_refused_there_or_written_well() {
    let mut body = everything();
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}, "refusal": "no",
        "thinking_blocks": [{"type": "thinking", "thinking": "a", "signature": "b"}], "name": "x", "cache_control": {}}));
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 7});
    let (mut refused, mut written) = (0, 0);
    for body in spoilt(&body).iter().filter(|body| body.is_object()) {
        reading(body, |read| match read {
            Err(refusal) => {
                refused += 1;
                let name = refusal.param.split(['.', '[']).next().unwrap();
                assert!(body.get(name).is_some() || name == "messages", "{body}: {refusal:?}");
            }
            Ok(conversation) => {
                for upstream in [Upstream::OpenAi, Upstream::Engine] {
                    if let Ok(body) =
                        write(&conversation, &mut Notes::default(), upstream, &mut Aliases::default())
                    {
                        written += 1;
                        assert!(serde_json::from_slice::<Json>(&body.concat(b"")).is_ok());
                    }
                }
            }
        });
    }
    assert!(refused > 200 && written > 200, "{refused} {written}");
}
