//! What limits are told of a request.

use std::time::{Duration, SystemTime};

use crate::authorizer::Facts;

/// What time it is. A plain value that callers make, so that time in tests is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// By the clock on the wall: for windows that are aligned to it, and for nothing else.
    pub wall: SystemTime,
    /// Since the process began, by a clock that does not step.
    pub mono: Duration,
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

impl Usage {
    /// Input and output.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
