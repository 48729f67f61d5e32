//! The Penstock inference gateway.

pub mod balance;
pub mod cli;
pub mod files;
pub mod probe;
pub mod source;
pub mod tls;
pub mod up;
