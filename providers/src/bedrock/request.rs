//! Writes a conversation as the body of a Converse request.
//!
//! A body that holds calls of tools or their results needs tools, whether or not the client's request has any. One that
//! none shall be called stands in for them then: to write the calls out as text instead would show the model a form of
//! calls that it takes up, and lose what thoughts and caches are tied to.

mod blocks;
mod options;
mod tools;

use self::blocks::Blocks;
use self::options::Plan;
use super::model::Family;
use crate::alias::Aliases;
use crate::conversation::{Content, Conversation, Notes, Part, Refused, Role};
use crate::json::{Writer, Written};

/// The turns as Converse wants them.
type Turns<'c, 'a> = Vec<(Role, Vec<&'c Part<'a>>)>;

/// Writes the body. `betas` are those of Anthropic's features under test that the client asks for and Bedrock knows. Names of
/// tools that the API does not take are replaced by `aliases`, which the answer's reader needs.
///
/// # Errors
/// Something in it that has to be said cannot be said in this API.
pub(crate) fn write(
    conversation: &Conversation<'_>,
    betas: &[&str],
    aliases: &mut Aliases,
    notes: &mut Notes,
) -> Result<Written, Refused> {
    let family = conversation.model.as_ref().map_or(Family::Unknown, |model| Family::of(&model.decoded()));
    let turns = turns(conversation, notes);
    let has_tool_blocks = turns
        .iter()
        .flat_map(|(_, parts)| parts)
        .any(|part| matches!(part.content, Content::ToolCall { .. } | Content::ToolResult { .. }));
    let plan = Plan::new(conversation, family, &turns, notes);
    options::check(conversation)?;

    let mut out = Writer::over(conversation.body);
    let mut blocks = Blocks::new(family, aliases, notes);
    out.object(|out| {
        system(conversation, &mut blocks, out);
        out.array_at("messages", |out| {
            let last = turns.len().saturating_sub(1);
            for (at, (role, parts)) in turns.iter().enumerate() {
                message(*role, parts, at == last, &mut blocks, out);
            }
        });
        tools::write(conversation, has_tool_blocks, &mut blocks, out);
        plan.write(conversation, betas, blocks.notes, out);
    });
    match blocks.refused {
        Some(refused) => Err(refused),
        None => Ok(out.written()),
    }
}

fn system(conversation: &Conversation<'_>, blocks: &mut Blocks<'_>, out: &mut Writer) {
    let parts = conversation.system.iter().filter(|part| match &part.content {
        Content::Text(_) => is_said(part, blocks.notes),
        _ => false,
    });
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() {
        return;
    }
    out.array_at("system", |out| {
        for part in parts {
            blocks.write(part, out);
        }
    });
}

fn message(role: Role, parts: &[&Part<'_>], is_last: bool, blocks: &mut Blocks<'_>, out: &mut Writer) {
    let is_prefill = is_last && role == Role::Assistant;
    out.object(|out| {
        out.str_at("role", if role == Role::User { "user" } else { "assistant" });
        out.array_at("content", |out| {
            for (at, part) in parts.iter().enumerate() {
                match &part.content {
                    // What an answer goes on from may not end in white space.
                    Content::Text(text) if is_prefill && at + 1 == parts.len() => {
                        blocks.text(&text.decoded().trim_end().into(), part, out);
                    }
                    _ => blocks.write(part, out),
                }
            }
        });
    });
}

/// The turns without what the API refuses because nothing is in it, of alternating roles, with the results of tools before
/// what the user adds and thoughts before what follows from them.
fn turns<'c, 'a>(conversation: &'c Conversation<'a>, notes: &mut Notes) -> Turns<'c, 'a> {
    let mut merged = Turns::new();
    for turn in &conversation.turns {
        let mut parts: Vec<_> = turn.parts.iter().filter(|part| is_said(part, notes)).collect();
        let Some(first) = parts.first() else { continue };
        // Those of a turn that begins with one may alternate with calls, and have to stay where they are.
        if !is_thought(first) {
            parts.sort_by_key(|part| !is_thought(part));
        }
        match merged.last_mut() {
            Some((role, before)) if *role == turn.role => before.extend(parts),
            _ => merged.push((turn.role, parts)),
        }
    }
    for (_, parts) in merged.iter_mut().filter(|(role, _)| *role == Role::User) {
        parts.sort_by_key(|part| !matches!(part.content, Content::ToolResult { .. }));
    }
    merged
}

fn is_thought(part: &Part<'_>) -> bool {
    matches!(part.content, Content::Reasoning { .. } | Content::Redacted(_))
}

/// Whether a part has something to say; what has, and cannot be said, is noted.
fn is_said(part: &Part<'_>, notes: &mut Notes) -> bool {
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => {
            if text.is_blank() && part.cache.is_some() {
                notes.dropped("cache_control");
            }
            !text.is_blank()
        }
        // A thought that nobody signed is another provider's, and is refused.
        Content::Reasoning { signature, .. } => {
            let is_signed = signature.as_ref().is_some_and(|signature| !signature.is_empty());
            if !is_signed {
                notes.dropped("messages[].reasoning_content");
            }
            is_signed
        }
        Content::Other { kind, .. } if *kind != "search_result" => {
            let kind: String = kind.decoded().chars().take(64).collect();
            notes.dropped(format!("messages[].content[].{kind}"));
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
