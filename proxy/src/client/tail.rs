//! The tail of a request's body, read from the socket into the buffer it stays in.
//!
//! Pingora reads a body into a buffer of 64 KiB, which it allocates for each request, and copies each piece out of it: with
//! large prompts a tenth of what a request costs. What `Content-Length` frames needs no parser, and the length is what
//! Pingora framed the body by. So what follows the piece that came with the head is read here instead, and Pingora is not
//! asked to read again: it would take the next request for what it still waits for.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

use crate::error::Error;

/// Bytes that are allocated at a time, once there is something to read. The pieces of a body share them.
const BLOCK_BYTES: usize = 64 * 1024;

/// As many are once one read has filled such a block: a client that sends faster than it is read from. One read and one
/// acknowledgement in place of three cost some hundredths less of a request of 220 KB.
const LARGE_BLOCK_BYTES: usize = 256 * 1024;

/// What is left of a block is given up rather than read into if it is less, in bytes.
const LEAST_ROOM_BYTES: usize = 8 * 1024;

/// What Pingora has not read of a body.
#[derive(Debug)]
pub(super) struct BodyTail {
    left: usize,
    read: usize,
    block: BytesMut,
    /// How long the next block is, in bytes.
    block_bytes: usize,
}

impl BodyTail {
    /// The last `left` bytes of a body.
    pub(super) fn new(left: usize) -> Self {
        Self { left, read: 0, block: BytesMut::new(), block_bytes: BLOCK_BYTES }
    }

    /// Whether all of it was read.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Bytes of it that were read.
    pub(super) fn bytes_read(&self) -> usize {
        self.read
    }

    /// Bytes of it that were not.
    pub(super) fn bytes_left(&self) -> usize {
        self.left
    }

    /// The next piece; `None` at the end. May be cancelled and called again.
    ///
    /// # Errors
    /// The client left before the end of its body.
    pub(super) async fn read(&mut self, socket: &TcpStream) -> io::Result<Option<Bytes>> {
        if self.is_done() {
            return Ok(None);
        }
        loop {
            // A client that sends as fast as this reads would keep the others of its thread waiting.
            tokio::task::coop::consume_budget().await;
            socket.readable().await?;
            let is_new = self.block.capacity() < self.left.min(LEAST_ROOM_BYTES);
            if is_new {
                self.block.reserve(self.left.min(self.block_bytes));
            }
            let room = self.left.min(self.block.capacity());
            match socket.try_read_buf(&mut (&mut self.block).limit(room)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.left -= read;
                    self.read += read;
                    if read == BLOCK_BYTES {
                        self.block_bytes = LARGE_BLOCK_BYTES;
                    }
                    let piece = self.block.split_to(read).freeze();
                    if self.is_done() {
                        // It would keep the memory of the pieces for as long as the answer takes.
                        self.block = BytesMut::new();
                    }
                    return Ok(Some(piece));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if is_new {
                        // A block of which nothing is used is no price for waiting.
                        self.block = BytesMut::new();
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Resolves when the client leaves. Its next request, sent ahead, stays in the socket and hides that.
pub(super) async fn gone(socket: &TcpStream) -> Error {
    match socket.peek(&mut [0]).await {
        Ok(1..) => std::future::pending().await,
        Ok(0) | Err(_) => Error::ClientGone,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    fn numbers(length: usize) -> Vec<u8> {
        (0..length).map(|place| (place % 251) as u8).collect()
    }

    #[tokio::test]
    async fn all_of_it_is_read_and_nothing_behind_it() {
        let (socket, mut client) = pair().await;
        for length in [1, LEAST_ROOM_BYTES, BLOCK_BYTES, BLOCK_BYTES + 1, 1_000_003] {
            let body = numbers(length);
            let mut sent = body.clone();
            sent.extend_from_slice(b"next");
            let writing = tokio::spawn(async move {
                client.write_all(&sent).await.unwrap();
                client
            });
            let mut tail = BodyTail::new(length);
            let mut read = Vec::new();
            while let Some(piece) = tail.read(&socket).await.unwrap() {
                read.extend_from_slice(&piece);
                assert_eq!(tail.bytes_read(), read.len());
            }
            assert!(read == body && tail.is_done(), "{length}");
            assert!(tail.read(&socket).await.unwrap().is_none());
            client = writing.await.unwrap();
            BodyTail::new(4).read(&socket).await.unwrap();
        }
    }

    #[tokio::test]
    async fn small_pieces_share_a_block() {
        let (socket, mut client) = pair().await;
        let mut tail = BodyTail::new(1 << 20);
        let mut pieces = Vec::new();
        for _ in 0..100 {
            client.write_all(&[7; 100]).await.unwrap();
            pieces.push(tail.read(&socket).await.unwrap().unwrap());
        }
        let (first, last) = (pieces[0].as_ptr().addr(), pieces[99].as_ptr().addr());
        assert!((first..first + BLOCK_BYTES).contains(&last));
    }

    #[tokio::test]
    async fn blocks_grow_for_who_fills_one_at_once_and_for_nobody_else() {
        let (socket, mut client) = pair().await;
        let mut tail = BodyTail::new(1 << 24);
        for _ in 0..2 {
            client.write_all(&[7; BLOCK_BYTES / 2]).await.unwrap();
            tail.read(&socket).await.unwrap();
        }
        assert_eq!(tail.block_bytes, BLOCK_BYTES);
        let sending = tokio::spawn(async move { client.write_all(&vec![7; 1 << 23]).await.map(|()| client) });
        // Held, as a request's are: a block that nobody else holds is grown in place.
        let mut pieces = Vec::new();
        while tail.bytes_read() < BLOCK_BYTES + (1 << 23) {
            pieces.push(tail.read(&socket).await.unwrap().unwrap());
        }
        let longest = pieces.iter().map(Bytes::len).max().unwrap();
        assert!(longest > BLOCK_BYTES && longest <= LARGE_BLOCK_BYTES, "{longest}");
        sending.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn who_waits_holds_no_memory() {
        let (socket, _client) = pair().await;
        let mut tail = BodyTail::new(1 << 20);
        let read = tokio::time::timeout(std::time::Duration::from_millis(20), tail.read(&socket)).await;
        assert!(read.is_err());
        assert_eq!(tail.block.capacity(), 0);
    }

    #[tokio::test]
    async fn no_block_is_kept_that_nothing_has_come_into_or_that_nothing_will() {
        let (socket, mut client) = pair().await;
        let mut tail = BodyTail::new(BLOCK_BYTES + 1000);
        client.write_all(&[7; BLOCK_BYTES]).await.unwrap();
        while tail.bytes_read() < BLOCK_BYTES {
            tail.read(&socket).await.unwrap();
        }
        // The socket still counts as readable, until it was tried.
        let read = tokio::time::timeout(std::time::Duration::from_millis(20), tail.read(&socket)).await;
        assert!(read.is_err());
        assert_eq!(tail.block.capacity(), 0);
        client.write_all(&[7; 1000]).await.unwrap();
        while tail.read(&socket).await.unwrap().is_some() {}
        assert_eq!(tail.block.capacity(), 0);
    }

    #[tokio::test]
    async fn a_client_that_leaves_before_the_end_is_told_from_the_end() {
        let (socket, mut client) = pair().await;
        client.write_all(b"half").await.unwrap();
        drop(client);
        let mut tail = BodyTail::new(8);
        assert_eq!(tail.read(&socket).await.unwrap().unwrap(), "half");
        assert_eq!(tail.read(&socket).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(matches!(gone(&socket).await, Error::ClientGone));
    }

    #[tokio::test]
    async fn a_client_that_sends_ahead_has_not_left() {
        let (socket, mut client) = pair().await;
        client.write_all(b"next").await.unwrap();
        let watched = tokio::time::timeout(std::time::Duration::from_millis(20), gone(&socket)).await;
        assert!(watched.is_err());
        let mut tail = BodyTail::new(4);
        assert_eq!(tail.read(&socket).await.unwrap().unwrap(), "next");
    }
}
