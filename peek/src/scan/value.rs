//! The values of top-level members: strings, arrays and objects, numbers and literals.

use super::{
    Scanner, State,
    member::{self, Member},
    nest::NestEnd,
    text::TextEnd,
};
use crate::{Break, MAX_USER_BYTES, PeekError};

/// One raw byte of a string grows by at most this much when it is escaped (`\u0041`).
const ESCAPED_BYTES: usize = 6;

impl Scanner {
    pub(super) fn value(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        self.token_at = self.base + i;
        match window[i] {
            b' ' | b'\t' | b'\n' | b'\r' => Ok(i + 1),
            b'"' => {
                self.state = State::ValueText;
                self.value_text(window, i, i + 1)
            }
            b'{' | b'[' if self.member == Member::Model => {
                let found = if window[i] == b'{' { "an object" } else { "an array" };
                Err(PeekError::ModelType { at: self.token_at, found })
            }
            b'{' | b'[' => {
                self.state = State::ValueNested;
                self.value_nested(window, i, i)
            }
            byte if is_scalar(byte) => {
                self.state = State::ValueScalar;
                Ok(i)
            }
            _ => self.broken(i, Break::Byte),
        }
    }

    /// `start` is where the value starts in this window, `from` where to go on with it.
    pub(super) fn value_text(
        &mut self,
        window: &[u8],
        start: usize,
        from: usize,
    ) -> Result<usize, PeekError> {
        let (end, is_closed) = match self.text.skip(window, from) {
            TextEnd::Closed(end) => (end, true),
            TextEnd::Open => (window.len(), false),
            TextEnd::BadEscape(at) => {
                // Its length is judged first, as it is where a chunk ends before the escape.
                if self.member == Member::Model {
                    self.hold_model(&window[from..at])?;
                }
                return self.broken_value(window, start, at, Break::Escape);
            }
        };
        let raw = &window[from..end - usize::from(is_closed)];
        match self.member {
            Member::Prompt => self.blocks.update(&window[start..end]),
            Member::System => self.instructions(window, start, end),
            Member::Model => self.hold_model(raw)?,
            Member::User => self.hold_user(raw),
            _ => {}
        }
        if is_closed {
            match self.member {
                Member::Model => {
                    let range = self.token_at..self.base + end;
                    self.fields.model_text(&self.held, range, self.max_model_bytes)?;
                }
                Member::User => self.fields.user_text(&self.held),
                _ => {}
            }
            self.close_value();
        }
        Ok(end)
    }

    pub(super) fn value_nested(
        &mut self,
        window: &[u8],
        start: usize,
        from: usize,
    ) -> Result<usize, PeekError> {
        let (end, is_closed) = match self.nest.walk(window, from, &mut self.text) {
            NestEnd::Closed(end) => (end, true),
            NestEnd::Open => (window.len(), false),
            NestEnd::TooDeep(at) => {
                return Err(PeekError::TooDeep { at: self.base + at, limit: self.nest.limit() });
            }
            NestEnd::Broken(at, what) => return self.broken_value(window, start, at, what),
        };
        match self.member {
            Member::Prompt => self.blocks.update(&window[start..end]),
            Member::System => self.instructions(window, start, end),
            _ => {}
        }
        if is_closed {
            self.close_value();
        }
        Ok(end)
    }

    pub(super) fn value_scalar(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        let rest = &window[i..];
        let len = rest.iter().position(|&byte| !is_scalar(byte)).unwrap_or(rest.len());
        member::hold_scalar(&mut self.held, &rest[..len]);
        if len < rest.len() {
            self.fields.scalar(self.member, &self.held, self.token_at)?;
            self.close_value();
        }
        Ok(i + len)
    }

    fn close_value(&mut self) {
        self.held.clear();
        self.member = Member::Other;
        self.state = State::Next;
    }

    /// Gives up on structure within a value that starts at `start` in this window and breaks at `i`.
    fn broken_value(
        &mut self,
        window: &[u8],
        start: usize,
        i: usize,
        what: Break,
    ) -> Result<usize, PeekError> {
        match self.member {
            Member::Prompt => self.blocks.update(&window[start..i]),
            Member::System => self.instructions(window, start, i),
            _ => {}
        }
        self.broken(i, what)
    }

    /// Hashes a piece of the instructions, but for a billing header.
    fn instructions(&mut self, window: &[u8], start: usize, end: usize) {
        let piece = &window[start..end];
        let Some(found) = self.billing.find(piece) else { return self.blocks.update(piece) };
        self.blocks.update(&piece[..found.start]);
        self.blocks.update(&piece[found.end..]);
        let from = self.base + start;
        let begins = self.billing_header.as_ref().map_or(from + found.start, |before| before.start);
        self.billing_header = Some(begins..from + found.end);
    }

    /// Keeps a piece of the model's raw text; one that is too long to become short enough is refused here,
    /// so that `held` stays bounded.
    fn hold_model(&mut self, raw: &[u8]) -> Result<(), PeekError> {
        if self.held.len() + raw.len() > self.max_model_bytes.saturating_mul(ESCAPED_BYTES) {
            return Err(PeekError::ModelTooLong { at: self.token_at, limit: self.max_model_bytes });
        }
        self.held.extend_from_slice(raw);
        Ok(())
    }

    /// Keeps a piece of the user's raw text; what is too long is cut, and found too long in the end.
    fn hold_user(&mut self, raw: &[u8]) {
        let room = (MAX_USER_BYTES * ESCAPED_BYTES + 1).saturating_sub(self.held.len());
        self.held.extend_from_slice(&raw[..raw.len().min(room)]);
    }
}

/// Whether a byte can be part of a number or a literal, `NaN` and `-Infinity` included, which Python reads.
/// No literal has an `m`, so that a bare `model` cannot pass for one: see [`super::after_break`].
pub(super) fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte, b'm' | b'M') || matches!(byte, b'-' | b'+' | b'.')
}
