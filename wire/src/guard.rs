//! What guards an HTTP/2 connection to an upstream: it ends where the upstream sends more heads than its requests allow.
//!
//! Any number of interim responses may come before the one that counts, and the HTTP/2 library queues them until somebody
//! asks for them. No window holds them back as it does bodies, so an upstream could fill the memory with them. They are
//! counted beneath the library, where they come in: a pool of connections of our own around another library would be far
//! more, for the same bound.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use rustc_hash::FxHashMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::frames::{CONTINUATION, Credit, DATA, Flood, Frame, Frames, HEADERS, PREFACE_BYTES, RST_STREAM};

/// What the heads of one response may take at once, interim ones included: a credit for each and for each
/// [`BYTES_PER_CREDIT`] of it. That is 256 KiB as they are sent, and a hundredth of it more each second.
const HEADS_PER_RESPONSE: u32 = 1024;

/// Bytes of a head, as it is sent, that cost a credit.
const BYTES_PER_CREDIT: usize = 256;

/// Frames at once that belong to no response that is awaited: PING, SETTINGS, WINDOW_UPDATE, heads of requests that were
/// cancelled. The default of what clients may send.
const OTHER_FRAMES: u32 = 10_000;

/// What a request allows for of these.
const OTHERS_PER_REQUEST: u32 = 16;

/// As many more are allowed for by so many bytes that were sent: an upstream opens its windows as it reads.
const SENT_BYTES_PER_CREDIT: usize = 32;

/// A connection to an upstream whose frames are counted.
pub(crate) struct Guarded {
    stream: Stream,
    meter: Meter,
}

/// Counts the frames of a connection.
#[derive(Debug)]
struct Meter {
    sent: Frames,
    received: Frames,
    /// What the heads of each awaited response may still take. As long as the streams that the gateway has open.
    awaited: FxHashMap<u32, Credit>,
    others: Credit,
}

impl Guarded {
    /// Guards a connection on which nothing was sent yet.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, meter: Meter::new(Instant::now()) }
    }
}

impl Meter {
    fn new(now: Instant) -> Self {
        Self {
            sent: Frames::behind(PREFACE_BYTES),
            received: Frames::behind(0),
            awaited: FxHashMap::default(),
            others: Credit::new(OTHER_FRAMES, now),
        }
    }

    fn sent(&mut self, bytes: &[u8]) {
        let Self { sent, awaited, others, .. } = self;
        others.earn(u32::try_from(bytes.len() / SENT_BYTES_PER_CREDIT).unwrap_or(u32::MAX));
        let Ok(()) = sent.read(bytes, |frame| {
            match frame.kind {
                HEADERS => {
                    others.earn(OTHERS_PER_REQUEST);
                    awaited.insert(frame.stream, Credit::new(HEADS_PER_RESPONSE, Instant::now()));
                }
                RST_STREAM => drop(awaited.remove(&frame.stream)),
                _ => {}
            }
            Ok::<_, std::convert::Infallible>(())
        });
    }

    fn received(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let Self { received, awaited, others, .. } = self;
        received.read(bytes, |frame| {
            match (frame.kind, awaited.get_mut(&frame.stream)) {
                (HEADERS | CONTINUATION, Some(response)) => response.spend(cost(frame))?,
                (HEADERS | CONTINUATION, None) => others.spend(cost(frame))?,
                (DATA, _) if frame.length > 0 || frame.ends_stream() => {}
                _ => others.spend(1)?,
            }
            if frame.ends_stream() || frame.kind == RST_STREAM {
                awaited.remove(&frame.stream);
            }
            Ok(())
        })
    }
}

/// What a frame of a head costs.
fn cost(frame: Frame) -> u32 {
    // No frame is longer than 24 bits can tell.
    1 + u32::try_from(frame.length / BYTES_PER_CREDIT).unwrap_or(u32::MAX >> 1)
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, meter } = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(cx, buffer);
        match meter.received(&buffer.filled()[before..]) {
            Ok(()) => read,
            Err(Flood) => Poll::Ready(Err(io::Error::other(
                "the upstream sends more interim responses or control frames than its requests allow for",
            ))),
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, meter } = self.get_mut();
        let written = Pin::new(stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = written {
            meter.sent(&bytes[..written]);
        }
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, meter } = self.get_mut();
        let written = Pin::new(stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(mut left)) = written {
            for buf in bufs {
                let sent = left.min(buf.len());
                meter.sent(&buf[..sent]);
                left -= sent;
            }
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Guarded {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Guarded {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Guarded {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guarded {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Guarded {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Guarded {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

impl Peek for Guarded {}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::frames::END_STREAM;

    const PING: u8 = 0x6;

    fn frame(kind: u8, flags: u8, stream: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
        frame.resize(frame.len() + payload, 0xff);
        frame
    }

    /// A connection on which these streams were opened.
    fn with_requests(streams: &[u8]) -> Meter {
        let mut meter = Meter::new(Instant::now());
        meter.sent(&[0xff; PREFACE_BYTES]);
        for stream in streams {
            meter.sent(&frame(HEADERS, END_STREAM, *stream, 30));
        }
        meter
    }

    /// How many of these frames are let through.
    fn passed(meter: &mut Meter, frame: &[u8]) -> u32 {
        (0..100_000).take_while(|_| meter.received(frame).is_ok()).map(|_| 1).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_has_so_many_heads_and_each_its_own() {
        let mut meter = with_requests(&[1, 3]);
        let hints = frame(HEADERS, 4, 1, 100);
        assert_eq!(passed(&mut meter, &hints), HEADS_PER_RESPONSE);
        meter.received = Frames::behind(0);
        assert_eq!(meter.received(&frame(HEADERS, 4, 3, 100)), Ok(()), "others are as they were");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(passed(&mut meter, &hints), HEADS_PER_RESPONSE / 10);
    }

    #[tokio::test(start_paused = true)]
    async fn long_heads_cost_more_and_so_does_what_continues_them() {
        let mut meter = with_requests(&[1]);
        assert_eq!(passed(&mut meter, &frame(HEADERS, 0, 1, 16_384)), HEADS_PER_RESPONSE / 65);
        let mut meter = with_requests(&[1]);
        assert_eq!(passed(&mut meter, &frame(CONTINUATION, 0, 1, 0)), HEADS_PER_RESPONSE);
    }

    #[test]
    fn any_number_of_responses_pass_and_are_forgotten() {
        let mut meter = with_requests(&[]);
        for _ in 0..20_000 {
            meter.sent(&frame(HEADERS, END_STREAM, 1, 30));
            let hints = frame(HEADERS, 4, 1, 300).repeat(3);
            meter.received(&[hints, frame(HEADERS, 4, 1, 9000), frame(PING, 0, 0, 8)].concat()).unwrap();
            meter.received(&frame(DATA, 0, 1, 16_384).repeat(2)).unwrap();
            meter.received(&frame(DATA, END_STREAM, 1, 0)).unwrap();
        }
        for end in [frame(RST_STREAM, 0, 3, 4), frame(HEADERS, 5, 3, 30)] {
            meter.sent(&frame(HEADERS, 0, 3, 30));
            meter.received(&end).unwrap();
        }
        meter.sent(&[frame(HEADERS, 0, 5, 30), frame(RST_STREAM, 0, 5, 4)].concat());
        assert!(meter.awaited.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_belongs_to_no_response_has_a_bound_as_well() {
        for nothing in [
            frame(PING, 0, 0, 8),
            frame(0x4, 0, 0, 0),
            frame(0x8, 0, 0, 4),
            frame(0xfe, 0, 0, 100),
            frame(DATA, 0, 1, 0),
            frame(HEADERS, 4, 7, 30),
            frame(RST_STREAM, 0, 7, 4),
        ] {
            assert_eq!(passed(&mut with_requests(&[1]), &nothing), OTHER_FRAMES, "{nothing:?}");
        }
    }
}
