//! What is shown to upstreams.

use ::http::HeaderValue;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use crate::aws_keys::AwsKeys;

/// What a request is made acceptable with. Not shown by `Debug`.
#[derive(PartialEq, Eq)]
pub enum Secret {
    /// The whole value of a header, marked as sensitive.
    Header(HeaderValue),
    /// What requests to AWS are signed with.
    Aws(AwsKeys),
}

impl Secret {
    /// The value of a header: `prefix`, then `secret`. `None` if that cannot stand in a header.
    #[must_use]
    pub fn header(prefix: &str, secret: &str) -> Option<Self> {
        let is_sound = !secret.is_empty() && secret.is_ascii();
        let mut value = HeaderValue::from_str(&format!("{prefix}{secret}")).ok().filter(|_| is_sound)?;
        value.set_sensitive(true);
        Some(Self::Header(value))
    }

    /// A token that whoever bears it may use.
    pub(crate) fn bearer(token: &str) -> Option<Self> {
        Self::header("Bearer ", token)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Header(_) => "Header(…)",
            Self::Aws(_) => "Aws(…)",
        })
    }
}

/// Reads a text that is a secret.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// Reads a text that is a secret and may be left out.
pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    Option::<String>::deserialize(deserializer).map(|text| text.map(SecretString::from))
}
