//! The parser: strict (RFC 8259), without recursion deeper than [`MAX_DEPTH`].

use std::borrow::Cow;

use super::marks::Marks;
use super::{Array, Object, Text, Value};

/// Arrays and objects within each other. Schemas of tools are the deepest things that clients send, and have some twenty.
const MAX_DEPTH: usize = 128;

/// Values of one document. A value takes twenty times the two bytes that it may be written in; the longest list of numbers
/// that a provider answers with, its embeddings, has less than this.
const MAX_VALUES: u32 = 1 << 20;

/// Members that the outermost object has room for from the start.
const OUTER_MEMBERS: usize = 8;

/// Words of [`Marks`] for which nothing is allocated: documents of a kilobyte, as events of streams are, and of 64, as most
/// requests.
const FEW_WORDS: usize = 16;
const SOME_WORDS: usize = 1024;

/// Why a document cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not encoded as UTF-8.
    #[error("not UTF-8 at byte {0}")]
    Encoding(usize),
    /// It is not JSON.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// Its arrays and objects are within each other too deeply.
    #[error("nested more than {MAX_DEPTH} deep at byte {0}")]
    Depth(usize),
    /// It has too many parts.
    #[error("more than {MAX_VALUES} values at byte {0}")]
    Values(usize),
}

/// Parses a whole document.
///
/// # Errors
/// It is no JSON, or nested too deeply; with the place in bytes.
pub fn parse(document: &[u8]) -> Result<Value<'_>, ParseError> {
    let text = utf8(document)?;
    match Marks::words(document.len()) {
        count @ ..=FEW_WORDS => parse_with(text, &mut [0; FEW_WORDS][..count]),
        count @ ..=SOME_WORDS => parse_with(text, &mut [0; SOME_WORDS][..count]),
        count => parse_with(text, &mut vec![0; count]),
    }
}

/// Parses a document, with room for the words of its [`Marks`].
///
/// # Errors
/// As [`parse`].
fn parse_with<'a>(text: &'a str, words: &mut [u64]) -> Result<Value<'a>, ParseError> {
    let document = text.as_bytes();
    let mut parser = Parser { text, bytes: document, marks: Marks::new(document, words), at: 0, values: 0 };
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at < document.len() { Err(ParseError::Syntax(parser.at)) } else { Ok(value) }
}

/// The document as text.
///
/// # Errors
/// It is none, with the place.
fn utf8(document: &[u8]) -> Result<&str, ParseError> {
    // That by vectors does not say where.
    simdutf8::basic::from_utf8(document).map_err(|_| {
        let place = simdutf8::compat::from_utf8(document).err().map(|error| error.valid_up_to());
        ParseError::Encoding(place.unwrap_or_default())
    })
}

struct Parser<'a, 'w> {
    text: &'a str,
    bytes: &'a [u8],
    marks: Marks<'w>,
    at: usize,
    values: u32,
}

impl<'a> Parser<'a, '_> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(ParseError::Values(self.at));
        }
        self.skip_space();
        match self.peek() {
            Some(b'"') => Ok(Value::String(Text::Escaped(self.string()?))),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        let start = self.enter(depth)?;
        let mut members = Vec::with_capacity(if depth == 0 { OUTER_MEMBERS } else { 0 });
        if !self.eat(b'}') {
            loop {
                self.skip_space();
                if self.peek() != Some(b'"') {
                    return Err(self.fault());
                }
                let (name, has_escapes) = self.spelt()?;
                let name = if has_escapes { Text::Escaped(name).decoded() } else { Cow::Borrowed(name) };
                self.expect(b':')?;
                members.push((name, self.value(depth + 1)?));
                if !self.eat(b',') {
                    break;
                }
            }
            self.expect(b'}')?;
        }
        Ok(Value::Object(Object { raw: &self.text[start..self.at], members }))
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        let start = self.enter(depth)?;
        let mut items = Vec::new();
        if !self.eat(b']') {
            loop {
                items.push(self.value(depth + 1)?);
                if !self.eat(b',') {
                    break;
                }
            }
            self.expect(b']')?;
        }
        Ok(Value::Array(Array { raw: &self.text[start..self.at], items }))
    }

    /// Goes past the bracket here, and gives its place.
    fn enter(&mut self, depth: usize) -> Result<usize, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(ParseError::Depth(self.at));
        }
        self.at += 1;
        Ok(self.at - 1)
    }

    /// The string whose opening quote is here.
    fn string(&mut self) -> Result<&'a str, ParseError> {
        Ok(self.spelt()?.0)
    }

    /// The string whose opening quote is here, and whether it has escapes.
    fn spelt(&mut self) -> Result<(&'a str, bool), ParseError> {
        let start = self.at + 1;
        let (mut from, mut has_escapes) = (start, false);
        loop {
            let Some(at) = self.marks.next(from) else {
                return Err(ParseError::Syntax(self.bytes.len()));
            };
            match self.bytes[at] {
                b'"' => {
                    self.at = at + 1;
                    return Ok((&self.text[start..at], has_escapes));
                }
                b'\\' => from = at + self.escape(at)?,
                _ => return Err(ParseError::Syntax(at)),
            }
            has_escapes = true;
        }
    }

    /// The length of the escape at `at`.
    fn escape(&self, at: usize) -> Result<usize, ParseError> {
        match self.bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
            Some(b'u')
                if self
                    .bytes
                    .get(at + 2..at + 6)
                    .is_some_and(|four| four.iter().all(u8::is_ascii_hexdigit)) =>
            {
                Ok(6)
            }
            _ => Err(ParseError::Syntax(at)),
        }
    }

    fn number(&mut self) -> Result<Value<'a>, ParseError> {
        let start = self.at;
        self.take(b'-');
        let whole = self.digits();
        let is_padded = whole > 1 && self.bytes[self.at - whole] == b'0';
        let mut is_sound = whole > 0 && !is_padded;
        if self.take(b'.') {
            is_sound &= self.digits() > 0;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            is_sound &= self.digits() > 0;
        }
        if is_sound { Ok(Value::Number(&self.text[start..self.at])) } else { Err(self.fault()) }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, ParseError> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.fault())
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.take(byte)
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.eat(byte) { Ok(()) } else { Err(self.fault()) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault(&self) -> ParseError {
        ParseError::Syntax(self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Writer;

    #[test]
    fn what_is_no_json_is_refused_at_its_place() {
        for (document, at) in [
            ("", 0),
            ("{", 1),
            ("[1,]", 3),
            ("{\"a\" 1}", 5),
            ("\"a", 2),
            ("\"\\x\"", 1),
            ("\"\\u12g4\"", 1),
            ("\"a\nb\"", 2),
            ("01", 2),
            ("1.", 2),
            ("-", 1),
            ("tru", 0),
            ("{} {}", 3),
        ] {
            assert_eq!(parse(document.as_bytes()), Err(ParseError::Syntax(at)), "{document}");
        }
        assert_eq!(parse(b"\"\xff\""), Err(ParseError::Encoding(1)));
        assert!(matches!(parse("[".repeat(100_000).as_bytes()), Err(ParseError::Depth(128))));
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES as usize - 2));
        assert!(parse(many.as_bytes()).is_ok());
        let too_many = format!("[{}0]", "0,".repeat(MAX_VALUES as usize - 1));
        assert!(matches!(parse(too_many.as_bytes()), Err(ParseError::Values(_))));
    }

    fn written(value: &Value<'_>) -> String {
        let mut out = Writer::default();
        out.value(value);
        String::from_utf8(out.finish()).unwrap()
    }

    fn rebuilt(value: &Value<'_>) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(is_true) => (*is_true).into(),
            Value::Number(number) => serde_json::from_str(number).unwrap(),
            Value::String(text) => text.decoded().into(),
            Value::Array(array) => array.items.iter().map(rebuilt).collect(),
            Value::Object(object) => {
                object.members.iter().map(|(name, value)| (name.to_string(), rebuilt(value))).collect()
            }
        }
    }

    /// Where the string ends that `document` begins with, found byte by byte.
    ///
    /// # Errors
    /// The place at which it is no string.
    fn end_of_string(document: &[u8]) -> Result<usize, usize> {
        let mut at = 1;
        loop {
            at += match document.get(at..).unwrap_or_default() {
                [] => return Err(at.min(document.len())),
                [b'"', ..] => return Ok(at),
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                [b'\\', b'u', code @ ..]
                    if code.len() >= 4 && code[..4].iter().all(u8::is_ascii_hexdigit) =>
                {
                    6
                }
                [b'\\' | ..0x20, ..] => return Err(at),
                _ => 1,
            }
        }
    }

    fn documents() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|number| serde_json::json!(number)),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_string_ends_where_a_look_at_each_byte_finds_its_end(
            pieces in prop::collection::vec(
                ("[a-z ü\u{7ff}]{0,90}", "(|\\\\n|\\\\\\\\|\\\\\"|\\\\u00e9)"), 0..40,
            ),
            end in "(\"|\" |\"a|\\\\|\\\\x|\\\\u12|\\\\u12g4\"|\n\"|\u{1f}|)",
        ) {
            let text: String = pieces.iter().flat_map(|(text, mark)| [text.as_str(), mark.as_str()]).collect();
            let document = format!("\"{text}{end}");
            let expected = end_of_string(document.as_bytes()).and_then(|end| {
                let left = document[end + 1..].trim_start();
                let text = Value::String(Text::Escaped(&document[1..end]));
                if left.is_empty() { Ok(text) } else { Err(document.len() - left.len()) }
            });
            prop_assert_eq!(parse(document.as_bytes()), expected.map_err(ParseError::Syntax));
        }

        #[test]
        fn a_document_is_what_serde_json_reads(document in documents(), is_pretty: bool) {
            let text = if is_pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
            let text = text.unwrap();
            // Some numbers do not come back from serde_json as they went in.
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            let value = parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&rebuilt(&value), &read);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written(&value)).unwrap(), read);
        }

        #[test]
        fn bytes_are_accepted_as_serde_json_accepts_them(bytes in prop::collection::vec(
            prop::sample::select(b"{}[]\",:\\ntu1-.e0fals r\x01\xc3\xa9".to_vec()), 0..24,
        )) {
            let ours = parse(&bytes).is_ok();
            // What it only skips it does not hold against UTF-8.
            let theirs = std::str::from_utf8(&bytes).is_ok()
                && serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
            prop_assert_eq!(ours, theirs);
        }
    }
}
