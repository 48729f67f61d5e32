//! Who is known by which name, and by which key.

use std::fmt;
use std::sync::Arc;

use penstock_config::{Consumer, KeyDigest};
use rustc_hash::FxHashMap;

use crate::line::LineError;

/// The document's consumers by their names.
#[derive(Debug)]
pub struct ConsumerBook {
    known: FxHashMap<Arc<str>, Arc<Consumer>>,
    nameless: Arc<Consumer>,
}

/// Consumers by digests of their keys.
#[derive(Clone, Default)]
pub struct KeyTable(FxHashMap<KeyDigest, Arc<Consumer>>);

impl ConsumerBook {
    /// A book of these.
    pub fn new(consumers: &[Arc<Consumer>]) -> Self {
        todo!()
    }

    /// Who is called so. A name that is not in the document is a consumer of its own, without tags and without a list of
    /// models.
    pub fn get(&self, name: &str) -> Arc<Consumer> {
        todo!()
    }

    /// Somebody without a name, such as the bearer of a token that names nobody.
    pub fn nameless(&self) -> Arc<Consumer> {
        Arc::clone(&self.nameless)
    }
}

impl KeyTable {
    /// The keys that `consumers` have in the document.
    pub fn from_consumers(consumers: &[Arc<Consumer>]) -> Self {
        todo!()
    }

    /// The keys in a file: a consumer's name, white space and a digest in each line. Empty lines and those that begin with
    /// `#` mean nothing.
    ///
    /// # Errors
    /// A line is something else, or two consumers have the same key.
    pub fn parse_file(text: &str, book: &ConsumerBook) -> Result<Self, LineError> {
        todo!()
    }

    /// Whose key this is.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Consumer>> {
        todo!()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Not the digests: whoever knows a weak key's digest can guess the key.
impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable").field("keys", &self.len()).finish_non_exhaustive()
    }
}
