//! What an upstream answers, event by event, whatever its API: the common form between what upstreams send and what clients
//! read. An answer that comes whole is the same events at once.

use std::borrow::Cow;

use crate::json::{Text, Value};

/// Something that happens in an answer. Texts come in pieces, which follow one another without anything in between.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// The answer begins. Comes first, and once; the reader makes one up where its API has none.
    Start {
        /// Identifies the answer.
        id: Option<Text<'a>>,
        /// The model that answers, as the upstream calls it.
        model: Option<Text<'a>>,
        /// When, in seconds since 1970.
        created: Option<u64>,
    },
    /// A piece of the answer's text. After another kind of event it begins a text of its own.
    Text(Text<'a>),
    /// A piece of what the model thinks.
    Reasoning(Text<'a>),
    /// The signature of what it thought; ends a thought.
    Signature(Text<'a>),
    /// A thought that is encrypted, whole.
    Redacted(Text<'a>),
    /// A piece of the words in which the model refuses.
    Refusal(Text<'a>),
    /// The model begins to call a tool.
    ToolCall {
        /// Which call of this answer it is: 0, 1, 2, …
        call: usize,
        /// Identifies it.
        id: Text<'a>,
        /// The tool.
        name: Text<'a>,
        /// Gemini's `thoughtSignature`.
        signature: Option<Text<'a>>,
    },
    /// A piece of the JSON text that the tool is called with. A call without any is called with `{}`.
    Arguments {
        /// The call.
        call: usize,
        /// The piece.
        text: Text<'a>,
    },
    /// Where the text that came last is from, in Anthropic's form of a citation.
    Citation(Value<'a>),
    /// How likely the tokens of the text that came last were: items of `logprobs.content` in OpenAI's form, as JSON, with
    /// commas between them.
    Logprobs(Cow<'a, str>),
    /// A text, a thought or a call has ended. Readers whose API does not say so need not send it.
    EndOfPart,
    /// Nothing happened, and the upstream is still there.
    Ping,
    /// What was counted so far. Members that are known replace those of before.
    Usage(Usage),
    /// The answer ends, for this reason. Only [`Event::Usage`] may follow.
    Finish {
        /// The reason.
        reason: Finish,
        /// The text that ended it.
        stop_sequence: Option<Text<'a>>,
    },
    /// The upstream failed. Nothing follows.
    Error(Failure<'a>),
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is complete.
    Stop,
    /// One of the request's texts came up.
    StopSequence,
    /// So many tokens were generated as the request allows, or the model's window is full.
    Length,
    /// A tool is to be called.
    ToolCalls,
    /// The model or its provider refuses.
    ContentFilter,
    /// The provider paused a long turn, and goes on when asked again (Anthropic's `pause_turn`).
    Pause,
}

/// What a request used, in tokens: one record for every API. `None` where the upstream did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, with those that were read from or written to a cache.
    pub input: Option<u64>,
    /// Tokens generated, reasoning included.
    pub output: Option<u64>,
    /// Tokens of the prompt that were read from a cache.
    pub cache_read: Option<u64>,
    /// Tokens of the prompt that were written to a cache.
    pub cache_write: Option<u64>,
    /// Tokens generated that are the model's reasoning.
    pub reasoning: Option<u64>,
}

/// A failure, whatever API tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure<'a> {
    /// The HTTP status that goes with it.
    pub status: u16,
    /// What kind it is.
    pub kind: FailureKind,
    /// In words, for people.
    pub message: Text<'a>,
    /// The upstream's own name of it, where it says more than the kind.
    pub code: Option<Text<'a>>,
    /// The member of the request that it is about.
    pub param: Option<Text<'a>>,
}

/// Kinds of failures that clients tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The request is wrong.
    InvalidRequest,
    /// It is longer than the model's window.
    ContextLength,
    /// Its content is against the provider's policy.
    ContentPolicy,
    /// Who asks is not known.
    Authentication,
    /// Nothing is left to pay with.
    Billing,
    /// Who asks may not.
    Permission,
    /// There is no such thing.
    NotFound,
    /// The request has too many bytes.
    TooLarge,
    /// Too many requests or tokens in a time.
    RateLimit,
    /// The provider failed.
    Server,
    /// The provider has too much to do.
    Overloaded,
    /// It took too long.
    Timeout,
}

impl Usage {
    /// Takes over what `other` knows.
    pub fn update(&mut self, other: Self) {
        let Self { input, output, cache_read, cache_write, reasoning } = other;
        self.input = input.or(self.input);
        self.output = output.or(self.output);
        self.cache_read = cache_read.or(self.cache_read);
        self.cache_write = cache_write.or(self.cache_write);
        self.reasoning = reasoning.or(self.reasoning);
    }

    /// Input and output together.
    pub fn total(&self) -> u64 {
        self.input.unwrap_or(0).saturating_add(self.output.unwrap_or(0))
    }

    /// Tokens of the prompt that were neither read from nor written to a cache: what Anthropic and Bedrock call input.
    pub fn uncached_input(&self) -> u64 {
        let cached = self.cache_read.unwrap_or(0).saturating_add(self.cache_write.unwrap_or(0));
        self.input.unwrap_or(0).saturating_sub(cached)
    }
}

impl FailureKind {
    /// The kind that a status stands for where nothing says more.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Billing,
            403 => Self::Permission,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            503 | 529 => Self::Overloaded,
            400..500 => Self::InvalidRequest,
            _ => Self::Server,
        }
    }
}

impl<'a> Failure<'a> {
    /// A failure of the kind that `status` stands for.
    pub fn new(status: u16, message: impl Into<Cow<'a, str>>) -> Self {
        let kind = FailureKind::of_status(status);
        Self { status, kind, message: Text::plain(message), code: None, param: None }
    }
}

impl Failure<'_> {
    /// It without a borrow.
    pub fn into_owned(self) -> Failure<'static> {
        Failure {
            status: self.status,
            kind: self.kind,
            message: self.message.into_owned(),
            code: self.code.map(Text::into_owned),
            param: self.param.map(Text::into_owned),
        }
    }
}
