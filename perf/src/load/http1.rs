//! An HTTP/1.1 client that costs next to nothing: one vectored write a request, one read an answer.
//!
//! The generator shares a core with the upstream while the gateway has one for itself, so its cost bounds what can
//! be measured. hyper's client needs about three times as much user time for a small request (two tasks and two
//! channels between them); wrk would be as cheap as this, but checks nothing and knows no streams of tokens. Heads and
//! chunks are read as the gateway reads those of its upstreams, which is strictly: what cannot be framed is a `protocol`
//! error.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use penstock_wire::{
    chunked::Decoder,
    head::{self, Framing},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{
    outcome::{Failure, FailureKind},
    target::Stream,
};

/// Bytes of one answer's head at most.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Bytes that one read asks for at least.
const READ_BYTES: usize = 16 << 10;

/// One connection; requests follow each other on it.
pub(crate) struct Connection {
    stream: Stream,
    buffer: BytesMut,
    body: Body,
    stays_open: bool,
    read_at: Instant,
    has_read: bool,
    is_used: bool,
}

/// What is still to come of an answer's body.
#[derive(Debug)]
enum Body {
    /// So many bytes.
    Length(u64),
    Chunks(Decoder),
    UntilClose,
    Done,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) content_type: Bytes,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            body: Body::Done,
            stays_open: true,
            read_at: Instant::now(),
            has_read: false,
            is_used: false,
        }
    }

    /// Sends a request: its head, which ends in an empty line, and its body in two pieces.
    pub(crate) async fn send(&mut self, head: &[u8], body: &[Bytes; 2]) -> Result<(), Failure> {
        self.has_read = false;
        let mut rest = Buf::chain(Buf::chain(head, &*body[0]), &*body[1]);
        while rest.has_remaining() {
            let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
            let filled = rest.chunks_vectored(&mut slices);
            let written = self.stream.write_vectored(&slices[..filled]).await;
            match written.map_err(|error| Failure::io(&error))? {
                0 => return Err(Failure::new(FailureKind::Io, "nothing could be written")),
                written => rest.advance(written),
            }
        }
        self.stream.flush().await.map_err(|error| Failure::io(&error))
    }

    /// Reads the head of the answer, past interim ones.
    pub(crate) async fn head(&mut self) -> Result<Head, Failure> {
        loop {
            if let Some(head) = self.parse_head()? {
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(protocol("a head without end"));
            }
            self.fill().await?;
        }
    }

    /// The next piece of the body, and when it was read; none at its end.
    pub(crate) async fn data(&mut self) -> Result<Option<(Bytes, Instant)>, Failure> {
        loop {
            match &mut self.body {
                Body::Done | Body::Length(0) => {
                    self.body = Body::Done;
                    self.is_used = true;
                    return Ok(None);
                }
                Body::Length(left) if !self.buffer.is_empty() => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                    *left -= taken as u64;
                    return Ok(Some((self.buffer.split_to(taken).freeze(), self.read_at)));
                }
                Body::Chunks(decoder) => {
                    let data =
                        decoder.decode(&mut self.buffer).map_err(|error| protocol(error.to_string()))?;
                    if !data.is_empty() {
                        return Ok(Some((data, self.read_at)));
                    }
                    if decoder.is_done() {
                        self.body = Body::Done;
                        continue;
                    }
                }
                Body::UntilClose if !self.buffer.is_empty() => {
                    return Ok(Some((self.buffer.split().freeze(), self.read_at)));
                }
                Body::Length(_) | Body::UntilClose => {}
            }
            match self.fill().await {
                Err(failure)
                    if failure.kind == FailureKind::Truncated && matches!(self.body, Body::UntilClose) =>
                {
                    self.body = Body::Done;
                }
                filled => filled?,
            }
        }
    }

    /// Whether another request may follow on this connection.
    pub(crate) fn is_reusable(&self) -> bool {
        self.stays_open && matches!(self.body, Body::Done) && self.buffer.is_empty()
    }

    /// Whether the peer may have closed this connection, in good order, before it saw the request: it was used
    /// before, and nothing came back.
    pub(crate) fn was_stale(&self) -> bool {
        self.is_used && !self.has_read
    }

    fn parse_head(&mut self) -> Result<Option<Head>, Failure> {
        // Nothing that is sent here is HEAD.
        let head = head::take(&mut self.buffer, false).map_err(|error| protocol(error.to_string()))?;
        let Some(head) = head else { return Ok(None) };
        self.body = match head.framing {
            Framing::Empty => Body::Done,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunks(Decoder::default()),
            Framing::Close => Body::UntilClose,
        };
        self.stays_open = head.keeps_alive;
        // A copy, so that the buffer which the head is in can be used again.
        let content_type = head.header.headers.get(CONTENT_TYPE);
        let content_type = content_type.map(|it| Bytes::copy_from_slice(it.as_bytes())).unwrap_or_default();
        Ok(Some(Head { status: head.header.status.as_u16(), content_type }))
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        self.buffer.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.buffer).await.map_err(|error| Failure::io(&error))?;
        if read == 0 {
            return Err(Failure::new(FailureKind::Truncated, "the connection was closed"));
        }
        self.has_read = true;
        self.read_at = Instant::now();
        Ok(())
    }
}

fn protocol(detail: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Protocol, detail)
}

#[cfg(test)]
mod tests;
