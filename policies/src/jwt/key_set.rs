//! Key sets of identity providers (RFC 7517).

/// The keys of an identity provider, as far as they verify signatures.
#[derive(Debug)]
pub struct KeySet {
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
    #[error("the key set is no JSON document: {0}")]
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
        todo!()
    }

    /// The number of keys that can verify.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether no key can verify.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of keys that were skipped.
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}
