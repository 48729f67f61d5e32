//! Names in documents and Secrets.

use xxhash_rust::xxh3::xxh3_64;

use crate::world::Key;

/// The longest name that a document or a Secret's key can have.
const MAX_BYTES: usize = 253;

/// A name in a document: the parts joined by dots where that makes a name, and something like it with a hash where they
/// are too long or have characters that no name has. The API server lets no such names through; files may have them.
pub(crate) fn in_document<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let joined = parts.into_iter().collect::<Vec<_>>().join(".");
    if is_name(&joined) {
        return joined;
    }
    let kept = joined.bytes().take(MAX_BYTES - 24).map(|byte| match byte.to_ascii_lowercase() {
        byte @ (b'a'..=b'z' | b'0'..=b'9') => char::from(byte),
        _ => '-',
    });
    format!("x{}-{:016x}", kept.collect::<String>(), xxh3_64(joined.as_bytes()))
}

/// A key in the data plane's Secret: what it is, whose it is, and which part of it.
pub(crate) fn in_secret(what: &str, object: &Key, part: &str) -> String {
    let joined = [what, &object.namespace, &object.name, part].join(".");
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if joined.len() <= MAX_BYTES && joined.bytes().all(is_key) {
        joined
    } else {
        in_document([joined.as_str()])
    }
}

/// Whether the document takes it for a name.
pub(crate) fn is_name(text: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let is_outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= MAX_BYTES
        && bytes.iter().copied().all(is_inner)
        && is_outer(bytes.first())
        && is_outer(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::{in_document, is_name};

    #[test]
    fn what_is_no_name_becomes_one_and_stays_distinct() {
        assert_eq!(in_document(["ns", "pool"]), "ns.pool");
        let long = "x".repeat(1 << 20);
        for parts in [["ns", "Pool"], ["ns", "pOOL"], ["ns", "pool."], ["ns", &long]] {
            let name = in_document(parts);
            assert!(is_name(&name), "{name}");
        }
        assert_ne!(in_document(["ns", "Pool"]), in_document(["ns", "pOOL"]));
    }
}
