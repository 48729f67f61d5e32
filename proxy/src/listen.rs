//! Listening: accepts connections, finds out what they speak, and reads the head of each request.
//!
//! Pingora's own server is not used: it sleeps through its whole grace period on shutdown, cannot bind port 0,
//! and has no total deadline for a request header. Its protocol code is, through [`ServerApp`].

use std::time::Duration;

use pingora_core::server::ShutdownWatch;

mod accept;
mod edge;
mod linger;
mod protocol;
mod proxied;

pub(crate) use accept::{Acceptor, Listening};

/// Connections that may wait to be accepted.
pub(crate) const BACKLOG: i32 = 4096;

/// Resolves when a connection without a request is to be closed, because its listener shut down `linger`
/// (`shutdown.linger`) ago. A request that its client had sent by then was on its way, and got an answer that says
/// `connection: close` in place of a connection that is gone.
pub(crate) async fn drained(shutdown: &mut ShutdownWatch, linger: Duration) {
    // An error says that the listener is gone, which is the same.
    drop(shutdown.wait_for(|is_draining| *is_draining).await);
    tokio::time::sleep(linger).await;
}
