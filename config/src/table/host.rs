//! The host of a request, in the form in which tables are keyed.

/// The longest hostname there is (RFC 1035, §2.3.4), and room for a final dot.
const MAX_HOST_BYTES: usize = 254;

/// A host in lower case without a final dot, on the stack. One that is too long or not ASCII is empty and so matches
/// only rules for every host.
pub(super) struct LowerHost {
    bytes: [u8; MAX_HOST_BYTES],
    length: usize,
}

impl LowerHost {
    /// Lowers a host.
    pub(super) fn new(host: &str) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut lower = Self { bytes: [0; MAX_HOST_BYTES], length: 0 };
        if host.len() <= MAX_HOST_BYTES && host.is_ascii() {
            lower.length = host.len();
            lower.bytes[..host.len()].copy_from_slice(host.as_bytes());
            lower.bytes[..host.len()].make_ascii_lowercase();
        }
        lower
    }

    /// The host.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}
