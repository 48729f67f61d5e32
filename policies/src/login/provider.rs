//! What a provider says of itself (OpenID Connect Discovery 1.0), and its keys.

use serde_json::Value;

use super::address::may_name;
use crate::json;
use crate::jwt::{KeySet, KeySetError};

/// A provider, as it was discovered.
#[derive(Debug)]
pub struct Provider {
    /// As its tokens have it.
    pub(super) issuer: Box<str>,
    pub(super) authorization_endpoint: Option<Box<str>>,
    pub(super) token_endpoint: Option<Box<str>>,
    pub(super) end_session_endpoint: Option<Box<str>>,
    /// Whether clients show their secret in the form: it is no other way that they may (RFC 6749, 2.3.1).
    pub(super) wants_secret_in_form: bool,
    pub(super) keys: KeySet,
}

/// Why what was fetched is no provider's. Nothing of it is told.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It is no JSON.
    #[error("the discovery is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is of another issuer.
    #[error("the discovery is of another issuer")]
    OtherIssuer,
    /// An address in it may not be asked: it is none, has no TLS where the issuer has, or is this machine.
    #[error("the discovery's {0} is no address that may be asked")]
    Address(&'static str),
    /// It names no keys.
    #[error("the discovery has no jwks_uri")]
    NoKeys,
    /// Its keys are no key set.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// Where the keys of a provider are, by its discovery.
///
/// # Errors
/// It is none, or names none that may be asked.
pub fn keys_url(issuer: &str, discovery: &[u8]) -> Result<Box<str>, ProviderError> {
    let document = json::parse(discovery).map_err(ProviderError::NotJson)?;
    address(issuer, &document, "jwks_uri")?.ok_or(ProviderError::NoKeys)
}

impl Provider {
    /// Reads a provider's discovery and key set. `issuer` has no slash at its end.
    ///
    /// # Errors
    /// See [`ProviderError`].
    pub fn parse(issuer: &str, discovery: &[u8], keys: &[u8]) -> Result<Self, ProviderError> {
        let document = json::parse(discovery).map_err(ProviderError::NotJson)?;
        let named = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if named.trim_end_matches('/') != issuer {
            return Err(ProviderError::OtherIssuer);
        }
        let ways = document.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        let takes = |way: &str| ways.is_some_and(|ways| ways.iter().any(|one| one == way));
        Ok(Self {
            issuer: named.into(),
            authorization_endpoint: address(issuer, &document, "authorization_endpoint")?,
            token_endpoint: address(issuer, &document, "token_endpoint")?,
            end_session_endpoint: address(issuer, &document, "end_session_endpoint")?,
            wants_secret_in_form: takes("client_secret_post") && !takes("client_secret_basic"),
            keys: KeySet::parse(keys)?,
        })
    }
}

fn address(issuer: &str, document: &Value, field: &'static str) -> Result<Option<Box<str>>, ProviderError> {
    match document.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(address)) if may_name(issuer, address) => Ok(Some(address.as_str().into())),
        Some(_) => Err(ProviderError::Address(field)),
    }
}
