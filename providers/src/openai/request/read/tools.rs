//! Tools, and whether they have to be called; in the form of today and in the one before it.

use std::collections::HashSet;

use super::{boolean, leave, needed, object, text, within, wrong};
use crate::conversation::{Conversation, Refused, Tool, ToolChoice};
use crate::json::{Object, Text, Value};

/// Reads `tools`, `tool_choice` and what they were called before.
pub(super) fn read<'a>(body: &Object<'a>, to: &mut Conversation<'a>) -> Result<(), Refused> {
    for (at, value) in array(body, "tools")?.iter().enumerate() {
        let tool = object("", value).and_then(|tool| read_tool(tool, value, to));
        let tool = tool.map_err(|refused| within(&format!("tools[{at}]"), refused))?;
        to.tools.push(tool);
    }
    for (at, value) in array(body, "functions")?.iter().enumerate() {
        let tool = object("", value).and_then(|tool| function(tool, to, "functions[]."));
        let tool = tool.map_err(|refused| within(&format!("functions[{at}]"), refused))?;
        to.tools.push(tool);
    }
    for name in ["tool_choice", "function_call"] {
        if let Some(choice) = body.get(name) {
            let choice = read_choice(choice, to).map_err(|refused| within(name, refused))?;
            to.tool_choice = Some(choice);
            break;
        }
    }
    Ok(())
}

fn array<'v, 'a>(body: &'v Object<'a>, name: &str) -> Result<&'v [Value<'a>], Refused> {
    match body.get(name) {
        None => Ok(&[]),
        Some(value) => value.as_items().ok_or_else(|| wrong(name, "an array", value)),
    }
}

fn read_tool<'a>(
    tool: &Object<'a>,
    whole: &Value<'a>,
    to: &mut Conversation<'a>,
) -> Result<Tool<'a>, Refused> {
    let kind = match tool.get("type") {
        None => Text::Escaped("function"),
        Some(kind) => text("type", kind)?,
    };
    let cache = tool.get("cache_control").cloned();
    if kind == "function" {
        let named = object("function", tool.get("function").unwrap_or(&Value::Null))?;
        let read = function(named, to, "tools[].function.").map_err(|refused| within("function", refused))?;
        for (name, value) in &tool.members {
            if !["type", "function", "cache_control"].contains(&name.as_ref()) {
                leave(&mut to.rest, "tools[].", name, value);
            }
        }
        return Ok(Tool { cache: cache.or(read.cache), ..read });
    }
    let name = tool.object("custom").and_then(|custom| custom.text("name")).cloned().unwrap_or(kind);
    let other = Some(whole.clone());
    Ok(Tool { name, description: None, parameters: None, is_strict: None, cache, other })
}

fn function<'a>(function: &Object<'a>, to: &mut Conversation<'a>, place: &str) -> Result<Tool<'a>, Refused> {
    let is_strict = function.get("strict").map(|strict| boolean("strict", strict)).transpose()?;
    for (name, value) in &function.members {
        if !["name", "description", "parameters", "strict", "cache_control"].contains(&name.as_ref()) {
            leave(&mut to.rest, place, name, value);
        }
    }
    Ok(Tool {
        name: needed(function, "name")?,
        description: function.text("description").cloned(),
        parameters: function.get("parameters").cloned(),
        is_strict,
        cache: function.get("cache_control").cloned(),
        other: None,
    })
}

fn read_choice<'a>(choice: &Value<'a>, to: &mut Conversation<'a>) -> Result<ToolChoice<'a>, Refused> {
    let choice = match choice {
        Value::String(word) => return mode(word.as_word(), ""),
        _ => object("", choice)?,
    };
    let kind = choice.word("type");
    match kind {
        Some("allowed_tools") => allowed(choice, to).map_err(|refused| within("allowed_tools", refused)),
        Some(kind @ ("function" | "custom")) => {
            let named = object(kind, choice.get(kind).unwrap_or(&Value::Null))?;
            let name = needed(named, "name").map_err(|refused| within(kind, refused))?;
            Ok(ToolChoice::Named(name))
        }
        // The form before: {"name": …}.
        None if choice.get("name").is_some() => Ok(ToolChoice::Named(needed(choice, "name")?)),
        _ => Err(Refused::new("type", "this has to be function, custom or allowed_tools")),
    }
}

fn mode<'a>(word: Option<&str>, param: &str) -> Result<ToolChoice<'a>, Refused> {
    match word {
        Some("auto") => Ok(ToolChoice::Auto),
        Some("none") => Ok(ToolChoice::None),
        Some("required" | "any") => Ok(ToolChoice::Any),
        _ => Err(Refused::new(param, "this has to be auto, none, required or an object that names a tool")),
    }
}

/// Tools out of which to choose: upstreams have no such choice, and so are sent no others.
fn allowed<'a>(choice: &Object<'a>, to: &mut Conversation<'a>) -> Result<ToolChoice<'a>, Refused> {
    let allowed = object("", choice.get("allowed_tools").unwrap_or(&Value::Null))?;
    let names: HashSet<_> = array(allowed, "tools")?
        .iter()
        .filter_map(Value::as_object)
        .filter_map(|tool| {
            let named = tool.object("function").or(tool.object("custom")).unwrap_or(tool);
            named.text("name").or(tool.text("type")).map(Text::decoded)
        })
        .collect();
    to.tools.retain(|tool| names.contains(&tool.name.decoded()));
    mode(allowed.word("mode"), "mode")
}
