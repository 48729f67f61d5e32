//! Writes a conversation as a request of generateContent.

mod contents;
mod media;
mod options;
mod thinking;
mod tools;

#[cfg(test)]
mod tests;

use self::contents::Contents;
use super::Target;
use super::schema::Budget;
use crate::alias::Aliases;
use crate::conversation::{Content, Conversation, Notes, Part, Refused};
use crate::json::{Text, Value, Writer, Written};

/// The body of the request to `target`. Names of tools that Gemini would not take get aliases; what has no place there is
/// noted.
///
/// # Errors
/// It cannot be asked there: media of a type that nobody says, results of calls that the conversation does not have, more
/// stop sequences than Gemini takes, several answers at once.
pub(crate) fn write(
    conversation: &Conversation<'_>,
    target: Target<'_>,
    aliases: &mut Aliases,
    notes: &mut Notes,
) -> Result<Written, Refused> {
    let mut out = Writer::over(conversation.body);
    // Schemas of tools and of the answer share what they may grow to.
    let mut budget = Budget::default();
    try_object(&mut out, |out| {
        let cached = vendor(conversation, ["cachedContent", "cached_content"]).and_then(Value::as_text);
        if let Some(cached) = cached {
            out.text_at("cachedContent", cached);
        }
        let has_turns = write_contents(out, conversation, target, aliases, notes)?;
        if cached.is_none() {
            if has_turns {
                write_system(out, &conversation.system, notes);
            }
            tools::write(out, conversation, target, aliases, notes, &mut budget)?;
        } else {
            // The cache holds them, and Gemini refuses them beside it.
            for (name, is_there) in [
                ("system", !conversation.system.is_empty()),
                ("tools", !conversation.tools.is_empty()),
                ("tool_choice", conversation.tool_choice.is_some()),
            ] {
                if is_there {
                    notes.dropped(name);
                }
            }
        }
        options::write(out, conversation, target, notes, &mut budget)
    })?;
    Ok(out.written())
}

/// Whether there are turns: Gemini takes no empty `contents`, so that a conversation of nothing but instructions has them
/// said by the user.
fn write_contents(
    out: &mut Writer,
    conversation: &Conversation<'_>,
    target: Target<'_>,
    aliases: &mut Aliases,
    notes: &mut Notes,
) -> Result<bool, Refused> {
    out.key("contents");
    let mut count = 0;
    try_array(out, |out| {
        let mut contents = Contents::new(target, aliases, notes);
        for (role, parts) in conversation.merged_turns() {
            count += contents.write_turn(out, role, &parts)?;
        }
        if count == 0 && has_text(&conversation.system) {
            out.object(|out| {
                out.str_at("role", "user");
                write_texts(out, &conversation.system);
            });
        } else if count == 0 {
            return Err(Refused::new(
                "messages",
                "Gemini takes no empty conversation: send a message with content",
            ));
        }
        Ok(())
    })?;
    Ok(count > 0)
}

fn write_system(out: &mut Writer, system: &[Part<'_>], notes: &mut Notes) {
    if system.iter().any(|part| part.cache.is_some()) {
        notes.dropped("cache_control");
    }
    if has_text(system) {
        out.object_at("systemInstruction", |out| write_texts(out, system));
    }
}

fn write_texts(out: &mut Writer, parts: &[Part<'_>]) {
    out.array_at("parts", |out| {
        for text in parts.iter().filter_map(text_of) {
            out.object(|out| out.text_at("text", text));
        }
    });
}

fn has_text(parts: &[Part<'_>]) -> bool {
    parts.iter().any(|part| text_of(part).is_some())
}

/// Vertex refuses empty texts.
fn text_of<'p, 'a>(part: &'p Part<'a>) -> Option<&'p Text<'a>> {
    match &part.content {
        Content::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A member of Gemini's own that clients add to another API's request, by any of its names.
fn vendor<'c, 'a>(conversation: &'c Conversation<'a>, names: [&str; 2]) -> Option<&'c Value<'a>> {
    conversation.rest.iter().rev().find(|(name, _)| names.contains(&name.as_ref())).map(|(_, value)| value)
}

/// Writes an object whose members may have to be refused.
fn try_object(
    out: &mut Writer,
    members: impl FnOnce(&mut Writer) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut result = Ok(());
    out.object(|out| result = members(out));
    result
}

/// Writes an array whose items may have to be refused.
fn try_array(
    out: &mut Writer,
    items: impl FnOnce(&mut Writer) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut result = Ok(());
    out.array(|out| result = items(out));
    result
}
