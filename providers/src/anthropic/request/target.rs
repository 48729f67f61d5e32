//! What a request is written for, and what comes up in writing it.

use std::fmt::Display;

use super::members::refused;
use crate::alias::Aliases;
use crate::anthropic::generation::Generation;
use crate::anthropic::platform::{self, Platform};
use crate::conversation::{Content, Conversation, Notes, Part, Refused};
use crate::json::{Text, Value, Writer};

/// The longest name of a tool.
pub(super) const LONGEST_NAME: usize = 128;

/// Marks for the cache that the API takes.
const MOST_MARKS: usize = 4;

/// Whom a request is written for, and what came up in writing it.
#[derive(Debug)]
pub(super) struct Target<'t> {
    pub(super) platform: Platform,
    pub(super) generation: Generation,
    pub(super) aliases: &'t mut Aliases,
    pub(super) notes: &'t mut Notes,
    marks: usize,
    marks_written: usize,
    refused: Option<Refused>,
}

impl<'t> Target<'t> {
    pub(super) fn new(
        conversation: &Conversation<'_>,
        platform: Platform,
        aliases: &'t mut Aliases,
        notes: &'t mut Notes,
    ) -> Self {
        let model = conversation.model.as_ref().map(Text::decoded).unwrap_or_default();
        let (generation, marks) = (Generation::of(&model), marks(conversation));
        Self { platform, generation, aliases, notes, marks, marks_written: 0, refused: None }
    }

    /// # Errors
    /// The request was given up.
    pub(super) fn finish(self) -> Result<(), Refused> {
        self.refused.map_or(Ok(()), Err)
    }

    /// Gives the request up. The first reason counts.
    pub(super) fn refuse(&mut self, param: &str, message: impl Display) {
        self.refused.get_or_insert_with(|| refused(param, message));
    }

    /// Says of a refusal for some part that it is for this one.
    pub(super) fn place_refusal(&mut self, part: &Part<'_>) {
        self.refused = self.refused.take().map(|refused| refused.of_part(part));
    }

    /// Writes the mark `cache`, unless there are too many: the first ones are those of tools and instructions, which
    /// conversations share, and the last is that of the conversation.
    pub(super) fn mark(&mut self, out: &mut Writer, cache: Option<&Value<'_>>) {
        let Some(cache) = cache else { return };
        self.marks_written += 1;
        if self.marks_written < MOST_MARKS || self.marks_written == self.marks {
            out.key("cache_control");
            platform::write_mark(out, cache, self.platform, self.generation, self.notes);
        } else {
            self.notes.dropped("cache_control");
        }
    }
}

/// Whether a part is sent: empty text is refused, and so are thoughts without a signature.
pub(super) fn is_sent(part: &Part<'_>) -> bool {
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => !text.is_blank(),
        Content::Reasoning { signature, .. } => signature.is_some(),
        _ => true,
    }
}

/// Marks for the cache of a whole request.
fn marks(conversation: &Conversation<'_>) -> usize {
    fn of(part: &Part<'_>) -> usize {
        if !is_sent(part) {
            return 0;
        }
        let inner = match &part.content {
            Content::ToolResult { parts, .. } => parts.iter().map(of).sum(),
            Content::Reasoning { .. } | Content::Redacted(_) | Content::Other { .. } => return 0,
            _ => 0,
        };
        inner + usize::from(part.cache.is_some())
    }
    let tools = conversation.tools.iter().filter(|tool| tool.cache.is_some() && tool.other.is_none()).count();
    let turns = conversation.turns.iter().flat_map(|turn| &turn.parts);
    tools + conversation.system.iter().chain(turns).map(of).sum::<usize>()
}
