//! A client's connection: what is written in pieces goes out as one, and within a deadline.
//!
//! Pingora's session writes the head of a response apart from its body, and a chunk apart from the end of the body. Each
//! write to a socket walks the whole of TCP, which costs more than all else that a small response takes. A connection that
//! is *corked* keeps what is written, and hands it over with the first write after. Pingora has such a buffer too, but
//! empties it without a deadline; so the deadline sits here, beneath everything that writes.
//!
//! A connection outlives the session that Pingora's proxy makes of each request, in ways that the proxy does not know of: a
//! head that it cannot parse is answered in the gateway's words, a body that the session has not read is dropped before the
//! next request, and a connection may be closed in steps. It goes back to the loop that serves it then ([`GivenBack`]).

mod head_watch;

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

pub(crate) use head_watch::HeadWatch;
use head_watch::take;

use crate::deadline::Timer;
use crate::error::Error;
use crate::io::Io;

/// The most that a corked connection keeps, in bytes. Larger writes gain nothing from being joined.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// How much is read with TLS before there is a session, in bytes: most heads.
const FIRST_BYTES: usize = 2 * 1024;

/// Pieces that one write hands to the system.
const MAX_SLICES: usize = 8;

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
    io: Option<Io>,
    socket: Option<Arc<SocketDigest>>,
    kept: BytesMut,
    is_corked: AtomicBool,
    write_timeout_ms: AtomicU64,
    /// Runs while the client takes nothing of what is written.
    stalled: Option<Pin<Box<Sleep>>>,
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
        Self::new(Io::Tcp(stream), Some(Arc::new(digest)), write_timeout, Arc::default())
    }

    /// A connection with TLS.
    pub(crate) fn tls(stream: Stream, write_timeout: Duration) -> Self {
        let digest = stream.get_socket_digest();
        Self::new(Io::Tls(stream), digest, write_timeout, Arc::default())
    }

    fn new(
        io: Io,
        socket: Option<Arc<SocketDigest>>,
        write_timeout: Duration,
        given_back: Arc<GivenBack>,
    ) -> Self {
        let stream = Self {
            io: Some(io),
            socket,
            kept: BytesMut::new(),
            is_corked: AtomicBool::new(false),
            write_timeout_ms: AtomicU64::new(0),
            stalled: None,
            timer: Mutex::default(),
            phase: Mutex::new(Phase::Open),
            ahead: BytesMut::new(),
            received: AtomicUsize::new(0),
            is_ahead: AtomicBool::new(true),
            given_back,
        };
        stream.set_write_timeout(write_timeout);
        stream
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
        match &self.io {
            Some(Io::Tcp(socket)) => Some(socket),
            Some(Io::Tls(_)) | None => None,
        }
    }

    /// How long a write may take to get on, from now on.
    pub(crate) fn set_write_timeout(&self, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.write_timeout_ms.store(limit_ms, Ordering::Relaxed);
    }

    /// Whether what is written is kept for the next write.
    pub(crate) fn cork(&self, is_corked: bool) {
        self.is_corked.store(is_corked, Ordering::Relaxed);
    }

    /// Resolves when something has come, or with `false` at the connection's end or at `due`. A session in the meantime, and
    /// what Pingora's proxy puts around one, would take some 20 KB of each idle connection.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<bool> {
        let readable = match &mut self.io {
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
    /// ignored. Before that request `unread_bytes` of this one's body are dropped, which may take `limit`.
    pub(crate) fn keep_for_next(&self, unread_bytes: usize, limit: Duration) {
        *self.phase.lock() = Phase::Over(Next::Request { unread_bytes, limit });
    }

    /// The session has no more use for the connection, which is to be closed in steps.
    pub(crate) fn keep_to_linger(&self) {
        *self.phase.lock() = Phase::Over(Next::Linger);
    }

    fn keep(&mut self, bufs: &[IoSlice<'_>]) -> Option<usize> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if !*self.is_corked.get_mut() || self.kept.len() + length > MAX_KEPT_BYTES {
            return None;
        }
        for buf in bufs {
            self.kept.extend_from_slice(buf);
        }
        Some(length)
    }

    /// Writes what was kept and then `bufs`. Resolves with what was written of `bufs`, which is nothing only if they
    /// are empty.
    fn poll_through(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let is_empty = bufs.iter().all(|buf| buf.is_empty());
        loop {
            let kept = self.kept.len();
            if kept == 0 && is_empty {
                return Poll::Ready(Ok(0));
            }
            let written = ready!(self.poll_once(cx, bufs))?;
            if written < kept {
                self.kept.advance(written);
                continue;
            }
            self.kept.clear();
            if written > kept || is_empty {
                return Poll::Ready(Ok(written - kept));
            }
        }
    }

    fn poll_once(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(io) = &mut self.io else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let written = if io.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            slices[0] = IoSlice::new(&self.kept);
            let count = bufs.len().min(MAX_SLICES - 1);
            for (slice, buf) in slices[1..].iter_mut().zip(bufs) {
                *slice = IoSlice::new(buf);
            }
            let skipped = usize::from(self.kept.is_empty());
            Pin::new(io).poll_write_vectored(cx, &slices[skipped..=count])
        } else if self.kept.is_empty() && bufs.len() == 1 {
            Pin::new(io).poll_write(cx, &bufs[0])
        } else {
            // One TLS record in place of several.
            let mut joined = self.kept.to_vec();
            for buf in bufs {
                let room = (MAX_KEPT_BYTES + self.kept.len()).saturating_sub(joined.len());
                joined.extend_from_slice(&buf[..buf.len().min(room)]);
            }
            Pin::new(io).poll_write(cx, &joined)
        };
        self.guard(cx, written)
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

    /// Gives up what is pending for too long.
    fn guard<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        let limit = Duration::from_millis(self.write_timeout_ms.load(Ordering::Relaxed));
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        let Self { io, phase, timer, ahead, received, .. } = self.get_mut();
        let Some(io) = io else { return Poll::Ready(Ok(())) };
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
        match this.keep(bufs) {
            Some(kept) => Poll::Ready(Ok(kept)),
            None => this.poll_through(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if *this.is_corked.get_mut() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_through(cx, &[]))?;
        let flushed = this.io.as_mut().map_or(Poll::Ready(Ok(())), |io| Pin::new(io).poll_flush(cx));
        this.guard(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_mute() {
            return Poll::Ready(Ok(()));
        }
        ready!(this.poll_through(cx, &[]))?;
        let closed = this.io.as_mut().map_or(Poll::Ready(Ok(())), |io| Pin::new(io).poll_shutdown(cx));
        this.guard(cx, closed)
    }
}

impl Drop for ClientStream {
    /// Gives the connection back where its session is not the last to have it.
    fn drop(&mut self) {
        let next = match self.phase.get_mut() {
            Phase::Open => return,
            Phase::Head(head) => match head.refusal.take() {
                Some(refusal) => Next::Refuse(refusal),
                None => return,
            },
            Phase::Over(next) => std::mem::replace(next, Next::Linger),
        };
        let Some(io) = self.io.take() else { return };
        let write_timeout = Duration::from_millis(*self.write_timeout_ms.get_mut());
        let mut stream = Self::new(io, self.socket.take(), write_timeout, self.given_back.clone());
        stream.leave_timer(std::mem::take(self.timer.get_mut()));
        stream.ahead = std::mem::take(&mut self.ahead);
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
        match &self.io {
            Some(Io::Tcp(stream)) => stream.as_raw_fd(),
            Some(Io::Tls(stream)) => stream.id(),
            None => -1,
        }
    }
}

impl Ssl for ClientStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        match &self.io {
            Some(Io::Tls(stream)) => stream.get_ssl_digest(),
            Some(Io::Tcp(_)) | None => None,
        }
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match &self.io {
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(limit: Duration) -> (ClientStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        (ClientStream::plain(server, peer, limit), client)
    }

    #[tokio::test]
    async fn what_is_written_corked_goes_out_with_the_next_write() {
        let (mut stream, mut client) = pair(Duration::from_secs(5)).await;
        stream.cork(true);
        stream.write_all(b"head ").await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(client.try_read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        stream.cork(false);
        stream.write_all(b"body").await.unwrap();
        let mut read = [0; 9];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"head body");
    }

    #[tokio::test]
    async fn a_flush_is_enough_and_so_is_the_end() {
        for by_flush in [true, false] {
            let (mut stream, mut client) = pair(Duration::from_secs(5)).await;
            stream.cork(true);
            stream.write_all(b"all").await.unwrap();
            stream.cork(false);
            if by_flush {
                stream.flush().await.unwrap();
            } else {
                AsyncWriteExt::shutdown(&mut stream).await.unwrap();
            }
            let mut read = [0; 3];
            client.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"all");
        }
    }

    #[tokio::test]
    async fn more_than_is_kept_passes_in_order() {
        let (mut stream, mut client) = pair(Duration::from_secs(5)).await;
        stream.cork(true);
        stream.write_all(b"head ").await.unwrap();
        let large = vec![b'x'; 3 * MAX_KEPT_BYTES];
        let writing = tokio::spawn(async move {
            stream.write_all(&large).await.unwrap();
            stream.cork(false);
            stream.write_all(b" tail").await.unwrap();
            AsyncWriteExt::shutdown(&mut stream).await.unwrap();
        });
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        writing.await.unwrap();
        assert_eq!(read.len(), 10 + 3 * MAX_KEPT_BYTES);
        assert!(read.starts_with(b"head x") && read.ends_with(b"x tail"));
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut stream, _client) = pair(Duration::from_millis(20)).await;
        let endless = vec![b'x'; 1 << 26];
        let error = stream.write_all(&endless).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
