//! Somebody who asks, and the names by which policies speak of keys, models and claims.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The SHA-256 of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

/// Somebody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name, unique in the document.
    pub name: Arc<str>,
    /// Its keys.
    pub keys: Box<[KeyDigest]>,
    /// What else is known of it.
    pub tags: BTreeMap<Box<str>, Box<str>>,
    /// The models that it may ask for; `None` is all.
    pub models: Option<ModelNames>,
    /// Amounts of its own, by names of limits, in the place of the limits' own.
    pub limits: BTreeMap<Box<str>, u64>,
    /// How urgent its requests are to pools, where no objective says it; higher is more so.
    pub priority: Option<i32>,
}

/// Names of models, some by their beginnings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelNames {
    exact: Box<[Box<str>]>,
    prefixes: Box<[Box<str>]>,
}

/// A claim: names of objects within each other. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Box<[Box<str>]>);

/// Texts of which one suffices.
pub type OneOf = Box<[Box<str>]>;

impl KeyDigest {
    /// What stands before the digits.
    pub const PREFIX: &str = "sha256:";

    /// Reads `sha256:` and 64 hexadecimal digits; `None` if it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?.as_bytes();
        let mut digest = [0; 32];
        if digits.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Not shown: whoever knows a weak key's digest can guess the key.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

impl ModelNames {
    /// Those that `names` are, of which some end in `*`.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut exact, mut prefixes) = (Vec::new(), Vec::new());
        for name in names {
            match name.strip_suffix('*') {
                Some(prefix) => prefixes.push(prefix.into()),
                None => exact.push(name.into()),
            }
        }
        exact.sort_unstable();
        Self { exact: exact.into(), prefixes: prefixes.into() }
    }

    /// The names that are whole.
    pub fn exact(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(|name| &**name)
    }

    /// The beginnings of names.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().map(|prefix| &**prefix)
    }

    /// Whether `model` is one of them.
    pub fn contains(&self, model: &str) -> bool {
        self.exact.binary_search_by(|name| (**name).cmp(model)).is_ok()
            || self.prefixes.iter().any(|prefix| model.starts_with(&**prefix))
    }

    /// Whether `model` is one of them, in whatever case.
    pub fn contains_in_any_case(&self, model: &str) -> bool {
        let is_alike = |prefix: &str| {
            let start = model.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        self.exact.iter().any(|name| name.eq_ignore_ascii_case(model))
            || self.prefixes.iter().any(|prefix| is_alike(prefix))
    }
}

impl ClaimPath {
    /// The claim that is written with dots; `None` if a name in it is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let names: Box<[Box<str>]> = text.split('.').map(Into::into).collect();
        names.iter().all(|name| !name.is_empty()).then_some(Self(names))
    }

    /// The names, from the outermost object on.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written_and_shown_to_nobody() {
        let text = format!("sha256:{}", "0f".repeat(32));
        let digest = KeyDigest::parse(&text).unwrap();
        assert_eq!((digest.0[0], digest.to_string()), (15, text.clone()));
        assert_eq!(format!("{digest:?}"), "KeyDigest(…)");
        for wrong in ["", "sha256:", "0f", &text[..70], &format!("{text}0"), &text.replace("0f0f", "0g0f")] {
            assert_eq!(KeyDigest::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn models_are_exact_or_begin_so() {
        let names = ModelNames::new(["gpt-4o", "llama-*", "a"]);
        for (model, is_one) in [
            ("gpt-4o", true),
            ("a", true),
            ("llama-3", true),
            ("llama-", true),
            ("llama", false),
            ("gpt-4o-mini", false),
            ("", false),
        ] {
            assert_eq!(names.contains(model), is_one, "{model}");
        }
        assert!(ModelNames::new(["*"]).contains(""));
        assert!(!ModelNames::default().contains("a"));
    }
}
