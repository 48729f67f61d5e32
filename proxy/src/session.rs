//! The replaying session: a downstream session that hands its request body out again on every attempt.
//!
//! Pingora 0.9 replays a request body from a buffer of 64 KiB that cannot be configured, and a body that was
//! read before the upstream was chosen is not forwarded at all. Prompts are larger than that and have to be
//! read first. [`ReplaySession`] therefore takes the place of the real session (as `HttpSession::Custom`) from
//! the moment the request header is in until the request is settled: it holds the chunks that came off the wire
//! by reference count, hands them out from the start for each attempt, and delegates everything else. Turned
//! down: a fork of Pingora, and an own attempt loop (see `docs/design/body-replay.md`).
//!
//! The trait is hidden from Pingora's documentation, so this file is the only one that implements it, the
//! version is pinned exactly, and `tests/replay_matrix.rs` is its regression test.
//!
//! The session is also where timeouts of a running attempt take effect: Pingora polls
//! `read_body_or_idle` for as long as it waits for the upstream, so a deadline that passes there ends the
//! attempt, whatever the upstream does.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session as CustomSession;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::{Digest, l4::socket::SocketAddr};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::time::{Instant, Sleep};

use crate::exchange::Exchange;

/// Raised when a deadline of the running attempt passed; [`Exchange::expired`] says which.
pub const DEADLINE: ErrorType = ErrorType::Custom("attempt deadline");

/// A downstream session whose request body can be read any number of times.
pub struct ReplaySession {
    inner: Box<ServerSession>,
    exchange: Arc<Exchange>,
    /// The next chunk to hand out in this attempt.
    cursor: usize,
    /// Registered once and moved only when it fires early, because activity pushes deadlines out all the time.
    timer: Option<Pin<Box<Sleep>>>,
    pace: Pace,
}

/// How fast the client sends its body. A byte now and then is no progress: it would hold a request's place for days.
#[derive(Default)]
struct Pace {
    /// When the current stretch of the body has to be there, once it began.
    due: Option<Instant>,
    /// Bytes of it that are.
    bytes: usize,
}

/// What a client has to send within `limits.bodyIdleTimeout`, in bytes, unless the body ends first.
const STRETCH_BYTES: usize = 1024;

impl ReplaySession {
    /// Puts `inner`, whose request header has been read, behind a replaying session.
    pub fn wrap(inner: Box<ServerSession>, exchange: Arc<Exchange>) -> ServerSession {
        ServerSession::new_custom(Box::new(Self {
            inner,
            exchange,
            cursor: 0,
            timer: None,
            pace: Pace::default(),
        }))
    }

    /// Gives the real session back, so that Pingora can finish it and keep the connection alive.
    ///
    /// Does nothing when `session` was unwrapped before.
    pub async fn unwrap(session: &mut Box<ServerSession>, exchange: &Exchange) {
        let Some(custom) = session.as_custom_mut() else { return };
        // The trait has no downcast: `finish_custom` of this type parks the inner session in the exchange.
        if custom.finish_custom().await.is_ok()
            && let Some(inner) = exchange.take_parked()
        {
            *session = inner;
        }
    }

    fn next_held(&mut self) -> Option<Bytes> {
        let chunk = self.exchange.chunk(self.cursor)?;
        self.cursor += 1;
        Some(chunk)
    }

    fn close_if_draining(&mut self) {
        if self.exchange.is_draining() && !is_final(self.inner.response_written()) {
            self.inner.set_keepalive(None);
        }
    }

    async fn write_continue(&mut self) -> Result<()> {
        // Pingora takes any header written before the end of the body for an early answer and gives up keep-alive.
        self.inner.set_close_on_response_before_downstream_finish(false);
        let written = self.inner.write_continue_response().await;
        self.inner.set_close_on_response_before_downstream_finish(true);
        written
    }

    async fn write_header(&mut self, header: Box<ResponseHeader>, end: bool) -> Result<()> {
        if header.status == http::StatusCode::CONTINUE {
            return self.write_continue().await;
        }
        self.close_if_draining();
        let limit = self.inner.get_write_timeout();
        match self.inner.as_mut() {
            ServerSession::H2(h2) => h2.write_response_header(header, end),
            other => within_write_timeout(limit, other.write_response_header(header)).await,
        }
    }
}

#[async_trait]
impl CustomSession for ReplaySession {
    fn req_header(&self) -> &RequestHeader {
        self.inner.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.inner.req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if let Some(chunk) = self.next_held() {
            return Ok(Some(chunk));
        }
        if self.exchange.is_complete() {
            return Ok(None);
        }
        // What goes wrong here is the client's doing, which Pingora's reader leaves unsaid.
        let read = self.pace.within(self.exchange.body_idle_timeout(), self.inner.read_request_body());
        match read.await.map_err(Error::into_down)? {
            Some(chunk) => {
                self.pace.advance(chunk.len());
                self.exchange.hold(chunk.clone())?;
                // Holding may have joined the chunk to the one before.
                self.cursor = self.exchange.chunk_count();
                if self.inner.is_body_done() {
                    self.exchange.complete();
                }
                Ok(Some(chunk))
            }
            None => {
                self.exchange.complete();
                Ok(None)
            }
        }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if self.exchange.is_complete() { Ok(()) } else { self.inner.drain_request_body().await }
    }

    async fn write_response_header(&mut self, header: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_header(header, end).await
    }

    async fn write_response_header_ref(&mut self, header: &ResponseHeader, end: bool) -> Result<()> {
        self.write_header(Box::new(header.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.inner.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.inner.write_response_trailers(trailers).await
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        self.close_if_draining();
        let limit = self.inner.get_write_timeout();
        // Pingora bounds the writes of a body, but not that of a header.
        if is_final(self.inner.response_written()) {
            return self.inner.response_duplex_vec(tasks).await;
        }
        within_write_timeout(limit, self.inner.response_duplex_vec(tasks)).await
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.inner.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.inner.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.inner.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.inner.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.inner.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.inner.response_written()
    }

    async fn shutdown(&mut self, _code: u32, _ctx: &str) {
        self.inner.shutdown().await;
    }

    fn is_body_done(&mut self) -> bool {
        self.exchange.is_complete() && self.exchange.chunk_count() <= self.cursor
    }

    async fn finish(&mut self) -> Result<()> {
        let limit = self.inner.get_write_timeout();
        within_write_timeout(limit, self.inner.finish_body()).await
    }

    fn is_body_empty(&mut self) -> bool {
        if self.exchange.is_complete() {
            self.exchange.chunk_count() == 0
        } else {
            self.inner.is_body_empty()
        }
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if !no_body_expected && !self.is_body_done() {
            return self.read_body_bytes().await;
        }
        let is_answered = is_final(self.inner.response_written());
        tokio::select! {
            biased;
            gone = self.inner.read_body_or_idle(true) => gone.map_err(Error::into_down),
            () = expiry(&mut self.timer, &self.exchange, is_answered) => {
                Err(Error::explain(DEADLINE, "a deadline of this attempt passed").into_up())
            }
        }
    }

    fn body_bytes_sent(&self) -> usize {
        self.inner.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.inner.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.inner.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.inner.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.inner.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.inner.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.inner.to_h1_raw()
    }

    /// Pingora calls this once an attempt, before it reads the body: the place to start over.
    fn enable_retry_buffering(&mut self) {
        self.cursor = 0;
    }

    fn retry_buffer_truncated(&self) -> bool {
        false
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn finish_custom(&mut self) -> Result<()> {
        let placeholder = Box::new(ServerSession::new_custom(Box::new(())));
        self.exchange.park(std::mem::replace(&mut self.inner, placeholder));
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        self.inner.is_upgrade_req()
    }

    fn was_upgraded(&self) -> bool {
        self.inner.was_upgraded()
    }
}

/// Whether what was written to the client is the header of a final response: a `100 Continue` leaves everything open.
pub fn is_final(written: Option<&ResponseHeader>) -> bool {
    written.is_some_and(|header| !header.status.is_informational())
}

/// Resolves when a deadline of the exchange has passed, and notes in the exchange which one it was.
async fn expiry(timer: &mut Option<Pin<Box<Sleep>>>, exchange: &Exchange, is_answered: bool) {
    loop {
        let Some(at) = exchange.next_deadline(is_answered) else { return pending().await };
        if at <= Instant::now() {
            exchange.expire(is_answered);
            return;
        }
        let sleep = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        // A timer that is due earlier than needed is left alone: it fires, finds that there is time left, and
        // is moved then. One that is due later has to be moved now.
        if sleep.deadline() > at || sleep.is_elapsed() {
            sleep.as_mut().reset(at);
        }
        poll_fn(|cx| match sleep.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        })
        .await;
    }
}

impl Pace {
    async fn within<T>(&mut self, limit: Duration, read: impl Future<Output = Result<T>>) -> Result<T> {
        let now = Instant::now();
        let due = *self.due.get_or_insert(now + limit);
        match pingora_timeout::timeout(due.saturating_duration_since(now), read).await {
            Ok(result) => result,
            Err(_elapsed) => {
                Error::e_explain(ErrorType::ReadTimedout, "the client sends its body too slowly")
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= STRETCH_BYTES {
            *self = Self::default();
        }
    }
}

/// Gives up a write to a client that does not read.
///
/// # Errors
/// The write failed or took longer than `limit`.
pub async fn within_write_timeout<T>(
    limit: Option<Duration>,
    write: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = limit else { return write.await };
    match pingora_timeout::timeout(limit, write).await {
        Ok(result) => result,
        Err(_elapsed) => {
            Err(Error::explain(ErrorType::WriteTimedout, "the client does not read").into_down())
        }
    }
}
