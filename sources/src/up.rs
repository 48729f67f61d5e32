//! A routing document without a file: `penstock up URL…`.
//!
//! Each model server is asked which models it serves, and the answers become a routing document like
//! one that a person would write: it goes through the same compiler, and can be printed to start from.

use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;

mod ask;
mod document;
mod probe;
mod url;

use ask::{ModelServer, Prober};
pub use probe::{Probe, ProbeAnswer, ProbeError, ProbeRequest};
pub use url::{ServerUrl, UrlError};

/// Which servers are asked, and where clients are served.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Servers that are asked what they serve.
    pub urls: Vec<ServerUrl>,
    /// Models that are served at a URL, which is not asked.
    pub models: Vec<(String, ServerUrl)>,
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Where the admin listener is.
    pub admin_listen: SocketAddr,
    /// How long a server may take to answer.
    pub timeout: Duration,
}

/// A document that serves what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
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
    /// The document cannot be written.
    #[error("cannot write the routing document: {0}")]
    Write(#[from] serde_saphyr::ser_error::Error),
}

/// Asks the servers through `probe` and writes the document.
///
/// # Errors
/// See [`UpError`].
pub async fn discover(options: &UpOptions, probe: &dyn Probe) -> Result<Discovery, UpError> {
    let prober = Prober { probe, timeout: options.timeout };
    let asked = options.urls.iter().map(|url| prober.ask(url));
    let assumed = options.models.iter().map(|(model, url)| prober.assume(model, url));
    let (asked, assumed) = tokio::join!(futures::future::join_all(asked), futures::future::join_all(assumed));
    let mut servers: Vec<ModelServer> = Vec::new();
    for assumed in assumed {
        // A person named this model: leaving it out would not be what they asked for.
        servers.extend(assumed.map_err(UpError::Unresolved)?);
    }
    let mut warnings = Vec::new();
    for answers in asked {
        servers.extend(answers.servers);
        warnings.extend(answers.failures);
    }
    if servers.is_empty() {
        return Err(UpError::NoServer(warnings));
    }
    let document = document::write(&servers, options.listen, options.admin_listen)?;
    Ok(Discovery { document, warnings })
}

#[cfg(test)]
mod tests;
