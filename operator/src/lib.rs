//! The Penstock operator: Kubernetes objects in, routing documents and honest statuses out.
//!
//! [`world`] holds the objects, [`translate`](mod@translate) says what they mean, and neither talks to a cluster.

pub mod api;
pub mod cli;
pub mod crds;
pub mod translate;
pub mod world;
