//! Writes pages like vLLM 0.32's `/metrics`, for tests and benchmarks.
//!
//! A recording would pin one model name, one engine and one load; the generator varies them. Families,
//! labels, buckets and order are those that vLLM registers (`vllm/v1/metrics/loggers.py`) and what the Python
//! client adds: `_created` next to every counter and histogram, the process and garbage collector families in
//! front, the HTTP instrumentation at the end. Counts are made up from a fixed sequence, so that equal
//! settings give equal bytes. One engine with a long model name comes to about 60 KB.

use std::fmt::Write as _;

/// What a page says.
#[derive(Clone, Debug)]
pub(crate) struct VllmPage {
    /// Label `model_name`.
    pub(crate) model: String,
    /// Waiting, running and KV-cache usage of each data parallel engine.
    pub(crate) engines: Vec<(u32, u32, f64)>,
    /// Running and waiting adapters of each LoRA series, oldest first.
    pub(crate) adapters: Vec<(String, String)>,
    /// Longest sequence; decides how many buckets the token histograms have.
    pub(crate) max_model_len: u32,
}

impl Default for VllmPage {
    fn default() -> Self {
        Self {
            model: "meta-llama/Llama-3.1-8B-Instruct".to_owned(),
            engines: vec![(3, 17, 0.4375)],
            adapters: vec![
                (String::new(), String::new()),
                ("food-review-1".to_owned(), String::new()),
                ("food-review-1,cad-fabricator".to_owned(), "legal".to_owned()),
            ],
            max_model_len: 131_072,
        }
    }
}

impl VllmPage {
    /// The page's text.
    pub(crate) fn render(&self) -> String {
        let mut page = Writer { text: String::with_capacity(80 << 10), page: self, state: 1 };
        page.process();
        page.scheduler();
        for name in COUNTERS {
            page.counter(name);
        }
        page.successes();
        for name in TOKEN_HISTOGRAMS {
            page.histogram(name, &one_two_five(self.max_model_len));
        }
        page.histogram("vllm:iteration_tokens_total", &powers_of_two());
        page.histogram("vllm:request_params_n", &[1.0, 2.0, 5.0, 10.0, 20.0]);
        page.histogram("vllm:time_to_first_token_seconds", TTFT_BUCKETS);
        for name in ["vllm:inter_token_latency_seconds", "vllm:request_time_per_output_token_seconds"] {
            page.histogram(name, ITL_BUCKETS);
        }
        for name in LATENCY_HISTOGRAMS {
            page.histogram(name, LATENCY_BUCKETS);
        }
        page.cache_config();
        page.lora();
        page.http();
        page.text
    }
}

const COUNTERS: &[&str] = &[
    "vllm:prefix_cache_queries",
    "vllm:prefix_cache_hits",
    "vllm:external_prefix_cache_queries",
    "vllm:external_prefix_cache_hits",
    "vllm:mm_cache_queries",
    "vllm:mm_cache_hits",
    "vllm:num_preemptions",
    "vllm:prompt_tokens",
    "vllm:prompt_tokens_cached",
    "vllm:generation_tokens",
    "vllm:estimated_flops_per_gpu",
    "vllm:estimated_read_bytes_per_gpu",
    "vllm:estimated_write_bytes_per_gpu",
];

const TOKEN_HISTOGRAMS: &[&str] = &[
    "vllm:request_prompt_tokens",
    "vllm:request_generation_tokens",
    "vllm:request_max_num_generation_tokens",
    "vllm:request_params_max_tokens",
    "vllm:request_prefill_kv_computed_tokens",
];

const LATENCY_HISTOGRAMS: &[&str] = &[
    "vllm:e2e_request_latency_seconds",
    "vllm:request_queue_time_seconds",
    "vllm:request_inference_time_seconds",
    "vllm:request_prefill_time_seconds",
    "vllm:request_decode_time_seconds",
];

const TTFT_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];

const ITL_BUCKETS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];

const LATENCY_BUCKETS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

const HTTP_BUCKETS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5, 10.0,
    30.0, 60.0,
];

fn one_two_five(limit: u32) -> Vec<f64> {
    let decades = (0..10).map(|exponent| 10u64.pow(exponent));
    let steps = decades.flat_map(|ten| [ten, 2 * ten, 5 * ten]);
    steps.take_while(|bucket| *bucket <= u64::from(limit)).map(|bucket| bucket as f64).collect()
}

fn powers_of_two() -> Vec<f64> {
    [0].into_iter().chain(3..15).map(|exponent| f64::from(1u32 << exponent)).collect()
}

struct Writer<'p> {
    text: String,
    page: &'p VllmPage,
    /// Of the sequence that counts are made from.
    state: u64,
}

impl Writer<'_> {
    fn process(&mut self) {
        self.head("python_gc_objects_collected_total", "Objects collected during gc", "counter");
        for generation in 0..3 {
            let count = self.count();
            self.line(format_args!(
                "python_gc_objects_collected_total{{generation=\"{generation}\"}} {count}.0"
            ));
        }
        self.head("python_info", "Python platform information", "gauge");
        self.line(format_args!(
            "python_info{{implementation=\"CPython\",major=\"3\",minor=\"12\",patchlevel=\"11\",version=\"3.12.11\"}} 1.0"
        ));
        for name in ["process_virtual_memory_bytes", "process_resident_memory_bytes", "process_open_fds"] {
            self.head(name, "Of the API server's process.", "gauge");
            let count = self.count();
            self.line(format_args!("{name} 1.{count:09}e+010"));
        }
    }

    fn scheduler(&mut self) {
        let engines = self.page.engines.clone();
        self.gauge("vllm:num_requests_running", engines.iter().map(|(_, running, _)| f64::from(*running)));
        self.gauge("vllm:num_requests_waiting", engines.iter().map(|(waiting, _, _)| f64::from(*waiting)));
        let name = "vllm:num_requests_waiting_by_reason";
        self.head(name, "Requests waiting, by the reason why.", "gauge");
        for reason in ["capacity", "deferred"] {
            self.line(format_args!("{name}{{engine=\"0\",model_name=\"m\",reason=\"{reason}\"}} 99.0"));
        }
        self.gauge("vllm:engine_sleep_state", engines.iter().map(|_| 1.0));
        self.gauge("vllm:kv_cache_usage_perc", engines.iter().map(|(_, _, usage)| *usage));
    }

    fn gauge(&mut self, name: &str, values: impl Iterator<Item = f64>) {
        self.head(name, "Number of requests or share of blocks, at this moment.", "gauge");
        let model = &self.page.model;
        for (engine, value) in values.enumerate() {
            self.text
                .write_fmt(format_args!("{name}{{engine=\"{engine}\",model_name=\"{model}\"}} {value:?}\n"))
                .expect("a String takes everything");
        }
    }

    fn counter(&mut self, name: &str) {
        self.head(&format!("{name}_total"), "Cumulative number since the engine started.", "counter");
        for engine in 0..self.page.engines.len() {
            let (labels, count) = (self.labels(engine), self.count());
            self.line(format_args!("{name}_total{{{labels}}} {count}.0"));
        }
        self.created(name);
    }

    fn successes(&mut self) {
        let name = "vllm:request_success";
        self.head(&format!("{name}_total"), "Count of successfully processed requests.", "counter");
        for reason in ["stop", "length", "abort", "error", "repetition"] {
            for engine in 0..self.page.engines.len() {
                let (model, count) = (self.page.model.clone(), self.count());
                self.line(format_args!(
                    "{name}_total{{engine=\"{engine}\",finished_reason=\"{reason}\",model_name=\"{model}\"}} {count}.0"
                ));
            }
        }
        self.created(name);
    }

    fn histogram(&mut self, name: &str, buckets: &[f64]) {
        self.head(name, "Histogram of it, over all requests since the start.", "histogram");
        for engine in 0..self.page.engines.len() {
            let (model, labels, mut total) = (self.page.model.clone(), self.labels(engine), 0);
            for bucket in buckets {
                total += self.count() % 1000;
                self.line(format_args!(
                    "{name}_bucket{{engine=\"{engine}\",le=\"{bucket:?}\",model_name=\"{model}\"}} {total}.0"
                ));
            }
            self.line(format_args!(
                "{name}_bucket{{engine=\"{engine}\",le=\"+Inf\",model_name=\"{model}\"}} {total}.0"
            ));
            self.line(format_args!("{name}_count{{{labels}}} {total}.0"));
            let sum = self.count();
            self.line(format_args!("{name}_sum{{{labels}}} {sum}.5625"));
        }
        self.created(name);
    }

    fn created(&mut self, name: &str) {
        self.head(&format!("{name}_created"), "When the series was created.", "gauge");
        for engine in 0..self.page.engines.len() {
            let labels = self.labels(engine);
            self.line(format_args!("{name}_created{{{labels}}} 1.7953990998741279e+09"));
        }
    }

    fn cache_config(&mut self) {
        let name = "vllm:cache_config_info";
        self.head(name, "Information of the LLMEngine CacheConfig", "gauge");
        // Of all engines together, and in each of their samples.
        let blocks = 27_440 * self.page.engines.len();
        for engine in 0..self.page.engines.len() {
            self.line(format_args!(
                "{name}{{block_size=\"16\",cache_dtype=\"auto\",calculate_kv_scales=\"False\",\
                 cpu_kvcache_space_bytes=\"None\",enable_prefix_caching=\"True\",engine=\"{engine}\",\
                 gpu_memory_utilization=\"0.9\",is_attention_free=\"False\",kv_cache_memory_bytes=\"None\",\
                 kv_offloading_backend=\"native\",kv_offloading_size=\"None\",kv_sharing_fast_prefill=\"False\",\
                 mamba_block_size=\"None\",mamba_cache_dtype=\"auto\",num_cpu_blocks=\"None\",\
                 num_gpu_blocks=\"{blocks}\",num_gpu_blocks_override=\"None\",prefix_caching_hash_algo=\"sha256\",\
                 sliding_window=\"None\",swap_space=\"4.0\",user_specified_block_size=\"False\"}} 1.0"
            ));
        }
    }

    fn lora(&mut self) {
        let name = "vllm:lora_requests_info";
        self.head(name, "Running stats on lora requests.", "gauge");
        for (age, (running, waiting)) in self.page.adapters.clone().iter().enumerate() {
            self.line(format_args!(
                "{name}{{max_lora=\"4\",running_lora_adapters=\"{running}\",waiting_lora_adapters=\"{waiting}\"}} \
                 1.79539909{age}527e+09"
            ));
        }
    }

    fn http(&mut self) {
        let name = "http_request_duration_seconds";
        for handler in ["/v1/chat/completions", "/v1/completions", "/v1/models", "/health"] {
            self.head(
                "http_requests_total",
                "Total number of requests by method, status and handler.",
                "counter",
            );
            let count = self.count();
            self.line(format_args!(
                "http_requests_total{{handler=\"{handler}\",method=\"POST\",status=\"2xx\"}} {count}.0"
            ));
            for bucket in HTTP_BUCKETS {
                self.line(format_args!(
                    "{name}_bucket{{handler=\"{handler}\",le=\"{bucket:?}\",method=\"POST\"}} {count}.0"
                ));
            }
        }
    }

    fn labels(&self, engine: usize) -> String {
        format!("engine=\"{engine}\",model_name=\"{}\"", self.page.model)
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text.write_fmt(line).expect("a String takes everything");
        self.text.push('\n');
    }

    fn count(&mut self) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.state >> 44
    }
}
