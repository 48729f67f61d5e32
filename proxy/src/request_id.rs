//! The id that ties a client's error report, a log line and a model server's log together.
//!
//! A client's `x-request-id` is kept where it is harmless, so that a caller's own correlation survives the hop.
//! Otherwise one is made from a random number drawn once a process and a counter: unique across replicas, and
//! cheaper than asking the system for randomness on every request. It is no secret and grants nothing, so it need
//! not be unpredictable.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderName, HeaderValue};

/// The header that carries the id, in requests and in responses.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken over from a client, in bytes: a UUID is 36, a W3C trace parent 55; the rest is room.
pub(crate) const MAX_CLIENT_ID_BYTES: usize = 128;

/// A request's id. Cloning it counts a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// Takes a client's id over: 1 to [`MAX_CLIENT_ID_BYTES`] letters, digits and `-_.:/+=@`, else `None`.
    ///
    /// The set leaves out quotes, spaces and control characters, so that an id can neither break a log line nor
    /// smuggle a header.
    pub(crate) fn accept(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let is_sane =
            (1..=MAX_CLIENT_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(|b| is_id_byte(*b));
        is_sane.then(|| Self(value.clone()))
    }

    /// A new id, in the form of a version 8 UUID (RFC 9562, section 5.8).
    pub(crate) fn generate() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("penstock request id"));
        static COUNTER: AtomicU64 = AtomicU64::new(0);

        Self::from_halves(*PROCESS, scatter(COUNTER.fetch_add(1, Ordering::Relaxed)))
    }

    /// The id as text.
    pub(crate) fn as_str(&self) -> &str {
        // Faster than `HeaderValue::to_str`, which looks at each byte by itself.
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }

    /// The id as the bytes of that text.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The id as the value of [`HEADER`].
    pub(crate) fn header_value(&self) -> &HeaderValue {
        &self.0
    }

    fn from_halves(process: u64, request: u64) -> Self {
        const VERSION_8: u64 = 0x8000;
        const VARIANT: u64 = 0b10 << 62;
        let high = (process & !0xF000) | VERSION_8;
        let low = (request & SCATTER_MASK) | VARIANT;

        // Where each byte's digits are, with hyphens behind the 4th, 6th, 8th and 10th.
        const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
        let mut text = [b'-'; 36];
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        for (byte, at) in bytes.into_iter().zip(PLACES) {
            text[at] = digit(byte >> 4);
            text[at + 1] = digit(byte & 0xF);
        }
        Self(HeaderValue::from_bytes(&text).expect("hexadecimal digits and hyphens are a valid header value"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const SCATTER_MASK: u64 = (1 << 62) - 1;

/// A bijection on 62 bits: neighbouring requests get ids that do not look alike and still never repeat.
fn scatter(counter: u64) -> u64 {
    let mut x = counter & SCATTER_MASK;
    x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15) & SCATTER_MASK;
    x ^= x >> 31;
    x.wrapping_mul(0xBF58_476D_1CE4_E5B9) & SCATTER_MASK
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 0xF)]
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_sane_client_id_is_kept() {
        for id in [
            "a",
            "7f1c9a52-1f8e-4a55-9d5e-0d4c1c7b1a11",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "svc/a:1@b+c=_.",
        ] {
            assert_eq!(RequestId::accept(&HeaderValue::from_static(id)).unwrap().as_str(), id);
        }
    }

    #[test]
    fn anything_else_is_not() {
        let long = "a".repeat(MAX_CLIENT_ID_BYTES + 1);
        for id in ["", &long, "a b", "a\"b", "a\tb", "é", "{}"] {
            assert_eq!(RequestId::accept(&HeaderValue::from_bytes(id.as_bytes()).unwrap()), None, "{id}");
        }
    }

    #[test]
    fn generated_ids_are_version_8_uuids_and_differ() {
        let ids: HashSet<String> = (0..10_000).map(|_| RequestId::generate().to_string()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            let parts: Vec<&str> = id.split('-').collect();
            assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert!(parts[2].starts_with('8') && "89ab".contains(&parts[3][..1]), "{id}");
        }
    }

    #[test]
    fn scattering_keeps_counters_apart() {
        let seen: HashSet<u64> =
            (0..100_000).chain(SCATTER_MASK - 100_000..SCATTER_MASK).map(scatter).collect();
        assert_eq!(seen.len(), 200_000);
    }
}
