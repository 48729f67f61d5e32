//! Where routing documents come from: a file, the ConfigMaps of a cluster, or model servers that are asked what they
//! serve.
//!
//! Each source compiles what it reads and hands it to an [`Applier`], which is the gateway; how that goes is in a
//! [`StatusCell`]. The request path knows none of this, and the client of the Kubernetes API is linked in here only.

mod applier;
pub mod cluster;
pub mod file;
pub mod files;
mod status;
pub mod up;
pub mod watcher;

pub use applier::Applier;
pub use status::{ReloadFailure, ReloadStatus, StatusCell};
