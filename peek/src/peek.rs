//! The front: chooses how to read a body by its headers and first bytes.
//!
//! A `Content-Type` other than a form's does not decide whether a body is JSON: `curl -d` calls everything
//! a form, and servers that never look at the header read JSON all the same. A first `{` decides.

use crate::{Options, PeekError, Peeked, media::Media, multipart::Multipart, scan::Scanner};

/// Reads one request body of any kind, decoded (see [`Decoder`](crate::Decoder)).
///
/// ```
/// # fn main() -> Result<(), penstock_peek::PeekError> {
/// use penstock_peek::{Options, Peek};
///
/// let mut peek = Peek::new(Some(b"application/json"), &Options::default())?;
/// peek.feed(br#"{"model": "mist"#)?;
/// peek.feed(br#"ral:latest", "stream": true}"#)?;
/// let peeked = peek.finish()?;
/// let model = peeked.model.expect("the body has a model");
/// assert_eq!(model.name, "mistral:latest");
/// assert_eq!(model.range, 10..26);
/// assert_eq!(peeked.stream, Some(true));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Peek(Body);

#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and saves an allocation")]
#[derive(Debug)]
enum Body {
    Json(Scanner),
    Form(Box<Multipart>),
}

impl Peek {
    /// Prepares for a body of this `Content-Type` (`None` where the header is absent). Two such headers are the caller's
    /// to refuse.
    ///
    /// # Errors
    /// A charset that cannot be read, or a form without a usable boundary.
    pub fn new(content_type: Option<&[u8]>, options: &Options) -> Result<Self, PeekError> {
        Ok(Self(match content_type.map_or(Ok(Media::Other), Media::parse)? {
            Media::Json => Body::Json(Scanner::new(options)),
            Media::Other => Body::Json(Scanner::sniffing(options)),
            Media::Form { boundary, charset } => {
                Body::Form(Box::new(Multipart::new(&boundary, charset, options)))
            }
        }))
    }

    /// Whether the body is taken for a form.
    pub fn is_form(&self) -> bool {
        matches!(self.0, Body::Form(_))
    }

    /// Makes room for what a body of so many bytes (its `Content-Length`) can yield, so that nothing grows
    /// while it comes in. The room is bounded by the options, whatever a client claims.
    pub fn expect_bytes(&mut self, body_bytes: usize) {
        if let Body::Json(scanner) = &mut self.0 {
            scanner.expect_bytes(body_bytes);
        }
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// As soon as the body must be refused; every later call repeats the error.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        match &mut self.0 {
            Body::Json(scanner) => scanner.feed(chunk),
            Body::Form(form) => form.feed(chunk),
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// A body that turns out to be incomplete or ambiguous, or the error of an earlier `feed`, again.
    pub fn finish(self) -> Result<Peeked, PeekError> {
        match self.0 {
            Body::Json(scanner) => scanner.finish(),
            Body::Form(form) => form.finish(),
        }
    }
}
