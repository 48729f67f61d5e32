//! Reads a client's request.
//!
//! Members are read leniently, as OpenAI's compatible servers read them. What OpenAI has and no other API keeps its name
//! in [`Conversation::rest`]; members of messages and parts have names like `messages[].name` there.

mod messages;
mod parts;
mod thinking;
mod tools;

use std::borrow::Cow;

use crate::conversation::{Conversation, Format, Reasoning, Refused};
use crate::json::{Object, Text, Value};

/// Reads the body of a request for a chat completion.
///
/// # Errors
/// A member is of the wrong kind or unknown where it cannot be passed over, or several answers are asked for.
pub(crate) fn read<'a>(body: &Object<'a>) -> Result<Conversation<'a>, Refused> {
    let mut conversation = Conversation::default();
    for entry in body.members.iter().filter(|(_, value)| !value.is_null()) {
        member(entry, body, &mut conversation)?;
    }
    reasoning(body, &mut conversation)?;
    messages::read(body, &mut conversation)?;
    tools::read(body, &mut conversation)?;
    Ok(conversation)
}

fn member<'a>(
    entry: &(Cow<'a, str>, Value<'a>),
    body: &Object<'a>,
    to: &mut Conversation<'a>,
) -> Result<(), Refused> {
    let (name, value) = entry;
    match name.as_ref() {
        // These are read together with others.
        "messages" | "tools" | "functions" | "tool_choice" | "function_call" | "thinking"
        | "reasoning_effort" => {}
        "model" => to.model = Some(text(name, value)?),
        "max_completion_tokens" => to.max_tokens = Some(number(name, value)?),
        "max_tokens" if body.get("max_completion_tokens").is_some() => {}
        "max_tokens" => to.max_tokens = Some(number(name, value)?),
        "temperature" => to.temperature = Some(number(name, value)?),
        "top_p" => to.top_p = Some(number(name, value)?),
        "top_k" => to.top_k = Some(number(name, value)?),
        "seed" => to.seed = Some(number(name, value)?),
        "presence_penalty" => to.presence_penalty = Some(number(name, value)?),
        "frequency_penalty" => to.frequency_penalty = Some(number(name, value)?),
        "logprobs" => to.logprobs = boolean(name, value)?.then_some(true),
        "top_logprobs" => to.top_logprobs = Some(number(name, value)?),
        "parallel_tool_calls" => to.parallel_tools = Some(boolean(name, value)?),
        "stop" => to.stop = stop(value)?,
        "stream" => to.is_stream = boolean(name, value)?,
        "stream_options" => stream_options(value, to)?,
        "response_format" => to.format = format(value, to).map_err(|refused| within(name, refused))?,
        "service_tier" => to.service_tier = Some(text(name, value)?),
        // What `user` is called now.
        "safety_identifier" => to.user = Some(text(name, value)?),
        "user" if body.get("safety_identifier").is_some_and(|newer| newer != value) => {
            to.rest.push(entry.clone());
        }
        "user" => to.user = Some(text(name, value)?),
        "n" if number(name, value)?.parse() != Ok(1_u64) => {
            return Err(Refused::new("n", "this model gives one answer at a time: leave n out, or send 1"));
        }
        _ if says_nothing(name, value) => {}
        _ => to.rest.push(entry.clone()),
    }
    Ok(())
}

/// Whether a member asks for no more than its absence does.
fn says_nothing(name: &str, value: &Value<'_>) -> bool {
    match value {
        Value::Array(array) if name == "modalities" => array.items.iter().all(|item| is_word(item, "text")),
        Value::Array(array) => array.items.is_empty(),
        Value::Object(object) => object.members.is_empty(),
        Value::Bool(is_true) => name == "store" && !is_true,
        Value::Number(_) => name == "n",
        _ => {
            (name == "verbosity" && is_word(value, "medium"))
                || (name == "prompt_cache_retention" && is_word(value, "in_memory"))
        }
    }
}

fn is_word(value: &Value<'_>, word: &str) -> bool {
    value.as_text().is_some_and(|text| text == word)
}

fn stop<'a>(value: &Value<'a>) -> Result<Vec<Text<'a>>, Refused> {
    match value {
        Value::String(stop) => Ok(vec![stop.clone()]),
        Value::Array(array) => {
            let texts = array.items.iter().enumerate();
            texts.map(|(at, item)| text(&format!("stop[{at}]"), item)).collect()
        }
        _ => Err(wrong("stop", "a string or an array of strings", value)),
    }
}

fn stream_options<'a>(value: &Value<'a>, to: &mut Conversation<'a>) -> Result<(), Refused> {
    for (name, value) in &object("stream_options", value)?.members {
        match (name.as_ref(), value) {
            (_, Value::Null | Value::Bool(false)) => {}
            ("include_usage", _) => to.wants_usage = boolean("stream_options.include_usage", value)?,
            _ => to.rest.push((format!("stream_options.{name}").into(), value.clone())),
        }
    }
    Ok(())
}

fn format<'a>(value: &Value<'a>, to: &mut Conversation<'a>) -> Result<Option<Format<'a>>, Refused> {
    const NAME: &str = "json_schema";
    let format = object("", value)?;
    match format.word("type") {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Format::JsonObject)),
        Some(NAME) => {
            let named = object(NAME, format.get(NAME).unwrap_or(&Value::Null))?;
            let Some(schema) = named.get("schema") else {
                return Err(Refused::new("json_schema.schema", "a schema is needed here"));
            };
            if let Some(description) = named.get("description") {
                to.rest.push(("response_format.json_schema.description".into(), description.clone()));
            }
            let name = named.text("name").cloned();
            let is_strict = named.get("strict").and_then(Value::as_bool);
            Ok(Some(Format::JsonSchema { name, schema: schema.clone(), is_strict }))
        }
        _ => Err(Refused::new("type", "this has to be text, json_object or json_schema")),
    }
}

/// OpenAI's effort, and the object that Anthropic calls `thinking`, which says more and so wins.
fn reasoning<'a>(body: &Object<'a>, to: &mut Conversation<'a>) -> Result<(), Refused> {
    if let Some(effort) = body.get("reasoning_effort") {
        let effort = text("reasoning_effort", effort)?;
        to.reasoning = Some(if effort == "none" { Reasoning::Off } else { Reasoning::Effort(effort) });
    }
    let Some(thinking) = body.get("thinking") else { return Ok(()) };
    let thinking = object("thinking", thinking)?;
    let told = match (thinking.word("type"), thinking.u64("budget_tokens")) {
        (Some("disabled"), _) => Some(Reasoning::Off),
        (Some("enabled"), Some(budget)) => Some(Reasoning::Budget(budget)),
        (Some("enabled" | "adaptive"), _) => None,
        _ => {
            return Err(Refused::new("thinking.type", "this has to be enabled, disabled or adaptive"));
        }
    };
    to.reasoning = match (told, to.reasoning.take()) {
        (None, effort @ Some(_)) => effort,
        (None, None) => Some(Reasoning::Adaptive),
        (told, effort) => {
            if let (Some(effort), true) = (body.get("reasoning_effort"), effort.is_some()) {
                to.rest.push(("reasoning_effort".into(), effort.clone()));
            }
            told
        }
    };
    if let Some(display) = thinking.get("display") {
        to.rest.push(("thinking.display".into(), display.clone()));
    }
    Ok(())
}

/// Keeps a member of one of many messages or parts, once a name.
fn leave<'a>(rest: &mut Vec<(Cow<'a, str>, Value<'a>)>, place: &str, name: &str, value: &Value<'a>) {
    /// More than are ever told of.
    const MOST: usize = 64;
    if value.is_null() || says_nothing(name, value) || rest.len() >= MOST {
        return;
    }
    let is_known = rest.iter().any(|(known, _)| known.strip_prefix(place) == Some(name));
    if !is_known {
        rest.push((format!("{place}{name}").into(), value.clone()));
    }
}

/// What is wrong at a place within `outer`.
fn within(outer: &str, refused: Refused) -> Refused {
    let Refused { param, message } = refused;
    let dot = if param.is_empty() || param.starts_with('[') { "" } else { "." };
    Refused { param: format!("{outer}{dot}{param}"), message }
}

fn wrong(param: &str, needed: &str, value: &Value<'_>) -> Refused {
    Refused::new(param, format!("this has to be {needed}, and is {}", value.kind()))
}

fn text<'a>(param: &str, value: &Value<'a>) -> Result<Text<'a>, Refused> {
    value.as_text().cloned().ok_or_else(|| wrong(param, "a string", value))
}

fn number<'a>(param: &str, value: &Value<'a>) -> Result<&'a str, Refused> {
    value.as_number().ok_or_else(|| wrong(param, "a number", value))
}

fn boolean(param: &str, value: &Value<'_>) -> Result<bool, Refused> {
    value.as_bool().ok_or_else(|| wrong(param, "true or false", value))
}

fn object<'v, 'a>(param: &str, value: &'v Value<'a>) -> Result<&'v Object<'a>, Refused> {
    value.as_object().ok_or_else(|| wrong(param, "an object", value))
}

/// The string `name` of `of`, which has to be there.
fn needed<'a>(of: &Object<'a>, name: &str) -> Result<Text<'a>, Refused> {
    text(name, of.get(name).unwrap_or(&Value::Null))
}
