//! What the tap reads out of a response.

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

/// What one chunk of a response brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkReport {
    /// Events that carry generated content. An event counts with the chunk that completes it.
    pub content_events: u32,
}

/// What a whole response brought.
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
