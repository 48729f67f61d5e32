//! One policy's ways of saying who asks.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_config::{Authentication, Consumer, Extract, KeySetSource};

use crate::basic::Users;
use crate::consumers::{ConsumerBook, KeyTable};
use crate::held::Held;
use crate::jwt::KeySet;
use way::{Attempt, ByKey, ByPassword, ByToken, Request, Way};

mod told;
mod way;

pub(crate) use told::claim_value;
pub(crate) use way::bearer;

const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"penstock\"");
const INVALID_BEARER: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"penstock\", error=\"invalid_token\"");
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"penstock\", charset=\"UTF-8\"");

/// Where that comes from which files say and identity providers send. What is asked for twice is the same.
pub trait Sources {
    /// The keys in a file, of the consumers of the book that the authenticator is made with.
    fn keys(&self, file: &Path) -> Arc<Held<KeyTable>>;
    /// The users in a file.
    fn users(&self, file: &Path) -> Arc<Held<Users>>;
    /// The keys of an identity provider.
    fn key_set(&self, source: &KeySetSource) -> Arc<Held<KeySet>>;
}

/// Finds out who asks, in the ways of one policy.
#[derive(Debug)]
pub struct Authenticator {
    is_optional: bool,
    /// In the order in which they are tried.
    ways: Box<[Way]>,
    set_headers: Box<[HeaderName]>,
    challenges: Arc<[HeaderValue]>,
    challenges_of_invalid_bearer: Arc<[HeaderValue]>,
    no_challenges: Arc<[HeaderValue]>,
}

/// Who asks.
#[derive(Debug)]
pub enum Outcome {
    /// Nobody said, and the policy lets that pass.
    Anonymous,
    /// This one.
    Identified(Identified),
    /// Nobody who may pass.
    Refused(Refused),
}

/// Somebody, and what becomes of the request for it.
#[derive(Debug)]
pub struct Identified {
    /// Who.
    pub identity: Identity,
    /// What becomes of the request.
    pub edits: Edits,
}

/// What becomes of an identified request. Headers of [`Authenticator::set_headers`] that the client sent go before that, of
/// every request.
#[derive(Debug, Default)]
pub struct Edits {
    /// What is taken out: the whole header, each parameter of the query of that name ([`remove_query`](crate::remove_query)),
    /// or each cookie of that name ([`remove_cookie`](crate::remove_cookie)).
    pub remove: Option<Arc<Extract>>,
    /// Headers that upstreams are told something in.
    pub set: Vec<(HeaderName, HeaderValue)>,
}

/// Somebody who asks, and how that is known.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Who. Somebody without a name has the empty one.
    pub consumer: Arc<Consumer>,
    /// How that is known.
    pub by: By,
    /// The policy that found it out; empty as long as none took note of it.
    pub policy: Arc<str>,
    /// What the token says, an object; `None` if there was none.
    pub claims: Option<Arc<serde_json::Value>>,
}

/// How it is known who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// By a key.
    ApiKey,
    /// By a name and a password.
    Basic,
    /// By a token.
    Jwt {
        /// The name of its provider in the policy.
        provider: Arc<str>,
    },
    /// By a session of somebody who logged in.
    Oidc {
        /// What the policy calls the provider.
        provider: Arc<str>,
    },
}

/// A request that may not pass.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Why.
    pub why: Why,
    /// Values of `WWW-Authenticate`, a header each. None if it is not the client's fault.
    pub challenges: Arc<[HeaderValue]>,
}

/// Why a request may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It shows no credential. 401.
    Missing,
    /// What it shows is not valid, in a few words that the client may read. 401.
    Invalid(&'static str),
    /// What would tell whether it is valid was never had. 503.
    Unavailable,
}

impl Authenticator {
    /// The ways of `authentication`. Keys that are in no file are those in `keys`.
    pub fn new(
        authentication: &Authentication,
        book: &Arc<ConsumerBook>,
        keys: &Arc<KeyTable>,
        sources: &dyn Sources,
    ) -> Self {
        let by_key =
            authentication.api_key.as_ref().map(|of_keys| Way::Key(ByKey::new(of_keys, keys, sources)));
        let by_password =
            authentication.basic.as_ref().map(|basic| Way::Password(ByPassword::new(basic, book, sources)));
        let by_token = authentication.jwt.as_ref().map(|jwt| Way::Token(ByToken::new(jwt, book, sources)));
        let ways: Box<[_]> = [by_key, by_password, by_token].into_iter().flatten().collect();
        let challenges = |bearer| {
            let bearer = ways.iter().any(Way::is_bearers).then_some(bearer);
            bearer.into_iter().chain(authentication.basic.is_some().then_some(BASIC)).collect()
        };
        Self {
            is_optional: authentication.is_optional,
            set_headers: headers_of(authentication),
            challenges: challenges(BEARER),
            challenges_of_invalid_bearer: challenges(INVALID_BEARER),
            no_challenges: Arc::default(),
            ways,
        }
    }

    /// Who sent a request with these headers and this query, which is what stands behind `?`. One way suffices, whatever the
    /// others say: a bearer that is no key may be a token.
    pub fn identify(&self, headers: &HeaderMap, query: Option<&str>, now: SystemTime) -> Outcome {
        let request = Request { headers, query, now };
        let mut invalid = None;
        let mut challenges = &self.challenges;
        let mut is_unavailable = false;
        for way in &self.ways {
            match way.attempt(request) {
                Attempt::Identified(identified) => return Outcome::Identified(identified),
                Attempt::NotShown => {}
                Attempt::Unavailable => is_unavailable = true,
                // The last way's reason is told: of a bearer, that of tokens says more than that of keys.
                Attempt::Invalid(reason) => {
                    invalid = Some(reason);
                    if way.is_bearers() {
                        challenges = &self.challenges_of_invalid_bearer;
                    }
                }
            }
        }
        let (why, challenges) = match invalid {
            _ if is_unavailable => (Why::Unavailable, &self.no_challenges),
            Some(reason) => (Why::Invalid(reason), challenges),
            None if self.is_optional => return Outcome::Anonymous,
            None => (Why::Missing, challenges),
        };
        Outcome::Refused(Refused { why, challenges: Arc::clone(challenges) })
    }

    /// The headers that this may set. Clients cannot: they are taken out of every request, also of one that shows nothing.
    pub fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.set_headers.iter()
    }
}

fn headers_of(authentication: &Authentication) -> Box<[HeaderName]> {
    let of_keys = authentication.api_key.iter().filter_map(|keys| keys.consumer_header.as_ref());
    let of_users = authentication.basic.iter().filter_map(|basic| basic.user_header.as_ref());
    let providers = authentication.jwt.iter().flatten();
    let of_claims = providers.flat_map(|provider| provider.claim_headers.iter().map(|(header, _)| header));
    of_keys.chain(of_users).chain(of_claims).cloned().collect()
}

#[cfg(test)]
mod tests;
