//! `penstock up`: its options, and asking the model servers before anything is served.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use penstock_config::Snapshot;
use penstock_picker::EpcCheck;
use penstock_sources::StatusCell;
use penstock_sources::up::{self, Discovery, ServerUrl, UpError, UrlError};
use thiserror::Error;

use super::logging::{self, LogOptions};
use super::{EXIT_FAILURE, EXIT_UNAVAILABLE, EXIT_USAGE, Launch, Next, Source, fail};
use crate::probe::ServerProbe;

/// Options of `up`.
#[derive(Debug, Args)]
pub(super) struct UpOptions {
    /// Model servers, as http://HOST:PORT, https://HOST or HOST:PORT
    #[arg(value_name = "URL", required_unless_present = "models")]
    urls: Vec<ServerUrl>,
    /// Where to serve clients
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = socket_address)]
    listen: SocketAddr,
    /// Where health, metrics and debug pages are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = socket_address)]
    admin_listen: SocketAddr,
    /// Serve the model NAME from URL without asking the server; may be given several times
    #[arg(long = "model", value_name = "NAME=URL", value_parser = named_url)]
    models: Vec<(String, ServerUrl)>,
    /// How long a server may take to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print the routing document instead of serving it
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    log: LogOptions,
}

/// Asks the servers, and prepares to serve what they have.
pub(super) fn run(options: UpOptions) -> Next {
    logging::start(&options.log);
    let print = options.print;
    let discovery = match discover(options) {
        Ok(discovery) => discovery,
        Err(code) => return Next::Exit(code),
    };
    for warning in &discovery.warnings {
        let _ = writeln!(io::stderr(), "penstock: {warning}");
    }
    if print {
        let _ = write!(io::stdout(), "{}", discovery.document);
        return Next::Exit(ExitCode::SUCCESS);
    }
    match Snapshot::compile(&discovery.document, &EpcCheck) {
        Ok(snapshot) => {
            let (snapshot, status) = (Arc::new(snapshot), Arc::new(StatusCell::default()));
            status.succeeded(&snapshot);
            Next::Serve(Launch { source: Source::Fixed(snapshot), status })
        }
        Err(faults) => Next::Exit(fail(EXIT_USAGE, &faults)),
    }
}

fn discover(options: UpOptions) -> Result<Discovery, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| fail(EXIT_FAILURE, &format_args!("cannot start the runtime: {error}")))?;
    let UpOptions { urls, models, listen, admin_listen, timeout, .. } = options;
    let options = up::UpOptions { urls, models, listen, admin_listen, timeout: Duration::from_secs(timeout) };
    runtime.block_on(up::discover(&options, &ServerProbe::default())).map_err(|error| {
        let code = match error {
            UpError::NoServer(_) => EXIT_UNAVAILABLE,
            UpError::Unresolved(_) => EXIT_USAGE,
            UpError::Write(_) => EXIT_FAILURE,
        };
        fail(code, &error)
    })
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 0.0.0.0:8080 or [::]:8080")
}

/// Why a text is not `NAME=URL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
enum NamedUrlError {
    /// There is no name, or no URL.
    #[error("write NAME=URL, such as llama=http://10.0.0.1:8000")]
    NoName,
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] UrlError),
}

fn named_url(text: &str) -> Result<(String, ServerUrl), NamedUrlError> {
    // From the right: a model's name may have a `=` in it, a server's address may not.
    match text.rsplit_once('=') {
        None | Some(("", _)) => Err(NamedUrlError::NoName),
        Some((model, url)) => Ok((model.to_owned(), url.parse()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_have_an_equals_sign_in_its_name() {
        let (model, url) = named_url("a=b=http://10.0.0.1:1").unwrap();
        assert_eq!((&*model, url.port), ("a=b", 1));
        assert_eq!(named_url("http://10.0.0.1"), Err(NamedUrlError::NoName));
        assert_eq!(named_url("=http://10.0.0.1"), Err(NamedUrlError::NoName));
        assert_eq!(named_url("a=ftp://10.0.0.1"), Err(NamedUrlError::Url(UrlError::Scheme)));
    }
}
