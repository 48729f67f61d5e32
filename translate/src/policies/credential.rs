//! Credentials: what a BackendSecurityPolicy makes of a Secret.

use penstock_config::raw::{RawAwsSigning, RawCredential};

use crate::api::{ApiKey, AwsCredentials, BackendSecurityPolicy};
use crate::context::{Context, RefError, Referrer, Secrets, data_file};
use crate::world::{Key, Kind, ObjectId};

/// The key of a Secret that has an API key.
const API_KEY: &str = "apiKey";

/// The key of a Secret that has a file of AWS's keys.
const AWS_CREDENTIALS: &str = "credentials";

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
        "AWSCredentials" => return aws(context, policy, spec.aws_credentials.as_ref()),
        other => {
            let message = format!(
                "type {other} is not supported yet: APIKey, AnthropicAPIKey, AzureAPIKey and AWSCredentials are; \
                 requests to its targets are answered with 500"
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
            let (header, prefix) = (Some(header.to_owned()), Some(prefix.to_owned()));
            Ok((RawCredential { header, prefix, file: Some(file), ..RawCredential::default() }, secrets))
        }
    }
}

/// Keys of AWS, from a file of them.
fn aws(
    context: &Context<'_>,
    policy: &Key,
    spec: Option<&AwsCredentials>,
) -> Result<(RawCredential, Secrets), RefError> {
    let Some(spec) = spec else {
        return Err(RefError::new("Invalid", "the section for type AWSCredentials is missing"));
    };
    let Some(of_file) = &spec.credentials_file else {
        let message = "awsCredentials without credentialsFile (OIDC, or the default chain) is not supported yet; requests \
                       to its targets are answered with 500";
        return Err(RefError::new("NotSupportedYet", message));
    };
    let from = Referrer::of(Kind::BackendSecurityPolicy, &policy.namespace);
    let (secret, values) = context.referred_secret(from, &of_file.secret_ref, "SecretNotFound")?;
    if !values.contains_key(AWS_CREDENTIALS) {
        let message = format!("the Secret {secret} has no key {AWS_CREDENTIALS}");
        return Err(RefError::new("SecretNotFound", message));
    }
    let mut secrets = Secrets::new();
    let file = data_file(&mut secrets, "credential", Kind::Secret, &secret, AWS_CREDENTIALS);
    let profile = of_file.profile.clone().filter(|profile| !profile.is_empty());
    let aws = RawAwsSigning { region: spec.region.clone(), profile, web_identity: None };
    Ok((RawCredential { aws: Some(aws), file: Some(file), ..RawCredential::default() }, secrets))
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
