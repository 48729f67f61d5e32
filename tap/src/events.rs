//! Splits an event stream over chunk boundaries and sorts its events.
//!
//! Follows the WHATWG HTML standard, section 9.2.6: lines end with LF, CR or CRLF, a byte order mark may precede the
//! first, a blank line completes an event, `data` lines of one event are joined by line feeds, comments and unknown
//! fields are passed over. One liberty: an event that the end of the stream cuts short still counts as its end or its
//! error, because some servers leave the last blank line out.
//!
//! An event that lies within one chunk, as nearly all do, is looked at where it is. One that is cut goes through the
//! scanner piece by piece, so that nothing is held back and an event of any size takes the same small memory.

mod sort;

use memchr::memchr2;

use crate::counts::Counts;
use crate::events::sort::{Class, HEAD_BYTES, NAME_BYTES, classify};
use crate::report::{Report, StreamPosition, Usage};
use crate::scan::{Scanner, may_have_empty_choices, may_have_usage};

/// Reads one event stream.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Line,
    is_past_first_line: bool,
    /// The last chunk ended with CR, and a LF that follows belongs to it.
    is_after_cr: bool,
    /// The event that a chunk boundary cut.
    open: PartialEvent,
    scanner: Scanner,
    counts: Counts,
    events: u64,
    content_events: u64,
    is_ended: bool,
    has_error: bool,
    /// Whether somebody else counts the usage, so that it is not looked for.
    is_counted: bool,
}

/// Where in a line the last chunk ended.
#[derive(Clone, Copy, Debug, Default)]
enum Line {
    #[default]
    Start,
    Field(Prefix<FIELD_BYTES>),
    /// After the colon, where one space may follow.
    Colon(Field),
    Value(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Data,
    Name,
    Other,
}

/// A byte order mark and the longest field name that counts.
const FIELD_BYTES: usize = 3 + "event".len();

/// What is known of an event that is not complete.
#[derive(Debug, Default)]
struct PartialEvent {
    name: Prefix<NAME_BYTES>,
    head: Prefix<HEAD_BYTES>,
    data_lines: u32,
}

/// The first bytes of something, and its whole length.
#[derive(Clone, Copy, Debug)]
struct Prefix<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

/// An event that lies within one chunk.
struct WholeEvent<'a> {
    name: &'a [u8],
    data: Option<&'a [u8]>,
}

impl Events {
    /// Of a stream whose usage somebody else counts.
    pub(crate) fn of_counted() -> Self {
        Self { is_counted: true, ..Self::default() }
    }

    /// Looks at the next chunk and returns how many events with content it completed.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> u32 {
        let before = self.content_events;
        let mut rest = chunk;
        while let Some(byte) = rest.first() {
            if std::mem::take(&mut self.is_after_cr) && *byte == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let whole =
                if self.is_between_events() { whole_event(rest, !self.is_past_first_line) } else { None };
            rest = match whole {
                Some((event, used)) => {
                    self.is_past_first_line = true;
                    self.whole(&event);
                    &rest[used..]
                }
                None => self.rest_of_event(rest),
            };
        }
        u32::try_from(self.content_events - before).unwrap_or(u32::MAX)
    }

    pub(crate) fn position(&self) -> StreamPosition {
        StreamPosition { events: self.events, is_between_events: self.is_between_events() }
    }

    pub(crate) fn finish(&mut self) -> Report {
        if self.open.data_lines > 0 {
            match self.open.class() {
                Class::End => self.is_ended = true,
                Class::Error => self.has_error = true,
                Class::Content | Class::Other => {}
            }
        }
        let usage = if self.is_counted { Usage::default() } else { self.counts.usage() };
        Report {
            is_complete: Some(self.is_ended),
            has_error_event: self.has_error,
            ..Report::new(usage, self.content_events)
        }
    }

    fn is_between_events(&self) -> bool {
        matches!(self.line, Line::Start) && self.open.data_lines == 0 && self.open.name.len == 0
    }

    fn whole(&mut self, event: &WholeEvent<'_>) {
        let Some(data) = event.data else { return };
        let mut has_empty_choices = false;
        if !self.is_counted && may_have_usage(data) || may_have_empty_choices(data) {
            self.scanner.reset();
            self.scanner.feed(data, &mut self.counts);
            has_empty_choices = self.scanner.has_empty_choices();
        }
        self.count(classify(event.name, data), has_empty_choices);
    }

    /// Goes through the pieces of an event that does not lie within one chunk, up to its end or the chunk's.
    fn rest_of_event<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        while let Some(byte) = rest.first() {
            if std::mem::take(&mut self.is_after_cr) && *byte == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let at = match self.line {
                Line::Value(field) => {
                    let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    self.value(field, &rest[..end]);
                    end
                }
                _ => 0,
            };
            let Some(byte) = rest.get(at) else { return &[] };
            rest = &rest[at + 1..];
            match (byte, self.line) {
                (b'\n' | b'\r', line) => {
                    self.is_after_cr = *byte == b'\r';
                    if self.end_line(line) {
                        return rest;
                    }
                }
                (b':', Line::Start) => self.line = Line::Colon(Field::Other),
                (byte, Line::Start) => self.line = Line::Field(Prefix::of(*byte)),
                (b':', Line::Field(name)) => self.begin_value(name.field(!self.is_past_first_line)),
                (byte, Line::Field(mut name)) => {
                    name.extend(&[*byte]);
                    self.line = Line::Field(name);
                }
                (b' ', Line::Colon(field)) => self.line = Line::Value(field),
                (byte, Line::Colon(field) | Line::Value(field)) => {
                    self.line = Line::Value(field);
                    self.value(field, &[*byte]);
                }
            }
        }
        rest
    }

    fn begin_value(&mut self, field: Field) {
        self.line = Line::Colon(field);
        match field {
            Field::Name => self.open.name = Prefix::default(),
            Field::Data if self.open.data_lines == 0 => {
                self.scanner.reset();
                self.open.data_lines = 1;
            }
            Field::Data => {
                self.open.data_lines = 2;
                self.value(Field::Data, b"\n");
            }
            Field::Other => {}
        }
    }

    fn value(&mut self, field: Field, piece: &[u8]) {
        match field {
            Field::Data => {
                self.open.head.extend(piece);
                self.scanner.feed(piece, &mut self.counts);
            }
            Field::Name => self.open.name.extend(piece),
            Field::Other => {}
        }
    }

    /// Ends a line, and returns whether that ended an event.
    fn end_line(&mut self, line: Line) -> bool {
        if let Line::Field(name) = line {
            self.begin_value(name.field(!self.is_past_first_line));
        }
        self.line = Line::Start;
        self.is_past_first_line = true;
        let is_blank = matches!(line, Line::Start);
        if is_blank {
            let open = std::mem::take(&mut self.open);
            if open.data_lines > 0 {
                self.count(open.class(), self.scanner.has_empty_choices());
            }
        }
        is_blank
    }

    fn count(&mut self, class: Class, has_empty_choices: bool) {
        self.events += 1;
        match class {
            Class::Content => self.content_events += u64::from(!has_empty_choices),
            Class::End => self.is_ended = true,
            Class::Error => self.has_error = true,
            Class::Other => {}
        }
    }
}

impl PartialEvent {
    fn class(&self) -> Class {
        // A longer value is told by its length: the bytes beyond the prefix are never compared.
        classify(self.name.bytes(), self.head.bytes())
    }
}

impl<const N: usize> Prefix<N> {
    fn of(byte: u8) -> Self {
        let mut prefix = Self::default();
        prefix.extend(&[byte]);
        prefix
    }

    fn extend(&mut self, piece: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..) {
            let taken = piece.len().min(room.len());
            room[..taken].copy_from_slice(&piece[..taken]);
        }
        self.len = self.len.saturating_add(piece.len());
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len.min(N)]
    }
}

impl Prefix<FIELD_BYTES> {
    fn field(&self, is_first_line: bool) -> Field {
        if self.len > FIELD_BYTES { Field::Other } else { field(self.bytes(), is_first_line) }
    }
}

impl<const N: usize> Default for Prefix<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0 }
    }
}

/// The event at the start of `bytes`, and its length with its blank line. `None` where the bytes end before it does, or
/// its data is spread over several lines.
fn whole_event(bytes: &[u8], mut is_first_line: bool) -> Option<(WholeEvent<'_>, usize)> {
    let mut event = WholeEvent { name: b"", data: None };
    let mut at = 0;
    loop {
        let (line, next) = line(&bytes[at..])?;
        at += next;
        if line.is_empty() {
            return Some((event, at));
        }
        let colon = memchr::memchr(b':', line);
        let (name, value) = colon.map_or((line, &line[line.len()..]), |at| (&line[..at], &line[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field(name, is_first_line) {
            Field::Data if event.data.is_some() => return None,
            Field::Data => event.data = Some(value),
            Field::Name => event.name = value,
            Field::Other => {}
        }
        is_first_line = false;
    }
}

/// The line at the start of `bytes` without its end, and its length with it.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr2(b'\n', b'\r', bytes)?;
    let line = &bytes[..end];
    match (bytes[end], bytes.get(end + 1)) {
        (b'\n', _) => Some((line, end + 1)),
        (_, Some(b'\n')) => Some((line, end + 2)),
        (_, Some(_)) => Some((line, end + 1)),
        (_, None) => None,
    }
}

fn field(name: &[u8], is_first_line: bool) -> Field {
    const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
    let name = if is_first_line { name.strip_prefix(BYTE_ORDER_MARK).unwrap_or(name) } else { name };
    match name {
        b"data" => Field::Data,
        b"event" => Field::Name,
        _ => Field::Other,
    }
}
