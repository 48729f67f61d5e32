//! Requests for a message: a client's read into the common form, an upstream's written from it.

mod members;
mod read;
mod target;
mod write;

pub(crate) use self::read::read;
pub(crate) use self::write::write;

/// Stands between a call's id and the signature that its provider wants back with it, which this API has no place for:
/// a client returns ids as they are.
pub(crate) const SIGNATURE_MARK: &str = "__thought__";

#[cfg(test)]
mod tests;
