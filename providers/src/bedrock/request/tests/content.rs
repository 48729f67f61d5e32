//! Messages and their blocks.

use super::*;

#[test]
fn a_conversation_is_written_with_everything_in_its_place() {
    let conversation = Conversation {
        system: vec![text(r#"Be \"brief\"."#), text("  ")],
        tools: vec![tool("find")],
        tool_choice: Some(ToolChoice::Any),
        max_tokens: Some("1000"),
        temperature: Some("0.70"),
        stop: vec!["END".into()],
        user: Some("u-1".into()),
        service_tier: Some("priority".into()),
        ..asked(
            CLAUDE,
            vec![
                user(vec![text(r"What is \u00fc?")]),
                assistant(vec![text("Let me see."), call("tooluse_1", "find", r#"{"q": "ü"}"#)]),
                user(vec![result("tooluse_1", vec![text("a letter")])]),
            ],
        )
    };
    assert_eq!(
        body(&conversation),
        json!({
            "system": [{"text": "Be \"brief\"."}],
            "messages": [
                {"role": "user", "content": [{"text": "What is ü?"}]},
                {"role": "assistant", "content": [
                    {"text": "Let me see."},
                    {"toolUse": {"toolUseId": "tooluse_1", "name": "find", "input": {"q": "ü"}}},
                ]},
                {"role": "user", "content": [
                    {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "a letter"}], "status": "success"}},
                ]},
            ],
            "toolConfig": {
                "tools": [{"toolSpec": {
                    "name": "find",
                    "description": "Finds things",
                    "inputSchema": {"json": {"type": "object", "properties": {"q": {"type": "string"}}}},
                }}],
                "toolChoice": {"any": {}},
            },
            "inferenceConfig": {"maxTokens": 1000, "temperature": 0.7, "stopSequences": ["END"]},
            "additionalModelResponseFieldPaths": ["/stop_sequence"],
            "requestMetadata": {"user_id": "u-1"},
            "serviceTier": {"type": "priority"},
        })
    );
}

/// Complaint: "Expected toolResult blocks" where the results of one turn came as several.
#[test]
fn results_of_parallel_calls_are_one_message_and_come_first() {
    let conversation = Conversation {
        tools: vec![tool("find")],
        ..asked(
            CLAUDE,
            vec![
                user(vec![text("go")]),
                assistant(vec![call("a", "find", "{}")]),
                assistant(vec![call("b", "find", "")]),
                user(vec![result("a", vec![text("1")])]),
                user(vec![text("hurry")]),
                user(vec![result("b", vec![])]),
                user(vec![]),
                user(vec![text("now")]),
            ],
        )
    };
    let body = body(&conversation);
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"text": "go"}]},
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "a", "name": "find", "input": {}}},
                {"toolUse": {"toolUseId": "b", "name": "find", "input": {}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "a", "content": [{"text": "1"}], "status": "success"}},
                {"toolResult": {"toolUseId": "b", "content": [{"text": "(no output)"}], "status": "success"}},
                {"text": "hurry"},
                {"text": "now"},
            ]},
        ])
    );
}

/// Complaint: tool results reached the model as the user's words, and it called the tool again and again.
#[test]
fn results_stay_results_with_images_and_failure() {
    let image = Part::new(Content::Image {
        source: Source::Base64 { media_type: "image/jpg".into(), data: "aGk=".into() },
        detail: Some("auto".into()),
    });
    let failed =
        Part::new(Content::ToolResult { id: "a".into(), parts: vec![text(" "), image], is_error: true });
    let conversation = Conversation { tools: vec![tool("find")], ..asked(CLAUDE, vec![user(vec![failed])]) };
    assert_eq!(
        body(&conversation)["messages"][0]["content"],
        json!([{"toolResult": {
            "toolUseId": "a",
            "content": [{"image": {"format": "jpeg", "source": {"bytes": "aGk="}}}],
            "status": "error",
        }}])
    );
}

/// Complaint: empty and blank text blocks are refused.
#[test]
fn blank_texts_are_left_out_with_the_turns_that_are_nothing_else() {
    let conversation = asked(
        CLAUDE,
        vec![
            user(vec![text(""), text("one"), text(r" \n\t")]),
            assistant(vec![text(r"\u0020")]),
            user(vec![text("two")]),
        ],
    );
    assert_eq!(
        body(&conversation)["messages"],
        json!([{"role": "user", "content": [{"text": "one"}, {"text": "two"}]}])
    );
}

/// Complaint: an answer to go on from that ends in white space is refused.
#[test]
fn an_answer_to_go_on_from_is_trimmed_and_no_other_text() {
    let turns =
        || vec![user(vec![text("hi ")]), assistant(vec![text(r"one \n")]), user(vec![text("go on ")])];
    let mut conversation = asked(CLAUDE, turns());
    assert_eq!(body(&conversation)["messages"][1]["content"], json!([{"text": "one \n"}]));
    conversation.turns.pop();
    assert_eq!(body(&conversation)["messages"][1]["content"], json!([{"text": "one"}]));
    assert_eq!(body(&conversation)["messages"][0]["content"], json!([{"text": "hi "}]));
}

/// Complaint: "expected thinking, found tool_use" on the second turn.
#[test]
fn thoughts_come_first_with_their_signature_and_secrets_as_they_came() {
    let redacted = Part::new(Content::Redacted("RW1wdHk=".into()));
    let conversation = Conversation {
        tools: vec![tool("find")],
        ..asked(
            CLAUDE,
            vec![
                user(vec![text("go")]),
                assistant(vec![call("a", "find", "{}"), thought("hm", Some("c2ln")), redacted]),
                user(vec![result("a", vec![text("1")])]),
                assistant(vec![
                    thought("so", Some("c2ln")),
                    text("I see"),
                    thought("and", Some("c2ln")),
                    text("so"),
                ]),
                user(vec![text("thanks")]),
            ],
        )
    };
    let body = body(&conversation);
    let reasoning =
        |text: &str| json!({"reasoningContent": {"reasoningText": {"text": text, "signature": "c2ln"}}});
    assert_eq!(
        body["messages"][1]["content"],
        json!([
            reasoning("hm"),
            {"reasoningContent": {"redactedContent": "RW1wdHk="}},
            {"toolUse": {"toolUseId": "a", "name": "find", "input": {}}},
        ])
    );
    assert_eq!(
        body["messages"][3]["content"],
        json!([reasoning("so"), {"text": "I see"}, reasoning("and"), {"text": "so"}])
    );
}

#[test]
fn thoughts_of_other_providers_are_left_out_and_noted() {
    let conversation = asked(
        CLAUDE,
        vec![user(vec![text("go")]), assistant(vec![thought("hm", None)]), user(vec![text("on")])],
    );
    let (body, dropped) = written(&conversation);
    assert_eq!(body["messages"], json!([{"role": "user", "content": [{"text": "go"}, {"text": "on"}]}]));
    assert_eq!(dropped, ["messages[].reasoning_content"]);
}

/// Complaint: cache marks were lost, or their points stood in the wrong place.
#[test]
fn a_cache_point_stands_behind_each_block_that_is_marked() {
    const MARK: &str = r#"{"type":"ephemeral"}"#;
    let marked_tool = Tool { cache: Some(value(MARK)), ..tool("b") };
    let conversation = Conversation {
        system: vec![marked(text("s1"), r#"{"type":"ephemeral","ttl":"1h"}"#), text("s2")],
        tools: vec![tool("a"), marked_tool, tool("c")],
        ..asked(
            CLAUDE,
            vec![
                user(vec![marked(text("one"), MARK), text("two")]),
                assistant(vec![marked(call("a", "a", "{}"), MARK)]),
                user(vec![
                    text("late"),
                    result("a", vec![marked(text("1"), r#"{"type":"ephemeral","ttl":"5m"}"#)]),
                ]),
            ],
        )
    };
    let body = body(&conversation);
    let point = json!({"cachePoint": {"type": "default"}});
    assert_eq!(
        body["system"],
        json!([{"text": "s1"}, {"cachePoint": {"type": "default", "ttl": "1h"}}, {"text": "s2"}])
    );
    assert_eq!(body["messages"][0]["content"], json!([{"text": "one"}, point, {"text": "two"}]));
    assert_eq!(body["messages"][1]["content"][1], point);
    let last = &body["messages"][2]["content"];
    assert_eq!(last[0]["toolResult"]["content"], json!([{"text": "1"}]));
    assert_eq!((&last[1], &last[2]), (&point, &json!({"text": "late"})));
    let tools = body["toolConfig"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["toolSpec"]["name"].as_str().unwrap_or("-")).collect();
    assert_eq!(names, ["a", "b", "-", "c"]);
    assert_eq!(tools[2], point);
}

/// Complaints: cache marks to other models than Claude's are errors; so is `ttl` with old ones; and the name of an
/// inference profile does not tell.
#[test]
fn cache_points_go_to_models_that_take_them_or_may() {
    const MARK: &str = r#"{"type":"ephemeral","ttl":"1h"}"#;
    let long = json!({"cachePoint": {"type": "default", "ttl": "1h"}});
    let short = json!({"cachePoint": {"type": "default"}});
    let none = json!(null);
    let tool_cache = "tools[].cache_control";
    for (model, point, tool_point, dropped) in [
        (CLAUDE, &long, &long, vec![]),
        (PROFILE, &long, &long, vec![]),
        (OLD_CLAUDE, &short, &short, vec!["cache_control.ttl"]),
        (NOVA, &short, &none, vec!["cache_control.ttl", tool_cache]),
        (LLAMA, &none, &none, vec!["cache_control", tool_cache]),
    ] {
        let conversation = Conversation {
            tools: vec![Tool { cache: Some(value(MARK)), ..tool("a") }],
            ..asked(model, vec![user(vec![marked(text("one"), MARK)])])
        };
        let (body, left_out) = written(&conversation);
        assert_eq!(&body["messages"][0]["content"][1], point, "{model}");
        assert_eq!(&body["toolConfig"]["tools"][1], tool_point, "{model}");
        assert_eq!(left_out, dropped, "{model}");
    }
}

/// Complaint: an image's address was sent on, and refused without a word of what would do.
#[test]
fn images_are_sent_by_format_and_addresses_refused_with_the_fix() {
    let image = |source| asked(CLAUDE, vec![user(vec![Part::new(Content::Image { source, detail: None })])]);
    let data =
        |media_type: &'static str| Source::Base64 { media_type: media_type.into(), data: "aGk=".into() };
    for (media_type, format) in [
        ("image/png", "png"),
        ("image/jpeg", "jpeg"),
        ("IMAGE/JPG", "jpeg"),
        ("image/gif", "gif"),
        ("image/webp; q=1", "webp"),
    ] {
        let block = json!([{"image": {"format": format, "source": {"bytes": "aGk="}}}]);
        assert_eq!(body(&image(data(media_type)))["messages"][0]["content"], block);
    }
    let pdf = json!([{"document": {"format": "pdf", "name": "document", "source": {"bytes": "aGk="}}}]);
    assert_eq!(body(&image(data("application/pdf")))["messages"][0]["content"], pdf);
    for (source, message) in [
        (
            Source::Url("https://example.com/a.png".into()),
            "Bedrock takes images only in the request itself: as a data: URL or in base64; here it is \
             https://example.com/a.png",
        ),
        (data("image/tiff"), "Bedrock takes images only as PNG, JPEG, GIF or WebP; here it is image/tiff"),
    ] {
        let refused = refused(&image(source));
        assert_eq!((refused.param.as_str(), refused.message.as_str()), ("messages[].content[]", message));
    }
}

#[test]
fn documents_have_names_that_are_taken_and_no_two_the_same() {
    let document = |source, name: Option<&'static str>| {
        Part::new(Content::Document { source, name: name.map(Text::from), context: None, citations: None })
    };
    let pdf = || Source::Base64 { media_type: "application/pdf".into(), data: "aGk=".into() };
    let octets = Source::Base64 { media_type: "application/octet-stream".into(), data: "aGk=".into() };
    let cited = Part::new(Content::Document {
        source: Source::Text(Text::Escaped(r"a\nb")),
        name: None,
        context: Some("from the archive".into()),
        citations: Some(value(r#"{"enabled":true}"#)),
    });
    let conversation = asked(
        CLAUDE,
        vec![user(vec![
            document(pdf(), Some("Q3: report.pdf")),
            document(pdf(), Some("Q3: report.pdf")),
            document(octets, Some("data.CSV")),
            cited,
            text("compare"),
        ])],
    );
    assert_eq!(
        body(&conversation)["messages"][0]["content"],
        json!([
            {"document": {"format": "pdf", "name": "Q3- report", "source": {"bytes": "aGk="}}},
            {"document": {"format": "pdf", "name": "Q3- report 2", "source": {"bytes": "aGk="}}},
            {"document": {"format": "csv", "name": "data", "source": {"bytes": "aGk="}}},
            {"document": {
                "format": "txt", "name": "document", "source": {"text": "a\nb"},
                "context": "from the archive", "citations": {"enabled": true},
            }},
            {"text": "compare"},
        ])
    );
    let by_id = asked(CLAUDE, vec![user(vec![document(Source::File("file_1".into()), None)])]);
    assert!(refused(&by_id).message.ends_with("in the request itself, in base64; here it is file_1"));
}

#[test]
fn sound_and_search_results_have_blocks_and_server_tools_have_not() {
    let sound =
        |format: &'static str| Part::new(Content::Audio { data: "aGk=".into(), format: format.into() });
    let other = |kind: &'static str, all| Part::new(Content::Other { kind: kind.into(), value: value(all) });
    let found = other(
        "search_result",
        r#"{"type":"search_result","source":"s","title":"t","content":[{"type":"text","text":"x"}],
            "citations":{"enabled":true}}"#,
    );
    let conversation = asked(CLAUDE, vec![user(vec![sound("wav"), found, other("server_tool_use", "{}")])]);
    let (body, dropped) = written(&conversation);
    assert_eq!(
        body["messages"][0]["content"],
        json!([
            {"audio": {"format": "wav", "source": {"bytes": "aGk="}}},
            {"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}], "citations": {"enabled": true}}},
        ])
    );
    assert_eq!(dropped, ["messages[].content[].server_tool_use"]);
    assert!(refused(&asked(CLAUDE, vec![user(vec![sound("pcm16")])])).message.contains("here it is pcm16"));
}

/// Complaints: names of MCP tools that are too long or dotted, ids of other providers' calls that are not taken.
#[test]
fn names_and_ids_that_are_not_taken_are_replaced_everywhere_alike() {
    const NAME: &str = "mcp.files.read";
    const ID: &str = "chatcmpl|tool:0";
    let conversation = Conversation {
        tools: vec![tool(NAME)],
        tool_choice: Some(ToolChoice::Named(NAME.into())),
        ..asked(
            CLAUDE,
            vec![
                user(vec![text("go")]),
                assistant(vec![call(ID, NAME, "{}")]),
                user(vec![result(ID, vec![text("1")])]),
            ],
        )
    };
    let mut aliases = Aliases::default();
    let body = write(&conversation, &[], &mut aliases, &mut Notes::default()).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body.concat(b"")).unwrap();
    let call = &body["messages"][1]["content"][0]["toolUse"];
    let name = call["name"].as_str().unwrap();
    assert_eq!(name, safe_name(NAME));
    assert_eq!(aliases.name(name), NAME);
    assert_eq!(body["toolConfig"]["tools"][0]["toolSpec"]["name"], name);
    assert_eq!(body["toolConfig"]["toolChoice"]["tool"]["name"], name);
    assert_eq!(call["toolUseId"], safe_name(ID));
    assert_eq!(body["messages"][2]["content"][0]["toolResult"]["toolUseId"], call["toolUseId"]);
}

fn safe_name(name: &str) -> String {
    crate::alias::safe(name, 64).into_owned()
}

#[test]
fn what_a_tool_is_called_with_is_an_object_always() {
    for (arguments, input) in [
        ("", json!({})),
        (" ", json!({})),
        ("null", json!({})),
        (r#"{"a":{"b":[1.50]}}"#, json!({"a": {"b": [1.5]}})),
        (r#"{"a":"#, json!({"arguments": "{\"a\":"})),
        ("[1]", json!({"arguments": "[1]"})),
    ] {
        let conversation = Conversation {
            tools: vec![tool("f")],
            ..asked(CLAUDE, vec![assistant(vec![call("a", "f", arguments)])])
        };
        assert_eq!(
            body(&conversation)["messages"][0]["content"][0]["toolUse"]["input"],
            input,
            "{arguments}"
        );
    }
}
