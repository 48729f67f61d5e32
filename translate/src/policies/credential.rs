//! Credentials: what a BackendSecurityPolicy makes of Secrets, identity providers and the data plane's own identity.

mod aws;
mod azure;
mod gcp;
mod oidc;
mod overriding;
mod reading;

use penstock_config::raw::RawCredential;

use crate::api::{ApiKey, BackendSecurityPolicy};
use crate::context::{Context, RefError, Secrets};
use crate::upstream::Grant;
use crate::world::{Key, Kind, ObjectId};

use reading::Reading;

/// The key of a Secret that has an API key.
const API_KEY: &str = "apiKey";

/// What a policy grants its targets.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    /// The credential, as documents have it.
    pub(crate) raw: RawCredential,
    /// What it names.
    pub(crate) secrets: Secrets,
    /// Where models of Google Cloud are, which goes into paths.
    pub(crate) google: Option<GooglePlace>,
    /// Whose it is.
    pub(crate) grant: Grant,
}

/// Where models of Google Cloud are.
#[derive(Debug, Clone)]
pub(crate) struct GooglePlace {
    /// The project.
    pub(crate) project: String,
    /// The region.
    pub(crate) region: String,
}

/// The credential that a policy is about.
pub(super) fn read(
    context: &Context<'_>,
    policy: &Key,
    spec: &BackendSecurityPolicy,
) -> Result<Granted, RefError> {
    let mut reading = Reading::new(context, policy);
    let mut google = None;
    let mut raw = match spec.kind.as_str() {
        "APIKey" => key(&mut reading, spec.api_key.as_ref(), "authorization", "Bearer ")?,
        "AnthropicAPIKey" => key(&mut reading, spec.anthropic_api_key.as_ref(), "x-api-key", "")?,
        "AzureAPIKey" => key(&mut reading, spec.azure_api_key.as_ref(), "api-key", "")?,
        "AWSCredentials" => aws::read(&mut reading, section(spec.aws_credentials.as_ref())?)?,
        "AzureCredentials" => azure::read(&mut reading, section(spec.azure_credentials.as_ref())?)?,
        "GCPCredentials" => {
            let (raw, place) = gcp::read(&mut reading, section(spec.gcp_credentials.as_ref())?)?;
            google = Some(place);
            raw
        }
        other => {
            let message = format!(
                "there is no type {}: APIKey, AnthropicAPIKey, AzureAPIKey, AzureCredentials, AWSCredentials and \
                 GCPCredentials are; requests to its targets are answered with 500",
                crate::world::shorten(other, 80),
            );
            return Err(RefError::new("NotSupported", message));
        }
    };
    raw.client = spec.credential_override.as_ref().map(|it| overriding::read(&spec.kind, it)).transpose()?;
    let grant = Grant { policy: policy.clone(), is_own_identity: is_own_identity(&raw) };
    Ok(Granted { raw, secrets: reading.secrets, google, grant })
}

/// Whether a credential is that of whoever shows it: nothing in it comes from the policy, nor has to from clients.
fn is_own_identity(raw: &RawCredential) -> bool {
    let is_clients = raw.client.as_ref().is_some_and(|client| !client.fallback_to_configured);
    let is_lent = raw.aws.as_ref().is_some_and(|aws| aws.web_identity.is_some())
        || raw.azure.as_ref().is_some_and(|azure| azure.token.is_some())
        || raw.gcp.as_ref().is_some_and(|gcp| gcp.workload_identity.is_some());
    raw.file.is_none() && !is_lent && !is_clients
}

/// The section that a policy's type asks for.
fn section<T>(section: Option<&T>) -> Result<&T, RefError> {
    section.ok_or_else(|| RefError::new("Invalid", "the section for its type is missing"))
}

/// A key that stands in a header.
fn key(
    reading: &mut Reading<'_, '_>,
    spec: Option<&ApiKey>,
    header: &str,
    prefix: &str,
) -> Result<RawCredential, RefError> {
    let ApiKey { secret_ref } = section(spec)?;
    let file = reading.file(secret_ref, API_KEY, |value| {
        let value = value.trim_ascii();
        let is_text = !value.is_empty() && value.iter().all(|byte| (0x20..0x7f).contains(byte));
        is_text.then_some(()).ok_or("is not a header's value")
    })?;
    Ok(RawCredential {
        header: Some(header.to_owned()),
        prefix: Some(prefix.to_owned()),
        file: Some(file),
        ..RawCredential::default()
    })
}

/// What a policy is for, and why something that it names cannot be.
pub(super) fn targets(policy: &Key, spec: &BackendSecurityPolicy) -> (Vec<ObjectId>, Option<String>) {
    let mut refused = None;
    let mut targets = Vec::new();
    for reference in &spec.target_refs {
        let (group, kind) = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref());
        match Kind::in_group(group, kind.unwrap_or_default()) {
            Some(kind @ (Kind::AiServiceBackend | Kind::InferencePool)) => {
                targets.push(ObjectId { kind, key: Key::new(policy.namespace.as_str(), &reference.name) });
            }
            _ => {
                let kind = kind.unwrap_or_default();
                refused = Some(format!(
                    "{kind} {} cannot have a credential: AIServiceBackend and InferencePool can",
                    reference.name
                ));
            }
        }
    }
    if targets.is_empty() && refused.is_none() {
        refused = Some("the policy has no targetRefs".to_owned());
    }
    (targets, refused)
}
