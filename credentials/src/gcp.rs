//! Tokens of Google Cloud.

mod exchange;
mod file;
mod service_account;

use std::path::Path;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use penstock_config::GcpIdentity;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use exchange::Exchange;

use crate::context::{ASSUMED_LIFETIME, Context, Fetched};
use crate::error::FetchError;
use crate::http::{Answer, Ask};
use crate::secret::{self, Secret};

/// Where the metadata server is, unless the document or `GCE_METADATA_HOST` says otherwise.
const METADATA: &str = "metadata.google.internal";

/// What tokens of the metadata server are for if nothing is asked.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

const METADATA_FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");

#[derive(Deserialize)]
struct Issued {
    #[serde(deserialize_with = "secret::text")]
    access_token: SecretString,
    expires_in: Option<u64>,
}

/// A token for `scope`. `endpoint` is where the document says that it comes from.
pub(crate) async fn token(
    context: &Context,
    by: &GcpIdentity,
    scope: &str,
    endpoint: Option<&str>,
) -> Result<Fetched, FetchError> {
    match by {
        GcpIdentity::File { path, is_local } => file::token(context, path, *is_local, scope, endpoint).await,
        GcpIdentity::WorkloadIdentity { audience, token, service_account, sts_endpoint, iam_endpoint } => {
            let subject = context.identity(token).await?;
            let impersonation = service_account.as_ref().map(|account| {
                format!("{iam_endpoint}/v1/projects/-/serviceAccounts/{account}:generateAccessToken")
            });
            let exchange = Exchange {
                token_url: sts_endpoint,
                audience,
                subject_token_type: exchange::JWT,
                impersonation_url: impersonation.as_deref(),
                scope,
            };
            exchange.token(context, &subject).await
        }
        GcpIdentity::Environment => match context.environment.get("GOOGLE_APPLICATION_CREDENTIALS") {
            Some(path) => file::token(context, Path::new(path), true, scope, None).await,
            None => of_metadata(context, scope, endpoint).await,
        },
    }
}

async fn of_metadata(context: &Context, scope: &str, endpoint: Option<&str>) -> Result<Fetched, FetchError> {
    let host = context.environment.get("GCE_METADATA_HOST").unwrap_or(METADATA);
    let base = endpoint.map_or_else(|| format!("http://{host}"), str::to_owned);
    let mut url = format!("{base}/computeMetadata/v1/instance/service-accounts/default/token");
    if scope != CLOUD_PLATFORM {
        url.push_str("?scopes=");
        url.extend(form_urlencoded::byte_serialize(scope.as_bytes()));
    }
    let ask = Ask::get(&url).local().header(METADATA_FLAVOR, HeaderValue::from_static("Google"));
    fetched(&context.http.send(ask).await?)
}

/// The token of an answer in OAuth's form.
fn fetched(answer: &Answer) -> Result<Fetched, FetchError> {
    let Issued { access_token, expires_in } = answer.json()?;
    of(answer, &access_token, expires_in.map_or(ASSUMED_LIFETIME, Duration::from_secs))
}

fn of(answer: &Answer, token: &SecretString, lifetime: Duration) -> Result<Fetched, FetchError> {
    let secret = Secret::bearer(token.expose_secret()).ok_or_else(|| answer.malformed("has no token"))?;
    if lifetime.is_zero() {
        return Err(answer.malformed("has a token that has expired"));
    }
    Ok(Fetched { secret, lifetime: Some(lifetime) })
}
