//! Counts an HTTP/2 client's frames as they pass, and ends a connection whose frames ask for work and carry nothing.
//!
//! A PING is answered, SETTINGS are acknowledged, a WINDOW_UPDATE is looked up, a frame of no known type is skipped: a client
//! that sends nothing else keeps a thread busy for ever. Each such frame takes from a credit, which grows with what is of
//! use: requests, and bytes that the client was sent, since it opens its windows as it reads. What is left grows back with
//! time, for clients that ping a connection for days.

use penstock_wire::frames::{CONTINUATION, Credit, DATA, Flood, Frames, HEADERS};
use tokio::time::Instant;

/// Credit for the head of a request or the trailers after one: what it may be prioritized, updated and reset by.
const PER_REQUEST: u32 = 16;

/// Bytes sent to the client for which it gets credit for one frame: no event of a stream is smaller, and a client may
/// update two windows for each.
const BYTES_PER_CREDIT: usize = 32;

/// Judges a client's frames by their headers.
#[derive(Debug)]
pub(super) struct FrameMeter {
    frames: Frames,
    credit: Credit,
}

impl FrameMeter {
    /// Of a connection that begins now, on which `limit` frames that carry nothing may come at once.
    pub(super) fn new(limit: u32, now: Instant) -> Self {
        Self { frames: Frames::behind(0), credit: Credit::new(limit, now) }
    }

    /// Reads on in `bytes` that came from the client.
    ///
    /// # Errors
    /// The credit is used up.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let Self { frames, credit } = self;
        frames.read(bytes, |frame| {
            match frame.kind {
                HEADERS => credit.earn(PER_REQUEST),
                // Its number within one head is limited where heads are decoded.
                CONTINUATION => {}
                // An empty one that is the last tells something.
                DATA if frame.length > 0 || frame.ends_stream() => {}
                _ => return credit.spend(1),
            }
            Ok(())
        })
    }

    /// Notes bytes that were written to the client.
    pub(super) fn written(&mut self, bytes: usize) {
        self.credit.earn(u32::try_from(bytes / BYTES_PER_CREDIT).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use penstock_wire::frames::END_STREAM;

    use super::*;

    const PING: u8 = 0x6;
    const WINDOW_UPDATE: u8 = 0x8;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(frame.len() + payload, 0xff);
        frame
    }

    /// How many of these frames are let through. The one that is not ends where its payload would begin.
    fn passed(meter: &mut FrameMeter, frame: &[u8]) -> usize {
        let passed = (0..100_000).take_while(|_| meter.read(frame) == Ok(())).count();
        meter.frames = Frames::behind(0);
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
