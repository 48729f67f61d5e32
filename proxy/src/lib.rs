//! The Penstock inference gateway.

pub mod balance;
pub mod files;
pub mod probe;
pub mod source;
pub mod tls;
