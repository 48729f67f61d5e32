//! Google's files of credentials.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use ::http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::exchange::Exchange;
use super::fetched;
use super::service_account::ServiceAccount;
use crate::context::{Context, Fetched};
use crate::error::{FetchError, FileFault};
use crate::files;
use crate::http::Ask;
use crate::secret;

/// Where tokens are, if the file does not say.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// The grant by which a service account asks (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(ExternalAccount),
}

/// What `gcloud auth application-default login` leaves behind.
#[derive(Deserialize)]
struct AuthorizedUser {
    client_id: String,
    #[serde(deserialize_with = "secret::text")]
    client_secret: SecretString,
    #[serde(deserialize_with = "secret::text")]
    refresh_token: SecretString,
    token_uri: Option<String>,
}

/// Workload identity federation, as `gcloud iam workload-identity-pools create-cred-config` writes it.
#[derive(Deserialize)]
struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: CredentialSource,
}

/// Where the token of the other identity provider is.
#[derive(Deserialize)]
struct CredentialSource {
    file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    format: Format,
}

#[derive(Default, Deserialize)]
struct Format {
    /// The member of a JSON object that has the token; without, the whole text is the token.
    subject_token_field_name: Option<String>,
}

/// A token by the file at `path`; `endpoint` takes the place of the token endpoint that it names.
pub(super) async fn token(
    context: &Context,
    path: &Path,
    is_local: bool,
    scope: &str,
    endpoint: Option<&str>,
) -> Result<Fetched, FetchError> {
    let text = files::read(path).await?;
    let fault = |fault| FetchError::File { path: path.to_owned(), fault };
    // What the parser says could quote the file.
    let file = serde_json::from_str(text.expose_secret()).map_err(|_| {
        fault(FileFault::Content(
            "not a credential of Google's: expected JSON of type service_account, authorized_user or external_account",
        ))
    })?;
    match file {
        File::ServiceAccount(account) => {
            let audience = account.token_uri.as_deref().unwrap_or(TOKEN_URI);
            let assertion = account.assertion(audience, scope, SystemTime::now()).map_err(fault)?;
            let fields = [("grant_type", JWT_BEARER), ("assertion", assertion.expose_secret())];
            fetched(&context.http.send(Ask::form(endpoint.unwrap_or(audience), &fields)).await?)
        }
        File::AuthorizedUser(user) => {
            let url = endpoint.or(user.token_uri.as_deref()).unwrap_or(TOKEN_URI);
            let fields = [
                ("grant_type", "refresh_token"),
                ("client_id", &*user.client_id),
                ("client_secret", user.client_secret.expose_secret()),
                ("refresh_token", user.refresh_token.expose_secret()),
            ];
            fetched(&context.http.send(Ask::form(url, &fields)).await?)
        }
        File::ExternalAccount(account) => {
            if !is_local {
                return Err(fault(FileFault::Content(
                    "an external_account names files and addresses of this machine, which a Secret may not: use \
                     gcp.workloadIdentity",
                )));
            }
            let subject = subject(context, &account.credential_source).await?;
            let subject = subject.ok_or_else(|| {
                fault(FileFault::Content(
                    "its credential_source has no token: expected a file or url with one",
                ))
            })?;
            let exchange = Exchange {
                token_url: endpoint.unwrap_or(&account.token_url),
                audience: &account.audience,
                subject_token_type: &account.subject_token_type,
                impersonation_url: account.service_account_impersonation_url.as_deref(),
                scope,
            };
            exchange.token(context, &subject).await
        }
    }
}

/// The token of the other identity provider; `None` if it is not there.
async fn subject(context: &Context, source: &CredentialSource) -> Result<Option<SecretString>, FetchError> {
    let text = match (&source.file, &source.url) {
        (Some(file), _) => files::read(file.as_ref()).await?,
        (None, Some(url)) => {
            let mut ask = Ask::get(url).local();
            for (name, value) in &source.headers {
                let (Ok(name), Ok(mut value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value))
                else {
                    continue;
                };
                value.set_sensitive(true);
                ask = ask.header(name, value);
            }
            let answer = context.http.send(ask).await?;
            let text = std::str::from_utf8(&answer.body).map_err(|_| answer.malformed("is no text"))?;
            SecretString::from(text.trim())
        }
        (None, None) => return Ok(None),
    };
    let Some(field) = &source.format.subject_token_field_name else { return Ok(Some(text)) };
    let value: Option<Value> = serde_json::from_str(text.expose_secret()).ok();
    Ok(value.and_then(|value| value[field].as_str().map(SecretString::from)))
}
