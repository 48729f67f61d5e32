//! The tables of vLLM's metric families: names, help texts, bucket bounds.

/// How a request can end, as `finished_reason` says it.
pub(super) const REASONS: [&str; 4] = ["stop", "length", "abort", "error"];

/// A histogram, by its place in [`HISTOGRAMS`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    PromptTokens,
    GenerationTokens,
    IterationTokens,
    MaxGenerationTokens,
    ParamsN,
    ParamsMaxTokens,
    TimeToFirstToken,
    InterToken,
    TimePerOutputToken,
    EndToEnd,
    Queue,
    Inference,
    Prefill,
    Decode,
    ComputedTokens,
}

/// Upper bounds of a histogram's buckets, but for the last, which has none.
#[derive(Clone, Copy)]
pub(super) struct BucketBounds {
    pub(super) values: &'static [f64],
    /// The same as the page spells them.
    pub(super) labels: &'static [&'static str],
}

/// A histogram of the page.
pub(super) struct HistogramFamily {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) bounds: BucketBounds,
}

const fn family(name: &'static str, help: &'static str, bounds: BucketBounds) -> HistogramFamily {
    HistogramFamily { name, help, bounds }
}

/// Every histogram, in the order of [`Family`] and of the page.
pub(super) const HISTOGRAMS: [HistogramFamily; 19] = [
    family("vllm:request_prompt_tokens", "Prompt tokens of a request.", TOKENS),
    family("vllm:request_generation_tokens", "Generated tokens of a request.", TOKENS),
    family("vllm:iteration_tokens_total", "Tokens of an engine step.", STEP_TOKENS),
    family("vllm:request_max_num_generation_tokens", "Most tokens generated for a request.", TOKENS),
    family("vllm:request_params_n", "The n that a request set.", FEW),
    family("vllm:request_params_max_tokens", "The max_tokens that a request set.", TOKENS),
    family("vllm:time_to_first_token_seconds", "Time to the first token.", FIRST_TOKEN),
    family("vllm:inter_token_latency_seconds", "Time between two tokens.", NEXT_TOKEN),
    family("vllm:request_time_per_output_token_seconds", "Mean time of a request's token.", NEXT_TOKEN),
    family("vllm:e2e_request_latency_seconds", "Time of a request.", REQUEST),
    family("vllm:request_queue_time_seconds", "Time of a request spent waiting.", REQUEST),
    family("vllm:request_inference_time_seconds", "Time of a request spent running.", REQUEST),
    family("vllm:request_prefill_time_seconds", "Time of a request spent in prefill.", REQUEST),
    family("vllm:request_decode_time_seconds", "Time of a request spent decoding.", REQUEST),
    family("vllm:request_prefill_kv_computed_tokens", "Prompt tokens computed, not cached.", TOKENS),
    // What follows is on the page and never observed: the simulator transfers no blocks.
    family("vllm:nixl_xfer_time_seconds", "Time of a KV transfer.", FIRST_TOKEN),
    family("vllm:nixl_post_time_seconds", "Time to post a KV transfer.", FIRST_TOKEN),
    family("vllm:nixl_bytes_transferred", "Bytes of a KV transfer.", TOKENS),
    family("vllm:nixl_num_descriptors", "Descriptors of a KV transfer.", TOKENS),
];

macro_rules! bounds {
    ($($bound:literal)*) => {
        BucketBounds { values: &[$($bound),*], labels: &[$(stringify!($bound)),*] }
    };
}

const FEW: BucketBounds = bounds![1.0 2.0 5.0 10.0 20.0];
const TOKENS: BucketBounds = bounds![
    1.0 2.0 5.0 10.0 20.0 50.0 100.0 200.0 500.0 1000.0 2000.0 5000.0 10000.0 20000.0 50000.0 100000.0
];
const STEP_TOKENS: BucketBounds =
    bounds![1.0 8.0 16.0 32.0 64.0 128.0 256.0 512.0 1024.0 2048.0 4096.0 8192.0 16384.0];
const FIRST_TOKEN: BucketBounds = bounds![
    0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0 160.0 640.0 2560.0
];
const NEXT_TOKEN: BucketBounds = bounds![
    0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0
];
const REQUEST: BucketBounds = bounds![
    0.3 0.5 0.8 1.0 1.5 2.0 2.5 5.0 10.0 15.0 20.0 30.0 40.0 50.0 60.0 120.0 240.0 480.0 960.0 1920.0 7680.0
];
/// Bounds of `http_request_duration_highr_seconds`.
pub(super) const HTTP_FINE: BucketBounds = bounds![
    0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1.0 1.5 2.0 2.5 3.0 3.5 4.0 4.5 5.0 7.5 10.0 30.0 60.0
];
/// Bounds of `http_request_duration_seconds`.
pub(super) const HTTP_COARSE: BucketBounds = bounds![0.1 0.5 1.0];
