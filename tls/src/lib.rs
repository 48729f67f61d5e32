//! TLS, decided in one place: what clients and servers are configured with, and the certificates and keys for it.
//!
//! | decision | towards a server ([`ClientTls`]) | towards clients ([`ServerTls`]) |
//! |---|---|---|
//! | provider | ring | ring |
//! | versions | TLS 1.2 and 1.3 | TLS 1.2 and 1.3, or one of them |
//! | whose certificates are trusted | those of the authorities given, else of the system's; anybody's if nothing is verified | those of the authorities given; without any, clients are not asked for a certificate |
//! | the name that is asked for and verified | the one given, else the server's DNS name, else its address, which is verified and not sent | the certificate that carries the name: exactly, else by a wildcard for one label, else the first |
//! | own certificate | the one given, if any | those given |
//! | protocols (ALPN) | the caller's to say | `h2`, `http/1.1`, or what is said |
//!
//! Where nothing is verified, the server still has to prove that it has the key of the certificate that it shows.
//!
//! Certificates and keys are PEM files. They are read when they are first needed and again when they change; a file that
//! has gone bad leaves what was loaded before in force, because a half-finished rotation must not end what works. What
//! cannot be used is refused when it is read, in words that name the file and what to mend.

mod client;
mod clients;
mod identity;
pub mod pem;
mod provider;
mod resolver;
mod server;
mod verify;

pub use crate::client::{ClientOptions, ClientTls};
pub use crate::clients::{CertificateTest, ClientCheckOptions, ClientProof, NameKind, NameMatch, NameTest};
pub use crate::identity::{Identity, IdentityFiles, PrivateKey};
pub use crate::pem::{PemError, PemErrors, PemFault, PemFiles};
pub use crate::provider::VERSIONS;
pub use crate::server::{ServerOptions, ServerTls};
