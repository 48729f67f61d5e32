//! The Penstock gateway as a library: what `penstock serve` runs, and what the integration tests run in-process.

pub mod access_log;
pub mod balance;
pub mod cli;
pub mod error;
pub mod files;
pub mod metrics;
pub mod probe;
pub mod request_id;
pub mod source;
mod text;
pub mod tls;
pub mod up;
pub mod usage;
