//! The response tap: what a model server says about a request's tokens, read from the bytes as they pass.
//!
//! The tap looks at every chunk of a response once, holds none back and copies none. It understands event streams
//! (OpenAI's chat, completions and Responses, Anthropic's Messages) and plain JSON. A token's chunk is worth about a
//! hundred nanoseconds: a search for a few needles decides whether anything has to be parsed, and hardly ever does it.
//! An embedding of many megabytes is skipped at memory speed, because only brackets and quotes are looked for.
//!
//! Turned down: keeping the tail of a JSON body and searching it for `"usage"`. A server may put members after it, and
//! a model may write the word; a scanner that knows its depth is as fast and never wrong.
//!
//! Names that are spelt with escapes (`"us\u0061ge"`) are not recognised: no server writes them, and what is read here
//! feeds metrics, not access rules.

mod counts;
mod events;
mod scan;

use self::{counts::Counts, events::Events, scan::Scanner};

/// The tokens that a model server counted for one request. `None` where it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, those from a cache included. Anthropic counts them apart; here they are added.
    pub input: Option<u64>,
    /// Tokens generated, reasoning included.
    pub output: Option<u64>,
    /// Tokens of the prompt that came from a cache.
    pub cached_input: Option<u64>,
    /// Tokens of the prompt that were written to a cache (Anthropic).
    pub cache_creation: Option<u64>,
    /// Tokens generated that are the model's reasoning.
    pub reasoning: Option<u64>,
    /// The server's own total, else input plus output where both are known.
    pub total: Option<u64>,
}

/// What one chunk brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Events that carry generated content. An event counts with the chunk that completes it.
    pub content_events: u32,
}

/// What the whole response brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The tokens counted.
    pub usage: Usage,
    /// Events that carry generated content: an upper bound of the streamed tokens' chunks.
    pub content_events: u64,
    /// Whether the response came to its proper end: the stream's last event, or the closing brace. `None` where the
    /// body was not looked into.
    pub is_complete: Option<bool>,
    /// Whether the stream carried an error event.
    pub has_error_event: bool,
}

/// How far an event stream has come: what has to be known to append an event to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    /// Events completed so far.
    pub events: u64,
    /// Whether the last byte ended an event.
    pub is_between_events: bool,
}

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
    /// A body that is encoded or of another type.
    Closed,
}

impl Tap {
    /// A tap for a response with these headers. A body that is encoded (gzip) or neither an event stream nor JSON is
    /// not looked into: decoding it just to count would cost more than it tells.
    pub fn new(content_type: Option<&[u8]>, content_encoding: Option<&[u8]>) -> Self {
        let is_encoded = content_encoding.is_some_and(|e| !e.trim_ascii().eq_ignore_ascii_case(b"identity"));
        let media_type =
            content_type.unwrap_or_default().split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        Self(if is_encoded {
            Kind::Closed
        } else if media_type.eq_ignore_ascii_case(b"text/event-stream") {
            Kind::Events(Box::default())
        } else if is_json(media_type) {
            Kind::Json { scanner: Scanner::default(), counts: Counts::default() }
        } else {
            Kind::Closed
        })
    }

    /// Looks at the next chunk of the response's body.
    pub fn feed(&mut self, chunk: &[u8]) -> Seen {
        match &mut self.0 {
            Kind::Events(events) => Seen { content_events: events.feed(chunk) },
            Kind::Json { scanner, counts } => {
                scanner.feed(chunk, counts);
                Seen::default()
            }
            Kind::Closed => Seen::default(),
        }
    }

    /// Whether the response is an event stream that the tap looks into, to which an event can be appended.
    pub fn is_event_stream(&self) -> bool {
        matches!(self.0, Kind::Events(_))
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
                Report { usage: counts.usage(), is_complete: Some(scanner.is_closed()), ..Report::default() }
            }
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
