//! Tools and options.

use super::*;

fn with_history(conversation: Conversation<'static>) -> Conversation<'static> {
    let turns = vec![
        user(vec![text("go")]),
        assistant(vec![call("a", "find", "{}")]),
        user(vec![result("a", vec![text("1")])]),
    ];
    Conversation { turns, ..conversation }
}

fn tool_names(body: &serde_json::Value) -> Vec<&str> {
    let tools = body["toolConfig"]["tools"].as_array();
    tools.into_iter().flatten().map(|tool| tool["toolSpec"]["name"].as_str().unwrap()).collect()
}

/// Complaint: a history of calls without tools is refused ("toolConfig field must be defined").
#[test]
fn a_history_of_calls_has_a_tool_that_stands_in() {
    let none = Some(ToolChoice::None);
    for (conversation, expected) in [
        (hello(CLAUDE), vec![]),
        (with_history(hello(CLAUDE)), vec!["no_tool_available"]),
        (Conversation { tools: vec![tool("find")], tool_choice: none.clone(), ..hello(CLAUDE) }, vec![]),
        (
            with_history(Conversation { tools: vec![tool("find")], tool_choice: none, ..hello(CLAUDE) }),
            vec!["no_tool_available"],
        ),
        (with_history(Conversation { tools: vec![tool("find")], ..hello(CLAUDE) }), vec!["find"]),
    ] {
        let body = body(&conversation);
        assert_eq!(tool_names(&body), expected);
        assert_eq!(body["toolConfig"]["toolChoice"], json!(null));
        assert_eq!(body.get("toolConfig").is_some(), !expected.is_empty());
    }
}

#[test]
fn tools_are_written_as_the_api_takes_them() {
    let bare = Tool { description: Some(" ".into()), parameters: None, ..tool("bare") };
    let untyped =
        Tool { parameters: Some(value(r#"{ "properties": {} }"#)), is_strict: Some(true), ..tool("untyped") };
    let empty = Tool { parameters: Some(value("{}")), is_strict: Some(false), ..tool("empty") };
    let search = Tool { other: Some(value("{}")), ..tool("web_search_20250305") };
    let mut conversation = Conversation {
        tools: vec![bare, untyped, empty, search],
        tool_choice: Some(ToolChoice::Auto),
        parallel_tools: Some(false),
        ..hello(CLAUDE)
    };
    let no_parameters = json!({"json": {"type": "object", "properties": {}}});
    let expected = json!({
        "tools": [
            {"toolSpec": {"name": "bare", "inputSchema": no_parameters}},
            {"toolSpec": {
                "name": "untyped", "description": "Finds things", "inputSchema": no_parameters, "strict": true,
            }},
            {"toolSpec": {"name": "empty", "description": "Finds things", "inputSchema": no_parameters}},
        ],
        "toolChoice": {"auto": {}},
    });
    let (body, dropped) = written(&conversation);
    assert_eq!(body["toolConfig"], expected);
    assert_eq!(dropped, ["tools[].web_search_20250305", "parallel_tool_calls"]);
    conversation.model = Some(LLAMA.into());
    assert!(written(&conversation).1.contains(&"tools[].strict".to_owned()));
    conversation.tools.drain(..3);
    conversation.tool_choice = Some(ToolChoice::Any);
    assert_eq!(written(&conversation).0["toolConfig"], json!(null));
}

/// Complaints: temperature with top_p is refused; so is any of them by new models; a stop of a line's end too.
#[test]
fn sampling_is_what_the_model_takes() {
    let given = |model| Conversation {
        temperature: Some("1.5"),
        top_p: Some("0.9"),
        top_k: Some("40"),
        stop: vec![Text::Escaped(r"\n"), "".into(), "END".into()],
        ..hello(model)
    };
    for (model, inference, additional, expected) in [
        (
            CLAUDE,
            json!({"temperature": 1, "stopSequences": ["END"]}),
            json!({"top_k": 40}),
            vec!["top_p", "temperature", "stop"],
        ),
        (
            PROFILE,
            json!({"temperature": 1, "stopSequences": ["END"]}),
            json!({"top_k": 40}),
            vec!["top_p", "temperature", "stop"],
        ),
        (
            "anthropic.claude-opus-4-7",
            json!({"stopSequences": ["END"]}),
            json!(null),
            vec!["temperature", "top_k", "top_p", "stop"],
        ),
        (
            NOVA,
            json!({"temperature": 1, "topP": 0.9, "stopSequences": ["\n", "END"]}),
            json!({"inferenceConfig": {"topK": 40}}),
            vec!["temperature", "stop"],
        ),
        (
            LLAMA,
            json!({"temperature": 1, "topP": 0.9, "stopSequences": ["\n", "END"]}),
            json!(null),
            vec!["temperature", "stop", "top_k"],
        ),
    ] {
        let (body, dropped) = written(&given(model));
        assert_eq!(body["inferenceConfig"], inference, "{model}");
        assert_eq!(body["additionalModelRequestFields"], additional, "{model}");
        assert_eq!(dropped, expected, "{model}");
    }
    let only_top_p = Conversation { top_p: Some("0.9"), ..hello(CLAUDE) };
    assert_eq!(body(&only_top_p)["inferenceConfig"], json!({"topP": 0.9}));
}

#[test]
fn effort_becomes_what_the_model_is_told_by() {
    let effort = |model, effort: &'static str| Conversation {
        reasoning: Some(Reasoning::Effort(effort.into())),
        max_tokens: Some("4096"),
        ..hello(model)
    };
    let adaptive = json!({"thinking": {"type": "adaptive"}});
    let budget = |tokens: u64| json!({"thinking": {"type": "enabled", "budget_tokens": tokens}});
    let null = json!(null);
    let nova = "us.amazon.nova-2-lite-v1:0";
    let gpt = "openai.gpt-oss-120b-1:0";
    for (model, asked, additional, output, is_dropped) in [
        (CLAUDE, "minimal", &adaptive, json!({"effort": "low"}), false),
        (CLAUDE, "max", &adaptive, json!({"effort": "max"}), false),
        (CLAUDE, "xhigh", &adaptive, json!({"effort": "high"}), false),
        ("anthropic.claude-opus-4-7", "xhigh", &adaptive, json!({"effort": "xhigh"}), false),
        (CLAUDE, "none", &null, json!(null), false),
        ("anthropic.claude-sonnet-5", "none", &json!({"thinking": {"type": "disabled"}}), json!(null), false),
        ("anthropic.claude-fable-5-1", "none", &null, json!(null), true),
        (CLAUDE, "huge", &null, json!(null), true),
        (OLD_CLAUDE, "low", &budget(1024), json!(null), false),
        (OLD_CLAUDE, "medium", &budget(2048), json!(null), false),
        // No room for an answer.
        (OLD_CLAUDE, "high", &null, json!(null), true),
        ("anthropic.claude-3-haiku-20240307-v1:0", "low", &null, json!(null), true),
        (
            nova,
            "xhigh",
            &json!({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
            json!(null),
            false,
        ),
        (nova, "none", &json!({"reasoningConfig": {"type": "disabled"}}), json!(null), false),
        (gpt, "high", &json!({"reasoning_effort": "high"}), json!(null), false),
        (gpt, "max", &json!({"reasoning_effort": "high"}), json!(null), false),
        (gpt, "none", &null, json!(null), true),
        (LLAMA, "high", &null, json!(null), true),
        (LLAMA, "none", &null, json!(null), false),
        (PROFILE, "high", &null, json!({"effort": "high"}), false),
    ] {
        let (body, dropped) = written(&effort(model, asked));
        assert_eq!(&body["additionalModelRequestFields"], additional, "{model} {asked}");
        assert_eq!(body["outputConfig"], output, "{model} {asked}");
        assert_eq!(dropped.contains(&"reasoning_effort".to_owned()), is_dropped, "{model} {asked}");
    }
}

#[test]
fn a_budget_and_an_order_not_to_think_become_what_the_model_takes() {
    let fields = |model, reasoning| {
        let (body, dropped) = written(&Conversation { reasoning: Some(reasoning), ..hello(model) });
        (body["additionalModelRequestFields"]["thinking"].clone(), dropped)
    };
    let enabled = json!({"type": "enabled", "budget_tokens": 5000});
    let adaptive = json!({"type": "adaptive"});
    let budget = vec!["thinking.budget_tokens".to_owned()];
    let thinking = vec!["thinking".to_owned()];
    let (fable, opus) = ("anthropic.claude-fable-5-1", "anthropic.claude-opus-4-7");
    assert_eq!(fields(OLD_CLAUDE, Reasoning::Budget(5000)), (enabled.clone(), vec![]));
    assert_eq!(fields(CLAUDE, Reasoning::Budget(5000)), (enabled.clone(), vec![]));
    let medium = json!({"type": "enabled", "budget_tokens": 2048});
    assert_eq!(fields(OLD_CLAUDE, Reasoning::Adaptive), (medium, vec![]));
    assert_eq!(fields(PROFILE, Reasoning::Budget(5000)), (enabled, vec![]));
    assert_eq!(fields(opus, Reasoning::Budget(5000)), (adaptive.clone(), budget));
    assert_eq!(fields(CLAUDE, Reasoning::Adaptive), (adaptive, vec![]));
    assert_eq!(fields(CLAUDE, Reasoning::Off), (json!(null), vec![]));
    assert_eq!(fields(fable, Reasoning::Off), (json!(null), thinking.clone()));
    assert_eq!(fields(LLAMA, Reasoning::Adaptive), (json!(null), thinking));
    assert_eq!(fields(LLAMA, Reasoning::Off), (json!(null), vec![]));
}

/// Complaint: a model that thinks refuses temperature, top_k, and a call that it has to make.
#[test]
fn what_thinking_forbids_gives_way_to_it_or_it_to_that() {
    let thinks = |model| Conversation {
        reasoning: Some(Reasoning::Effort("max".into())),
        temperature: Some("0.5"),
        top_k: Some("4"),
        ..hello(model)
    };
    let (body, dropped) = written(&thinks(CLAUDE));
    assert_eq!(body["inferenceConfig"], json!(null));
    assert_eq!(dropped, ["temperature", "top_k"]);
    for (model, effort, dropped) in
        [(CLAUDE, json!({"effort": "high"}), false), (OLD_CLAUDE, json!(null), true)]
    {
        let forced =
            Conversation { tools: vec![tool("find")], tool_choice: Some(ToolChoice::Any), ..thinks(model) };
        let (body, left_out) = written(&forced);
        assert_eq!(body["toolConfig"]["toolChoice"], json!({"any": {}}));
        assert_eq!(body["additionalModelRequestFields"], json!({"top_k": 4}));
        assert_eq!(body["outputConfig"], effort);
        assert_eq!(left_out.contains(&"reasoning_effort".to_owned()), dropped);
    }
}

/// Complaint: "expected thinking, found tool_use", for a client that has no place for thoughts.
#[test]
fn a_call_without_a_thought_is_not_followed_by_thinking() {
    let thinks = Conversation {
        tools: vec![tool("find")],
        reasoning: Some(Reasoning::Effort("low".into())),
        ..hello(OLD_CLAUDE)
    };
    let mut conversation = with_history(thinks);
    let (body, dropped) = written(&conversation);
    assert_eq!(body["additionalModelRequestFields"], json!(null));
    assert_eq!(dropped, ["reasoning_effort"]);
    conversation.turns[1].parts.push(thought("hm", Some("c2ln")));
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    assert_eq!(super::body(&conversation)["additionalModelRequestFields"], thinking);
}

#[test]
fn a_schema_of_the_answer_is_written_as_text() {
    let format = Format::JsonSchema {
        name: Some("city".into()),
        schema: value(r#"{"type":"object","title":"a \"b\""}"#),
        is_strict: Some(true),
    };
    let conversation = Conversation { format: Some(format), ..hello(CLAUDE) };
    assert_eq!(
        body(&conversation)["outputConfig"],
        json!({"textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": "{\"type\":\"object\",\"title\":\"a \\\"b\\\"\"}", "name": "city"}},
        }})
    );
    let any = Conversation { format: Some(Format::JsonObject), ..hello(CLAUDE) };
    let (body, dropped) = written(&any);
    assert_eq!((&body["outputConfig"], dropped), (&json!(null), vec!["response_format".to_owned()]));
}

/// Complaint: features under test are errors with models that are no Claude, and so are members without their feature.
#[test]
fn features_under_test_go_to_claude_with_their_members() {
    let given = |model| Conversation {
        rest: vec![
            ("context_management".into(), value(r#"{"edits":[]}"#)),
            ("output_config.task_budget".into(), value(r#"{"total":1}"#)),
        ],
        ..hello(model)
    };
    let betas = ["context-management-2025-06-27", "tool-search-tool-2025-10-19"];
    for model in [CLAUDE, PROFILE] {
        let (body, dropped) = written_with(&given(model), &betas);
        assert_eq!(
            body["additionalModelRequestFields"],
            json!({"anthropic_beta": betas, "context_management": {"edits": []}})
        );
        assert_eq!(dropped, ["output_config.task_budget"]);
    }
    let (body, dropped) = written_with(&given(NOVA), &betas[..1]);
    assert_eq!(body["additionalModelRequestFields"], json!(null));
    let first = "anthropic-beta.context-management-2025-06-27";
    assert_eq!(dropped, [first, "context_management", "output_config.task_budget"]);
    let (body, dropped) = written_with(&given(CLAUDE), &betas[1..]);
    assert_eq!(body["additionalModelRequestFields"], json!({"anthropic_beta": betas[1..]}));
    assert_eq!(dropped, ["context_management", "output_config.task_budget"]);
}

#[test]
fn metadata_is_logged_as_far_as_its_characters_are_taken() {
    let metadata = r#"{"team":"search","":"x","cost":1,"quo\"te":"x","note":"naïve","user_id":"again"}"#;
    let conversation = Conversation {
        user: Some("u@example.com".into()),
        rest: vec![("metadata".into(), value(metadata)), ("metadata.run".into(), value("\"7\""))],
        ..hello(CLAUDE)
    };
    let (body, dropped) = written(&conversation);
    assert_eq!(body["requestMetadata"], json!({"user_id": "u@example.com", "team": "search", "run": "7"}));
    assert_eq!(dropped, ["metadata"]);
    let json_user = Conversation { user: Some(r#"{"device":"x"}"#.into()), ..hello(CLAUDE) };
    let (body, dropped) = written(&json_user);
    assert_eq!((&body["requestMetadata"], dropped), (&json!(null), vec!["user".to_owned()]));
}

#[test]
fn classes_of_service_are_bedrocks() {
    for (asked, given, is_dropped) in [
        ("auto", json!(null), false),
        ("default", json!({"type": "default"}), false),
        ("standard_only", json!({"type": "default"}), false),
        ("flex", json!({"type": "flex"}), false),
        ("reserved", json!({"type": "reserved"}), false),
        ("scale", json!(null), true),
    ] {
        let (body, dropped) = written(&Conversation { service_tier: Some(asked.into()), ..hello(CLAUDE) });
        assert_eq!(body["serviceTier"], given, "{asked}");
        assert_eq!(!dropped.is_empty(), is_dropped, "{asked}");
    }
}

#[test]
fn what_has_no_place_is_noted_unless_it_says_nothing() {
    let rest = ["logit_bias", "store", "prediction", "modalities"]
        .into_iter()
        .zip([r#"{"5":1}"#, "false", "{}", "[]"])
        .map(|(name, given)| (name.into(), value(given)));
    let conversation = Conversation {
        seed: Some("7"),
        presence_penalty: Some("0.0"),
        frequency_penalty: Some("0.5"),
        logprobs: Some(false),
        rest: rest.chain([("n".into(), value("1"))]).collect(),
        ..hello(CLAUDE)
    };
    assert_eq!(written(&conversation).1, ["seed", "frequency_penalty", "logit_bias"]);
}

#[test]
fn what_no_answer_could_be_is_refused() {
    let several = Conversation { rest: vec![("n".into(), value("2"))], ..hello(CLAUDE) };
    assert_eq!(refused(&several).param, "n");
    for most in ["0", "-1", "1.5", "1e3"] {
        assert_eq!(refused(&Conversation { max_tokens: Some(most), ..hello(CLAUDE) }).param, "max_tokens");
    }
}
