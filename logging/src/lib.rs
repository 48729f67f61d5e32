//! The log of both programs, on standard error: which flags it has, what they take, and how a line looks.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// What is logged: error, warn, info, debug, trace, or directives such as warn,rustls=debug
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

/// Starts logging. `default_filter` holds where neither the command line nor `RUST_LOG` says otherwise. A second call
/// changes nothing. Colours are for terminals only: a file with escape codes cannot be searched.
pub fn start(options: &LogOptions, default_filter: &str) {
    let environment = || std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|filter| !filter.is_empty());
    let filter = options.log_level.clone().or_else(environment);
    // A filter of the command line was parsed before; one of the environment is taken as far as it goes.
    let filter = EnvFilter::new(filter.as_deref().unwrap_or(default_filter));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let _ = match options.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

/// A word alone would be taken for a module's name, and would log everything of a module that does not exist.
fn parse_filter(text: &str) -> Result<String, String> {
    for directive in text.split(',') {
        let is_level = !directive.is_empty() && directive.parse::<LevelFilter>().is_ok();
        if !directive.contains(['=', '[']) && !is_level {
            return Err(format!(
                "{directive} is no level: write error, warn, info, debug, trace or off, or MODULE=LEVEL"
            ));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse_filter;

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for good in ["error", "off", "info,rustls=debug", "warn,kube::client=trace", "debug,[span]=info"] {
            assert_eq!(parse_filter(good).as_deref(), Ok(good));
        }
        for bad in ["eror", "info,rustls", "a=b=c", ""] {
            assert!(parse_filter(bad).is_err(), "{bad}");
        }
        assert!(parse_filter("eror").unwrap_err().contains("eror is no level: write error, warn"));
    }
}
