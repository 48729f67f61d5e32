//! A routing document that lies in ConfigMaps of a Kubernetes cluster, with the Secret and the lists of endpoints that it
//! names: `penstock serve --kubernetes BASE`.
//!
//! Each object is watched by its name, so that the gateway may be allowed to read just these. What is broken or missing
//! changes nothing: the snapshot in force stays. A gateway that starts while the API server cannot be reached serves the
//! last good state of its cache directory, if it has one.

mod follower;
mod routing;
mod state;
#[cfg(test)]
mod tests;
mod watches;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use penstock_apiserver::Limits;
use penstock_config::ProfileCheck;

use crate::status::StatusCell;
pub use follower::{ClusterSource, Follower, WatchMetrics};

/// Why a cluster cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is neither a service account nor a kubeconfig.
    #[error("no way to the Kubernetes API is configured: {0}")]
    Config(#[source] kube::config::InferConfigError),
    /// The client cannot be built.
    #[error("the Kubernetes API's client cannot be built: {0}")]
    Client(#[source] Box<kube::Error>),
    /// The directory for state cannot be made.
    #[error("--cache-dir: {0}")]
    State(#[source] io::Error),
}

/// What is followed, and where state is kept.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The name that the objects' names start with.
    pub base: String,
    /// Their namespace. `None` is the pod's own.
    pub namespace: Option<String>,
    /// Where the last good state is kept. `None` keeps none.
    pub cache_dir: Option<PathBuf>,
}

/// Prepares to follow a cluster, as the pod's service account or the kubeconfig's user. `profiles` checks the pools'
/// picker profiles.
///
/// # Errors
/// See [`ConnectError`]. An API server that does not answer is no error.
pub async fn connect(
    options: ClusterOptions,
    profiles: Arc<dyn ProfileCheck + Send + Sync>,
    status: Arc<StatusCell>,
    metrics: Arc<dyn WatchMetrics>,
) -> Result<Follower, ConnectError> {
    let config = kube::Config::infer().await.map_err(ConnectError::Config)?;
    let ClusterOptions { base, namespace, cache_dir } = options;
    let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
    let client = Limits::default().client(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
    tracing::info!(base, namespace, "following the cluster");
    let source = ClusterSource { base, namespace };
    Follower::new(source, client, profiles, cache_dir.as_deref(), status, metrics)
        .map_err(ConnectError::State)
}
