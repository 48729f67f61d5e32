//! Credentials that requests bring themselves (`credentialOverride`).

use penstock_config::raw::RawCredentialOverride;

use super::reading::part;
use crate::api::CredentialOverride;
use crate::context::RefError;

/// What begins the headers of AWS's keys.
const AWS_HEADERS: &str = "x-aigw-aws-";

/// What documents say of the override of a policy of this type.
pub(super) fn read(kind: &str, spec: &CredentialOverride) -> Result<RawCredentialOverride, RefError> {
    if spec.from_dynamic_metadata.is_some() {
        let message = "credentialOverride.fromDynamicMetadata names Envoy's metadata, of which there is none here: have \
                       what authenticates clients set a header, and name that in fromRequestHeaders; requests to its \
                       targets are answered with 500";
        return Err(RefError::new("NotSupported", message));
    }
    let Some(headers) = &spec.from_request_headers else {
        let message = "credentialOverride needs one of fromRequestHeaders and fromDynamicMetadata";
        return Err(RefError::new("Invalid", message));
    };
    let default = match kind {
        "APIKey" => "x-aigw-api-key",
        "AnthropicAPIKey" => "x-aigw-anthropic-api-key",
        "AzureAPIKey" => "x-aigw-azure-api-key",
        "AzureCredentials" => "x-aigw-azure-access-token",
        "GCPCredentials" => "x-aigw-gcp-access-token",
        _ => AWS_HEADERS,
    };
    let named = headers.header.as_deref().filter(|header| !header.is_empty());
    let header = part("credentialOverride.fromRequestHeaders.header", named.unwrap_or(default))?;
    let mut raw = RawCredentialOverride {
        fallback_to_configured: headers.fallback_to_configured.unwrap_or(true),
        ..RawCredentialOverride::default()
    };
    if kind == "AWSCredentials" {
        raw.access_key_id_header = Some(format!("{header}access-key-id"));
        raw.secret_access_key_header = Some(format!("{header}secret-access-key"));
        raw.session_token_header = Some(format!("{header}session-token"));
    } else {
        raw.header = Some(header);
    }
    Ok(raw)
}
