//! Undoes the `Content-Encoding` of request bodies, away from the threads that serve requests.
//!
//! What a request costs is told by its size, unless its body is compressed: five hundred bytes can take a tenth of a
//! second. So a compressed body is read to its end first, which tells what it may decode to (`limits.decodedBodyRatio`),
//! waits for its turn, and is decoded on a thread of its own. There are few turns, so that decoding never takes more than a
//! share of the machine, whoever sends what. What comes out is counted with all bodies, and kept for every attempt.
//!
//! Turned down: decoding pieces as they arrive, on the thread that serves the client. Nobody waits for a turn then, but
//! each piece may be the one that keeps that thread's other clients waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use penstock_peek::{Coding, Decoder, Options, Peek, Peeked, Sink};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::body::{Decoded, Room};
use crate::error::Error;

/// Of so many threads that serve requests, there is one turn for decoding.
const THREADS_A_TURN: usize = 4;

/// How much of a body is decoded before somebody looks whether to go on, in bytes as sent.
const SLICE_BYTES: usize = 16 * 1024;

/// Length of the chunks in which a decoded body is kept, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Decodes bodies, a few at a time.
pub(crate) struct Decoders {
    turns: Arc<Semaphore>,
}

/// A compressed body, all of it.
pub(crate) struct Encoded {
    /// How it is compressed.
    pub(crate) coding: Coding,
    /// Its bytes.
    pub(crate) chunks: Vec<Bytes>,
    /// Reads what comes out.
    pub(crate) peek: Peek,
    /// The memory that it may take.
    pub(crate) room: Room,
}

/// Whether anybody still waits for what is being decoded.
pub(crate) type IsWanted<'a> = &'a dyn Fn() -> bool;

impl Decoders {
    /// Decoders beside so many threads that serve requests.
    pub(crate) fn new(threads: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(threads.div_ceil(THREADS_A_TURN))) }
    }

    /// Waits for a turn, for `patience` at most, and does `work` on a thread of its own. Dropped, it lets `work` know that
    /// nobody waits any more; the turn ends when `work` does.
    ///
    /// # Errors
    /// Others took all turns.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce(IsWanted<'_>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = tokio::time::timeout(patience, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_elapsed| Error::DecodeBusy)?.map_err(Error::internal)?;
        let (sender, done) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let done = work(&|| !sender.is_closed());
            // Nobody waits for it where that fails.
            let _ = sender.send(done);
        });
        done.await.map_err(Error::internal)
    }
}

impl Encoded {
    /// Decodes the body and reads what comes out, for `limit` at most. Blocks.
    ///
    /// # Errors
    /// It must be refused, takes too long, or there is no memory for it.
    pub(crate) fn decode(
        self,
        options: &Options,
        limit: Duration,
        is_wanted: IsWanted<'_>,
    ) -> Result<(Peeked, Decoded), Error> {
        let Self { coding, chunks, peek, room } = self;
        let (length, is_form) = (chunks.iter().map(Bytes::len).sum(), peek.is_form());
        let mut decoder = Decoder::new(coding, length, is_form, options, Kept::new(peek, room))?;
        let ends = Instant::now() + limit;
        for slice in chunks.iter().flat_map(|chunk| chunk.chunks(SLICE_BYTES)) {
            if !is_wanted() {
                return Err(Error::ClientGone);
            }
            if Instant::now() >= ends {
                return Err(Error::DecodeTimeout);
            }
            decoder.feed(slice)?;
        }
        decoder.finish()?.finish()
    }
}

/// Keeps what comes out, and has it read.
struct Kept {
    peek: Peek,
    room: Room,
    chunks: Vec<Bytes>,
    /// The last chunk, which is not full.
    last: Vec<u8>,
}

impl Kept {
    fn new(peek: Peek, room: Room) -> Self {
        Self { peek, room, chunks: Vec::new(), last: Vec::new() }
    }

    fn finish(mut self) -> Result<(Peeked, Decoded), Error> {
        self.last.shrink_to_fit();
        self.close_chunk();
        Ok((self.peek.finish()?, Decoded::new(self.chunks, self.room)))
    }

    fn close_chunk(&mut self) {
        if !self.last.is_empty() {
            self.chunks.push(std::mem::take(&mut self.last).into());
        }
    }
}

impl Sink for Kept {
    type Error = Error;

    fn take(&mut self, decoded: &[u8]) -> Result<(), Error> {
        self.room.take(decoded.len())?;
        self.peek.feed(decoded)?;
        let mut rest = decoded;
        while !rest.is_empty() {
            if self.last.len() == CHUNK_BYTES {
                self.close_chunk();
            }
            if self.last.capacity() == 0 {
                self.last.reserve_exact(CHUNK_BYTES);
            }
            let (fits, more) = rest.split_at(rest.len().min(CHUNK_BYTES - self.last.len()));
            self.last.extend_from_slice(fits);
            rest = more;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
