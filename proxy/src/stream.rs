//! A client's connection, as the session of each of its requests has it.
//!
//! A connection outlives the session that Pingora's proxy makes of each request, in ways that the proxy does not know of: a
//! head that it cannot parse is answered in the gateway's words, a body that the session has not read is dropped before the
//! next request, and a connection may be closed in steps. It goes back to the loop that serves it then ([`GivenBack`]).

mod frames;
mod head_watch;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use parking_lot::Mutex;
use penstock_wire::{CorkedStream, Io};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use head_watch::HeadWatch;
use head_watch::take;

use crate::deadline::Timer;
use crate::error::Error;

/// How much is read with TLS before there is a session, in bytes: most heads.
const FIRST_BYTES: usize = 2 * 1024;

/// Who has the connection.
enum Phase {
    /// A session: to read and write as it likes.
    Open,
    /// A session that waits for a head.
    Head(HeadWatch),
    /// The session, which has no more use for it.
    Over(Next),
}

/// What becomes of a connection that came back.
pub(crate) enum Next {
    /// It is ready for the next request, once what is left of the last one's body was read and dropped.
    Request {
        /// Bytes of the body that nobody has read.
        unread_bytes: usize,
        /// How long that may take.
        limit: Duration,
        /// What was read behind it.
        ahead: BytesMut,
    },
    /// The request that came is answered with this error, and then it is closed.
    Refuse(Error),
    /// It is closed in steps.
    Linger,
}

/// Where a connection goes that came back.
#[derive(Default)]
pub(crate) struct GivenBack(Mutex<Option<(Box<ClientStream>, Next)>>);

/// A connection to a client, as one request's session has it.
pub(crate) struct ClientStream {
    /// Until it is given back.
    corked: Option<CorkedStream>,
    socket: Option<Arc<SocketDigest>>,
    /// Of the head's deadline, and between two requests of the deadlines of requests.
    timer: Mutex<Timer>,
    phase: Mutex<Phase>,
    /// What was read before there was a session to take it.
    ahead: BytesMut,
    /// Bytes that the session has read since the last head was awaited.
    received: AtomicUsize,
    /// Whether some of them may be the next request's.
    is_ahead: AtomicBool,
    given_back: Arc<GivenBack>,
}

impl ClientStream {
    /// A plain connection, accepted from `peer`, whose writes may take `write_timeout` to get on.
    pub(crate) fn plain(stream: TcpStream, peer: SocketAddr, write_timeout: Duration) -> Self {
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // Set once, right after creation: it saves a getpeername for each request.
        let _already_set = digest.peer_addr.set(Some(peer.into()));
        let corked = CorkedStream::new(Io::Tcp(stream), write_timeout);
        Self::new(corked, Some(Arc::new(digest)), Arc::default())
    }

    /// A connection with TLS.
    pub(crate) fn tls(stream: Stream, write_timeout: Duration) -> Self {
        let digest = stream.get_socket_digest();
        Self::new(CorkedStream::new(Io::Tls(stream), write_timeout), digest, Arc::default())
    }

    fn new(corked: CorkedStream, socket: Option<Arc<SocketDigest>>, given_back: Arc<GivenBack>) -> Self {
        Self {
            corked: Some(corked),
            socket,
            timer: Mutex::default(),
            phase: Mutex::new(Phase::Open),
            ahead: BytesMut::new(),
            received: AtomicUsize::new(0),
            is_ahead: AtomicBool::new(true),
            given_back,
        }
    }

    /// The connection under an HTTP/1.1 session.
    pub(crate) fn of(session: &ServerSession) -> Option<&Self> {
        Self::under(session.stream()?)
    }

    /// The connection that is `stream`.
    pub(crate) fn under(stream: &Stream) -> Option<&Self> {
        stream.as_ref().as_any().downcast_ref()
    }

    /// Where it goes when its session has no more use for it and somebody else has.
    pub(crate) fn given_back(&self) -> &Arc<GivenBack> {
        &self.given_back
    }

    /// The socket, where there is nothing else: with TLS what it carries is not what is read.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match self.io()? {
            Io::Tcp(socket) => Some(socket),
            Io::Tls(_) => None,
        }
    }

    /// How long a write may take to get on, from now on.
    pub(crate) fn set_write_timeout(&self, limit: Duration) {
        if let Some(corked) = &self.corked {
            corked.set_write_timeout(limit);
        }
    }

    /// Whether what is written is kept for the next write.
    pub(crate) fn cork(&self, is_corked: bool) {
        if let Some(corked) = &self.corked {
            corked.cork(is_corked);
        }
    }

    /// Resolves when something has come, or with `false` at the connection's end or at `due`. A session in the meantime, and
    /// what Pingora's proxy puts around one, would take some 20 KB of each idle connection.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<bool> {
        if !self.ahead.is_empty() {
            return Poll::Ready(true);
        }
        let readable = match self.corked.as_mut().map(CorkedStream::io_mut) {
            Some(Io::Tcp(socket)) => socket.poll_read_ready(cx).map(|ready| ready.is_ok()),
            // What comes next can only be told by reading it.
            Some(Io::Tls(stream)) => {
                let mut bytes = [0; FIRST_BYTES];
                let mut buffer = ReadBuf::new(&mut bytes);
                Pin::new(stream).poll_read(cx, &mut buffer).map(|read| {
                    self.ahead.extend_from_slice(buffer.filled());
                    read.is_ok() && !self.ahead.is_empty()
                })
            }
            None => Poll::Ready(false),
        };
        match readable {
            Poll::Ready(is_open) => Poll::Ready(is_open),
            Poll::Pending => head_watch::poll_until(self.timer.get_mut(), cx, due).map(|()| false),
        }
    }

    /// Says how much of what the session has read since the head was awaited belongs to its request, in bytes.
    pub(crate) fn account(&self, request_bytes: usize) {
        self.is_ahead.store(self.received.load(Ordering::Relaxed) != request_bytes, Ordering::Relaxed);
    }

    /// Says that the session has read nothing but its request.
    pub(crate) fn account_for_all(&self) {
        self.is_ahead.store(false, Ordering::Relaxed);
    }

    /// Whether the session may have read beyond its request: a request that was sent ahead.
    pub(crate) fn is_session_ahead(&self) -> bool {
        self.is_ahead.load(Ordering::Relaxed)
    }

    /// From now on the head of a request is awaited.
    pub(crate) fn await_head(&self, head: HeadWatch) {
        self.received.store(0, Ordering::Relaxed);
        self.is_ahead.store(true, Ordering::Relaxed);
        *self.phase.lock() = Phase::Head(head);
    }

    /// The head is here: from now on the session reads and writes as it likes. Returns the timer of the last request.
    pub(crate) fn head_is_here(&self) -> Timer {
        *self.phase.lock() = Phase::Open;
        std::mem::take(&mut *self.timer.lock())
    }

    /// Leaves a timer for the next request.
    pub(crate) fn leave_timer(&self, timer: Timer) {
        *self.timer.lock() = timer;
    }

    /// The session has no more use for the connection, and the next request has: what it ends and writes from now on is
    /// ignored. Before that request `unread_bytes` of this one's body are dropped, which may take `limit`; `ahead` is what
    /// was read of the request already.
    pub(crate) fn keep_for_next(&self, unread_bytes: usize, ahead: BytesMut, limit: Duration) {
        *self.phase.lock() = Phase::Over(Next::Request { unread_bytes, limit, ahead });
    }

    /// The session has no more use for the connection, which is to be closed in steps.
    pub(crate) fn keep_to_linger(&self) {
        *self.phase.lock() = Phase::Over(Next::Linger);
    }

    fn io(&self) -> Option<&Io> {
        self.corked.as_ref().map(CorkedStream::io)
    }

    /// Whether what the session writes, or its end, is not to reach the client. As long as no head is here, all that a
    /// session can write is Pingora's own answer to a head that it cannot parse.
    fn is_mute(&mut self) -> bool {
        match self.phase.get_mut() {
            Phase::Open => false,
            Phase::Head(head) => head.swallows_writes(),
            Phase::Over(_) => true,
        }
    }
}

impl GivenBack {
    fn put(&self, stream: ClientStream, next: Next) {
        *self.0.lock() = Some((Box::new(stream), next));
    }

    /// Takes what came back.
    pub(crate) fn take(&self) -> Option<(Box<ClientStream>, Next)> {
        self.0.lock().take()
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { corked, phase, timer, ahead, received, .. } = self.get_mut();
        let Some(io) = corked.as_mut().map(CorkedStream::io_mut) else { return Poll::Ready(Ok(())) };
        let before = buffer.filled().len();
        let read = match phase.get_mut() {
            Phase::Open if ahead.is_empty() => Pin::new(io).poll_read(cx, buffer),
            Phase::Open => {
                take(ahead, buffer);
                Poll::Ready(Ok(()))
            }
            Phase::Head(head) => head.poll_read(io, ahead, timer.get_mut(), cx, buffer),
            // To the session, this is the end.
            Phase::Over(_) => Poll::Ready(Ok(())),
        };
        *received.get_mut() += buffer.filled().len() - before;
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_mute() {
            if let Phase::Head(head) = this.phase.get_mut() {
                head.refuse_malformed();
            }
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let Some(corked) = &mut this.corked else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let written = Pin::new(corked).poll_write_vectored(cx, bufs);
        if let (Poll::Ready(Ok(bytes)), Phase::Head(head)) = (&written, this.phase.get_mut()) {
            head.written(*bytes);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let corked = self.get_mut().corked.as_mut();
        corked.map_or(Poll::Ready(Ok(())), |corked| Pin::new(corked).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_mute() {
            return Poll::Ready(Ok(()));
        }
        let corked = this.corked.as_mut();
        corked.map_or(Poll::Ready(Ok(())), |corked| Pin::new(corked).poll_shutdown(cx))
    }
}

impl Drop for ClientStream {
    /// Gives the connection back where its session is not the last to have it.
    fn drop(&mut self) {
        let mut next = match self.phase.get_mut() {
            Phase::Open => return,
            Phase::Head(head) => match head.refusal.take() {
                Some(refusal) => Next::Refuse(refusal),
                None => return,
            },
            Phase::Over(next) => std::mem::replace(next, Next::Linger),
        };
        let Some(corked) = self.corked.take() else { return };
        let mut stream = Self::new(corked.renewed(), self.socket.take(), self.given_back.clone());
        stream.leave_timer(std::mem::take(self.timer.get_mut()));
        stream.ahead = std::mem::take(&mut self.ahead);
        if let Next::Request { ahead, .. } = &mut next
            && !ahead.is_empty()
        {
            // It came before what the session has left.
            ahead.extend_from_slice(&stream.ahead);
            stream.ahead = std::mem::take(ahead);
        }
        self.given_back.put(stream, next);
    }
}

#[async_trait]
impl Shutdown for ClientStream {
    async fn shutdown(&mut self) {
        // Nobody may be left to take it.
        let _gone = AsyncWriteExt::shutdown(self).await;
    }
}

impl UniqueID for ClientStream {
    fn id(&self) -> UniqueIDType {
        match self.io() {
            Some(Io::Tcp(stream)) => stream.as_raw_fd(),
            Some(Io::Tls(stream)) => stream.id(),
            None => -1,
        }
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        match self.io() {
            Some(Io::Tls(stream)) => stream.get_ssl_digest(),
            Some(Io::Tcp(_)) | None => None,
        }
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.io() {
            Some(Io::Tls(stream)) => stream.selected_alpn_proto(),
            Some(Io::Tcp(_)) | None => None,
        }
    }
}

impl GetTimingDigest for ClientStream {
    /// Nobody asks when the connection was made, and each request would have to be told.
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.clone()
    }
}

impl Peek for ClientStream {}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("id", &self.id()).finish_non_exhaustive()
    }
}
