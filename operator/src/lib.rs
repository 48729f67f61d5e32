//! The Penstock operator: Kubernetes objects in, routing documents and honest statuses out.
//!
//! [`world`] holds the objects, [`translate`](mod@translate) says what they mean, and neither talks to a cluster.
//! [`run`](mod@run) does: it watches, publishes, writes statuses and runs data planes.

pub mod addresses;
pub mod admin;
pub mod announce;
pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod crds;
pub mod exit;
#[cfg(test)]
mod fixtures;
pub mod lease;
pub mod manifest;
pub mod metrics;
pub mod provision;
pub mod publish;
pub mod replicas;
pub mod run;
pub mod status;
pub mod translate;
pub mod watch;
pub mod world;
