//! Ranges of IP addresses.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A range of IP addresses as the document writes it: `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    network: IpAddr,
    prefix_bits: u8,
}

/// Why a text is not a [`Cidr`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// It is nothing of the kind.
    #[error(
        "not a range of addresses: write an address and a prefix length, such as \"10.0.0.0/8\" or \"fd00::/8\""
    )]
    Malformed,
    /// An address alone.
    #[error("has no prefix length: \"{address}/{bits}\" is this address alone")]
    NoPrefix {
        /// The address.
        address: IpAddr,
        /// The length of a whole address, in bits.
        bits: u8,
    },
    /// The prefix is longer than an address.
    #[error("has a prefix length beyond {bits}, the bits of such an address")]
    PrefixTooLong {
        /// The length of a whole address, in bits.
        bits: u8,
    },
    /// The address has bits behind its prefix.
    #[error("has bits behind its prefix: the range of that length is \"{range}\"")]
    BitsBehindPrefix {
        /// The range that the address lies in.
        range: Cidr,
    },
}

impl Cidr {
    /// Reads the document's notation.
    ///
    /// # Errors
    /// The text is no address with a prefix length, or the address has bits behind the prefix.
    pub fn parse(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Malformed)?;
        let bits = whole_bits(address);
        let Some(prefix) = prefix else { return Err(CidrError::NoPrefix { address, bits }) };
        if prefix.is_empty() || prefix.len() > 3 || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CidrError::Malformed);
        }
        let prefix_bits = prefix.parse().ok().filter(|prefix| *prefix <= bits);
        let prefix_bits = prefix_bits.ok_or(CidrError::PrefixTooLong { bits })?;
        let range = Self { network: masked(address, prefix_bits), prefix_bits };
        if range.network == address { Ok(range) } else { Err(CidrError::BitsBehindPrefix { range }) }
    }

    /// Whether an address lies in the range. An IPv4 address that is mapped into IPv6, as sockets for both report it, counts
    /// as itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.prefix_bits) == self.network
    }
}

fn whole_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with nothing but zeros behind its first bits.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_bits)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<'de, str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Cidr {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "cidr" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_shares_its_prefix() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.1", false),
            ("192.0.2.7/32", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.6", false),
            ("fd00::/9", "fd7f::1", true),
            ("fd00::/9", "fd80::1", false),
            ("2001:db8::1/128", "2001:db8::1", true),
        ];
        for (range, address, is_in) in cases {
            let range = Cidr::parse(range).unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), is_in, "{range} {address}");
            assert_eq!(Cidr::parse(&range.to_string()), Ok(range));
        }
    }

    #[test]
    fn what_is_no_range_says_how_to_write_one() {
        let message = |text: &str| Cidr::parse(text).unwrap_err().to_string();
        for text in
            ["", "10.0.0.0/", "/8", "10.0.0/8", "10.0.0.0/+8", "10.0.0.0/8/8", "localhost/8", "[::]/0"]
        {
            assert_eq!(Cidr::parse(text), Err(CidrError::Malformed), "{text}");
        }
        assert!(message("10.0.0.1").contains("\"10.0.0.1/32\""));
        assert!(message("10.0.0.0/33").contains("beyond 32"));
        assert!(message("::/999").contains("beyond 128"));
        assert!(message("10.1.2.3/16").contains("\"10.1.0.0/16\""));
    }
}
