//! Fetching a credential once.

use futures::future::BoxFuture;
use penstock_config::TokenSource;

use crate::context::{Context, Fetched};
use crate::environment::Environment;
use crate::error::FetchError;
use crate::http::Http;
use crate::{aws, azure, gcp};

/// Fetches credentials.
pub trait Fetch: Send + Sync {
    /// Fetches one. Takes as long as its requests may; nothing is tried twice.
    ///
    /// # Errors
    /// See [`FetchError`].
    fn fetch<'a>(&'a self, source: &'a TokenSource) -> BoxFuture<'a, Result<Fetched, FetchError>>;
}

/// Fetches credentials from the services that give them out.
pub struct Fetcher(Context);

impl Fetcher {
    /// With the variables that say where this process gets its credentials.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Self(Context { http: Http::default(), environment })
    }
}

impl Fetch for Fetcher {
    fn fetch<'a>(&'a self, source: &'a TokenSource) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        let context = &self.0;
        Box::pin(async move {
            match source {
                TokenSource::AwsWebIdentity { region, role_arn, session_name, token, endpoint } => {
                    let role = aws::Role { region, role_arn, session_name, endpoint: endpoint.as_deref() };
                    let token = context.identity(token).await?;
                    aws::assume(context, &role, &token).await
                }
                TokenSource::AwsEnvironment { region } => aws::from_environment(context, region).await,
                TokenSource::Azure { tenant_id, client_id, by, scope, endpoint } => {
                    let application = azure::Application {
                        tenant_id: tenant_id.as_deref(),
                        client_id: client_id.as_deref(),
                        scope,
                        endpoint: endpoint.as_deref(),
                    };
                    azure::token(context, &application, by).await
                }
                TokenSource::Gcp { by, scope, endpoint } => {
                    gcp::token(context, by, scope, endpoint.as_deref()).await
                }
            }
        })
    }
}
