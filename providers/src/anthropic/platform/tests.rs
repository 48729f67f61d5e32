use serde_json::{Value as Json, json};

use super::*;
use crate::json::parse;

/// Body and header.
type Sent = Result<(Json, Option<String>), Refused>;

fn rewritten(body: &Json, betas: Option<&str>, platform: Platform) -> (Sent, Vec<String>) {
    let bytes = body.to_string();
    let Ok(Value::Object(object)) = parse(bytes.as_bytes()) else { panic!("no object") };
    let mut notes = Notes::default();
    let result = rewrite(&object, betas, platform, None, &mut notes);
    let result = result.map(|it| (serde_json::from_slice(&it.body.concat(b"")).unwrap(), it.betas));
    (result, notes.names().iter().map(|name| name.to_string()).collect())
}

#[test]
fn a_request_is_copied_but_for_its_envelope() {
    let body = json!({
        "model": "claude-opus-4-6", "max_tokens": 9, "stream": true, "temperature": 0.50,
        "messages": [{"role": "user", "content": "\u{e9}\n"}], "future_member": {"a": 1}, "a\"b": 1,
        "output_config": {"effort": "low"}, "thinking": {"type": "adaptive"},
    });
    let (aws, dropped) = rewritten(&body, None, Platform::Aws);
    let mut expected = body.clone();
    expected.as_object_mut().unwrap().remove("model");
    expected["anthropic_version"] = json!("vertex-2023-10-16");
    let (gcp, dropped_too) = rewritten(&body, None, Platform::Gcp);
    assert_eq!(gcp.unwrap(), (expected.clone(), None));
    expected.as_object_mut().unwrap().remove("stream");
    expected["anthropic_version"] = json!("bedrock-2023-05-31");
    assert_eq!(aws.unwrap(), (expected, None));
    assert_eq!((dropped, dropped_too), (vec![], vec![]));
    let (own, _) = rewritten(&body, Some("x"), Platform::Anthropic);
    assert_eq!(own.unwrap(), (body, Some("x".to_owned())));
}

#[test]
fn a_configured_version_is_sent() {
    let Value::Object(body) = parse(b"{}").unwrap() else { panic!() };
    let result = rewrite(&body, None, Platform::Aws, Some("bedrock-2030-01-01"), &mut Notes::default());
    assert_eq!(result.unwrap().body.concat(b""), br#"{"anthropic_version":"bedrock-2030-01-01"}"#);
}

#[test]
fn context_management_goes_with_its_beta_or_not_at_all() {
    let body = json!({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}});
    for platform in [Platform::Aws, Platform::Gcp] {
        let (result, dropped) = rewritten(&body, Some("context-management-2025-06-27"), platform);
        let (sent, header) = result.unwrap();
        assert_eq!(sent["context_management"], body["context_management"]);
        if platform == Platform::Aws {
            assert_eq!((&sent["anthropic_beta"], header), (&json!(["context-management-2025-06-27"]), None));
        } else {
            assert_eq!(
                (sent.get("anthropic_beta"), header.as_deref()),
                (None, Some("context-management-2025-06-27"))
            );
        }
        assert_eq!(dropped, Vec::<String>::new());
        let (result, dropped) = rewritten(&body, None, platform);
        assert_eq!(
            (result.unwrap().0.get("context_management"), dropped),
            (None, vec!["context_management".to_owned()])
        );
    }
}

#[test]
fn betas_and_members_that_a_platform_refuses_are_left_out_together() {
    let mut body = json!({
        "mcp_servers": [{"type": "url"}], "container": {"skills": []}, "service_tier": "auto", "metadata": {"user_id": "u"},
        "anthropic_beta": ["computer-use-2025-01-24", "interleaved-thinking-2025-05-14"],
        "speed": null,
    });
    let header = "claude-code-20250219, mcp-client-2025-11-20,interleaved-thinking-2025-05-14, advanced-tool-use-2025-11-20,a\u{7f}b";
    let (result, dropped) = rewritten(&body, Some(header), Platform::Aws);
    let betas = ["interleaved-thinking-2025-05-14", "tool-search-tool-2025-10-19", "computer-use-2025-01-24"];
    let expected = json!({"anthropic_version": "bedrock-2023-05-31", "anthropic_beta": betas});
    assert_eq!(result.unwrap(), (expected, None));
    let expected = [
        "anthropic-beta.mcp-client-2025-11-20",
        "anthropic-beta",
        "container",
        "mcp_servers",
        "metadata",
        "service_tier",
    ];
    let mut sorted = dropped.clone();
    sorted[2..].sort();
    assert_eq!(sorted, expected);
    body["anthropic_beta"] = json!("x");
    assert_eq!(rewritten(&body, None, Platform::Gcp).0.unwrap_err().param, "anthropic_beta");
}

#[test]
fn the_scope_of_a_cache_mark_is_known_to_anthropic_only() {
    let mark = json!({"type": "ephemeral", "scope": "global", "ttl": "1h"});
    let bare = json!({"type": "ephemeral", "ttl": "1h"});
    let body = |mark: &Json| {
        json!({
            "cache_control": mark,
            "system": [{"type": "text", "text": "S", "cache_control": mark}, "x"],
            "tools": [{"name": "f", "input_schema": {"properties": {"cache_control": {"scope": 1}}}, "cache_control": mark}],
            "messages": [
                {"role": "user", "content": "\"scope\""},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"cache_control": {"scope": 1}}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "cache_control": mark, "content": [
                    {"type": "text", "text": "t", "cache_control": mark},
                ]}]},
            ],
        })
    };
    let (result, dropped) = rewritten(&body(&mark), Some("prompt-caching-scope-2026-01-05"), Platform::Gcp);
    let mut expected = body(&bare);
    expected["anthropic_version"] = json!("vertex-2023-10-16");
    assert_eq!(result.unwrap(), (expected, None));
    assert_eq!(dropped, ["anthropic-beta.prompt-caching-scope-2026-01-05", "cache_control.scope"]);
}

#[test]
fn a_ttl_is_kept_from_bedrocks_older_models() {
    let of = |model: &str, ttl: &str| {
        let body = json!({"model": model, "system": [{"cache_control": {"type": "ephemeral", "ttl": ttl}}]});
        let (result, dropped) = rewritten(&body, None, Platform::Aws);
        let sent = result.unwrap().0["system"][0]["cache_control"]["ttl"].clone();
        (sent, dropped.len())
    };
    assert_eq!(of("anthropic.claude-3-7-sonnet-20250219-v1:0", "1h"), (Json::Null, 1));
    assert_eq!(of("anthropic.claude-3-7-sonnet-20250219-v1:0", "5m"), (Json::Null, 0));
    assert_eq!(of("anthropic.claude-sonnet-4-5-20250929-v1:0", "1h"), (json!("1h"), 0));
    assert_eq!(of("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", "1h"), (json!("1h"), 0));
}
