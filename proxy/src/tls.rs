//! TLS towards clients and towards upstreams, both on rustls with the ring provider.
//!
//! Certificates and keys are files named in the routing document. They are read when a snapshot is
//! applied and again when they change; a file that has gone bad leaves what was loaded before in
//! force, because a half-finished certificate rotation must not end a gateway that serves.

use std::path::PathBuf;

pub mod downstream;
pub mod pem;
mod resolver;
pub mod upstream;

pub use downstream::{DownstreamTls, HandshakeError, server_name};
pub use pem::PemError;
pub use upstream::UpstreamContext;

/// Something that was built from certificate and key files.
pub trait PemFiles: Send + Sync {
    /// The files that it was built from.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads the files again. Says whether anything changed; what cannot be read stays as it was.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    fn reload(&self) -> Result<bool, Vec<PemError>>;
}

#[cfg(test)]
mod tests;
