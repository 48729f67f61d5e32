//! Reads a client's request.

mod fields;
mod items;
mod parts;
#[cfg(test)]
mod tests;
mod tools;

use self::fields::{Place, boolean, number, object, required_text, says_something, text};
use crate::conversation::{Conversation, Format, Notes, Part, Reasoning, Refused};
use crate::json::{Object, Value};

/// Members that lean on what the provider stores, and what to send instead.
const STORED: [(&str, &str); 4] = [
    ("previous_response_id", "nothing is stored between requests: send the conversation's items in `input`"),
    ("conversation", "nothing is stored between requests: send the conversation's items in `input`"),
    ("prompt", "no prompts are stored: send the prompt's text in `instructions` or `input`"),
    ("background", "answers are not made in the background: leave it out, and stream the answer"),
];

/// Members that say how the provider's own service is to work, which nothing in a conversation stands for.
const SERVICE: [&str; 9] = [
    "access_programs",
    "background_options",
    "context_management",
    "image",
    "max_tool_calls",
    "prompt_cache_options",
    "store",
    "top_logprobs",
    "moderation",
];

/// Members that are read here, besides those of [`STORED`] and [`SERVICE`].
const READ: [&str; 23] = [
    "frequency_penalty",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "metadata",
    "model",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning",
    "safety_identifier",
    "seed",
    "service_tier",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "truncation",
    "user",
];

/// Reads a request. What cannot be done by an upstream of conversations, and does not change what is said, is noted. The
/// metadata's place is the response, which repeats it.
///
/// # Errors
/// It leans on what the provider stores, or is not as the API has it.
pub(crate) fn read<'a>(body: &Object<'a>, notes: &mut Notes) -> Result<Conversation<'a>, Refused> {
    let at = &Place::Root;
    for (name, message) in STORED {
        if says_something(body, name) {
            return Err(at.member(name).refuse(message));
        }
    }
    let mut conversation = Conversation {
        model: text(body, "model", at)?,
        parallel_tools: boolean(body, "parallel_tool_calls", at)?,
        max_tokens: number(body, "max_output_tokens", at)?,
        temperature: number(body, "temperature", at)?,
        top_p: number(body, "top_p", at)?,
        // Members that engines take beside the API's own.
        top_k: number(body, "top_k", at)?,
        seed: number(body, "seed", at)?,
        presence_penalty: number(body, "presence_penalty", at)?,
        frequency_penalty: number(body, "frequency_penalty", at)?,
        is_stream: boolean(body, "stream", at)?.unwrap_or(false),
        // The last event of a stream has it, whatever the request says.
        wants_usage: true,
        reasoning: reasoning(body, notes)?,
        service_tier: text(body, "service_tier", at)?.filter(|tier| *tier != "auto"),
        ..Conversation::default()
    };
    conversation.system.extend(text(body, "instructions", at)?.map(Part::text));
    items::read(body.get("input"), &mut conversation, notes)?;
    tools::read(body, &mut conversation, notes)?;
    answer_form(body, &mut conversation, notes)?;
    user(body, &mut conversation)?;
    service(body, notes)?;
    let is_known = |name: &str| {
        READ.contains(&name) || SERVICE.contains(&name) || STORED.iter().any(|(stored, _)| *stored == name)
    };
    let rest = body.members.iter().filter(|(name, value)| !value.is_null() && !is_known(name));
    conversation.rest.extend(rest.cloned());
    Ok(conversation)
}

fn reasoning<'a>(body: &Object<'a>, notes: &mut Notes) -> Result<Option<Reasoning<'a>>, Refused> {
    let Some(reasoning) = object(body, "reasoning", &Place::Root)? else { return Ok(None) };
    for (name, noted, default) in [
        // Whatever the model tells of its thoughts is handed on.
        ("summary", "reasoning.summary", "auto"),
        ("generate_summary", "reasoning.generate_summary", "auto"),
        ("context", "reasoning.context", "auto"),
        ("mode", "reasoning.mode", "standard"),
    ] {
        if says_something(reasoning, name) && reasoning.word(name) != Some(default) {
            notes.dropped(noted);
        }
    }
    let effort = text(reasoning, "effort", &Place::Root.member("reasoning"))?;
    Ok(effort.map(|effort| if effort == "none" { Reasoning::Off } else { Reasoning::Effort(effort) }))
}

/// `text`: the answer's form, and how long it is to be.
fn answer_form<'a>(
    body: &Object<'a>,
    conversation: &mut Conversation<'a>,
    notes: &mut Notes,
) -> Result<(), Refused> {
    let at = Place::Root.member("text");
    let Some(text_member) = object(body, "text", &Place::Root)? else { return Ok(()) };
    if let Some(verbosity) = text_member.get("verbosity") {
        conversation.rest.push(("verbosity".into(), verbosity.clone()));
    }
    let Some(format) = object(text_member, "format", &at)? else { return Ok(()) };
    let at = at.member("format");
    conversation.format = match &*required_text(format, "type", &at)?.decoded() {
        "text" => None,
        "json_object" => Some(Format::JsonObject),
        "json_schema" => {
            if says_something(format, "description") {
                notes.dropped("text.format.description");
            }
            let schema = match format.get("schema") {
                Some(schema @ Value::Object(_)) => schema.clone(),
                Some(other) => return Err(at.member("schema").wrong("a JSON schema, an object", other)),
                None => return Err(at.member("schema").refuse("is missing, and has to be a JSON schema")),
            };
            let name = text(format, "name", &at)?;
            Some(Format::JsonSchema { name, schema, is_strict: boolean(format, "strict", &at)? })
        }
        _ => return Err(at.member("type").refuse("has to be text, json_object or json_schema")),
    };
    Ok(())
}

/// The end user: `safety_identifier`, or `user`, as it was called before. A request may have both for a while.
fn user<'a>(body: &Object<'a>, conversation: &mut Conversation<'a>) -> Result<(), Refused> {
    let user = text(body, "user", &Place::Root)?;
    let identifier = text(body, "safety_identifier", &Place::Root)?;
    if let (Some(user), Some(identifier)) = (&user, &identifier)
        && user != identifier
    {
        conversation.rest.push(("user".into(), Value::String(user.clone())));
    }
    conversation.user = identifier.or(user);
    Ok(())
}

/// Notes what the provider's service would do, and nobody does here. `store` is true by default: only who asks for it is
/// told that nothing is stored.
fn service(body: &Object<'_>, notes: &mut Notes) -> Result<(), Refused> {
    for name in SERVICE {
        let is_zero = body.u64(name) == Some(0);
        if says_something(body, name) && !is_zero {
            notes.dropped(name);
        }
    }
    if body.get("truncation").is_some_and(|truncation| {
        let word = truncation.as_text();
        word.is_none_or(|word| *word != "disabled")
    }) {
        notes.dropped("truncation");
    }
    // Encrypted thoughts always come with the answer.
    let is_met =
        |value: &Value<'_>| value.as_text().is_some_and(|word| *word == "reasoning.encrypted_content");
    if !fields::items(body, "include", &Place::Root)?.iter().all(is_met) {
        notes.dropped("include");
    }
    if object(body, "stream_options", &Place::Root)?
        .is_some_and(|options| says_something(options, "include_obfuscation"))
    {
        notes.dropped("stream_options.include_obfuscation");
    }
    Ok(())
}
