//! Tokens of identity providers, which the data plane gets as their client.

use penstock_config::raw::{RawOidcClient, RawToken};

use super::reading::{Reading, is_there, word};
use crate::api::Oidc;
use crate::context::RefError;
use crate::hosts;
use crate::world::shorten;

/// The key of a Secret that has a client's secret.
pub(super) const CLIENT_SECRET: &str = "client-secret";

/// The key of a Secret that has a client's name.
const CLIENT_ID: &str = "client-id";

/// The only grant without a user.
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// A token that is asked for.
pub(super) struct TokenRequest<'s> {
    /// Of whom, and as whom.
    pub(super) oidc: &'s Oidc,
    /// By what grant.
    pub(super) grant_type: Option<&'s str>,
    /// Whom it is for.
    pub(super) audience: Option<&'s str>,
}

/// A token.
///
/// # Errors
/// The client's secret is not there, or something about the provider is missing or not supported.
pub(super) fn token(reading: &mut Reading<'_, '_>, request: &TokenRequest<'_>) -> Result<RawToken, RefError> {
    let Oidc { provider, client_id, client_id_ref, client_secret, scopes } = request.oidc;
    if let Some(grant) = request.grant_type.filter(|grant| !matches!(*grant, "" | CLIENT_CREDENTIALS)) {
        let message = format!("grantType {:?} is not supported: {CLIENT_CREDENTIALS} is", shorten(grant, 80));
        return Err(RefError::new("NotSupported", message));
    }
    // Named, the token endpoint stands in for what the issuer would say.
    let endpoint = provider.token_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let token_endpoint = endpoint.map(|it| address(reading, "tokenEndpoint", it)).transpose()?;
    let issuer = match token_endpoint {
        Some(_) => None,
        None => Some(address(reading, "issuer", &provider.issuer)?),
    };
    let client_id = match (client_id, client_id_ref) {
        (Some(id), None) => word("clientID", id)?,
        (None, Some(reference)) => reading.text(reference, CLIENT_ID)?,
        _ => return Err(RefError::new("Invalid", "oidc needs one of clientID and clientIDRef")),
    };
    let scopes: Result<Vec<String>, RefError> = scopes.iter().map(|scope| word("scopes", scope)).collect();
    let audience = request.audience.filter(|audience| !audience.is_empty());
    let client = RawOidcClient {
        issuer,
        token_endpoint,
        client_id,
        client_secret: reading.file(client_secret, CLIENT_SECRET, is_there)?,
        scopes: scopes?,
        audience: audience.map(|audience| word("aud", audience)).transpose()?,
        grant_type: None,
    };
    Ok(RawToken { oidc: Some(client), ..RawToken::default() })
}

/// The address of something that tokens are asked of. The data plane's own host is none, as with Backends.
fn address(reading: &Reading<'_, '_>, field: &str, text: &str) -> Result<String, RefError> {
    let text = word(field, text)?;
    hosts::check_address(&text, reading.context.options.allow_loopback)
        .map_err(|why| RefError::new("Invalid", format!("{field} {:?} {why}", shorten(&text, 80))))?;
    Ok(text)
}
