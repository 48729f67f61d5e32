//! `penstock up`: its options, and what a person is told about model servers.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use penstock_config::{Fault, Snapshot};
use penstock_picker::EpcCheck;
use penstock_sources::up::{self, ApiKey, Hosted, ServerUrl, UpError, UpSource, UrlError};
use thiserror::Error;

use self::environment::Named;
use super::logging::{self, LogOptions};
use super::{EXIT_FAILURE, EXIT_UNAVAILABLE, EXIT_USAGE, Launch, Next, fail};
use crate::probe::ServerProbe;

mod environment;

/// The environment variable with the key of protected servers.
const KEY_VARIABLE: &str = "PENSTOCK_API_KEY";

/// Options of `up`.
#[derive(Debug, Args)]
pub(super) struct UpOptions {
    /// Model servers, as http://HOST:PORT, https://HOST or HOST:PORT; hosted APIs, with keys from the environment, as
    /// openai, anthropic, gemini, bedrock, azure, mistral, groq, deepseek, together, fireworks, openrouter, xai, cohere
    #[arg(value_name = "URL|PROVIDER", required_unless_present = "models")]
    upstreams: Vec<Upstream>,
    /// Where to serve clients
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = socket_address)]
    listen: SocketAddr,
    /// Where health, metrics and debug pages are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = socket_address)]
    admin_listen: SocketAddr,
    /// Serve the model NAME from URL without asking the server; may be given several times
    #[arg(long = "model", value_name = "NAME=URL", value_parser = named_url)]
    models: Vec<(String, ServerUrl)>,
    /// The file with the key that the servers ask for, read again when it changes
    #[arg(long, value_name = "FILE", conflicts_with = "api_key")]
    api_key_file: Option<PathBuf>,
    /// The key itself; other users of this machine can see it, unlike one in a file or in PENSTOCK_API_KEY
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// How long a server may take to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    /// Print the routing document instead of serving it
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    log: LogOptions,
}

/// Prepares to serve what the servers have, or prints the document.
pub(super) fn run(options: UpOptions) -> Next {
    logging::start(&options.log);
    let UpOptions { upstreams, listen, admin_listen, models, api_key_file, api_key, timeout, print, .. } =
        options;
    let (urls, names) = sort(upstreams);
    let hosted = match hosted(&names, print) {
        Ok(hosted) => hosted,
        Err(faults) => return Next::Exit(fail(EXIT_USAGE, &faults.join("\n"))),
    };
    // A key of model servers is none of theirs.
    let has_servers = !urls.is_empty() || !models.is_empty();
    let from_environment = || variable(KEY_VARIABLE).filter(|_| has_servers);
    let key = match (api_key_file, api_key.or_else(from_environment)) {
        (Some(file), _) => Some(ApiKey::in_file(file)),
        (None, Some(_)) if print => {
            return Next::Exit(fail(
                EXIT_USAGE,
                &"a document names the file of a key and never the key: give --print the key with --api-key-file",
            ));
        }
        (None, Some(key)) => match ApiKey::from_text(&key) {
            Ok(key) => Some(key),
            Err(error) => return Next::Exit(fail(EXIT_USAGE, &error)),
        },
        (None, None) => None,
    };
    let timeout = Duration::from_secs(timeout);
    let options = up::UpOptions { urls, models, hosted, listen, admin_listen, timeout, key };
    let source = UpSource::new(options, Arc::new(ServerProbe::default()), Arc::new(EpcCheck));
    if print {
        warn(&names.iter().map(|named| named.file_note(&variable)).collect::<Vec<_>>());
        return Next::Exit(print_document(source));
    }
    Next::Serve(Launch::Up(source), None)
}

/// Says why there is nothing to serve.
pub(crate) fn refuse(error: &UpError) -> ExitCode {
    let code = match error {
        UpError::NoServer(_) => EXIT_UNAVAILABLE,
        UpError::Unresolved(_) | UpError::Key(_) | UpError::Invalid(_) => EXIT_USAGE,
        UpError::Write(_) => EXIT_FAILURE,
    };
    fail(code, error)
}

/// Says what is wrong with some of the servers. Not through the log, which may be off or in a form for machines.
pub(crate) fn warn(problems: &[String]) {
    for problem in problems {
        let _ = writeln!(io::stderr(), "penstock: {problem}");
    }
}

/// A fault as a person understands it who has not seen the document.
pub(crate) fn describe(fault: &Fault) -> String {
    let option = match fault.path.as_str() {
        "listeners[0].address" => "--listen",
        "admin.address" => "--admin-listen",
        _ => return fault.to_string(),
    };
    format!("{option}: {}", fault.message)
}

fn print_document(mut source: UpSource) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &format_args!("cannot start the runtime: {error}")),
    };
    let (document, problems) = match runtime.block_on(source.discover()) {
        Ok((Some(document), problems)) => (document, problems),
        Ok((None, problems)) => return refuse(&UpError::NoServer(problems)),
        Err(error) => return refuse(&error),
    };
    warn(&problems);
    if let Err(faults) = Snapshot::compile(&document, &EpcCheck) {
        return refuse(&faults.into());
    }
    match io::stdout().lock().write_all(document.as_bytes()) {
        // Whoever read the output has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(EXIT_FAILURE, &error),
        _ => ExitCode::SUCCESS,
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 0.0.0.0:8080 or [::]:8080")
}

/// What requests are sent to.
#[derive(Debug, Clone)]
enum Upstream {
    /// A model server.
    Server(ServerUrl),
    /// A hosted API.
    Hosted(&'static Named),
}

impl FromStr for Upstream {
    type Err = UrlError;

    /// A name of a hosted API is never a host's: that would need a scheme or a port.
    fn from_str(text: &str) -> Result<Self, UrlError> {
        match Named::find(text) {
            Some(named) => Ok(Self::Hosted(named)),
            None => text.parse().map(Self::Server),
        }
    }
}

/// Servers, and hosted APIs each once.
fn sort(upstreams: Vec<Upstream>) -> (Vec<ServerUrl>, Vec<&'static Named>) {
    let (mut urls, mut names) = (Vec::new(), Vec::<&Named>::new());
    for upstream in upstreams {
        match upstream {
            Upstream::Server(url) => urls.push(url),
            Upstream::Hosted(named) if names.iter().all(|other| other.name != named.name) => {
                names.push(named)
            }
            Upstream::Hosted(_) => {}
        }
    }
    (urls, names)
}

/// The hosted APIs, or all that is missing for them.
fn hosted(names: &[&Named], is_printed: bool) -> Result<Vec<Hosted>, Vec<String>> {
    let (mut hosted, mut faults) = (Vec::new(), Vec::new());
    for named in names {
        match named.hosted(&variable, is_printed) {
            Ok(of) => hosted.push(of),
            Err(fault) => faults.push(format!("{}: {fault}", named.name)),
        }
    }
    if faults.is_empty() { Ok(hosted) } else { Err(faults) }
}

/// A variable of the environment. One that is set to nothing is not set.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
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
