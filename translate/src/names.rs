//! Names in documents and Secrets.

use sha2::{Digest, Sha256};
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
    format!("x{}-{:016x}", kept(&joined, MAX_BYTES - 24), xxh3_64(joined.as_bytes()))
}

/// A name in a document that no other parts make: those of an object's namespace, its name, and parts of it. Dots are in
/// names of objects too, and where they are, a hash tells what is whose.
pub(crate) fn of_parts(parts: &[&str]) -> String {
    let joined = in_document(parts.iter().copied());
    if parts.iter().all(|part| !part.contains('.')) {
        return joined;
    }
    let with_length: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    let hash = format!("{:016x}", xxh3_64(with_length.as_bytes()));
    in_document([format!("{joined}-{hash}").as_str()])
}

/// What a name can have of a text.
fn kept(text: &str, most_bytes: usize) -> String {
    let kept = text.bytes().take(most_bytes).map(|byte| match byte.to_ascii_lowercase() {
        byte @ (b'a'..=b'z' | b'0'..=b'9') => char::from(byte),
        _ => '-',
    });
    kept.collect()
}

/// A key in the data plane's Secret: what it is, whose it is, and which part of it. Others have others: dots in the object's
/// name, which has no underscores, become underscores, so that `a.b` with the part `c` is not `a` with the part `b.c`. What
/// makes no key is told apart by a digest.
pub(crate) fn in_secret(what: &str, object: &Key, part: &str) -> String {
    let Key { namespace, name } = object;
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_key = |byte: u8| is_label(byte) || matches!(byte, b'_' | b'.');
    let joined = [what, namespace, &name.replace('.', "_"), part].join(".");
    let is_unambiguous = namespace.bytes().all(is_label) && !name.contains('_');
    if is_unambiguous && joined.len() <= MAX_BYTES && joined.bytes().all(is_key) {
        return joined;
    }
    let with_length = [what, namespace, name, part].map(|text| format!("{}:{text}", text.len()));
    let digest = Sha256::digest(with_length.concat());
    let digest: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("x{}-{digest}", kept(&joined, MAX_BYTES - 40))
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
    use std::collections::BTreeSet;

    use super::{in_document, in_secret, is_name, of_parts};
    use crate::world::Key;

    fn key(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn no_two_objects_make_one_name() {
        assert_eq!(of_parts(&["ns", "a", "b"]), "ns.a.b");
        let all: [&[&str]; 4] =
            [&["ns", "a.b"], &["ns", "a", "b"], &["ns", "a.b", "over"], &["ns", "a", "b.over"]];
        let names: BTreeSet<String> = all.iter().map(|parts| of_parts(parts)).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        assert!(names.iter().all(|name| is_name(name)));
    }

    #[test]
    fn no_two_parts_of_objects_have_one_key() {
        assert_eq!(in_secret("access", &key("ns", "users"), "api.keys"), "access.ns.users.api.keys");
        let long = "x".repeat(300);
        let all = [
            ("ns", "a.b", "c"),
            ("ns", "a", "b.c"),
            ("ns", "a", "b_c"),
            ("ns", "a_b", "c"),
            ("ns.a", "b", "c"),
            ("ns", "a.b.c", ""),
            ("ns", "a", "b/c"),
            ("ns", &long, "c"),
            ("ns", &long, "d"),
            ("ns", &format!("{long}.d"), ""),
        ];
        let keys: BTreeSet<String> =
            all.iter().map(|(namespace, name, part)| in_secret("w", &key(namespace, name), part)).collect();
        assert_eq!(keys.len(), all.len(), "{keys:?}");
        assert!(keys.iter().all(|key| key.len() <= super::MAX_BYTES && !key.contains('/')));
    }

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
