//! Numbers of bytes as Kubernetes writes them, and how long a deadline may be.

use penstock_config::Span;
use serde_json::Value;

/// The longest deadline that documents have.
pub(crate) const MAX_TIMEOUT: Span = Span::secs(24 * 60 * 60);

/// Units, with what they stand for.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("k", 1000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
];

/// A whole number of bytes, with a unit or without.
pub(crate) fn bytes(value: &Value) -> Option<u64> {
    let Value::String(text) = value else { return value.as_u64() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_of_bytes_have_units_or_not() {
        for (value, expected) in [
            (json!(32768), Some(32768)),
            (json!("32768"), Some(32768)),
            (json!("50Mi"), Some(50 << 20)),
            (json!("1Gi"), Some(1 << 30)),
            (json!("20M"), Some(20_000_000)),
            (json!("Mi"), None),
            (json!("-1"), None),
            (json!("1.5Gi"), None),
            (json!("99999999999Ti"), None),
            (json!(-1), None),
            (json!([]), None),
        ] {
            assert_eq!(bytes(&value), expected, "{value}");
        }
    }
}
