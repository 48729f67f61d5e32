use serde_json::{Value as Json, json};

use super::*;
use crate::alias::Aliases;
use crate::anthropic::platform::Platform;
use crate::conversation::{
    Arguments, Content, Conversation, Format, Notes, Part, Reasoning, Refused, Role, Source, Tool,
    ToolChoice, Turn,
};
use crate::json::{Text, Value, parse};

fn with_read<T>(body: &Json, test: impl FnOnce(Result<Conversation<'_>, Refused>) -> T) -> T {
    let bytes = body.to_string();
    let Ok(Value::Object(object)) = parse(bytes.as_bytes()) else { panic!("no object") };
    test(read(&object))
}

/// What a client's request becomes when it is read and written for `platform`.
fn through(mut body: Json, platform: Platform) -> (Result<Json, Refused>, Vec<String>) {
    if body.get("messages").is_none() {
        body["messages"] = json!([{"role": "user", "content": "Hi"}]);
    }
    with_read(&body, |read| {
        let mut notes = Notes::default();
        let written =
            read.and_then(|read| write(&read, platform, None, None, &mut Aliases::default(), &mut notes));
        let written = written.map(|it| serde_json::from_slice(&it.body.concat(b"")).unwrap());
        (written, notes.names().iter().map(|name| name.to_string()).collect())
    })
}

/// What a request of one turn becomes.
fn written(change: impl FnOnce(&mut Conversation<'static>)) -> (Result<Json, Refused>, Vec<String>) {
    let mut conversation =
        Conversation { model: Some(Text::from("claude-sonnet-4-5")), ..Conversation::default() };
    conversation.turns.push(turn(Role::User, vec![text("Hi")]));
    change(&mut conversation);
    written_for(&conversation, Platform::Anthropic)
}

fn written_for(conversation: &Conversation<'_>, platform: Platform) -> (Result<Json, Refused>, Vec<String>) {
    let mut notes = Notes::default();
    let result = write(conversation, platform, None, None, &mut Aliases::default(), &mut notes);
    let result = result.map(|it| serde_json::from_slice(&it.body.concat(b"")).unwrap());
    (result, notes.names().iter().map(|name| name.to_string()).collect())
}

fn turn<'a>(role: Role, parts: Vec<Part<'a>>) -> Turn<'a> {
    Turn { role, parts }
}

fn text(text: &'static str) -> Part<'static> {
    Part::text(Text::from(text))
}

fn call(id: &'static str, name: &'static str, arguments: &'static str) -> Part<'static> {
    Part::new(Content::ToolCall {
        id: Text::from(id),
        name: Text::from(name),
        arguments: Arguments::Written(Text::from(arguments)),
        signature: None,
    })
}

fn result(id: &'static str, said: &'static str) -> Part<'static> {
    Part::new(Content::ToolResult { id: Text::from(id), parts: vec![text(said)], is_error: false })
}

fn tool(name: &'static str) -> Tool<'static> {
    Tool {
        name: Text::from(name),
        description: None,
        parameters: None,
        is_strict: None,
        cache: None,
        other: None,
    }
}

fn image(url: &'static str) -> Part<'static> {
    Part::new(Content::Image { source: Source::Url(Text::from(url)), detail: None })
}

#[test]
fn a_whole_request_comes_through_as_it_is() {
    let mark = json!({"type": "ephemeral", "ttl": "1h"});
    let body = json!({
        "model": "claude-sonnet-4-5",
        "max_tokens": 2000,
        "system": [{"type": "text", "text": "Be \u{e9} brief.\n", "cache_control": mark}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0="}},
                {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
                 "title": "A", "context": "B", "citations": {"enabled": true}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}},
                {"type": "document", "source": {"type": "url", "url": "https://x.test/a.pdf"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm\u{2028}", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                {"type": "text", "text": "I call."},
                {"type": "tool_use", "id": "toolu_1", "name": "get", "input": {"a": [1.50, "x"]}, "cache_control": mark},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [
                    {"type": "text", "text": "no"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": "R0lG"}},
                ]},
                {"type": "search_result", "source": "s", "title": "t", "content": []},
            ]},
        ],
        "tools": [
            {"name": "get", "description": "Gets", "input_schema": {"type": "object", "properties": {}}, "strict": true},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": true},
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 5,
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u1"},
        "service_tier": "standard_only",
        "inference_geo": "us",
        "stream": true,
    });
    let (written, dropped) = through(body.clone(), Platform::Anthropic);
    assert_eq!(written.unwrap(), body);
    assert_eq!(dropped, Vec::<String>::new());
}

#[test]
fn what_stands_for_something_else_is_read_as_that() {
    let body = json!({
        "model": "m", "max_tokens": 1,
        "system": "S",
        "messages": [
            {"role": "system", "content": "T"},
            {"role": "ctx", "content": "a"},
            {"role": "msg", "content": "b"},
            {"role": "user", "content": [
                {"type": "document", "title": "x", "source": {"type": "content", "content": [{"type": "text", "text": "c"}]}},
                {"type": "document", "source": {"type": "content", "content": "d"}},
            ]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1__thought__c2ln", "name": "n"}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1__thought__c2ln", "content": "r"}]},
        ],
        "tool_choice": {"type": "tool", "name": "n"},
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    });
    with_read(&body, |read| {
        let read = read.unwrap();
        assert_eq!(read.system.len(), 2);
        assert!(read.wants_usage && !read.is_stream);
        assert_eq!(read.tool_choice, Some(ToolChoice::Named(Text::from("n"))));
        assert_eq!(read.reasoning, Some(Reasoning::Budget(2048)));
        let roles: Vec<_> = read.turns.iter().map(|turn| turn.role).collect();
        assert_eq!(roles, [Role::User, Role::User, Role::User, Role::Assistant, Role::User]);
        assert!(matches!(&read.turns[2].parts[0].content, Content::Text(text) if *text == "c"));
        assert!(
            matches!(&read.turns[2].parts[1].content, Content::Document { source: Source::Text(text), .. } if *text == "d")
        );
        let Content::ToolCall { id, arguments, signature, .. } = &read.turns[3].parts[0].content else {
            panic!()
        };
        assert!(*id == "c1" && arguments.is_empty() && *signature == Some(Text::from("c2ln")));
        assert!(matches!(&read.turns[4].parts[0].content, Content::ToolResult { id, .. } if *id == "c1"));
        let rest: Vec<_> = read.rest.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(rest, ["messages[].content[].title"]);
    });
}

#[test]
fn claude_codes_billing_header_would_change_the_prompt_with_each_request() {
    let body = json!({
        "model": "m", "max_tokens": 1, "messages": [],
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.154; cch=3f9a1;"},
            {"type": "text", "text": "You are Claude Code"},
        ],
    });
    with_read(&body, |read| {
        let system = read.unwrap().system;
        assert_eq!(system.len(), 1);
        assert!(matches!(&system[0].content, Content::Text(text) if *text == "You are Claude Code"));
    });
}

#[test]
fn thinking_and_effort_are_read_together() {
    for (members, reasoning, rest) in [
        (json!({}), None, vec![]),
        (
            json!({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}),
            Some(Reasoning::Off),
            vec![],
        ),
        (
            json!({"thinking": {"type": "adaptive", "display": "omitted"}}),
            Some(Reasoning::Adaptive),
            vec!["thinking.display"],
        ),
        (json!({"output_config": {"effort": "max"}}), Some(Reasoning::Effort("max".into())), vec![]),
        (
            json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "high", "task_budget": {"total": 9}}}),
            Some(Reasoning::Effort("high".into())),
            vec!["output_config.task_budget"],
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "high"}}),
            Some(Reasoning::Effort("high".into())),
            vec!["thinking.budget_tokens"],
        ),
    ] {
        let mut body = members.clone();
        body["messages"] = json!([]);
        with_read(&body, |read| {
            let read = read.unwrap();
            assert_eq!(read.reasoning, reasoning, "{members}");
            assert_eq!(
                read.rest.iter().map(|(name, _)| name.as_ref()).collect::<Vec<_>>(),
                rest,
                "{members}"
            );
        });
    }
}

#[test]
fn members_without_a_place_are_kept_unless_they_say_nothing() {
    let body = json!({
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "a", "citations": [{"type": "char_location"}]},
            {"type": "text", "text": "b", "citations": [{"type": "char_location"}]},
            {"type": "text", "text": "c", "citations": null},
        ]}],
        "tools": [{"name": "a", "input_schema": {}, "defer_loading": true, "input_examples": []}],
        "metadata": {"user_id": null, "team": "x"},
        "context_management": {"edits": []},
        "mcp_servers": [],
        "container": null,
        "n": 2,
    });
    with_read(&body, |read| {
        let mut rest: Vec<_> = read.unwrap().rest.iter().map(|(name, _)| name.to_string()).collect();
        rest.sort();
        let expected = [
            "context_management",
            "messages[].content[].citations",
            "metadata.team",
            "n",
            "tools[].defer_loading",
        ];
        assert_eq!(rest, expected);
    });
}

#[test]
fn what_is_wrong_is_refused_at_its_place() {
    let message = |content: Json| json!({"messages": [{"role": "user", "content": content}]});
    for (body, param) in [
        (json!({}), "messages"),
        (json!({"messages": {}}), "messages"),
        (json!({"messages": ["x"]}), "messages[0]"),
        (json!({"messages": [{"role": "user"}]}), "messages[0].content"),
        (json!({"messages": [{"role": "tool", "content": "x"}]}), "messages[0].role"),
        (message(json!(1)), "messages[0].content"),
        (message(json!([{"text": "x"}])), "messages[0].content[0].type"),
        (message(json!([{"type": "text", "text": 1}])), "messages[0].content[0].text"),
        (message(json!([{"type": "text"}])), "messages[0].content[0].text"),
        (message(json!([{"type": "image"}])), "messages[0].content[0].source"),
        (message(json!([{"type": "image", "source": {"type": "gs"}}])), "messages[0].content[0].source.type"),
        (
            message(
                json!([{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": {"type": "url"}}]}]),
            ),
            "messages[0].content[0].content[0].source.url",
        ),
        (
            json!({"messages": [], "system": [{"type": "image", "source": {"type": "url", "url": "u"}}]}),
            "system",
        ),
        (json!({"messages": [], "max_tokens": "1"}), "max_tokens"),
        (json!({"messages": [], "stop_sequences": ["a", 1]}), "stop_sequences[1]"),
        (json!({"messages": [], "tools": [{}]}), "tools[0].name"),
        (json!({"messages": [], "tool_choice": {"type": "required"}}), "tool_choice.type"),
        (json!({"messages": [], "tool_choice": {"type": "tool"}}), "tool_choice.name"),
        (json!({"messages": [], "thinking": {"type": "enabled"}}), "thinking.budget_tokens"),
        (json!({"messages": [], "thinking": {"type": "on"}}), "thinking.type"),
        (json!({"messages": [], "output_config": {"format": {"type": "text"}}}), "output_config.format.type"),
        (json!({"messages": [], "metadata": "x"}), "metadata"),
    ] {
        with_read(&body, |read| {
            let refused = read.unwrap_err();
            assert_eq!(refused.param, param, "{body}");
            assert_eq!(refused.to_string(), format!("{param}: {}", refused.message));
        });
    }
}

#[test]
fn platforms_have_their_own_envelopes() {
    let body =
        json!({"model": "claude-opus-4-5", "max_tokens": 5, "metadata": {"user_id": "u"}, "stream": true});
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]);
    let (aws, dropped) = through(body.clone(), Platform::Aws);
    let expected = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 5, "messages": messages});
    assert_eq!((aws.unwrap(), dropped), (expected, vec!["user".to_owned()]));
    let (gcp, dropped) = through(body, Platform::Gcp);
    let expected = json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 5, "messages": messages,
        "metadata": {"user_id": "u"}, "stream": true});
    assert_eq!((gcp.unwrap(), dropped), (expected, vec![]));
}

#[test]
fn betas_are_sent_where_the_platform_has_them() {
    let asked = Conversation { turns: vec![turn(Role::User, vec![text("Hi")])], ..Conversation::default() };
    let header = "context-1m-2025-08-07,fast-mode-2026-02-01";
    for (platform, in_body, in_header, dropped) in [
        (Platform::Anthropic, Json::Null, Some(header), vec![]),
        (Platform::Aws, json!(["context-1m-2025-08-07"]), None, vec!["anthropic-beta.fast-mode-2026-02-01"]),
        (
            Platform::Gcp,
            Json::Null,
            Some("context-1m-2025-08-07"),
            vec!["anthropic-beta.fast-mode-2026-02-01"],
        ),
    ] {
        let mut notes = Notes::default();
        let sent = write(&asked, platform, None, Some(header), &mut Aliases::default(), &mut notes).unwrap();
        let body: Json = serde_json::from_slice(&sent.body.concat(b"")).unwrap();
        assert_eq!((&body["anthropic_beta"], sent.betas.as_deref()), (&in_body, in_header), "{platform:?}");
        assert_eq!(notes.names(), dropped, "{platform:?}");
    }
}

#[test]
fn parallel_tool_results_in_separate_turns_are_one_message_and_come_first() {
    let (body, _) = written(|asked| {
        asked.turns.extend([
            turn(Role::Assistant, vec![text("I call"), call("a", "f", ""), call("b", "f", r#"{"x": 1}"#)]),
            turn(Role::User, vec![text("By the way")]),
            turn(Role::User, vec![result("a", "1")]),
            turn(Role::User, vec![result("b", "2")]),
        ]);
        asked.tools.push(tool("f"));
    });
    let body = body.unwrap();
    assert_eq!(body["messages"][1]["content"][1]["input"], json!({}));
    assert_eq!(body["messages"][1]["content"][2]["input"], json!({"x": 1}));
    let kinds: Vec<_> =
        body["messages"][2]["content"].as_array().unwrap().iter().map(|it| it["type"].clone()).collect();
    assert_eq!(kinds, ["tool_result", "tool_result", "text"]);
    assert_eq!(body["messages"].as_array().unwrap().len(), 3);
}

#[test]
fn a_tool_history_without_tools_names_them_again() {
    let (body, _) = written(|asked| {
        asked.turns.push(turn(
            Role::Assistant,
            vec![call("a", "f", "{}"), call("b", "g", "{}"), call("c", "f", "{}")],
        ));
        asked.turns.push(turn(Role::User, vec![result("a", "1")]));
    });
    let body = body.unwrap();
    let names: Vec<_> = body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["f", "g"]);
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn empty_text_is_left_out_and_the_last_answer_does_not_end_in_white_space() {
    let (body, _) = written(|asked| {
        asked.system.extend([text(" \n"), text("S")]);
        asked.turns.extend([
            turn(Role::Assistant, vec![text("")]),
            turn(Role::User, vec![text("\t"), text("there")]),
            turn(Role::Assistant, vec![text("It is "), text(" \n")]),
        ]);
    });
    let block = |text: &str| json!({"type": "text", "text": text});
    let body = body.unwrap();
    assert_eq!(body["system"], json!([block("S")]));
    let expected = json!([
        {"role": "user", "content": [block("Hi"), block("there")]},
        {"role": "assistant", "content": [block("It is")]},
    ]);
    assert_eq!(body["messages"], expected);
    let (body, _) = written(|asked| asked.turns.clear());
    assert_eq!(body.unwrap_err().param, "messages");
}

#[test]
fn stop_texts_of_white_space_are_dropped() {
    let (body, dropped) = written(|asked| asked.stop.extend([Text::from("\n"), Text::from("END")]));
    assert_eq!((&body.unwrap()["stop_sequences"], dropped), (&json!(["END"]), vec!["stop".to_owned()]));
    let (body, dropped) = written(|asked| asked.stop.push(Text::Escaped("\\n\\n")));
    assert_eq!((body.unwrap().get("stop_sequences"), dropped), (None, vec!["stop".to_owned()]));
}

#[test]
fn sampling_goes_as_far_as_the_model_takes_it() {
    for (model, sampling, expected, dropped) in [
        ("claude-sonnet-4-5", ("0.7", "0.9", "40"), json!({"temperature": 0.7, "top_k": 40}), vec!["top_p"]),
        (
            "claude-3-haiku-20240307",
            ("0.7", "0.9", "40"),
            json!({"temperature": 0.7, "top_p": 0.9, "top_k": 40}),
            vec![],
        ),
        (
            "claude-sonnet-4-5",
            ("1.8", "1", "40"),
            json!({"temperature": 1, "top_k": 40}),
            vec!["temperature"],
        ),
        ("claude-opus-4-7", ("0.2", "0.9", "40"), json!({}), vec!["temperature", "top_p", "top_k"]),
        ("my-claude", ("0.2", "1.0", "40"), json!({"temperature": 0.2, "top_k": 40}), vec![]),
    ] {
        let (body, noted) = written(|asked| {
            asked.model = Some(Text::from(model));
            (asked.temperature, asked.top_p, asked.top_k) =
                (Some(sampling.0), Some(sampling.1), Some(sampling.2));
        });
        let body = body.unwrap();
        let found: serde_json::Map<_, _> = ["temperature", "top_p", "top_k"]
            .iter()
            .filter_map(|name| Some((name.to_string(), body.get(*name)?.clone())))
            .collect();
        assert_eq!(
            (Json::Object(found), noted.as_slice()),
            (expected, &dropped.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{model}"
        );
    }
}

#[test]
fn a_budget_is_at_least_1024_and_less_than_max_tokens() {
    let adaptive = json!({"type": "adaptive"});
    let enabled = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    for (model, reasoning, most, thinking, effort, max_tokens, dropped) in [
        ("claude-sonnet-4-5", Reasoning::Effort("high".into()), None, Some(enabled(4096)), None, 8192, None),
        (
            "claude-sonnet-4-5",
            Reasoning::Effort("minimal".into()),
            None,
            Some(enabled(1024)),
            None,
            5120,
            None,
        ),
        (
            "claude-sonnet-4-5",
            Reasoning::Effort("max".into()),
            Some("2000"),
            Some(enabled(1999)),
            None,
            2000,
            None,
        ),
        (
            "claude-sonnet-4-5",
            Reasoning::Effort("low".into()),
            Some("1024"),
            None,
            None,
            1024,
            Some("reasoning_effort"),
        ),
        ("claude-sonnet-4-5", Reasoning::Budget(5), Some("4000"), Some(enabled(1024)), None, 4000, None),
        ("claude-sonnet-4-5", Reasoning::Effort("none".into()), None, None, None, 4096, None),
        (
            "claude-opus-4-6",
            Reasoning::Effort("xhigh".into()),
            None,
            Some(adaptive.clone()),
            Some("high"),
            4096,
            None,
        ),
        (
            "claude-opus-5",
            Reasoning::Effort("xhigh".into()),
            Some("9"),
            Some(adaptive.clone()),
            Some("xhigh"),
            9,
            None,
        ),
        (
            "claude-opus-5",
            Reasoning::Budget(3000),
            None,
            Some(adaptive.clone()),
            None,
            4096,
            Some("thinking.budget_tokens"),
        ),
        ("claude-opus-5", Reasoning::Off, None, Some(json!({"type": "disabled"})), None, 4096, None),
        ("my-claude", Reasoning::Adaptive, None, Some(adaptive), None, 4096, None),
    ] {
        let (body, noted) = written(|asked| {
            asked.model = Some(Text::from(model));
            asked.reasoning = Some(reasoning.clone());
            asked.max_tokens = most;
        });
        let body = body.unwrap();
        assert_eq!(body.get("thinking"), thinking.as_ref(), "{model} {reasoning:?}");
        assert_eq!(body["output_config"]["effort"].as_str(), effort, "{model} {reasoning:?}");
        assert_eq!(body["max_tokens"], max_tokens, "{model} {reasoning:?}");
        assert_eq!(noted.first().map(String::as_str), dropped, "{model} {reasoning:?}");
    }
    let (body, _) = written(|asked| asked.reasoning = Some(Reasoning::Effort("lots".into())));
    assert_eq!(body.unwrap_err().param, "reasoning_effort");
}

#[test]
fn what_a_thinking_model_is_not_told_is_dropped() {
    let (body, dropped) = written(|asked| {
        asked.reasoning = Some(Reasoning::Effort("low".into()));
        (asked.temperature, asked.top_p, asked.top_k) = (Some("0.2"), Some("0.97"), Some("4"));
    });
    let body = body.unwrap();
    assert!(body.get("temperature").is_none() && body.get("top_k").is_none() && body["top_p"] == json!(0.97));
    assert_eq!(dropped, ["temperature", "top_k"]);
    // A tool that has to be called is what the client counts on.
    let (body, dropped) = written(|asked| {
        asked.reasoning = Some(Reasoning::Effort("low".into()));
        asked.tools.push(tool("f"));
        asked.tool_choice = Some(ToolChoice::Any);
    });
    let body = body.unwrap();
    assert_eq!((body.get("thinking"), &body["tool_choice"]), (None, &json!({"type": "any"})));
    assert_eq!(dropped, ["reasoning_effort"]);
}

#[test]
fn expected_thinking_found_tool_use() {
    let thought = |signature: Option<&'static str>| {
        Part::new(Content::Reasoning { text: Text::from("hm"), signature: signature.map(Text::from) })
    };
    let history = |first: Part<'static>| {
        written(move |asked| {
            asked.reasoning = Some(Reasoning::Effort("low".into()));
            asked.tools.push(tool("f"));
            asked.turns.push(turn(Role::Assistant, vec![first, call("a", "f", "{}")]));
            asked.turns.push(turn(Role::User, vec![result("a", "1")]));
        })
    };
    let (body, dropped) = history(thought(Some("c2ln")));
    let body = body.unwrap();
    assert_eq!(
        body["messages"][1]["content"][0],
        json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"})
    );
    assert_eq!((body["thinking"]["type"].as_str(), dropped), (Some("enabled"), vec![]));
    // One that the model did not sign is refused, and without it the model cannot think in the middle of the turn.
    let (body, dropped) = history(thought(None));
    let body = body.unwrap();
    assert_eq!(body["messages"][1]["content"][0]["type"], "tool_use");
    assert_eq!(body.get("thinking"), None);
    assert_eq!(dropped, ["reasoning_effort", "messages[].reasoning_content"]);
}

#[test]
fn long_or_dotted_mcp_tool_names_and_foreign_ids_are_named_anew() {
    let long = "mcp.server.".to_owned() + &"x".repeat(130);
    let mut asked =
        Conversation { turns: vec![turn(Role::User, vec![text("Hi")])], ..Conversation::default() };
    asked.tools.push(tool("mcp.search"));
    asked.tools[0].parameters = Some(Value::Null);
    asked.tools.push(Tool { name: Text::from(long.clone()), ..tool("") });
    asked.tool_choice = Some(ToolChoice::Named(Text::from("mcp.search")));
    asked.turns.push(turn(Role::Assistant, vec![call("call:1/ä", "mcp.search", "{}")]));
    asked.turns.push(turn(Role::User, vec![result("call:1/ä", "r")]));
    let mut aliases = Aliases::default();
    let body = write(&asked, Platform::Anthropic, None, None, &mut aliases, &mut Notes::default()).unwrap();
    let body: Json = serde_json::from_slice(&body.body.concat(b"")).unwrap();
    let alias = body["tools"][0]["name"].as_str().unwrap();
    assert_eq!(aliases.name(alias), "mcp.search");
    assert_eq!(body["tool_choice"]["name"], alias);
    assert_eq!(body["messages"][1]["content"][0]["name"], alias);
    let other = body["tools"][1]["name"].as_str().unwrap();
    assert!(other.len() <= 128 && aliases.name(other) == long);
    let id = body["messages"][1]["content"][0]["id"].as_str().unwrap();
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{id}");
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], id);
}

#[test]
fn arguments_that_are_no_object_are_refused_by_name() {
    for (arguments, reason) in [("{\"a\":", "not JSON at byte 5"), ("[1]", "an array")] {
        let (body, _) =
            written(|asked| asked.turns.push(turn(Role::Assistant, vec![call("call_7", "f", arguments)])));
        let refused = body.unwrap_err();
        assert_eq!(refused.param, "messages[].tool_calls[].function.arguments");
        assert!(refused.message.contains("call_7") && refused.message.contains(reason), "{refused}");
    }
}

#[test]
fn one_tool_at_a_time_needs_a_choice_to_say_it_in() {
    for (choice, expected) in [
        (None, json!({"type": "auto", "disable_parallel_tool_use": true})),
        (Some(ToolChoice::Any), json!({"type": "any", "disable_parallel_tool_use": true})),
        (Some(ToolChoice::None), json!({"type": "none"})),
        (
            Some(ToolChoice::Named("f".into())),
            json!({"type": "tool", "name": "f", "disable_parallel_tool_use": true}),
        ),
    ] {
        let (body, _) = written(|asked| {
            asked.tools.push(tool("f"));
            asked.tool_choice = choice;
            asked.parallel_tools = Some(false);
        });
        assert_eq!(body.unwrap()["tool_choice"], expected);
    }
}

#[test]
fn schemas_of_tools_are_those_of_objects() {
    for (schema, expected) in [
        ("null", json!({"type": "object", "properties": {}})),
        ("{}", json!({"type": "object"})),
        (r#"{"properties":{"a\n\"b":{}}}"#, json!({"type": "object", "properties": {"a\n\"b": {}}})),
        (r#"{"\"x":1,"type":"object"}"#, json!({"type": "object", "\"x": 1})),
        (r#"{"\"x":1}"#, json!({"type": "object", "\"x": 1})),
    ] {
        let schema = parse(schema.as_bytes()).unwrap();
        let mut asked =
            Conversation { turns: vec![turn(Role::User, vec![text("Hi")])], ..Conversation::default() };
        asked.tools.push(Tool { parameters: Some(schema), ..tool("f") });
        let (body, _) = written_for(&asked, Platform::Anthropic);
        assert_eq!(body.unwrap()["tools"][0]["input_schema"], expected);
    }
}

#[test]
fn images_and_documents_are_what_their_bytes_are() {
    let source = |kind: &str, media_type: &str, data: &str| json!({"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}});
    for (part, expected) in [
        (image("data:image/jpg;base64,/9j/"), source("image", "image/jpeg", "/9j/")),
        (image("data:image/webp;charset=x;base64,UklG"), source("image", "image/webp", "UklG")),
        (image("data:application/pdf;base64,JVBE"), source("document", "application/pdf", "JVBE")),
        (
            image("https://x.test/a.png"),
            json!({"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}),
        ),
        (
            image("https://x.test/a.PDF?b#c"),
            json!({"type": "document", "source": {"type": "url", "url": "https://x.test/a.PDF?b#c"}}),
        ),
        (
            Part::new(Content::Image {
                source: Source::Url(Text::Escaped("data:image\\/png;base64,iVBO\\/w==")),
                detail: None,
            }),
            source("image", "image/png", "iVBO/w=="),
        ),
        (
            Part::new(Content::Document {
                source: Source::Base64 { media_type: "text/plain".into(), data: "aMOk".into() },
                name: Some("a.txt".into()),
                context: None,
                citations: None,
            }),
            json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hä"}, "title": "a.txt"}),
        ),
    ] {
        let (body, _) = written(|asked| asked.turns[0].parts = vec![part]);
        assert_eq!(body.unwrap()["messages"][0]["content"][0], expected);
    }
    for url in ["data:image/bmp;base64,Qk0=", "data:text/plain;base64,/w=="] {
        let (body, _) = written(|asked| asked.turns[0].parts = vec![image(url)]);
        assert_eq!(body.unwrap_err().param, "messages[].content[]", "{url}");
    }
    let sound = Part::new(Content::Audio { data: "UklG".into(), format: "wav".into() });
    let (body, _) = written(|asked| asked.turns[0].parts = vec![sound]);
    assert!(body.unwrap_err().message.contains("sound"));
}

#[test]
fn an_image_url_to_bedrock_or_vertex_is_refused_with_the_way_out() {
    let asked = Conversation {
        turns: vec![turn(Role::User, vec![image("https://x.test/a.png")])],
        ..Conversation::default()
    };
    for platform in [Platform::Aws, Platform::Gcp] {
        let refused = written_for(&asked, platform).0.unwrap_err();
        assert!(refused.message.contains("data: URL"), "{refused}");
    }
}

#[test]
fn at_most_four_marks_for_the_cache_are_sent() {
    let mark = parse(br#"{"type":"ephemeral"}"#).unwrap();
    let marked = |text: &'static str| Part { cache: Some(mark.clone()), ..Part::text(Text::from(text)) };
    let mut asked = Conversation { system: vec![marked("S"), marked(" ")], ..Conversation::default() };
    asked.tools.push(Tool { cache: Some(mark.clone()), ..tool("f") });
    asked.turns.push(turn(Role::User, vec![marked("a"), marked("b"), marked("c")]));
    let (body, dropped) = written_for(&asked, Platform::Anthropic);
    let body = body.unwrap();
    let has = |value: &Json| value.get("cache_control").is_some();
    assert!(has(&body["tools"][0]) && has(&body["system"][0]));
    let content = body["messages"][0]["content"].as_array().unwrap();
    assert_eq!(content.iter().map(has).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(dropped, ["cache_control"]);
}

#[test]
fn formats_go_as_far_as_the_model_takes_them() {
    let schema = parse(br#"{"type":"object"}"#).unwrap();
    let format = Format::JsonSchema { name: Some("x".into()), schema, is_strict: Some(true) };
    let mut asked =
        Conversation { turns: vec![turn(Role::User, vec![text("Hi")])], ..Conversation::default() };
    asked.format = Some(format);
    let (body, _) = written_for(&asked, Platform::Aws);
    assert_eq!(
        body.unwrap()["output_config"],
        json!({"format": {"type": "json_schema", "schema": {"type": "object"}}})
    );
    asked.model = Some(Text::from("claude-3-5-sonnet-20241022"));
    assert_eq!(written_for(&asked, Platform::Aws).0.unwrap_err().param, "response_format");
    asked.format = Some(Format::JsonObject);
    let (body, dropped) = written_for(&asked, Platform::Aws);
    assert_eq!((body.unwrap().get("output_config"), dropped), (None, vec!["response_format".to_owned()]));
}

#[test]
fn what_has_no_counterpart_is_dropped_and_said() {
    let (body, dropped) = written(|asked| {
        asked.seed = Some("1");
        asked.presence_penalty = Some("0.0");
        asked.frequency_penalty = Some("0.1");
        asked.logprobs = Some(false);
        asked.service_tier = Some("flex".into());
        asked.rest.push(("logit_bias".into(), Value::Bool(true)));
        asked.rest.push(("store".into(), Value::Bool(false)));
        asked.rest.push(("n".into(), Value::Number("1")));
        asked.tool_choice = Some(ToolChoice::Any);
    });
    assert!(body.is_ok());
    assert_eq!(dropped, ["tool_choice", "service_tier", "seed", "frequency_penalty", "logit_bias"]);
    let (body, _) = written(|asked| asked.rest.push(("n".into(), Value::Number("2"))));
    assert_eq!(body.unwrap_err().param, "n");
    let value = parse(br#"{"type":"file_search"}"#).unwrap();
    let mut asked =
        Conversation { turns: vec![turn(Role::User, vec![text("Hi")])], ..Conversation::default() };
    asked.tools.push(Tool { other: Some(value), ..tool("file_search") });
    assert_eq!(written_for(&asked, Platform::Anthropic).0.unwrap_err().param, "tools[].type");
}
