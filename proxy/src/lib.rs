//! The Penstock gateway as a library: what `penstock serve` runs, and what the integration tests run in-process.
//!
//! `docs/request-path.md` draws the path of a request through these modules.

pub mod access_log;
pub mod admin;
mod balance;
mod bind;
mod body;
mod budget;
mod cause;
pub mod cli;
mod client;
pub mod codec;
mod context;
mod count;
mod credential;
mod deadline;
mod decide;
mod error;
mod forward;
mod gateway;
mod handover;
mod head;
mod listen;
pub mod lists;
pub mod metrics;
mod mirror;
mod models;
mod peek;
mod peers;
mod pick;
pub mod policy;
mod prepare;
pub mod probe;
mod random;
mod relay;
mod request_id;
mod respond;
mod retry;
mod route;
mod runtime;
pub mod serve;
pub mod server;
mod settle;
mod stream;
mod text;
pub mod tls;
mod upstreams;
