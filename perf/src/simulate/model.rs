//! The cost of a model server's step and the size of its KV cache: a roofline model with published constants.
//!
//! A step computes some prompt tokens and one token for each decoding sequence. Its time is
//!
//! ```text
//! overhead + max(reading the weights, tokens × time of a token)
//!          + Σ prompt tokens × context before them × attention
//!          + Σ context of decoding sequences × reading a token's keys and values
//! ```
//!
//! | constant | how it comes about |
//! |---|---|
//! | reading the weights | bytes of the weights (2 a parameter) / memory bandwidth × 0.8 |
//! | time of a token | 2 FLOP a parameter / dense BF16 FLOP/s × utilization |
//! | attention | 4 FLOP × layers × heads × head size, at the same rate |
//! | reading keys and values | 4 bytes × layers × KV heads × head size / memory bandwidth × 0.8 |
//! | tokens that the KV cache holds | (90 % of memory − weights − activations) / bytes of a token |
//!
//! H100 SXM: 989 TFLOP/s dense BF16, 3.35 TB/s, 80 GB (NVIDIA's H100 datasheet). Layers and heads are those of the
//! models' published `config.json`. Utilization (0.5 on one GPU, 0.45 across two) and overheads (1 and 2 ms) are set so
//! that the results match what is published of vLLM: 30,000 prompt tokens/s and 7 ms a token for a single stream of
//! Llama 3.1 8B on one H100, 13,600 tokens/s and 14 ms for Qwen3 32B on two; llm-d's benchmark of the latter states a
//! demand of 1.8 million tokens as 73 % of eight such servers' caches, which this model puts at 84 %.

use serde::{Deserialize, Serialize};

/// A model on its hardware, as one server. Times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSpec {
    /// What it is.
    pub name: String,
    /// What every step takes: scheduling, launching, sampling.
    pub step_ns: f64,
    /// Reading the weights once.
    pub weights_ns: f64,
    /// Computing one token, its attention aside.
    pub token_ns: f64,
    /// Attention of one prompt token to one token before it.
    pub attention_ns: f64,
    /// Reading the keys and values of one token of context while decoding.
    pub context_ns: f64,
    /// Tokens that the KV cache holds.
    pub kv_tokens: u32,
    /// Most sequences in a batch (vLLM's `--max-num-seqs`).
    pub max_num_seqs: u32,
    /// Most tokens in a step (vLLM's `--max-num-batched-tokens`), which long prompts are cut up for.
    pub max_num_batched_tokens: u32,
}

/// What a step does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Step {
    /// Prompt tokens computed.
    pub(crate) prefill: u32,
    /// Sum over these of the tokens of context before them.
    pub(crate) attended: f64,
    /// Sequences that get one more token.
    pub(crate) decoding: u32,
    /// Sum of these sequences' contexts.
    pub(crate) context: f64,
}

/// There is no model of that name.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The name is not known.
    #[error("no model is called {0}; there are {known}", known = ModelSpec::NAMES.join(", "))]
    Unknown(String),
    /// A `NAME=VALUE` that does not fit.
    #[error("{setting}: {reason}")]
    Setting {
        /// What was given.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ModelSpec {
    /// Names that [`Self::named`] knows.
    pub const NAMES: [&'static str; 2] = ["qwen3-32b-2xh100", "llama-3.1-8b-h100"];

    /// One of the models that come with it.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] for another name.
    pub fn named(name: &str) -> Result<Self, ModelError> {
        match name {
            "qwen3-32b-2xh100" => Ok(Self::qwen3_32b()),
            "llama-3.1-8b-h100" => Ok(Self::llama_8b()),
            _ => Err(ModelError::Unknown(name.to_owned())),
        }
    }

    /// Qwen3 32B in BF16 on two H100 with tensor parallelism: 64 layers, 64 heads and 8 KV heads of 128.
    pub fn qwen3_32b() -> Self {
        Self {
            name: "qwen3-32b-2xh100".into(),
            step_ns: 2.0e6,
            weights_ns: 12.2e6,
            token_ns: 73_700.0,
            attention_ns: 2.36,
            context_ns: 48.9,
            kv_tokens: 268_000,
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
        }
    }

    /// Llama 3.1 8B in BF16 on one H100: 32 layers, 32 heads and 8 KV heads of 128.
    pub fn llama_8b() -> Self {
        Self {
            name: "llama-3.1-8b-h100".into(),
            step_ns: 1.0e6,
            weights_ns: 6.0e6,
            token_ns: 32_500.0,
            attention_ns: 1.06,
            context_ns: 48.9,
            kv_tokens: 396_000,
            max_num_seqs: 256,
            max_num_batched_tokens: 8192,
        }
    }

    /// Changes one constant, given as `name=value` by the name that it has in a file.
    ///
    /// # Errors
    /// [`ModelError::Setting`] if there is no such constant or the value is none for it.
    pub fn set(&mut self, setting: &str) -> Result<(), ModelError> {
        let fault = |reason: String| ModelError::Setting { setting: setting.to_owned(), reason };
        let (name, value) = setting.split_once('=').ok_or_else(|| fault("expected NAME=VALUE".into()))?;
        let value: serde_json::Value =
            serde_json::from_str(value).map_err(|error| fault(error.to_string()))?;
        let mut all = serde_json::to_value(&*self).map_err(|error| fault(error.to_string()))?;
        match all.get_mut(name) {
            Some(slot) => *slot = value,
            None => return Err(fault(format!("no constant is called {name}"))),
        }
        let changed: Self = serde_json::from_value(all).map_err(|error| fault(error.to_string()))?;
        changed.check().map_err(fault)?;
        *self = changed;
        Ok(())
    }

    /// Whether a simulation with it can come to an end.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        let times = [self.step_ns, self.weights_ns, self.token_ns, self.attention_ns, self.context_ns];
        if !times.iter().all(|time| (0.0..1e15).contains(time)) || self.step_ns < 1.0 {
            return Err("times are between 0 and 1e15 ns, and a step takes at least 1 ns".into());
        }
        if self.kv_tokens < 1024 || self.max_num_seqs == 0 || self.max_num_batched_tokens == 0 {
            return Err(
                "a server has at least 1024 tokens of KV cache, one sequence and one token a step".into()
            );
        }
        Ok(())
    }

    /// The same on hardware that takes `factor` times as long.
    pub(crate) fn slowed(&self, factor: f64) -> Self {
        Self {
            step_ns: self.step_ns * factor,
            weights_ns: self.weights_ns * factor,
            token_ns: self.token_ns * factor,
            attention_ns: self.attention_ns * factor,
            context_ns: self.context_ns * factor,
            ..self.clone()
        }
    }

    /// How long a step takes.
    pub(crate) fn step(&self, step: &Step) -> f64 {
        let tokens = f64::from(step.prefill) + f64::from(step.decoding);
        self.step_ns
            + self.weights_ns.max(tokens * self.token_ns)
            + step.attended * self.attention_ns
            + step.context * self.context_ns
    }
}

/// Tokens of context that `chunk` tokens behind `done` others attend to, all together.
pub(crate) fn attended(done: u32, chunk: u32) -> f64 {
    f64::from(chunk) * (f64::from(done) + f64::from(chunk) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{ModelSpec, Step, attended};

    #[test]
    fn a_step_is_bound_by_the_weights_until_there_are_tokens_enough() {
        let model = ModelSpec::llama_8b();
        let alone = model.step(&Step { decoding: 1, ..Step::default() });
        assert_eq!(alone, 7.0e6);
        assert_eq!(model.step(&Step { decoding: 100, ..Step::default() }), alone);
        assert_eq!(model.step(&Step { decoding: 200, ..Step::default() }), 1.0e6 + 200.0 * 32_500.0);
        let context = model.step(&Step { decoding: 1, context: 1000.0, ..Step::default() });
        assert_eq!(context - alone, 48_900.0);
    }

    #[test]
    fn prefill_runs_at_the_published_rate() {
        for (model, published) in [(ModelSpec::llama_8b(), 30_000.0), (ModelSpec::qwen3_32b(), 13_600.0)] {
            let step = Step { prefill: 2048, attended: attended(0, 2048), ..Step::default() };
            let rate = 2048.0 / (model.step(&step) / 1e9);
            assert!((rate / published - 1.0).abs() < 0.1, "{}: {rate}", model.name);
        }
    }

    #[test]
    fn constants_can_be_changed_by_name() {
        let mut model = ModelSpec::llama_8b();
        model.set("kvTokens=2048").unwrap();
        assert_eq!(model.kv_tokens, 2048);
        for faulty in ["kvTokens", "kvTokens=-1", "teapot=1", "stepNs=0", "maxNumSeqs=0", "tokenNs=1e99"] {
            assert!(model.set(faulty).is_err(), "{faulty}");
        }
        assert_eq!(model.kv_tokens, 2048);
    }
}
