//! Cookies: what a browser keeps of a session and of a login, in as many as it takes.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use penstock_config::{Oidc, SameSite, SessionCookie};
use ring::digest::{SHA256, digest};

use super::LoginFault;
use crate::extract::cookie_parts;

/// The most bytes of a cookie's value. Browsers keep 4,096 of a cookie, its name and all that is said of it included
/// (RFC 6265, 6.1).
const MAX_VALUE_BYTES: usize = 3_600;

/// The most cookies that a session is kept in: browsers show them all with each request, and servers bound heads.
const MAX_COOKIES: usize = 5;

/// The bytes of what ties a login to its browser.
pub(super) const BINDING_BYTES: usize = 32;

/// The names of cookies, by `https` and without.
pub(super) struct Names {
    secure: Jar,
    plain: Jar,
}

/// The names of cookies.
pub(super) struct Jar {
    is_secure: bool,
    /// The session's, the first that it is in.
    session: Box<str>,
    /// What ties a login to its browser.
    login: Box<str>,
}

/// What cookies of a session a request has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cookies {
    /// None, or not all of them.
    None,
    /// Some more than once.
    Several,
    /// What is in them.
    One(Vec<u8>),
}

impl Names {
    pub(super) fn new(spec: &Oidc) -> Self {
        let client = format!("{}\0{}", spec.provider.issuer, spec.client_id);
        let mut of_client = String::new();
        for byte in &digest(&SHA256, client.as_bytes()).as_ref()[..4] {
            // Writing to a String does not fail.
            let _ = write!(of_client, "{byte:02x}");
        }
        let jar = |is_secure| {
            // Browsers take such a cookie from its own host alone, so no other host can put one in its place.
            let prefix = if is_secure && spec.cookie.domain.is_none() { "__Host-" } else { "" };
            let session = spec.cookie.name.as_deref().map(Into::into);
            Jar {
                is_secure,
                session: session.unwrap_or_else(|| format!("{prefix}penstock-session-{of_client}").into()),
                login: format!("{prefix}penstock-login-{of_client}").into(),
            }
        };
        Self { secure: jar(true), plain: jar(false) }
    }

    pub(super) fn of(&self, is_secure: bool) -> &Jar {
        if is_secure { &self.secure } else { &self.plain }
    }

    /// Whether it is one of these, by `https` or without.
    pub(super) fn is_own(&self, name: &[u8]) -> bool {
        [&self.secure, &self.plain]
            .into_iter()
            .any(|jar| jar.login.as_bytes() == name || jar.position(name).is_some())
    }
}

impl Jar {
    /// What a request has of a session.
    pub(super) fn session(&self, headers: &HeaderMap) -> Cookies {
        let mut values: [Option<&[u8]>; MAX_COOKIES] = [None; MAX_COOKIES];
        let mut is_twice = false;
        for (name, value) in pairs(headers) {
            if let Some(at) = self.position(name) {
                is_twice |= values[at].replace(value).is_some();
            }
        }
        let Some(first) = values[0] else { return Cookies::None };
        if is_twice {
            return Cookies::Several;
        }
        let Some((count, first)) = counted(first) else { return Cookies::None };
        let mut text = first.to_vec();
        for value in &values[1..count] {
            let Some(value) = value else { return Cookies::None };
            text.extend_from_slice(value);
        }
        BASE64_URL_SAFE_NO_PAD.decode(text).map_or(Cookies::None, Cookies::One)
    }

    /// What a browser shall keep of a session for so long: values of `Set-Cookie`. `shown` are the headers of its request.
    pub(super) fn keep(
        &self,
        sealed: &[u8],
        age: Duration,
        shown: &HeaderMap,
        spec: &SessionCookie,
    ) -> Result<Vec<HeaderValue>, LoginFault> {
        let text = BASE64_URL_SAFE_NO_PAD.encode(sealed);
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(MAX_VALUE_BYTES).collect();
        if pieces.len() > MAX_COOKIES {
            return Err(LoginFault::TooLarge);
        }
        let count = pieces.len();
        let mut cookies = Vec::with_capacity(count);
        for (at, piece) in pieces.into_iter().enumerate() {
            let piece = std::str::from_utf8(piece).unwrap_or_default();
            let value = if at == 0 { format!("{count}.{piece}") } else { piece.to_owned() };
            cookies.extend(self.set(&self.name(at), &value, age, spec.same_site, spec.domain.as_deref()));
        }
        // What an earlier session was longer by.
        let rest = (count..MAX_COOKIES).map(|at| self.name(at)).filter(|name| is_there(shown, name));
        cookies.extend(rest.filter_map(|name| self.forget(&name, spec)));
        Ok(cookies)
    }

    /// What ties a login to the browser that began it: `Err` if that is there more than once.
    pub(super) fn binding(&self, headers: &HeaderMap) -> Result<Option<[u8; BINDING_BYTES]>, LoginFault> {
        let mut values = pairs(headers).filter(|(name, _)| *name == self.login.as_bytes());
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(value).ok();
                Ok(bytes.and_then(|bytes| bytes.try_into().ok()))
            }
            (Some(_), Some(_)) => Err(LoginFault::NotBegun),
        }
    }

    /// What ties a login to this browser. Where the provider leads back from is another site, and so is the way here.
    pub(super) fn bind(
        &self,
        binding: &[u8; BINDING_BYTES],
        age: Duration,
        spec: &SessionCookie,
    ) -> Option<HeaderValue> {
        let same_site = if spec.same_site == SameSite::None { SameSite::None } else { SameSite::Lax };
        let value = BASE64_URL_SAFE_NO_PAD.encode(binding);
        self.set(&self.login, &value, age, same_site, spec.domain.as_deref())
    }

    /// What a browser shall forget when people log out.
    pub(super) fn forget_all(&self, shown: &HeaderMap, spec: &SessionCookie) -> Vec<HeaderValue> {
        let further = (1..MAX_COOKIES).map(|at| self.name(at)).filter(|name| is_there(shown, name));
        let names = [self.name(0), self.login.clone()].into_iter().chain(further);
        names.filter_map(|name| self.forget(&name, spec)).collect()
    }

    fn forget(&self, name: &str, spec: &SessionCookie) -> Option<HeaderValue> {
        self.set(name, "", Duration::ZERO, spec.same_site, spec.domain.as_deref())
    }

    fn set(
        &self,
        name: &str,
        value: &str,
        age: Duration,
        same_site: SameSite,
        domain: Option<&str>,
    ) -> Option<HeaderValue> {
        let same_site = match same_site {
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
            SameSite::None => "None",
        };
        let mut text =
            format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}; Max-Age={}", age.as_secs());
        if self.is_secure {
            text.push_str("; Secure");
        }
        if let Some(domain) = domain {
            text.push_str("; Domain=");
            text.push_str(domain);
        }
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn name(&self, at: usize) -> Box<str> {
        if at == 0 { self.session.clone() } else { format!("{}-{at}", self.session).into() }
    }

    /// Which of a session's cookies has this name.
    fn position(&self, name: &[u8]) -> Option<usize> {
        let rest = name.strip_prefix(self.session.as_bytes())?;
        match rest {
            [] => Some(0),
            [b'-', digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')).filter(|at| *at < MAX_COOKIES),
            _ => None,
        }
    }
}

/// How many cookies a session is in, and what is in the first.
fn counted(first: &[u8]) -> Option<(usize, &[u8])> {
    let [digit @ b'1'..=b'9', b'.', rest @ ..] = first else { return None };
    let count = usize::from(digit - b'0');
    (count <= MAX_COOKIES).then_some((count, rest))
}

fn is_there(headers: &HeaderMap, wanted: &str) -> bool {
    pairs(headers).any(|(name, _)| name == wanted.as_bytes())
}

/// All cookies of a request, by name and value.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(cookie_parts)
}
