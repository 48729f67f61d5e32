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

/// Where the tokens of a response were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageSource {
    /// The model server said how many there were.
    Reported,
    /// A stream ended without its server saying so, because nobody asked it to or it broke off: the output is the number
    /// of events with content, of which most servers send one a token, and one or two around them.
    Estimated,
    /// Nowhere: the response is compressed, and was not looked into.
    Encoded,
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
    /// Where. `None` where the response has none: an error, a list of models, audio.
    pub usage_source: Option<UsageSource>,
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

impl UsageSource {
    /// Every source, in the order of its discriminant.
    pub const ALL: [Self; 3] = [Self::Reported, Self::Estimated, Self::Encoded];

    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::Encoded => "encoded",
        }
    }
}

impl Usage {
    /// With this output where there is none, and with a total.
    fn completed(self, output: Option<u64>) -> Self {
        let output = self.output.or(output);
        let sum = || Some(self.input?.saturating_add(output?));
        Self { output, total: self.total.or_else(sum), ..self }
    }
}

impl Report {
    /// Takes over what was counted by who translated the response, and so knows what its client's API has no words for.
    pub fn counted(&mut self, usage: Usage) {
        if usage == Usage::default() {
            return;
        }
        let is_estimate = self.usage_source == Some(UsageSource::Estimated) && usage.output.is_none();
        self.usage = usage.completed(self.usage.output);
        if !is_estimate {
            self.usage_source = Some(UsageSource::Reported);
        }
    }

    /// Of a stream that broke off. Anthropic's servers count one token at the beginning, and all of them at the end: no fewer
    /// were sent than events had content.
    pub fn broke_off(&mut self) {
        if self.usage.output.is_some_and(|output| output < self.content_events) {
            self.usage =
                Usage { output: Some(self.content_events), total: None, ..self.usage }.completed(None);
            self.usage_source = Some(UsageSource::Estimated);
        }
    }

    /// Of a response whose server counted `usage`, after so many events with content.
    pub(crate) fn new(mut usage: Usage, content_events: u64) -> Self {
        let mut usage_source = (usage != Usage::default()).then_some(UsageSource::Reported);
        if usage.output.is_none() && content_events > 0 {
            usage.output = Some(content_events);
            usage.total = usage.input.map(|input| input.saturating_add(content_events));
            usage_source = Some(UsageSource::Estimated);
        }
        Self { usage, usage_source, content_events, ..Self::default() }
    }
}
