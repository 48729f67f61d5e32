//! What tells counters of a limit from each other.
//!
//! A key is the limit's number and the values of what it counts by, each with its length before it, so that no two requests
//! with different values have one key. It is compared whole: hashes alone, of which an attacker may find two alike, were
//! turned down. Values that are long are there by their SHA-256, so that what a client sends does not decide how much memory
//! a counter takes.

use std::borrow::Cow;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use penstock_config::{Dimension, Missing};
use serde_json::Value;
use smallvec::SmallVec;

use super::ask::Ask;
use crate::extract::query_values;

/// Values up to this length are there as they are.
const MAX_VALUE_BYTES: usize = 64;
/// What stands before a value that is there as it is: its length. Others are no lengths.
const MISSING: u8 = 255;
const DIGEST: u8 = 254;
const OVERFLOW: u8 = 253;

/// The key of a counter; off the heap unless there are many values.
pub(crate) type Key = SmallVec<[u8; 128]>;

/// What tells a limit from all others that there are or were.
pub(crate) type LimitId = [u8; 16];

/// The number of what is called so.
pub(crate) fn limit_id(identity: &str) -> LimitId {
    digest(identity.as_bytes())
}

/// The first half of a SHA-256, which is the same in all gateways.
pub(crate) fn digest(of: &[u8]) -> [u8; 16] {
    let digest = ring::digest::digest(&ring::digest::SHA256, of);
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_ref()[..16]);
    half
}

/// The key of the counter for values that there is no room for.
pub(crate) fn overflow_key(id: &LimitId) -> Key {
    let mut key = Key::from_slice(id);
    key.push(OVERFLOW);
    key
}

/// The key of the counter that a request has.
///
/// # Errors
/// The request lacks the value at this position, and `missing` is not [`Missing::Together`].
pub(crate) fn key_of(id: &LimitId, per: &[Dimension], missing: Missing, ask: &Ask<'_>) -> Result<Key, usize> {
    let mut key = Key::from_slice(id);
    for (position, dimension) in per.iter().enumerate() {
        match push_value(&mut key, dimension, ask) {
            Some(()) => {}
            None if missing == Missing::Together => key.push(MISSING),
            None => return Err(position),
        }
    }
    Ok(key)
}

/// A dimension as a document has it.
pub(crate) fn name(dimension: &Dimension) -> String {
    match dimension {
        Dimension::Consumer => "consumer".into(),
        Dimension::Tag(name) => format!("tag:{name}"),
        Dimension::Claim(path) => format!("claim:{}", path.names().collect::<Vec<_>>().join(".")),
        Dimension::Model => "model".into(),
        Dimension::TargetModel => "targetModel".into(),
        Dimension::Upstream => "upstream".into(),
        Dimension::Route => "route".into(),
        Dimension::Rule => "rule".into(),
        Dimension::Listener => "listener".into(),
        Dimension::Header(name) => format!("header:{name}"),
        Dimension::Query(name) => format!("query:{name}"),
        Dimension::Address { v4_bits, v6_bits } => format!("address:{v4_bits}/{v6_bits}"),
        Dimension::Method => "method".into(),
        Dimension::Path => "path".into(),
        Dimension::Host => "host".into(),
    }
}

fn push(key: &mut Key, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(length) if value.len() <= MAX_VALUE_BYTES => {
            key.push(length);
            // Byte by byte: a name is shorter than what it takes to insert a slice.
            key.extend(value.iter().copied());
        }
        _ => {
            key.push(DIGEST);
            key.extend_from_slice(ring::digest::digest(&ring::digest::SHA256, value).as_ref());
        }
    }
}

/// `None` if the request lacks it; nothing is added then.
fn push_value(key: &mut Key, dimension: &Dimension, ask: &Ask<'_>) -> Option<()> {
    match dimension {
        Dimension::Consumer => push_text(key, ask.consumer()?),
        Dimension::Tag(name) => push_text(key, ask.tag(name)?),
        Dimension::Claim(path) => push_claim(key, ask.claim(path)?),
        Dimension::Model => push_text(key, ask.model?),
        Dimension::TargetModel => push_text(key, ask.target_model?),
        Dimension::Upstream => push_text(key, ask.upstream?),
        Dimension::Route => push_text(key, ask.route),
        // A rule is one within its route only.
        Dimension::Rule if ask.rule.is_empty() => None,
        Dimension::Rule => {
            push(key, ask.route.as_bytes());
            push_text(key, ask.rule)
        }
        Dimension::Listener => push_text(key, ask.listener),
        Dimension::Header(name) => {
            push(key, &header(ask.facts.headers, name)?);
            Some(())
        }
        Dimension::Query(name) => {
            push(key, &query_values(ask.query?, name).next()?);
            Some(())
        }
        Dimension::Address { v4_bits, v6_bits } => {
            push_network(key, ask.facts.address?, *v4_bits, *v6_bits);
            Some(())
        }
        Dimension::Method => push_text(key, ask.facts.method.as_str()),
        Dimension::Path => push_text(key, ask.path),
        // The same host is written in upper and lower case.
        Dimension::Host if ask.host.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            push_text(key, &ask.host.to_ascii_lowercase())
        }
        Dimension::Host => push_text(key, ask.host),
    }
}

fn push_text(key: &mut Key, text: &str) -> Option<()> {
    (!text.is_empty()).then(|| push(key, text.as_bytes()))
}

/// Several headers of a name are one with commas (RFC 9110, section 5.3).
fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
    let first = values.next()?;
    let Some(second) = values.next() else { return Some(first.into()) };
    Some([first, second].into_iter().chain(values).collect::<Vec<_>>().join(&b',').into())
}

/// A text is itself; anything else is as JSON writes it. Nothing is what is `null`, or an empty text.
fn push_claim(key: &mut Key, claim: &Value) -> Option<()> {
    match claim {
        Value::Null => None,
        Value::String(text) => push_text(key, text),
        other => push_text(key, &other.to_string()),
    }
}

/// What of an address counts: an IPv4 address that is mapped into IPv6 is itself.
fn push_network(key: &mut Key, address: IpAddr, v4_bits: u8, v6_bits: u8) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(v4_bits.into())).unwrap_or(0);
            push(key, &(v4.to_bits() & mask).to_be_bytes());
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(v6_bits.into())).unwrap_or(0);
            push(key, &(v6.to_bits() & mask).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
