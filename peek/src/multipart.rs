//! `multipart/form-data`: the field `model`, without keeping the file next to it.
//!
//! Form parsers disagree on everything that RFC 7578 leaves to taste: line ends, preambles, escapes in
//! names, repeated fields. A body must therefore be what every browser and HTTP library sends; whatever
//! could be taken apart differently is refused, so that the field found here is the field the server uses.

mod disposition;

use memchr::memchr2;

use self::disposition::Part;
use crate::media::Charset;
use crate::{
    Excerpt, FormFault, MAX_PART_HEADER_BYTES, Model, NameFault, Notation, Options, PeekError, Peeked, Shape,
    name,
};

/// Walks a form once, chunk by chunk, wherever the chunks are cut.
#[derive(Debug)]
pub(crate) struct Multipart {
    /// Two dashes and the boundary.
    delimiter: Vec<u8>,
    /// Of the fields that declare none.
    charset: Charset,
    max_model_bytes: usize,
    /// Offset of the chunk in the body.
    base: usize,
    state: State,
    line: Line,
    /// Headers of the part being read.
    headers: Vec<u8>,
    /// The value of `model`, with what may turn out to be the delimiter behind it.
    value: Vec<u8>,
    /// Offset of the value of `model`.
    value_at: usize,
    has_model: bool,
    model: Option<Model>,
    failed: Option<PeekError>,
}

/// What the walk expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first delimiter.
    Preamble,
    /// A part's content.
    Content(Part),
    /// What follows a delimiter.
    Boundary(BoundaryEnd),
    /// A part's headers, up to the empty line.
    Headers,
    /// Nothing but line breaks.
    Epilogue,
}

/// What was seen behind a delimiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BoundaryEnd {
    Nothing,
    Dash,
    CarriageReturn,
}

/// How much of a line break and a delimiter has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Inside a line.
    Inside,
    /// Behind a CR and so many bytes of the delimiter.
    Cr(usize),
    /// Behind an LF without a CR, and so many bytes of the delimiter.
    Lf(usize),
    /// Behind a CRLF and so many bytes of the delimiter.
    CrLf(usize),
}

impl Line {
    fn step(self, byte: u8, delimiter: &[u8]) -> Self {
        match (self, byte) {
            (Self::Cr(0), b'\n') => return Self::CrLf(0),
            (_, b'\r') => return Self::Cr(0),
            (_, b'\n') => return Self::Lf(0),
            _ => {}
        }
        let (make, seen): (fn(usize) -> Self, _) = match self {
            Self::Inside => return Self::Inside,
            Self::Cr(seen) => (Self::Cr, seen),
            Self::Lf(seen) => (Self::Lf, seen),
            Self::CrLf(seen) => (Self::CrLf, seen),
        };
        if delimiter[seen] == byte { make(seen + 1) } else { Self::Inside }
    }
}

impl Multipart {
    pub(crate) fn new(boundary: &[u8], charset: Charset, options: &Options) -> Self {
        Self {
            delimiter: [b"--", boundary].concat(),
            charset,
            max_model_bytes: options.max_model_bytes,
            base: 0,
            state: State::Preamble,
            line: Line::CrLf(0),
            headers: Vec::new(),
            value: Vec::new(),
            value_at: 0,
            has_model: false,
            model: None,
            failed: None,
        }
    }

    /// Takes the next bytes of the body; every call behind an error repeats it.
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if let Err(error) = self.walk(chunk) {
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.base += chunk.len();
        Ok(())
    }

    /// Ends the body.
    pub(crate) fn finish(self) -> Result<Peeked, PeekError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.base == 0 {
            return Ok(Peeked::default());
        }
        if self.state != State::Epilogue {
            return Err(PeekError::Form { at: self.base, fault: FormFault::Truncated });
        }
        Ok(Peeked { shape: Shape::Form, model: self.model, ..Peeked::default() })
    }

    fn walk(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        let mut i = 0;
        while i < chunk.len() {
            i = match self.state {
                State::Content(part) => self.content(part, chunk, i)?,
                _ => {
                    let step = match self.state {
                        State::Preamble => self.preamble(chunk[i]),
                        State::Boundary(end) => self.boundary(end, chunk[i]),
                        State::Headers => self.header_byte(chunk[i], self.base + i),
                        _ => epilogue(chunk[i]),
                    };
                    step.map_err(|fault| PeekError::Form { at: self.base + i, fault })?;
                    i + 1
                }
            };
        }
        Ok(())
    }

    fn preamble(&mut self, byte: u8) -> Result<(), FormFault> {
        self.line = self.line.step(byte, &self.delimiter);
        match self.line {
            Line::CrLf(seen) if seen == self.delimiter.len() => {
                self.state = State::Boundary(BoundaryEnd::Nothing);
                Ok(())
            }
            Line::CrLf(_) | Line::Cr(0) => Ok(()),
            _ => Err(FormFault::Preamble),
        }
    }

    fn boundary(&mut self, end: BoundaryEnd, byte: u8) -> Result<(), FormFault> {
        self.state = match (end, byte) {
            (BoundaryEnd::Nothing, b'-') => State::Boundary(BoundaryEnd::Dash),
            (BoundaryEnd::Dash, b'-') => State::Epilogue,
            (BoundaryEnd::Nothing, b'\r') => State::Boundary(BoundaryEnd::CarriageReturn),
            (BoundaryEnd::CarriageReturn, b'\n') => {
                self.headers.clear();
                State::Headers
            }
            _ => return Err(FormFault::BoundaryLine),
        };
        Ok(())
    }

    fn header_byte(&mut self, byte: u8, at: usize) -> Result<(), FormFault> {
        if self.headers.len() == MAX_PART_HEADER_BYTES {
            return Err(FormFault::HeadersTooLong);
        }
        if (byte == b'\n') != self.headers.ends_with(b"\r") {
            return Err(FormFault::Header);
        }
        self.headers.push(byte);
        if self.headers.ends_with(b"\r\n\r\n") || self.headers == b"\r\n" {
            let part = disposition::read(&self.headers, self.charset)?;
            if part != Part::Other && std::mem::replace(&mut self.has_model, true) {
                return Err(FormFault::DuplicateModel);
            }
            self.value_at = at + 1;
            self.state = State::Content(part);
            // A delimiter right here lacks its own line break: some parsers see it, others do not.
            self.line = Line::Lf(0);
        }
        Ok(())
    }

    /// Walks a part's content to its delimiter or the end of the chunk.
    fn content(&mut self, part: Part, chunk: &[u8], from: usize) -> Result<usize, PeekError> {
        let mut i = from;
        while i < chunk.len() {
            if self.line == Line::Inside {
                match memchr2(b'\r', b'\n', &chunk[i..]) {
                    Some(skipped) => i += skipped,
                    None => {
                        i = chunk.len();
                        break;
                    }
                }
            }
            self.line = self.line.step(chunk[i], &self.delimiter);
            i += 1;
            match self.line {
                Line::CrLf(seen) if seen == self.delimiter.len() => {
                    if let Part::Model(charset) = part {
                        self.hold(&chunk[from..i])?;
                        self.close_model(charset)?;
                    }
                    self.state = State::Boundary(BoundaryEnd::Nothing);
                    return Ok(i);
                }
                Line::Cr(seen) | Line::Lf(seen) if seen == self.delimiter.len() => {
                    if part != Part::Other {
                        self.hold(&chunk[from..i])?;
                    }
                    return Err(PeekError::Form { at: self.base + i, fault: FormFault::BareLineBreak });
                }
                _ => {}
            }
        }
        if part != Part::Other {
            self.hold(&chunk[from..i])?;
        }
        Ok(i)
    }

    /// Keeps a piece of the model's value.
    fn hold(&mut self, piece: &[u8]) -> Result<(), PeekError> {
        let limit = self.max_model_bytes;
        // A delimiter and its line break may be held too, until they are known for what they are.
        if self.value.len() + piece.len() > limit.saturating_add(self.delimiter.len() + 2) {
            return Err(PeekError::ModelTooLong { at: self.value_at, limit });
        }
        self.value.extend_from_slice(piece);
        Ok(())
    }

    fn close_model(&mut self, charset: Charset) -> Result<(), PeekError> {
        let len = self.value.len() - self.delimiter.len() - 2;
        let value = &self.value[..len];
        let at = self.value_at;
        if charset != Charset::Utf8 && !value.is_ascii() {
            return Err(PeekError::Form { at, fault: FormFault::ModelNotPlain });
        }
        let fail = |fault| PeekError::ModelName { at, fault, name: Excerpt::of(value) };
        let text = std::str::from_utf8(value).map_err(|_| fail(NameFault::NotUtf8))?;
        name::check(text).map_err(fail)?;
        let model = Model { name: text.to_owned(), range: at..at + len, notation: Notation::FormField };
        self.model = Some(model);
        Ok(())
    }
}

fn epilogue(byte: u8) -> Result<(), FormFault> {
    if matches!(byte, b'\r' | b'\n') { Ok(()) } else { Err(FormFault::Epilogue) }
}

#[cfg(test)]
mod tests;
