//! Who may ask for what. This crate opens no file and fetches nothing.

mod external;
mod oidc;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::{Cors, LimitSpec, PathTest};
use crate::cidr::Cidr;
use crate::consumer::{ClaimPath, ModelNames, OneOf};
use crate::expression::Expression;

pub use external::{External, ExternalPath, ExternalProtocol};
pub use oidc::{Oidc, OpenIdProvider, RedirectUrl, SameSite, SessionCookie};

/// The position of a policy in [`Snapshot::policies`](crate::Snapshot::policies).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyIndex(pub usize);

/// What is asked of requests before they are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySpec {
    /// Its name, unique in the document.
    pub name: Arc<str>,
    /// Who is asked whether a request may be served.
    pub external: Option<External>,
    /// How clients say who they are.
    pub authentication: Option<Authentication>,
    /// Who may do what.
    pub authorization: Option<Authorization>,
    /// How much.
    pub limits: Box<[LimitSpec]>,
    /// Which web pages may ask.
    pub cors: Option<Arc<Cors>>,
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
    /// By logging in.
    pub oidc: Option<Arc<Oidc>>,
}

impl Authentication {
    /// What it calls those who issue tokens.
    pub fn providers(&self) -> impl Iterator<Item = Arc<str>> {
        let of_tokens = self.jwt.iter().flatten().map(|provider| provider.name.clone());
        of_tokens.chain(self.oidc.iter().map(|oidc| oidc.name.clone()))
    }
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
    /// For one of these paths.
    pub paths: Box<[PathTest]>,
    /// That meets this.
    pub cel: Option<Expression>,
}

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
