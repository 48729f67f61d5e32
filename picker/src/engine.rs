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
    /// Labels whose values tell the engines behind one port apart. One that is absent is the same as an empty one.
    pub(crate) engine_labels: EngineLabels,
    /// What several samples of one name are that have the same engine labels.
    pub(crate) repeats: Repeats,
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

/// Up to two names of labels, the second empty where there is one; no label has an empty name.
pub(crate) type EngineLabels = [&'static str; 2];

/// What the samples of one engine are to each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Repeats {
    /// The same number, as each of the engine's ranks (tensor, pipeline or expert parallel) sees it. The largest counts:
    /// ranks write their numbers down one after the other.
    Copies,
    /// Parts of one number, which add up.
    Parts,
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
    /// Every one.
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
    /// Tokens in a block and number of the engine's blocks, in the two labels named here.
    CacheLabels(&'static str, &'static str),
    /// The same, with the blocks of all engines behind the port in each engine's sample.
    TotalCacheLabels(&'static str, &'static str),
    /// Tokens in one KV-cache block.
    BlockTokens,
    /// KV-cache blocks of the engine.
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
///
/// With `--data-parallel-size`, each engine has its own queue and cache, and series labelled `engine="0"` and so on.
/// Only `num_gpu_blocks` is the sum over all of them, and each engine's `cache_config_info` has that sum (in
/// `core_client.py`, where engines report that they are ready).
pub(crate) static VLLM: EngineSeries = EngineSeries {
    prefix: "vllm:",
    engine_labels: ["engine", "model_name"],
    repeats: Repeats::Copies,
    wanted: &[
        any("num_requests_waiting", Field::Waiting),
        any("num_requests_running", Field::Running),
        any("kv_cache_usage_perc", Field::KvUsage),
        any("gpu_cache_usage_perc", Field::KvUsageOld),
        any("lora_requests_info", Field::Adapters),
        any("cache_config_info", Field::TotalCacheLabels("block_size", "num_gpu_blocks")),
    ],
};

/// SGLang. With priority scheduling the two request gauges also come split by `priority`, next to their
/// total; adding them up would count every request twice. Since 0.5.11 the size of the cache is in two
/// gauges, before that in the labels of `cache_config_info`.
///
/// Series are labelled by the rank of the scheduler that wrote them. Each `dp_rank` has its own queue and cache; the
/// ranks within it (`tp_rank`, `pp_rank`, `moe_ep_rank`) schedule the same requests, and write the same numbers with
/// `--enable-metrics-for-all-schedulers` or under context parallelism.
pub(crate) static SGLANG: EngineSeries = EngineSeries {
    prefix: "sglang:",
    engine_labels: ["dp_rank", "model_name"],
    repeats: Repeats::Copies,
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
    engine_labels: ["model_name", ""],
    repeats: Repeats::Copies,
    wanted: &[
        any("num_requests_waiting", Field::Waiting),
        any("num_requests_running", Field::Running),
        any("kv_cache_utilization", Field::KvUsage),
        any("kv_cache_tokens_per_block", Field::BlockTokens),
        any("kv_cache_max_blocks", Field::Blocks),
    ],
};

/// Triton with the TensorRT-LLM backend; each model is an engine.
pub(crate) static TRITON_TENSORRT_LLM: EngineSeries = EngineSeries {
    prefix: "nv_trt_llm_",
    engine_labels: ["model", "version"],
    repeats: Repeats::Copies,
    wanted: &[
        is("request_metrics", "request_type", "waiting", Field::Waiting),
        is("request_metrics", "request_type", "scheduled", Field::Running),
        is("kv_cache_block_metrics", "kv_cache_block_type", "fraction", Field::KvUsage),
        is("kv_cache_block_metrics", "kv_cache_block_type", "tokens_per", Field::BlockTokens),
        is("kv_cache_block_metrics", "kv_cache_block_type", "max", Field::Blocks),
    ],
};

/// Triton with any other backend: requests that wait, for every model that it serves, added up. The models of an
/// ensemble are steps of one request and not engines that share the requests there are.
///
/// The endpoint picker takes `nv_inference_exec_count` for the running requests. That is a counter of all
/// executions since the server started, so that the oldest server looks busiest for ever; it is left out,
/// and what this gateway itself has in flight stands in for it.
pub(crate) static TRITON: EngineSeries = EngineSeries {
    prefix: "nv_inference_",
    engine_labels: ["", ""],
    repeats: Repeats::Parts,
    wanted: &[any("pending_request_count", Field::Waiting)],
};
