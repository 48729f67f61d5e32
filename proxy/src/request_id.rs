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

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries the id, in requests and in responses.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id taken over from a client, in bytes: a UUID is 36, a W3C trace parent 55; the rest is room.
pub(crate) const MAX_CLIENT_ID_BYTES: usize = 128;

/// A request's id. Cloning it counts a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The client's id when there is exactly one and it is acceptable, else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(&HEADER).iter();
        match (sent.next(), sent.next()) {
            (Some(value), None) => Self::accept(value).unwrap_or_else(Self::generate),
            _ => Self::generate(),
        }
    }

    /// Takes a client's id over: 1 to [`MAX_CLIENT_ID_BYTES`] letters, digits and `-_.:/+=@`, else `None`.
    ///
    /// The set leaves out quotes, spaces and control characters, so that an id can neither break a log line nor
    /// smuggle a header.
    pub fn accept(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let is_sane =
            (1..=MAX_CLIENT_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(|b| is_id_byte(*b));
        is_sane.then(|| Self(value.clone()))
    }

    /// A new id, in the form of a version 8 UUID (RFC 9562, section 5.8).
    pub fn generate() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("penstock request id"));
        static COUNTER: AtomicU64 = AtomicU64::new(0);

        Self::from_halves(*PROCESS, scatter(COUNTER.fetch_add(1, Ordering::Relaxed)))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as the value of [`HEADER`].
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }

    fn from_halves(process: u64, request: u64) -> Self {
        const VERSION_8: u64 = 0x8000;
        const VARIANT: u64 = 0b10 << 62;
        let high = (process & !0xF000) | VERSION_8;
        let low = (request & SCATTER_MASK) | VARIANT;

        let mut text = [b'-'; 36];
        let mut digits = (0..16)
            .rev()
            .map(|i| nibble(high >> (4 * i)))
            .chain((0..16).rev().map(|i| nibble(low >> (4 * i))));
        for (at, slot) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                *slot = digits.next().unwrap_or(b'0');
            }
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

fn nibble(value: u64) -> u8 {
    b"0123456789abcdef"[(value & 0xF) as usize]
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(values: &[&str]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_sane_client_id_is_kept() {
        for id in [
            "a",
            "7f1c9a52-1f8e-4a55-9d5e-0d4c1c7b1a11",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "svc/a:1@b+c=_.",
        ] {
            assert_eq!(of(&[id]).as_str(), id);
        }
    }

    #[test]
    fn anything_else_is_replaced() {
        let long = "a".repeat(MAX_CLIENT_ID_BYTES + 1);
        for values in [&[][..], &[""], &[&long], &["a b"], &["a\"b"], &["a\tb"], &["é"], &["{}"], &["a", "b"]]
        {
            let id = of(values);
            assert_eq!(id.as_str().len(), 36, "{values:?}");
            assert!(!values.contains(&id.as_str()));
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
