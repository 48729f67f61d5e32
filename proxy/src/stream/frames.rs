//! Counts an HTTP/2 client's frames as they pass, and ends a connection whose frames ask for work and carry nothing.
//!
//! A PING is answered, SETTINGS are acknowledged, a WINDOW_UPDATE is looked up, a frame of no known type is skipped: a client
//! that sends nothing else keeps a thread busy for ever. Each such frame takes from a credit, which grows with what is of
//! use: requests, and bytes that the client was sent, since it opens its windows as it reads. What is left grows back with
//! time, for clients that ping a connection for days.

use tokio::time::Instant;

/// A frame's header, in bytes (RFC 9113 §4.1).
const HEADER_BYTES: usize = 9;

/// Credit for the head of a request or the trailers after one: what it may be prioritized, updated and reset by.
const PER_REQUEST: u32 = 16;

/// Bytes sent to the client for which it gets credit for one frame: no event of a stream is smaller, and a client may
/// update two windows for each.
const BYTES_PER_CREDIT: usize = 32;

/// The part of the whole credit that grows back in a second.
const REFILL_SHARE: u32 = 100;

/// Types of frames (RFC 9113 §6).
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;

/// `END_STREAM` of a DATA frame: it tells something even if it is empty.
const END_STREAM: u8 = 0x1;

/// Reads the headers of a client's frames in passing.
#[derive(Debug)]
pub(super) struct FrameMeter {
    header: [u8; HEADER_BYTES],
    /// Bytes of the header that are here.
    filled: usize,
    /// Bytes of the payload, after a header, that are still to come.
    payload: usize,
    credit: u32,
    limit: u32,
    refilled: Instant,
}

/// The client has sent more frames that carry nothing than it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl FrameMeter {
    /// Of a connection that begins now, on which `limit` frames that carry nothing may come at once.
    pub(super) fn new(limit: u32, now: Instant) -> Self {
        Self { header: [0; HEADER_BYTES], filled: 0, payload: 0, credit: limit, limit, refilled: now }
    }

    /// Reads on in `bytes` that came from the client.
    ///
    /// # Errors
    /// The credit is used up.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), Flood> {
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
                self.frame()?;
            }
        }
        Ok(())
    }

    /// Notes bytes that were written to the client.
    pub(super) fn written(&mut self, bytes: usize) {
        self.earn(u32::try_from(bytes / BYTES_PER_CREDIT).unwrap_or(u32::MAX));
    }

    fn frame(&mut self) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match kind {
            HEADERS => self.earn(PER_REQUEST),
            // Its number within one head is limited where heads are decoded.
            CONTINUATION => {}
            DATA if self.payload > 0 || flags & END_STREAM != 0 => {}
            _ => return self.spend(),
        }
        Ok(())
    }

    fn earn(&mut self, credit: u32) {
        self.credit = self.credit.saturating_add(credit).min(self.limit);
    }

    fn spend(&mut self) -> Result<(), Flood> {
        if self.credit == 0 {
            self.refill();
        }
        self.credit = self.credit.checked_sub(1).ok_or(Flood)?;
        Ok(())
    }

    /// The clock is looked at only when nothing is left.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 0x6;
    const WINDOW_UPDATE: u8 = 0x8;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + payload, 0xff);
        frame
    }

    /// How many of these frames are let through. The one that is not ends where its payload would begin.
    fn passed(meter: &mut FrameMeter, frame: &[u8]) -> usize {
        let passed = (0..100_000).take_while(|_| meter.read(frame) == Ok(())).count();
        meter.payload = 0;
        passed
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_carry_nothing_use_up_a_credit_that_time_restores() {
        let nothing = [
            frame(PING, 0, 8),
            frame(0x4, 0, 0),
            frame(0x2, 0, 5),
            frame(WINDOW_UPDATE, 0, 4),
            frame(0x3, 0, 4),
            frame(0xfe, 0, 100),
            frame(DATA, 0, 0),
        ];
        for frame in nothing {
            let mut meter = FrameMeter::new(1000, Instant::now());
            assert_eq!(passed(&mut meter, &frame), 1000, "{frame:?}");
            tokio::time::advance(Duration::from_secs(2)).await;
            assert_eq!(passed(&mut meter, &frame), 20);
            tokio::time::advance(Duration::from_secs(86_400)).await;
            assert_eq!(passed(&mut meter, &frame), 1000);
        }
    }

    #[test]
    fn requests_and_their_bodies_cost_nothing() {
        let mut meter = FrameMeter::new(1000, Instant::now());
        let request = [
            frame(HEADERS, 4, 50),
            frame(CONTINUATION, 4, 50),
            frame(DATA, 0, 1),
            frame(DATA, 0, 16_384),
            frame(DATA, END_STREAM, 0),
        ];
        assert_eq!(passed(&mut meter, &request.concat()), 100_000);
        // Nor those with what browsers send beside them.
        let request = [request.concat(), frame(WINDOW_UPDATE, 0, 4).repeat(10), frame(0x3, 0, 4)];
        assert_eq!(passed(&mut meter, &request.concat()), 100_000);
    }

    #[test]
    fn who_reads_a_stream_may_open_its_windows() {
        let mut meter = FrameMeter::new(1000, Instant::now());
        let updates = frame(WINDOW_UPDATE, 0, 4).repeat(2);
        for _ in 0..100_000 {
            meter.written(70);
            meter.read(&updates).unwrap();
        }
    }

    #[test]
    fn it_does_not_matter_how_frames_are_cut() {
        let stream =
            [frame(HEADERS, 4, 50), frame(PING, 0, 8), frame(DATA, 1, 300), frame(PING, 0, 8)].concat();
        for size in 1..stream.len() {
            let mut meter = FrameMeter::new(1, Instant::now());
            let all: Result<(), Flood> = stream.chunks(size).try_for_each(|piece| meter.read(piece));
            assert_eq!(all, Err(Flood), "the head earned nothing that there was room for: {size}");
        }
    }
}
