//! The command line of `penstock-perf load`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use thiserror::Error;

use super::{
    arrival::{Rate, Spacing},
    exchange::RequestTemplate,
    plan::{Mode, Plan, Times},
    target::{self, Protocol, Target, Trust},
    workload::{self, Api, BodyFormat, Models, TraceError, Workload, WorkloadKind},
};
use crate::report::schema::{Settings, Slo};

/// Bytes that a token of our prompts has.
const TOKEN_BYTES: usize = 4;
/// Bytes of a chat request around its prompt.
const AROUND_PROMPT_BYTES: usize = 110;

/// Puts a gateway or a model server under load.
///
/// With --rate the loop is open: requests are sent at their times, whatever the answers do, and latency counts from
/// the intended time of sending, so a server that stalls cannot hide it (no coordinated omission). Without, it is
/// closed: --concurrency users, each of whom asks again when answered.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// URL of the gateway or model server, such as http://127.0.0.1:8080
    pub url: String,

    /// The API to speak
    #[arg(long, value_enum, default_value_t)]
    pub api: Api,
    /// Models to ask for: NAME, or a mix such as base=8,lora-{1..4}=2 (names of a range share its weight)
    #[arg(long, default_value = "meta-llama/Llama-3.1-8B-Instruct")]
    pub model: Models,
    /// Repeat the model in this request header, for gateways that do not read bodies
    #[arg(long, value_name = "NAME")]
    pub model_header: Option<String>,
    /// A request header `NAME: VALUE`; may be repeated
    #[arg(long, value_parser = header)]
    pub header: Vec<(String, String)>,
    /// Ask for streams
    #[arg(long)]
    pub stream: bool,
    /// Do not ask for an exact length (`ignore_eos`), nor check it; for servers that refuse the field
    #[arg(long)]
    pub any_length: bool,

    /// Kind of the requests
    #[arg(long, value_enum, default_value_t)]
    pub workload: WorkloadName,
    /// Tokens of a prompt (fixed), of a question (shared-prefix) or of a turn (sessions)
    #[arg(long, default_value_t = 300)]
    pub input_tokens: usize,
    /// Size of a fixed prompt's request body instead, in bytes
    #[arg(long, conflicts_with = "input_tokens")]
    pub input_bytes: Option<usize>,
    /// Tokens of an answer; a trace has its own
    #[arg(long, default_value_t = 100)]
    pub output_tokens: u64,
    /// shared-prefix: number of system prompts
    #[arg(long, default_value_t = 150)]
    pub groups: u64,
    /// shared-prefix: users of each system prompt
    #[arg(long, default_value_t = 5)]
    pub users: u64,
    /// shared-prefix and sessions: tokens of a system prompt
    #[arg(long, default_value_t = 6000)]
    pub prefix_tokens: usize,
    /// shared-prefix: tokens that all questions of one user begin with
    #[arg(long, default_value_t = 0)]
    pub user_tokens: usize,
    /// sessions: questions of each conversation
    #[arg(long, default_value_t = 5)]
    pub turns: usize,
    /// sessions: pause before a user's next question
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub think_time: Duration,
    /// mooncake and azure: the trace file
    #[arg(long)]
    pub trace: Option<PathBuf>,
    /// A trace plays so many times as fast
    #[arg(long, default_value_t = 1.0)]
    pub time_scale: f64,

    /// Requests a second; makes the loop open
    #[arg(long)]
    pub rate: Option<f64>,
    /// How the requests of an open loop are spaced
    #[arg(long, value_enum, default_value_t)]
    pub arrival: Arrival,
    /// Let the rate grow or fall to this one
    #[arg(long, requires = "rate")]
    pub ramp_to: Option<f64>,
    /// How long that takes
    #[arg(long, default_value = "30s", value_parser = duration)]
    pub ramp_over: Duration,
    /// Users of a closed loop (default 64); in an open loop, requests in flight at most (default: no bound)
    #[arg(long)]
    pub concurrency: Option<usize>,

    /// How long to measure (default 10s, without --requests)
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// How many requests to measure; of sessions, how many conversations
    #[arg(long)]
    pub requests: Option<u64>,
    /// Warm-up, in which nothing is measured (default 1s, of a trace 0s)
    #[arg(long, value_parser = duration)]
    pub warmup: Option<Duration>,
    /// A request without a complete answer after this time has failed
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Cut off what is in flight at the end, instead of waiting for it
    #[arg(long)]
    pub cut: bool,
    /// Equal seeds ask the same, at the same times
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// HTTP/2, in clear text with prior knowledge
    #[arg(long)]
    pub http2: bool,
    /// Connections of each thread over HTTP/2
    #[arg(long, default_value_t = 1, requires = "http2")]
    pub http2_connections: usize,
    /// A new connection for each request
    #[arg(long, conflicts_with = "http2")]
    pub new_connections: bool,
    /// Trust the authorities in this PEM file only; without, every certificate is taken
    #[arg(long)]
    pub ca_file: Option<PathBuf>,
    /// Threads that send (default: one for each core that may be used, four at most)
    #[arg(long)]
    pub threads: Option<usize>,

    /// Objective: milliseconds to the first token (of a whole answer: to its end)
    #[arg(long, value_name = "MS")]
    pub slo_ttft: Option<f64>,
    /// Objective: milliseconds for each further token
    #[arg(long, value_name = "MS")]
    pub slo_tpot: Option<f64>,
    /// Objective: milliseconds to the end
    #[arg(long, value_name = "MS")]
    pub slo_e2e: Option<f64>,

    /// Account for what this process and its descendants use meanwhile; may be repeated
    #[arg(long, value_name = "PID")]
    pub account: Vec<u32>,
    /// Write the report here
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a line for each request here
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write a page with plots here
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// Kind of a run's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WorkloadName {
    /// Prompts of one size
    #[default]
    Fixed,
    /// Groups of users who share a system prompt
    SharedPrefix,
    /// Conversations of several turns
    Sessions,
    /// Mooncake's conversation trace: equal hash ids become equal text
    Mooncake,
    /// Azure's code trace
    Azure,
}

/// When to ask, in an open loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Arrival {
    /// Equal gaps
    Constant,
    /// Exponential gaps
    #[default]
    Poisson,
    /// The trace's times
    Trace,
}

/// Why a command line cannot be run.
#[derive(Debug, Error)]
pub enum FlagsError {
    /// A number is out of its range.
    #[error("--{flag} {value}: {wanted}")]
    Range {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is asked for.
        wanted: &'static str,
    },
    /// The workload needs a trace.
    #[error("this workload replays a trace: name its file with --trace FILE")]
    NoTrace,
    /// Times of a trace without a trace.
    #[error("--arrival trace needs --workload mooncake or azure")]
    NoTimes,
    /// The target cannot be used.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// The trace cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl Flags {
    pub(super) fn plan(&self) -> Result<Plan, FlagsError> {
        self.check()?;
        let protocol = if self.http2 { Protocol::Http2 } else { Protocol::Http1 };
        let trust = self.ca_file.clone().map_or(Trust::Anyone, Trust::File);
        let target = Target::new(&self.url, protocol, &trust)?;
        let model_header = self.model_header.as_deref();
        let template = RequestTemplate::new(&target, &self.header, model_header, self.new_connections);
        let cores = crate::process::own_cores().len().clamp(1, 4);
        let duration = self.duration.or_else(|| match self.requests {
            Some(_) => None,
            None if self.is_trace() => None,
            None => Some(Duration::from_secs(10)),
        });
        Ok(Plan {
            target,
            template: Arc::new(template),
            workload: self.workload()?,
            mode: self.mode(),
            new_connections: self.new_connections,
            h2_connections: self.http2_connections,
            warmup: self.warmup(),
            duration,
            requests: self.requests,
            timeout: self.timeout,
            cuts: self.cut,
            threads: self.threads.unwrap_or(cores),
            slo: self.slo(),
            keeps_rows: self.csv.is_some(),
            accounts: self.account.clone(),
            is_quiet: self.quiet,
        })
    }

    /// The run in words and numbers, for its report.
    pub(super) fn settings(&self, plan: &Plan) -> Settings {
        let arrival = match plan.mode {
            Mode::Closed { concurrency } => format!("closed loop, {concurrency} users"),
            Mode::Open { times: Times::Trace, .. } => {
                format!("the trace's times, {} times as fast", self.time_scale)
            }
            Mode::Open { times: Times::Process(rate, spacing), .. } => {
                let spacing = if spacing == Spacing::Even { "constant" } else { "Poisson" };
                if rate.over.is_zero() {
                    format!("open loop, {spacing}, {} requests/s", rate.to)
                } else {
                    format!(
                        "open loop, {spacing}, {} to {} requests/s in {:?}",
                        rate.from, rate.to, rate.over
                    )
                }
            }
        };
        Settings {
            url: self.url.clone(),
            protocol: if self.http2 { "h2" } else { "http/1.1" }.to_owned(),
            new_connections: self.new_connections,
            workload: self.describe(),
            arrival,
            rate: self.rate.filter(|_| self.ramp_to.is_none()),
            max_concurrency: match plan.mode {
                Mode::Closed { concurrency } => Some(concurrency),
                Mode::Open { max_concurrency, .. } => max_concurrency,
            },
            is_stream: self.stream,
            seed: self.seed,
            warmup_s: plan.warmup.as_secs_f64(),
            duration_s: plan.duration.map(|duration| duration.as_secs_f64()),
            requests: plan.requests,
            slo: plan.slo,
        }
    }

    fn check(&self) -> Result<(), FlagsError> {
        let range = |flag, value: String, wanted| Err(FlagsError::Range { flag, value, wanted });
        for (flag, value) in
            [("rate", self.rate), ("ramp-to", self.ramp_to), ("time-scale", Some(self.time_scale))]
        {
            if let Some(value) = value.filter(|value| !(value.is_finite() && *value > 0.0)) {
                return range(flag, value.to_string(), "a number above zero is needed");
            }
        }
        for (flag, value) in [
            ("groups", self.groups),
            ("users", self.users),
            ("turns", self.turns as u64),
            ("output-tokens", self.output_tokens),
            ("http2-connections", self.http2_connections as u64),
            ("concurrency", self.concurrency.unwrap_or(1) as u64),
            ("threads", self.threads.unwrap_or(1) as u64),
            ("requests", self.requests.unwrap_or(1)),
        ] {
            if value == 0 {
                return range(flag, "0".to_owned(), "at least 1 is needed");
            }
        }
        if self.arrival == Arrival::Trace && !self.is_trace() {
            return Err(FlagsError::NoTimes);
        }
        Ok(())
    }

    fn is_trace(&self) -> bool {
        matches!(self.workload, WorkloadName::Mooncake | WorkloadName::Azure)
    }

    fn warmup(&self) -> Duration {
        let usual = if self.is_trace() { Duration::ZERO } else { Duration::from_secs(1) };
        self.warmup.unwrap_or(usual)
    }

    fn slo(&self) -> Slo {
        Slo { ttft_ms: self.slo_ttft, tpot_ms: self.slo_tpot, e2e_ms: self.slo_e2e }
    }

    fn mode(&self) -> Mode {
        let spacing = if self.arrival == Arrival::Constant { Spacing::Even } else { Spacing::Poisson };
        let times = match self.rate {
            _ if self.arrival == Arrival::Trace => Times::Trace,
            Some(rate) => {
                let over = if self.ramp_to.is_some() { self.ramp_over } else { Duration::ZERO };
                Times::Process(Rate { from: rate, to: self.ramp_to.unwrap_or(rate), over }, spacing)
            }
            // A trace without a rate keeps its times, unless so many users were asked for.
            None if self.is_trace() && self.concurrency.is_none() => Times::Trace,
            None => return Mode::Closed { concurrency: self.concurrency.unwrap_or(64) },
        };
        Mode::Open { times, max_concurrency: self.concurrency }
    }

    fn workload(&self) -> Result<Workload, FlagsError> {
        let format = BodyFormat {
            api: self.api,
            is_stream: self.stream,
            fixes_length: !self.any_length,
            models: self.model.clone(),
        };
        let trace = || self.trace.as_deref().ok_or(FlagsError::NoTrace);
        let time_scale = self.time_scale;
        let kind = match self.workload {
            WorkloadName::Fixed => WorkloadKind::fixed(&format, self.fixed_tokens(), self.seed),
            WorkloadName::SharedPrefix => WorkloadKind::SharedPrefix {
                groups: self.groups,
                users: self.users,
                prefix_tokens: self.prefix_tokens,
                user_tokens: self.user_tokens,
                question_tokens: self.input_tokens,
            },
            WorkloadName::Sessions => WorkloadKind::Sessions {
                turns: self.turns,
                system_tokens: self.prefix_tokens,
                turn_tokens: self.input_tokens,
                think: self.think_time,
            },
            WorkloadName::Mooncake => {
                WorkloadKind::Trace { rows: workload::mooncake(trace()?)?.into(), time_scale }
            }
            WorkloadName::Azure => {
                WorkloadKind::Trace { rows: workload::azure(trace()?)?.into(), time_scale }
            }
        };
        Ok(Workload { kind, format, output_tokens: self.output_tokens, seed: self.seed })
    }

    fn fixed_tokens(&self) -> usize {
        self.input_bytes.map_or(self.input_tokens, |bytes| {
            (bytes.saturating_sub(AROUND_PROMPT_BYTES) / TOKEN_BYTES).max(1)
        })
    }

    fn describe(&self) -> String {
        let output = self.output_tokens;
        let models = match self.model.names() {
            [one] => one.to_string(),
            more => format!("{} models", more.len()),
        };
        let what = match self.workload {
            WorkloadName::Fixed => format!("{} tokens in, {output} out", self.fixed_tokens()),
            WorkloadName::SharedPrefix => format!(
                "{} groups × {} users, {} + {} + {} tokens in, {output} out",
                self.groups, self.users, self.prefix_tokens, self.user_tokens, self.input_tokens
            ),
            WorkloadName::Sessions => format!(
                "conversations of {} turns, {} + {} tokens a turn in, {output} out",
                self.turns, self.prefix_tokens, self.input_tokens
            ),
            WorkloadName::Mooncake => "Mooncake's conversation trace".to_owned(),
            WorkloadName::Azure => "Azure's code trace".to_owned(),
        };
        format!("{what}; {models}")
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let (name, value) = (name.trim(), value.trim());
    http::HeaderName::try_from(name).map_err(|error| error.to_string())?;
    http::HeaderValue::try_from(value).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value.to_owned()))
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(line: &str) -> Flags {
        Cli::parse_from(std::iter::once("load").chain(line.split_whitespace())).flags
    }

    #[test]
    fn without_a_rate_the_loop_is_closed() {
        let plan = flags("http://127.0.0.1:1").plan().unwrap();
        assert_eq!(plan.mode, Mode::Closed { concurrency: 64 });
        assert_eq!((plan.duration, plan.requests), (Some(Duration::from_secs(10)), None));
        let plan = flags("http://127.0.0.1:1 --rate 5 --ramp-to 10 --requests 7").plan().unwrap();
        let ramp = Rate { from: 5.0, to: 10.0, over: Duration::from_secs(30) };
        let times = Times::Process(ramp, Spacing::Poisson);
        assert_eq!(plan.mode, Mode::Open { times, max_concurrency: None });
        assert_eq!((plan.duration, plan.requests), (None, Some(7)));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_a_reason() {
        let fault = |line: &str| flags(line).plan().err().unwrap().to_string();
        assert_eq!(fault("http://127.0.0.1:1 --rate 0"), "--rate 0: a number above zero is needed");
        assert_eq!(fault("http://127.0.0.1:1 --concurrency 0"), "--concurrency 0: at least 1 is needed");
        assert!(fault("127.0.0.1:1").contains("is not a URL such as"));
        assert!(fault("ftp://127.0.0.1").contains("is not a URL such as"));
        assert!(fault("http://127.0.0.1:1 --workload azure").contains("--trace FILE"));
        assert!(fault("http://127.0.0.1:1 --arrival trace").contains("--workload mooncake or azure"));
        assert!(fault("https://127.0.0.1:1 --ca-file /nowhere.pem").contains("/nowhere.pem"));
    }

    #[test]
    fn a_body_has_about_the_size_that_was_asked_for() {
        for bytes in [1200, 32 << 10, 220 << 10] {
            let plan = flags(&format!("http://127.0.0.1:1 --input-bytes {bytes}")).plan().unwrap();
            let sent = plan.workload.request(0).unwrap().body.concat().len();
            assert!(sent.abs_diff(bytes) < 32, "{sent} instead of {bytes}");
        }
    }

    #[test]
    fn headers_are_checked() {
        assert_eq!(header("X-A:  b c").unwrap(), ("X-A".to_owned(), "b c".to_owned()));
        for wrong in ["x", "x y: z", "x: a\nb"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
    }
}
