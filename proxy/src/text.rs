//! Text in error messages, headers and log lines: bounds for what a client chose, numbers and addresses.
//!
//! Numbers and addresses are written with each request, and `fmt` takes as long as deciding where the request goes.

use std::io::Write;
use std::net::IpAddr;

/// The longest prefix of `text` of at most `max_bytes` bytes that ends between two characters.
pub(crate) fn clip(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let mut end = max_bytes;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Appends a number.
pub(crate) fn decimal(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an address.
pub(crate) fn ip(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(v4) = address else {
        // Writing to memory does not fail.
        let _ = write!(out, "{address}");
        return;
    };
    out.reserve("255.255.255.255".len());
    for (at, octet) in v4.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        for address in ["0.0.0.0", "10.20.255.9", "100.99.105.200", "::1", "2001:db8::7", "::ffff:10.0.0.1"] {
            let mut out = Vec::new();
            ip(address.parse().unwrap(), &mut out);
            assert_eq!(out, address.as_bytes());
        }
    }

    #[test]
    fn never_cuts_a_character() {
        assert_eq!(clip("naïve", 3), "na");
        assert_eq!(clip("naïve", 4), "naï");
        assert_eq!(clip("naïve", 6), "naïve");
        assert_eq!(clip("é", 0), "");
    }
}
