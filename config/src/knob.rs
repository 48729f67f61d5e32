//! Knobs: settings with a default and a range.
//!
//! [`knobs!`] declares a group of them once: documentation, name, type, default and range stand in one place, and
//! the raw type, the validated type, the JSON schema and the reference page all come from there. A derive on
//! two hand-written structs was turned down, because the two drift apart.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A raw value that becomes a validated one. Its range was checked against the schema before.
pub trait Knob {
    /// The validated type.
    type Value;

    /// The validated value.
    fn value(&self) -> Self::Value;
}

/// A length of time as the document writes it: `250ms`, `10s`, `1m30s` (Gateway API's duration, GEP-2257).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A [`Span`] for which `0s` means that there is no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(pub Span);

/// A number of bytes as the document writes it: `65536`, `64KiB`, `4MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// An IP address and a port as the document writes them: `10.0.0.1:8000`, `[::1]:8000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Address(pub SocketAddr);

/// Why a text is not a [`Span`], a [`Size`] or an [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a duration of GEP-2257.
    #[error("not a duration: write whole numbers with a unit, such as \"250ms\", \"10s\" or \"1m30s\"")]
    Duration,
    /// Not a byte count.
    #[error(
        "not a size: write a number of bytes, or one with a unit, such as \"64KiB\", \"4MiB\" or \"1GiB\""
    )]
    Size,
    /// Not an IP address with a port.
    #[error("not an address: write an IP address and a port, such as \"10.0.0.1:8000\" or \"[::1]:8000\"")]
    Address,
    /// A URL instead of an address.
    #[error(
        "a URL is not an address: write IP address and port alone, such as \"10.0.0.1:8000\"; TLS has a field of its \
         own"
    )]
    AddressIsUrl,
    /// A name instead of an IP address.
    #[error(
        "a name is not an address: write its IP address, such as \"127.0.0.1:8000\" for localhost; a backend's `host` \
         may be a name"
    )]
    AddressIsName,
    /// An IP address alone.
    #[error("has no port: write the IP address with one, such as \"10.0.0.1:8000\" or \"[::1]:8000\"")]
    AddressWithoutPort,
}

impl Span {
    /// `ms` milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// `secs` seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// Reads the document's notation.
    ///
    /// # Errors
    /// [`QuantityError::Duration`] unless the text is one to four groups of one to five digits and a unit of `h`,
    /// `m`, `s` or `ms` (GEP-2257).
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        const MAX_GROUPS: usize = 4;
        const MAX_DIGITS: usize = 5;
        let (mut rest, mut total_ms, mut groups) = (text, 0_u64, 0);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            groups += 1;
            if digits == 0 || digits > MAX_DIGITS || groups > MAX_GROUPS {
                return Err(QuantityError::Duration);
            }
            let number: u64 = rest[..digits].parse().map_err(|_| QuantityError::Duration)?;
            rest = &rest[digits..];
            let (unit, scale_ms) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
                .into_iter()
                .find(|(unit, _)| rest.starts_with(unit))
                .ok_or(QuantityError::Duration)?;
            total_ms += number * scale_ms;
            rest = &rest[unit.len()..];
        }
        if groups == 0 { Err(QuantityError::Duration) } else { Ok(Self::ms(total_ms)) }
    }
}

impl Timeout {
    /// No deadline.
    pub const OFF: Self = Self(Span::ms(0));

    /// `secs` seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Span::secs(secs))
    }
}

impl Size {
    /// `n` binary kilobytes.
    pub(crate) const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` binary megabytes.
    pub(crate) const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` binary gigabytes.
    pub(crate) const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// Reads the document's notation.
    ///
    /// # Errors
    /// [`QuantityError::Size`] unless the text is a whole number, alone or with a unit of `KiB`, `MiB` or `GiB`.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let shift = match &text[digits..] {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(QuantityError::Size),
        };
        let number: u64 = text[..digits].parse().map_err(|_| QuantityError::Size)?;
        number.checked_mul(1 << shift).map(Self).ok_or(QuantityError::Size)
    }
}

impl Address {
    /// Reads the document's notation.
    ///
    /// # Errors
    /// The text is not an IP address with a port; which error depends on what it seems to be instead.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        text.parse().map(Self).map_err(|_| {
            let is_name = |(host, port): (&str, &str)| {
                let has_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
                has_port && host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains([':', '/'])
            };
            if text.contains("://") {
                QuantityError::AddressIsUrl
            } else if text.parse::<IpAddr>().is_ok() {
                QuantityError::AddressWithoutPort
            } else if text.rsplit_once(':').is_some_and(is_name) {
                QuantityError::AddressIsName
            } else {
                QuantityError::Address
            }
        })
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0.as_millis();
        let (hours, minutes, secs, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000);
        if ms == 0 {
            return f.write_str("0s");
        }
        for (number, unit) in [(hours, "h"), (minutes, "m"), (secs, "s"), (rest, "ms")] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (number, unit) = match self.0 {
            0 => (0, ""),
            n if n % (1 << 30) == 0 => (n >> 30, "GiB"),
            n if n % (1 << 20) == 0 => (n >> 20, "MiB"),
            n if n % (1 << 10) == 0 => (n >> 10, "KiB"),
            n => (n, ""),
        };
        write!(f, "{number}{unit}")
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<'de, str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" })
    }
}

impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Span::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Timeout {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timeout".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "timeout", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::parse(&text).map_err(D::Error::custom),
            other => other.as_u64().map(Self).ok_or_else(|| D::Error::custom(QuantityError::Size)),
        }
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "format": "size", "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$" })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Cow::<'de, str>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "address" })
    }
}

impl Knob for Span {
    type Value = Duration;

    fn value(&self) -> Duration {
        self.0
    }
}

impl Knob for Timeout {
    type Value = Option<Duration>;

    fn value(&self) -> Option<Duration> {
        Some(self.0.0).filter(|duration| !duration.is_zero())
    }
}

impl Knob for Size {
    type Value = usize;

    fn value(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Knob for Address {
    type Value = SocketAddr;

    fn value(&self) -> SocketAddr {
        self.0
    }
}

impl Knob for String {
    type Value = Arc<str>;

    fn value(&self) -> Arc<str> {
        self.as_str().into()
    }
}

impl Knob for Vec<String> {
    type Value = Arc<[Arc<str>]>;

    fn value(&self) -> Arc<[Arc<str>]> {
        self.iter().map(|text| text.as_str().into()).collect()
    }
}

/// Makes types their own validated form.
macro_rules! plain_knob {
    ($($kind:ty),*) => { $(
        impl $crate::knob::Knob for $kind {
            type Value = Self;

            fn value(&self) -> Self {
                *self
            }
        }
    )* };
}
pub(crate) use plain_knob;

plain_knob!(bool, u16, u32, u64);

/// Declares a group of knobs: `name: RawType = default, in "least"..="most";`.
macro_rules! knobs {
    (
        $(#[doc = $group_doc:literal])+
        pub struct $name:ident, raw $raw:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $kind:ty = $default:expr $(, in $min:literal..=$max:literal)?;
            )+
        }
    ) => {
        $(#[doc = $group_doc])+
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $raw {
            $(
                $(#[doc = $doc])+
                $(#[schemars(extend("x-minimum" = $min, "x-maximum" = $max))])?
                pub $field: $kind,
            )+
        }

        impl Default for $raw {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::knob::Knob for $raw {
            type Value = $name;

            fn value(&self) -> $name {
                $name { $($field: $crate::knob::Knob::value(&self.$field),)+ }
            }
        }

        $(#[doc = $group_doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: <$kind as $crate::knob::Knob>::Value,)+
        }

        impl Default for $name {
            fn default() -> Self {
                $crate::knob::Knob::value(&$raw::default())
            }
        }
    };
}
pub(crate) use knobs;

#[cfg(test)]
mod tests;
