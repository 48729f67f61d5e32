//! The client of one request: its head and body as they come, and the response as it goes, over Pingora's server
//! sessions for HTTP/1.1 and HTTP/2.
//!
//! What goes wrong here is the client's doing and is told in the gateway's own words. Writes need no deadline here: the
//! connection has its own ([`ClientStream`]), and so has an HTTP/2 stream's window.

mod chunked;
mod pace;
mod tail;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};
use penstock_config::Limits;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora_error::{Error as PingoraError, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::net::TcpStream;

use crate::deadline::Timer;
use crate::error::Error;
use crate::stream::ClientStream;
use crate::tls;
use chunked::ChunkedBody;
use pace::Pace;
use tail::BodyTail;

/// A client that has sent the head of a request.
pub(crate) struct Client<'a> {
    session: &'a mut ServerSession,
    state: &'a mut ClientState,
}

/// What is kept of a client beside its session, from one phase of a request to the next.
pub(crate) struct ClientState {
    pace: Pace,
    reader: Reader,
    /// Set when the gateway shuts down: an HTTP/1.1 connection then ends with its response.
    draining: Arc<AtomicBool>,
    /// Whether the body of the response is chunked.
    is_chunked: bool,
}

/// Who makes out where the body ends.
enum Reader {
    /// The session.
    Session,
    /// The gateway, which reads what the session has not read and never will.
    Tail(BodyTail),
    /// The gateway, of a body in chunks whose bytes the session hands over.
    Chunked(ChunkedBody),
}

/// What follows the head of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    /// Nothing: it is the whole response.
    Nothing,
    /// A piece of the body, at once.
    Body,
    /// A body that is not here yet.
    Later,
}

impl ClientState {
    /// Of a client whose request head was read just now, and whose body may take `body_timeout`.
    pub(crate) fn new(draining: Arc<AtomicBool>, body_timeout: Duration) -> Self {
        Self { pace: Pace::new(body_timeout), reader: Reader::Session, draining, is_chunked: false }
    }
}

impl<'a> Client<'a> {
    /// The client behind `session`, whose request head has been read.
    pub(crate) fn new(session: &'a mut ServerSession, state: &'a mut ClientState) -> Self {
        Self { session, state }
    }

    /// The head of the request.
    pub(crate) fn head(&self) -> &RequestHeader {
        self.session.req_header()
    }

    /// The head of the request, to be changed.
    pub(crate) fn head_mut(&mut self) -> &mut RequestHeader {
        self.session.req_header_mut()
    }

    /// The head as it came in HTTP/1.1.
    pub(crate) fn raw_head(&self) -> Bytes {
        self.session.to_h1_raw()
    }

    /// Whether HTTP/2 is spoken.
    pub(crate) fn is_http2(&self) -> bool {
        self.session.is_http2()
    }

    /// Where the client is.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.session.client_addr().and_then(PeerAddress::as_inet).copied()
    }

    /// The name that the client asked for in its TLS handshake.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.session.digest()?.ssl_digest.as_deref().and_then(tls::server_name)
    }

    /// How long the whole body may take, before any of it was asked for.
    pub(crate) fn limit_body(&mut self, limit: Duration) {
        self.state.pace = Pace::new(limit);
    }

    /// Whether the request has no body at all.
    pub(crate) fn is_body_empty(&mut self) -> bool {
        self.session.is_body_empty()
    }

    /// Has the body, which comes in chunks, taken apart by the gateway's own decoder. To be told before anything is asked
    /// about the body.
    ///
    /// # Errors
    /// The session does not take it.
    pub(crate) fn take_chunks_apart(&mut self) -> Result<(), Error> {
        self.state.reader = Reader::Chunked(ChunkedBody::begin(self.session)?);
        Ok(())
    }

    /// Whether the body has been read to its end.
    pub(crate) fn is_body_done(&mut self) -> bool {
        match &self.state.reader {
            Reader::Session => self.session.is_body_done(),
            reader => reader.is_done(),
        }
    }

    /// Bytes of the body that were read.
    pub(crate) fn body_bytes_read(&self) -> usize {
        match &self.state.reader {
            Reader::Session => self.session.body_bytes_read(),
            Reader::Tail(tail) => self.session.body_bytes_read() + tail.bytes_read(),
            Reader::Chunked(chunked) => chunked.bytes_read(),
        }
    }

    /// The next piece of the body; `None` at its end. `limit` is what the next stretch of it may take.
    ///
    /// # Errors
    /// The client left, is too slow, or broke the rules of its framing.
    pub(crate) async fn read_body(&mut self, limit: Duration) -> Result<Option<Bytes>, Error> {
        let ClientState { pace, reader, .. } = &mut *self.state;
        let chunk = match (reader, socket(self.session)) {
            (Reader::Tail(tail), Some(socket)) => {
                pace.within(limit, tail.read(socket)).await?.map_err(|_gone| Error::ClientGone)?
            }
            (Reader::Chunked(chunked), _) => pace.within(limit, chunked.read(self.session)).await??,
            _ => {
                let chunk = pace.within(limit, self.session.read_request_body()).await?.map_err(failure)?;
                if let Some(tail) = self.rest_on_socket() {
                    self.state.reader = Reader::Tail(tail);
                }
                chunk
            }
        };
        if let Some(chunk) = &chunk {
            self.state.pace.advance(chunk.len());
        }
        Ok(chunk)
    }

    /// What the session is not asked for any more, after it was once.
    fn rest_on_socket(&mut self) -> Option<BodyTail> {
        if self.session.is_body_done() {
            return None;
        }
        let length = length_on_plain_connection(self.session)?;
        length.checked_sub(self.session.body_bytes_read()).map(BodyTail::new)
    }

    /// Resolves when the client leaves. As long as its body is not read to the end, that does not show.
    pub(crate) async fn gone(&mut self) -> Error {
        if !self.is_body_done() {
            return std::future::pending().await;
        }
        match (&mut self.state.reader, socket(self.session)) {
            (Reader::Session, _) => {}
            (_, Some(socket)) => return tail::gone(socket).await,
            (Reader::Chunked(chunked), None) => return chunked.gone(self.session).await,
            (Reader::Tail(_), None) => {}
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
    pub(crate) async fn write_continue(&mut self) -> Result<(), Error> {
        self.set_body_may_follow(true);
        let written = self.session.write_continue_response().await;
        self.set_body_may_follow(false);
        written.map_err(failure)
    }

    /// Passes on a head that another one follows. HTTP/2 and HTTP/1.0 clients get none.
    ///
    /// # Errors
    /// The client left.
    pub(crate) async fn write_informational(&mut self, header: Box<ResponseHeader>) -> Result<(), Error> {
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
    pub(crate) async fn write_head(
        &mut self,
        header: Box<ResponseHeader>,
        follows: Follows,
    ) -> Result<(), Error> {
        if self.state.draining.load(Ordering::Relaxed) {
            self.close_after();
        }
        if self.state.reader.is_done() {
            // Nothing follows, but the session does not know that.
            self.set_body_may_follow(true);
        }
        self.state.is_chunked = header.headers.contains_key(header::TRANSFER_ENCODING);
        match &mut *self.session {
            ServerSession::H2(h2) => {
                h2.write_response_header(header, follows == Follows::Nothing).map_err(failure)
            }
            session => {
                cork(session, follows == Follows::Body);
                let written = session.write_response_header(header).await;
                cork(session, false);
                written.map_err(failure)?;
                if follows == Follows::Nothing {
                    session.finish_body().await.map_err(failure)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Writes a piece of the response's body.
    ///
    /// # Errors
    /// The client left, or does not read.
    pub(crate) async fn write_body(&mut self, data: Bytes, is_end: bool) -> Result<(), Error> {
        // The end of a chunked body is a piece of its own, and goes out with the last chunk.
        if !(is_end && self.state.is_chunked && !self.is_http2()) {
            return self.session.write_response_body(data, is_end).await.map_err(failure);
        }
        cork(self.session, true);
        let written = self.session.write_response_body(data, false).await;
        cork(self.session, false);
        written.map_err(failure)?;
        self.session.finish_body().await.map_err(failure)
    }

    /// Writes what follows the body, and thereby ends it. HTTP/1.1 clients get the end alone.
    ///
    /// # Errors
    /// The client left, or does not read.
    pub(crate) async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<(), Error> {
        if let ServerSession::H2(h2) = &mut *self.session {
            return h2.write_trailers(trailers).map_err(failure);
        }
        self.write_body(Bytes::new(), true).await
    }

    /// Tells the connection that the head is here: from now on the session reads and writes as it likes. Returns the
    /// timer that its last request left.
    pub(crate) fn begin(&mut self, limits: &Limits) -> Timer {
        let Some(stream) = ClientStream::of(self.session) else {
            // Of the stream's window; the connection's own deadline is beneath it.
            self.session.set_write_timeout(Some(limits.write_timeout));
            return Timer::default();
        };
        stream.set_write_timeout(limits.write_timeout);
        stream.head_is_here()
    }

    /// Tells the connection what of that which the session has read was this request's, where that can be told: what
    /// frames the chunks of a body is not counted anywhere.
    pub(crate) fn account(&self) {
        if self.head().headers.contains_key(header::TRANSFER_ENCODING) {
            return;
        }
        if let (ServerSession::H1(session), Some(stream)) = (&*self.session, ClientStream::of(self.session)) {
            stream.account(session.get_headers_raw_bytes().len() + session.body_bytes_read());
        }
    }

    /// Leaves a timer for the connection's next request.
    pub(crate) fn leave_timer(&self, timer: Timer) {
        if let Some(stream) = ClientStream::of(self.session) {
            stream.leave_timer(timer);
        }
    }

    /// Whether the head of a final response was written.
    pub(crate) fn is_answered(&self) -> bool {
        self.session.response_written().is_some_and(|header| !header.status.is_informational())
    }

    /// Lets the connection survive a response that comes before the end of the request's body: what is left of it is
    /// read and dropped. Without, Pingora closes the connection.
    pub(crate) fn set_body_may_follow(&mut self, may_follow: bool) {
        self.session.set_close_on_response_before_downstream_finish(!may_follow);
    }

    /// Ends an HTTP/1.1 connection with this request.
    pub(crate) fn close_after(&mut self) {
        self.session.set_keepalive(None);
    }

    /// How long reading and dropping the rest of the body may take.
    pub(crate) fn set_drain_timeout(&mut self, limit: Duration) {
        self.session.set_total_drain_timeout(Some(limit));
    }

    /// Cuts the response off in a way that the client can tell from its end.
    pub(crate) async fn abort(&mut self) {
        self.session.shutdown().await;
    }

    /// Ends an answered request of HTTP/1.1 whose body the session has not read to its end, and never will. The session
    /// gives the connection up, and the next request gets it, once what is left of the body was read and dropped, within
    /// `drain_limit`. Where the session has read the body, this is its own to do.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn pass_on(&mut self, drain_limit: Duration) -> Result<(), Error> {
        let ServerSession::H1(session) = &mut *self.session else { return Ok(()) };
        if matches!(self.state.reader, Reader::Session) || !session.will_keepalive() {
            return Ok(());
        }
        session.finish_body().await.map_err(failure)?;
        self.session.set_keepalive(None);
        let (unread, ahead) = match &mut self.state.reader {
            Reader::Tail(tail) => (tail.bytes_left(), BytesMut::new()),
            Reader::Chunked(chunked) if chunked.is_done() => (0, chunked.take_ahead()),
            // Nobody knows where the next request begins.
            Reader::Chunked(_) | Reader::Session => return Ok(()),
        };
        if let Some(stream) = ClientStream::of(self.session) {
            stream.keep_for_next(unread, ahead, drain_limit);
        }
        Ok(())
    }

    /// Has the connection of a request that was answered before its body was read closed in steps: a client that still
    /// sends could not read the answer if it were closed at once.
    pub(crate) fn linger(&mut self) {
        if !self.is_body_done()
            && let Some(stream) = ClientStream::of(self.session)
        {
            stream.keep_to_linger();
        }
    }
}

impl Reader {
    /// Whether the gateway has read the body to its end, of which the session does not know.
    fn is_done(&self) -> bool {
        match self {
            Self::Session => false,
            Self::Tail(tail) => tail.is_done(),
            Self::Chunked(chunked) => chunked.is_done(),
        }
    }
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
