//! What is the same for all TLS of the gateway.

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};

/// The versions that are spoken. Older ones are broken, and rustls does not have them.
pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Why [`VERSIONS`] cannot be refused.
pub(crate) const HAS_VERSIONS: &str = "ring has cipher suites for TLS 1.2 and 1.3";

/// The cryptography that is used.
pub(crate) fn provider() -> CryptoProvider {
    ring::default_provider()
}
