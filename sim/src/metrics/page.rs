//! The page: text exposition format as Python's client writes it, floats everywhere and a `_created` series
//! behind each counter and histogram.

use std::fmt::Write;

use super::{
    FakeLoras, FakeMetrics, Histogram, HttpCounter, Ledger, Load, Tables,
    families::{BucketBounds, HISTOGRAMS, HTTP_COARSE, HTTP_FINE, REASONS},
    now,
};

/// What a page shows beside the counters.
pub(crate) struct Page<'a> {
    /// Label `model_name`.
    pub(crate) model: &'a str,
    pub(crate) load: Load,
    pub(crate) fakes: Option<FakeMetrics>,
    pub(crate) max_loras: usize,
    /// Adapter names, by the indices in `load`.
    pub(crate) lora_names: &'a dyn Fn(&[usize]) -> String,
    pub(crate) block_tokens: usize,
    pub(crate) blocks: usize,
    pub(crate) reuses_prefixes: bool,
}

/// Bytes to expect; a page without traffic has about 60 KB.
const PAGE_BYTES: usize = 80 << 10;

/// Writes the whole page.
pub(crate) fn render(ledger: &Ledger, page: &Page<'_>) -> String {
    let tables = ledger.tables.lock().clone();
    let mut writer = Writer {
        out: String::with_capacity(PAGE_BYTES),
        labels: format!(r#"engine="0",model_name="{}""#, escaped(page.model)),
        created: format!("{:?}", ledger.started),
    };
    writer.process(ledger.started);
    writer.gauges(page);
    writer.counters(&tables);
    for (at, family) in HISTOGRAMS.iter().enumerate() {
        let labels = writer.labels.clone();
        writer.family(family.name, family.help, "histogram");
        writer.histogram(family.name, &labels, family.bounds, tables.histograms.get(at));
        writer.created(family.name, &labels, true);
    }
    writer.info(page);
    writer.http(&tables.http);
    writer.out
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

struct Writer {
    out: String,
    labels: String,
    created: String,
}

impl Writer {
    fn family(&mut self, name: &str, help: &str, kind: &str) {
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.out.push_str(part);
        }
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        for part in [name, "{", labels, "} "] {
            self.out.push_str(part);
        }
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{value:?}");
    }

    /// The time since which a counter counts.
    fn created(&mut self, name: &str, labels: &str, is_first: bool) {
        let name = format!("{}_created", name.strip_suffix("_total").unwrap_or(name));
        if is_first {
            self.family(&name, "When this began to count.", "gauge");
        }
        for part in [&name, "{", labels, "} ", &self.created, "\n"] {
            self.out.push_str(part);
        }
    }

    fn counter(&mut self, name: &str, help: &str, values: &[(&str, u64)]) {
        self.family(name, help, "counter");
        let rows: Vec<_> = values
            .iter()
            .map(|(label, value)| {
                let comma = if label.is_empty() { "" } else { "," };
                (format!("{}{comma}{label}", self.labels), *value)
            })
            .collect();
        for (labels, value) in &rows {
            self.sample(name, labels, *value as f64);
        }
        for (at, (labels, _)) in rows.iter().enumerate() {
            self.created(name, labels, at == 0);
        }
    }

    fn histogram(&mut self, name: &str, labels: &str, bounds: BucketBounds, histogram: Option<&Histogram>) {
        let comma = if labels.is_empty() { "" } else { "," };
        let counts = histogram.map_or(&[][..], |histogram| &histogram.counts);
        let mut total = 0;
        for (at, bound) in bounds.labels.iter().chain(&["+Inf"]).enumerate() {
            total += counts.get(at).copied().unwrap_or(0);
            // By far the most lines are these; formatting macros would take three times as long.
            for part in [name, "_bucket{", labels, comma, "le=\"", bound, "\"} "] {
                self.out.push_str(part);
            }
            self.count(total);
        }
        let (open, close) = if labels.is_empty() { ("", "") } else { ("{", "}") };
        for part in [name, "_count", open, labels, close, " "] {
            self.out.push_str(part);
        }
        self.count(total);
        let sum = histogram.map_or(0.0, |histogram| histogram.sum);
        let _ = writeln!(self.out, "{name}_sum{open}{labels}{close} {sum:?}");
    }

    /// A whole number as Python writes a float, and the line's end.
    fn count(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        while at == digits.len() || number > 0 {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        digits[at..].iter().for_each(|digit| self.out.push(char::from(*digit)));
        self.out.push_str(".0\n");
    }

    fn process(&mut self, started: f64) {
        for (name, help, kind, value) in [
            ("process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", 2.1e10),
            ("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge", 4.2e9),
            ("process_start_time_seconds", "Start of the process since the epoch.", "gauge", started),
            ("process_cpu_seconds_total", "CPU time spent.", "counter", 0.0),
            ("process_open_fds", "Open file descriptors.", "gauge", 64.0),
            ("process_max_fds", "Most open file descriptors.", "gauge", 1_048_576.0),
        ] {
            self.family(name, help, kind);
            let _ = writeln!(self.out, "{name} {value:?}");
        }
    }

    fn gauges(&mut self, page: &Page<'_>) {
        let fakes = page.fakes.clone().unwrap_or_default();
        let running = fakes.running_requests.unwrap_or(page.load.running as f64);
        let waiting = fakes.waiting_requests.unwrap_or(page.load.waiting as f64);
        let usage = fakes.kv_cache_usage.unwrap_or(page.load.kv_usage);
        let labels = self.labels.clone();
        for (name, help, value) in [
            ("vllm:num_requests_running", "Requests in the batch of the model.", running),
            ("vllm:num_requests_waiting", "Requests waiting to be processed.", waiting),
            ("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", usage),
        ] {
            self.family(name, help, "gauge");
            self.sample(name, &labels, value);
        }
        self.family("vllm:engine_sleep_state", "Whether the engine is awake, or how it sleeps.", "gauge");
        for (state, value) in [("awake", 1.0), ("weights_offloaded", 0.0), ("discard_all", 0.0)] {
            let labels = format!("{labels},sleep_state=\"{state}\"");
            self.sample("vllm:engine_sleep_state", &labels, value);
        }
        self.family("vllm:lora_requests_info", "Adapters of running and waiting requests.", "gauge");
        let own = || FakeLoras {
            running: (page.lora_names)(&page.load.running_loras),
            waiting: (page.lora_names)(&page.load.waiting_loras),
            timestamp: now(),
        };
        for loras in fakes.loras.unwrap_or_else(|| vec![own()]) {
            let labels = format!(
                r#"max_lora="{}",running_lora_adapters="{}",waiting_lora_adapters="{}""#,
                page.max_loras,
                escaped(&loras.running),
                escaped(&loras.waiting),
            );
            self.sample("vllm:lora_requests_info", &labels, loras.timestamp);
        }
    }

    fn counters(&mut self, tables: &Tables) {
        let uncached = tables.prompt_tokens - tables.cached_tokens;
        let reasons: Vec<_> = REASONS.iter().map(|reason| format!("finished_reason=\"{reason}\"")).collect();
        let finished: Vec<_> =
            reasons.iter().map(String::as_str).zip(tables.finished.iter().copied()).collect();
        let plain = |value| [("", value)];
        self.counter(
            "vllm:prefix_cache_queries_total",
            "Tokens looked up in the prefix cache.",
            &plain(tables.cache_queries),
        );
        self.counter(
            "vllm:prefix_cache_hits_total",
            "Tokens found in the prefix cache.",
            &plain(tables.cached_tokens),
        );
        for name in [
            "vllm:external_prefix_cache_queries_total",
            "vllm:external_prefix_cache_hits_total",
            "vllm:mm_cache_queries_total",
            "vllm:mm_cache_hits_total",
            "vllm:num_preemptions_total",
            "vllm:corrupted_requests_total",
        ] {
            self.counter(name, "Not simulated.", &plain(0));
        }
        self.counter("vllm:prompt_tokens_total", "Prefill tokens.", &plain(tables.prompt_tokens));
        self.counter(
            "vllm:prompt_tokens_by_source_total",
            "Prompt tokens, by where they came from.",
            &[
                ("source=\"local_compute\"", uncached),
                ("source=\"local_cache_hit\"", tables.cached_tokens),
                ("source=\"external_kv_transfer\"", 0),
            ],
        );
        self.counter("vllm:prompt_tokens_cached_total", "Cached tokens.", &plain(tables.cached_tokens));
        self.counter("vllm:generation_tokens_total", "Generated tokens.", &plain(tables.generation_tokens));
        self.counter("vllm:request_success_total", "Finished requests.", &finished);
    }

    fn info(&mut self, page: &Page<'_>) {
        self.family("vllm:cache_config_info", "Configuration of the KV cache.", "gauge");
        let is_on = if page.reuses_prefixes { "True" } else { "False" };
        let labels = format!(
            "block_size=\"{}\",cache_dtype=\"auto\",calculate_kv_scales=\"False\",cpu_kvcache_space_bytes=\"None\",\
             enable_prefix_caching=\"{is_on}\",engine=\"0\",gpu_memory_utilization=\"0.9\",is_attention_free=\"False\",\
             num_cpu_blocks=\"None\",num_gpu_blocks=\"{}\",num_gpu_blocks_override=\"None\",\
             prefix_caching_hash_algo=\"sha256\",sliding_window=\"None\",swap_space_bytes=\"4294967296\"",
            page.block_tokens, page.blocks,
        );
        self.sample("vllm:cache_config_info", &labels, 1.0);
    }

    fn http(&mut self, counters: &[HttpCounter]) {
        let name = "http_requests_total";
        self.family(name, "Requests by method, status and handler.", "counter");
        for counter in counters {
            let HttpCounter { handler, method, class, count } = counter;
            let labels = format!(r#"handler="{handler}",method="{method}",status="{class}xx""#);
            self.sample(name, &labels, *count as f64);
        }
        let mut handlers: Vec<(&str, &str, u64)> = Vec::new();
        for counter in counters {
            match handlers
                .iter_mut()
                .find(|(handler, method, _)| *handler == counter.handler && *method == counter.method)
            {
                Some((_, _, count)) => *count += counter.count,
                None => handlers.push((counter.handler, counter.method, counter.count)),
            }
        }
        let total = handlers.iter().map(|(_, _, count)| count).sum();
        let all_fast = |count| Histogram { counts: vec![count], sum: 0.0 };
        let fine = "http_request_duration_highr_seconds";
        self.family(fine, "Latency of all requests.", "histogram");
        self.histogram(fine, "", HTTP_FINE, Some(&all_fast(total)));
        let coarse = "http_request_duration_seconds";
        self.family(coarse, "Latency by handler.", "histogram");
        for (handler, method, count) in handlers {
            let labels = format!(r#"handler="{handler}",method="{method}""#);
            self.histogram(coarse, &labels, HTTP_COARSE, Some(&all_fast(count)));
        }
    }
}
