//! Everything that can be set about one simulated server, with the default beside it.
//!
//! Names and defaults follow llm-d-inference-sim's flags where both have the option, so that manifests written
//! for it start this one; the exceptions say so.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::credentials::Credentials;

/// One simulated server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one; [`super::Handle::addr`] tells which. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Which server is imitated. Default: a vLLM model server.
    pub personality: Personality,
    /// The base model. Default `meta-llama/Llama-3.1-8B-Instruct`.
    pub model: String,
    /// Names under which the base model is served. Empty (default) means its own.
    pub served_model_names: Vec<String>,
    /// LoRA adapters served from the start. Default none.
    pub loras: Vec<LoraModule>,
    /// Adapters that can be active in one batch. Default 1.
    pub max_loras: usize,
    /// Sequences that run at once; the others wait. Default 5.
    pub max_num_seqs: usize,
    /// Requests that may wait; one more is refused with 429. Default 1000.
    pub max_waiting: usize,
    /// Context window in tokens, prompt and output together. Default 1024.
    pub max_model_len: usize,
    /// Largest request body in bytes; a larger one is refused with 413. Default 64 MiB
    /// (llm-d-inference-sim: 4 MiB; vLLM has no such limit).
    pub max_body_bytes: usize,
    /// How answers are made. Default [`Mode::Random`].
    pub mode: Mode,
    /// Seed of all that looks random. Equal seeds and equal requests give equal answers, in any order and on
    /// any server. Default 0.
    pub seed: u64,
    /// Timing. Default: no simulated time at all.
    pub latency: Latency,
    /// The block KV cache.
    pub kv: KvOptions,
    /// Size of an embedding where the request names none. Default 384.
    pub embedding_dimensions: usize,
    /// Share of requests that fail, in percent. Default 0.
    pub failure_rate_percent: u8,
    /// Kinds of failure to draw from; empty (default) means all.
    pub failure_types: Vec<FailureType>,
    /// Pod name for the header `x-inference-pod`. Default none: no header.
    pub pod_name: Option<String>,
    /// Pod namespace for the header `x-inference-namespace`. Default none: no header.
    pub pod_namespace: Option<String>,
    /// TLS instead of plain text. Default none.
    pub tls: Option<TlsOptions>,
    /// Requests remembered for [`super::Handle::requests`]; 0 also leaves bodies unhashed outside of
    /// `/sim/sink`. Default 1024 (the binary: 0).
    pub record_requests: usize,
    /// Whether their bodies are remembered too. Default false.
    pub record_bodies: bool,
    /// Credentials that requests have to show, and token services that hand them out. Default none: nothing is checked,
    /// and there are no such services.
    pub credentials: Option<Credentials>,
    /// Answer `endpoint-load-metrics-format` with a load report. Default true.
    pub load_reports: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            personality: Personality::default(),
            model: "meta-llama/Llama-3.1-8B-Instruct".to_owned(),
            served_model_names: Vec::new(),
            loras: Vec::new(),
            max_loras: 1,
            max_num_seqs: 5,
            max_waiting: 1000,
            max_model_len: 1024,
            max_body_bytes: 64 << 20,
            mode: Mode::default(),
            seed: 0,
            latency: Latency::default(),
            kv: KvOptions::default(),
            embedding_dimensions: 384,
            failure_rate_percent: 0,
            failure_types: Vec::new(),
            pod_name: None,
            pod_namespace: None,
            tls: None,
            record_requests: 1024,
            record_bodies: false,
            credentials: None,
            load_reports: true,
        }
    }
}

/// Which server is imitated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Personality {
    /// vLLM's OpenAI-compatible server.
    #[default]
    ModelServer,
    /// Envoy AI Gateway's test upstream, which answers as request headers tell it to.
    TestUpstream {
        /// Its `TESTUPSTREAM_ID`, echoed in `testupstream-id`.
        id: String,
    },
}

/// How answers are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Sentences from a fixed bank, chosen by seed and prompt.
    #[default]
    Random,
    /// The prompt, or the last message of a chat.
    Echo,
}

/// A LoRA adapter, in the JSON shape of `--lora-modules`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraModule {
    /// Name under which requests ask for it.
    pub name: String,
    /// Where it was loaded from; only reported.
    #[serde(default)]
    pub path: String,
    /// The model it adapts; empty means the base model.
    #[serde(default)]
    pub base_model_name: String,
}

/// The block KV cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KvOptions {
    /// Whether blocks are accounted at all. Default true, as in vLLM (llm-d-inference-sim: false).
    pub is_enabled: bool,
    /// Whether a prompt reuses the blocks of earlier prompts. Default true.
    pub reuses_prefixes: bool,
    /// Blocks in the cache. Default 1024.
    pub blocks: usize,
    /// Tokens in a block. Default 16.
    pub block_tokens: usize,
}

impl Default for KvOptions {
    fn default() -> Self {
        Self { is_enabled: true, reuses_prefixes: true, blocks: 1024, block_tokens: 16 }
    }
}

/// Timing of a request. The default takes no simulated time.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// Which of the fields below decide. Default [`Calculator::Auto`].
    pub calculator: Calculator,
    /// Prefill time in constant mode.
    pub time_to_first_token: Duration,
    /// Its standard deviation.
    pub time_to_first_token_std_dev: Duration,
    /// Time of one decode step of one sequence.
    pub inter_token_latency: Duration,
    /// Its standard deviation.
    pub inter_token_latency_std_dev: Duration,
    /// Fixed part of the prefill time in per-token mode.
    pub prefill_overhead: Duration,
    /// Prefill time of each prompt token that the cache does not hold.
    pub prefill_time_per_token: Duration,
    /// Standard deviation of the per-token prefill time.
    pub prefill_time_std_dev: Duration,
    /// By how much a full batch is slower than a single sequence. At least 1; default 1.
    pub time_factor_under_load: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            calculator: Calculator::Auto,
            time_to_first_token: Duration::ZERO,
            time_to_first_token_std_dev: Duration::ZERO,
            inter_token_latency: Duration::ZERO,
            inter_token_latency_std_dev: Duration::ZERO,
            prefill_overhead: Duration::ZERO,
            prefill_time_per_token: Duration::ZERO,
            prefill_time_std_dev: Duration::ZERO,
            time_factor_under_load: 1.0,
        }
    }
}

/// How a request's time is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Calculator {
    /// Constant where a time to first token is set, else per token.
    #[default]
    Auto,
    /// `time_to_first_token`, whatever the prompt.
    Constant,
    /// `prefill_overhead` + uncached tokens × `prefill_time_per_token`.
    PerToken,
    /// Steps of one shared batch, timed by a cost model.
    Batch(CostModel),
}

/// What one step of the batch costs: `step + prefill_token × p + sequence × s + context_token × c` for a step
/// that prefills `p` tokens and decodes `s` sequences whose contexts hold `c` tokens together.
///
/// The default is Llama 3.1 8B in bf16 on one H100 (989 TFLOP/s, 3.35 TB/s), from its sizes: 16 GB of weights
/// are read once a step (4.8 ms); a prefilled token costs 16 GFLOP, at half of the peak (33 µs); a decoded
/// sequence costs sampling and detokenizing (20 µs); each token of its context is 128 KiB of keys and values
/// to read (39 ns).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostModel {
    /// Fixed cost of a step.
    pub step: Duration,
    /// Cost of a prefilled token.
    pub prefill_token: Duration,
    /// Cost of a decoded sequence.
    pub sequence: Duration,
    /// Cost of a context token that a decoded sequence attends to.
    pub context_token: Duration,
    /// Prompt tokens prefilled in one step at most (vLLM's `--max-num-batched-tokens`).
    pub max_batched_tokens: usize,
}

impl Default for CostModel {
    fn default() -> Self {
        Self {
            step: Duration::from_micros(4800),
            prefill_token: Duration::from_micros(33),
            sequence: Duration::from_micros(20),
            context_token: Duration::from_nanos(39),
            max_batched_tokens: 8192,
        }
    }
}

/// A failure that a request can be answered with, as the provider APIs word it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureType {
    /// 429.
    RateLimit,
    /// 401.
    InvalidApiKey,
    /// 400: prompt too long.
    ContextLength,
    /// 503.
    ServerError,
    /// 400: a required parameter is missing.
    InvalidRequest,
    /// 404.
    ModelNotFound,
}

impl FailureType {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::RateLimit,
        Self::InvalidApiKey,
        Self::ContextLength,
        Self::ServerError,
        Self::InvalidRequest,
        Self::ModelNotFound,
    ];
}

/// TLS of the listener; ALPN offers `h2` and `http/1.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// PEM file with the certificate chain.
    pub certificate_file: PathBuf,
    /// PEM file with the private key.
    pub key_file: PathBuf,
    /// PEM file with the authorities that client certificates must come from. None: no client certificate.
    pub client_ca_file: Option<PathBuf>,
}
