//! Reads a client's request into the common form.

mod content;
mod tools;

use std::borrow::Cow;

use super::members::{Rest, items, keep, note, number, object, refused, text, wrong};
use crate::conversation::{Content, Conversation, Format, Part, Reasoning, Refused, Role, Turn};
use crate::json::{Object, Text, Value};

/// How the first block of Claude Code's instructions begins. It has another hash on each request, so that no prefix of the
/// prompt would ever be found in a cache; only Anthropic reads it.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// Reads a request's body.
///
/// # Errors
/// A member is not of the form that the API has.
pub(crate) fn read<'a>(body: &Object<'a>) -> Result<Conversation<'a>, Refused> {
    let mut conversation = Conversation { wants_usage: true, ..Conversation::default() };
    if let Some(system) = body.get("system") {
        conversation.system = instructions(system, "system", &mut conversation.rest)?;
    }
    messages(body, &mut conversation)?;
    tools::read(body, &mut conversation)?;
    thinking(body, &mut conversation)?;
    for (name, value) in &body.members {
        if !value.is_null() {
            member(name.clone(), value, &mut conversation)?;
        }
    }
    Ok(conversation)
}

/// Reads what stands for itself.
fn member<'a>(
    name: Cow<'a, str>,
    value: &Value<'a>,
    conversation: &mut Conversation<'a>,
) -> Result<(), Refused> {
    match name.as_ref() {
        "system" | "messages" | "tools" | "tool_choice" | "thinking" | "output_config" | "output_format" => {}
        "model" => conversation.model = Some(text(value, "model")?.clone()),
        "max_tokens" => conversation.max_tokens = Some(number(value, "max_tokens")?),
        "temperature" => conversation.temperature = Some(number(value, "temperature")?),
        "top_p" => conversation.top_p = Some(number(value, "top_p")?),
        "top_k" => conversation.top_k = Some(number(value, "top_k")?),
        "stream" => {
            conversation.is_stream = value.as_bool().ok_or_else(|| wrong("stream", "a boolean", value))?;
        }
        "stop_sequences" => {
            for (at, stop) in items(value, "stop_sequences")?.iter().enumerate() {
                conversation.stop.push(text(stop, &format!("stop_sequences[{at}]"))?.clone());
            }
        }
        "service_tier" => {
            // The common form has OpenAI's words for it.
            let tier = text(value, "service_tier")?;
            conversation.service_tier =
                Some(if *tier == "standard_only" { Text::from("default") } else { tier.clone() });
        }
        "metadata" => {
            for (name, value) in &object(value, "metadata")?.members {
                match name.as_ref() {
                    "user_id" if value.is_null() => {}
                    "user_id" => conversation.user = Some(text(value, "metadata.user_id")?.clone()),
                    name => keep(&mut conversation.rest, format!("metadata.{name}"), value),
                }
            }
        }
        _ => keep(&mut conversation.rest, name, value),
    }
    Ok(())
}

fn messages<'a>(body: &Object<'a>, conversation: &mut Conversation<'a>) -> Result<(), Refused> {
    let Some(messages) = body.get("messages") else {
        return Err(refused("messages", "an array of messages is required"));
    };
    for (at, message) in items(messages, "messages")?.iter().enumerate() {
        let place = format!("messages[{at}]");
        let message = object(message, &place)?;
        let Some(value) = message.get("content") else {
            let param = format!("{place}.content");
            return Err(refused(param, "a string or an array of blocks is required"));
        };
        let place_of_content = format!("{place}.content");
        let rest = &mut conversation.rest;
        // Claude Code sends `ctx` and `msg` for what it says on the user's behalf.
        let role = match message.word("role") {
            Some("user" | "ctx" | "msg") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system") => {
                conversation.system.extend(instructions(value, &place_of_content, rest)?);
                continue;
            }
            _ => {
                let param = format!("{place}.role");
                return Err(refused(param, "the role has to be user, assistant or system"));
            }
        };
        let mut parts = content::read(value, &place_of_content, rest)?;
        Part::number(&mut parts, "messages", at);
        conversation.turns.push(Turn { role, parts });
    }
    Ok(())
}

/// Instructions, without Claude Code's billing header.
fn instructions<'a>(value: &Value<'a>, place: &str, rest: &mut Rest<'a>) -> Result<Vec<Part<'a>>, Refused> {
    let mut parts = content::read(value, place, rest)?;
    parts.retain(
        |part| !matches!(&part.content, Content::Text(text) if text.decoded().starts_with(BILLING_HEADER)),
    );
    if parts.iter().any(|part| !matches!(part.content, Content::Text(_))) {
        return Err(refused(place, "instructions have to be text"));
    }
    Ok(parts)
}

/// Reads `thinking`, `output_config` and the older `output_format`.
fn thinking<'a>(body: &Object<'a>, conversation: &mut Conversation<'a>) -> Result<(), Refused> {
    let rest = &mut conversation.rest;
    let mut effort = None;
    if let Some(config) = body.get("output_config") {
        for (name, value) in &object(config, "output_config")?.members {
            match name.as_ref() {
                _ if value.is_null() => {}
                "effort" => effort = Some(text(value, "output_config.effort")?.clone()),
                "format" => conversation.format = Some(format(value, "output_config.format")?),
                name => keep(rest, format!("output_config.{name}"), value),
            }
        }
    }
    if let Some(value) = body.get("output_format")
        && conversation.format.is_none()
    {
        conversation.format = Some(format(value, "output_format")?);
    }
    let Some(config) = body.get("thinking") else {
        conversation.reasoning = effort.map(Reasoning::Effort);
        return Ok(());
    };
    let config = object(config, "thinking")?;
    if let Some(display) = config.get("display") {
        note(rest, "thinking.display", display);
    }
    conversation.reasoning = Some(match (config.word("type"), effort) {
        (Some("disabled"), _) => Reasoning::Off,
        (Some("enabled"), Some(effort)) => {
            if let Some(budget) = config.get("budget_tokens") {
                note(rest, "thinking.budget_tokens", budget);
            }
            Reasoning::Effort(effort)
        }
        (Some("enabled"), None) => match config.u64("budget_tokens") {
            Some(budget) => Reasoning::Budget(budget),
            None => {
                return Err(refused("thinking.budget_tokens", "a whole number of tokens is required"));
            }
        },
        (Some("adaptive" | "between_tools"), Some(effort)) => Reasoning::Effort(effort),
        (Some("adaptive" | "between_tools"), None) => Reasoning::Adaptive,
        _ => {
            let message = "the type has to be enabled, disabled, adaptive or between_tools";
            return Err(refused("thinking.type", message));
        }
    });
    Ok(())
}

fn format<'a>(value: &Value<'a>, place: &str) -> Result<Format<'a>, Refused> {
    let format = object(value, place)?;
    match (format.word("type"), format.get("schema")) {
        (Some("json_schema"), Some(schema @ Value::Object(_))) => {
            // Not strict: OpenAI's strict schemas have to list every property as required, Anthropic's need not.
            Ok(Format::JsonSchema { name: None, schema: schema.clone(), is_strict: None })
        }
        (Some("json_schema"), _) => Err(refused(format!("{place}.schema"), "a schema is required")),
        _ => Err(refused(format!("{place}.type"), "the type has to be json_schema")),
    }
}
