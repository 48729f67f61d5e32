//! What a compressed body decodes to: kept beside what was sent, and counted with all bodies.

use std::sync::Arc;

use bytes::Bytes;

use super::memory::{BodyMemory, ClientKey, LargeBody, SMALL_BYTES};
use crate::error::Error;

/// What a compressed body decodes to.
#[derive(Debug)]
pub(crate) struct Decoded {
    chunks: Vec<Bytes>,
    room: Room,
}

/// Memory taken for what a body decodes to; given back when dropped. Nobody else gets it before: a body is decoded when it
/// has come to its end.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Arc<BodyMemory>,
    client: ClientKey,
    /// Of all bodies in flight, in bytes.
    limit: usize,
    /// Counted in `memory`; by `large`, once there is such a thing.
    bytes: usize,
    large: Option<LargeBody>,
}

/// In which forms the body of a compressed request is sent on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forms {
    /// Decoded.
    pub(crate) plain: bool,
    /// As it was sent.
    pub(crate) encoded: bool,
}

impl Decoded {
    /// A decoded body, and the room that it takes.
    pub(crate) fn new(chunks: Vec<Bytes>, room: Room) -> Self {
        Self { chunks, room }
    }

    /// The body.
    pub(super) fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The same for somebody else, counted once more; `None` if there is no memory for it.
    pub(super) fn share(&self) -> Option<Self> {
        let Room { memory, client, limit, bytes, .. } = &self.room;
        let mut room = Room::new(memory, *client, *limit);
        room.take(*bytes).ok()?;
        Some(Self { chunks: self.chunks.clone(), room })
    }
}

impl Room {
    /// No memory yet.
    pub(super) fn new(memory: &Arc<BodyMemory>, client: ClientKey, limit: usize) -> Self {
        Self { memory: memory.clone(), client, limit, bytes: 0, large: None }
    }

    /// Takes more.
    ///
    /// # Errors
    /// There is no more.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let size = self.bytes.saturating_add(bytes);
        if size > SMALL_BYTES {
            let (memory, client, counted) = (&self.memory, self.client, self.bytes);
            let large = self.large.get_or_insert_with(|| {
                let mut large = LargeBody::new(memory, client, counted);
                large.complete();
                large
            });
            large.take(bytes, self.limit)?;
        } else if !self.memory.take(bytes, self.limit) {
            return Err(Error::BodyMemoryExhausted);
        }
        self.bytes = size;
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.large.is_none() {
            self.memory.give_back(self.bytes);
        }
    }
}
