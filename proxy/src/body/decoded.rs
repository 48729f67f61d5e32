//! What a compressed body decodes to: kept beside what was sent, and counted with all bodies.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::memory::{BodyMemory, Held};
use crate::error::Error;

/// What a compressed body decodes to.
#[derive(Debug)]
pub(crate) struct Decoded {
    chunks: Vec<Bytes>,
    room: Room,
}

/// Memory taken for what a body decodes to; given back when dropped. Nobody else gets it before: a body is decoded when it
/// has come to its end, and so is known as whole.
#[derive(Debug)]
pub(crate) struct Room {
    held: Held,
    /// Whom it is counted for.
    client: Option<IpAddr>,
    /// Of all bodies in flight, in bytes.
    limit: usize,
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
        let Room { held, client, limit } = &self.room;
        let room = Room { held: held.share(*client, *limit)?, client: *client, limit: *limit };
        Some(Self { chunks: self.chunks.clone(), room })
    }
}

impl Room {
    /// No memory yet.
    pub(super) fn new(memory: &Arc<BodyMemory>, client: Option<IpAddr>, limit: usize) -> Self {
        Self { held: Held::of_whole(memory), client, limit }
    }

    /// Takes more.
    ///
    /// # Errors
    /// There is no more.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        Ok(self.held.take(bytes, self.client, self.limit)?)
    }
}
