//! The Penstock operator: watches Kubernetes objects, publishes routing documents and honest statuses, runs data planes.
//!
//! What the objects mean is said by [`penstock_translate`], which talks to no cluster. Here is what does: its
//! [`run`](mod@run) watches, publishes, writes statuses and runs data planes.

pub mod addresses;
pub mod admin;
pub mod announce;
pub mod cli;
pub mod cluster;
pub mod controller;
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
pub mod watch;
