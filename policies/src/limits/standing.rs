//! How limits stand, and what a request that is stopped is told.

use std::sync::Arc;
use std::time::Duration;

use penstock_config::Count;

use super::lease::LeaseWait;

/// What a limit counts, without how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CountKind {
    /// Requests.
    Requests,
    /// Tokens of prompts.
    InputTokens,
    /// Tokens of prompts that came from a cache.
    CachedInputTokens,
    /// Tokens of prompts that were written to a cache.
    CacheWriteTokens,
    /// Tokens generated.
    OutputTokens,
    /// Tokens generated that are reasoning.
    ReasoningTokens,
    /// Input and output.
    TotalTokens,
    /// Nano-dollars.
    Cost,
    /// What an expression makes of the usage.
    Expression,
    /// Requests in flight.
    Concurrency,
}

/// What a limit is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitName {
    /// The policy.
    pub policy: Arc<str>,
    /// The limit's name in it.
    pub limit: Arc<str>,
}

/// A limit, as it stands for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The policy.
    pub policy: Arc<str>,
    /// The limit's name in it.
    pub limit: Arc<str>,
    /// What it counts.
    pub count: CountKind,
    /// The most, for who asks.
    pub amount: u64,
    /// What is left of that, beside what is held. Of shared limits: as far as this gateway knows.
    pub remaining: u64,
    /// How long until all of it is there again.
    pub reset: Duration,
    /// What this request holds.
    pub held: u64,
    /// Whether the limit only counts.
    pub is_shadow: bool,
    /// Whether there is not enough for the request: it would be refused, or would have been if the limit did not only count.
    pub is_exceeded: bool,
}

/// Why a request does not go on.
#[derive(Debug)]
pub enum Stop {
    /// A limit refuses it. 429, or what [`Denied`] says.
    Denied(Denied),
    /// A shared counter has nothing at hand: ask again when the store answered.
    Wait(LeaseWait),
    /// The store of a shared counter cannot be reached, and its limits are closed then. 503.
    Unavailable(Unavailable),
}

/// A limit that refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The policy.
    pub policy: Arc<str>,
    /// The limit's name in it.
    pub limit: Arc<str>,
    /// What it counts.
    pub count: CountKind,
    /// The most, for who asks.
    pub amount: u64,
    /// When there may be enough; `None` if it makes no sense to wait.
    pub retry_after: Option<Duration>,
    /// Whether the request is more than the whole amount, so that it can never pass: 400, or the like.
    pub is_never: bool,
    /// Whether money of a calendar's period is used up: `insufficient_quota`.
    pub is_budget: bool,
    /// The name of what the limit counts by and the request lacks, where that is why: as a document has it, `header:x-user`.
    pub missing: Option<Arc<str>>,
}

/// A limit whose counter cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// The policy.
    pub policy: Arc<str>,
    /// The limit's name in it.
    pub limit: Arc<str>,
}

impl CountKind {
    /// What metrics and logs call it; as the document has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "Requests",
            Self::InputTokens => "InputTokens",
            Self::CachedInputTokens => "CachedInputTokens",
            Self::CacheWriteTokens => "CacheWriteTokens",
            Self::OutputTokens => "OutputTokens",
            Self::ReasoningTokens => "ReasoningTokens",
            Self::TotalTokens => "TotalTokens",
            Self::Cost => "Cost",
            Self::Expression => "Expression",
            Self::Concurrency => "Concurrency",
        }
    }
}

impl From<&Count> for CountKind {
    fn from(count: &Count) -> Self {
        match count {
            Count::Requests => Self::Requests,
            Count::InputTokens => Self::InputTokens,
            Count::CachedInputTokens => Self::CachedInputTokens,
            Count::CacheWriteTokens => Self::CacheWriteTokens,
            Count::OutputTokens => Self::OutputTokens,
            Count::ReasoningTokens => Self::ReasoningTokens,
            Count::TotalTokens => Self::TotalTokens,
            Count::Cost => Self::Cost,
            Count::Expression(_) => Self::Expression,
            Count::Concurrency => Self::Concurrency,
        }
    }
}
