//! The top-level members that routing reads, and what became of them.

use std::ops::Range;

use super::text::unescape;
use crate::{Excerpt, MAX_USER_BYTES, Model, NameFault, Notation, PeekError, name};

/// Longest number or literal that is evaluated: `u64::MAX` has 20 digits. Longer ones are walked over.
const MAX_SCALAR_BYTES: usize = 24;

/// A top-level member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Model,
    Stream,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    Answers,
    User,
    /// One whose value is part of the prompt.
    Prompt,
    /// Instructions, which are part of it too, and may begin with what is not.
    System,
    Other,
}

/// Which member a raw name (without its quotes) stands for.
///
/// # Errors
/// Names that another parser could take for `model`: other case, bytes that are not UTF-8 or halves of
/// surrogates (dropped by some), NUL (the end, for some).
pub(super) fn classify(raw: &[u8], at: usize) -> Result<Member, PeekError> {
    let fail = |fault| PeekError::Key { at, fault, key: Excerpt::of(raw) };
    let key = unescape(raw).map_err(fail)?;
    if key.contains('\0') {
        return Err(fail(NameFault::Control));
    }
    Ok(match &*key {
        "model" => Member::Model,
        "stream" => Member::Stream,
        "max_tokens" => Member::MaxTokens,
        "max_completion_tokens" => Member::MaxCompletionTokens,
        "max_output_tokens" => Member::MaxOutputTokens,
        "n" => Member::Answers,
        "user" => Member::User,
        "messages" | "prompt" | "input" | "instructions" | "tools" => Member::Prompt,
        "system" => Member::System,
        other if other.eq_ignore_ascii_case("model") => {
            return Err(PeekError::ModelCase { at, key: Excerpt::of(raw) });
        }
        _ => Member::Other,
    })
}

/// The error for a name with an invalid escape, which lenient parsers resolve each in their own way. The
/// name is `held` and `rest`, to the byte that is wrong.
#[cold]
pub(super) fn bad_escape(at: usize, held: &[u8], rest: &[u8]) -> PeekError {
    let raw: Vec<u8> = held.iter().chain(rest).take(Excerpt::MAX_BYTES + 1).copied().collect();
    PeekError::Key { at, fault: NameFault::Escape, key: Excerpt::of(&raw) }
}

/// Adds a piece of a scalar to what is held of it, up to where it is too long to mean anything.
pub(super) fn hold_scalar(held: &mut Vec<u8>, piece: &[u8]) {
    let room = (MAX_SCALAR_BYTES + 1).saturating_sub(held.len());
    held.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// What the members said so far.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) model: Option<Model>,
    pub(super) stream: Option<bool>,
    pub(super) max_tokens: MaxTokens,
    pub(super) answers: Option<u64>,
    pub(super) user: Option<Box<str>>,
    has_model: bool,
}

/// The three names of one limit.
#[derive(Debug, Default)]
pub(super) struct MaxTokens {
    completion: Option<u64>,
    output: Option<u64>,
    plain: Option<u64>,
}

impl MaxTokens {
    /// The one that counts: the newer name replaced the older one, in OpenAI's API as in vLLM.
    pub(super) fn resolve(&self) -> Option<u64> {
        self.completion.or(self.output).or(self.plain)
    }
}

impl Fields {
    /// Takes note that `member` occurs, with its name at `at`. The last one of its name counts, as Python,
    /// Go and JavaScript have it.
    ///
    /// # Errors
    /// A second `model`, even where the first was `null`.
    pub(super) fn begin(&mut self, member: Member, at: usize) -> Result<(), PeekError> {
        match member {
            Member::Model if self.has_model => return Err(PeekError::DuplicateModel { at }),
            Member::Model => self.has_model = true,
            Member::Stream => self.stream = None,
            Member::MaxTokens => self.max_tokens.plain = None,
            Member::MaxCompletionTokens => self.max_tokens.completion = None,
            Member::MaxOutputTokens => self.max_tokens.output = None,
            Member::Answers => self.answers = None,
            Member::User => self.user = None,
            Member::Prompt | Member::System | Member::Other => {}
        }
        Ok(())
    }

    /// Takes the model's raw text, which fills `range` together with its quotes.
    ///
    /// # Errors
    /// A name that is too long or unfit for a header.
    pub(super) fn model_text(
        &mut self,
        raw: &[u8],
        range: Range<usize>,
        limit: usize,
    ) -> Result<(), PeekError> {
        let at = range.start;
        let fail = |fault| PeekError::ModelName { at, fault, name: Excerpt::of(raw) };
        let name = unescape(raw).map_err(fail)?;
        if name.len() > limit {
            return Err(PeekError::ModelTooLong { at, limit });
        }
        name::check(&name).map_err(fail)?;
        let name = name.into_owned();
        self.model = Some(Model { name, range, notation: Notation::JsonString });
        Ok(())
    }

    /// Takes the user's raw text.
    pub(super) fn user_text(&mut self, raw: &[u8]) {
        self.user = unescape(raw).ok().filter(|user| user.len() <= MAX_USER_BYTES).map(Into::into);
    }

    /// Takes a member's value that is a number or a literal.
    ///
    /// # Errors
    /// A model that is neither a string nor `null`.
    pub(super) fn scalar(&mut self, member: Member, raw: &[u8], at: usize) -> Result<(), PeekError> {
        match member {
            Member::Model => model_scalar(raw, at)?,
            Member::Stream => self.stream = boolean(raw),
            Member::MaxTokens => self.max_tokens.plain = integer(raw),
            Member::MaxCompletionTokens => self.max_tokens.completion = integer(raw),
            Member::MaxOutputTokens => self.max_tokens.output = integer(raw),
            Member::Answers => self.answers = integer(raw),
            Member::User | Member::Prompt | Member::System | Member::Other => {}
        }
        Ok(())
    }
}

fn model_scalar(raw: &[u8], at: usize) -> Result<(), PeekError> {
    let found = match raw {
        b"null" => return Ok(()),
        b"true" | b"false" => "a boolean",
        [b'0'..=b'9' | b'-' | b'+' | b'.', ..] => "a number",
        _ => "a bare word",
    };
    Err(PeekError::ModelType { at, found })
}

fn boolean(raw: &[u8]) -> Option<bool> {
    match raw {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// A non-negative integer as JSON writes it.
fn integer(raw: &[u8]) -> Option<u64> {
    if raw.is_empty() || !raw.iter().all(u8::is_ascii_digit) || (raw.len() > 1 && raw[0] == b'0') {
        return None;
    }
    std::str::from_utf8(raw).ok()?.parse().ok()
}
