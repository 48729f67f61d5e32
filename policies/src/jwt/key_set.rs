//! Key sets of identity providers (RFC 7517, section 5).

use super::fault::Fault;
use super::key::Key;
use super::token::Token;
use crate::json;

/// The length that a key set may have, in bytes. The largest that are known, with certificates, have some tens of KiB.
const MAX_KEY_SET_BYTES: usize = 1 << 20;
/// The number of keys that a set may have, those that are skipped included.
const MAX_KEYS: usize = 512;
/// The number of keys that one token is tried with, where it does not say which is its: each costs a signature's
/// verification, and anybody can ask for that.
const MAX_KEYS_TRIED: usize = 8;

/// The keys of an identity provider, as far as they verify signatures.
#[derive(Debug)]
pub struct KeySet {
    keys: Box<[Key]>,
    skipped: usize,
}

/// Why something is no key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is longer than any key set.
    #[error("the key set is beyond {limit} bytes")]
    TooLong {
        /// The length that one may have, in bytes.
        limit: usize,
    },
    /// It is no JSON, or has a member twice.
    #[error("the key set is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON of another shape.
    #[error("the key set has no list \"keys\"")]
    NoKeys,
    /// It has more keys than any key set.
    #[error("the key set has more than {limit} keys")]
    TooMany {
        /// The number of keys that one may have.
        limit: usize,
    },
}

impl KeySet {
    /// Reads a key set. Keys that cannot verify a signature that is accepted (of other kinds, for encryption, too short) are
    /// skipped. A set without a key that can is one all the same: a provider that withdraws its keys means it.
    ///
    /// # Errors
    /// It is no key set.
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        if json.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLong { limit: MAX_KEY_SET_BYTES });
        }
        let document = json::parse(json).map_err(KeySetError::NotJson)?;
        let listed = document.get("keys").and_then(|keys| keys.as_array()).ok_or(KeySetError::NoKeys)?;
        if listed.len() > MAX_KEYS {
            return Err(KeySetError::TooMany { limit: MAX_KEYS });
        }
        let keys: Box<[_]> = listed.iter().filter_map(Key::parse).collect();
        Ok(Self { skipped: listed.len() - keys.len(), keys })
    }

    /// The number of keys that can verify.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can verify.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of keys that were skipped.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether one of the keys signed the token, which is `text`: that which the token names, else one of the first few that
    /// fit and may be it.
    pub(crate) fn verify(&self, token: &Token, text: &[u8]) -> Result<(), Fault> {
        let signed = token.signed(text);
        let is_signer = |key: &Key| key.verifies(token.algorithm, signed, &token.signature);
        let nameless = self.keys.iter().filter(|key| key.id.is_none() && token.key_id.is_some());
        let fitting = self.named(token).chain(nameless).filter(|key| key.fits(token.algorithm));
        if fitting.take(MAX_KEYS_TRIED).any(is_signer) { Ok(()) } else { Err(self.missed(token)) }
    }

    /// The keys of the name that the token says; all if it says none.
    fn named(&self, token: &Token) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| token.key_id.is_none() || key.id == token.key_id)
    }

    /// Why no key verifies the token.
    fn missed(&self, token: &Token) -> Fault {
        let mut named = self.named(token).peekable();
        if named.peek().is_none() {
            Fault::UnknownKey
        } else if named.any(|key| key.fits(token.algorithm)) {
            Fault::Signature
        } else {
            Fault::OtherAlgorithm
        }
    }
}
