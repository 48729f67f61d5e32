//! AWS's token service: a role's keys for a token of an identity provider.

use secrecy::{ExposeSecret, SecretString};

use crate::context::{Context, Fetched};
use crate::error::FetchError;
use crate::http::Ask;
use crate::xml::element;

/// The role that is assumed.
pub(crate) struct Role<'a> {
    pub(crate) region: &'a str,
    pub(crate) role_arn: &'a str,
    pub(crate) session_name: &'a str,
    /// The address of the token service, where the document gives it.
    pub(crate) endpoint: Option<&'a str>,
}

/// The role's keys (`AssumeRoleWithWebIdentity`). The request is not signed: the token says who asks.
pub(crate) async fn assume(
    context: &Context,
    role: &Role<'_>,
    token: &SecretString,
) -> Result<Fetched, FetchError> {
    let named = role.endpoint.or_else(|| context.environment.get("AWS_ENDPOINT_URL_STS"));
    let url = match named {
        Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
        None => {
            // Regions of China are a cloud of their own.
            let suffix = if role.region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://sts.{}.amazonaws.com{suffix}/", role.region)
        }
    };
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role.role_arn),
        ("RoleSessionName", role.session_name),
        ("WebIdentityToken", token.expose_secret()),
    ];
    let answer = context.http.send(Ask::form(&url, &fields)).await?;
    let xml = std::str::from_utf8(&answer.body).map_err(|_| answer.malformed("is no text"))?;
    let part = |name| element(xml, name).ok_or_else(|| answer.malformed("has no keys"));
    super::keys(
        &answer,
        part("AccessKeyId")?,
        part("SecretAccessKey")?,
        Some(part("SessionToken")?),
        part("Expiration")?,
    )
}
