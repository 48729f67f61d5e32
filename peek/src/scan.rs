//! The resumable JSON scanner.
//!
//! It is a lexer for the outermost object and a bracket counter below it: it knows exactly where strings
//! begin and end and which member it is in, and leaves numbers and literals to the model server. A full
//! parser was turned down because it needs the whole body in one piece and does several times the work; an
//! early exit behind the first `model` because a second one further on would be a way round access rules.
//!
//! What is ambiguous about `model` is refused. What is merely wrong JSON is noted and passes: see
//! [`wary`] for how a break is kept from hiding a second `model`.

mod member;
mod nest;
mod text;
mod wary;

use self::{
    member::{Found, Member},
    nest::{Nest, NestEnd},
    text::{Text, TextEnd},
    wary::Wary,
};
use crate::{
    Break, MAX_KEY_BYTES, MAX_USER_BYTES, Malformed, Options, PeekError, Peeked, Shape, blocks::Blocks,
};

/// Bytes scanned before they are hashed: small enough that hashing finds them in the first-level cache.
const WINDOW_BYTES: usize = 16 * 1024;

/// One raw byte of a string grows by at most this much when it is escaped (`\u0041`).
const ESCAPED_BYTES: usize = 6;

/// Walks a JSON body once, chunk by chunk, wherever the chunks are cut.
///
/// It allocates for the model, the user and the block hashes, never for a chunk.
#[derive(Debug)]
pub struct Scanner {
    max_model_bytes: usize,
    /// Whether `Content-Type` says JSON; otherwise only a leading `{` does.
    is_declared: bool,
    /// Offset of the window in the body.
    base: usize,
    state: State,
    prelude: Prelude,
    text: Text,
    nest: Nest,
    /// The member whose name or value is being read.
    member: Member,
    /// Offset of the first byte of the name or value being read.
    token_at: usize,
    /// The part of a name, value or scalar that lies in earlier windows.
    held: Vec<u8>,
    found: Found,
    blocks: Blocks,
    wary: Wary,
    shape: Shape,
    malformed: Option<Malformed>,
    failed: Option<PeekError>,
}

/// What the scanner expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The document.
    Start,
    /// A member's name or the end of the object; a name only behind a comma.
    Key {
        is_after_comma: bool,
    },
    /// The rest of a member's name.
    KeyText,
    Colon,
    Value,
    /// The rest of a string value.
    ValueText,
    /// The rest of an array or object.
    ValueNested,
    /// The rest of a number or literal.
    ValueScalar,
    /// A comma or the end of the object.
    Next,
    /// Nothing but white space.
    Tail,
    /// Behind a break: only looks out for what could be a second model.
    Wary,
    /// Not an object: nothing to find.
    Ignored,
}

/// What came before the document's first byte.
#[derive(Debug, Default)]
struct Prelude {
    /// Bytes of a UTF-8 byte order mark seen at the very start.
    bom_bytes: usize,
    /// Whether there were bytes as UTF-16 and UTF-32 have them.
    is_odd: bool,
}

/// The UTF-8 byte order mark. RFC 8259 forbids to send it and allows to ignore it; Python does.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

impl Scanner {
    /// A scanner for one body that is declared to be JSON.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            max_model_bytes: options.max_model_bytes,
            is_declared: true,
            base: 0,
            state: State::Start,
            prelude: Prelude::default(),
            text: Text::default(),
            nest: Nest::new(options.max_depth),
            member: Member::Other,
            token_at: 0,
            held: Vec::new(),
            found: Found::default(),
            blocks: Blocks::new(options),
            wary: Wary::default(),
            shape: Shape::Empty,
            malformed: None,
            failed: None,
        }
    }

    /// A scanner for a body that is not declared to be JSON: it is one if it starts with `{`, and opaque
    /// otherwise. Model servers that never look at `Content-Type` would read it, so the gateway does.
    #[must_use]
    pub fn sniffing(options: &Options) -> Self {
        Self { is_declared: false, ..Self::new(options) }
    }

    /// Makes room for what a body of so many bytes can yield, so that nothing grows while it comes in. The
    /// room is bounded by the options, whatever a client claims.
    pub fn expect_bytes(&mut self, body_bytes: usize) {
        self.blocks.expect(body_bytes);
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// As soon as the body must be refused; every later call repeats the error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        for window in chunk.chunks(WINDOW_BYTES) {
            if self.state == State::Ignored {
                return Ok(());
            }
            if let Err(error) = self.walk(window) {
                self.failed = Some(error.clone());
                return Err(error);
            }
            self.base += window.len();
        }
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// A body that ends within its model, or the error of an earlier `feed`, again.
    pub fn finish(mut self) -> Result<Peeked, PeekError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Start if self.prelude.is_odd => self.shape = Shape::Opaque,
            State::Start | State::Tail | State::Wary | State::Ignored => {}
            _ => self.note(self.base, Break::Truncated)?,
        }
        let (blocks, prompt_bytes) = self.blocks.finish();
        let Found { model, stream, user, .. } = self.found;
        Ok(Peeked {
            shape: self.shape,
            max_tokens: self.found.max_tokens.resolve(),
            model,
            stream,
            user,
            prompt_bytes,
            blocks,
            malformed: self.malformed,
        })
    }

    /// Walks one window to its end.
    fn walk(&mut self, window: &[u8]) -> Result<(), PeekError> {
        let mut i = 0;
        while i < window.len() {
            i = match self.state {
                State::Start => self.start(window, i)?,
                State::Key { is_after_comma } => self.key(window, i, is_after_comma)?,
                State::KeyText => self.key_text(window, i)?,
                State::Colon => self.colon(window, i)?,
                State::Value => self.value(window, i)?,
                State::ValueText => self.value_text(window, i, i)?,
                State::ValueNested => self.value_nested(window, i, i)?,
                State::ValueScalar => self.value_scalar(window, i)?,
                State::Next => self.next(window, i)?,
                State::Tail => self.tail(window, i)?,
                State::Wary => self.wary.look(window, i, self.base)?,
                State::Ignored => window.len(),
            }
        }
        Ok(())
    }

    fn start(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        let at = self.base + i;
        let byte = window[i];
        if at == self.prelude.bom_bytes && BOM.get(at) == Some(&byte) {
            self.prelude.bom_bytes += 1;
            return Ok(i + 1);
        }
        let is_odd = self.prelude.is_odd || !matches!(self.prelude.bom_bytes, 0 | 3);
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => return Ok(i + 1),
            0 | 0xFE | 0xFF if self.is_declared => return Err(PeekError::NotUtf8Json { at }),
            0 | 0xFE | 0xFF | 0xEF | 0xBB | 0xBF if !self.is_declared => {
                self.prelude.is_odd = true;
                return Ok(i + 1);
            }
            b'{' if is_odd => return Err(PeekError::NotUtf8Json { at }),
            b'{' => {
                self.shape = Shape::Object;
                self.state = State::Key { is_after_comma: false };
                return Ok(i + 1);
            }
            _ => {}
        }
        if !self.is_declared {
            self.shape = Shape::Opaque;
            self.state = State::Ignored;
            return Ok(window.len());
        }
        self.shape = Shape::OtherJson;
        if is_odd || !matches!(byte, b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') {
            return self.broken(i, Break::Byte);
        }
        self.state = State::Ignored;
        Ok(window.len())
    }

    fn key(&mut self, window: &[u8], i: usize, is_after_comma: bool) -> Result<usize, PeekError> {
        match window[i] {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => {
                self.token_at = self.base + i;
                self.state = State::KeyText;
                return self.key_text(window, i + 1);
            }
            b'}' => {
                if is_after_comma {
                    self.note(self.base + i, Break::Comma)?;
                }
                self.state = State::Tail;
            }
            b',' => self.note(self.base + i, Break::Comma)?,
            0 => return Err(PeekError::NotUtf8Json { at: self.base + i }),
            _ => return self.broken(i, Break::Byte),
        }
        Ok(i + 1)
    }

    fn key_text(&mut self, window: &[u8], from: usize) -> Result<usize, PeekError> {
        let (end, is_closed) = match self.text.skip(window, from) {
            TextEnd::Closed(end) => (end, true),
            TextEnd::Open => (window.len(), false),
            TextEnd::BadEscape(at) => {
                return Err(member::bad_escape(self.token_at, &self.held, &window[from..=at]));
            }
        };
        let raw = &window[from..end - usize::from(is_closed)];
        if self.held.len() + raw.len() > MAX_KEY_BYTES {
            return Err(PeekError::KeyTooLong { at: self.token_at, limit: MAX_KEY_BYTES });
        }
        if !is_closed {
            self.held.extend_from_slice(raw);
            return Ok(end);
        }
        self.member = if self.held.is_empty() {
            member::classify(raw, self.token_at)?
        } else {
            self.held.extend_from_slice(raw);
            member::classify(&self.held, self.token_at)?
        };
        self.held.clear();
        self.found.meet(self.member, self.token_at)?;
        self.state = State::Colon;
        Ok(end)
    }

    fn colon(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        match window[i] {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b':' => self.state = State::Value,
            _ => return self.broken(i, Break::Byte),
        }
        Ok(i + 1)
    }

    fn value(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
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
    fn value_text(&mut self, window: &[u8], start: usize, from: usize) -> Result<usize, PeekError> {
        let (end, is_closed) = match self.text.skip(window, from) {
            TextEnd::Closed(end) => (end, true),
            TextEnd::Open => (window.len(), false),
            TextEnd::BadEscape(at) => return self.broken_value(window, start, at, Break::Escape),
        };
        let raw = &window[from..end - usize::from(is_closed)];
        match self.member {
            Member::Prompt => self.blocks.update(&window[start..end]),
            Member::Model => self.hold_model(raw)?,
            Member::User => self.hold_user(raw),
            _ => {}
        }
        if is_closed {
            match self.member {
                Member::Model => {
                    let range = self.token_at..self.base + end;
                    self.found.model_text(&self.held, range, self.max_model_bytes)?;
                }
                Member::User => self.found.user_text(&self.held),
                _ => {}
            }
            self.close_value();
        }
        Ok(end)
    }

    fn value_nested(&mut self, window: &[u8], start: usize, from: usize) -> Result<usize, PeekError> {
        let (end, is_closed) = match self.nest.walk(window, from, &mut self.text) {
            NestEnd::Closed(end) => (end, true),
            NestEnd::Open => (window.len(), false),
            NestEnd::TooDeep(at) => {
                return Err(PeekError::TooDeep { at: self.base + at, limit: self.nest.limit() });
            }
            NestEnd::Broken(at, what) => return self.broken_value(window, start, at, what),
        };
        if self.member == Member::Prompt {
            self.blocks.update(&window[start..end]);
        }
        if is_closed {
            self.close_value();
        }
        Ok(end)
    }

    fn value_scalar(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        let rest = &window[i..];
        let len = rest.iter().position(|&byte| !is_scalar(byte)).unwrap_or(rest.len());
        member::hold_scalar(&mut self.held, &rest[..len]);
        if len < rest.len() {
            self.found.scalar(self.member, &self.held, self.token_at)?;
            self.close_value();
        }
        Ok(i + len)
    }

    fn close_value(&mut self) {
        self.held.clear();
        self.member = Member::Other;
        self.state = State::Next;
    }

    fn next(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        match window[i] {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b',' => self.state = State::Key { is_after_comma: true },
            b'}' => self.state = State::Tail,
            _ => return self.broken(i, Break::Byte),
        }
        Ok(i + 1)
    }

    fn tail(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        match window[i] {
            b' ' | b'\t' | b'\n' | b'\r' => Ok(i + 1),
            _ => self.broken(i, Break::Trailing),
        }
    }

    /// Gives up on structure within a value that starts at `start` in this window and breaks at `i`.
    fn broken_value(
        &mut self,
        window: &[u8],
        start: usize,
        i: usize,
        what: Break,
    ) -> Result<usize, PeekError> {
        if self.member == Member::Prompt {
            self.blocks.update(&window[start..i]);
        }
        self.broken(i, what)
    }

    /// Gives up on structure from the byte at `i` on.
    fn broken(&mut self, i: usize, what: Break) -> Result<usize, PeekError> {
        self.note(self.base + i, what)?;
        self.wary = Wary::behind(Malformed { at: self.base + i, what });
        self.state = State::Wary;
        Ok(i)
    }

    /// Notes a departure from JSON, unless it leaves the model in doubt.
    fn note(&mut self, at: usize, what: Break) -> Result<(), PeekError> {
        if self.member == Member::Model {
            return Err(PeekError::ModelBroken { at: self.token_at, what });
        }
        self.malformed.get_or_insert(Malformed { at, what });
        Ok(())
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
/// No literal has an `m`, so that a bare `model` cannot pass for one: see [`wary`].
fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte, b'm' | b'M') || matches!(byte, b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests;
