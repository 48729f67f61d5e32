//! Credentials: what a BackendSecurityPolicy makes of a Secret.

use penstock_config::raw::RawCredential;

use crate::api::{ApiKey, BackendSecurityPolicy};
use crate::context::{Context, RefError, Referrer, Secrets, data_file};
use crate::world::{Key, Kind, ObjectId};

/// The key of a Secret that has an API key.
const API_KEY: &str = "apiKey";

/// The credential that a policy is about.
pub(super) fn read(
    context: &Context<'_>,
    policy: &Key,
    spec: &BackendSecurityPolicy,
) -> Result<(RawCredential, Secrets), RefError> {
    let (header, prefix, key) = match spec.kind.as_str() {
        "APIKey" => ("authorization", "Bearer ", spec.api_key.as_ref()),
        "AnthropicAPIKey" => ("x-api-key", "", spec.anthropic_api_key.as_ref()),
        "AzureAPIKey" => ("api-key", "", spec.azure_api_key.as_ref()),
        other => {
            let message = format!(
                "type {other} is not supported yet: APIKey, AnthropicAPIKey and AzureAPIKey are; requests to its \
                 targets are answered with 500"
            );
            return Err(RefError::new("NotSupportedYet", message));
        }
    };
    let Some(ApiKey { secret_ref }) = key else {
        return Err(RefError::new("Invalid", format!("the section for type {} is missing", spec.kind)));
    };
    let from = Referrer::of(Kind::BackendSecurityPolicy, &policy.namespace);
    let (secret, values) = context.referred_secret(from, secret_ref, "SecretNotFound")?;
    let value = values.get(API_KEY).map(|value| value.expose().trim_ascii());
    match value {
        None => Err(RefError::new("SecretNotFound", format!("the Secret {secret} has no key {API_KEY}"))),
        Some(value) if value.is_empty() || !value.iter().all(|byte| (0x20..0x7f).contains(byte)) => {
            let message = format!("{API_KEY} of Secret {secret} is not a header's value");
            Err(RefError::new("SecretInvalid", message))
        }
        Some(_) => {
            let mut secrets = Secrets::new();
            let file = data_file(&mut secrets, "credential", Kind::Secret, &secret, API_KEY);
            let (header, prefix) = (header.to_owned(), prefix.to_owned());
            Ok((RawCredential { header, prefix, file }, secrets))
        }
    }
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
