//! Tools.

use super::blocks::{Blocks, MAX_NAME};
use crate::conversation::{Conversation, Tool, ToolChoice};
use crate::json::{Value, Writer};

/// The tool that stands where there are none and have to be some.
const STAND_IN: &str = "no_tool_available";

const STAND_IN_DESCRIPTION: &str = "There is no tool here any more. Never call this one.";

/// The schema of a tool that is called with nothing.
const NO_PARAMETERS: &str = r#"{"type":"object","properties":{}}"#;

/// Writes the tools, if there are any or `has_tool_blocks` asks for some. That none is to be called cannot be said: then
/// there are none.
pub(super) fn write(
    conversation: &Conversation<'_>,
    has_tool_blocks: bool,
    blocks: &mut Blocks<'_>,
    out: &mut Writer,
) {
    let choice = conversation.tool_choice.as_ref();
    let mut tools: Vec<&Tool<'_>> = Vec::new();
    for tool in &conversation.tools {
        match &tool.other {
            _ if choice == Some(&ToolChoice::None) => {}
            None => tools.push(tool),
            // Anthropic's servers run it; or its form is not a schema.
            Some(_) => {
                let kind: String = tool.name.decoded().chars().take(64).collect();
                blocks.notes.dropped(format!("tools[].{kind}"));
            }
        }
    }
    if conversation.parallel_tools == Some(false) && !tools.is_empty() {
        blocks.notes.dropped("parallel_tool_calls");
    }
    if tools.is_empty() {
        if has_tool_blocks {
            out.object_at("toolConfig", |out| out.array_at("tools", stand_in));
        }
        return;
    }
    out.object_at("toolConfig", |out| {
        out.array_at("tools", |out| {
            for tool in tools {
                write_tool(tool, blocks, out);
            }
        });
        match choice {
            Some(ToolChoice::Auto) => out.object_at("toolChoice", |out| out.object_at("auto", |_| {})),
            Some(ToolChoice::Any) => out.object_at("toolChoice", |out| out.object_at("any", |_| {})),
            Some(ToolChoice::Named(name)) => out.object_at("toolChoice", |out| {
                out.object_at("tool", |out| {
                    out.str_at("name", &blocks.aliases.of(&name.decoded(), MAX_NAME))
                });
            }),
            Some(ToolChoice::None) | None => {}
        }
    });
}

fn write_tool(tool: &Tool<'_>, blocks: &mut Blocks<'_>, out: &mut Writer) {
    out.object(|out| {
        out.object_at("toolSpec", |out| {
            out.str_at("name", &blocks.aliases.of(&tool.name.decoded(), MAX_NAME));
            if let Some(description) = tool.description.as_ref().filter(|text| !text.is_blank()) {
                out.text_at("description", description);
            }
            out.object_at("inputSchema", |out| {
                out.key("json");
                schema(tool.parameters.as_ref(), out);
            });
            match tool.is_strict {
                Some(true) if blocks.family.may_be_claude() => out.bool_at("strict", true),
                Some(true) => blocks.notes.dropped("tools[].strict"),
                _ => {}
            }
        });
    });
    let Some(mark) = &tool.cache else { return };
    if blocks.family.may_be_claude() {
        blocks.cache_point(mark, out);
    } else {
        blocks.notes.dropped("tools[].cache_control");
    }
}

/// Writes a schema, which has to be one of objects, and to say so.
fn schema(schema: Option<&Value<'_>>, out: &mut Writer) {
    match schema.and_then(Value::as_object) {
        Some(object) if object.get("type").is_some() => out.raw(object.raw),
        Some(object) if !object.members.is_empty() => {
            let members = object.raw.strip_prefix('{').unwrap_or_default();
            out.raw(&format!(r#"{{"type":"object",{members}"#));
        }
        _ => out.raw(NO_PARAMETERS),
    }
}

fn stand_in(out: &mut Writer) {
    out.object(|out| {
        out.object_at("toolSpec", |out| {
            out.str_at("name", STAND_IN);
            out.str_at("description", STAND_IN_DESCRIPTION);
            out.object_at("inputSchema", |out| out.raw_at("json", NO_PARAMETERS));
        });
    });
}
