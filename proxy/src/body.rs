//! A request's body: held for as long as another attempt may need it, within a bound for it and one for all of them.

mod decoded;
mod memory;

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use penstock_config::Limits;
use tokio_util::sync::CancellationToken;

pub(crate) use decoded::{Decoded, Forms, Room};
pub(crate) use memory::BodyMemory;
use memory::{Held, Refused};

use crate::error::Error;

/// Held chunks that are together no longer than this are joined, in bytes.
const JOINED_BYTES: usize = 1024;

/// The body of one request. Its chunks are the client's own bytes, held by reference count.
#[derive(Debug)]
pub(crate) struct Body {
    chunks: Vec<Bytes>,
    held: Held,
    /// What the chunks decode to, where they are compressed and somebody has to read them.
    decoded: Option<Box<Decoded>>,
}

impl Body {
    /// A body of which nothing has been read.
    pub(crate) fn new(memory: &Arc<BodyMemory>) -> Self {
        Self { chunks: Vec::new(), held: Held::new(memory), decoded: None }
    }

    /// Keeps `chunk`, which came from `client`, for further attempts.
    ///
    /// # Errors
    /// The body, or all bodies in flight together, would exceed their limit; or this one was given up for others.
    pub(crate) fn hold(
        &mut self,
        chunk: Bytes,
        client: Option<IpAddr>,
        limits: &Limits,
        of_rule: usize,
    ) -> Result<(), Error> {
        if self.held.bytes().saturating_add(chunk.len()) > limits.body_bytes {
            return Err(Error::BodyTooLarge { limit_bytes: limits.body_bytes });
        }
        if self.held.bytes().saturating_add(chunk.len()) > of_rule {
            return Err(Error::RuleBodyTooLarge { limit_bytes: of_rule });
        }
        self.held.take(chunk.len(), client, limits.bodies_in_flight_bytes)?;
        keep(&mut self.chunks, chunk);
        Ok(())
    }

    /// Notes that the body has been read to its end.
    pub(crate) fn complete(&mut self) {
        self.held.complete();
    }

    /// What `read` resolves with, unless the body is given up for others first.
    ///
    /// # Errors
    /// Those of `read`, and [`Error::BodyGivenUp`].
    pub(crate) async fn unless_given_up<T>(
        &self,
        read: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let Some(given_up) = self.held.given_up() else { return read.await };
        let (mut read, mut given_up) = (pin!(read), pin!(CancellationToken::cancelled(given_up)));
        std::future::poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Pending => given_up.as_mut().poll(cx).map(|()| Err(Error::BodyGivenUp)),
            read => read,
        })
        .await
    }

    /// Whether the body has been read to its end.
    pub(crate) fn is_complete(&self) -> bool {
        self.held.is_complete()
    }

    /// The chunks that were read, as they were sent.
    pub(crate) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The chunks that were read, decoded if they were.
    pub(crate) fn plain(&self) -> &[Bytes] {
        self.decoded.as_ref().map_or(&self.chunks, |decoded| decoded.chunks())
    }

    /// Whether the body was decoded, so that [`Self::plain`] is not what was sent.
    pub(crate) fn is_decoded(&self) -> bool {
        self.decoded.is_some()
    }

    /// Takes what the body decodes to.
    pub(crate) fn set_decoded(&mut self, decoded: Decoded) {
        self.decoded = Some(Box::new(decoded));
    }

    /// Room for what the body of `client` decodes to, of which nothing is taken yet.
    pub(crate) fn room(&self, client: Option<IpAddr>, limits: &Limits) -> Room {
        Room::new(self.held.memory(), client, limits.bodies_in_flight_bytes)
    }

    /// Lets go of the form of a decoded body that nobody is sent.
    pub(crate) fn keep_only(&mut self, forms: Forms) {
        if !self.is_decoded() {
            return;
        }
        if !forms.plain {
            self.decoded = None;
        } else if !forms.encoded {
            self.release_encoded();
        }
    }

    /// The same body for somebody else, counted for `client` once more; `None` if it is not whole or there is no memory for it.
    pub(crate) fn share(&self, client: Option<IpAddr>, limits: &Limits) -> Option<Self> {
        if !self.is_complete() {
            return None;
        }
        let decoded = match &self.decoded {
            None => None,
            Some(decoded) => Some(Box::new(decoded.share()?)),
        };
        let held = self.held.share(client, limits.bodies_in_flight_bytes)?;
        Some(Self { chunks: self.chunks.clone(), held, decoded })
    }

    /// Lets go of the body: nothing will be tried with it any more. A long stream must not keep its prompt in memory,
    /// nor a client that is slow to take its answer others' bodies out of it.
    pub(crate) fn release(&mut self) {
        self.release_encoded();
        self.decoded = None;
    }

    fn release_encoded(&mut self) {
        self.chunks = Vec::new();
        self.held.release();
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoRoom => Self::BodyMemoryExhausted,
            Refused::GivenUp => Self::BodyGivenUp,
        }
    }
}

/// Adds a chunk to those held. Small ones are joined: each costs many times its length beside its bytes, and a client
/// that cuts its body into single bytes would take up far more memory than is counted.
fn keep(held: &mut Vec<Bytes>, chunk: Bytes) {
    if chunk.is_empty() {
        return;
    }
    match held.last_mut() {
        Some(last) if last.len() + chunk.len() <= JOINED_BYTES => {
            let mut joined = Vec::with_capacity(JOINED_BYTES);
            joined.extend_from_slice(last);
            joined.extend_from_slice(&chunk);
            *last = Bytes::from(joined);
        }
        _ => held.push(chunk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_single_bytes_is_held_in_few_chunks() {
        let mut held = Vec::new();
        for byte in 0..100_000u32 {
            keep(&mut held, Bytes::copy_from_slice(&[byte as u8]));
            keep(&mut held, Bytes::new());
        }
        assert!(held.len() <= 100_000 / JOINED_BYTES + 1, "{}", held.len());
        let body = held.concat();
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == at as u8) && body.len() == 100_000);
    }

    #[test]
    fn large_chunks_are_held_as_they_come() {
        let chunk = Bytes::from(vec![1; 4096]);
        let mut held = Vec::new();
        keep(&mut held, chunk.clone());
        keep(&mut held, chunk.clone());
        assert_eq!(held.len(), 2);
        assert_eq!(held[1].as_ptr(), chunk.as_ptr());
    }
}
