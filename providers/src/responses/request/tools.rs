//! Tools, and whether one has to be called.

use super::fields::{Place, boolean, items, required_text, says_something, text};
use crate::conversation::{Conversation, Notes, Refused, Tool, ToolChoice};
use crate::json::{Object, Text, Value};

/// Members of a function that say how the provider's own tools may deal with it.
const PROVIDERS_OWN: [(&str, &str); 4] = [
    ("async", "tools[].async"),
    ("allowed_callers", "tools[].allowed_callers"),
    ("defer_loading", "tools[].defer_loading"),
    ("output_schema", "tools[].output_schema"),
];

/// Reads the request's tools and its choice of them.
pub(super) fn read<'a>(
    body: &Object<'a>,
    conversation: &mut Conversation<'a>,
    notes: &mut Notes,
) -> Result<(), Refused> {
    let at = Place::Root.member("tools");
    for (index, tool) in items(body, "tools", &Place::Root)?.iter().enumerate() {
        conversation.tools.push(read_tool(tool, &at.item(index), notes)?);
    }
    let at = Place::Root.member("tool_choice");
    conversation.tool_choice = match body.get("tool_choice") {
        None => None,
        Some(Value::String(word)) => Some(mode(word, &at)?),
        Some(Value::Object(choice)) => Some(chosen(choice, conversation, &at)?),
        Some(other) => return Err(at.wrong("a string or an object", other)),
    };
    Ok(())
}

fn read_tool<'a>(value: &Value<'a>, at: &Place<'_>, notes: &mut Notes) -> Result<Tool<'a>, Refused> {
    let Value::Object(tool) = value else { return Err(at.wrong("an object", value)) };
    let kind = required_text(tool, "type", at)?;
    if kind != "function" {
        let name = text(tool, "name", at)?.unwrap_or(kind);
        let other = Some(value.clone());
        return Ok(Tool { name, description: None, parameters: None, is_strict: None, cache: None, other });
    }
    for (name, noted) in PROVIDERS_OWN {
        if says_something(tool, name) {
            notes.dropped(noted);
        }
    }
    let parameters = match tool.get("parameters") {
        None => None,
        Some(schema @ Value::Object(_)) => Some(schema.clone()),
        Some(other) => return Err(at.member("parameters").wrong("a JSON schema, an object", other)),
    };
    Ok(Tool {
        name: required_text(tool, "name", at)?,
        description: text(tool, "description", at)?,
        parameters,
        is_strict: boolean(tool, "strict", at)?,
        cache: tool.get("cache_control").cloned(),
        other: None,
    })
}

fn mode<'a>(word: &Text<'a>, at: &Place<'_>) -> Result<ToolChoice<'a>, Refused> {
    match &*word.decoded() {
        "auto" => Ok(ToolChoice::Auto),
        "required" => Ok(ToolChoice::Any),
        "none" => Ok(ToolChoice::None),
        _ => Err(at.refuse("has to be auto, required or none, or name a function")),
    }
}

fn chosen<'a>(
    choice: &Object<'a>,
    conversation: &mut Conversation<'a>,
    at: &Place<'_>,
) -> Result<ToolChoice<'a>, Refused> {
    match &*required_text(choice, "type", at)?.decoded() {
        "function" | "custom" => Ok(ToolChoice::Named(required_text(choice, "name", at)?)),
        "allowed_tools" => {
            // Other APIs know no such list. A tool that may not be called is not told of.
            let allowed = items(choice, "tools", at)?;
            conversation.tools.retain(|tool| allowed.iter().any(|entry| is_meant(entry, tool)));
            if conversation.tools.is_empty() {
                return Err(at.member("tools").refuse("names none of the request's tools"));
            }
            mode(&required_text(choice, "mode", at)?, &at.member("mode"))
        }
        _ => {
            let message = "only functions can be called upstream: choose one of type function, or auto, required or none";
            Err(at.member("type").refuse(message))
        }
    }
}

/// Whether the entry of a list of allowed tools means this one: by its name, or by its type if it has none.
fn is_meant(entry: &Value<'_>, tool: &Tool<'_>) -> bool {
    let Some(entry) = entry.as_object() else { return false };
    let Some(kind) = entry.text("type") else { return false };
    match (&tool.other, entry.text("name")) {
        (None, name) => *kind == "function" && name == Some(&tool.name),
        (Some(other), name) => {
            let other = other.as_object();
            other.and_then(|other| other.text("type")) == Some(kind)
                && name.is_none_or(|name| *name == tool.name)
        }
    }
}
