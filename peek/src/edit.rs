//! Changes to the top-level members of a body that is a JSON object, without copying what stays.
//!
//! One walk over the body finds the members and cuts it where they change; values are not looked into. Turned down: to
//! parse the body and write it anew, which costs several times as much, and changes how numbers and texts are spelt that
//! nobody meant to touch.
//!
//! What is changed has to be known to the last member: a body in which a changed member occurs twice is refused, since
//! model servers differ on which of them counts, and so is one that is broken at the top level. A body that is no JSON
//! object (a form, an image) has no members and stays as it is.

use std::ops::Range;

use bytes::Bytes;

use crate::scan::{ObjectMember as Member, members};
use crate::splice::{json_string, push, push_span};
use crate::{Excerpt, PeekError};

/// The member by which a client of OpenAI's API asks for a stream's usage, and what asks for it there.
const STREAM_OPTIONS: &str = "stream_options";
const INCLUDE_USAGE: &str = "include_usage";

/// Changes to the top-level members of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberEdits {
    edits: Vec<Edit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    name: Box<str>,
    /// The member with its name, and how long the name is with its quotes and the colon; `None` takes it out.
    member: Option<(Bytes, usize)>,
}

impl MemberEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Whether the member `name` is changed.
    pub fn changes(&self, name: &str) -> bool {
        self.edits.iter().any(|edit| *edit.name == *name)
    }

    /// Gives the member `name` this value, which is JSON; adds it where it is missing. In place of an earlier change of it.
    pub fn set(&mut self, name: &str, value: &str) {
        let mut member = json_string(name);
        member.push(b':');
        let named = member.len();
        member.extend_from_slice(value.as_bytes());
        self.put(name, Some((member.into(), named)));
    }

    /// Takes the member `name` out. In place of an earlier change of it.
    pub fn remove(&mut self, name: &str) {
        self.put(name, None);
    }

    fn put(&mut self, name: &str, member: Option<(Bytes, usize)>) {
        self.edits.retain(|edit| *edit.name != *name);
        self.edits.push(Edit { name: name.into(), member });
    }

    /// The body with these changes; `None` if that is the body as it is.
    ///
    /// # Errors
    /// The body is a broken object, nested deeper than `max_depth`, or has a member twice that is changed.
    pub fn apply(&self, chunks: &[Bytes], max_depth: usize) -> Result<Option<Vec<Bytes>>, PeekError> {
        if self.is_empty() {
            return Ok(None);
        }
        let mut cut =
            Cut { chunks, pieces: Vec::with_capacity(chunks.len() + 2), kept_from: Some(0), kept_to: None };
        let mut seen = vec![false; self.edits.len()];
        let close = members(chunks, max_depth, |member| {
            let at = self.edits.iter().position(|edit| *edit.name == *member.name);
            let Some(at) = at else {
                cut.keep(&member);
                return Ok(());
            };
            if std::mem::replace(&mut seen[at], true) {
                let name = Excerpt::of(member.name.as_bytes());
                return Err(PeekError::DuplicateMember { at: member.at, name });
            }
            match &self.edits[at].member {
                Some((with, named)) => cut.replace(&member, with.slice(*named..)),
                None => cut.remove(&member),
            }
            Ok(())
        })?;
        let Some(close) = close else { return Ok(None) };
        let added = self.edits.iter().zip(&seen).filter(|(_, is_there)| !**is_there);
        let added: Vec<&Bytes> = added.filter_map(|(edit, _)| Some(&edit.member.as_ref()?.0)).collect();
        if added.is_empty() && !seen.contains(&true) {
            return Ok(None);
        }
        Ok(Some(cut.finish(close, &added)))
    }
}

/// What became of a body that is to ask for its stream's usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageAsked {
    /// It did so already, or has no place to.
    AsItWas,
    /// It does so now.
    Added(Vec<Bytes>),
}

/// Makes a request of OpenAI's API ask for its stream's usage (`stream_options.include_usage`), and keeps the client's own
/// options beside it.
///
/// # Errors
/// Those of [`MemberEdits::apply`].
pub fn ask_for_usage(chunks: &[Bytes], max_depth: usize) -> Result<UsageAsked, PeekError> {
    let mut options = None;
    members(chunks, max_depth, |member| {
        if member.name == STREAM_OPTIONS {
            options = Some(member.value);
        }
        Ok(())
    })?;
    let value = match options {
        None => Some(asking()),
        Some(range) => options_that_ask(chunks, range, max_depth)?,
    };
    let Some(value) = value else { return Ok(UsageAsked::AsItWas) };
    let mut edits = MemberEdits::default();
    edits.set(STREAM_OPTIONS, &value);
    Ok(edits.apply(chunks, max_depth)?.map_or(UsageAsked::AsItWas, UsageAsked::Added))
}

fn asking() -> String {
    format!("{{\"{INCLUDE_USAGE}\":true}}")
}

/// The options that lie within `range`, with the one that asks for usage; `None` if they ask already, or are none.
fn options_that_ask(
    chunks: &[Bytes],
    range: Range<usize>,
    max_depth: usize,
) -> Result<Option<String>, PeekError> {
    let mut options = Vec::new();
    push_span(&mut options, chunks, range);
    let options = Bytes::from(options.concat());
    if *options == *b"null" {
        return Ok(Some(asking()));
    }
    let mut asks = false;
    let options = [options];
    members(&options, max_depth, |member| {
        if member.name == INCLUDE_USAGE {
            asks = options[0].get(member.value).is_some_and(|value| value == b"true");
        }
        Ok(())
    })?;
    if asks {
        return Ok(None);
    }
    let mut edits = MemberEdits::default();
    edits.set(INCLUDE_USAGE, "true");
    let changed = edits.apply(&options, max_depth)?;
    Ok(changed.and_then(|changed| String::from_utf8(changed.concat()).ok()))
}

/// Cuts a body at the members that change.
struct Cut<'a> {
    chunks: &'a [Bytes],
    /// The new body, up to what is kept next.
    pieces: Vec<Bytes>,
    /// Where what is kept next begins; `None` if that is the next member's name.
    kept_from: Option<usize>,
    /// Where the value of the last member ends that stays; `None` as long as none does.
    kept_to: Option<usize>,
}

impl Cut<'_> {
    fn keep(&mut self, member: &Member<'_>) {
        self.kept_from.get_or_insert(member.at);
        self.kept_to = Some(member.value.end);
    }

    fn replace(&mut self, member: &Member<'_>, with: Bytes) {
        let from = self.kept_from.unwrap_or(member.at);
        push_span(&mut self.pieces, self.chunks, from..member.value.start);
        push(&mut self.pieces, with);
        (self.kept_from, self.kept_to) = (Some(member.value.end), Some(member.value.end));
    }

    /// Leaves the member out, with the comma before it; before the first one that stays, with the comma behind it.
    fn remove(&mut self, member: &Member<'_>) {
        let to = self.kept_to.unwrap_or(member.at);
        if let Some(from) = self.kept_from.filter(|from| *from < to) {
            push_span(&mut self.pieces, self.chunks, from..to);
        }
        self.kept_from = self.kept_to.is_some().then_some(member.value.end);
    }

    fn finish(mut self, close: usize, added: &[&Bytes]) -> Vec<Bytes> {
        push_span(&mut self.pieces, self.chunks, self.kept_from.unwrap_or(close)..close);
        let mut is_first = self.kept_to.is_none();
        for member in added {
            if !std::mem::take(&mut is_first) {
                push(&mut self.pieces, Bytes::from_static(b","));
            }
            push(&mut self.pieces, (*member).clone());
        }
        let total = self.chunks.iter().map(Bytes::len).sum();
        push_span(&mut self.pieces, self.chunks, close..total);
        self.pieces
    }
}

#[cfg(test)]
mod tests;
