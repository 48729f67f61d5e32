//! Who is logged in, and until when: what is sealed in the session's cookie.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most bytes of a session. Browsers would keep more in further cookies, and show them all with each request.
pub const MAX_SESSION_BYTES: usize = 13_000;

/// Who is logged in, by the provider's tokens. Shown to nobody.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// What says who it is. It was verified.
    #[serde(rename = "i")]
    pub(super) id_token: Box<str>,
    /// What upstreams are shown, if they are.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(super) access_token: Option<Box<str>>,
    /// What it is renewed with.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<Box<str>>,
    /// When it has run out, in seconds since the beginning of 1970.
    #[serde(rename = "e")]
    pub(super) expires: u64,
    /// Until when it can be renewed, in the same.
    #[serde(rename = "u", default)]
    pub(super) renewable_until: u64,
}

/// How old a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// It holds.
    Good,
    /// It has run out, and can be renewed.
    Renewable,
    /// It has run out.
    Gone,
}

impl Session {
    pub(super) fn read(plain: &[u8]) -> Option<Self> {
        serde_json::from_slice(plain).ok()
    }

    pub(super) fn written(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are always JSON")
    }

    pub(super) fn age(&self, now: u64) -> Age {
        if now < self.expires {
            Age::Good
        } else if self.refresh_token.is_some() && now < self.renewable_until {
            Age::Renewable
        } else {
            Age::Gone
        }
    }

    /// How long a browser keeps it.
    pub(super) fn kept_for(&self, now: u64) -> Duration {
        let until = match self.refresh_token {
            Some(_) => self.expires.max(self.renewable_until),
            None => self.expires,
        };
        Duration::from_secs(until.saturating_sub(now))
    }

    /// What it is renewed with, for telling renewals of the same apart from others.
    pub fn refresh_token(&self) -> Option<&str> {
        self.refresh_token.as_deref()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("expires", &self.expires).finish_non_exhaustive()
    }
}
