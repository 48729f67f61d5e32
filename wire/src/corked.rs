//! A connection on which what is written in pieces goes out as one, and within a deadline.
//!
//! Pingora's session writes the head of a response apart from its body, and a chunk apart from the end of the body. Each
//! write to a socket walks the whole of TCP, which costs more than all else that a small response takes. A connection that
//! is *corked* keeps what is written, and hands it over with the first write after. Pingora has such a buffer too, but
//! empties it without a deadline; so the deadline sits here, beneath everything that writes.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::io::Io;

/// The most that a corked connection keeps, in bytes. Larger writes gain nothing from being joined.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// Pieces that one write hands to the system.
const MAX_SLICES: usize = 8;

/// A connection whose writes are joined while it is corked, and given up where they do not get on.
#[derive(Debug)]
pub struct CorkedStream {
    io: Io,
    kept: BytesMut,
    is_corked: AtomicBool,
    write_timeout_ms: AtomicU64,
    /// Runs while the other end takes nothing of what is written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl CorkedStream {
    /// A connection that is not corked, whose writes may take `write_timeout` to get on.
    pub fn new(io: Io, write_timeout: Duration) -> Self {
        let stream = Self {
            io,
            kept: BytesMut::new(),
            is_corked: AtomicBool::new(false),
            write_timeout_ms: AtomicU64::new(0),
            stalled: None,
        };
        stream.set_write_timeout(write_timeout);
        stream
    }

    /// What is beneath.
    #[inline]
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// What is beneath, to be read from: what is kept goes out before anything else.
    #[inline]
    pub fn io_mut(&mut self) -> &mut Io {
        &mut self.io
    }

    /// The same connection as new: not corked, and without what was kept.
    #[must_use]
    pub fn renewed(self) -> Self {
        let write_timeout = Duration::from_millis(self.write_timeout_ms.load(Ordering::Relaxed));
        Self::new(self.io, write_timeout)
    }

    /// How long a write may take to get on, from now on.
    #[inline]
    pub fn set_write_timeout(&self, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        self.write_timeout_ms.store(limit_ms, Ordering::Relaxed);
    }

    /// Whether what is written is kept for the next write.
    #[inline]
    pub fn cork(&self, is_corked: bool) {
        self.is_corked.store(is_corked, Ordering::Relaxed);
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
        let written = if self.io.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            slices[0] = IoSlice::new(&self.kept);
            let count = bufs.len().min(MAX_SLICES - 1);
            for (slice, buf) in slices[1..].iter_mut().zip(bufs) {
                *slice = IoSlice::new(buf);
            }
            let skipped = usize::from(self.kept.is_empty());
            Pin::new(&mut self.io).poll_write_vectored(cx, &slices[skipped..=count])
        } else if self.kept.is_empty() && bufs.len() == 1 {
            Pin::new(&mut self.io).poll_write(cx, &bufs[0])
        } else {
            // One TLS record in place of several.
            let mut joined = self.kept.to_vec();
            for buf in bufs {
                let room = (MAX_KEPT_BYTES + self.kept.len()).saturating_sub(joined.len());
                joined.extend_from_slice(&buf[..buf.len().min(room)]);
            }
            Pin::new(&mut self.io).poll_write(cx, &joined)
        };
        self.guard(cx, written)
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

impl AsyncRead for CorkedStream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CorkedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
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
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        this.guard(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_through(cx, &[]))?;
        let closed = Pin::new(&mut this.io).poll_shutdown(cx);
        this.guard(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair(limit: Duration) -> (CorkedStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (CorkedStream::new(Io::Tcp(server), limit), client)
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
