//! Amounts that are read exactly: money above all.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Number, Value};

/// A number with up to 15 decimals that is not negative, as the document writes it: `100000`, `"2.50"`, `0.000075`.
///
/// No binary fraction stands between its text and its value. A number that YAML or JSON has read already is taken by the
/// shortest text that stands for it, which is the text of the document while that has no more than 15 digits; one of more
/// is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal {
    /// In units of the last decimal that there can be.
    units: u128,
}

/// Why something is not a [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// It is no number, or a negative one.
    #[error("not an amount: write digits, with a point before decimals, such as \"2.50\"")]
    Malformed,
    /// It has more decimals than are counted.
    #[error("has more than {} decimals", Decimal::MAX_DECIMALS)]
    TooFine,
    /// It is more than can be counted.
    #[error("is more than can be counted: the most is {}", u64::MAX)]
    TooLarge,
    /// As a number of YAML or JSON it is not exact.
    #[error(
        "is not exact as a number: put it in quotes, with a point before decimals, such as \"0.000000075\""
    )]
    Inexact,
}

impl Decimal {
    /// The most decimals.
    pub const MAX_DECIMALS: u32 = 15;

    /// A whole number.
    pub fn whole(number: u64) -> Self {
        Self { units: u128::from(number) * scale(Self::MAX_DECIMALS) }
    }

    /// Reads the document's notation.
    ///
    /// # Errors
    /// The text is no such number.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !are_digits(whole) || text.contains('.') && !are_digits(decimals) {
            return Err(DecimalError::Malformed);
        }
        let decimals = decimals.trim_end_matches('0');
        let missing =
            (Self::MAX_DECIMALS as usize).checked_sub(decimals.len()).ok_or(DecimalError::TooFine)?;
        let whole: u64 = whole.parse().map_err(|_| DecimalError::TooLarge)?;
        let fraction: u128 = format!("{decimals}{}", "0".repeat(missing)).parse().unwrap_or_default();
        Ok(Self { units: Self::whole(whole).units + fraction })
    }

    /// Takes a number that was read already.
    ///
    /// # Errors
    /// It is negative, or not surely the one that was written.
    pub fn of_number(number: &Number) -> Result<Self, DecimalError> {
        const EXACT_DIGITS: usize = 15;
        if let Some(whole) = number.as_u64() {
            return Ok(Self::whole(whole));
        }
        let text = number.to_string();
        if text.starts_with('-') {
            return Err(DecimalError::Malformed);
        }
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        match Self::parse(&text) {
            Ok(decimal) if digits <= EXACT_DIGITS => Ok(decimal),
            _ => Err(DecimalError::Inexact),
        }
    }

    /// How many of the units there are that have this many decimals; `None` if not a whole number of them, or too many.
    pub fn in_units(self, decimals: u32) -> Option<u64> {
        let smaller = Self::MAX_DECIMALS.checked_sub(decimals)?;
        let unit = scale(smaller);
        if !self.units.is_multiple_of(unit) {
            return None;
        }
        u64::try_from(self.units / unit).ok()
    }
}

fn scale(decimals: u32) -> u128 {
    10_u128.pow(decimals)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = scale(Self::MAX_DECIMALS);
        let (whole, fraction) = (self.units / one, self.units % one);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{fraction:0width$}", width = Self::MAX_DECIMALS as usize);
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

/// Whole numbers as such, others as texts.
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.in_units(0) {
            Some(whole) => serializer.serialize_u64(whole),
            None => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Value::deserialize(deserializer)? {
            Value::String(text) => Self::parse(&text),
            Value::Number(number) => Self::of_number(&number),
            _ => Err(DecimalError::Malformed),
        };
        read.map_err(D::Error::custom)
    }
}

impl JsonSchema for Decimal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "number"], "format": "decimal", "pattern": "^[0-9]+([.][0-9]+)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_what_its_text_says() {
        for (text, nano, shown) in [
            ("0", Some(0), "0"),
            ("25.00", Some(25_000_000_000), "25"),
            ("0.1", Some(100_000_000), "0.1"),
            ("0.000000001", Some(1), "0.000000001"),
            ("0.0000000001", None, "0.0000000001"),
            ("18446744073.709551615", Some(u64::MAX), "18446744073.709551615"),
            ("18446744073.709551616", None, "18446744073.709551616"),
            ("007.50", Some(7_500_000_000), "7.5"),
        ] {
            let decimal = Decimal::parse(text).unwrap();
            assert_eq!((decimal.in_units(9), decimal.to_string().as_str()), (nano, shown), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "1.2.3", "١", "0x10", "NaN"] {
            assert_eq!(Decimal::parse(text), Err(DecimalError::Malformed), "{text}");
        }
        assert_eq!(Decimal::parse("0.1234567890123456"), Err(DecimalError::TooFine));
        assert_eq!(Decimal::parse("18446744073709551616"), Err(DecimalError::TooLarge));
    }

    #[test]
    fn a_number_is_taken_by_its_text_or_refused() {
        let read = |text: &str| serde_json::from_str::<Decimal>(text).map(|decimal| decimal.to_string());
        for (text, shown) in [("0.1", "0.1"), ("2.50", "2.5"), ("0.000075", "0.000075"), ("100000", "100000")]
        {
            assert_eq!(read(text).unwrap(), shown, "{text}");
        }
        for text in ["-1", "-0.5", "1e-9", "0.12345678901234567", "true", "null", "1e300"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_amount_is_written_as_it_is_read() {
        for text in ["0", "18446744073709551615", "\"0.000000000000001\"", "\"2.5\""] {
            let decimal: Decimal = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&decimal).unwrap(), text);
        }
    }
}
