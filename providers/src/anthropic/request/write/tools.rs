//! Writes tools, and whether they have to be called.

use std::collections::BTreeSet;

use crate::alias::Aliases;
use crate::anthropic::request::target::{LONGEST_NAME, Target};
use crate::conversation::{Content, Conversation, Tool, ToolChoice};
use crate::json::{Value, Writer};

/// The schema of a tool that has none.
const EMPTY_SCHEMA: &str = r#"{"type":"object","properties":{}}"#;

/// Writes `tools` and `tool_choice`.
pub(super) fn write(out: &mut Writer, conversation: &Conversation<'_>, target: &mut Target<'_>) {
    if conversation.tools.is_empty() {
        if matches!(conversation.tool_choice, Some(ToolChoice::Any | ToolChoice::Named(_))) {
            target.notes.dropped("tool_choice");
        }
        write_remembered(out, conversation, target.aliases);
        return;
    }
    out.array_at("tools", |out| {
        for tool in &conversation.tools {
            write_tool(out, tool, target);
        }
    });
    let is_single = conversation.parallel_tools == Some(false);
    let kind = match &conversation.tool_choice {
        None if is_single => "auto",
        None => return,
        Some(ToolChoice::Auto) => "auto",
        Some(ToolChoice::Any) => "any",
        Some(ToolChoice::None) => "none",
        Some(ToolChoice::Named(_)) => "tool",
    };
    out.object_at("tool_choice", |out| {
        out.str_at("type", kind);
        if let Some(ToolChoice::Named(name)) = &conversation.tool_choice {
            out.str_at("name", &target.aliases.of(&name.decoded(), LONGEST_NAME));
        }
        if is_single && kind != "none" {
            out.bool_at("disable_parallel_tool_use", true);
        }
    });
}

fn write_tool(out: &mut Writer, tool: &Tool<'_>, target: &mut Target<'_>) {
    if let Some(other) = &tool.other {
        // Anthropic's own kinds are dated, as `web_search_20250305`; those of others are not known there.
        let kind = tool.name.decoded();
        let date = kind.rsplit_once('_').map_or("", |(_, date)| date);
        if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) {
            out.value(other);
        } else {
            target.refuse("tools[].type", "Claude takes functions, and tools of Anthropic's own kinds only");
        }
        return;
    }
    out.object(|out| {
        out.str_at("name", &target.aliases.of(&tool.name.decoded(), LONGEST_NAME));
        if let Some(description) = tool.description.as_ref().filter(|text| !text.is_blank()) {
            out.text_at("description", description);
        }
        out.key("input_schema");
        write_schema(out, tool.parameters.as_ref());
        if tool.is_strict == Some(true) {
            if target.generation.is_before(4, 5) {
                target.notes.dropped("tools[].function.strict");
            } else {
                out.bool_at("strict", true);
            }
        }
        target.mark(out, tool.cache.as_ref());
    });
}

/// Writes a schema, which has to say that it is an object's.
fn write_schema(out: &mut Writer, schema: Option<&Value<'_>>) {
    match schema {
        Some(schema @ Value::Object(object)) if object.get("type").is_some() => out.value(schema),
        Some(Value::Object(object)) => out.object(|out| {
            out.str_at("type", "object");
            for (name, value) in object.members.iter().filter(|(name, _)| name != "type") {
                out.value_at(name, value);
            }
        }),
        _ => out.raw(EMPTY_SCHEMA),
    }
}

/// Writes tools that were called earlier, where the request has none: calls and results are refused without. They are not
/// to be called again.
fn write_remembered(out: &mut Writer, conversation: &Conversation<'_>, aliases: &mut Aliases) {
    let mut names = BTreeSet::new();
    for part in conversation.turns.iter().flat_map(|turn| &turn.parts) {
        if let Content::ToolCall { name, .. } = &part.content {
            names.insert(name.decoded());
        }
    }
    if names.is_empty() {
        return;
    }
    out.array_at("tools", |out| {
        for name in names {
            out.object(|out| {
                out.str_at("name", &aliases.of(&name, LONGEST_NAME));
                out.raw_at("input_schema", EMPTY_SCHEMA);
            });
        }
    });
    out.raw_at("tool_choice", r#"{"type":"none"}"#);
}
