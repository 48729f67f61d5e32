//! The whole gateway in this process, between real clients and simulated model servers.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

#[path = "../harness/mod.rs"]
mod harness;

mod access;
mod attempts;
mod circuit;
mod client_certificates;
mod clients;
mod contract;
mod cors;
mod counted;
mod credentials;
mod dialects;
mod drain;
mod encodings;
mod explain;
mod failover;
mod fixed;
mod hashing;
mod health;
mod limits;
mod overrides;
mod policies;
mod pools;
mod prometheus;
mod providers;
mod reload;
mod retry;
mod routing;
mod stream;
mod tls;
mod under_load;
mod usage;
