//! Answers: read from upstreams, and written for clients. Streams and whole bodies have the same members in a `delta` and
//! in a `message`.

mod calls;
mod places;
mod read;
mod stream;
mod usage;
mod whole;

use crate::answer::Event;
use crate::translation::{Asked, WriteAnswer};

pub(crate) use self::read::Reader;

/// Writes an answer for a client.
pub(crate) enum Writer {
    /// As a stream.
    Stream(Box<stream::Stream>),
    /// As one body.
    Whole(Box<whole::Body>),
}

impl Writer {
    /// A writer of the answer to what was `asked`.
    pub(crate) fn new(asked: &Asked) -> Self {
        if asked.is_stream {
            Self::Stream(Box::new(stream::Stream::new(asked)))
        } else {
            Self::Whole(Box::new(whole::Body::new(asked)))
        }
    }
}

impl WriteAnswer for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Stream(stream) => stream.write(&event, out),
            Self::Whole(body) => body.take(event),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Stream(stream) => stream.end(out),
            Self::Whole(body) => body.end(out),
        }
    }
}

#[cfg(test)]
mod tests;
