//! Logging people in at an OpenID provider: what to ask it, what to believe of its answers, and what a browser keeps.
//!
//! There is no store. What has to be known again is sealed with keys that are derived from the client's secret (`seal`), so
//! that all gateways of a document can read it: who is logged in, in the session's cookie; where somebody was going, in the
//! parameter `state`. A state opens only with the cookie of the browser that it was made for, so nobody can be led into a
//! login that another began, and the secrets of PKCE and the nonce of the ID token are made of both. A store of sessions was
//! turned down: it is one more thing that can be down, and a hop for each request.
//!
//! Who is logged in is not looked up again before the session has run out. A provider that ends sessions early is not heard.

mod address;
mod cookie;
mod fault;
mod provider;
mod seal;
mod session;
mod start;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_config::Oidc;

use self::cookie::{Cookies, Names};
use self::seal::{Purpose, Seal};
use crate::authenticator::Identified;
use crate::consumers::ConsumerBook;
use crate::held::Held;
use crate::limits::is_text_met;

pub use self::fault::LoginFault;
pub use self::provider::{Provider, ProviderError, keys_url};
pub use self::seal::{ClientSecret, SecretError};
pub use self::session::{MAX_SESSION_BYTES, Session};
pub use self::start::{Back, Code};
pub use self::tokens::{Ask, Expecting};

/// As many random bytes as anything here needs at once.
pub const RANDOM_BYTES: usize = 64;

/// Logs people in, as one policy says it.
pub struct Login {
    spec: Arc<Oidc>,
    provider: Arc<Held<Provider>>,
    secret: Arc<Held<ClientSecret>>,
    book: Arc<ConsumerBook>,
    names: Names,
    set_headers: Box<[HeaderName]>,
}

/// A request as a login sees it.
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Whether people came by `https`, to the gateway or to a proxy before it.
    pub is_https: bool,
    /// The host that they came to, with its port if it has one.
    pub authority: &'a str,
    /// The path.
    pub path: &'a str,
    /// What stands behind `?`.
    pub query: Option<&'a str>,
    /// When.
    pub now: SystemTime,
}

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// People come back from the provider.
    Callback,
    /// People log out.
    Logout,
}

/// What a request shows of a session.
#[derive(Debug)]
pub enum Seen {
    /// None that is good, or no longer.
    Nothing,
    /// This one.
    Session(Box<Session>),
    /// One that has run out, and can be renewed.
    Old(Box<Session>),
    /// Several, and nobody knows which is meant.
    Several,
    /// Nobody can tell: the client's secret was never had.
    Unavailable,
}

/// Where people are led, and what their browser shall keep.
#[derive(Debug)]
pub struct Led {
    /// The address.
    pub location: HeaderValue,
    /// Values of `Set-Cookie`, a header each.
    pub cookies: Vec<HeaderValue>,
}

impl Login {
    /// Logs people in as `spec` says.
    pub fn new(
        spec: Arc<Oidc>,
        provider: Arc<Held<Provider>>,
        secret: Arc<Held<ClientSecret>>,
        book: Arc<ConsumerBook>,
    ) -> Self {
        let of_claims = spec.claim_headers.iter().map(|(header, _)| header);
        // A token in `authorization` takes the place of what the client sent, and only who has a session has one.
        let of_token = spec.id_token_header.iter().filter(|name| **name != http::header::AUTHORIZATION);
        let set_headers = of_claims.chain(of_token).cloned().collect();
        Self { names: Names::new(&spec), spec, provider, secret, book, set_headers }
    }

    /// The headers that this may set. Clients cannot.
    pub fn set_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.set_headers.iter()
    }

    /// What the path of a request is for, if it is not for an upstream.
    pub fn door(&self, path: &str) -> Option<Door> {
        if path == &*self.spec.redirect.path {
            Some(Door::Callback)
        } else if path == &*self.spec.logout_path {
            Some(Door::Logout)
        } else {
            None
        }
    }

    /// Whether a request that shows nothing is answered with 401, and not led to the provider.
    pub fn is_denied_redirect(&self, headers: &HeaderMap) -> bool {
        self.spec.deny_redirect.iter().any(|wanted| is_text_met(wanted, headers))
    }

    /// Whether the session's cookie is shown by pages of the same site only. Where the provider leads to is not one yet.
    pub fn is_strict(&self) -> bool {
        self.spec.cookie.same_site == penstock_config::SameSite::Strict
    }

    /// What a request shows of a session.
    pub fn seen(&self, visit: &Visit<'_>) -> Seen {
        let Some(secret) = self.secret.get() else { return Seen::Unavailable };
        let sealed = match self.names.of(self.is_secure(visit)).session(visit.headers) {
            Cookies::None => return Seen::Nothing,
            Cookies::Several => return Seen::Several,
            Cookies::One(sealed) => sealed,
        };
        let opened = self.seal(&secret).open(Purpose::Session, &[], &sealed);
        let Some(session) = opened.and_then(|plain| Session::read(&plain)) else { return Seen::Nothing };
        match session.age(seconds(visit.now)) {
            session::Age::Good => Seen::Session(Box::new(session)),
            session::Age::Renewable if self.spec.refreshes => Seen::Old(Box::new(session)),
            session::Age::Renewable | session::Age::Gone => Seen::Nothing,
        }
    }

    /// Whoever a session is of, and what upstreams are told of them.
    ///
    /// # Errors
    /// The ID token does not name its bearer as it should.
    pub fn identify(&self, session: &Session) -> Result<Identified, LoginFault> {
        tokens::identified(&self.spec, session, &self.book)
    }

    /// The cookies that have no business behind the gateway: those of sessions and logins, and those that tokens are shown in.
    pub fn is_own_cookie(&self, name: &[u8]) -> bool {
        let is = |own: &Option<Box<str>>| own.as_ref().is_some_and(|own| own.as_bytes() == name);
        self.names.is_own(name) || is(&self.spec.id_token_cookie) || is(&self.spec.access_token_cookie)
    }

    /// Cookies in which the tokens of a session are shown on.
    pub fn shown_cookies<'s>(&'s self, session: &'s Session) -> impl Iterator<Item = (&'s str, &'s str)> {
        let id_token = self.spec.id_token_cookie.as_deref().map(|name| (name, &*session.id_token));
        let access_token = self.spec.access_token_cookie.as_deref().zip(session.access_token.as_deref());
        id_token.into_iter().chain(access_token)
    }

    /// What a browser keeps of a session: values of `Set-Cookie`.
    ///
    /// # Errors
    /// The client's secret is not there any more, or the session has more bytes than browsers keep.
    pub fn kept(
        &self,
        session: &Session,
        visit: &Visit<'_>,
        random: &[u8; RANDOM_BYTES],
    ) -> Result<Vec<HeaderValue>, LoginFault> {
        let secret = self.secret.get().ok_or(LoginFault::Unavailable)?;
        let plain = session.written();
        if plain.len() > MAX_SESSION_BYTES {
            return Err(LoginFault::TooLarge);
        }
        let sealed = self.seal(&secret).seal(Purpose::Session, &[], seal::salt(random), &plain);
        let age = session.kept_for(seconds(visit.now));
        self.names.of(self.is_secure(visit)).keep(&sealed, age, visit.headers, &self.spec.cookie)
    }

    /// How long people may take to log in.
    fn login_ttl(&self) -> Duration {
        self.spec.login_ttl
    }

    fn seal<'a>(&'a self, secret: &'a ClientSecret) -> Seal<'a> {
        Seal { secret, issuer: &self.spec.provider.issuer, client: &self.spec.client_id }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("client", &self.spec.client_id).finish_non_exhaustive()
    }
}

/// Seconds since the beginning of 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
