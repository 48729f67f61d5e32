//! Workload identity federation: a token of another identity provider for one of Google's (RFC 8693), which may then stand
//! in for a service account.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{CLOUD_PLATFORM, Issued, fetched, of};
use crate::context::{Context, Fetched, lifetime};
use crate::error::FetchError;
use crate::http::Ask;
use crate::secret;

/// What the tokens of most providers are.
pub(super) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What is exchanged where.
pub(super) struct Exchange<'a> {
    pub(super) token_url: &'a str,
    /// The provider, as Google names it.
    pub(super) audience: &'a str,
    pub(super) subject_token_type: &'a str,
    /// Where a service account's token is asked for with the federated one.
    pub(super) impersonation_url: Option<&'a str>,
    pub(super) scope: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    #[serde(deserialize_with = "secret::text")]
    access_token: SecretString,
    expire_time: String,
}

impl Exchange<'_> {
    /// The token for `subject`.
    pub(super) async fn token(
        &self,
        context: &Context,
        subject: &SecretString,
    ) -> Result<Fetched, FetchError> {
        // The federated token only asks for the other one, whatever that is for.
        let scope = if self.impersonation_url.is_some() { CLOUD_PLATFORM } else { self.scope };
        let fields = [
            ("grant_type", TOKEN_EXCHANGE),
            ("audience", self.audience),
            ("scope", scope),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", subject.expose_secret()),
            ("subject_token_type", self.subject_token_type),
        ];
        let answer = context.http.send(Ask::form(self.token_url, &fields)).await?;
        let Some(url) = self.impersonation_url else { return fetched(&answer) };
        let Issued { access_token, .. } = answer.json()?;
        let ask = Ask::json(url, &json!({ "scope": [self.scope] }));
        let ask = ask.authorized(&format!("Bearer {}", access_token.expose_secret()))?;
        let answer = context.http.send(ask).await?;
        let Impersonated { access_token, expire_time } = answer.json()?;
        let lifetime = lifetime(&expire_time).ok_or_else(|| answer.malformed("does not say until when"))?;
        of(&answer, &access_token, lifetime)
    }
}
