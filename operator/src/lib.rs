//! The Penstock operator: Kubernetes objects in, routing documents and honest statuses out.
//!
//! [`world`] holds the objects, [`translate`](mod@translate) says what they mean, and neither talks to a cluster.
//! What does is behind the feature `cluster`: its [`run`](mod@run) watches, publishes, writes statuses and runs data planes.

#[cfg(feature = "cluster")]
pub mod addresses;
#[cfg(feature = "cluster")]
pub mod admin;
#[cfg(feature = "cluster")]
pub mod announce;
pub mod api;
#[cfg(feature = "cluster")]
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "cluster")]
pub mod controller;
pub mod crds;
#[cfg(feature = "cluster")]
pub mod exit;
#[cfg(all(test, feature = "cluster"))]
mod fixtures;
#[cfg(feature = "cluster")]
pub mod lease;
#[cfg(feature = "cluster")]
pub mod manifest;
#[cfg(feature = "cluster")]
pub mod metrics;
#[cfg(feature = "cluster")]
pub mod provision;
#[cfg(feature = "cluster")]
pub mod publish;
#[cfg(feature = "cluster")]
pub mod replicas;
#[cfg(feature = "cluster")]
pub mod run;
#[cfg(feature = "cluster")]
pub mod status;
pub mod translate;
#[cfg(feature = "cluster")]
pub mod watch;
pub mod world;
