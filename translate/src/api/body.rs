//! Which part of an object a type of this module is.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is read of an object beside its metadata.
pub trait Body: DeserializeOwned + PartialEq {
    /// Where it stands.
    const PART: Part = Part::Spec;

    /// The places of what it does not read in fields that are acted on, for kinds of which most is not: of the others all
    /// is told that is not read.
    fn ignored(_: &Value) -> Vec<String> {
        Vec::new()
    }
}

/// What is decoded of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its `spec`.
    Spec,
    /// All of it.
    Whole,
}
