//! The resumable JSON scanner.
//!
//! It is a lexer for the outermost object and a bracket counter below it: it knows exactly where strings
//! begin and end and which member it is in, and leaves numbers and literals to the model server. A full
//! parser was turned down because it needs the whole body in one piece and does several times the work; an
//! early exit behind the first `model` because a second one further on would be a way round access rules.
//!
//! What is ambiguous about `model` is refused. What is merely wrong JSON is noted and passes: see
//! [`after_break`] for how a break is kept from hiding a second `model`.

mod after_break;
mod billing;
mod member;
mod members;
mod nest;
mod prelude;
mod text;
mod value;

use std::ops::Range;

pub(crate) use self::members::{Member as ObjectMember, members};

use self::{
    after_break::AfterBreak,
    billing::Billing,
    member::{Fields, Member},
    nest::Nest,
    prelude::{Opening, Prelude},
    text::{Text, TextEnd},
};
use crate::{Break, MAX_KEY_BYTES, Malformed, Options, PeekError, Peeked, Shape, blocks::Blocks};

/// Bytes scanned before they are hashed: small enough that hashing finds them in the first-level cache.
const WINDOW_BYTES: usize = 16 * 1024;

/// Walks a JSON body once, chunk by chunk, wherever the chunks are cut.
///
/// It allocates for the model, the user and the block hashes, never for a chunk.
#[derive(Debug)]
pub(crate) struct Scanner {
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
    fields: Fields,
    blocks: Blocks,
    billing: Billing,
    billing_header: Option<Range<usize>>,
    after_break: AfterBreak,
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
    /// After a break: only looks for what could be a second model.
    AfterBreak,
    /// Not an object: nothing to find.
    Ignored,
}

impl Scanner {
    /// A scanner for one body that is declared to be JSON.
    pub(crate) fn new(options: &Options) -> Self {
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
            fields: Fields::default(),
            blocks: Blocks::new(options),
            billing: Billing::default(),
            billing_header: None,
            after_break: AfterBreak::default(),
            shape: Shape::Empty,
            malformed: None,
            failed: None,
        }
    }

    /// A scanner for a body that is not declared to be JSON: it is one if it starts with `{`, and opaque
    /// otherwise. Model servers that never look at `Content-Type` would read it, so the gateway does.
    pub(crate) fn sniffing(options: &Options) -> Self {
        Self { is_declared: false, ..Self::new(options) }
    }

    /// Makes room for what a body of so many bytes can yield, so that nothing grows while it comes in. The
    /// room is bounded by the options, whatever a client claims.
    pub(crate) fn expect_bytes(&mut self, body_bytes: usize) {
        self.blocks.expect(body_bytes);
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// As soon as the body must be refused; every later call repeats the error.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
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
    pub(crate) fn finish(mut self) -> Result<Peeked, PeekError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Start if !self.prelude.is_blank() => self.shape = Shape::Opaque,
            State::Start | State::Tail | State::AfterBreak | State::Ignored => {}
            _ => self.note(self.base, Break::Truncated)?,
        }
        let (blocks, prompt_bytes) = self.blocks.finish();
        let Fields { model, stream, user, answers, .. } = self.fields;
        Ok(Peeked {
            shape: self.shape,
            max_tokens: self.fields.max_tokens.resolve(),
            answers,
            model,
            stream,
            user,
            prompt_bytes,
            blocks,
            billing_header: self.billing_header,
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
                State::AfterBreak => self.after_break.look(window, i, self.base)?,
                State::Ignored => window.len(),
            }
        }
        Ok(())
    }

    fn start(&mut self, window: &[u8], i: usize) -> Result<usize, PeekError> {
        let at = self.base + i;
        match self.prelude.step(window[i], at, self.is_declared) {
            Opening::Skip => {}
            Opening::Object => {
                self.shape = Shape::Object;
                self.state = State::Key { is_after_comma: false };
            }
            Opening::NotUtf8 => return Err(PeekError::NotUtf8Json { at }),
            Opening::NoJson if self.is_declared => {
                self.shape = Shape::OtherJson;
                return self.broken(i, Break::Byte);
            }
            Opening::OtherJson | Opening::NoJson => {
                self.shape = if self.is_declared { Shape::OtherJson } else { Shape::Opaque };
                self.state = State::Ignored;
            }
        }
        Ok(i + 1)
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
        let skipped = self.text.skip(window, from);
        let raw = match skipped {
            TextEnd::Closed(end) => &window[from..end - 1],
            TextEnd::Open => &window[from..],
            TextEnd::BadEscape(at) => &window[from..at],
        };
        if self.held.len() + raw.len() > MAX_KEY_BYTES {
            return Err(PeekError::KeyTooLong { at: self.token_at, limit: MAX_KEY_BYTES });
        }
        let end = match skipped {
            TextEnd::Closed(end) => end,
            TextEnd::Open => {
                self.held.extend_from_slice(raw);
                return Ok(window.len());
            }
            TextEnd::BadEscape(at) => {
                return Err(member::bad_escape(self.token_at, &self.held, &window[from..=at]));
            }
        };
        self.member = if self.held.is_empty() {
            member::classify(raw, self.token_at)?
        } else {
            self.held.extend_from_slice(raw);
            member::classify(&self.held, self.token_at)?
        };
        self.held.clear();
        self.fields.begin(self.member, self.token_at)?;
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

    /// Gives up on structure from the byte at `i` on.
    fn broken(&mut self, i: usize, what: Break) -> Result<usize, PeekError> {
        self.note(self.base + i, what)?;
        self.after_break = AfterBreak::new(Malformed { at: self.base + i, what });
        self.state = State::AfterBreak;
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
}

#[cfg(test)]
mod tests;
