//! A resumable scanner that finds a `usage` object where the APIs put one and skips everything else.
//!
//! It follows the members of the top level, of `response` (Responses API) and of `message` (Anthropic). A container
//! that does not matter is skipped by counting its own kind of bracket outside strings, which a vectorised search does
//! at many gigabytes a second; whether the other kind balances is the model server's business. Whatever the input,
//! the result depends on its bytes alone and not on where they were cut.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr2, memchr3};

use crate::counts::Counts;

/// The largest `usage` object that is read, in bytes. Real ones take a few hundred.
const MAX_USAGE_BYTES: usize = 4096;

/// The longest of the names looked for.
const MAX_NAME_BYTES: usize = GOOGLE_USAGE.len();

/// What Google calls its usage.
const GOOGLE_USAGE: &str = "usageMetadata";

/// Scans one JSON document.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    state: State,
    /// Whether the current members are those of `response` or `message`.
    is_nested: bool,
    name: Name,
    /// The `usage` object being read.
    captured: Vec<u8>,
    has_empty_choices: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Before the document's opening brace.
    #[default]
    Start,
    /// Before a member, or after the last one.
    Member,
    Name(Text),
    /// Between a name and its value.
    Value,
    /// After the opening bracket of `choices`.
    Choices,
    Scalar,
    Text(Text),
    Skip(Nest),
    Capture(Nest),
    /// After the document's closing brace.
    Closed,
    /// Not a JSON object; nothing in it is looked at.
    Foreign,
}

/// Whether the next byte of a string follows a backslash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Plain,
    Escaped,
}

/// A container being skipped.
#[derive(Clone, Copy, Debug)]
struct Nest {
    is_object: bool,
    depth: u32,
    text: Option<Text>,
}

/// A member's name as written. Too long or escaped, it is none of those looked for.
#[derive(Clone, Copy, Debug, Default)]
struct Name {
    bytes: [u8; MAX_NAME_BYTES],
    len: usize,
}

impl Scanner {
    /// Starts over with another document.
    pub(crate) fn reset(&mut self) {
        self.state = State::Start;
        self.is_nested = false;
        self.has_empty_choices = false;
    }

    /// Whether the document has come to its closing brace.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the document's `choices` is an empty array, as in the event that only brings the usage.
    pub(crate) fn has_empty_choices(&self) -> bool {
        self.has_empty_choices
    }

    /// Scans the next bytes and adds what `usage` says to `counts`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], counts: &mut Counts) {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Start => self.start(bytes),
                State::Member => self.member(bytes),
                State::Name(text) => self.name(text, bytes),
                State::Value => self.value(bytes, counts),
                State::Choices => self.choices(bytes),
                State::Scalar => self.scalar(bytes),
                State::Text(text) => self.text(text, bytes),
                State::Skip(nest) => self.skip(nest, bytes),
                State::Capture(nest) => self.capture(nest, bytes, counts),
                State::Closed | State::Foreign => return,
            };
            bytes = &bytes[used..];
        }
    }

    fn start(&mut self, bytes: &[u8]) -> usize {
        self.state = match bytes[0] {
            b' ' | b'\t' | b'\r' | b'\n' => State::Start,
            b'{' => State::Member,
            _ => State::Foreign,
        };
        1
    }

    fn member(&mut self, bytes: &[u8]) -> usize {
        match bytes[0] {
            b'"' => {
                self.name = Name::default();
                self.state = State::Name(Text::Plain);
            }
            b'}' if self.is_nested => self.is_nested = false,
            b'}' => self.state = State::Closed,
            _ => {}
        }
        1
    }

    fn name(&mut self, text: Text, bytes: &[u8]) -> usize {
        if text == Text::Escaped {
            self.state = State::Name(Text::Plain);
            return 1;
        }
        // Names are short: a search by vectors would take longer.
        let len = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len());
        self.name.push(&bytes[..len]);
        match bytes.get(len) {
            Some(b'"') => self.state = State::Value,
            Some(_) => {
                self.name.len = MAX_NAME_BYTES + 1;
                self.state = State::Name(Text::Escaped);
            }
            None => return len,
        }
        len + 1
    }

    fn value(&mut self, bytes: &[u8], counts: &mut Counts) -> usize {
        let name = self.name.as_bytes();
        self.state = match bytes[0] {
            b' ' | b'\t' | b'\r' | b'\n' | b':' => State::Value,
            b'{' if name == b"usage" || name == GOOGLE_USAGE.as_bytes() => {
                if let (None, used) = Nest::object().advance(&bytes[1..])
                    && used < MAX_USAGE_BYTES
                {
                    // It is all here, as it mostly is, and need not be copied.
                    counts.merge(&bytes[..=used]);
                    self.state = State::Member;
                    return used + 1;
                }
                self.captured.clear();
                self.captured.push(b'{');
                State::Capture(Nest::object())
            }
            b'{' if !self.is_nested && matches!(name, b"response" | b"message") => {
                self.is_nested = true;
                State::Member
            }
            b'[' if !self.is_nested && name == b"choices" => State::Choices,
            b'{' => State::Skip(Nest::object()),
            b'[' => State::Skip(Nest::array()),
            b'"' => State::Text(Text::Plain),
            _ => {
                self.state = State::Scalar;
                return 0;
            }
        };
        1
    }

    fn choices(&mut self, bytes: &[u8]) -> usize {
        match bytes[0] {
            b' ' | b'\t' | b'\r' | b'\n' => 1,
            byte => {
                self.has_empty_choices = byte == b']';
                self.state = State::Skip(Nest::array());
                0
            }
        }
    }

    fn scalar(&mut self, bytes: &[u8]) -> usize {
        match memchr2(b',', b'}', bytes) {
            Some(at) => {
                self.state = State::Member;
                at
            }
            None => bytes.len(),
        }
    }

    fn text(&mut self, text: Text, bytes: &[u8]) -> usize {
        let (text, used) = text.advance(bytes);
        self.state = text.map_or(State::Member, State::Text);
        used
    }

    fn skip(&mut self, nest: Nest, bytes: &[u8]) -> usize {
        let (nest, used) = nest.advance(bytes);
        self.state = nest.map_or(State::Member, State::Skip);
        used
    }

    fn capture(&mut self, nest: Nest, bytes: &[u8], counts: &mut Counts) -> usize {
        let (nest, used) = nest.advance(bytes);
        let room = MAX_USAGE_BYTES + 1 - self.captured.len();
        self.captured.extend_from_slice(&bytes[..used.min(room)]);
        match nest {
            Some(nest) => self.state = State::Capture(nest),
            None => {
                if self.captured.len() <= MAX_USAGE_BYTES {
                    counts.merge(&self.captured);
                }
                self.state = State::Member;
            }
        }
        used
    }
}

impl Text {
    /// The state after some of `bytes` (`None`: the string ended), and how many that were.
    fn advance(self, bytes: &[u8]) -> (Option<Self>, usize) {
        if self == Self::Escaped {
            return (Some(Self::Plain), 1);
        }
        match memchr2(b'"', b'\\', bytes) {
            Some(at) if bytes[at] == b'"' => (None, at + 1),
            Some(at) => (Some(Self::Escaped), at + 1),
            None => (Some(Self::Plain), bytes.len()),
        }
    }
}

impl Nest {
    const fn object() -> Self {
        Self { is_object: true, depth: 1, text: None }
    }

    const fn array() -> Self {
        Self { is_object: false, depth: 1, text: None }
    }

    /// The state after some of `bytes` (`None`: the container ended), and how many that were.
    fn advance(mut self, bytes: &[u8]) -> (Option<Self>, usize) {
        let mut used = 0;
        while used < bytes.len() {
            let rest = &bytes[used..];
            if let Some(text) = self.text {
                let (text, read) = text.advance(rest);
                self.text = text;
                used += read;
                continue;
            }
            let (open, close) = if self.is_object { (b'{', b'}') } else { (b'[', b']') };
            let Some(at) = memchr3(b'"', open, close, rest) else { return (Some(self), bytes.len()) };
            used += at + 1;
            match rest[at] {
                b'"' => self.text = Some(Text::Plain),
                byte if byte == open => self.depth = self.depth.saturating_add(1),
                _ => self.depth -= 1,
            }
            if self.depth == 0 {
                return (None, used);
            }
        }
        (Some(self), used)
    }
}

impl Name {
    fn push(&mut self, more: &[u8]) {
        match self.bytes.get_mut(self.len..self.len + more.len()) {
            Some(room) => {
                room.copy_from_slice(more);
                self.len += more.len();
            }
            None => self.len = MAX_NAME_BYTES + 1,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Whether a whole document may hold a `usage` that is not null. `false` is certain; `true` has to be scanned.
#[inline]
pub(crate) fn may_have_usage(document: &[u8]) -> bool {
    // Without its opening quote: two hits must not share one.
    static USAGE: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"usage"));

    let is_usage = |at: usize| {
        let rest = &document[at + USAGE.needle().len()..];
        let rest_of_name: &[u8] = if rest.starts_with(b"M") { b"Metadata\"" } else { b"\"" };
        rest.starts_with(rest_of_name)
            && member_value(document, at, USAGE.needle().len() + rest_of_name.len())
                .is_some_and(|value| value.starts_with(b"{"))
    };
    USAGE.find_iter(document).any(is_usage)
}

/// Whether a whole document may hold `choices` that are empty. `false` is certain; `true` has to be scanned.
#[inline]
pub(crate) fn may_have_empty_choices(document: &[u8]) -> bool {
    static CHOICES: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"choices\""));

    let is_empty = |at| {
        let items = member_value(document, at, CHOICES.needle().len());
        let items = items.and_then(|value| value.strip_prefix(b"["));
        items.is_some_and(|items| items.trim_ascii_start().starts_with(b"]"))
    };
    CHOICES.find_iter(document).any(is_empty)
}

/// The value of the member whose name, without its opening quote, may be the `name_bytes` at `at`.
#[inline]
fn member_value(document: &[u8], at: usize, name_bytes: usize) -> Option<&[u8]> {
    let is_name = at > 0 && document[at - 1] == b'"';
    let rest = document.get(at + name_bytes..)?;
    let skipped = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b':')).count();
    is_name.then_some(&rest[skipped..])
}
