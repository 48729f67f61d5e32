//! The Penstock inference gateway.

pub mod files;
pub mod tls;
