//! What each model server calls the few numbers that a pick needs.
//!
//! One table an engine, because that is how people compare them with the engine's own documentation. A
//! generic mapping in the configuration was turned down: the names are the engine's interface, not a choice
//! of whoever runs the gateway, and a misspelt one would look like an idle server.

use penstock_config::Engine;

/// The series of one model server that the scan reads; every other line of its page is skipped.
///
/// Sources: vLLM's `vllm/v1/metrics/loggers.py`, SGLang's `metrics_collector.py`, TensorRT-LLM's
/// `/prometheus/metrics`, Triton's metrics guide, and the model server protocol of the Gateway API Inference
/// Extension (proposal 003).
#[derive(Debug)]
pub struct EngineSeries {
    /// What all wanted names begin with. Most lines of a page share it, so it is compared just once.
    pub(crate) prefix: &'static str,
    pub(crate) wanted: &'static [Wanted],
}

impl EngineSeries {
    /// The series of this engine.
    #[must_use]
    pub fn of(engine: Engine) -> &'static Self {
        match engine {
            Engine::Vllm => &VLLM,
            Engine::Sglang => &SGLANG,
            Engine::TrtllmServe => &TRTLLM_SERVE,
            Engine::Triton => &TRITON,
            Engine::TritonTensorrtLlm => &TRITON_TENSORRT_LLM,
        }
    }
}

/// One wanted series.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The sample's name without [`EngineSeries::prefix`].
    pub(crate) suffix: &'static str,
    /// A label that decides whether a sample of this name is the one meant.
    pub(crate) filter: Filter,
    pub(crate) field: Field,
}

/// Which samples of a family count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Filter {
    /// Every one; several are several engines behind one port.
    Any,
    /// Those with exactly this label.
    Is(&'static str, &'static str),
    /// Those without this label, or with an empty one: the total next to its own breakdown.
    Unset(&'static str),
}

/// The number that a series feeds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Field {
    /// Requests in the engine's queue.
    Waiting,
    /// Requests being computed.
    Running,
    /// Share of KV-cache blocks in use, 0 to 1.
    KvUsage,
    /// The same under the engine's older name; counts only where the newer is absent.
    KvUsageOld,
    /// LoRA adapters in its labels, a Unix time as its value.
    Adapters,
    /// Tokens in a block and number of blocks, in the two labels named here.
    CacheLabels(&'static str, &'static str),
    /// Tokens in one KV-cache block.
    BlockTokens,
    /// KV-cache blocks.
    Blocks,
}

const fn any(suffix: &'static str, field: Field) -> Wanted {
    Wanted { suffix, filter: Filter::Any, field }
}

const fn is(suffix: &'static str, label: &'static str, value: &'static str, field: Field) -> Wanted {
    Wanted { suffix, filter: Filter::Is(label, value), field }
}

const fn total(suffix: &'static str, breakdown: &'static str, field: Field) -> Wanted {
    Wanted { suffix, filter: Filter::Unset(breakdown), field }
}

/// vLLM. `gpu_cache_usage_perc` is the name of before 0.9; for a while pages had both.
pub(crate) static VLLM: EngineSeries = EngineSeries {
    prefix: "vllm:",
    wanted: &[
        any("num_requests_waiting", Field::Waiting),
        any("num_requests_running", Field::Running),
        any("kv_cache_usage_perc", Field::KvUsage),
        any("gpu_cache_usage_perc", Field::KvUsageOld),
        any("lora_requests_info", Field::Adapters),
        any("cache_config_info", Field::CacheLabels("block_size", "num_gpu_blocks")),
    ],
};

/// SGLang. With priority scheduling the two request gauges also come split by `priority`, next to their
/// total; adding them up would count every request twice. Since 0.5.11 the size of the cache is in two
/// gauges, before that in the labels of `cache_config_info`.
pub(crate) static SGLANG: EngineSeries = EngineSeries {
    prefix: "sglang:",
    wanted: &[
        total("num_queue_reqs", "priority", Field::Waiting),
        total("num_running_reqs", "priority", Field::Running),
        any("token_usage", Field::KvUsage),
        any("cache_config_info", Field::CacheLabels("page_size", "num_pages")),
        any("page_size", Field::BlockTokens),
        any("num_pages", Field::Blocks),
    ],
};

/// TensorRT-LLM's own server.
pub(crate) static TRTLLM_SERVE: EngineSeries = EngineSeries {
    prefix: "trtllm_",
    wanted: &[
        any("num_requests_waiting", Field::Waiting),
        any("num_requests_running", Field::Running),
        any("kv_cache_utilization", Field::KvUsage),
        any("kv_cache_tokens_per_block", Field::BlockTokens),
        any("kv_cache_max_blocks", Field::Blocks),
    ],
};

/// Triton with the TensorRT-LLM backend.
pub(crate) static TRITON_TENSORRT_LLM: EngineSeries = EngineSeries {
    prefix: "nv_trt_llm_",
    wanted: &[
        is("request_metrics", "request_type", "waiting", Field::Waiting),
        is("request_metrics", "request_type", "scheduled", Field::Running),
        is("kv_cache_block_metrics", "kv_cache_block_type", "fraction", Field::KvUsage),
        is("kv_cache_block_metrics", "kv_cache_block_type", "tokens_per", Field::BlockTokens),
        is("kv_cache_block_metrics", "kv_cache_block_type", "max", Field::Blocks),
    ],
};

/// Triton with any other backend: requests that wait, for every model that it serves.
///
/// The endpoint picker takes `nv_inference_exec_count` for the running requests. That is a counter of all
/// executions since the server started, so that the oldest server looks busiest for ever; it is left out,
/// and what this gateway itself has in flight stands in for it.
pub(crate) static TRITON: EngineSeries =
    EngineSeries { prefix: "nv_inference_", wanted: &[any("pending_request_count", Field::Waiting)] };
