//! Listening: accepts connections, finds out what they speak, and reads the head of each request.
//!
//! Pingora's own server is not used: it sleeps through its whole grace period on shutdown, cannot bind port 0,
//! and has no total deadline for a request header. Its protocol code is, through [`ServerApp`].

pub mod accept;
pub mod edge;
pub mod head;
pub mod protocol;

pub use accept::Acceptor;
pub use edge::Edge;

#[cfg(doc)]
use pingora_core::apps::ServerApp;
