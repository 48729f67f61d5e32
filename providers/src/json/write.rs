//! Writing a document, value by value.

use std::ops::Range;

use super::{Text, Value};

/// Digits of the largest whole number.
const MOST_DIGITS: usize = 20;

/// Bytes that are looked at together for one that has to be escaped, so that the compiler makes vectors of them.
const TOGETHER: usize = 32;

/// The longest text that is looked at in two words: names of members are short.
const SHORT: usize = 16;

/// What a document has room for from the start, in bytes: most members of one are short, and come one by one.
const FIRST_BYTES: usize = 512;

/// Texts of so many bytes are not copied out of the document that they stand in. A cut has its own costs.
const LONG: usize = if cfg!(any(test, fuzzing)) { 8 } else { 2048 };

/// Writes one document. Commas come by themselves.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    /// Whether a value stands before the next one in the same array or object.
    needs_comma: bool,
    /// Where in memory the document is that long texts are not copied from.
    source: Range<usize>,
    taken: Vec<Taken>,
}

/// A document that was written from another: its long texts are that one's, and were not copied.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    own: Vec<u8>,
    taken: Vec<Taken>,
}

/// A text that stands in the other document.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    /// How much of what was written stands before it, in bytes.
    at: usize,
    /// Where it is there.
    range: Range<usize>,
}

/// A part of a [`Written`], by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// In what was written.
    Own(Range<usize>),
    /// In the document that it was written from.
    Taken(Range<usize>),
}

impl Written {
    /// Its parts, one after the other, and the bytes that were written for it.
    pub fn into_pieces(self) -> (Vec<u8>, Vec<Piece>) {
        let mut pieces = Vec::with_capacity(2 * self.taken.len() + 1);
        let mut start = 0;
        for Taken { at, range } in self.taken {
            pieces.extend((start < at).then_some(Piece::Own(start..at)));
            pieces.push(Piece::Taken(range));
            start = at;
        }
        pieces.extend((start < self.own.len()).then_some(Piece::Own(start..self.own.len())));
        (self.own, pieces)
    }

    /// How much of it is the other document's, in bytes.
    pub fn taken_bytes(&self) -> usize {
        self.taken.iter().map(|taken| taken.range.len()).sum()
    }

    /// In one piece; `source` is the document that it was written from.
    pub fn concat(self, source: &[u8]) -> Vec<u8> {
        if self.taken.is_empty() {
            return self.own;
        }
        let (own, pieces) = self.into_pieces();
        let part = |piece: &Piece| match piece {
            Piece::Own(range) => &own[range.clone()],
            Piece::Taken(range) => &source[range.clone()],
        };
        pieces.iter().map(part).collect::<Vec<_>>().concat()
    }
}

impl From<Vec<u8>> for Written {
    fn from(own: Vec<u8>) -> Self {
        Self { own, taken: Vec::new() }
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new(Vec::with_capacity(FIRST_BYTES))
    }
}

impl Writer {
    /// A writer of a document that says what `source` does in other words. What is long there is taken from it uncopied.
    pub fn over(source: &[u8]) -> Self {
        let start = source.as_ptr().addr();
        // Its texts are mostly short, or not copied.
        let room = Vec::with_capacity(source.len().min(4 * LONG) + FIRST_BYTES);
        Self { source: start..start + source.len(), ..Self::new(room) }
    }

    /// A writer that goes on at the end of `out`.
    pub fn new(out: Vec<u8>) -> Self {
        Self { out, needs_comma: false, source: 0..0, taken: Vec::new() }
    }

    /// What was written, by a writer that copies everything.
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(self.taken.is_empty(), "it is not all here");
        self.out
    }

    /// What was written.
    pub fn written(self) -> Written {
        Written { own: self.out, taken: self.taken }
    }

    /// Writes an object whose members `members` writes.
    pub fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.nest(b'{', b'}', members);
    }

    /// Writes an array whose items `items` writes.
    pub fn array(&mut self, items: impl FnOnce(&mut Self)) {
        self.nest(b'[', b']', items);
    }

    /// Writes `open`, the values that `inner` writes, and `close`, which stand for what was to be written around these.
    pub fn framed(&mut self, open: &str, close: &str, inner: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.extend_from_slice(open.as_bytes());
        self.needs_comma = false;
        inner(self);
        self.out.extend_from_slice(close.as_bytes());
        self.needs_comma = true;
    }

    /// Begins a member of an object; its value has to follow.
    pub fn key(&mut self, name: &str) {
        self.separate();
        self.out.push(b'"');
        escape(name, &mut self.out);
        self.out.extend_from_slice(b"\":");
        self.needs_comma = false;
    }

    /// Writes a member that is an object.
    pub fn object_at(&mut self, name: &str, members: impl FnOnce(&mut Self)) {
        self.key(name);
        self.object(members);
    }

    /// Writes a member that is an array.
    pub fn array_at(&mut self, name: &str, items: impl FnOnce(&mut Self)) {
        self.key(name);
        self.array(items);
    }

    /// Writes a member that is a string.
    pub fn text_at(&mut self, name: &str, text: &Text<'_>) {
        self.key(name);
        self.text(text);
    }

    /// Writes a member that is a string in plain.
    pub fn str_at(&mut self, name: &str, text: &str) {
        self.key(name);
        self.str(text);
    }

    /// Writes a member that is a value of another document.
    pub fn value_at(&mut self, name: &str, value: &Value<'_>) {
        self.key(name);
        self.value(value);
    }

    /// Writes a member that is written already.
    pub fn raw_at(&mut self, name: &str, raw: &str) {
        self.key(name);
        self.raw(raw);
    }

    /// Writes a member that is a whole number.
    pub fn u64_at(&mut self, name: &str, number: u64) {
        self.key(name);
        self.u64(number);
    }

    /// Writes a member that is true or false.
    pub fn bool_at(&mut self, name: &str, is_true: bool) {
        self.raw_at(name, if is_true { "true" } else { "false" });
    }

    /// Writes a string.
    pub fn text(&mut self, text: &Text<'_>) {
        match text {
            Text::Plain(plain) => self.str(plain),
            Text::Escaped(_) => self.concatenated(std::slice::from_ref(text)),
        }
    }

    /// Writes a string in plain.
    pub fn str(&mut self, text: &str) {
        self.separate();
        self.out.push(b'"');
        escape(text, &mut self.out);
        self.out.push(b'"');
    }

    /// Writes the string that `pieces` make one after the other.
    pub fn concatenated(&mut self, pieces: &[Text<'_>]) {
        self.separate();
        self.out.push(b'"');
        for piece in pieces {
            match piece {
                Text::Escaped(escaped) => self.add(escaped),
                Text::Plain(plain) => escape(plain, &mut self.out),
            }
        }
        self.out.push(b'"');
    }

    /// Writes a value of another document.
    pub fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => self.raw("null"),
            Value::Bool(is_true) => self.raw(if *is_true { "true" } else { "false" }),
            Value::Number(number) => self.raw(number),
            Value::String(text) => self.text(text),
            Value::Array(array) => self.raw(array.raw),
            Value::Object(object) => self.raw(object.raw),
        }
    }

    /// Writes a value that is written already.
    pub fn raw(&mut self, raw: &str) {
        self.separate();
        self.add(raw);
    }

    /// Writes a whole number.
    pub fn u64(&mut self, number: u64) {
        let mut digits = [0; MOST_DIGITS];
        let (mut start, mut rest) = (MOST_DIGITS, number);
        loop {
            start -= 1;
            // A digit, so that nothing is cut.
            digits[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.separate();
        self.out.extend_from_slice(&digits[start..]);
    }

    /// Adds a text as it stands.
    fn add(&mut self, text: &str) {
        match self.place(text) {
            Some(range) => self.taken.push(Taken { at: self.out.len(), range }),
            None => self.out.extend_from_slice(text.as_bytes()),
        }
    }

    /// Where in the source a text is that need not be copied.
    fn place(&self, text: &str) -> Option<Range<usize>> {
        if text.len() < LONG {
            return None;
        }
        let start = text.as_ptr().addr().checked_sub(self.source.start)?;
        let range = start..start + text.len();
        (range.end <= self.source.len()).then_some(range)
    }

    fn nest(&mut self, open: u8, close: u8, inner: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(open);
        self.needs_comma = false;
        inner(self);
        self.out.push(close);
        self.needs_comma = true;
    }

    fn separate(&mut self) {
        if self.needs_comma {
            self.out.push(b',');
        }
        self.needs_comma = true;
    }
}

/// Writes `text` as it stands between quotes.
fn escape(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    if is_short_and_plain(rest) {
        return out.extend_from_slice(rest);
    }
    loop {
        let (plain, after) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = after.split_first() else { return };
        rest = after;
        let short = match byte {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => b'u',
            other => *other,
        };
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(*byte)]);
        }
    }
}

/// Whether `bytes` are few, and stand between quotes as they are.
fn is_short_and_plain(bytes: &[u8]) -> bool {
    // Some bytes are looked at twice.
    if let (Some(first), Some(last), ..=SHORT) = (bytes.first_chunk(), bytes.last_chunk(), bytes.len()) {
        return is_plain(u64::from_ne_bytes(*first)) && is_plain(u64::from_ne_bytes(*last));
    }
    if let (Some(first), Some(last), ..8) = (bytes.first_chunk(), bytes.last_chunk(), bytes.len()) {
        let (first, last) = (u32::from_ne_bytes(*first), u32::from_ne_bytes(*last));
        return is_plain((u64::from(first) << 32) | u64::from(last));
    }
    false
}

/// Whether none of a word's bytes has to be escaped; may be wrong of words with bytes that are not ASCII.
fn is_plain(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    // The top bit of each byte that is less than `least`, of those that are ASCII (Bit Twiddling Hacks, "hasless").
    let below = |word: u64, least: u64| word.wrapping_sub(ONES * least);
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (word | below(word, 0x20) | is(b'"') | is(b'\\')) & (ONES * 0x80) == 0
}

/// How much of `bytes` stands between quotes as it is.
fn plain_length(bytes: &[u8]) -> usize {
    let is_escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let (chunks, _) = bytes.as_chunks::<TOGETHER>();
    let has_none =
        |chunk: &&[u8; TOGETHER]| !chunk.iter().fold(false, |found, byte| found | is_escaped(*byte));
    let clear = chunks.iter().take_while(has_none).count() * TOGETHER;
    let rest = &bytes[clear..];
    clear + rest.iter().position(|byte| is_escaped(*byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn long_texts_of_the_source_are_not_copied() {
        let text = "text ".repeat(1000);
        let source = format!("{{\"a\":\"{text}\",\"b\":\"short\",\"c\":[\"{text}\"]}}");
        let value = crate::json::parse(source.as_bytes()).unwrap();
        let object = value.as_object().unwrap();
        let mut out = Writer::over(source.as_bytes());
        out.object(|out| {
            out.text_at("x", object.text("a").unwrap());
            out.text_at("y", object.text("b").unwrap());
            out.str_at("z", &text);
            out.value_at("c", object.get("c").unwrap());
        });
        let written = out.written();
        let expected = format!("{{\"x\":\"{text}\",\"y\":\"short\",\"z\":\"{text}\",\"c\":[\"{text}\"]}}");
        let list = source.find('[').unwrap();
        let (own, pieces) = written.into_pieces();
        assert_eq!(own.len(), expected.len() - text.len() - (text.len() + 4));
        let taken = [6..6 + text.len(), list..source.len() - 1].map(Piece::Taken);
        let [Piece::Own(first), a, Piece::Own(second), c, Piece::Own(third)] = &*pieces else {
            panic!("{pieces:?}")
        };
        assert_eq!([a, c], [&taken[0], &taken[1]]);
        assert_eq!(
            (first.start, first.end, second.end, third.end),
            (0, second.start, third.start, own.len())
        );

        let mut out = Writer::over(source.as_bytes());
        out.array(|out| out.text(object.text("a").unwrap()));
        assert_eq!(out.written().concat(source.as_bytes()), format!("[\"{text}\"]").into_bytes());
    }

    proptest! {
        #[test]
        fn texts_and_numbers_are_written_as_serde_json_writes_them(
            pieces in prop::collection::vec("(a{1,40}|\"|\\\\|\n|\t|[\u{0}-\u{1f}]|ü|\u{7f})", 0..40),
            number: u64,
            shift in 0_u32..64,
        ) {
            let (text, number) = (pieces.concat(), number >> shift);
            let mut out = Writer::default();
            out.array(|out| {
                out.str(&text);
                out.u64(number);
            });
            let written = String::from_utf8(out.finish()).unwrap();
            let read: (String, u64) = serde_json::from_str(&written).unwrap();
            prop_assert_eq!(&read, &(text, number));
            let end = format!(",{number}]");
            prop_assert!(written.ends_with(&end));
        }
    }
}
