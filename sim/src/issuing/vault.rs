//! What is issued: tokens that carry their expiry and a signature, and a list of them.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::credentials::Credentials;

/// Most tokens that are listed; older ones are valid all the same.
const LISTED: usize = 10_000;
/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A session of AWS; the subject is its access key.
    AwsSession,
    /// The instance metadata service's own token.
    InstanceMetadata,
    Google,
    /// Google's, for a workload that is not of Google's.
    GoogleFederated,
    Azure,
    /// Of the OpenID Connect issuer.
    Oidc,
}

impl Kind {
    /// How such a token begins.
    fn prefix(self) -> &'static str {
        match self {
            Self::AwsSession => "IQoJb3JpZ2luX2Vj",
            Self::InstanceMetadata => "AQAEA",
            Self::Google => "ya29.c.",
            Self::GoogleFederated => "ya29.d.",
            Self::Azure | Self::Oidc => "",
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    kind: Kind,
    pub(crate) sub: String,
    pub(crate) aud: String,
    iat: u64,
    pub(crate) exp: u64,
    /// When it was issued, in microseconds since 1970, and a number: no two tokens are equal.
    at_us: u64,
    jti: u64,
}

/// A token that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// `aws_session`, `instance_metadata`, `google`, `google_federated`, `azure` or `oidc`.
    pub kind: String,
    /// Who it stands for: an access key, an account, an application.
    pub subject: String,
    /// What it is for, as far as it was asked: a role, scopes, an audience.
    pub audience: String,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

/// A token as its service hands it out.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) expires_s: u64,
    pub(super) lifetime_s: u64,
}

impl Token {
    /// When it ends, as `2026-01-31T12:00:00Z`.
    pub(super) fn expiry(&self) -> String {
        timestamp(self.expires_s)
    }
}

/// Temporary credentials of AWS.
pub(super) struct Session {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) token: Token,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// It was not issued here, or is for something else.
    Unknown,
    /// Its time is over, or it was revoked.
    Expired,
}

/// The credentials that are known, and what was issued.
#[derive(Debug)]
pub(crate) struct Vault {
    pub(crate) known: Credentials,
    key: hmac::Key,
    number: AtomicU64,
    revoked_us: AtomicU64,
    issued: Mutex<VecDeque<Issued>>,
}

impl Vault {
    pub(crate) fn new(known: Credentials) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, known.secret.as_bytes()),
            known,
            number: AtomicU64::new(0),
            revoked_us: AtomicU64::new(0),
            issued: Mutex::new(VecDeque::new()),
        }
    }

    /// Issues a token; `most_s` bounds how long it is valid.
    pub(super) fn issue(&self, kind: Kind, sub: &str, aud: &str, most_s: u64) -> Token {
        let lifetime_s = self.known.lifetime_s.min(most_s);
        let now = since_1970();
        let claims = Claims {
            kind,
            sub: sub.to_owned(),
            aud: aud.to_owned(),
            iat: now.as_secs(),
            exp: now.as_secs() + lifetime_s,
            at_us: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
            jti: self.number.fetch_add(1, Ordering::Relaxed),
        };
        // A struct of texts and numbers is always JSON.
        let payload = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{HEADER}.{}", BASE64_URL_SAFE_NO_PAD.encode(payload));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        self.list(&claims);
        Token { text: format!("{}{signed}.{signature}", kind.prefix()), expires_s: claims.exp, lifetime_s }
    }

    /// Issues a session of AWS for a role.
    pub(super) fn issue_session(&self, role: &str, most_s: u64) -> Session {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let seed = format!("session {number} {}", since_1970().as_nanos());
        let digest = hmac::sign(&self.key, seed.as_bytes());
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let tail = digest.as_ref().iter().take(16).map(|byte| letters[usize::from(byte % 32)] as char);
        let access_key_id: String = "ASIA".chars().chain(tail).collect();
        Session {
            secret_access_key: self.session_secret(&access_key_id),
            token: self.issue(Kind::AwsSession, &access_key_id, role, most_s),
            access_key_id,
        }
    }

    /// The secret key of a session, which is known by its access key.
    pub(crate) fn session_secret(&self, access_key_id: &str) -> String {
        let digest = hmac::sign(&self.key, format!("secret of {access_key_id}").as_bytes());
        BASE64_STANDARD.encode(&digest.as_ref()[..30])
    }

    /// What a token says that was issued for one of `kinds`, here or by a server with the same secret.
    pub(crate) fn verify(&self, kinds: &[Kind], text: &str) -> Result<Claims, Invalid> {
        let claims = kinds
            .iter()
            .find_map(|kind| self.read(text.strip_prefix(kind.prefix())?).filter(|of| of.kind == *kind))
            .ok_or(Invalid::Unknown)?;
        let is_revoked = claims.at_us <= self.revoked_us.load(Ordering::Relaxed);
        if is_revoked || claims.exp <= now_s() { Err(Invalid::Expired) } else { Ok(claims) }
    }

    /// Whom an identity token stands for.
    pub(super) fn identity(&self, text: &str) -> Result<String, Invalid> {
        if self.known.identity_tokens.iter().any(|known| known.trim() == text) {
            return Ok("system:serviceaccount:default:gateway".to_owned());
        }
        self.verify(&[Kind::Oidc], text).map(|claims| claims.sub)
    }

    /// Takes no token any more that was issued until now.
    pub(crate) fn revoke(&self) {
        let now = u64::try_from(since_1970().as_micros()).unwrap_or(u64::MAX);
        self.revoked_us.store(now, Ordering::Relaxed);
    }

    /// What was issued here, oldest first.
    pub(crate) fn issued(&self) -> Vec<Issued> {
        self.issued.lock().iter().cloned().collect()
    }

    fn read(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).ok()?;
        let payload = signed.strip_prefix(HEADER)?.strip_prefix('.')?;
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    fn list(&self, claims: &Claims) {
        let kind = serde_json::to_value(claims.kind).ok();
        let issued = Issued {
            kind: kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default().to_owned(),
            subject: claims.sub.clone(),
            audience: claims.aud.clone(),
            expires: claims.exp,
        };
        let mut list = self.issued.lock();
        if list.len() == LISTED {
            list.pop_front();
        }
        list.push_back(issued);
    }
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    since_1970().as_secs()
}

/// `2026-01-31T12:00:00Z` for seconds since 1970.
pub(super) fn timestamp(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(secret: &str) -> Vault {
        Vault::new(Credentials { secret: secret.to_owned(), ..Credentials::default() })
    }

    #[test]
    fn a_token_is_taken_by_servers_of_the_same_secret_for_what_it_was_issued_for() {
        let token = vault("a").issue(Kind::Google, "me", "scope", u64::MAX).text;
        assert_eq!(vault("a").verify(&[Kind::Azure, Kind::Google], &token).unwrap().sub, "me");
        assert_eq!(vault("b").verify(&[Kind::Google], &token), Err(Invalid::Unknown));
        assert_eq!(vault("a").verify(&[Kind::GoogleFederated], &token), Err(Invalid::Unknown));
        assert_eq!(vault("a").verify(&[Kind::Google], &token[..token.len() - 2]), Err(Invalid::Unknown));
    }

    #[test]
    fn a_token_ends() {
        let vault = vault("a");
        let token = vault.issue(Kind::Azure, "me", "", 0).text;
        assert_eq!(vault.verify(&[Kind::Azure], &token), Err(Invalid::Expired));
        let token = vault.issue(Kind::Azure, "me", "", 60).text;
        assert!(vault.verify(&[Kind::Azure], &token).is_ok());
        vault.revoke();
        assert_eq!(vault.verify(&[Kind::Azure], &token), Err(Invalid::Expired));
    }
}
