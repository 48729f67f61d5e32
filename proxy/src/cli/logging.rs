//! The program's own log, on standard error. Requests are in the access log instead.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What is logged where neither the command line nor `RUST_LOG` says otherwise. The proxy part
/// of Pingora logs every failed request as an error; the access log has those already.
const DEFAULT_FILTER: &str = "info,pingora_core=warn,pingora_proxy=off";

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// What is logged: error, warn, info, debug, trace, or directives such as warn,penstock_proxy=debug
    #[arg(long, value_name = "LEVEL", value_parser = parse_filter, help_heading = "Log")]
    pub log_level: Option<String>,
    /// How it is written to standard error
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, help_heading = "Log")]
    pub log_format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Starts logging. A second call changes nothing.
pub fn start(options: &LogOptions) {
    let environment = || std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty());
    let filter = options.log_level.clone().or_else(environment);
    // A filter of the command line was parsed before; one of the environment is taken as far as it goes.
    let filter = EnvFilter::new(filter.as_deref().unwrap_or(DEFAULT_FILTER));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match options.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

fn parse_filter(text: &str) -> Result<String, tracing_subscriber::filter::ParseError> {
    EnvFilter::try_new(text).map(|_| text.to_owned())
}
