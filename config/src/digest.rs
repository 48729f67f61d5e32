//! The digest of a document: operator and gateway tell by it whether they mean the same state.

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a document's text in hexadecimal.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
