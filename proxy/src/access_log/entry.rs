//! What is logged of a request.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, uri::PathAndQuery};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};

use crate::{metrics::UpstreamKind, request_id::RequestId, text::clip, usage::Usage};

/// The longest path that is logged, in bytes. The APIs' own have some 40.
pub(super) const MAX_PATH_BYTES: usize = 512;

/// The longest user agent that is logged, in bytes.
pub(super) const MAX_USER_AGENT_BYTES: usize = 256;

/// The longest model that is logged, in bytes: `limits.modelBytes` lets no longer one pass by default.
pub(super) const MAX_MODEL_BYTES: usize = 256;

/// A request that is over. Its texts are shared with the request or the snapshot where they can be, and bounded and
/// escaped when they are written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When the request's head had arrived.
    pub time: SystemTime,
    /// The request's id.
    pub request_id: RequestId,
    /// The method.
    pub method: Method,
    /// The request target as the client sent it, of which only the path is written.
    pub path: Option<PathAndQuery>,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// The client's user agent.
    pub user_agent: Option<HeaderValue>,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The model that the client asked for.
    pub model: Option<Box<str>>,
    /// The model's name where the route renamed it.
    pub target_model: Option<Arc<str>>,
    /// The upstream that was chosen last.
    pub upstream: Option<Upstream>,
    /// Attempts made.
    pub attempts: u32,
    /// The status that the client got; 499 where it left before one.
    pub status: u16,
    /// The reason where the gateway ended the request itself: [`Row::reason`](crate::error::Row::reason).
    pub error: Option<&'static str>,
    /// Whether the response was an event stream.
    pub is_stream: bool,
    /// The tokens counted.
    pub usage: Usage,
    /// Events with content, of a stream.
    pub content_events: u64,
    /// From the request's first byte to the first event with content, of a stream.
    pub time_to_first_token: Option<Duration>,
    /// From the request's first byte to its end.
    pub duration: Duration,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// Blocks of the prompt that the picked endpoint was known to hold.
    pub matched_blocks: Option<u32>,
}

/// Where a request was sent.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Pool or backend.
    pub kind: UpstreamKind,
    /// The pool's or backend's name.
    pub name: Arc<str>,
    /// The endpoint asked last.
    pub endpoint: Option<SocketAddr>,
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("time", &Display(humantime::format_rfc3339_millis(self.time)))?;
        line.serialize_entry("request_id", self.request_id.as_str())?;
        line.serialize_entry("method", clip(self.method.as_str(), 32))?;
        if let Some(path) = &self.path {
            line.serialize_entry("path", &Bounded(path.path().as_bytes(), MAX_PATH_BYTES))?;
        }
        some(&mut line, "client", self.client.map(Display))?;
        let user_agent =
            self.user_agent.as_ref().map(|agent| Bounded(agent.as_bytes(), MAX_USER_AGENT_BYTES));
        some(&mut line, "user_agent", user_agent)?;
        line.serialize_entry("listener", &*self.listener)?;
        some(&mut line, "route", self.route.as_deref())?;
        let model = self.model.as_ref().map(|model| Bounded(model.as_bytes(), MAX_MODEL_BYTES));
        some(&mut line, "model", model)?;
        some(&mut line, "target_model", self.target_model.as_deref())?;
        if let Some(upstream) = &self.upstream {
            line.serialize_entry(upstream.kind.label(), &*upstream.name)?;
            some(&mut line, "endpoint", upstream.endpoint.map(Display))?;
        }
        line.serialize_entry("attempts", &self.attempts)?;
        line.serialize_entry("status", &self.status)?;
        some(&mut line, "error", self.error)?;
        line.serialize_entry("stream", &self.is_stream)?;
        if self.usage != Usage::default() {
            line.serialize_entry("tokens", &Tokens(&self.usage))?;
        }
        if self.is_stream {
            line.serialize_entry("content_events", &self.content_events)?;
            some(&mut line, "ttft_ms", self.time_to_first_token.map(milliseconds))?;
        }
        line.serialize_entry("duration_ms", &milliseconds(self.duration))?;
        line.serialize_entry("request_bytes", &self.request_bytes)?;
        line.serialize_entry("response_bytes", &self.response_bytes)?;
        some(&mut line, "matched_blocks", self.matched_blocks)?;
        line.end()
    }
}

/// Writes a member that is left out where there is nothing to say.
fn some<M: SerializeMap>(
    line: &mut M,
    name: &'static str,
    value: Option<impl Serialize>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| line.serialize_entry(name, &value))
}

/// Milliseconds to three places.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

struct Tokens<'a>(&'a Usage);

impl Serialize for Tokens<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Usage { input, output, cached_input, cache_creation, reasoning, total } = *self.0;
        let mut tokens = serializer.serialize_struct("tokens", 6)?;
        for (name, count) in [
            ("input", input),
            ("output", output),
            ("cached_input", cached_input),
            ("cache_creation", cache_creation),
            ("reasoning", reasoning),
            ("total", total),
        ] {
            match count {
                Some(count) => tokens.serialize_field(name, &count)?,
                None => tokens.skip_field(name)?,
            }
        }
        tokens.end()
    }
}

/// Something that is written as the text that it displays.
struct Display<T>(T);

impl<T: fmt::Display> Serialize for Display<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A client's text, cut at a number of bytes and marked with `…` there. What is no UTF-8 is replaced.
struct Bounded<'a>(&'a [u8], usize);

impl Serialize for Bounded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(bytes, max_bytes) = *self;
        if bytes.len() <= max_bytes
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return serializer.serialize_str(text);
        }
        // A few bytes more than the bound, so that a character across it is not mistaken for a broken one.
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(max_bytes + 4)]);
        let clipped = clip(&text, max_bytes);
        if bytes.len() > max_bytes {
            serializer.collect_str(&format_args!("{clipped}…"))
        } else {
            serializer.serialize_str(clipped)
        }
    }
}
