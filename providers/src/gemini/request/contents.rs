//! The turns of a conversation as `contents`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::media::Media;
use super::{text_of, try_array, try_object};
use crate::alias::Aliases;
use crate::conversation::{Arguments, Content, Notes, Part, Refused, Role, Source};
use crate::gemini::{Platform, SIGNATURE_MARK, Target};
use crate::json::{Text, Value, Writer, parse};

/// The longest name of a function.
pub(super) const MAX_NAME_LEN: usize = 64;

/// Stands for the signature of a call that has none, because the model was another one or the client lost it: the third
/// generation takes it where it would refuse the call without (Google's documentation of thought signatures).
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Writes turns, in their order.
pub(super) struct Contents<'c, 'a> {
    target: Target<'c>,
    aliases: &'c mut Aliases,
    notes: &'c mut Notes,
    /// The calls so far, by their ids: their order, and the tools' names. Results have ids only, and Gemini wants names.
    calls: HashMap<Cow<'a, str>, (usize, String)>,
}

/// A tool's result in a turn.
struct ToolResult<'p, 'a> {
    /// The call's place among all calls.
    order: usize,
    name: String,
    id: &'p Text<'a>,
    is_error: bool,
    texts: Vec<Text<'a>>,
    media: Vec<Media<'p, 'a>>,
}

impl<'c, 'a> Contents<'c, 'a> {
    pub(super) fn new(target: Target<'c>, aliases: &'c mut Aliases, notes: &'c mut Notes) -> Self {
        Self { target, aliases, notes, calls: HashMap::new() }
    }

    /// Writes a turn, and says how many contents it has become: a user's turn has the results of tools in one of their
    /// own, and a turn without anything in it has none.
    pub(super) fn write_turn(
        &mut self,
        out: &mut Writer,
        role: Role,
        parts: &[&Part<'a>],
    ) -> Result<usize, Refused> {
        if parts.iter().any(|part| part.cache.is_some()) {
            self.notes.dropped("cache_control");
        }
        match role {
            Role::User => self.write_user(out, parts),
            Role::Assistant => self.write_model(out, parts),
        }
    }

    fn write_user(&mut self, out: &mut Writer, parts: &[&Part<'a>]) -> Result<usize, Refused> {
        let mut results = Vec::new();
        for part in parts {
            if let Content::ToolResult { id, parts, is_error } = &part.content {
                results.push(self.result(id, parts, *is_error)?);
            }
        }
        results.sort_by_key(|result| result.order);
        let mut count = 0;
        if !results.is_empty() {
            count += 1;
            write_content(out, "user", |out| {
                for result in &results {
                    self.write_result(out, result);
                }
                Ok(())
            })?;
        }
        // Older models take no media in a function's response: it follows as the user's.
        let media = results.iter().filter(|_| !self.target.is_third()).flat_map(|result| &result.media);
        let media: Vec<_> = media.collect();
        if !media.is_empty() || parts.iter().any(|part| self.is_said(part)) {
            count += 1;
            write_content(out, "user", |out| {
                media.iter().for_each(|media| media.write(out));
                parts.iter().try_for_each(|part| self.write_said(out, part, None))
            })?;
        }
        Ok(count)
    }

    fn write_model(&mut self, out: &mut Writer, parts: &[&Part<'a>]) -> Result<usize, Refused> {
        let is_empty = parts.iter().all(|part| match &part.content {
            Content::ToolCall { .. } => false,
            Content::Reasoning { text, .. } => text.is_empty(),
            _ => !self.is_said(part),
        });
        if is_empty {
            return Ok(0);
        }
        write_content(out, "model", |out| {
            // The signature of a thought belongs to the part that came after it.
            let mut pending = None;
            // Of calls that the model made at once only the first has one.
            let mut needs_signature = self.target.is_third();
            for part in parts {
                match &part.content {
                    Content::Reasoning { text, signature } => {
                        pending = signature.as_ref().and_then(own_signature).or(pending);
                        if !text.is_empty() {
                            out.object(|out| {
                                out.text_at("text", text);
                                out.bool_at("thought", true);
                            });
                        }
                    }
                    Content::ToolCall { id, name, arguments, signature } => {
                        let placeholder = needs_signature.then(|| Text::from(NO_SIGNATURE));
                        needs_signature = false;
                        let signature = signature.clone().or_else(|| pending.take()).or(placeholder);
                        self.write_call(out, id, name, arguments, signature.as_ref())?;
                    }
                    _ if self.is_said(part) => self.write_said(out, part, pending.take().as_ref())?,
                    _ => self.write_said(out, part, None)?,
                }
            }
            Ok(())
        })?;
        Ok(1)
    }

    /// Whether the part is text or media, and has something in it.
    fn is_said(&self, part: &Part<'a>) -> bool {
        match &part.content {
            Content::Text(text) | Content::Refusal(text) => !text.is_empty(),
            Content::Document { source: Source::Text(text), .. } => !text.is_empty(),
            Content::Image { .. } | Content::Document { .. } | Content::Audio { .. } => true,
            _ => false,
        }
    }

    /// Writes text and media; notes what has no place.
    fn write_said(
        &mut self,
        out: &mut Writer,
        part: &Part<'a>,
        signature: Option<&Text<'a>>,
    ) -> Result<(), Refused> {
        self.note_parts_of(&part.content);
        match &part.content {
            Content::Text(text) | Content::Refusal(text) if !text.is_empty() => out.object(|out| {
                out.text_at("text", text);
                if let Some(signature) = signature {
                    out.text_at("thoughtSignature", signature);
                }
            }),
            content => {
                let media = Media::of(content, self.target).map_err(|refused| refused.of_part(part))?;
                if let Some(media) = media.filter(|_| self.is_said(part)) {
                    media.write(out);
                }
            }
        }
        Ok(())
    }

    fn note_parts_of(&mut self, content: &Content<'a>) {
        match content {
            Content::Image { detail: Some(detail), .. } if *detail != "auto" => {
                self.notes.dropped("messages[].content[].image_url.detail");
            }
            Content::Document { name, context, citations, .. } => {
                for (name, is_there) in [
                    ("messages[].content[].title", name.is_some()),
                    ("messages[].content[].context", context.is_some()),
                    ("messages[].content[].citations", citations.is_some()),
                ] {
                    if is_there {
                        self.notes.dropped(name);
                    }
                }
            }
            Content::Redacted(_) => self.notes.dropped("messages[].content[].redacted_thinking"),
            Content::Other { kind, .. } => self.notes.dropped(match kind.as_word() {
                Some(kind) if crate::alias::safe(kind, 64) == kind => {
                    Cow::Owned(format!("messages[].content[].{kind}"))
                }
                _ => Cow::Borrowed("messages[].content[]"),
            }),
            _ => {}
        }
    }

    fn write_call(
        &mut self,
        out: &mut Writer,
        id: &Text<'a>,
        name: &Text<'a>,
        arguments: &Arguments<'a>,
        signature: Option<&Text<'_>>,
    ) -> Result<(), Refused> {
        let name = self.aliases.identifier(&name.decoded(), MAX_NAME_LEN).into_owned();
        let has_id = self.target.platform == Platform::GeminiApi;
        try_object(out, |out| {
            out.key("functionCall");
            try_object(out, |out| {
                if has_id {
                    out.text_at("id", id);
                }
                out.str_at("name", &name);
                out.key("args");
                write_arguments(out, arguments)
            })?;
            if let Some(signature) = signature {
                out.text_at("thoughtSignature", signature);
            }
            Ok(())
        })?;
        self.calls.insert(id.decoded(), (self.calls.len(), name));
        Ok(())
    }

    fn result<'p>(
        &mut self,
        id: &'p Text<'a>,
        parts: &'p [Part<'a>],
        is_error: bool,
    ) -> Result<ToolResult<'p, 'a>, Refused> {
        let Some((order, name)) = self.calls.get(&id.decoded()).cloned() else {
            return Err(Refused::new(
                "messages[].tool_call_id",
                "a tool's result is of no call before it: send the assistant's message that has the call as well",
            ));
        };
        let mut result = ToolResult { order, name, id, is_error, texts: Vec::new(), media: Vec::new() };
        for part in parts {
            self.note_parts_of(&part.content);
            let media = Media::of(&part.content, self.target).map_err(|refused| refused.of_part(part))?;
            let text = media.as_ref().and_then(Media::as_text).or_else(|| text_of(part));
            match (text, media) {
                (Some(text), _) if result.texts.is_empty() => result.texts.push(text.clone()),
                (Some(text), _) => result.texts.extend([Text::from("\n"), text.clone()]),
                (None, Some(media)) => result.media.push(media),
                (None, None) => {}
            }
        }
        Ok(result)
    }

    fn write_result(&self, out: &mut Writer, result: &ToolResult<'_, 'a>) {
        out.object(|out| {
            out.object_at("functionResponse", |out| {
                if self.target.platform == Platform::GeminiApi {
                    out.text_at("id", result.id);
                }
                out.str_at("name", &result.name);
                out.object_at("response", |out| {
                    out.key(if result.is_error { "error" } else { "output" });
                    out.concatenated(&result.texts);
                });
                if self.target.is_third() && !result.media.is_empty() {
                    out.array_at("parts", |out| result.media.iter().for_each(|media| media.write(out)));
                }
            });
        });
    }
}

fn write_content(
    out: &mut Writer,
    role: &str,
    parts: impl FnOnce(&mut Writer) -> Result<(), Refused>,
) -> Result<(), Refused> {
    try_object(out, |out| {
        out.str_at("role", role);
        out.key("parts");
        try_array(out, parts)
    })
}

/// A signature that Gemini made, without its mark; `None` for another provider's, which it would refuse.
fn own_signature<'a>(signature: &Text<'a>) -> Option<Text<'a>> {
    match signature.decoded() {
        Cow::Borrowed(marked) => marked.strip_prefix(SIGNATURE_MARK).map(Text::from),
        Cow::Owned(marked) => marked.strip_prefix(SIGNATURE_MARK).map(|own| Text::from(own.to_owned())),
    }
}

/// Writes an object: Gemini takes nothing else.
fn write_arguments(out: &mut Writer, arguments: &Arguments<'_>) -> Result<(), Refused> {
    match arguments {
        Arguments::Value(Value::Object(object)) => out.raw(object.raw),
        Arguments::Value(_) => return Err(no_object()),
        written if written.is_empty() => out.raw("{}"),
        Arguments::Written(text) => {
            let text = text.decoded();
            match parse(text.as_bytes()) {
                Ok(Value::Object(object)) => out.raw(object.raw),
                _ => return Err(no_object()),
            }
        }
    }
    Ok(())
}

fn no_object() -> Refused {
    Refused::new(
        "messages[].tool_calls[].function.arguments",
        "the arguments of a call in the history are no JSON object, and Gemini takes nothing else: send them as an object",
    )
}
