//! Lowering where credentials of clouds come from.

use crate::lower::file::Files;
use crate::lower::text;
use crate::raw::{RawCredential, RawOidcClient, RawToken};
use crate::report::{FieldPath, Report};
use crate::spec::{
    AzureIdentity, CredentialSource, GcpIdentity, IdentityToken, OidcClient, OidcProvider, TokenSource,
};

/// Scopes that are asked for if the document names none.
const AZURE_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const GCP_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where Google exchanges tokens and lends those of service accounts.
const GCP_STS: &str = "https://sts.googleapis.com/v1/token";
const GCP_IAM: &str = "https://iamcredentials.googleapis.com";

/// What AWS's records call our sessions.
const SESSION_NAME: &str = "penstock";

/// Keys of AWS.
pub(super) fn aws(
    raw: &RawCredential,
    needs_own: bool,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<CredentialSource> {
    let (aws, within) = (raw.aws.as_ref()?, &place.field("aws"));
    let region = aws.region.as_str().into();
    if aws.profile.is_some() && raw.file.is_none() {
        let message = "has no meaning without file, which has the profiles: give both or neither";
        report.add(&within.field("profile"), || message.to_owned());
    }
    if let Some(file) = &raw.file {
        if aws.web_identity.is_some() {
            one_of(within, "webIdentity", "file", report);
        }
        let file = files.path(file, &place.field("file"), report);
        let profile = aws.profile.as_deref().unwrap_or("default").into();
        return Some(CredentialSource::AwsFile { file, profile });
    }
    let Some(identity) = &aws.web_identity else {
        let of_environment = CredentialSource::Fetched(TokenSource::AwsEnvironment { region });
        return Some(if needs_own { of_environment } else { CredentialSource::Client });
    };
    let place = &within.field("webIdentity");
    if !identity.role_arn.starts_with("arn:")
        || !identity.role_arn.is_ascii()
        || has_space(&identity.role_arn)
    {
        let message = "is not a role: write it as \"arn:aws:iam::123456789012:role/name\"";
        report.add(&place.field("roleArn"), || message.to_owned());
    }
    let session_name = identity.session_name.as_deref().unwrap_or(SESSION_NAME);
    let is_of_name = |b: u8| b.is_ascii_alphanumeric() || b"_=,.@-".contains(&b);
    if !session_name.bytes().all(is_of_name) {
        let message = "is not a session's name: use letters, digits and any of _=,.@-";
        report.add(&place.field("sessionName"), || message.to_owned());
    }
    let endpoint = address(identity.endpoint.as_deref(), &place.field("endpoint"), report);
    Some(CredentialSource::Fetched(TokenSource::AwsWebIdentity {
        region,
        role_arn: identity.role_arn.as_str().into(),
        session_name: session_name.into(),
        token: token(&identity.token, &place.field("token"), files, report)?,
        endpoint,
    }))
}

/// A token of Microsoft's.
pub(super) fn azure(
    raw: &RawCredential,
    needs_own: bool,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<CredentialSource> {
    let (azure, within) = (raw.azure.as_ref()?, &place.field("azure"));
    let endpoint = address(azure.endpoint.as_deref(), &within.field("endpoint"), report);
    for (field, written) in [("tenantId", &azure.tenant_id), ("clientId", &azure.client_id)] {
        if let Some(written) = written
            && let Err(message) = text::region(written)
        {
            report.add(&within.field(field), || message);
        }
    }
    let by = match (&raw.file, &azure.token) {
        (Some(file), None) => AzureIdentity::Secret(files.path(file, &place.field("file"), report)),
        (Some(_), Some(_)) => {
            one_of(within, "token", "file", report);
            return None;
        }
        (None, Some(raw)) => AzureIdentity::Token(token(raw, &within.field("token"), files, report)?),
        (None, None) if !needs_own => return Some(CredentialSource::Client),
        (None, None) => AzureIdentity::Environment,
    };
    if by != AzureIdentity::Environment {
        let needed = [("tenantId", azure.tenant_id.is_some()), ("clientId", azure.client_id.is_some())];
        for (field, _) in needed.iter().filter(|(_, is_there)| !is_there) {
            let message = "is missing: a secret or token is of one tenant's application";
            report.add(&within.field(field), || message.to_owned());
        }
    }
    Some(CredentialSource::Fetched(TokenSource::Azure {
        tenant_id: azure.tenant_id.as_deref().map(Into::into),
        client_id: azure.client_id.as_deref().map(Into::into),
        by,
        scope: azure.scope.as_deref().unwrap_or(AZURE_SCOPE).into(),
        endpoint,
    }))
}

/// A token of Google's.
pub(super) fn gcp(
    raw: &RawCredential,
    needs_own: bool,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<CredentialSource> {
    let (gcp, within) = (raw.gcp.as_ref()?, &place.field("gcp"));
    let endpoint = address(gcp.endpoint.as_deref(), &within.field("endpoint"), report);
    let by = match (&raw.file, &gcp.workload_identity) {
        (Some(file), None) => {
            let path = files.path(file, &place.field("file"), report);
            GcpIdentity::File { path, is_local: !Files::is_secret(file) }
        }
        (Some(_), Some(_)) => {
            one_of(within, "workloadIdentity", "file", report);
            return None;
        }
        (None, Some(identity)) => {
            if endpoint.is_some() {
                let message = "has no meaning with workloadIdentity, which has stsEndpoint and iamEndpoint";
                report.add(&within.field("endpoint"), || message.to_owned());
            }
            let within = &within.field("workloadIdentity");
            let mut endpoint = |field, written: &Option<String>, default: &str| {
                let address = address(written.as_deref(), &within.field(field), report);
                address.unwrap_or_else(|| default.into())
            };
            let sts_endpoint = endpoint("stsEndpoint", &identity.sts_endpoint, GCP_STS);
            let iam_endpoint = endpoint("iamEndpoint", &identity.iam_endpoint, GCP_IAM);
            let is_account = |c: u8| c.is_ascii_alphanumeric() || b"@.-_".contains(&c);
            if identity.service_account.as_ref().is_some_and(|account| !account.bytes().all(is_account)) {
                let message = "is not a service account: write its e-mail address";
                report.add(&within.field("serviceAccount"), || message.to_owned());
            }
            GcpIdentity::WorkloadIdentity {
                audience: identity.audience.as_str().into(),
                token: token(&identity.token, &within.field("token"), files, report)?,
                service_account: identity.service_account.as_deref().map(Into::into),
                sts_endpoint,
                iam_endpoint,
            }
        }
        (None, None) if !needs_own => return Some(CredentialSource::Client),
        (None, None) => GcpIdentity::Environment,
    };
    let scope = gcp.scope.as_deref().unwrap_or(GCP_SCOPE).into();
    Some(CredentialSource::Fetched(TokenSource::Gcp { by, scope, endpoint }))
}

fn token(
    raw: &RawToken,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<IdentityToken> {
    match (&raw.file, &raw.oidc) {
        (Some(file), None) => Some(IdentityToken::File(files.path(file, &place.field("file"), report))),
        (None, Some(client)) => oidc(client, &place.field("oidc"), files, report).map(IdentityToken::Oidc),
        (Some(_), Some(_)) => {
            one_of(place, "oidc", "file", report);
            None
        }
        (None, None) => {
            report.add(place, || "says not where the token is from: give it file or oidc".to_owned());
            None
        }
    }
}

fn oidc(
    raw: &RawOidcClient,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<OidcClient> {
    let issuer = address(raw.issuer.as_deref(), &place.field("issuer"), report);
    let endpoint = address(raw.token_endpoint.as_deref(), &place.field("tokenEndpoint"), report);
    let client_secret = files.path(&raw.client_secret, &place.field("clientSecret"), report);
    for (index, scope) in raw.scopes.iter().enumerate() {
        if let Err(message) = text::scope(scope) {
            report.add(&place.field("scopes").index(index), || message);
        }
    }
    let provider = match (&raw.issuer, &raw.token_endpoint) {
        (Some(_), None) => OidcProvider::Issuer(issuer?),
        (None, Some(_)) => OidcProvider::TokenEndpoint(endpoint?),
        (Some(_), Some(_)) => {
            one_of(place, "tokenEndpoint", "issuer", report);
            return None;
        }
        (None, None) => {
            report
                .add(place, || "says not where the provider is: give it issuer or tokenEndpoint".to_owned());
            return None;
        }
    };
    Some(OidcClient {
        provider,
        client_id: raw.client_id.as_str().into(),
        client_secret,
        scopes: raw.scopes.iter().map(|scope| scope.as_str().into()).collect(),
        audience: raw.audience.as_deref().map(Into::into),
        grant_type: raw.grant_type.as_deref().unwrap_or("client_credentials").into(),
    })
}

/// The address of a service.
fn address(written: Option<&str>, place: &FieldPath<'_>, report: &mut Report) -> Option<Box<str>> {
    match text::service_address(written?) {
        Ok(address) => Some(address.into()),
        Err(message) => {
            report.add(place, || message);
            None
        }
    }
}

fn one_of(place: &FieldPath<'_>, field: &str, other: &str, report: &mut Report) {
    report.add(&place.field(field), || format!("stands in place of {other}: give one of the two"));
}

fn has_space(text: &str) -> bool {
    text.contains(|c: char| c.is_whitespace() || c.is_control())
}
