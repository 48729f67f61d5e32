//! `penstock up URL…`: a gateway without a file.
//!
//! Each model server is asked which models it serves, and the answers become a routing document like
//! one that a person would write: it goes through the same compiler, and can be printed to start from.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use pingora_core::connectors::http::Connector;
use thiserror::Error;

use crate::cli::logging::LogOptions;
use crate::cli::{EXIT_FAILURE, EXIT_UNAVAILABLE, EXIT_USAGE};

mod ask;
mod document;
mod url;

use ask::{Answered, Question};
pub use url::{ServerUrl, UrlError};

/// Options of `up`.
#[derive(Debug, Clone, Args)]
pub struct UpOptions {
    /// Model servers, as http://HOST:PORT, https://HOST or HOST:PORT
    #[arg(value_name = "URL", required_unless_present = "models")]
    pub urls: Vec<ServerUrl>,
    /// Where to serve clients
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = socket_address)]
    pub listen: SocketAddr,
    /// Where health, metrics and debug pages are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = socket_address)]
    pub admin_listen: SocketAddr,
    /// Serve the model NAME from URL without asking the server; may be given several times
    #[arg(long = "model", value_name = "NAME=URL", value_parser = named_url)]
    pub models: Vec<(String, ServerUrl)>,
    /// How long a server may take to answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
    /// Print the routing document instead of serving it
    #[arg(long)]
    pub print: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "it would become the help text of the group")]
    pub log: LogOptions,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A routing document, in YAML.
    pub document: String,
    /// What went wrong with servers that are not in it.
    pub warnings: Vec<String>,
}

/// Why there is nothing to serve.
#[derive(Debug, Error)]
pub enum UpError {
    /// No server can be used.
    #[error("no model server can be used:\n{}", .0.join("\n"))]
    NoServer(Vec<String>),
    /// A URL that was given a model has no address.
    #[error("{0}")]
    Unresolved(String),
    /// There is no runtime to ask in.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[from] std::io::Error),
    /// The document cannot be written.
    #[error("cannot write the routing document: {0}")]
    Write(String),
}

impl UpError {
    /// The exit code that tells it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoServer(_) => EXIT_UNAVAILABLE,
            Self::Unresolved(_) => EXIT_USAGE,
            Self::Runtime(_) | Self::Write(_) => EXIT_FAILURE,
        }
    }
}

/// Asks the servers and writes the document, in a runtime of its own.
///
/// # Errors
/// See [`UpError`].
pub fn discover(options: &UpOptions) -> Result<Found, UpError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(discover_all(options))
}

/// As [`discover`], in the caller's runtime.
///
/// # Errors
/// See [`UpError`].
pub async fn discover_all(options: &UpOptions) -> Result<Found, UpError> {
    let question =
        Question { connector: Connector::new(None), timeout: Duration::from_secs(options.timeout) };
    let asked = options.urls.iter().map(|url| question.ask(url));
    let told = options.models.iter().map(|(model, url)| question.take_as_told(model, url));
    let (asked, told) = tokio::join!(futures::future::join_all(asked), futures::future::join_all(told));
    let mut answered: Vec<Answered> = Vec::new();
    for told in told {
        // Someone said that this model is there: leaving it out would not be what they asked for.
        answered.extend(told.map_err(UpError::Unresolved)?);
    }
    let mut warnings = Vec::new();
    for asked in asked {
        answered.extend(asked.servers);
        warnings.extend(asked.failures);
    }
    if answered.is_empty() {
        return Err(UpError::NoServer(warnings));
    }
    let document = document::write(&answered, options.listen, options.admin_listen);
    let document = document.map_err(|error| UpError::Write(error.to_string()))?;
    Ok(Found { document, warnings })
}

fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, such as 0.0.0.0:8080 or [::]:8080")
}

fn named_url(text: &str) -> Result<(String, ServerUrl), UrlError> {
    // From the right: a model's name may have a `=` in it, a server's address may not.
    let (model, url) = text.rsplit_once('=').ok_or(UrlError::NoModel)?;
    if model.is_empty() {
        return Err(UrlError::NoModel);
    }
    Ok((model.to_owned(), url.parse()?))
}

#[cfg(test)]
mod tests;
