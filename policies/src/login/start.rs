//! Where people are led: to the provider, back from it to where they were going, and out.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::cookie::BINDING_BYTES;
use super::seal::{self, Purpose};
use super::{Led, Login, LoginFault, RANDOM_BYTES, Seen, Visit, seconds};
use crate::extract::query_values;

/// What stands for itself in a query (RFC 3986, 2.3).
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The most bytes of path and query that a login leads back to; who was going to a longer one is led to `/`. All of it
/// travels in the provider's addresses, of which browsers and servers take some thousands.
const MAX_BACK_BYTES: usize = 1_024;

/// The most bytes of an ID token that a provider is shown when people log out.
const MAX_HINT_BYTES: usize = 4_096;

/// What a login knows of itself when people come back.
#[derive(Serialize, Deserialize)]
struct State<'a> {
    /// Where they came to.
    #[serde(rename = "a")]
    authority: std::borrow::Cow<'a, str>,
    /// Where they were going there.
    #[serde(rename = "p")]
    path_and_query: std::borrow::Cow<'a, str>,
    /// When it began.
    #[serde(rename = "t")]
    began: u64,
}

/// What the provider gave people who came back.
#[derive(Debug)]
pub struct Code {
    /// What tokens are got for.
    pub(super) code: String,
    /// What proves that the login is the one that was begun.
    pub(super) verifier: String,
    /// What the ID token has to have.
    pub(super) nonce: String,
    /// Where people came back to, as the provider knows it.
    pub(super) redirect_uri: String,
    /// Where they were going.
    pub back: Back,
}

/// Where people were going: an address at a host where they came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back(pub HeaderValue);

impl Login {
    /// Leads people to the provider.
    ///
    /// # Errors
    /// Nobody can log in at this host, or the provider was never had.
    pub fn begin(&self, visit: &Visit<'_>, random: &[u8; RANDOM_BYTES]) -> Result<Led, LoginFault> {
        let (Some(provider), Some(secret)) = (self.provider.get(), self.secret.get()) else {
            return Err(LoginFault::Unavailable);
        };
        let site = self.site(visit)?;
        let jar = self.names.of(site.is_secure);
        let salt = seal::salt(random);
        // A browser has one for all that it begins, so that people can open several pages at once.
        let fresh = random.last_chunk().ok_or(LoginFault::Unavailable)?;
        let binding = jar.binding(visit.headers)?.unwrap_or(*fresh);
        let going = match visit.query {
            Some(query) => format!("{}?{query}", visit.path),
            None => visit.path.to_owned(),
        };
        let going = if going.len() > MAX_BACK_BYTES { "/".to_owned() } else { going };
        let state = State {
            authority: visit.authority.into(),
            path_and_query: going.into(),
            began: seconds(visit.now),
        };
        let plain = serde_json::to_vec(&state).map_err(|_| LoginFault::Failed)?;
        let seal = self.seal(&secret);
        let sealed = seal.seal(Purpose::State, &binding, salt, &plain);
        let (verifier, nonce) = self.secrets(&seal, &binding, salt);
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let endpoint = self.spec.provider.authorization_endpoint.as_deref();
        let endpoint = endpoint.or(provider.authorization_endpoint.as_deref());
        let mut address = Address::of(endpoint.ok_or(LoginFault::Unavailable)?);
        address.add("response_type", "code");
        address.add("client_id", &self.spec.client_id);
        address.add("redirect_uri", &site.redirect_uri);
        address.add("scope", &self.spec.scope);
        address.add("state", &BASE64_URL_SAFE_NO_PAD.encode(sealed));
        address.add("nonce", &nonce);
        address.add("code_challenge", &challenge);
        address.add("code_challenge_method", "S256");
        for resource in &self.spec.resources {
            address.add("resource", resource);
        }
        let bound = jar.bind(&binding, self.login_ttl(), &self.spec.cookie);
        Ok(Led { location: address.header()?, cookies: bound.into_iter().collect() })
    }

    /// What people who come back from the provider bring. It is theirs only if their browser began the login.
    ///
    /// # Errors
    /// It did not, or the provider did not let them in.
    pub fn come_back(&self, visit: &Visit<'_>) -> Result<Code, LoginFault> {
        let (Some(provider), Some(secret)) = (self.provider.get(), self.secret.get()) else {
            return Err(LoginFault::Unavailable);
        };
        let query = visit.query.unwrap_or_default();
        let site = self.site(visit)?;
        let binding = self.names.of(site.is_secure).binding(visit.headers)?.ok_or(LoginFault::NotBegun)?;
        let sealed = single(query, "state")?.ok_or(LoginFault::Malformed)?;
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).map_err(|_| LoginFault::NotBegun)?;
        let seal = self.seal(&secret);
        let plain = seal.open(Purpose::State, &binding, &sealed).ok_or(LoginFault::NotBegun)?;
        let state: State<'_> = serde_json::from_slice(&plain).map_err(|_| LoginFault::NotBegun)?;
        let age = seconds(visit.now).saturating_sub(state.began);
        if Duration::from_secs(age) > self.login_ttl() {
            return Err(LoginFault::NotBegun);
        }
        // Which of several providers answers (RFC 9207).
        if single(query, "iss")?.is_some_and(|issuer| issuer != *provider.issuer) {
            return Err(LoginFault::OtherProvider);
        }
        match single(query, "error")?.as_deref() {
            None => {}
            Some("access_denied") => return Err(LoginFault::Refused),
            Some("temporarily_unavailable" | "server_error") => return Err(LoginFault::Unavailable),
            Some(_) => return Err(LoginFault::Failed),
        }
        let code = single(query, "code")?.filter(|code| !code.is_empty()).ok_or(LoginFault::Malformed)?;
        let salt = sealed.first_chunk().ok_or(LoginFault::NotBegun)?;
        let (verifier, nonce) = self.secrets(&seal, &binding, salt);
        // All of an address, so that no path is taken for a host.
        let scheme = if site.is_secure { "https" } else { "http" };
        let back = format!("{scheme}://{}{}", state.authority, state.path_and_query);
        let back = HeaderValue::from_str(&back).map_err(|_| LoginFault::NotBegun)?;
        Ok(Code { code, verifier, nonce, redirect_uri: site.redirect_uri, back: Back(back) })
    }

    /// Leads people out: their browser forgets the session, and the provider is told where it has a place for that.
    ///
    /// # Errors
    /// There is no such host.
    pub fn leave(&self, visit: &Visit<'_>) -> Result<Led, LoginFault> {
        let is_secure = self.is_secure(visit);
        let scheme = if is_secure { "https" } else { "http" };
        let home = format!("{scheme}://{}/", visit.authority);
        let endpoint = self.spec.provider.end_session_endpoint.clone();
        let discovered = || self.provider.get()?.end_session_endpoint.clone();
        let location = match endpoint.or_else(discovered) {
            None => HeaderValue::from_str(&home).map_err(|_| LoginFault::OtherHost)?,
            Some(endpoint) => {
                let mut address = Address::of(&endpoint);
                if let Seen::Session(session) | Seen::Old(session) = self.seen(visit)
                    && session.id_token.len() <= MAX_HINT_BYTES
                {
                    address.add("id_token_hint", &session.id_token);
                }
                address.add("client_id", &self.spec.client_id);
                address.add("post_logout_redirect_uri", &home);
                address.header()?
            }
        };
        let cookies = self.names.of(is_secure).forget_all(visit.headers, &self.spec.cookie);
        Ok(Led { location, cookies })
    }

    /// The verifier of PKCE and the nonce of a login: 256 bits each, in 43 letters.
    fn secrets(
        &self,
        seal: &seal::Seal<'_>,
        binding: &[u8; BINDING_BYTES],
        salt: &[u8; 32],
    ) -> (String, String) {
        let of = |purpose| BASE64_URL_SAFE_NO_PAD.encode(seal.derive(purpose, binding, salt));
        (of(Purpose::Verifier), of(Purpose::Nonce))
    }
}

/// An address whose query grows.
struct Address(String);

impl Address {
    fn of(endpoint: &str) -> Self {
        let mut text = endpoint.to_owned();
        text.push(if endpoint.contains('?') { '&' } else { '?' });
        Self(text)
    }

    fn add(&mut self, name: &str, value: &str) {
        if !self.0.ends_with(['?', '&']) {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, IN_QUERY));
    }

    fn header(self) -> Result<HeaderValue, LoginFault> {
        let mut value = HeaderValue::try_from(self.0).map_err(|_| LoginFault::Failed)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The only value of a parameter, if it is there.
fn single(query: &str, name: &str) -> Result<Option<String>, LoginFault> {
    let mut values = query_values(query, name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = String::from_utf8(value.into_owned()).map_err(|_| LoginFault::Malformed)?;
            Ok(Some(text))
        }
        (Some(_), Some(_)) => Err(LoginFault::Malformed),
    }
}
