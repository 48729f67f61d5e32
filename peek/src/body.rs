//! A body that is not, or no longer, encoded.

use crate::{PeekError, Peeked, multipart::Multipart, scan::Scanner};

/// Reads one kind of body.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and saves an allocation")]
#[derive(Debug)]
pub(crate) enum Body {
    Json(Scanner),
    Form(Box<Multipart>),
    /// Finished.
    Spent,
}

impl Body {
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> Result<(), PeekError> {
        match self {
            Self::Json(scanner) => scanner.feed(chunk),
            Self::Form(form) => form.feed(chunk),
            Self::Spent => Ok(()),
        }
    }

    pub(crate) fn finish(self) -> Result<Peeked, PeekError> {
        match self {
            Self::Json(scanner) => scanner.finish(),
            Self::Form(form) => form.finish(),
            Self::Spent => Ok(Peeked::default()),
        }
    }
}
