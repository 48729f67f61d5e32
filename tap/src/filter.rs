//! Takes the event that only brings the usage out of a stream whose client did not ask for it.
//!
//! OpenAI's API sends it behind the last choice, with `choices` that are empty; clients that did not ask for it may take the
//! first of them all the same. An event is passed on once its blank line is here. Pieces that end with one, as nearly all
//! do, and bring no such event go through as they are.

use memchr::memchr2;

use crate::counts::Counts;
use crate::scan::{Scanner, may_have_empty_choices, may_have_usage};

/// The longest event that is held until it is complete, in bytes. The one that is looked for has some hundred.
const MAX_HELD_BYTES: usize = 16 * 1024;

/// Passes an event stream on without the event that only brings the usage.
#[derive(Debug, Default)]
pub struct UsageFilter {
    /// The event that is not complete.
    held: Vec<u8>,
    /// Whether what is here of it was passed on, because it is too long to be the one.
    is_passing: bool,
    line: Line,
}

/// What a piece becomes.
#[derive(Debug, PartialEq, Eq)]
pub enum Filtered {
    /// It stays as it is.
    AsItIs,
    /// This takes its place; may be empty.
    Instead(Vec<u8>),
}

/// Where in a line the last byte was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// At its start.
    #[default]
    Start,
    /// At its start, behind a CR to which a LF may belong.
    AfterCr,
    Within,
}

impl UsageFilter {
    /// Takes the next piece of the stream; `is_end` if it is the last.
    pub fn feed(&mut self, piece: &[u8], is_end: bool) -> Filtered {
        if self.held.is_empty() && !self.is_passing && self.is_plain(piece) {
            return Filtered::AsItIs;
        }
        let mut out = Vec::with_capacity(self.held.len() + piece.len());
        let mut rest = piece;
        while let Some(end) = self.line.end_of_event(rest) {
            let (head, tail) = rest.split_at(end);
            rest = tail;
            if std::mem::take(&mut self.is_passing) {
                out.extend_from_slice(head);
            } else if self.held.is_empty() {
                if !brings_only_usage(head) {
                    out.extend_from_slice(head);
                }
            } else {
                self.held.extend_from_slice(head);
                if !brings_only_usage(&self.held) {
                    out.append(&mut self.held);
                }
                self.held.clear();
            }
        }
        if is_end && !self.is_passing {
            // The last event may lack its blank line.
            self.held.extend_from_slice(rest);
            rest = &[];
            if brings_only_usage(&self.held) {
                self.held.clear();
            }
        }
        if is_end || self.is_passing || self.held.len() + rest.len() > MAX_HELD_BYTES {
            self.is_passing |= !(self.held.is_empty() && rest.is_empty());
            out.append(&mut self.held);
            out.extend_from_slice(rest);
        } else {
            self.held.extend_from_slice(rest);
        }
        Filtered::Instead(out)
    }

    /// Whether what was passed on ends with an event.
    pub fn is_between_events(&self) -> bool {
        !self.is_passing
    }

    /// Whether the piece is whole events, and none of them is the one. Otherwise nothing has happened.
    fn is_plain(&mut self, piece: &[u8]) -> bool {
        let mut line = self.line;
        let mut rest = piece;
        while let Some(end) = line.end_of_event(rest) {
            if brings_only_usage(&rest[..end]) {
                return false;
            }
            rest = &rest[end..];
        }
        if rest.is_empty() {
            self.line = line;
        }
        rest.is_empty()
    }
}

impl Line {
    /// Goes on to behind the next blank line, and gives how many bytes that is; `None` if there is none.
    fn end_of_event(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let is_blank = *self != Self::Within;
            let before = *self;
            at += 1;
            match byte {
                b'\n' if before == Self::AfterCr => *self = Self::Start,
                b'\n' | b'\r' => {
                    *self = if *byte == b'\r' { Self::AfterCr } else { Self::Start };
                    if is_blank {
                        // A line feed that belongs to it is part of the event.
                        if *self == Self::AfterCr && bytes.get(at) == Some(&b'\n') {
                            *self = Self::Start;
                            at += 1;
                        }
                        return Some(at);
                    }
                }
                _ => {
                    *self = Self::Within;
                    at += memchr2(b'\n', b'\r', &bytes[at..]).unwrap_or(bytes.len() - at);
                }
            }
        }
        None
    }
}

/// Whether a whole event is of the kind that has no choices and counts tokens.
fn brings_only_usage(event: &[u8]) -> bool {
    if !(may_have_empty_choices(event) && may_have_usage(event)) {
        return false;
    }
    let mut data =
        event.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| line.strip_prefix(b"data:"));
    let (Some(only), None) = (data.next(), data.next()) else { return false };
    let (mut scanner, mut counts) = (Scanner::default(), Counts::default());
    scanner.feed(only, &mut counts);
    scanner.has_empty_choices() && counts != Counts::default()
}

#[cfg(test)]
mod tests;
