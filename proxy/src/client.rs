//! The client of one request: its head and body as they come, and the response as it goes, over Pingora's server
//! sessions for HTTP/1.1 and HTTP/2.
//!
//! What goes wrong here is the client's doing and is told in the gateway's own words. Writes need no deadline here: the
//! connection has its own ([`ClientStream`]), and so has an HTTP/2 stream's window.

mod rest;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};
use pingora_core::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::server::HttpSession;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_error::{Error as PingoraError, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::deadline::Timer;
use crate::error::Error;
use crate::listen::stream::ClientStream;
use crate::tls;
use rest::Rest;

/// What a client has to send within `limits.bodyIdleTimeout`, in bytes, unless the body ends first.
const STRETCH_BYTES: usize = 1024;

/// A client that has sent the head of a request.
pub struct Client {
    session: ServerSession,
    pace: Pace,
    /// What the session has not read of the body and never will, once there is such a thing.
    rest: Option<Rest>,
    /// Set when the gateway shuts down: an HTTP/1.1 connection then ends with its response.
    draining: Arc<AtomicBool>,
    /// Whether the body of the response is chunked.
    is_chunked: bool,
}

/// What follows the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing: it is the whole response.
    End,
    /// A piece of the body, at once.
    Body,
    /// A body that is not here yet.
    Later,
}

/// How fast the client sends its body. A byte now and then is no progress: it would hold a request's place for days.
struct Pace {
    /// How long the whole body may take.
    limit: Duration,
    /// When it has to be there, once it was asked for.
    ends: Option<Instant>,
    /// When the current stretch of the body has to be there, once it began.
    due: Option<Instant>,
    /// Bytes of it that are.
    bytes: usize,
}

impl Client {
    /// The client behind `session`, whose request head has been read and whose body may take `body_timeout`.
    pub fn new(session: ServerSession, draining: Arc<AtomicBool>, body_timeout: Duration) -> Self {
        let pace = Pace { limit: body_timeout, ends: None, due: None, bytes: 0 };
        Self { session, pace, rest: None, draining, is_chunked: false }
    }

    /// The head of the request.
    pub fn head(&self) -> &RequestHeader {
        self.session.req_header()
    }

    /// The head of the request, to be changed.
    pub fn head_mut(&mut self) -> &mut RequestHeader {
        self.session.req_header_mut()
    }

    /// The head as it came in HTTP/1.1.
    pub fn raw_head(&self) -> Bytes {
        self.session.to_h1_raw()
    }

    /// Whether HTTP/2 is spoken.
    pub fn is_http2(&self) -> bool {
        self.session.is_http2()
    }

    /// Where the client is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.session.client_addr().and_then(PeerAddress::as_inet).copied()
    }

    /// The name that the client asked for in its TLS handshake.
    pub fn server_name(&self) -> Option<&str> {
        self.session.digest()?.ssl_digest.as_deref().and_then(tls::server_name)
    }

    /// Whether the request has no body at all.
    pub fn is_body_empty(&mut self) -> bool {
        self.session.is_body_empty()
    }

    /// Whether the body has been read to its end.
    pub fn is_body_done(&mut self) -> bool {
        match &self.rest {
            Some(rest) => rest.is_done(),
            None => self.session.is_body_done(),
        }
    }

    /// Bytes of the body that were read.
    pub fn body_bytes_read(&self) -> usize {
        self.session.body_bytes_read() + self.rest.as_ref().map_or(0, Rest::bytes_read)
    }

    /// The next piece of the body; `None` at its end. `limit` is what the next `STRETCH_BYTES` may take.
    ///
    /// # Errors
    /// The client left, is too slow, or broke the rules of its framing.
    pub async fn read_body(&mut self, limit: Duration) -> Result<Option<Bytes>, Error> {
        let chunk = match (&mut self.rest, socket(&self.session)) {
            (Some(rest), Some(socket)) => {
                self.pace.within(limit, rest.read(socket)).await?.map_err(|_gone| Error::ClientGone)?
            }
            _ => {
                let read = self.pace.within(limit, self.session.read_request_body()).await?;
                let chunk = read.map_err(failure)?;
                self.rest = self.begin_rest();
                chunk
            }
        };
        if let Some(chunk) = &chunk {
            self.pace.advance(chunk.len());
        }
        Ok(chunk)
    }

    /// What the session is not asked for any more, after it was once.
    fn begin_rest(&mut self) -> Option<Rest> {
        if self.session.is_body_done() {
            return None;
        }
        let length = length_on_plain_connection(&self.session)?;
        length.checked_sub(self.session.body_bytes_read()).map(Rest::new)
    }

    /// Resolves when the client leaves. As long as its body is not read to the end, that does not show.
    pub async fn gone(&mut self) -> Error {
        if !self.is_body_done() {
            return std::future::pending().await;
        }
        if let (Some(_), Some(socket)) = (&self.rest, socket(&self.session)) {
            return rest::gone(socket).await;
        }
        loop {
            if let Err(error) = self.session.read_body_or_idle(true).await {
                return failure(error);
            }
        }
    }

    /// Tells a client that waits for it to send its body.
    ///
    /// # Errors
    /// The client left.
    pub async fn write_continue(&mut self) -> Result<(), Error> {
        self.set_body_may_follow(true);
        let written = self.session.write_continue_response().await;
        self.set_body_may_follow(false);
        written.map_err(failure)
    }

    /// Passes on a head that another one follows. HTTP/2 and HTTP/1.0 clients get none.
    ///
    /// # Errors
    /// The client left.
    pub async fn write_informational(&mut self, header: Box<ResponseHeader>) -> Result<(), Error> {
        let is_understood = self.head().version == Version::HTTP_11;
        if !is_understood || header.status == StatusCode::CONTINUE {
            return Ok(());
        }
        self.set_body_may_follow(true);
        let written = self.session.write_response_header(header).await;
        self.set_body_may_follow(false);
        written.map_err(failure)
    }

    /// Writes the head of the response, or keeps it to be sent with what follows.
    ///
    /// # Errors
    /// The client left, or does not read.
    pub async fn write_head(&mut self, header: Box<ResponseHeader>, then: Then) -> Result<(), Error> {
        if self.draining.load(Ordering::Relaxed) {
            self.close_after();
        }
        if self.rest.as_ref().is_some_and(Rest::is_done) {
            // Nothing follows, but the session does not know that.
            self.set_body_may_follow(true);
        }
        self.is_chunked = header.headers.contains_key(header::TRANSFER_ENCODING);
        match &mut self.session {
            ServerSession::H2(h2) => h2.write_response_header(header, then == Then::End).map_err(failure),
            session => {
                cork(session, then == Then::Body);
                let written = session.write_response_header(header).await;
                cork(session, false);
                written.map_err(failure)?;
                if then == Then::End { session.finish_body().await.map_err(failure) } else { Ok(()) }
            }
        }
    }

    /// Writes a piece of the response's body.
    ///
    /// # Errors
    /// The client left, or does not read.
    pub async fn write_body(&mut self, data: Bytes, is_end: bool) -> Result<(), Error> {
        // The end of a chunked body is a piece of its own, and goes out with the last chunk.
        if !(is_end && self.is_chunked && !self.is_http2()) {
            return self.session.write_response_body(data, is_end).await.map_err(failure);
        }
        cork(&self.session, true);
        let written = self.session.write_response_body(data, false).await;
        cork(&self.session, false);
        written.map_err(failure)?;
        self.session.finish_body().await.map_err(failure)
    }

    /// Writes what follows the body, and thereby ends it. HTTP/1.1 clients get the end alone.
    ///
    /// # Errors
    /// The client left, or does not read.
    pub async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<(), Error> {
        if let ServerSession::H2(h2) = &mut self.session {
            return h2.write_trailers(trailers).map_err(failure);
        }
        self.write_body(Bytes::new(), true).await
    }

    /// The timer that the connection's last request left.
    pub fn take_timer(&self) -> Timer {
        ClientStream::of(&self.session).map(ClientStream::take_timer).unwrap_or_default()
    }

    /// Leaves a timer for the connection's next request.
    pub fn leave_timer(&self, timer: Timer) {
        if let Some(stream) = ClientStream::of(&self.session) {
            stream.leave_timer(timer);
        }
    }

    /// Whether the head of a final response was written.
    pub fn is_answered(&self) -> bool {
        self.session.response_written().is_some_and(|header| !header.status.is_informational())
    }

    /// Lets the connection survive a response that comes before the end of the request's body: what is left of it is
    /// read and dropped. Without, Pingora closes the connection.
    pub fn set_body_may_follow(&mut self, may_follow: bool) {
        self.session.set_close_on_response_before_downstream_finish(!may_follow);
    }

    /// Ends an HTTP/1.1 connection with this request.
    pub fn close_after(&mut self) {
        self.session.set_keepalive(None);
    }

    /// How long reading and dropping the rest of the body may take.
    pub fn set_drain_timeout(&mut self, limit: Duration) {
        self.session.set_total_drain_timeout(Some(limit));
    }

    /// Cuts the response off in a way that the client can tell from its end.
    pub async fn abort(&mut self) {
        self.session.shutdown().await;
    }

    /// Ends a request that was answered, and returns the connection if another one may follow on it.
    pub async fn finish(self) -> Option<ReusedHttpStream> {
        let settings = HttpPersistentSettings::for_session(&self.session);
        match (self.session, self.rest) {
            (ServerSession::H1(session), Some(rest)) => {
                let stream = Box::pin(finish_without_body(session, rest)).await?;
                Some(ReusedHttpStream::new(stream, Some(settings)))
            }
            (session, _) => {
                let stream = session.finish().await.ok()??;
                Some(ReusedHttpStream::from_reusable_stream(stream, settings))
            }
        }
    }
}

impl Pace {
    async fn within<T>(&mut self, limit: Duration, read: impl Future<Output = T>) -> Result<T, Error> {
        let now = Instant::now();
        let ends = *self.ends.get_or_insert(now + self.limit);
        let due = *self.due.get_or_insert(now + limit);
        let read = pingora_timeout::timeout(due.min(ends).saturating_duration_since(now), read).await;
        read.map_err(|_elapsed| if ends <= due { Error::BodyTimeout } else { Error::BodyIdle })
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= STRETCH_BYTES {
            (self.due, self.bytes) = (None, 0);
        }
    }
}

/// Ends a request whose body the session has not read to its end, and never will: what Pingora would do, but for reading.
async fn finish_without_body(mut session: HttpSession, mut rest: Rest) -> Option<Stream> {
    session.finish_body().await.ok()?;
    if !session.will_keepalive() {
        session.shutdown().await;
        return None;
    }
    let drained = rest.drain(ClientStream::under(session.stream())?.socket()?);
    match session.get_total_drain_timeout() {
        Some(limit) => pingora_timeout::timeout(limit, drained).await.ok()?.ok()?,
        None => drained.await.ok()?,
    }
    Some(session.into_inner())
}

/// The length of the request's body, if that is what it is framed by (RFC 9112, section 6.3) and nothing lies between the
/// session and the socket.
fn length_on_plain_connection(session: &ServerSession) -> Option<usize> {
    socket(session)?;
    let headers = &session.req_header().headers;
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The socket under a session, where nothing lies between.
fn socket(session: &ServerSession) -> Option<&TcpStream> {
    ClientStream::of(session)?.socket()
}

/// Has an HTTP/1.1 connection keep what is written for the next write.
fn cork(session: &ServerSession, is_corked: bool) {
    if let Some(stream) = ClientStream::of(session) {
        stream.cork(is_corked);
    }
}

/// What ended a client's request, in the gateway's words.
fn failure(error: Box<PingoraError>) -> Error {
    let is_timeout = error
        .cause
        .as_ref()
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut);
    match error.etype() {
        ErrorType::WriteTimedout => Error::WriteTimeout,
        ErrorType::WriteError if is_timeout => Error::WriteTimeout,
        ErrorType::ReadTimedout => Error::BodyIdle,
        ErrorType::ConnectionClosed | ErrorType::H2Error | ErrorType::ReadError | ErrorType::WriteError => {
            Error::ClientGone
        }
        _ => Error::BrokenBody(Some(error)),
    }
}
