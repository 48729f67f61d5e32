//! The program's own log, on standard error. Requests are in the access log instead.

pub use penstock_logging::{LogFormat, LogOptions};

/// What is logged where neither the command line nor `RUST_LOG` says otherwise. Each client that leaves amid a head is an
/// error to Pingora's proxy, and the gateway tells what it has to tell by itself.
const DEFAULT_FILTER: &str = "info,pingora_core=warn,pingora_proxy=off";

/// Starts logging. A second call changes nothing.
pub fn start(options: &LogOptions) {
    penstock_logging::start(options, DEFAULT_FILTER);
}
