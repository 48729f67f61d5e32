//! Keys, of which only digests are kept.

use penstock_config::KeyDigest;
use ring::digest::{SHA256, digest};

/// The digest by which a key is known. One round of SHA-256 suffices, and no salt: keys are long random texts that nobody
/// can guess, other than passwords, and each request pays for it.
pub fn key_digest(key: &[u8]) -> KeyDigest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, key).as_ref());
    KeyDigest(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_standard() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(key_digest(b"abc").to_string(), abc);
    }
}
