//! What requests are expected to take, from what such requests took.

use super::ask::{Ask, Usage};

/// What requests are expected to take.
#[derive(Debug, Default)]
pub struct Estimator {}

impl Estimator {
    /// One that has learned nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a request is expected to take.
    pub fn estimate(&self, ask: &Ask<'_>) -> Usage {
        let output = ask.allowed_output.map_or(1024, |allowed| allowed.min(1024));
        Usage { input: ask.prompt_bytes.div_ceil(4), output, ..Usage::default() }
    }

    /// Learns what a request took. `model` is the one that the upstream was asked for; `consumer` is empty if nobody is
    /// known.
    pub fn learn(
        &self,
        model: &str,
        consumer: &str,
        prompt_bytes: u64,
        allowed_output: Option<u64>,
        usage: &Usage,
    ) {
        let _ = (model, consumer, prompt_bytes, allowed_output, usage);
    }
}
