//! Tokens of identity providers (RFC 7519): compact, signed (RFC 7515), with a key of a set (RFC 7517).
//!
//! Signatures are verified by `ring`, which TLS brings already; the crate `jsonwebtoken` was turned down because it needs a
//! second library of cryptography. What a token says of its own verification is a wish: its `alg` has to be one that fits the
//! key by the key's type and curve, so that no public key is ever taken for a secret, and addresses and keys in its header
//! (`jku`, `x5u`, `jwk`, `x5c`) are not looked at. Claims that need no key are checked first, since they only ever refuse:
//! that is cheap, and a token of another provider does not wait for keys.

mod algorithm;
mod claims;
mod fault;
mod key;
mod key_set;
mod token;

pub(crate) use claims::{Expected, claim};
pub(crate) use fault::Fault;
pub use key_set::{KeySet, KeySetError};
pub(crate) use token::Token;

#[cfg(test)]
mod tests;
