//! An HTTP/1.1 client that costs next to nothing: one vectored write a request, one read an answer.
//!
//! The generator shares a core with the upstream while the gateway has one for itself, so its cost bounds what can
//! be measured. hyper's client needs about three times as much user time for a small request (two tasks and two
//! channels between them); wrk would be as cheap as this, but checks nothing and knows no streams of tokens. It is
//! strict: what it cannot frame is a `protocol` error.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{
    outcome::{Failure, FailureKind},
    target::Stream,
};

/// Header fields of one answer at most.
const MAX_HEADERS: usize = 100;
/// Bytes of one answer's head at most.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Bytes that one read asks for at least.
const READ_BYTES: usize = 16 << 10;

/// One connection; requests follow each other on it.
pub(crate) struct Connection {
    stream: Stream,
    buffer: BytesMut,
    framing: Framing,
    stays_open: bool,
    read_at: Instant,
    has_read: bool,
    is_used: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(u64),
    /// At the size line of a chunk.
    ChunkSize,
    /// So many bytes of the chunk's data are left.
    ChunkData(u64),
    /// At the line end behind a chunk's data.
    ChunkEnd,
    /// In the trailer section behind the last chunk.
    Trailers,
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
            framing: Framing::Done,
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
            match self.framing {
                Framing::Done | Framing::Length(0) => {
                    self.framing = Framing::Done;
                    self.is_used = true;
                    return Ok(None);
                }
                Framing::UntilClose if self.buffer.is_empty() => match self.fill().await {
                    Err(failure) if failure.kind == FailureKind::Truncated => self.framing = Framing::Done,
                    other => other?,
                },
                Framing::UntilClose => return Ok(Some((self.buffer.split().freeze(), self.read_at))),
                Framing::Length(left) => {
                    let (data, left) = self.take(left).await?;
                    self.framing = Framing::Length(left);
                    return Ok(Some((data, self.read_at)));
                }
                Framing::ChunkData(0) => self.framing = Framing::ChunkEnd,
                Framing::ChunkData(left) => {
                    let (data, left) = self.take(left).await?;
                    self.framing = Framing::ChunkData(left);
                    return Ok(Some((data, self.read_at)));
                }
                Framing::ChunkSize | Framing::ChunkEnd | Framing::Trailers => {
                    let line = self.line().await?;
                    self.framing = after_line(self.framing, &line)?;
                }
            }
        }
    }

    /// Whether another request may follow on this connection.
    pub(crate) fn is_reusable(&self) -> bool {
        self.stays_open && self.framing == Framing::Done && self.buffer.is_empty()
    }

    /// Whether the peer may have closed this connection, in good order, before it saw the request: it was used
    /// before, and nothing came back.
    pub(crate) fn was_stale(&self) -> bool {
        self.is_used && !self.has_read
    }

    fn parse_head(&mut self) -> Result<Option<Head>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.buffer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(protocol(error.to_string())),
        };
        let status = response.code.unwrap_or(0);
        let mut framing = Framing::UntilClose;
        let mut stays_open = response.version == Some(1);
        let mut content_type = Bytes::new();
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") && framing != Framing::ChunkSize {
                let length = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
                framing = Framing::Length(length.ok_or_else(|| protocol("a bad content-length"))?);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(protocol("a transfer-encoding other than chunked"));
                }
                framing = Framing::ChunkSize;
            } else if header.name.eq_ignore_ascii_case("connection") {
                stays_open &= !header.value.eq_ignore_ascii_case(b"close");
            } else if header.name.eq_ignore_ascii_case("content-type") {
                content_type = Bytes::copy_from_slice(header.value);
            }
        }
        if status == 204 || status == 304 || (100..200).contains(&status) {
            framing = Framing::Done;
        }
        self.framing = framing;
        self.stays_open = stays_open && framing != Framing::UntilClose;
        self.buffer.advance(length);
        Ok(Some(Head { status, content_type }))
    }

    /// What is buffered, up to `left` bytes, and how many are left after it; reads if nothing is.
    async fn take(&mut self, left: u64) -> Result<(Bytes, u64), Failure> {
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
        Ok((self.buffer.split_to(taken).freeze(), left - taken as u64))
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<BytesMut, Failure> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let mut line = self.buffer.split_to(end + 1);
                line.truncate(end);
                if line.last() == Some(&b'\r') {
                    line.truncate(end - 1);
                }
                return Ok(line);
            }
            if self.buffer.len() > MAX_HEAD_BYTES {
                return Err(protocol("a line without end"));
            }
            self.fill().await?;
        }
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

fn after_line(framing: Framing, line: &[u8]) -> Result<Framing, Failure> {
    Ok(match framing {
        Framing::ChunkEnd if line.is_empty() => Framing::ChunkSize,
        Framing::ChunkEnd => return Err(protocol("data behind the end of a chunk")),
        Framing::Trailers if line.is_empty() => Framing::Done,
        Framing::Trailers => Framing::Trailers,
        _ => {
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
            match size.ok_or_else(|| protocol("a bad chunk size"))? {
                0 => Framing::Trailers,
                size => Framing::ChunkData(size),
            }
        }
    })
}

fn protocol(detail: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Protocol, detail)
}

#[cfg(test)]
mod tests;
