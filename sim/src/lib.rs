//! A model server without a model: it answers, queues, caches, streams, fails and reports metrics as vLLM does.
//!
//! One [`Sim::start`] is one server on one port. Servers share the runtime they were started on and own neither
//! a thread nor a timer while idle, so a thousand of them in one process cost little more than their listeners.
//! Separate processes were turned down: the integration tests want to look inside (what arrived, what was
//! cancelled) and to change faults without a second protocol.

mod admin;
mod api;
mod body;
mod checks;
mod connection;
pub mod credentials;
mod engine;
mod eventstream;
pub mod faults;
pub mod flags;
mod issuing;
pub mod kv;
pub mod metrics;
pub mod options;
mod receive;
pub mod record;
mod router;
mod server;
mod state;
mod testupstream;
mod text;
mod tokens;

pub use self::{
    issuing::Issued,
    server::{Handle, Sim, StartError},
};
