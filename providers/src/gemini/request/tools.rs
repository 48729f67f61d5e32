//! Tools, and whether the model has to call one.

use super::contents::MAX_NAME_LEN;
use super::{try_array, try_object};
use crate::alias::Aliases;
use crate::conversation::{Conversation, Notes, Refused, Tool, ToolChoice};
use crate::gemini::Target;
use crate::gemini::schema::{self, Budget};
use crate::json::{Object, Value, Writer};

/// The member of a request that is a tool's schema.
const PARAMETERS: &str = "tools[].function.parameters";

/// Writes `tools` and `toolConfig`.
pub(super) fn write(
    out: &mut Writer,
    conversation: &Conversation<'_>,
    target: Target<'_>,
    aliases: &mut Aliases,
    notes: &mut Notes,
    budget: &mut Budget,
) -> Result<(), Refused> {
    if conversation.parallel_tools == Some(false) {
        notes.dropped("parallel_tool_calls");
    }
    let functions: Vec<_> = conversation.tools.iter().filter(|tool| tool.other.is_none()).collect();
    let searches = searches(conversation, !functions.is_empty(), notes);
    if functions.is_empty() {
        if searches {
            out.array_at("tools", |out| out.object(|out| out.object_at("googleSearch", |_| {})));
        }
        return Ok(());
    }
    out.key("tools");
    try_array(out, |out| {
        try_object(out, |out| {
            out.key("functionDeclarations");
            try_array(out, |out| {
                functions.iter().try_for_each(|tool| write_tool(out, tool, target, aliases, notes, budget))
            })
        })
    })?;
    if let Some(choice) = &conversation.tool_choice {
        out.object_at("toolConfig", |out| {
            out.object_at("functionCallingConfig", |out| write_choice(out, choice, aliases));
        });
    }
    Ok(())
}

/// Whether the web is to be searched. Other tools of other providers have no counterpart, and Gemini searches only where
/// there are no functions.
fn searches(conversation: &Conversation<'_>, has_functions: bool, notes: &mut Notes) -> bool {
    let mut searches = false;
    for tool in conversation.tools.iter().filter(|tool| tool.other.is_some()) {
        let kind = tool.name.decoded();
        let is_search =
            ["web_search", "google_search", "googleSearch"].iter().any(|name| kind.starts_with(name));
        if is_search && !has_functions {
            searches = true;
        } else if is_search {
            notes.dropped("tools[].web_search");
        } else {
            notes.dropped("tools[].type");
        }
    }
    searches
}

fn write_tool(
    out: &mut Writer,
    tool: &Tool<'_>,
    target: Target<'_>,
    aliases: &mut Aliases,
    notes: &mut Notes,
    budget: &mut Budget,
) -> Result<(), Refused> {
    if tool.is_strict == Some(true) {
        notes.dropped("tools[].function.strict");
    }
    if tool.cache.is_some() {
        notes.dropped("cache_control");
    }
    let parameters = match &tool.parameters {
        None | Some(Value::Null) => None,
        Some(Value::Object(object)) => Some(object),
        Some(other) => {
            let message = format!("a tool's schema has to be an object, not {}", other.kind());
            return Err(Refused::new(PARAMETERS, message));
        }
    };
    try_object(out, |out| {
        out.str_at("name", &aliases.identifier(&tool.name.decoded(), MAX_NAME_LEN));
        if let Some(description) = &tool.description {
            out.text_at("description", description);
        }
        match parameters {
            None => Ok(()),
            Some(schema) if target.takes_json_schema() => {
                out.raw_at("parametersJsonSchema", schema.raw);
                Ok(())
            }
            // What has no properties is refused as an object's schema there.
            Some(schema) if is_open(schema) => Ok(()),
            Some(schema) => {
                out.key("parameters");
                schema::write(out, schema, PARAMETERS, notes, budget)
            }
        }
    })
}

/// Whether the schema says nothing of what is in an object.
fn is_open(schema: &Object<'_>) -> bool {
    let has = |name| schema.get(name).is_some();
    let has_properties = schema.object("properties").is_some_and(|properties| !properties.members.is_empty());
    !has_properties && !["$ref", "allOf", "anyOf", "oneOf"].into_iter().any(has)
}

fn write_choice(out: &mut Writer, choice: &ToolChoice<'_>, aliases: &mut Aliases) {
    let mode = match choice {
        ToolChoice::Auto => "AUTO",
        ToolChoice::Any | ToolChoice::Named(_) => "ANY",
        ToolChoice::None => "NONE",
    };
    out.str_at("mode", mode);
    if let ToolChoice::Named(name) = choice {
        out.array_at("allowedFunctionNames", |out| {
            out.str(&aliases.identifier(&name.decoded(), MAX_NAME_LEN));
        });
    }
}
