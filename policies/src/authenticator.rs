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
use way::{Attempt, ByKey, ByPassword, ByToken, Request};

mod told;
mod way;

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
    by_key: Option<ByKey>,
    by_password: Option<ByPassword>,
    by_token: Option<ByToken>,
    challenges: Arc<[HeaderValue]>,
    challenges_of_invalid_bearer: Arc<[HeaderValue]>,
    no_challenges: Arc<[HeaderValue]>,
}

/// What the ways that do not identify anybody say.
#[derive(Debug, Default)]
struct Misses {
    invalid: Option<&'static str>,
    is_bearer_invalid: bool,
    is_unavailable: bool,
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
        let by_key = authentication.api_key.as_ref().map(|of_keys| ByKey::new(of_keys, keys, sources));
        let by_password = authentication.basic.as_ref().map(|basic| ByPassword::new(basic, book, sources));
        let by_token = authentication.jwt.as_ref().map(|jwt| ByToken::new(jwt, book, sources));
        let challenges = |bearer| {
            let bearer = (by_key.is_some() || by_token.is_some()).then_some(bearer);
            bearer.into_iter().chain(by_password.is_some().then_some(BASIC)).collect()
        };
        Self {
            is_optional: authentication.is_optional,
            challenges: challenges(BEARER),
            challenges_of_invalid_bearer: challenges(INVALID_BEARER),
            no_challenges: Arc::default(),
            by_key,
            by_password,
            by_token,
        }
    }

    /// Who sent a request with these headers and this query, which is what stands behind `?`.
    pub fn identify(&self, headers: &HeaderMap, query: Option<&str>, now: SystemTime) -> Outcome {
        let request = Request { headers, query, now };
        let mut misses = Misses::default();
        let by_key = self.by_key.as_ref().map(|way| way.attempt(request));
        if let Some(identified) = by_key.and_then(|attempt| misses.identified(attempt, true)) {
            return Outcome::Identified(identified);
        }
        let by_password = self.by_password.as_ref().map(|way| way.attempt(request));
        if let Some(identified) = by_password.and_then(|attempt| misses.identified(attempt, false)) {
            return Outcome::Identified(identified);
        }
        let by_token = self.by_token.as_ref().map(|way| way.attempt(request));
        if let Some(identified) = by_token.and_then(|attempt| misses.identified(attempt, true)) {
            return Outcome::Identified(identified);
        }
        self.unidentified(&misses)
    }

    fn unidentified(&self, misses: &Misses) -> Outcome {
        let (why, challenges) = match misses.invalid {
            _ if misses.is_unavailable => (Why::Unavailable, &self.no_challenges),
            Some(reason) if misses.is_bearer_invalid => {
                (Why::Invalid(reason), &self.challenges_of_invalid_bearer)
            }
            Some(reason) => (Why::Invalid(reason), &self.challenges),
            None if self.is_optional => return Outcome::Anonymous,
            None => (Why::Missing, &self.challenges),
        };
        Outcome::Refused(Refused { why, challenges: Arc::clone(challenges) })
    }

    /// The headers that this may set. Clients cannot: they are taken out of every request, also of one that shows nothing.
    pub fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let of_key = self.by_key.iter().flat_map(ByKey::set_headers);
        let of_password = self.by_password.iter().flat_map(ByPassword::set_headers);
        let of_token = self.by_token.iter().flat_map(ByToken::set_headers);
        of_key.chain(of_password).chain(of_token)
    }
}

impl Misses {
    /// Whom an attempt identified; what else came of it is kept. The last way's reason is told: it is the one that knows
    /// most of a bearer's, which may be a key or a token.
    fn identified(&mut self, attempt: Attempt, is_bearer: bool) -> Option<Identified> {
        match attempt {
            Attempt::Identified(identified) => return Some(identified),
            Attempt::NotShown => {}
            Attempt::Unavailable => self.is_unavailable = true,
            Attempt::Invalid(reason) => {
                self.invalid = Some(reason);
                self.is_bearer_invalid |= is_bearer;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
