//! Assertions of Google's service accounts: JWTs that are signed with the account's key (RS256, RFC 7523).

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::{Deserialize, de::DeserializeOwned};

use super::now_s;
use crate::credentials::ServiceAccount;

/// Longest time between `iat` and `exp`.
const MAX_LIFETIME_S: u64 = 3600;
/// By how much clocks may differ.
const SKEW_S: u64 = 300;

/// What an assertion says.
#[derive(Deserialize)]
pub(super) struct Assertion {
    pub(super) iss: String,
    pub(super) scope: Option<String>,
    aud: String,
    iat: u64,
    exp: u64,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// Why an assertion is refused, in Google's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Invalid JWT: Failed to parse the token.")]
    Form,
    #[error("Invalid grant: account not found")]
    Account,
    #[error("Invalid JWT Signature.")]
    Signature,
    #[error("Invalid JWT: Failed audience check.")]
    Audience,
    #[error(
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp \
         values in the JWT claim."
    )]
    Time,
}

/// Verifies an assertion that is made for one of `audiences`.
pub(super) fn verify(
    text: &str,
    accounts: &[ServiceAccount],
    audiences: &[&str],
) -> Result<Assertion, Refusal> {
    let (signed, signature) = text.rsplit_once('.').ok_or(Refusal::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(Refusal::Form)?;
    if part::<Header>(header)?.alg != "RS256" {
        return Err(Refusal::Form);
    }
    let assertion: Assertion = part(claims)?;
    let account = accounts.iter().find(|account| account.client_email == assertion.iss);
    let key = account.and_then(ServiceAccount::key).ok_or(Refusal::Account)?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Signature)?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| Refusal::Signature)?;
    if !audiences.contains(&assertion.aud.as_str()) {
        return Err(Refusal::Audience);
    }
    let now = now_s();
    let is_short = assertion.exp > assertion.iat && assertion.exp - assertion.iat <= MAX_LIFETIME_S;
    if !is_short || assertion.iat > now + SKEW_S || assertion.exp <= now {
        return Err(Refusal::Time);
    }
    Ok(assertion)
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, Refusal> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::Form)?;
    serde_json::from_slice(&json).map_err(|_| Refusal::Form)
}
