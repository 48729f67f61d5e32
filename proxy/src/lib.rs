//! The Penstock gateway as a library: what `penstock serve` runs, and what the integration tests run in-process.
//!
//! `docs/request-path.md` draws the path of a request through these modules.

pub mod access_log;
pub mod admin;
pub mod attempt;
pub mod balance;
pub mod body;
pub mod budget;
pub mod cli;
pub mod client;
pub mod context;
pub mod count;
pub mod credential;
pub mod deadline;
pub mod error;
pub mod forward;
pub mod gateway;
mod io;
pub mod listen;
pub mod lists;
pub mod metrics;
pub mod mirror;
pub mod peek;
pub mod peers;
pub mod pick;
pub mod probe;
pub mod random;
pub mod relay;
pub mod request_id;
pub mod respond;
pub mod route;
pub mod runtime;
pub mod serve;
pub mod server;
pub mod settle;
mod text;
pub mod tls;
pub mod upstream;
pub mod usage;
