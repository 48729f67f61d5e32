//! Tokens of identity providers (RFC 7519), and the keys that verify them (RFC 7517).

mod key_set;

pub use key_set::{KeySet, KeySetError};
