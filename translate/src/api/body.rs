//! Which part of an object a type of this module is.

use serde::de::DeserializeOwned;

/// What is read of an object beside its metadata.
pub trait Body: DeserializeOwned + PartialEq {
    /// Where it stands.
    const PART: Part = Part::Spec;
}

/// What is decoded of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its `spec`.
    Spec,
    /// All of it.
    Whole,
}
