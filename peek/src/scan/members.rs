//! The members of a body's outermost object, one after the other, wherever its chunks are cut.
//!
//! Only names and the places of values are found; what lies in a value is walked over. Unlike [`Scanner`](super::Scanner),
//! which lets broken JSON pass, this ends at the first departure from RFC 8259 at the top level: who changes members has to
//! know them all.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::nest::{Nest, NestEnd};
use super::prelude::{Opening, Prelude};
use super::text::{Text, TextEnd, unescape};
use super::value::is_scalar;
use crate::{Break, Excerpt, MAX_KEY_BYTES, PeekError};

/// A member of the outermost object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// Its name, with escapes resolved.
    pub(crate) name: Cow<'a, str>,
    /// Where its name begins, with its quote.
    pub(crate) at: usize,
    /// Where its value lies.
    pub(crate) value: Range<usize>,
}

/// Hands on each member of the object that the chunks make up, and returns where its closing bracket is; `None` if they are
/// no object.
///
/// # Errors
/// The object is broken, or nested deeper than `max_depth`; or what `each` fails with.
pub(crate) fn members(
    chunks: &[Bytes],
    max_depth: usize,
    mut each: impl FnMut(Member<'_>) -> Result<(), PeekError>,
) -> Result<Option<usize>, PeekError> {
    let mut walk = Walk::new(max_depth);
    for chunk in chunks {
        let mut i = 0;
        while i < chunk.len() {
            i = walk.step(chunk, i, &mut each)?;
            if walk.state == State::NoObject {
                return Ok(None);
            }
        }
        walk.base += chunk.len();
    }
    match walk.state {
        State::Tail => Ok(Some(walk.close)),
        State::Start => Ok(None),
        _ => Err(broken(walk.base, Break::Truncated)),
    }
}

/// How far the object has been walked through.
struct Walk {
    state: State,
    prelude: Prelude,
    text: Text,
    nest: Nest,
    /// Offset of the chunk in the body.
    base: usize,
    /// Where the name of the member begins, and its value.
    key_at: usize,
    value_at: usize,
    /// The name, as far as it was read.
    key: Vec<u8>,
    /// Where the closing bracket is.
    close: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// A member's name; the end of the object too, unless behind a comma.
    Key {
        is_after_comma: bool,
    },
    KeyText,
    Colon,
    Value,
    ValueText,
    ValueNested,
    ValueScalar,
    Next,
    Tail,
    NoObject,
}

impl Walk {
    fn new(max_depth: usize) -> Self {
        Self {
            state: State::Start,
            prelude: Prelude::default(),
            text: Text::default(),
            nest: Nest::new(max_depth),
            base: 0,
            key_at: 0,
            value_at: 0,
            key: Vec::new(),
            close: 0,
        }
    }

    fn step(
        &mut self,
        window: &[u8],
        i: usize,
        each: &mut impl FnMut(Member<'_>) -> Result<(), PeekError>,
    ) -> Result<usize, PeekError> {
        match self.state {
            State::KeyText => return self.key_text(window, i),
            State::ValueText => {
                return match self.text.skip(window, i) {
                    TextEnd::Closed(end) => self.value_ends(end, each),
                    TextEnd::Open => Ok(window.len()),
                    TextEnd::BadEscape(at) => Err(broken(self.base + at, Break::Escape)),
                };
            }
            State::ValueNested => {
                return match self.nest.walk(window, i, &mut self.text) {
                    NestEnd::Closed(end) => self.value_ends(end, each),
                    NestEnd::Open => Ok(window.len()),
                    NestEnd::TooDeep(at) => {
                        Err(PeekError::TooDeep { at: self.base + at, limit: self.nest.limit() })
                    }
                    NestEnd::Broken(at, what) => Err(broken(self.base + at, what)),
                };
            }
            State::ValueScalar => {
                let len = window[i..].iter().position(|byte| !is_scalar(*byte));
                return match len {
                    Some(len) => self.value_ends(i + len, each),
                    None => Ok(window.len()),
                };
            }
            _ => {}
        }
        self.between(window[i], i)?;
        // A bracket, and the first byte of a number, are walked with what follows them.
        Ok(i + usize::from(!matches!(self.state, State::ValueNested | State::ValueScalar)))
    }

    /// Takes a byte that is no part of a name or value, or the first of one.
    fn between(&mut self, byte: u8, i: usize) -> Result<(), PeekError> {
        let at = self.base + i;
        self.state = match (self.state, byte) {
            (State::Start, byte) => match self.prelude.step(byte, at, true) {
                Opening::Skip => State::Start,
                Opening::Object => State::Key { is_after_comma: false },
                Opening::NotUtf8 => return Err(PeekError::NotUtf8Json { at }),
                Opening::OtherJson | Opening::NoJson => State::NoObject,
            },
            (state, b' ' | b'\t' | b'\n' | b'\r') => state,
            (State::Key { .. }, b'"') => {
                self.key_at = at;
                self.key.clear();
                State::KeyText
            }
            (State::Key { is_after_comma: false } | State::Next, b'}') => {
                self.close = at;
                State::Tail
            }
            (State::Key { .. }, b',' | b'}') => return Err(broken(at, Break::Comma)),
            (State::Colon, b':') => State::Value,
            (State::Value, byte) => {
                self.value_at = at;
                match byte {
                    b'"' => State::ValueText,
                    b'{' | b'[' => State::ValueNested,
                    byte if is_scalar(byte) => State::ValueScalar,
                    _ => return Err(broken(at, Break::Byte)),
                }
            }
            (State::Next, b',') => State::Key { is_after_comma: true },
            (State::Tail, _) => return Err(broken(at, Break::Trailing)),
            _ => return Err(broken(at, Break::Byte)),
        };
        Ok(())
    }

    fn key_text(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        let (raw, end) = match self.text.skip(window, i) {
            TextEnd::Closed(end) => (&window[i..end - 1], Some(end)),
            TextEnd::Open => (&window[i..], None),
            TextEnd::BadEscape(at) => return Err(broken(self.base + at, Break::Escape)),
        };
        if self.key.len() + raw.len() > MAX_KEY_BYTES {
            return Err(PeekError::KeyTooLong { at: self.key_at, limit: MAX_KEY_BYTES });
        }
        self.key.extend_from_slice(raw);
        if end.is_some() {
            self.state = State::Colon;
        }
        Ok(end.unwrap_or(window.len()))
    }

    fn value_ends(
        &mut self,
        end: usize,
        each: &mut impl FnMut(Member<'_>) -> Result<(), PeekError>,
    ) -> Result<usize, PeekError> {
        self.state = State::Next;
        let at = self.key_at;
        let name = unescape(&self.key);
        let name = name.map_err(|fault| PeekError::Key { at, fault, key: Excerpt::of(&self.key) })?;
        each(Member { name, at, value: self.value_at..self.base + end })?;
        Ok(end)
    }
}

fn broken(at: usize, what: Break) -> PeekError {
    PeekError::Uneditable { at, what }
}
