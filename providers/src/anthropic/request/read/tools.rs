//! Reads tools, and whether they have to be called.

use crate::anthropic::request::members::{items, note, object, refused, text};
use crate::conversation::{Conversation, Refused, Tool, ToolChoice};
use crate::json::{Object, Value};

/// Members of a tool that no other API has.
const OWN_MEMBERS: [&str; 4] =
    ["allowed_callers", "defer_loading", "eager_input_streaming", "input_examples"];

/// Reads `tools` and `tool_choice`.
pub(super) fn read<'a>(body: &Object<'a>, conversation: &mut Conversation<'a>) -> Result<(), Refused> {
    if let Some(tools) = body.get("tools") {
        for (at, value) in items(tools, "tools")?.iter().enumerate() {
            let place = format!("tools[{at}]");
            let tool = object(value, &place)?;
            conversation.tools.push(read_tool(tool, value, &place)?);
            for name in OWN_MEMBERS {
                if let Some(value) = tool.get(name) {
                    note(&mut conversation.rest, format!("tools[].{name}"), value);
                }
            }
        }
    }
    let Some(choice) = body.get("tool_choice") else { return Ok(()) };
    let choice = object(choice, "tool_choice")?;
    conversation.tool_choice = Some(match choice.word("type") {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Any,
        Some("none") => ToolChoice::None,
        Some("tool") => match choice.text("name") {
            Some(name) => ToolChoice::Named(name.clone()),
            None => return Err(refused("tool_choice.name", "the tool's name is required")),
        },
        _ => return Err(refused("tool_choice.type", "the type has to be auto, any, tool or none")),
    });
    if choice.get("disable_parallel_tool_use").and_then(Value::as_bool) == Some(true) {
        conversation.parallel_tools = Some(false);
    }
    Ok(())
}

fn read_tool<'a>(tool: &Object<'a>, value: &Value<'a>, place: &str) -> Result<Tool<'a>, Refused> {
    let cache = tool.get("cache_control").cloned();
    if let Some(kind) = tool.text("type").filter(|kind| **kind != "custom") {
        let other = Some(value.clone());
        return Ok(Tool {
            name: kind.clone(),
            description: None,
            parameters: None,
            is_strict: None,
            cache,
            other,
        });
    }
    let Some(name) = tool.get("name") else {
        return Err(refused(format!("{place}.name"), "the tool's name is required"));
    };
    Ok(Tool {
        name: text(name, &format!("{place}.name"))?.clone(),
        description: tool.text("description").cloned(),
        parameters: tool.get("input_schema").cloned(),
        is_strict: tool.get("strict").and_then(Value::as_bool),
        cache,
        other: None,
    })
}
