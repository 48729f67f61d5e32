use serde_json::json;

use super::*;
use crate::conversation::{Arguments, Format, Reasoning, Role, Source, Tool, ToolChoice, Turn};
use crate::gemini::Platform;
use crate::json::{Object, parse};

const FLASH: Target<'static> = Target { platform: Platform::GeminiApi, model: "gemini-2.5-flash" };
const VERTEX: Target<'static> = Target { platform: Platform::Vertex, model: "gemini-2.5-flash" };
const THIRD: Target<'static> = Target { platform: Platform::Vertex, model: "gemini-3-pro-preview" };
const OLD: Target<'static> = Target { platform: Platform::Vertex, model: "gemini-2.0-flash" };

fn said<'a>(role: Role, parts: Vec<Content<'a>>) -> Turn<'a> {
    Turn { role, parts: parts.into_iter().map(Part::new).collect() }
}

fn user<'a>(parts: Vec<Content<'a>>) -> Turn<'a> {
    said(Role::User, parts)
}

fn model<'a>(parts: Vec<Content<'a>>) -> Turn<'a> {
    said(Role::Assistant, parts)
}

fn text(text: &str) -> Content<'_> {
    Content::Text(text.into())
}

fn call<'a>(id: &'a str, name: &'a str, arguments: &'a str, signature: Option<&'a str>) -> Content<'a> {
    let arguments = Arguments::Written(Text::Escaped(arguments));
    Content::ToolCall { id: id.into(), name: name.into(), arguments, signature: signature.map(Text::from) }
}

fn result<'a>(id: &'a str, parts: Vec<Content<'a>>) -> Content<'a> {
    Content::ToolResult { id: id.into(), parts: parts.into_iter().map(Part::new).collect(), is_error: false }
}

fn image(source: Source<'_>) -> Content<'_> {
    Content::Image { source, detail: None }
}

fn function<'a>(name: &'a str, parameters: &'a str) -> Tool<'a> {
    Tool {
        name: name.into(),
        description: Some("d".into()),
        parameters: Some(parse(parameters.as_bytes()).unwrap()),
        is_strict: None,
        cache: None,
        other: None,
    }
}

fn asking(turns: Vec<Turn<'_>>) -> Conversation<'_> {
    Conversation { turns, ..Conversation::default() }
}

/// A conversation with something in it.
fn hello<'a>() -> Conversation<'a> {
    asking(vec![user(vec![text("hi")])])
}

fn try_written(
    conversation: &Conversation<'_>,
    target: Target<'_>,
) -> Result<(serde_json::Value, Vec<String>), Refused> {
    let mut notes = Notes::default();
    let body = write(conversation, target, &mut Aliases::default(), &mut notes)?;
    let notes = notes.names().iter().map(|name| name.to_string()).collect();
    Ok((serde_json::from_slice(&body.concat(b"")).unwrap(), notes))
}

#[track_caller]
fn written(conversation: &Conversation<'_>, target: Target<'_>) -> serde_json::Value {
    let (body, notes) = try_written(conversation, target).unwrap();
    assert_eq!(notes, [""; 0]);
    body
}

#[track_caller]
fn noted(conversation: &Conversation<'_>, target: Target<'_>, wanted: &[&str]) -> serde_json::Value {
    let (body, notes) = try_written(conversation, target).unwrap();
    assert_eq!(notes, wanted);
    body
}

#[test]
fn turns_are_contents_of_alternating_roles() {
    let mut conversation = asking(vec![
        user(vec![text("one"), text("")]),
        user(vec![Content::Text(Text::Escaped(r"t\u0077o\n"))]),
        model(vec![Content::Refusal("no".into())]),
        user(vec![text("")]),
        user(vec![text("please")]),
    ]);
    conversation.system = vec![Part::text("be".into()), Part::text("".into()), Part::text("brief".into())];
    assert_eq!(
        written(&conversation, FLASH),
        json!({
            "contents": [
                {"role": "user", "parts": [{"text": "one"}, {"text": "two\n"}]},
                {"role": "model", "parts": [{"text": "no"}]},
                {"role": "user", "parts": [{"text": "please"}]},
            ],
            "systemInstruction": {"parts": [{"text": "be"}, {"text": "brief"}]},
        }),
    );
}

#[test]
fn instructions_alone_are_said_by_the_user() {
    let mut conversation = asking(vec![user(vec![text("")])]);
    assert_eq!(try_written(&conversation, FLASH).unwrap_err().param, "messages");
    conversation.system = vec![Part::text("be".into())];
    let wanted = json!({"contents": [{"role": "user", "parts": [{"text": "be"}]}]});
    assert_eq!(written(&conversation, FLASH), wanted);
}

#[test]
fn results_of_tools_are_named_and_in_the_order_of_the_calls() {
    let turns = vec![
        user(vec![text("weather?")]),
        model(vec![
            text("sure"),
            call("a", "get", r#"{\"city\":\"K\u00f6ln\"}"#, None),
            call("b", "now", "", None),
        ]),
        user(vec![text("and?"), result("b", vec![text("12:00"), text("UTC")])]),
        user(vec![result("a", vec![])]),
        model(vec![call("a", "other", " ", None)]),
        user(vec![Content::ToolResult {
            id: "a".into(),
            parts: vec![Part::text("bad".into())],
            is_error: true,
        }]),
    ];
    let wanted = json!({"contents": [
        {"role": "user", "parts": [{"text": "weather?"}]},
        {"role": "model", "parts": [
            {"text": "sure"},
            {"functionCall": {"name": "get", "args": {"city": "Köln"}}},
            {"functionCall": {"name": "now", "args": {}}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "get", "response": {"output": ""}}},
            {"functionResponse": {"name": "now", "response": {"output": "12:00\nUTC"}}},
        ]},
        {"role": "user", "parts": [{"text": "and?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "other", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "other", "response": {"error": "bad"}}}]},
    ]});
    assert_eq!(written(&asking(turns.clone()), VERTEX), wanted);
    // The Gemini API has ids as well.
    let body = written(&asking(turns), FLASH);
    assert_eq!(body["contents"][1]["parts"][1]["functionCall"]["id"], "a");
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["id"], "a");
}

#[test]
fn a_history_that_gemini_cannot_read_is_refused() {
    let stray = asking(vec![user(vec![result("x", vec![])])]);
    assert_eq!(try_written(&stray, FLASH).unwrap_err().param, "messages[].tool_call_id");
    for arguments in ["nonsense", "[1]", "7", "{"] {
        let conversation = asking(vec![model(vec![call("a", "f", arguments, None)])]);
        let refused = try_written(&conversation, FLASH).unwrap_err();
        assert_eq!(refused.param, "messages[].tool_calls[].function.arguments", "{arguments}");
    }
}

#[test]
fn missing_a_thought_signature_on_turn_2() {
    let parts = |turns| {
        let body = written(&asking(turns), THIRD);
        body["contents"][0]["parts"].clone()
    };
    let thought = |text: &'static str, signature: Option<&'static str>| Content::Reasoning {
        text: text.into(),
        signature: signature.map(Text::from),
    };
    let signed = |name: &str, signature: &str| json!({"functionCall": {"name": name, "args": {}}, "thoughtSignature": signature});
    let bare = |name: &str| json!({"functionCall": {"name": name, "args": {}}});
    // With the call, as it came; only the first of several has one.
    let calls = vec![call("a", "f", "{}", Some("c2ln+/==")), call("b", "g", "{}", None)];
    assert_eq!(parts(vec![model(calls)]), json!([signed("f", "c2ln+/=="), bare("g")]));
    // With the thought before the call, for clients that have no place with calls.
    let calls =
        vec![thought("hm", Some("gemini:c2ln")), call("a", "f", "{}", None), call("b", "g", "{}", None)];
    let wanted = json!([{"text": "hm", "thought": true}, signed("f", "c2ln"), bare("g")]);
    assert_eq!(parts(vec![model(calls)]), wanted);
    let said = vec![thought("", Some("gemini:c2ln")), text("so")];
    assert_eq!(parts(vec![model(said)]), json!([{"text": "so", "thoughtSignature": "c2ln"}]));
    // None, or another provider's.
    let placeholder = "skip_thought_signature_validator";
    let calls =
        vec![thought("", Some("ErcBCkgIARAB")), call("a", "f", "{}", None), call("b", "g", "{}", None)];
    assert_eq!(parts(vec![model(calls)]), json!([signed("f", placeholder), bare("g")]));
    // Each turn has its own.
    let turns = vec![
        model(vec![call("a", "f", "{}", Some("one"))]),
        user(vec![result("a", vec![])]),
        model(vec![call("b", "g", "{}", None)]),
    ];
    assert_eq!(written(&asking(turns), THIRD)["contents"][2]["parts"], json!([signed("g", placeholder)]));
    // Older models want none.
    let body = written(&asking(vec![model(vec![call("a", "f", "{}", None)])]), VERTEX);
    assert_eq!(body["contents"][0]["parts"], json!([bare("f")]));
    assert_eq!(
        try_written(&asking(vec![model(vec![thought("", Some("gemini:x"))])]), THIRD).unwrap_err().param,
        "messages"
    );
}

#[test]
fn media_are_inline_or_at_an_address_that_says_its_type() {
    let parts = |content, target| {
        let body = written(&asking(vec![user(vec![content])]), target);
        body["contents"][0]["parts"][0].clone()
    };
    let base64 = Source::Base64 { media_type: "image/png".into(), data: "iVBOR".into() };
    assert_eq!(
        parts(image(base64), FLASH),
        json!({"inlineData": {"mimeType": "image/png", "data": "iVBOR"}})
    );
    let base64 = Source::Base64 { media_type: "image/jpg".into(), data: "/9j/".into() };
    assert_eq!(
        parts(image(base64), FLASH),
        json!({"inlineData": {"mimeType": "image/jpeg", "data": "/9j/"}})
    );
    let unnamed = Source::Base64 { media_type: "".into(), data: "/9j/".into() };
    let unnamed = asking(vec![user(vec![image(unnamed)])]);
    assert_eq!(try_written(&unnamed, FLASH).unwrap_err().param, "messages[].content[]");
    for (address, media_type) in [
        ("https://example.com/a/cat.JPG?size=1.png#x", "image/jpeg"),
        ("gs://bucket/video.mp4", "video/mp4"),
        ("https://example.com/doc.v1.pdf", "application/pdf"),
    ] {
        let file = json!({"fileData": {"mimeType": media_type, "fileUri": address}});
        assert_eq!(parts(image(Source::Url(address.into())), VERTEX), file);
    }
    let uploaded = "https://generativelanguage.googleapis.com/v1beta/files/abc";
    assert_eq!(
        parts(image(Source::File(uploaded.into())), FLASH),
        json!({"fileData": {"fileUri": uploaded}})
    );
    let audio = Content::Audio { data: "UklG".into(), format: "wav".into() };
    assert_eq!(parts(audio, FLASH), json!({"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}));
    for source in
        ["https://example.com/200", "https://example.png", "file-abc.png", "https://e.com/a.exe", uploaded]
    {
        let conversation = asking(vec![user(vec![image(Source::Url(source.into()))])]);
        assert_eq!(try_written(&conversation, VERTEX).unwrap_err().param, "messages[].content[]", "{source}");
    }
    let audio = asking(vec![user(vec![Content::Audio { data: "".into(), format: "png".into() }])]);
    assert_eq!(try_written(&audio, FLASH).unwrap_err().param, "messages[].content[].input_audio.format");
}

#[test]
fn media_of_a_tools_result_go_where_the_model_takes_them() {
    let base64 = || image(Source::Base64 { media_type: "image/png".into(), data: "iVBOR".into() });
    let turns = || {
        vec![
            model(vec![call("a", "f", "{}", Some("s"))]),
            user(vec![result("a", vec![text("here"), base64()]), text("look")]),
        ]
    };
    let inline = json!({"inlineData": {"mimeType": "image/png", "data": "iVBOR"}});
    let third = written(&asking(turns()), THIRD);
    assert_eq!(
        third["contents"][1]["parts"],
        json!([{"functionResponse": {"name": "f", "response": {"output": "here"}, "parts": [inline]}}]),
    );
    assert_eq!(third["contents"][2]["parts"], json!([{"text": "look"}]));
    let second = written(&asking(turns()), VERTEX);
    assert_eq!(
        second["contents"][1]["parts"],
        json!([{"functionResponse": {"name": "f", "response": {"output": "here"}}}]),
    );
    assert_eq!(second["contents"][2]["parts"], json!([inline, {"text": "look"}]));
}

#[test]
fn how_to_generate_is_generation_config() {
    let conversation = Conversation {
        max_tokens: Some("100"),
        temperature: Some("0.70"),
        top_p: Some("1e-1"),
        top_k: Some("40"),
        stop: vec!["\n".into(), "".into(), "END".into()],
        seed: Some("7"),
        presence_penalty: Some("0.5"),
        frequency_penalty: Some("-0.5"),
        logprobs: Some(true),
        top_logprobs: Some("3"),
        is_stream: true,
        wants_usage: true,
        parallel_tools: Some(true),
        ..hello()
    };
    assert_eq!(
        written(&conversation, FLASH)["generationConfig"],
        json!({
            "maxOutputTokens": 100, "temperature": 0.70, "topP": 0.1, "topK": 40, "stopSequences": ["\n", "END"],
            "seed": 7, "presencePenalty": 0.5, "frequencyPenalty": -0.5, "responseLogprobs": true, "logprobs": 3,
        }),
    );
    let stop = (0..6).map(|number| Text::from(number.to_string())).collect();
    assert_eq!(try_written(&Conversation { stop, ..hello() }, FLASH).unwrap_err().param, "stop");
    assert_eq!(written(&hello(), FLASH), json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}));
}

#[test]
fn the_answers_form_is_a_schema_that_the_model_takes() {
    let schema = r##"{"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}"##;
    let format = Format::JsonSchema {
        name: Some("x".into()),
        schema: parse(schema.as_bytes()).unwrap(),
        is_strict: Some(true),
    };
    let conversation = Conversation { format: Some(format), ..hello() };
    let json_schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    assert_eq!(
        written(&conversation, FLASH)["generationConfig"],
        json!({"responseMimeType": "application/json", "responseJsonSchema": json_schema}),
    );
    assert_eq!(
        written(&conversation, OLD)["generationConfig"],
        json!({
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
        }),
    );
    let conversation = Conversation { format: Some(Format::JsonObject), ..hello() };
    assert_eq!(
        written(&conversation, FLASH)["generationConfig"],
        json!({"responseMimeType": "application/json"}),
    );
}

#[test]
fn thinking_is_a_budget_or_a_level() {
    let config = |model, reasoning: Reasoning<'static>| {
        let conversation = Conversation { reasoning: Some(reasoning), ..hello() };
        let (body, notes) =
            try_written(&conversation, Target { platform: Platform::GeminiApi, model }).unwrap();
        (body["generationConfig"]["thinkingConfig"].clone(), notes.join(","))
    };
    let budget = |tokens: i64| json!({"thinkingBudget": tokens, "includeThoughts": true});
    let level = |level: &str| json!({"thinkingLevel": level, "includeThoughts": true});
    let effort = |effort: &'static str| Reasoning::Effort(effort.into());
    for (model, reasoning, wanted, note) in [
        ("gemini-2.5-flash", effort("low"), budget(1024), ""),
        ("gemini-2.5-flash", effort("medium"), budget(8192), ""),
        ("gemini-2.5-flash", effort("max"), budget(24_576), ""),
        ("gemini-2.5-pro", effort("xhigh"), budget(32_768), ""),
        ("gemini-2.5-pro", Reasoning::Budget(1), budget(128), ""),
        ("gemini-2.5-flash-lite", Reasoning::Budget(100), budget(512), ""),
        ("gemini-2.5-flash", Reasoning::Budget(u64::MAX), budget(24_576), ""),
        ("gemini-2.5-flash", Reasoning::Adaptive, budget(-1), ""),
        ("gemini-2.5-flash", Reasoning::Off, json!({"thinkingBudget": 0, "includeThoughts": false}), ""),
        (
            "gemini-2.5-pro",
            Reasoning::Off,
            json!({"thinkingBudget": 128, "includeThoughts": false}),
            "thinking",
        ),
        ("gemini-2.5-flash", effort("huge"), json!(null), "reasoning_effort"),
        ("gemini-3-pro-preview", effort("minimal"), level("LOW"), ""),
        ("gemini-3-pro-preview", effort("medium"), level("HIGH"), ""),
        ("gemini-3.1-pro-preview", effort("medium"), level("MEDIUM"), ""),
        ("gemini-3-flash-preview", effort("minimal"), level("MINIMAL"), ""),
        ("gemini-3-flash-preview", effort("max"), level("HIGH"), ""),
        ("gemini-3-flash-preview", Reasoning::Budget(1024), level("LOW"), ""),
        ("gemini-3-flash-preview", Reasoning::Budget(10_000), level("HIGH"), ""),
        ("gemini-3-flash-preview", Reasoning::Adaptive, json!({"includeThoughts": true}), ""),
        (
            "gemini-3-flash-preview",
            Reasoning::Off,
            json!({"thinkingLevel": "MINIMAL", "includeThoughts": false}),
            "thinking",
        ),
        (
            "gemini-3-pro-preview",
            effort("none"),
            json!({"thinkingLevel": "LOW", "includeThoughts": false}),
            "reasoning_effort",
        ),
        ("gemini-2.0-flash", effort("high"), json!(null), "reasoning_effort"),
        ("gemini-2.0-flash", Reasoning::Off, json!(null), ""),
        ("gemma-3-27b-it", Reasoning::Budget(7), json!(null), "thinking"),
    ] {
        assert_eq!(config(model, reasoning.clone()), (wanted, note.to_owned()), "{model} {reasoning:?}");
    }
}

#[test]
fn tools_are_function_declarations() {
    let schema = r#"{"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false, "$schema": "x"}"#;
    let empty = r#"{"type": "object", "properties": {}}"#;
    let mut nullary = function("now", empty);
    nullary.parameters = None;
    nullary.description = None;
    let conversation =
        Conversation { tools: vec![function("get", schema), nullary, function("open", empty)], ..hello() };
    let json_schema: serde_json::Value = serde_json::from_str(schema).unwrap();
    assert_eq!(
        written(&conversation, FLASH)["tools"],
        json!([{"functionDeclarations": [
            {"name": "get", "description": "d", "parametersJsonSchema": json_schema},
            {"name": "now"},
            {"name": "open", "description": "d", "parametersJsonSchema": {"type": "object", "properties": {}}},
        ]}]),
    );
    assert_eq!(
        noted(&conversation, OLD, &["schema.additionalProperties"])["tools"],
        json!([{"functionDeclarations": [
            {"name": "get", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}},
            {"name": "now"},
            {"name": "open", "description": "d"},
        ]}]),
    );
    let conversation = Conversation { tools: vec![function("get", "[]")], ..hello() };
    assert_eq!(try_written(&conversation, FLASH).unwrap_err().param, "tools[].function.parameters");
}

#[test]
fn a_choice_of_tools_is_a_mode() {
    let config = |choice| {
        let tools = vec![function("get", "{}")];
        let conversation = Conversation { tools, tool_choice: Some(choice), ..hello() };
        written(&conversation, FLASH)["toolConfig"]["functionCallingConfig"].clone()
    };
    assert_eq!(config(ToolChoice::Auto), json!({"mode": "AUTO"}));
    assert_eq!(config(ToolChoice::Any), json!({"mode": "ANY"}));
    assert_eq!(config(ToolChoice::None), json!({"mode": "NONE"}));
    let named = json!({"mode": "ANY", "allowedFunctionNames": ["get"]});
    assert_eq!(config(ToolChoice::Named("get".into())), named);
    // There is nothing to choose from, and Gemini refuses the choice.
    let conversation = Conversation { tool_choice: Some(ToolChoice::Any), ..hello() };
    assert_eq!(written(&conversation, FLASH).get("toolConfig"), None);
}

#[test]
fn names_that_gemini_does_not_take_have_aliases() {
    let name = "mcp.server.tool";
    let conversation = Conversation {
        turns: vec![
            user(vec![text("hi")]),
            model(vec![call("a", name, "{}", None)]),
            user(vec![result("a", vec![])]),
        ],
        tools: vec![function(name, "{}"), function("3d", "{}")],
        tool_choice: Some(ToolChoice::Named(name.into())),
        ..Conversation::default()
    };
    let (mut aliases, mut notes) = (Aliases::default(), Notes::default());
    let body = write(&conversation, VERTEX, &mut aliases, &mut notes).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body.concat(b"")).unwrap();
    let alias = body["tools"][0]["functionDeclarations"][0]["name"].as_str().unwrap();
    assert_eq!(aliases.name(alias), name);
    assert!(alias.len() <= 64 && !alias.contains('.'));
    assert_eq!(body["contents"][1]["parts"][0]["functionCall"]["name"], alias);
    assert_eq!(body["contents"][2]["parts"][0]["functionResponse"]["name"], alias);
    assert_eq!(body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"], json!([alias]));
    let other = body["tools"][0]["functionDeclarations"][1]["name"].as_str().unwrap();
    assert!(other.starts_with('_') && aliases.name(other) == "3d");
}

#[test]
fn the_web_is_searched_where_there_are_no_functions() {
    let tool = |kind: &'static str| Tool {
        name: kind.into(),
        description: None,
        parameters: None,
        is_strict: None,
        cache: None,
        other: Some(Value::Null),
    };
    let conversation = Conversation { tools: vec![tool("web_search_20250305")], ..hello() };
    assert_eq!(written(&conversation, FLASH)["tools"], json!([{"googleSearch": {}}]));
    let tools = vec![function("f", "{}"), tool("web_search_20250305"), tool("computer_20250124")];
    let body = noted(&Conversation { tools, ..hello() }, FLASH, &["tools[].web_search", "tools[].type"]);
    assert_eq!(body["tools"].as_array().unwrap().len(), 1);
}

#[test]
fn members_without_a_place_are_noted_and_empty_ones_are_not() {
    let rest = r#"{"n": 1, "store": false, "metadata": {}, "modalities": [], "prediction": {"type": "content"},
        "logit_bias": {"1": 2}, "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
        "labels": {"team": "a"}}"#;
    let document = parse(rest.as_bytes()).unwrap();
    let Value::Object(Object { members, .. }) = &document else { panic!() };
    let mut tool = function("f", "{}");
    tool.is_strict = Some(true);
    tool.cache = Some(Value::Null);
    let mut marked = Part::text("hi".into());
    marked.cache = Some(Value::Null);
    let mut conversation = Conversation {
        turns: vec![Turn { role: Role::User, parts: vec![marked] }],
        tools: vec![tool],
        parallel_tools: Some(false),
        user: Some("u".into()),
        service_tier: Some("flex".into()),
        rest: members.clone(),
        ..Conversation::default()
    };
    let always = ["cache_control", "parallel_tool_calls", "tools[].function.strict"];
    let wanted = [&always[..], &["service_tier", "user", "prediction", "logit_bias"]].concat();
    let body = noted(&conversation, VERTEX, &wanted);
    assert_eq!(body["safetySettings"][0]["threshold"], "OFF");
    assert_eq!(body["labels"], json!({"team": "a"}));
    let wanted = [&always[..], &["user", "prediction", "logit_bias", "labels"]].concat();
    let body = noted(&conversation, FLASH, &wanted);
    assert_eq!(body["serviceTier"], "flex");
    conversation.rest = vec![("n".into(), Value::Number("2"))];
    assert_eq!(try_written(&conversation, FLASH).unwrap_err().param, "n");
}

#[test]
fn parts_without_a_place_are_noted() {
    let document = Content::Document {
        source: Source::Text("words".into()),
        name: Some("a.txt".into()),
        context: Some("c".into()),
        citations: Some(Value::Bool(true)),
    };
    let detailed = Content::Image {
        source: Source::Url("https://example.com/a.png".into()),
        detail: Some("low".into()),
    };
    let empty =
        Content::Document { source: Source::Text("".into()), name: None, context: None, citations: None };
    let other = |kind: &'static str| Content::Other { kind: kind.into(), value: Value::Null };
    let turns = vec![
        user(vec![document, empty, detailed, other("search_result"), other("a\r\nb")]),
        model(vec![text("x"), Content::Redacted("r".into())]),
    ];
    let body = noted(
        &asking(turns),
        FLASH,
        &[
            "messages[].content[].title",
            "messages[].content[].context",
            "messages[].content[].citations",
            "messages[].content[].image_url.detail",
            "messages[].content[].search_result",
            "messages[].content[]",
            "messages[].content[].redacted_thinking",
        ],
    );
    let image = json!({"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}});
    assert_eq!(body["contents"][0]["parts"], json!([{"text": "words"}, image]));
    assert_eq!(body["contents"][1]["parts"], json!([{"text": "x"}]));
}

#[test]
fn what_is_cached_is_not_sent_again() {
    let conversation = Conversation {
        system: vec![Part::text("be".into())],
        tools: vec![function("f", "{}")],
        tool_choice: Some(ToolChoice::Auto),
        rest: vec![("cached_content".into(), Value::String("cachedContents/abc".into()))],
        ..hello()
    };
    assert_eq!(
        noted(&conversation, FLASH, &["system", "tools", "tool_choice"]),
        json!({"cachedContent": "cachedContents/abc", "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    );
}
