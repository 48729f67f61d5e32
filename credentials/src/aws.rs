//! Keys of AWS: lent for a token, by a container's or an instance's services, or in a file.

mod container;
mod instance;
mod sts;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub(crate) use sts::{Role, assume};

use crate::aws_keys::AwsKeys;
use crate::context::{Context, Fetched, lifetime};
use crate::error::FetchError;
use crate::files;
use crate::http::Answer;
use crate::secret::{self, Secret};

/// Keys as the services of containers and instances give them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    #[serde(deserialize_with = "secret::text")]
    secret_access_key: SecretString,
    #[serde(default, deserialize_with = "secret::optional")]
    token: Option<SecretString>,
    expiration: String,
}

/// Keys from where AWS's tools find them, in their order: variables, a web identity that variables name, the container's
/// service, the instance's. The first that is configured is the one that counts: if it fails, the others are not asked,
/// since they would give keys of somebody else.
pub(crate) async fn from_environment(context: &Context, region: &str) -> Result<Fetched, FetchError> {
    let variable = |name| context.environment.get(name);
    if let (Some(id), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        let keys = AwsKeys::new(id, secret, variable("AWS_SESSION_TOKEN"));
        let keys = keys.ok_or(FetchError::Nowhere(
            "AWS_ACCESS_KEY_ID and the like are no keys: expected printable ASCII",
        ))?;
        return Ok(Fetched { secret: Secret::Aws(keys), lifetime: None });
    }
    if let (Some(file), Some(role_arn)) = (variable("AWS_WEB_IDENTITY_TOKEN_FILE"), variable("AWS_ROLE_ARN"))
    {
        let session_name = variable("AWS_ROLE_SESSION_NAME").unwrap_or("penstock");
        let role = Role { region, role_arn, session_name, endpoint: None };
        let token = files::read(file.as_ref()).await?;
        return assume(context, &role, &token).await;
    }
    match container::keys(context).await? {
        Some(fetched) => Ok(fetched),
        None => instance::keys(context).await,
    }
}

impl Given {
    /// The keys, for as long as they are valid.
    fn into_fetched(self, answer: &Answer) -> Result<Fetched, FetchError> {
        let token = self.token.as_ref().map(ExposeSecret::expose_secret);
        keys(answer, &self.access_key_id, self.secret_access_key.expose_secret(), token, &self.expiration)
    }
}

/// Keys of an answer.
fn keys(
    answer: &Answer,
    id: &str,
    secret: &str,
    token: Option<&str>,
    expiration: &str,
) -> Result<Fetched, FetchError> {
    let keys = AwsKeys::new(id, secret, token).ok_or_else(|| answer.malformed("has no keys"))?;
    let lifetime = lifetime(expiration).ok_or_else(|| answer.malformed("does not say until when"))?;
    if lifetime.is_zero() {
        return Err(answer.malformed("has keys that have expired"));
    }
    Ok(Fetched { secret: Secret::Aws(keys), lifetime: Some(lifetime) })
}
