//! HTTP/1.1 to an upstream: one connection, one request at a time.
//!
//! The head and what there is of the body go out in one vectored write. Reading and writing are polled together, so an
//! answer that comes before the body was sent is seen, and an upstream that reads nothing blocks nobody.
//!
//! A connection is used again only after a response that was framed without doubt and read to its end, a request that
//! was sent to its end, and not a byte beyond.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use crate::chunked::Decoder;
use crate::error::Error;
use crate::exchange::{BodyFraming, Event, Outgoing};
use crate::head::{self, Framing, Head};
use crate::io::Io;

/// Room that a read finds at least, and at most, in bytes: the first holds most heads with what follows them.
const MIN_READ_BYTES: usize = 4 * 1024;
const MAX_READ_BYTES: usize = 64 * 1024;

/// Room for more of a response without a length, in bytes. It is a stream as a rule: thousands are open at once, and their
/// events have some hundred bytes.
const STREAM_READ_BYTES: usize = 1024;

/// Pieces that one write hands to the system.
const MAX_SLICES: usize = 32;

/// Pieces that are together no longer than this are joined where they cannot be written at once, in bytes.
const MAX_JOINED_BYTES: usize = 16 * 1024;

/// A connection that speaks HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Http1 {
    io: Io,
    received: BytesMut,
    /// How much the next read asks for, in bytes.
    read_bytes: usize,
    unsent: VecDeque<Bytes>,
    request: Request,
    response: Response,
    /// Since when the upstream has taken nothing of what is to be sent.
    stalled_since: Option<Instant>,
    keeps_alive: bool,
    has_received: bool,
}

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    /// More of the body is to come.
    Open { is_chunked: bool },
    /// All of it was handed over.
    Whole,
    /// It could not be sent to its end.
    Broken,
}

/// How far the response is.
#[derive(Debug)]
enum Response {
    Head { is_head: bool },
    Length { left: u64 },
    Chunked(Decoder),
    Close,
    Done,
}

impl Http1 {
    /// Over a new connection.
    pub(crate) fn new(io: Io) -> Self {
        Self {
            io,
            received: BytesMut::new(),
            read_bytes: MIN_READ_BYTES,
            unsent: VecDeque::new(),
            request: Request::Whole,
            response: Response::Done,
            stalled_since: None,
            keeps_alive: true,
            has_received: false,
        }
    }

    /// Starts a request with the part of its body that is here. Nothing is sent before [`Self::poll_event`].
    pub(crate) fn start(&mut self, outgoing: &Outgoing, body: impl IntoIterator<Item = Bytes>) {
        self.response = Response::Head { is_head: outgoing.method == Method::HEAD };
        self.has_received = false;
        self.stalled_since = None;
        self.unsent.push_back(outgoing.to_wire());
        self.request = match outgoing.framing {
            BodyFraming::Whole => Request::Whole,
            BodyFraming::Length => Request::Open { is_chunked: false },
            BodyFraming::Chunked => Request::Open { is_chunked: true },
        };
        for chunk in body {
            self.push(chunk);
        }
    }

    /// Hands over more of the body.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() || self.request == Request::Broken {
            return;
        }
        if self.request == (Request::Open { is_chunked: true }) {
            self.unsent.push_back(format!("{:x}\r\n", chunk.len()).into());
            self.unsent.extend([chunk, Bytes::from_static(b"\r\n")]);
        } else {
            self.unsent.push_back(chunk);
        }
    }

    /// Tells that the body is whole.
    pub(crate) fn finish(&mut self) {
        if self.request == (Request::Open { is_chunked: true }) {
            self.unsent.push_back(Bytes::from_static(b"0\r\n\r\n"));
        }
        if self.request != Request::Broken {
            self.request = Request::Whole;
        }
    }

    /// Whether everything that was handed over is sent, and more of the body can be.
    pub(crate) fn wants_body(&self) -> bool {
        matches!(self.request, Request::Open { .. }) && self.unsent.is_empty()
    }

    /// Since when the upstream has taken nothing of what is to be sent.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Whether a byte of the response has come.
    pub(crate) fn has_received(&self) -> bool {
        self.has_received
    }

    /// Whether the connection may carry another request.
    pub(crate) fn is_reusable(&self) -> bool {
        self.keeps_alive
            && matches!(self.response, Response::Done)
            && self.request == Request::Whole
            && self.unsent.is_empty()
            && self.received.is_empty()
    }

    /// Readies the connection for being idle. Its buffer goes: a thousand idle connections shall not hold memory, and a
    /// buffer that the allocator gives out again is in the processor's cache, which this one would not be.
    pub(crate) fn release_buffer(&mut self) {
        self.received = BytesMut::new();
        self.read_bytes = MIN_READ_BYTES;
    }

    /// Whether an idle connection is still open, and nothing has come that nobody asked for.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.io.is_quiet()
    }

    /// Sends what there is to be sent, and resolves with the next piece of the response, or once more of the body
    /// can be taken.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        let had_unsent = !self.unsent.is_empty();
        if had_unsent && let Poll::Ready(sent) = self.poll_send(cx) {
            match sent {
                Ok(()) if self.wants_body() => return Poll::Ready(Ok(Event::Sent)),
                Ok(()) => {}
                // The answer may be there already, and says why the rest is not wanted.
                Err(_) => {
                    self.request = Request::Broken;
                    self.unsent.clear();
                    self.stalled_since = None;
                }
            }
        }
        self.poll_receive(cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.len() > 1 && !self.io.is_write_vectored() {
            self.join_unsent();
        }
        while !self.unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = self.unsent.len().min(MAX_SLICES);
            for (slice, chunk) in slices.iter_mut().zip(&self.unsent) {
                *slice = IoSlice::new(chunk);
            }
            match Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.take_sent(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
            self.stalled_since = None;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Joins small pieces at the front: what cannot write several at once, such as TLS, would send each apart.
    fn join_unsent(&mut self) {
        let (mut count, mut length) = (0, 0);
        for chunk in &self.unsent {
            if length + chunk.len() > MAX_JOINED_BYTES {
                break;
            }
            length += chunk.len();
            count += 1;
        }
        if count > 1 {
            let mut joined = BytesMut::with_capacity(length);
            for chunk in self.unsent.drain(..count) {
                joined.extend_from_slice(&chunk);
            }
            self.unsent.push_front(joined.freeze());
        }
    }

    fn take_sent(&mut self, mut written: usize) {
        while let Some(first) = self.unsent.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.unsent.pop_front();
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            if let Some(event) = self.next_event()? {
                return Poll::Ready(Ok(event));
            }
            let read = ready!(self.poll_read(cx));
            match read {
                Ok(0) | Err(_) if matches!(self.response, Response::Head { .. }) => {
                    let error = read.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return Poll::Ready(Err(Error::Reset(error.into())));
                }
                Ok(0) if matches!(self.response, Response::Close) => {
                    self.response = Response::Done;
                    return Poll::Ready(Ok(Event::Body { data: Bytes::new(), is_end: true }));
                }
                Ok(0) => {
                    let error = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Err(Error::BrokenStream(error.into())));
                }
                Ok(_) => self.has_received = true,
                Err(error) => return Poll::Ready(Err(Error::BrokenStream(error.into()))),
            }
        }
    }

    /// What the bytes that are here come to; `None` if it takes more.
    fn next_event(&mut self) -> Result<Option<Event>, Error> {
        if self.received.is_empty() {
            return Ok(None);
        }
        let data = match &mut self.response {
            Response::Head { is_head } => {
                let head = head::take(&mut self.received, *is_head);
                let head = head.map_err(|error| Error::InvalidResponse(error.into()))?;
                return Ok(head.map(|head| self.begin(head)));
            }
            Response::Length { left } => {
                let here = self.received.len();
                let taken = usize::try_from(*left).map_or(here, |left| left.min(here));
                *left -= taken as u64;
                if *left == 0 {
                    self.response = Response::Done;
                }
                self.received.split_to(taken).freeze()
            }
            Response::Chunked(decoder) => {
                let decoded = decoder.decode(&mut self.received);
                let is_done = decoder.is_done();
                let data = decoded.map_err(|error| Error::BrokenStream(error.into()))?;
                if is_done {
                    self.response = Response::Done;
                } else if data.is_empty() {
                    return Ok(None);
                }
                data
            }
            Response::Close => self.received.split().freeze(),
            Response::Done => return Ok(None),
        };
        let is_end = matches!(self.response, Response::Done);
        Ok(Some(Event::Body { data, is_end }))
    }

    fn begin(&mut self, head: Head) -> Event {
        let Head { header, framing, keeps_alive } = head;
        if header.status.is_informational() {
            return Event::Informational(Box::new(header));
        }
        self.keeps_alive = keeps_alive;
        self.response = match framing {
            Framing::Empty | Framing::Length(0) => Response::Done,
            Framing::Length(left) => Response::Length { left },
            Framing::Chunked => Response::Chunked(Decoder::default()),
            Framing::Close => Response::Close,
        };
        // One that has filled its room already is no stream.
        if matches!(self.response, Response::Chunked(_) | Response::Close)
            && self.read_bytes == MIN_READ_BYTES
        {
            self.read_bytes = STREAM_READ_BYTES;
        }
        Event::Head { header: Box::new(header), is_end: matches!(self.response, Response::Done) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.is_empty() && self.received.capacity() > self.read_bytes {
            self.received = BytesMut::new();
        }
        if self.received.capacity() - self.received.len() < self.read_bytes / 2 {
            // Not before there is something to be put there: most of its time a request waits.
            ready!(self.io.poll_readable(cx));
            self.received.reserve(self.read_bytes);
        }
        let room = self.received.capacity() - self.received.len();
        let read = ready!(pin!(self.io.read_buf(&mut self.received)).poll(cx));
        // What fills its room is a large body, for which fewer and larger reads are cheaper.
        if matches!(read, Ok(bytes) if bytes == room) {
            self.read_bytes = (self.read_bytes * 2).min(MAX_READ_BYTES);
        }
        Poll::Ready(read)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::HeaderMap;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn started() -> (Http1, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let io = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut http1 = Http1::new(Io::Tcp(io));
        let (method, target, headers) = (Method::GET, "/".parse().unwrap(), HeaderMap::new());
        http1.start(&Outgoing { method, target, headers, framing: BodyFraming::Whole }, []);
        (http1, listener.accept().await.unwrap().0)
    }

    async fn next(http1: &mut Http1) -> Event {
        poll_fn(|cx| http1.poll_event(cx)).await.unwrap()
    }

    async fn waits(http1: &mut Http1) {
        poll_fn(|cx| {
            assert!(http1.poll_event(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }

    #[tokio::test]
    async fn who_waits_for_an_answer_has_no_room_for_it_yet() {
        let (mut http1, _server) = started().await;
        waits(&mut http1).await;
        assert_eq!(http1.received.capacity(), 0);
    }

    #[tokio::test]
    async fn a_stream_keeps_little_room_between_its_events() {
        let (mut http1, mut server) = started().await;
        server.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n").await.unwrap();
        // The head is held for as long as the response lasts, and a buffer is not to be held with it.
        let _head = next(&mut http1).await;
        assert!(matches!(next(&mut http1).await, Event::Body { is_end: false, .. }));
        waits(&mut http1).await;
        assert_eq!(http1.received.capacity(), 0);
        for _ in 0..100 {
            server.write_all(b"64\r\n").await.unwrap();
            server.write_all(&[b'x'; 100]).await.unwrap();
            server.write_all(b"\r\n").await.unwrap();
            assert!(matches!(next(&mut http1).await, Event::Body { is_end: false, .. }));
            waits(&mut http1).await;
            assert!(http1.received.capacity() <= STREAM_READ_BYTES);
        }
    }

    #[tokio::test]
    async fn a_large_body_without_a_length_finds_the_room_of_one() {
        let (mut http1, mut server) = started().await;
        server.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _head = next(&mut http1).await;
        // A socket that is closed with something unread is reset.
        let _request = server.read(&mut [0; 256]).await.unwrap();
        let sending = tokio::spawn(async move { server.write_all(&[b'x'; 1 << 20]).await });
        let mut longest = 0;
        while let Event::Body { data, is_end: false } = next(&mut http1).await {
            longest = longest.max(data.len());
        }
        sending.await.unwrap().unwrap();
        assert!(longest > MAX_READ_BYTES / 2, "{longest}");
    }
}
