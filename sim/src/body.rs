//! The body of an answer, and the ways a fault can spoil it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{connection::Connection, faults::Action, record::InFlight};

/// A body that ends before it is complete.
#[derive(Debug, thiserror::Error)]
#[error("the simulator cut this exchange on purpose")]
pub(crate) struct ExchangeCut;

type Chunks = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// Body of an answer.
pub(crate) struct SimBody {
    content: Content,
    in_flight: Option<InFlight>,
    fault: Option<BodyFault>,
}

enum Content {
    Whole(Bytes),
    Chunks(Chunks),
}

impl SimBody {
    pub(crate) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(bytes.into()), in_flight: None, fault: None }
    }

    pub(crate) fn stream(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self { content: Content::Chunks(Box::pin(chunks)), in_flight: None, fault: None }
    }

    /// Counts the request as served when the last byte was taken.
    #[must_use]
    pub(crate) fn tracked(mut self, mut in_flight: InFlight) -> Self {
        match &self.content {
            // The connection never asks for the content of an empty body.
            Content::Whole(bytes) if bytes.is_empty() => in_flight.done(),
            Content::Whole(_) => {}
            Content::Chunks(_) => in_flight.streams(),
        }
        self.in_flight = Some(in_flight);
        self
    }

    /// Applies a fault that concerns the body.
    #[must_use]
    pub(crate) fn with_fault(mut self, action: &Action, connection: &Arc<Connection>) -> Self {
        let (left, ending) = match *action {
            Action::ResetAfter { chunks } => (chunks, Ending::Reset),
            Action::CloseAfter { chunks } => (chunks, Ending::Close),
            Action::HangAfter { chunks } => (chunks, Ending::Hang),
            Action::Drip { bytes, ms } => {
                self.content = Content::Chunks(Box::pin(drip(self.content, bytes, ms)));
                return self;
            }
            _ => return self,
        };
        if let Content::Whole(bytes) = &mut self.content
            && left > 0
        {
            // A whole body has no chunks to count: half of it goes out, and never the rest.
            let half = bytes.split_to(bytes.len().div_ceil(2));
            let rest = bytes.clone();
            self.content = Content::Chunks(Box::pin(futures::stream::iter([half, rest])));
        }
        self.fault = Some(BodyFault { left, ending, connection: connection.clone(), is_flushed: false });
        self
    }

    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(std::mem::take(bytes))),
            Content::Chunks(chunks) => chunks.poll_next_unpin(context),
        }
    }

    fn finish(&mut self) {
        if let Some(mut in_flight) = self.in_flight.take() {
            in_flight.done();
        }
    }
}

impl Body for SimBody {
    type Data = Bytes;
    type Error = ExchangeCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExchangeCut>>> {
        if let Some(fault) = &mut self.fault
            && fault.left == 0
        {
            return fault.poll_end(context);
        }
        let Some(bytes) = ready!(self.poll_content(context)) else {
            self.finish();
            return Poll::Ready(None);
        };
        if let Some(fault) = &mut self.fault {
            fault.left -= 1;
        } else if matches!(self.content, Content::Whole(_)) {
            self.finish();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty()) && self.fault.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) if self.fault.is_none() => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

/// How a body with a fault ends.
enum Ending {
    Reset,
    Close,
    Hang,
}

struct BodyFault {
    left: u64,
    ending: Ending,
    connection: Arc<Connection>,
    is_flushed: bool,
}

impl BodyFault {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeCut>>> {
        if !self.is_flushed {
            // The connection flushes when its body has nothing ready; what was sent before must arrive.
            self.is_flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.ending {
            Ending::Hang => Poll::Pending,
            Ending::Close => Poll::Ready(Some(Err(ExchangeCut))),
            Ending::Reset => {
                self.connection.reset();
                Poll::Pending
            }
        }
    }
}

/// Hands out `content` in pieces of `bytes`, `ms` apart.
fn drip(content: Content, bytes: u64, ms: u64) -> impl Stream<Item = Bytes> + Send {
    let piece = usize::try_from(bytes).unwrap_or(usize::MAX).max(1);
    let source = match content {
        Content::Whole(bytes) => futures::stream::iter([bytes]).boxed(),
        Content::Chunks(chunks) => chunks,
    };
    Drip { source, held: Bytes::new(), piece, pause: Duration::from_millis(ms), sleep: None }
}

struct Drip {
    source: Chunks,
    held: Bytes,
    piece: usize,
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stream for Drip {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
        }
        while self.held.is_empty() {
            match ready!(self.source.poll_next_unpin(context)) {
                Some(bytes) => self.held = bytes,
                None => return Poll::Ready(None),
            }
        }
        let length = self.piece.min(self.held.len());
        let piece = self.held.split_to(length);
        self.sleep = Some(Box::pin(tokio::time::sleep(self.pause)));
        Poll::Ready(Some(piece))
    }
}
