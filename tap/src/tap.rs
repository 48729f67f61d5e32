//! One response, fed chunk by chunk.

use crate::counts::Counts;
use crate::events::Events;
use crate::report::{ChunkReport, Report, StreamPosition, UsageSource};
use crate::scan::Scanner;

/// Reads one response.
#[derive(Debug)]
pub struct Tap(Kind);

#[derive(Debug)]
enum Kind {
    Events(Box<Events>),
    Json {
        scanner: Scanner,
        counts: Counts,
    },
    /// A body that is encoded, and would be read otherwise.
    Encoded {
        is_event_stream: bool,
    },
    /// A body of another type.
    Closed,
}

impl Tap {
    /// A tap for a response with these headers. A body that is neither an event stream nor JSON is not looked into; nor is
    /// one that is encoded (gzip), which is said in the report: decoding it just to count would cost more than it tells.
    pub fn new(content_type: Option<&[u8]>, content_encoding: Option<&[u8]>) -> Self {
        let is_encoded = content_encoding.is_some_and(|e| !e.trim_ascii().eq_ignore_ascii_case(b"identity"));
        let media_type =
            content_type.unwrap_or_default().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        let is_event_stream = media_type.eq_ignore_ascii_case(b"text/event-stream");
        Self(match is_event_stream || is_json(media_type) {
            true if is_encoded => Kind::Encoded { is_event_stream },
            true if is_event_stream => Kind::Events(Box::default()),
            true => Kind::Json { scanner: Scanner::default(), counts: Counts::default() },
            false => Kind::Closed,
        })
    }

    /// As [`Self::new`], for a response whose usage somebody else counts: only the events of a stream are looked at.
    pub fn of_counted(content_type: Option<&[u8]>, content_encoding: Option<&[u8]>) -> Self {
        Self(match Self::new(content_type, content_encoding).0 {
            Kind::Events(_) => Kind::Events(Box::new(Events::of_counted())),
            Kind::Json { .. } => Kind::Closed,
            other => other,
        })
    }

    /// Looks at the next chunk of the response's body.
    #[inline]
    pub fn feed(&mut self, chunk: &[u8]) -> ChunkReport {
        match &mut self.0 {
            Kind::Events(events) => ChunkReport { content_events: events.feed(chunk) },
            Kind::Json { scanner, counts } => {
                scanner.feed(chunk, counts);
                ChunkReport::default()
            }
            Kind::Encoded { .. } | Kind::Closed => ChunkReport::default(),
        }
    }

    /// Whether the response is an event stream that the tap looks into, to which an event can be appended.
    pub fn is_event_stream(&self) -> bool {
        matches!(self.0, Kind::Events(_))
    }

    /// Whether the response is an event stream, looked into or not.
    pub fn is_stream(&self) -> bool {
        matches!(self.0, Kind::Events(_) | Kind::Encoded { is_event_stream: true })
    }

    /// How far the event stream has come. Other responses are always at their start.
    pub fn position(&self) -> StreamPosition {
        match &self.0 {
            Kind::Events(events) => events.position(),
            _ => StreamPosition { events: 0, is_between_events: true },
        }
    }

    /// What the response brought. Call it once, after the last chunk.
    pub fn finish(&mut self) -> Report {
        match &mut self.0 {
            Kind::Events(events) => events.finish(),
            Kind::Json { scanner, counts } => {
                Report { is_complete: Some(scanner.is_closed()), ..Report::new(counts.usage(), 0) }
            }
            Kind::Encoded { .. } => Report { usage_source: Some(UsageSource::Encoded), ..Report::default() },
            Kind::Closed => Report::default(),
        }
    }
}

fn is_json(media_type: &[u8]) -> bool {
    let suffix = media_type.len().checked_sub(b"+json".len()).map(|at| &media_type[at..]);
    media_type.eq_ignore_ascii_case(b"application/json")
        || suffix.is_some_and(|s| s.eq_ignore_ascii_case(b"+json"))
}

#[cfg(test)]
mod tests;
