//! What limits are told of a request.

use std::time::{Duration, SystemTime};

use penstock_config::{ClaimPath, Consumer};
use serde_json::Value;

use crate::authorizer::Facts;
use crate::jwt::claim;

/// What time it is. A plain value that callers make, so that time in tests is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the clock on the wall: for windows that are aligned to it, and for nothing else.
    pub wall: SystemTime,
    /// Since the process began, by a clock that does not step.
    pub mono: Duration,
}

impl Now {
    /// No later than anything: it frees nothing.
    pub(crate) const EARLIEST: Self = Self { wall: SystemTime::UNIX_EPOCH, mono: Duration::ZERO };
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Its method, its headers, and who sent it.
    pub facts: &'a Facts<'a>,
    /// The model that the client asks for; `None` if that is not known.
    pub model: Option<&'a str>,
    /// The model that the upstream is asked for; `None` before that is known.
    pub target_model: Option<&'a str>,
    /// The pool or backend that is asked; `None` before that is known.
    pub upstream: Option<&'a str>,
    /// The route; empty if none is known. This and the texts below count as missing where they are empty.
    pub route: &'a str,
    /// The rule, within its route.
    pub rule: &'a str,
    /// The listener.
    pub listener: &'a str,
    /// The host that the client asks for.
    pub host: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The query.
    pub query: Option<&'a str>,
    /// The length of the prompt's text.
    pub prompt_bytes: u64,
    /// The most tokens that the request allows to be generated, all of its answers together.
    pub allowed_output: Option<u64>,
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, those of caches included.
    pub input: u64,
    /// Of the prompt, that came from a cache.
    pub cached_input: u64,
    /// Of the prompt, that were written to a cache.
    pub cache_write: u64,
    /// Generated, reasoning included.
    pub output: u64,
    /// Generated, that are reasoning.
    pub reasoning: u64,
}

impl<'a> Ask<'a> {
    /// The name of who asks: of the first who has one, of those that policies found out.
    pub(crate) fn consumer(&self) -> Option<&'a str> {
        self.consumers().map(|consumer| &*consumer.name).find(|name| !name.is_empty())
    }

    /// Who asks, by each policy that found out, listeners' first.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = &'a Consumer> + use<'a> {
        self.facts.identities.iter().map(|identity| &*identity.consumer)
    }

    /// A tag of who asks: of the first who has it.
    pub(crate) fn tag(&self, name: &str) -> Option<&'a str> {
        self.consumers().find_map(|consumer| consumer.tags.get(name)).map(|tag| &**tag)
    }

    /// A claim of who asks: of the first whose token has it.
    pub(crate) fn claim(&self, path: &ClaimPath) -> Option<&'a Value> {
        self.facts.identities.iter().find_map(|identity| claim(identity.claims.as_deref()?, path))
    }
}

impl Usage {
    /// What a request is reckoned to have taken of which this was expected, once so many tokens of its answer were seen: the
    /// input that was expected, and as large a part of what was generated for reasoning. Nothing tells one from the other as it
    /// passes.
    pub fn seen(&self, output: u64) -> Self {
        let reasoning = match self.output {
            0 => output,
            expected => {
                let part = (u128::from(output) * u128::from(self.reasoning)).div_ceil(u128::from(expected));
                u64::try_from(part).map_or(output, |part| part.min(output))
            }
        };
        Self { input: self.input, output, reasoning, ..Self::default() }
    }

    /// Input and output.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
