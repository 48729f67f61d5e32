//! TLS towards clients and towards upstreams, as Pingora's acceptor and connector want it. What it is made of, and how,
//! is decided in `penstock-tls`.

pub mod downstream;
pub mod upstream;

pub use downstream::{DownstreamTls, HandshakeError, server_name};
pub use upstream::UpstreamContext;

#[cfg(test)]
mod tests;
