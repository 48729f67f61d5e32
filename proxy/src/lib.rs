//! The Penstock inference gateway.

pub mod files;
pub mod source;
pub mod tls;
