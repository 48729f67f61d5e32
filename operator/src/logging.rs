//! The program's log, on standard error.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// What is logged: error, warn, info, debug, trace, or directives such as info,penstock_operator=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = parse_filter, help_heading = "Log")]
    pub log_level: String,
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
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&options.log_level))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let _ = match options.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

fn parse_filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}
