//! The command line: llm-d-inference-sim's flags where both have them, and a few of our own.

use std::{
    net::IpAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use clap::{ArgAction, Parser, ValueEnum};

use super::{
    credentials::{Credentials, CredentialsError},
    metrics::FakeMetrics,
    options::{
        Calculator, CostModel, FailureType, KvOptions, Latency, LoraModule, Mode, Options, Personality,
        TlsOptions,
    },
};

/// Most servers that one process starts.
const MAX_SERVERS: u32 = 60_000;

/// A vLLM-like model server without a model. Flags are those of llm-d-inference-sim where both have them.
#[derive(Clone, Debug, Parser)]
#[command(name = "penstock-sim", version, max_term_width = 110)]
pub struct Flags {
    /// Base model. Without it SIM_MODEL is used; without that, and with TESTUPSTREAM_ID set, the process is the
    /// test upstream instead (on LISTENER_PORT, 8080 by default).
    #[arg(long)]
    model: Option<String>,
    /// Names under which the base model is served.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    served_model_name: Vec<String>,
    /// Be Envoy AI Gateway's test upstream, with this id unless TESTUPSTREAM_ID gives one.
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "test")]
    testupstream: Option<String>,
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    host: IpAddr,
    /// Port of the first server; 0 takes a free one. 8000, or LISTENER_PORT as a test upstream.
    #[arg(long, alias = "port-base")]
    port: Option<u16>,
    /// Servers to run in this process, on consecutive ports.
    #[arg(long, default_value = "1")]
    count: NonZeroU16,
    /// Ranks of each server, each on a port of its own behind the server's.
    #[arg(long, default_value = "1", value_name = "RANKS")]
    data_parallel_size: NonZeroU16,
    /// Sequences that run at once; the others wait.
    #[arg(long, default_value = "5", value_name = "N")]
    max_num_seqs: usize,
    /// Requests that may wait; one more is answered 429.
    #[arg(long, default_value = "1000", value_name = "N")]
    max_waiting_queue_length: usize,
    /// Context window in tokens.
    #[arg(long, default_value = "1024", value_name = "TOKENS")]
    max_model_len: usize,
    /// Largest request body in MiB.
    #[arg(long, default_value = "64", value_name = "MIB")]
    max_request_body_size_mb: usize,
    /// How answers are made.
    #[arg(long, value_enum, default_value_t = ModeFlag::Random)]
    mode: ModeFlag,
    /// Seed of all that looks random; the time without it.
    #[arg(long)]
    seed: Option<u64>,
    /// LoRA adapters, each a JSON object: {"name": …, "path": …, "base_model_name": …}.
    #[arg(long, num_args = 1.., value_name = "JSON", value_parser = json::<LoraModule>)]
    lora_modules: Vec<LoraModule>,
    /// Adapters that can be active at once.
    #[arg(long, default_value = "1", value_name = "N")]
    max_loras: usize,
    #[command(flatten)]
    timing: Timing,
    #[command(flatten)]
    cache: Cache,
    /// Requests that fail, in percent.
    #[arg(long, default_value = "0", value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    failure_injection_rate: u8,
    /// Kinds of failure: rate_limit, invalid_api_key, context_length, server_error, invalid_request,
    /// model_not_found. All without it.
    #[arg(long, num_args = 1.., value_name = "KIND", value_parser = name::<FailureType>)]
    failure_types: Vec<FailureType>,
    /// Gauges to report instead of the real ones, as JSON, for instance
    /// {"running-requests": 3, "waiting-requests": 1, "kv-cache-usage": 0.5}.
    #[arg(long, value_name = "JSON", value_parser = json::<FakeMetrics>)]
    fake_metrics: Option<FakeMetrics>,
    /// Size of an embedding where the request names none.
    #[arg(long, default_value = "384", value_name = "N")]
    default_embedding_dimensions: usize,
    /// PEM file with the certificate chain; with --ssl-keyfile, the server speaks TLS.
    #[arg(long, requires = "ssl_keyfile", value_name = "FILE")]
    ssl_certfile: Option<PathBuf>,
    /// PEM file with the private key.
    #[arg(long, requires = "ssl_certfile", value_name = "FILE")]
    ssl_keyfile: Option<PathBuf>,
    /// PEM file with the authorities that client certificates must come from.
    #[arg(long, requires = "ssl_certfile", value_name = "FILE")]
    ssl_ca_certs: Option<PathBuf>,
    /// Requests to remember for GET /sim/requests; 0 also saves hashing their bodies.
    #[arg(long, default_value = "0", value_name = "N")]
    record: usize,
    /// Remember their bodies too.
    #[arg(long)]
    record_bodies: bool,
    /// JSON file that names the credentials that providers ask for here and that the token services hand out; see
    /// docs/simulator.md. Without it nothing is checked, and there are no token services.
    #[arg(long, value_name = "FILE", value_parser = credentials)]
    credentials: Option<Credentials>,
    /// How long issued tokens are valid, in whole seconds, instead of what the file says.
    #[arg(long, requires = "credentials", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    token_lifetime: Option<u64>,
    /// Never answer endpoint-load-metrics-format with a load report.
    #[arg(long)]
    no_load_reports: bool,
    #[command(flatten)]
    ignored: Ignored,
}

#[derive(Clone, Debug, clap::Args)]
struct Timing {
    /// constant, per-token, or batch (a documented cost model of one GPU). By default constant with a time to
    /// first token, else per-token.
    #[arg(long, value_enum, value_name = "NAME")]
    latency_calculator: Option<CalculatorFlag>,
    /// Same as --latency-calculator batch.
    #[arg(long)]
    calibrated: bool,
    /// Time to first token, for instance 100ms.
    #[arg(long, default_value = "0", value_parser = duration)]
    time_to_first_token: Duration,
    /// Its standard deviation.
    #[arg(long, default_value = "0", value_parser = duration)]
    time_to_first_token_std_dev: Duration,
    /// Time between two tokens.
    #[arg(long, default_value = "0", value_parser = duration)]
    inter_token_latency: Duration,
    /// Its standard deviation.
    #[arg(long, default_value = "0", value_parser = duration)]
    inter_token_latency_std_dev: Duration,
    /// Fixed part of the prefill time.
    #[arg(long, default_value = "0", value_parser = duration)]
    prefill_overhead: Duration,
    /// Prefill time of each prompt token that is not cached.
    #[arg(long, default_value = "0", value_parser = duration)]
    prefill_time_per_token: Duration,
    /// Standard deviation of the prefill time.
    #[arg(long, default_value = "0", value_parser = duration)]
    prefill_time_std_dev: Duration,
    /// How many times slower a full batch is than one sequence; at least 1.
    #[arg(long, default_value = "1.0", value_name = "FACTOR")]
    time_factor_under_load: f64,
    /// Prompt tokens prefilled in one step of the batch.
    #[arg(long, default_value = "8192", value_name = "TOKENS")]
    max_num_batched_tokens: usize,
}

#[derive(Clone, Debug, clap::Args)]
struct Cache {
    /// Whether the KV cache is simulated.
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = ArgAction::Set)]
    enable_kvcache: bool,
    /// Do not reuse the blocks of earlier prompts.
    #[arg(long)]
    no_enable_prefix_caching: bool,
    /// Blocks in the KV cache.
    #[arg(long, default_value = "1024", value_name = "BLOCKS")]
    kv_cache_size: usize,
    /// Tokens in a block.
    #[arg(long, default_value = "16", value_name = "TOKENS", value_parser = block_size)]
    block_size: usize,
}

/// Flags of vLLM and llm-d-inference-sim that are accepted and do nothing here.
#[derive(Clone, Debug, clap::Args)]
struct Ignored {
    #[arg(long, hide = true)]
    tensor_parallel_size: Option<usize>,
    #[arg(long, hide = true)]
    max_cpu_loras: Option<usize>,
    #[arg(long, hide = true)]
    enable_prefix_caching: bool,
    #[arg(long, hide = true)]
    enforce_eager: bool,
    #[arg(long, hide = true)]
    force_dummy_tokenizer: bool,
    #[arg(long, hide = true)]
    hash_seed: Option<String>,
    #[arg(long, hide = true)]
    zmq_endpoint: Option<String>,
    #[arg(short, long, hide = true)]
    v: Option<i32>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeFlag {
    /// Sentences from a bank.
    Random,
    /// The last message, or the prompt.
    Echo,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CalculatorFlag {
    Constant,
    PerToken,
    Batch,
}

/// What the process environment adds to the flags.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `SIM_MODEL`: the model, where no flag gives one.
    pub model: Option<String>,
    /// `POD_NAME`: goes out as `x-inference-pod`.
    pub pod_name: Option<String>,
    /// `POD_NAMESPACE` or `NAMESPACE`: goes out as `x-inference-namespace`.
    pub pod_namespace: Option<String>,
    /// `TESTUPSTREAM_ID`: makes the process a test upstream, where it has no model.
    pub testupstream_id: Option<String>,
    /// `LISTENER_PORT`: the test upstream's port.
    pub listener_port: Option<String>,
}

impl Environment {
    /// Reads the variables of this process.
    #[must_use]
    pub fn read() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        Self {
            model: variable("SIM_MODEL"),
            pod_name: variable("POD_NAME"),
            pod_namespace: variable("POD_NAMESPACE").or_else(|| variable("NAMESPACE")),
            testupstream_id: variable("TESTUPSTREAM_ID"),
            listener_port: variable("LISTENER_PORT"),
        }
    }
}

/// Flags or environment that make no server.
#[derive(Debug, thiserror::Error)]
pub enum FlagsError {
    /// Neither a model nor a test upstream was asked for.
    #[error("--model is missing (or set TESTUPSTREAM_ID to run the test upstream)")]
    NoModel,
    /// A port that is none.
    #[error("LISTENER_PORT is not a port: {0}")]
    ListenerPort(String),
    /// More ports than there are.
    #[error("{servers} servers from port {port} on do not fit below port 65536")]
    TooManyPorts {
        /// Servers asked for, ranks included.
        servers: u32,
        /// The first port.
        port: u16,
    },
    /// A load factor below one.
    #[error("--time-factor-under-load must be at least 1")]
    LoadFactor,
}

impl Flags {
    /// The servers that these flags ask for, in order of their ports, and the gauges they show instead of their
    /// own.
    ///
    /// # Errors
    /// The flags contradict each other or the environment.
    pub fn servers(
        self,
        environment: &Environment,
    ) -> Result<(Vec<Options>, Option<FakeMetrics>), FlagsError> {
        if self.timing.time_factor_under_load < 1.0 {
            return Err(FlagsError::LoadFactor);
        }
        let personality = self.personality(environment);
        let model = self.model.clone().or_else(|| environment.model.clone());
        let is_model_server = personality == Personality::ModelServer;
        if is_model_server && model.is_none() {
            return Err(FlagsError::NoModel);
        }
        let port = self.first_port(is_model_server, environment)?;
        let ranks = u32::from(self.data_parallel_size.get());
        let servers = u32::from(self.count.get()) * ranks;
        if servers > MAX_SERVERS || (port > 0 && u32::from(port) + servers > 1 << 16) {
            return Err(FlagsError::TooManyPorts { servers, port });
        }
        let fakes = self.fake_metrics.clone();
        let count = u32::from(self.count.get());
        let template = self.options(model.unwrap_or_default(), personality, environment);
        let options = (0..servers)
            .map(|at| {
                let mut options = template.clone();
                options.listen.set_port(if port == 0 { 0 } else { port + at as u16 });
                if count > 1 {
                    let pod = options.pod_name.as_deref().unwrap_or("sim");
                    options.pod_name = Some(format!("{pod}-{}", at / ranks));
                }
                options
            })
            .collect();
        Ok((options, fakes))
    }

    fn personality(&self, environment: &Environment) -> Personality {
        let given = environment.testupstream_id.clone();
        let has_model = self.model.is_some() || environment.model.is_some();
        match &self.testupstream {
            Some(id) => Personality::TestUpstream { id: given.unwrap_or_else(|| id.clone()) },
            None => match given {
                Some(id) if !has_model => Personality::TestUpstream { id },
                _ => Personality::ModelServer,
            },
        }
    }

    fn first_port(&self, is_model_server: bool, environment: &Environment) -> Result<u16, FlagsError> {
        match (self.port, &environment.listener_port) {
            (Some(port), _) => Ok(port),
            (None, _) if is_model_server => Ok(8000),
            (None, None) => Ok(8080),
            (None, Some(port)) => port.parse().map_err(|_| FlagsError::ListenerPort(port.clone())),
        }
    }

    fn options(self, model: String, personality: Personality, environment: &Environment) -> Options {
        let tls = self.ssl_certfile.zip(self.ssl_keyfile).map(|(certificate_file, key_file)| TlsOptions {
            certificate_file,
            key_file,
            client_ca_file: self.ssl_ca_certs,
        });
        let mut credentials = self.credentials;
        if let Some((known, lifetime_s)) = credentials.as_mut().zip(self.token_lifetime) {
            known.lifetime_s = lifetime_s;
        }
        Options {
            listen: (self.host, 0).into(),
            personality,
            model,
            served_model_names: self.served_model_name,
            loras: self.lora_modules,
            max_loras: self.max_loras,
            max_num_seqs: self.max_num_seqs,
            max_waiting: self.max_waiting_queue_length,
            max_model_len: self.max_model_len,
            max_body_bytes: self.max_request_body_size_mb << 20,
            mode: match self.mode {
                ModeFlag::Random => Mode::Random,
                ModeFlag::Echo => Mode::Echo,
            },
            seed: self.seed.unwrap_or_else(|| super::metrics::now().to_bits()),
            latency: self.timing.latency(),
            kv: KvOptions {
                is_enabled: self.cache.enable_kvcache,
                reuses_prefixes: !self.cache.no_enable_prefix_caching,
                blocks: self.cache.kv_cache_size,
                block_tokens: self.cache.block_size,
            },
            embedding_dimensions: self.default_embedding_dimensions,
            failure_rate_percent: self.failure_injection_rate,
            failure_types: self.failure_types,
            pod_name: environment.pod_name.clone(),
            pod_namespace: environment.pod_namespace.clone(),
            tls,
            record_requests: self.record,
            record_bodies: self.record_bodies,
            credentials,
            load_reports: !self.no_load_reports,
        }
    }
}

impl Timing {
    fn latency(self) -> Latency {
        let batch = || {
            let max_batched_tokens = self.max_num_batched_tokens.max(1);
            Calculator::Batch(CostModel { max_batched_tokens, ..CostModel::default() })
        };
        let calculator = match self.latency_calculator {
            _ if self.calibrated => batch(),
            None => Calculator::Auto,
            Some(CalculatorFlag::Constant) => Calculator::Constant,
            Some(CalculatorFlag::PerToken) => Calculator::PerToken,
            Some(CalculatorFlag::Batch) => batch(),
        };
        Latency {
            calculator,
            time_to_first_token: self.time_to_first_token,
            time_to_first_token_std_dev: self.time_to_first_token_std_dev,
            inter_token_latency: self.inter_token_latency,
            inter_token_latency_std_dev: self.inter_token_latency_std_dev,
            prefill_overhead: self.prefill_overhead,
            prefill_time_per_token: self.prefill_time_per_token,
            prefill_time_std_dev: self.prefill_time_std_dev,
            time_factor_under_load: self.time_factor_under_load,
        }
    }
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

fn name<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(serde_json::Value::from(text))
}

fn credentials(path: &str) -> Result<Credentials, CredentialsError> {
    Credentials::read(Path::new(path))
}

fn block_size(text: &str) -> Result<usize, String> {
    let size = usize::from_str(text).map_err(|error| error.to_string())?;
    if matches!(size, 8 | 16 | 32 | 64 | 128) {
        Ok(size)
    } else {
        Err("must be 8, 16, 32, 64 or 128".to_owned())
    }
}

/// A duration as Go writes it ("1m30s", "1.5s", "250us"), or a plain number of milliseconds, which older
/// manifests have.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("not a duration: {text}");
    if let Ok(ms) = u64::from_str(text) {
        return Ok(Duration::from_millis(ms));
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number = f64::from_str(&rest[..end]).map_err(|_| wrong())?;
        let unit = &rest[end..];
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let seconds = match &unit[..length] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        total += number * seconds;
        rest = &unit[length..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
