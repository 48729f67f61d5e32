//! The log of both programs, on standard error: which flags it has, what they take, and how a line looks. What is logged can
//! be changed while they run, by whoever offers that.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

/// What is logged, once logging has started.
static SWITCH: OnceLock<Switch> = OnceLock::new();

struct Switch {
    filter: reload::Handle<EnvFilter, Registry>,
    /// What was logged at the start.
    first: String,
}

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
    let first = options.log_level.clone().or_else(environment).unwrap_or_else(|| default_filter.to_owned());
    // A filter of the command line was parsed before; one of the environment is taken as far as it goes.
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&first));
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let lines = match options.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _is_new = SWITCH.set(Switch { filter: handle, first });
    }
}

/// What is logged, as directives; `None` before logging has started.
pub fn filter() -> Option<String> {
    SWITCH.get()?.filter.with_current(ToString::to_string).ok()
}

/// Logs what `directives` say from now on, as the flag takes them; what was logged at the start if there are none. Returns
/// what is logged then.
///
/// # Errors
/// They are no directives, or logging has not started.
pub fn set_filter(directives: &str) -> Result<String, String> {
    let switch = SWITCH.get().ok_or("nothing is logged by this program")?;
    let directives = match directives.trim() {
        "" => switch.first.clone(),
        given => parse_filter(given)?,
    };
    switch.filter.reload(EnvFilter::new(&directives)).map_err(|error| error.to_string())?;
    Ok(filter().unwrap_or(directives))
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
