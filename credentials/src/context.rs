//! What sources of credentials work with, and what they give.

use std::time::{Duration, SystemTime};

use penstock_config::IdentityToken;
use secrecy::SecretString;

use crate::environment::Environment;
use crate::error::FetchError;
use crate::http::Http;
use crate::secret::Secret;
use crate::{files, oidc};

/// How long a token is taken to last whose service does not say.
pub(crate) const ASSUMED_LIFETIME: Duration = Duration::from_secs(300);

/// A credential that was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// What is shown.
    pub secret: Secret,
    /// How long from now it is valid. `None`: as long as the process runs.
    pub lifetime: Option<Duration>,
}

/// How services are asked, and what the process was told of them.
pub(crate) struct Context {
    pub(crate) http: Http,
    pub(crate) environment: Environment,
}

impl Context {
    /// A token of an identity provider.
    pub(crate) async fn identity(&self, token: &IdentityToken) -> Result<SecretString, FetchError> {
        match token {
            IdentityToken::File(file) => files::read(file).await,
            IdentityToken::Oidc(client) => oidc::token(&self.http, client).await,
        }
    }
}

/// How long it is until a time in RFC 3339; nothing if it is past.
pub(crate) fn lifetime(until: &str) -> Option<Duration> {
    let until = humantime::parse_rfc3339(until).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}
