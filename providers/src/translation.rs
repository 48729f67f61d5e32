//! What reads an upstream's answer and what writes a client's, whichever APIs these have.

use std::borrow::Cow;
use std::sync::Arc;

use crate::answer::{Event, Failure};

/// The longest body of an answer that does not stream, in bytes: it is read as a whole. Embeddings of a batch are long.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// What the writer of an answer has to know of its request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model, as the client called it.
    pub model: Arc<str>,
    /// Whether the answer is streamed.
    pub is_stream: bool,
    /// Whether the client wants a stream's usage.
    pub wants_usage: bool,
    /// Now, in seconds since 1970.
    pub now: u64,
    /// Identifies the request: what ids of the answer are made of where the upstream has none.
    pub request_id: Arc<str>,
}

/// An upstream broke off, or sent what cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Broken {
    /// It says itself that it failed, before any content.
    #[error("the upstream failed: {}", .0.message.decoded())]
    Failed(Failure<'static>),
    /// What it sent is not what its API has.
    #[error("the upstream's answer cannot be read: {0}")]
    Unreadable(String),
    /// Its answer ended before its end.
    #[error("the upstream's answer broke off")]
    Incomplete,
}

/// Reads a successful response of an upstream's API, a stream or a whole body.
pub(crate) trait ReadAnswer: Send + Sync {
    /// Reads a piece, and hands on what happens in it. Never called again after `is_end`.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&mut self, piece: &[u8], is_end: bool, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken>;

    /// Whether the answer's own end has been read: the last event of a stream, the whole of a body.
    fn is_complete(&self) -> bool;

    /// Bytes of a body that are kept until all of it is here.
    fn held_bytes(&self) -> usize {
        0
    }
}

/// Writes a response of a client's API, a stream or a whole body.
pub(crate) trait WriteAnswer: Send + Sync {
    /// Writes what happens. [`Event::Error`] ends a stream as that API has it; bodies that are written as a whole are not
    /// told of it.
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>);

    /// Writes the end of a complete answer: the last events, or the whole body.
    fn end(&mut self, out: &mut Vec<u8>);
}

/// Puts a body together that is read as a whole.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    bytes: Vec<u8>,
}

impl Whole {
    /// Bytes that are kept.
    pub(crate) fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes a piece; gives the body with its last one.
    ///
    /// # Errors
    /// It is too long.
    pub(crate) fn feed<'p>(
        &mut self,
        piece: &'p [u8],
        is_end: bool,
    ) -> Result<Option<Cow<'p, [u8]>>, Broken> {
        if self.bytes.len() + piece.len() > MAX_BODY_BYTES {
            return Err(Broken::Unreadable(format!("it is longer than {MAX_BODY_BYTES} bytes")));
        }
        if is_end && self.bytes.is_empty() {
            return Ok(Some(Cow::Borrowed(piece)));
        }
        self.bytes.extend_from_slice(piece);
        Ok(is_end.then(|| Cow::Owned(std::mem::take(&mut self.bytes))))
    }
}
