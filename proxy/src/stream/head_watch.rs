//! What guards a connection while a request's head is awaited: the head's deadline and its limit.
//!
//! Pingora's proxy reads the head of a request by itself, without a deadline for the whole of it, and answers one that it
//! cannot parse in its own words. Both are put right beneath it: when a limit is exceeded, the connection ends for the
//! session, and what the session writes meanwhile is swallowed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use penstock_wire::Io;
use penstock_wire::frames::{Flood, PREFACE_BYTES};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use super::frames::FrameMeter;
use crate::deadline::Timer;
use crate::error::Error;

/// Headers that Pingora's HTTP/1.1 parser has room for.
const PARSED_HEADERS: usize = 256;

/// Bytes of an unread body that are read, and dropped, at a time.
const DROPPED_BYTES: usize = 8 * 1024;

/// Guards a connection whose next head is awaited.
pub(crate) struct HeadWatch {
    /// What the session speaks.
    protocol: Protocol,
    /// When the head has to be here.
    due: Instant,
    /// Whether a client that is late is told so. One that is idle between two requests is not.
    tells_late: bool,
    /// The longest head, in bytes, and the most headers.
    limit_bytes: usize,
    limit_headers: usize,
    /// Bytes and lines that came.
    received: usize,
    lines: usize,
    /// Bytes of the last request's body that are still to be dropped, and when that has to be done.
    unread_bytes: usize,
    drained_by: Instant,
    /// Counts the frames after the preface.
    frames: Option<Box<FrameMeter>>,
    line: RequestLine,
    /// Why the head is refused.
    pub(super) refusal: Option<Error>,
}

/// How far the request line is. Pingora's parser escapes what is illegal in a target and takes it then; other servers
/// refuse it, or end the target there.
#[derive(Clone, Copy)]
enum RequestLine {
    /// Nothing has come of it.
    Awaited,
    /// So many spaces have.
    Coming { spaces: usize },
    /// It is over, or the session has its beginning already.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    /// Of which only the preface is awaited: what follows has deadlines of its own. Its frames are counted.
    Http2,
}

impl HeadWatch {
    /// For the head of an HTTP/1.1 request, due at `due`, of at most `limit_bytes` with at most `limit_headers`.
    pub(crate) fn http1(due: Instant, limit_bytes: usize, limit_headers: usize) -> Self {
        Self {
            protocol: Protocol::Http1,
            due,
            tells_late: false,
            limit_bytes,
            limit_headers,
            received: 0,
            lines: 0,
            unread_bytes: 0,
            drained_by: due,
            frames: None,
            line: RequestLine::Over,
            refusal: None,
        }
    }

    /// For the preface of HTTP/2, due at `due`, and for what follows it: `control_frames` that carry nothing at once.
    pub(crate) fn http2(due: Instant, control_frames: u32) -> Self {
        let frames = Some(Box::new(FrameMeter::new(control_frames, Instant::now())));
        Self { protocol: Protocol::Http2, frames, ..Self::http1(due, PREFACE_BYTES, 0) }
    }

    /// The same, and a client that is late is told so.
    pub(crate) fn telling(self) -> Self {
        Self { tells_late: true, ..self }
    }

    /// The same, and the session has nothing of the head yet: what comes begins with the request line.
    pub(crate) fn at_the_start(self) -> Self {
        Self { line: RequestLine::Awaited, ..self }
    }

    /// The same, after `unread_bytes` of the last request's body, which may take up to `limit`.
    pub(crate) fn after_body(self, unread_bytes: usize, limit: Duration) -> Self {
        Self { unread_bytes, drained_by: Instant::now() + limit, ..self }
    }

    /// Reads more of the head. Its end, to the session, is that of the connection.
    pub(super) fn poll_read(
        &mut self,
        io: &mut Io,
        ahead: &mut BytesMut,
        timer: &mut Timer,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread_bytes > 0 {
            if !ahead.is_empty() {
                let dropped = ahead.split_to(ahead.len().min(self.unread_bytes));
                self.unread_bytes -= dropped.len();
                continue;
            }
            let mut dropped = [0; DROPPED_BYTES];
            let mut dropped = ReadBuf::new(&mut dropped[..self.unread_bytes.min(DROPPED_BYTES)]);
            match Pin::new(&mut *io).poll_read(cx, &mut dropped) {
                Poll::Ready(Ok(())) if dropped.filled().is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => self.unread_bytes -= dropped.filled().len(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return poll_until(timer, cx, self.drained_by).map(Ok),
            }
        }
        if self.protocol == Protocol::Http2 && self.received >= PREFACE_BYTES {
            let before = buffer.filled().len();
            let read = Pin::new(io).poll_read(cx, buffer);
            return match self.count_frames(&buffer.filled()[before..]) {
                Ok(()) => read,
                Err(error) => Poll::Ready(Err(error)),
            };
        }
        if self.protocol == Protocol::Http1 && self.received > self.limit_bytes {
            self.refusal = Some(Error::HeadersTooLarge { limit_bytes: self.limit_bytes });
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = if ahead.is_empty() {
            Pin::new(io).poll_read(cx, buffer)
        } else {
            take(ahead, buffer);
            Poll::Ready(Ok(()))
        };
        match read {
            Poll::Ready(read) => {
                let new = &buffer.filled()[before..];
                let preface = PREFACE_BYTES.saturating_sub(self.received).min(new.len());
                self.received += new.len();
                self.lines += memchr::memchr_iter(b'\n', new).count();
                let goes_on = self.line.goes_on(new);
                self.count_frames(&buffer.filled()[before + preface..])?;
                if !goes_on {
                    buffer.set_filled(before);
                    self.refusal = Some(Error::BadTarget("it has a space or a control character; escape it"));
                }
                Poll::Ready(read)
            }
            Poll::Pending => poll_until(timer, cx, self.due).map(|()| {
                // Nobody is told by HTTP/2, where a request would have to come first, but it is counted.
                if self.tells_late || self.protocol == Protocol::Http2 {
                    self.refusal = Some(Error::HeaderTimeout);
                }
                Ok(())
            }),
        }
    }

    /// Notes bytes that were written to the client.
    pub(super) fn written(&mut self, bytes: usize) {
        if let Some(frames) = &mut self.frames {
            frames.written(bytes);
        }
    }

    fn count_frames(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(frames) = &mut self.frames else { return Ok(()) };
        frames.read(bytes).map_err(|Flood| {
            self.refusal = Some(Error::FrameFlood);
            io::Error::other("more frames that carry nothing than limits.http2ControlFrames allows")
        })
    }

    /// The session cannot parse what came. Its parser has no room for more than so many headers, which alone tells such a
    /// head from a malformed one.
    pub(super) fn refuse_malformed(&mut self) {
        let refusal = || match self.lines > PARSED_HEADERS {
            true => Error::TooManyHeaders { limit: self.limit_headers.min(PARSED_HEADERS) },
            false => Error::BadHeader("the request line or a header is malformed"),
        };
        if self.refusal.is_none() {
            self.refusal = Some(refusal());
        }
    }

    /// Whether what is written meanwhile is the session's own answer to what it cannot parse.
    pub(super) fn swallows_writes(&self) -> bool {
        self.protocol == Protocol::Http1
    }
}

impl RequestLine {
    /// Looks at what comes next of the head. Whether the target may be read on: it is between the line's only two spaces.
    fn goes_on(&mut self, bytes: &[u8]) -> bool {
        let (mut spaces, line) = match self {
            Self::Over => return true,
            // Empty lines before a request are passed over (RFC 9112, 2.2).
            Self::Awaited => match bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) {
                Some(start) => (0, &bytes[start..]),
                None => return true,
            },
            Self::Coming { spaces } => (*spaces, bytes),
        };
        let end = memchr::memchr(b'\n', line);
        let line = &line[..end.unwrap_or(line.len())];
        let mut is_sound = true;
        for byte in line.strip_suffix(b"\r").unwrap_or(line) {
            match byte {
                b' ' => spaces += 1,
                // Before the first space there is no target, and perhaps no HTTP.
                0..=0x1f | 0x7f => is_sound &= spaces == 0,
                _ => {}
            }
        }
        *self = if end.is_some() { Self::Over } else { Self::Coming { spaces } };
        is_sound && spaces <= 2
    }
}

/// Moves as much as there is room for from what was read ahead.
pub(super) fn take(ahead: &mut BytesMut, buffer: &mut ReadBuf<'_>) {
    let taken = ahead.split_to(ahead.len().min(buffer.remaining()));
    buffer.put_slice(&taken);
    if ahead.is_empty() {
        *ahead = BytesMut::new();
    }
}

/// Resolves when `at` has come.
pub(super) fn poll_until(timer: &mut Timer, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
    while Instant::now() < at {
        std::task::ready!(timer.poll(cx, at));
    }
    Poll::Ready(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_ends_at_the_second_space_however_the_line_is_cut() {
        for (line, is_sound) in [
            ("GET /a HTTP/1.1\r\nx: a b c d\r\n", true),
            ("\r\n\r\nGET /a HTTP/1.1\nx: a b c d\n", true),
            ("\x16\x03\x01\x02\r\n", true),
            ("GET /a b HTTP/1.1\r\n", false),
            ("GET  /a HTTP/1.1\r\n", false),
            ("GET /a?b\tc HTTP/1.1\r\n", false),
            ("GET /a?b\x7f HTTP/1.1\r\n", false),
            ("GET /a?b\rc HTTP/1.1\r\n", false),
        ] {
            for cut in 0..line.len() {
                let mut watched = RequestLine::Awaited;
                let (first, second) = line.as_bytes().split_at(cut);
                // A carriage return at the cut could still be the line's end.
                if first.ends_with(b"\r") && !second.starts_with(b"\n") {
                    continue;
                }
                assert_eq!(watched.goes_on(first) && watched.goes_on(second), is_sound, "{line:?} at {cut}");
            }
            assert!(RequestLine::Over.goes_on(line.as_bytes()));
        }
    }
}
