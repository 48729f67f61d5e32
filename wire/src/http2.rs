//! HTTP/2 to an upstream: one stream of a connection that others share, over Pingora's client.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_http::RequestHeader;
use tokio::time::Instant;

use crate::error::Error;
use crate::exchange::{BodyFraming, Event, Outgoing};

/// A stream to an upstream.
pub(crate) struct Http2 {
    session: Http2Session,
    sender: Option<SendStream<Bytes>>,
    unsent: VecDeque<Bytes>,
    request: Sending,
    response: Response,
    /// HEAD was asked for.
    is_head: bool,
    stalled_since: Option<Instant>,
    /// Whether the upstream asked for HTTP/1.1 in place of this.
    refuses_http2: bool,
}

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// More of the body is to come.
    Open,
    /// All of it was handed over.
    Whole,
    /// Its end was sent, or it could not be.
    Ended,
}

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Response {
    Head,
    Body,
    Trailers,
    Done,
}

/// The body that `Content-Length` announces never begins.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the response has a length and no body")]
struct NoBody;

impl Http2 {
    /// Over a stream that carries nothing yet.
    pub(crate) fn new(session: Http2Session) -> Self {
        Self {
            session,
            sender: None,
            unsent: VecDeque::new(),
            request: Sending::Open,
            response: Response::Head,
            is_head: false,
            stalled_since: None,
            refuses_http2: false,
        }
    }

    /// Starts a request with the part of its body that is here.
    ///
    /// # Errors
    /// The connection takes no more streams, or the request has no authority.
    pub(crate) fn start(
        &mut self,
        outgoing: Outgoing,
        is_tls: bool,
        body: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), Error> {
        self.is_head = outgoing.method == Method::HEAD;
        self.unsent.extend(body.into_iter().filter(|chunk| !chunk.is_empty()));
        let is_whole = outgoing.framing == BodyFraming::Whole;
        let ends_with_head = is_whole && self.unsent.is_empty();
        let header = header_of(outgoing, is_tls)?;
        let sent = self.session.write_request_header(Box::new(header), ends_with_head);
        sent.map_err(|error| Error::Reset(error))?;
        self.sender = self.session.take_request_body_writer();
        self.request = match (ends_with_head, is_whole) {
            (true, _) => Sending::Ended,
            (false, true) => Sending::Whole,
            (false, false) => Sending::Open,
        };
        Ok(())
    }

    /// Hands over more of the body.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() && self.request == Sending::Open {
            self.unsent.push_back(chunk);
        }
    }

    /// Tells that the body is whole.
    pub(crate) fn finish(&mut self) {
        if self.request == Sending::Open {
            self.request = Sending::Whole;
        }
    }

    /// Whether everything that was handed over is sent, and more of the body can be.
    pub(crate) fn wants_body(&self) -> bool {
        self.request == Sending::Open && self.unsent.is_empty()
    }

    /// Since when the upstream has taken nothing of what is to be sent.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Whether the head of the response has come.
    pub(crate) fn has_head(&self) -> bool {
        self.response != Response::Head
    }

    /// Whether the upstream asked for HTTP/1.1 in place of this, or does not speak this at all.
    pub(crate) fn refuses_http2(&self) -> bool {
        self.refuses_http2
    }

    /// Keeps the connection from being given further streams.
    pub(crate) fn distrust(&self) {
        self.session.conn.mark_shutdown();
    }

    /// Ends the stream: what is not over is cancelled.
    pub(crate) fn end(mut self) -> Http2Session {
        let is_over = self.response == Response::Done && self.request == Sending::Ended;
        if !is_over && let Some(sender) = &mut self.sender {
            sender.send_reset(Reason::CANCEL);
        }
        self.session
    }

    /// Sends what there is to be sent, and resolves with the next piece of the response, or once more of the body
    /// can be taken.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        let had_unsent = !self.unsent.is_empty();
        if (had_unsent || self.request == Sending::Whole)
            && let Poll::Ready(sent) = self.poll_send(cx)
        {
            match sent {
                Ok(()) if had_unsent && self.wants_body() => return Poll::Ready(Ok(Event::Sent)),
                Ok(()) => {}
                // The answer may be there already, and says why the rest is not wanted.
                Err(_) => {
                    self.unsent.clear();
                    self.request = Sending::Ended;
                    self.stalled_since = None;
                }
            }
        }
        match self.response {
            Response::Head => self.poll_head(cx),
            Response::Body => self.poll_body(cx),
            Response::Trailers => self.poll_trailers(cx),
            Response::Done => Poll::Pending,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        let Some(sender) = &mut self.sender else { return Poll::Ready(Ok(())) };
        while let Some(chunk) = self.unsent.front_mut() {
            sender.reserve_capacity(chunk.len());
            let room = match sender.poll_capacity(cx) {
                Poll::Ready(Some(room)) => room?,
                Poll::Ready(None) => return Poll::Ready(Err(Reason::CANCEL.into())),
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            };
            self.stalled_since = None;
            let piece = chunk.split_to(room.min(chunk.len()));
            if chunk.is_empty() {
                self.unsent.pop_front();
            }
            let is_end = self.request == Sending::Whole && self.unsent.is_empty();
            sender.send_data(piece, is_end)?;
            if is_end {
                self.request = Sending::Ended;
            }
        }
        if self.request == Sending::Whole {
            sender.send_data(Bytes::new(), true)?;
            self.request = Sending::Ended;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        if let Err(error) = ready!(self.session.poll_read_response_header(cx)) {
            let is_foreign = error.is_go_away() && error.is_library();
            self.refuses_http2 = match error.reason() {
                Some(Reason::HTTP_1_1_REQUIRED) => error.is_remote(),
                Some(Reason::PROTOCOL_ERROR) => is_foreign,
                _ => false,
            };
            return Poll::Ready(Err(Error::Reset(error.into())));
        }
        let Some(header) = self.session.response_header().cloned() else {
            return Poll::Ready(Err(Error::Internal("a response before its request")));
        };
        let is_end = self.session.check_response_end_or_error();
        let is_end = is_end.map_err(|error| Error::InvalidResponse(error))?;
        // The h2 crate does not compare the length of a body that never begins.
        let may_lack_body =
            self.is_head || matches!(header.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = header.headers.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
        if is_end && !may_lack_body && length.is_some_and(|digits| digits.iter().any(|digit| *digit != b'0'))
        {
            return Poll::Ready(Err(Error::InvalidResponse(NoBody.into())));
        }
        self.response = if is_end { Response::Done } else { Response::Body };
        Poll::Ready(Ok(Event::Head { header: Box::new(header), is_end }))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        loop {
            let Some(data) = ready!(self.session.poll_read_response_body(cx)) else {
                self.response = Response::Trailers;
                return self.poll_trailers(cx);
            };
            let data = data.map_err(|error| Error::BrokenStream(error.into()))?;
            let is_end = self.session.check_response_end_or_error();
            let is_end = is_end.map_err(|error| Error::BrokenStream(error))?;
            if is_end {
                self.response = Response::Done;
            } else if data.is_empty() {
                continue;
            }
            return Poll::Ready(Ok(Event::Body { data, is_end }));
        }
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Error>> {
        let trailers = ready!(pin!(self.session.read_trailers()).poll(cx));
        let trailers = trailers.map_err(|error| Error::BrokenStream(error))?;
        self.response = Response::Done;
        Poll::Ready(Ok(match trailers {
            Some(trailers) => Event::Trailers(trailers),
            None => Event::Body { data: Bytes::new(), is_end: true },
        }))
    }
}

/// The head as HTTP/2 has it: what HTTP/1.1 calls `Host` is the authority.
fn header_of(mut outgoing: Outgoing, is_tls: bool) -> Result<RequestHeader, Error> {
    let host = outgoing.headers.remove(header::HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let authority = authority.filter(|authority| !authority.as_str().contains('@'));
    let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
    let authority = authority.ok_or(Error::NoAuthority)?;
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(outgoing.target).build();
    let mut parts = Request::new(()).into_parts().0;
    parts.method = outgoing.method;
    parts.uri = uri.map_err(Error::InvalidRequest)?;
    parts.version = http::Version::HTTP_2;
    outgoing.headers.remove(header::TRANSFER_ENCODING);
    parts.headers = outgoing.headers;
    Ok(RequestHeader::from(parts))
}
