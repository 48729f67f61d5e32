//! Who may ask for what. This crate opens no file and fetches nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::LimitSpec;
use crate::cidr::Cidr;

/// The position of a policy in [`Snapshot::policies`](crate::Snapshot::policies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyIndex(pub usize);

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

/// What is asked of requests before they are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySpec {
    /// Its name, unique in the document.
    pub name: Arc<str>,
    /// How clients say who they are.
    pub authentication: Option<Authentication>,
    /// Who may do what.
    pub authorization: Option<Authorization>,
    /// How much.
    pub limits: Box<[LimitSpec]>,
}

/// How clients say who they are: at least one way, any of which suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Whether requests that show nothing pass.
    pub is_optional: bool,
    /// By a key.
    pub api_key: Option<ApiKeys>,
    /// By a name and a password.
    pub basic: Option<Basic>,
    /// By a token; at least one provider.
    pub jwt: Option<Box<[JwtProvider]>>,
}

/// Keys of consumers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeys {
    /// Where clients show a key, in order. At least one.
    pub extract_from: Box<[Extract]>,
    /// A file of names and digests; `None` is the keys of the document's consumers.
    pub file: Option<PathBuf>,
    /// Where upstreams are told the consumer's name.
    pub consumer_header: Option<HeaderName>,
    /// Whether upstreams see the key.
    pub is_forwarded: bool,
}

/// Where a credential is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extract {
    /// In a header, behind a prefix that may be empty.
    Header {
        /// Its name.
        name: HeaderName,
        /// What stands before the credential.
        prefix: Box<str>,
    },
    /// In a parameter of the query.
    Query(Box<str>),
    /// In a cookie.
    Cookie(Box<str>),
}

/// Names and passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basic {
    /// A file of `htpasswd`.
    pub file: PathBuf,
    /// Where upstreams are told the user's name.
    pub user_header: Option<HeaderName>,
    /// Whether upstreams see name and password.
    pub is_forwarded: bool,
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtProvider {
    /// Its name, unique in the policy.
    pub name: Arc<str>,
    /// What a token's `iss` has to be.
    pub issuer: Option<Box<str>>,
    /// One of which has to be among a token's `aud`; none is no condition.
    pub audiences: Box<[Box<str>]>,
    /// Its keys.
    pub keys: KeySetSource,
    /// Where clients show a token, in order. At least one.
    pub extract_from: Box<[Extract]>,
    /// Claims that upstreams are told.
    pub claim_headers: Box<[(HeaderName, ClaimPath)]>,
    /// The claim that names the consumer.
    pub consumer_claim: ClaimPath,
    /// Whether upstreams see the token.
    pub is_forwarded: bool,
}

/// Where a key set is. Equal ones are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeySetSource {
    /// It is fetched.
    Url {
        /// From here.
        url: Arc<str>,
        /// Again after this.
        cache_duration: Duration,
    },
    /// It is in a file.
    File(PathBuf),
}

/// A claim: names of objects within each other. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Box<[Box<str>]>);

/// Who may do what: the first rule that a request meets decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// Whether requests that meet no rule are served.
    pub default_action: Access,
    /// The rules.
    pub rules: Box<[AccessRule]>,
}

/// Whether a request is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

/// A rule of authorization: all that it says must hold. What is empty is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Its own name, or its position.
    pub name: Arc<str>,
    /// What becomes of requests that meet it.
    pub action: Access,
    /// One of these.
    pub methods: Box<[Method]>,
    /// One of these.
    pub models: Option<ModelNames>,
    /// From one of these.
    pub addresses: Box<[Cidr]>,
    /// By one of these.
    pub consumers: Box<[Box<str>]>,
    /// By somebody who has each of these, with one of the values.
    pub tags: Box<[(Box<str>, OneOf)]>,
    /// With a token of this provider.
    pub provider: Option<Box<str>>,
    /// With a token that has all of these.
    pub claims: Box<[ClaimMatch]>,
    /// With a token that has all of these.
    pub scopes: Box<[Box<str>]>,
    /// With all of these headers, and one of the values in each.
    pub headers: Box<[(HeaderName, OneOf)]>,
}

/// Texts of which one suffices.
pub type OneOf = Box<[Box<str>]>;

/// A claim that a token has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMatch {
    /// Where it is.
    pub path: ClaimPath,
    /// Whether it is a list of texts, and not a text.
    pub is_list: bool,
    /// One of these.
    pub values: OneOf,
}

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
