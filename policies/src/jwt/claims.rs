//! What a token claims.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use penstock_config::{ClaimPath, JwtProvider};
use serde_json::Value;

use super::fault::Fault;
use super::token::Token;

/// How far the clocks of the gateway and of a provider may be apart.
const TOLERANCE_SECONDS: f64 = 60.0;

/// What a provider's tokens have to claim.
#[derive(Debug)]
pub(crate) struct Expected {
    issuer: Option<Box<str>>,
    audiences: Box<[Box<str>]>,
}

impl Expected {
    pub(crate) fn new(provider: &JwtProvider) -> Self {
        Self { issuer: provider.issuer.clone(), audiences: provider.audiences.clone() }
    }

    /// Tokens of an issuer for a client of it.
    pub(crate) fn of_client(issuer: &str, client: &str) -> Self {
        Self { issuer: Some(issuer.into()), audiences: [client.into()].into() }
    }

    /// Whether the token claims what it has to. Does not look at its signature.
    pub(crate) fn check(&self, token: &Token, now: SystemTime) -> Result<(), Fault> {
        let claims = &token.claims;
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Fault::Issuer);
        }
        if !self.audiences.is_empty() && !self.is_meant(claims.get("aud")) {
            return Err(Fault::Audience);
        }
        check_times(claims, seconds(now))
    }

    /// Whether a token for `audience`, a text or a list of texts, is for one of those that are expected.
    fn is_meant(&self, audience: Option<&Value>) -> bool {
        let is_one = |text: &str| self.audiences.iter().any(|expected| **expected == *text);
        match audience {
            Some(Value::String(text)) => is_one(text),
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).any(is_one),
            _ => false,
        }
    }
}

impl Token {
    /// What it claims, an object.
    pub(crate) fn claims(&self) -> &Arc<Value> {
        &self.claims
    }
}

/// Numbers of seconds, which may have fractions (RFC 7519, section 2).
fn check_times(claims: &Value, now: f64) -> Result<(), Fault> {
    let time = |name| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Fault::Times),
    };
    let (expires, begins) = (time("exp")?, time("nbf")?);
    if expires.is_some_and(|expires| now >= expires + TOLERANCE_SECONDS) {
        return Err(Fault::Expired);
    }
    if begins.is_some_and(|begins| now + TOLERANCE_SECONDS < begins) {
        return Err(Fault::NotYet);
    }
    Ok(())
}

/// Seconds since the beginning of 1970, negative before.
fn seconds(time: SystemTime) -> f64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    }
}

/// The claim at `path`, through objects only.
pub(crate) fn claim<'a>(claims: &'a Value, path: &ClaimPath) -> Option<&'a Value> {
    path.names().try_fold(claims, |value, name| value.as_object()?.get(name))
}
