//! Logging in at an identity provider as a client (RFC 6749, 4.4; OpenID Connect Discovery 1.0).

use std::net::IpAddr;

use ::http::{StatusCode, Uri};
use penstock_config::{OidcClient, OidcProvider};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::error::FetchError;
use crate::files;
use crate::http::{Ask, Http};
use crate::secret;

#[derive(Deserialize)]
struct Discovered {
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Issued {
    #[serde(deserialize_with = "secret::text")]
    access_token: SecretString,
}

/// The token that the provider gives the client.
///
/// The client's secret is shown in `Authorization`, as every provider has to understand (RFC 6749, 2.3.1); those that do
/// not are shown it in the form.
pub(crate) async fn token(http: &Http, client: &OidcClient) -> Result<SecretString, FetchError> {
    let discovered;
    let endpoint = match &client.provider {
        OidcProvider::TokenEndpoint(endpoint) => &**endpoint,
        OidcProvider::Issuer(issuer) => {
            discovered = discover(http, issuer).await?;
            &*discovered
        }
    };
    let secret = files::read(&client.client_secret).await?;
    let scopes = client.scopes.join(" ");
    let fields = [
        ("grant_type", &*client.grant_type),
        ("scope", &*scopes),
        ("audience", client.audience.as_deref().unwrap_or_default()),
    ];
    let ask = Ask::form(endpoint, &fields).of_client(&client.client_id, secret.expose_secret())?;
    let answer = match http.send(ask).await {
        Err(FetchError::Refused { status: StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, .. }) => {
            let own = [("client_id", &*client.client_id), ("client_secret", secret.expose_secret())];
            http.send(Ask::form(endpoint, &[&fields[..], &own].concat())).await?
        }
        answered => answered?,
    };
    let Issued { access_token } = answer.json()?;
    if access_token.expose_secret().is_empty() {
        return Err(answer.malformed("has no token"));
    }
    Ok(access_token)
}

/// The token endpoint of an issuer. It is not to be one without TLS where the issuer has that.
async fn discover(http: &Http, issuer: &str) -> Result<String, FetchError> {
    let answer = http.send(Ask::get(&format!("{issuer}/.well-known/openid-configuration"))).await?;
    let Discovered { token_endpoint } = answer.json()?;
    let is_sound = token_endpoint.starts_with("https://")
        || token_endpoint.starts_with("http://") && issuer.starts_with("http://");
    // Only an issuer on this machine may name something on it.
    if is_sound && (!is_own(&token_endpoint) || is_own(issuer)) {
        Ok(token_endpoint)
    } else {
        Err(answer.malformed("names no token endpoint with TLS"))
    }
}

/// Whether an address is one of this machine's.
fn is_own(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host =
        uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let is_ip = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.to_canonical().is_unspecified();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_ip)
}
