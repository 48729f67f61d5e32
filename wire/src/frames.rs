//! The headers of HTTP/2 frames, read in passing, and what whoever sends them has credit for.

use tokio::time::Instant;

/// A frame's header, in bytes (RFC 9113 §4.1).
const HEADER_BYTES: usize = 9;

/// The part of a whole credit that grows back in a second.
const REFILL_SHARE: u32 = 100;

/// The connection preface of HTTP/2, in bytes (RFC 9113 §3.4).
pub const PREFACE_BYTES: usize = 24;

/// Types of frames (RFC 9113 §6).
pub const DATA: u8 = 0x0;
/// The head of a message, or what follows one.
pub const HEADERS: u8 = 0x1;
/// The end of a stream, whatever is missing.
pub const RST_STREAM: u8 = 0x3;
/// More of a head.
pub const CONTINUATION: u8 = 0x9;

/// `END_STREAM` of a frame of DATA or HEADERS: nothing follows on its stream.
pub const END_STREAM: u8 = 0x1;

/// Reads the headers of the frames of one direction of a connection, however its bytes are cut.
#[derive(Debug)]
pub struct Frames {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are here.
    filled: usize,
    /// Bytes of the payload, after a header, that are still to come.
    payload: usize,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// Its payload, in bytes.
    pub length: usize,
}

/// How much may be sent at once. What was used grows back with what is of use, and slowly with time.
#[derive(Debug)]
pub struct Credit {
    left: u32,
    limit: u32,
    refilled: Instant,
}

/// More was sent than there is credit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more HTTP/2 frames than are allowed")]
pub struct Flood;

impl Frames {
    /// Of what comes behind `preface_bytes`.
    #[must_use]
    pub fn behind(preface_bytes: usize) -> Self {
        Self { header: [0; HEADER_BYTES], filled: 0, payload: preface_bytes }
    }

    /// Reads on in `bytes`, and tells `judge` of each frame as soon as its header is there.
    ///
    /// # Errors
    /// What `judge` says.
    pub fn read<E>(
        &mut self,
        mut bytes: &[u8],
        mut judge: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let passed = self.payload.min(bytes.len());
                self.payload -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (HEADER_BYTES - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == HEADER_BYTES {
                self.filled = 0;
                let frame = Frame::from(self.header);
                self.payload = frame.length;
                judge(frame)?;
            }
        }
        Ok(())
    }
}

impl Frame {
    /// Whether nothing follows on its stream.
    #[must_use]
    pub fn ends_stream(self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

impl From<[u8; HEADER_BYTES]> for Frame {
    fn from([high, middle, low, kind, flags, stream @ ..]: [u8; HEADER_BYTES]) -> Self {
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        // The first bit is reserved.
        Self { kind, flags, stream: u32::from_be_bytes(stream) & (u32::MAX >> 1), length }
    }
}

impl Credit {
    /// A whole credit of `limit`, as of `now`.
    #[must_use]
    pub fn new(limit: u32, now: Instant) -> Self {
        Self { left: limit, limit, refilled: now }
    }

    /// Gives credit, up to the limit.
    pub fn earn(&mut self, credit: u32) {
        self.left = self.left.saturating_add(credit).min(self.limit);
    }

    /// Takes credit.
    ///
    /// # Errors
    /// There is not that much left.
    pub fn spend(&mut self, cost: u32) -> Result<(), Flood> {
        if self.left < cost {
            self.refill();
        }
        self.left = self.left.checked_sub(cost).ok_or(Flood)?;
        Ok(())
    }

    /// The clock is looked at only when not enough is left.
    fn refill(&mut self) {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.refilled).as_millis();
        let earned = elapsed * u128::from(self.limit) / u128::from(REFILL_SHARE) / 1000;
        if earned > 0 {
            self.refilled = now;
            self.earn(u32::try_from(earned).unwrap_or(u32::MAX));
        }
    }
}
