//! Tokens of Microsoft Entra ID.

use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use penstock_config::AzureIdentity;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::context::{ASSUMED_LIFETIME, Context, Fetched};
use crate::error::FetchError;
use crate::files;
use crate::http::{Answer, Ask};
use crate::secret::{self, Secret};

/// Where Entra ID is, unless the document or `AZURE_AUTHORITY_HOST` says otherwise.
const AUTHORITY: &str = "https://login.microsoftonline.com";

/// Where a machine's managed identity is.
const MANAGED: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// The kind of assertion that a federated token is (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const METADATA: HeaderName = HeaderName::from_static("metadata");
const X_IDENTITY_HEADER: HeaderName = HeaderName::from_static("x-identity-header");

/// Whose token is asked for, as the document has it.
pub(crate) struct Application<'a> {
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) client_id: Option<&'a str>,
    pub(crate) scope: &'a str,
    /// The address of Entra ID.
    pub(crate) endpoint: Option<&'a str>,
}

#[derive(Deserialize)]
struct Issued {
    #[serde(deserialize_with = "secret::text")]
    access_token: SecretString,
    /// A number, or a text from the services of managed identities.
    #[serde(default)]
    expires_in: Value,
}

/// A token of the application.
pub(crate) async fn token(
    context: &Context,
    application: &Application<'_>,
    by: &AzureIdentity,
) -> Result<Fetched, FetchError> {
    let variable = |name| context.environment.get(name);
    match by {
        AzureIdentity::Secret(file) => {
            let secret = files::read(file).await?;
            ask(context, application, &[("client_secret", secret.expose_secret())]).await
        }
        AzureIdentity::Token(token) => {
            let token = context.identity(token).await?;
            asserted(context, application, &token).await
        }
        AzureIdentity::Environment => {
            let application = Application {
                tenant_id: application.tenant_id.or_else(|| variable("AZURE_TENANT_ID")),
                client_id: application.client_id.or_else(|| variable("AZURE_CLIENT_ID")),
                ..*application
            };
            match (variable("AZURE_CLIENT_SECRET"), variable("AZURE_FEDERATED_TOKEN_FILE")) {
                (Some(secret), _) => ask(context, &application, &[("client_secret", secret)]).await,
                (None, Some(file)) => {
                    let token = files::read(file.as_ref()).await?;
                    asserted(context, &application, &token).await
                }
                (None, None) => managed(context, &application).await,
            }
        }
    }
}

async fn asserted(
    context: &Context,
    application: &Application<'_>,
    token: &SecretString,
) -> Result<Fetched, FetchError> {
    let assertion = [("client_assertion_type", JWT_BEARER), ("client_assertion", token.expose_secret())];
    ask(context, application, &assertion).await
}

/// Asks Entra ID, with what shows that it is the application that asks.
async fn ask(
    context: &Context,
    application: &Application<'_>,
    shown: &[(&str, &str)],
) -> Result<Fetched, FetchError> {
    let (Some(tenant), Some(client)) = (application.tenant_id, application.client_id) else {
        return Err(FetchError::Nowhere(
            "tenant and application are missing: set AZURE_TENANT_ID and AZURE_CLIENT_ID, or tenantId and clientId",
        ));
    };
    let authority = application.endpoint.or_else(|| context.environment.get("AZURE_AUTHORITY_HOST"));
    let authority = authority.unwrap_or(AUTHORITY).trim_end_matches('/');
    let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
    let fields = [("client_id", client), ("scope", application.scope), ("grant_type", "client_credentials")];
    let answer = context.http.send(Ask::form(&url, &[&fields, shown].concat())).await?;
    fetched(&answer)
}

/// Asks for the token of the machine's, or the app service's, identity.
async fn managed(context: &Context, application: &Application<'_>) -> Result<Fetched, FetchError> {
    let variable = |name| context.environment.get(name);
    let resource = application.scope.strip_suffix("/.default").unwrap_or(application.scope);
    let (service, version, shown) = match (variable("IDENTITY_ENDPOINT"), variable("IDENTITY_HEADER")) {
        (Some(service), Some(header)) => {
            let mut value = HeaderValue::from_str(header)
                .map_err(|_| FetchError::Nowhere("IDENTITY_HEADER cannot stand in a header"))?;
            value.set_sensitive(true);
            (service, "2019-08-01", (X_IDENTITY_HEADER, value))
        }
        _ => (MANAGED, "2018-02-01", (METADATA, HeaderValue::from_static("true"))),
    };
    let url = format!("{service}?{}", query(version, resource, application.client_id));
    let answer = context.http.send(Ask::get(&url).local().header(shown.0, shown.1)).await?;
    fetched(&answer)
}

fn query(version: &str, resource: &str, client_id: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("api-version", version).append_pair("resource", resource);
    query.extend_pairs(client_id.map(|id| ("client_id", id)));
    query.finish()
}

fn fetched(answer: &Answer) -> Result<Fetched, FetchError> {
    let Issued { access_token, expires_in } = answer.json()?;
    let secret = Secret::bearer(access_token.expose_secret());
    let seconds = expires_in.as_u64().or_else(|| expires_in.as_str()?.parse().ok());
    let lifetime = seconds.map_or(ASSUMED_LIFETIME, Duration::from_secs);
    if lifetime.is_zero() {
        return Err(answer.malformed("has a token that has expired"));
    }
    Ok(Fetched { secret: secret.ok_or_else(|| answer.malformed("has no token"))?, lifetime: Some(lifetime) })
}
