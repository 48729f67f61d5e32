//! Envoy AI Gateway: BackendSecurityPolicy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Body, LocalRef, SecretRef};

/// `BackendSecurityPolicy`: credentials for providers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendSecurityPolicy {
    /// `AIServiceBackend`s and `InferencePool`s of its namespace.
    pub target_refs: Vec<LocalRef>,
    /// `APIKey`, `AnthropicAPIKey`, `AzureAPIKey`, `AzureCredentials`, `AWSCredentials` or `GCPCredentials`.
    #[serde(rename = "type")]
    pub kind: String,
    /// For `APIKey`.
    pub api_key: Option<ApiKey>,
    /// For `AnthropicAPIKey`.
    #[serde(rename = "anthropicAPIKey")]
    pub anthropic_api_key: Option<ApiKey>,
    /// For `AzureAPIKey`.
    #[serde(rename = "azureAPIKey")]
    pub azure_api_key: Option<ApiKey>,
    /// For `AzureCredentials`.
    pub azure_credentials: Option<AzureCredentials>,
    /// For `AWSCredentials`.
    pub aws_credentials: Option<AwsCredentials>,
    /// For `GCPCredentials`.
    pub gcp_credentials: Option<GcpCredentials>,
    /// Credentials that requests bring themselves.
    pub credential_override: Option<CredentialOverride>,
}

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiKey {
    /// A Secret with `apiKey`.
    pub secret_ref: SecretRef,
}

/// An application in Microsoft Entra ID: with a secret, or with a token of another identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AzureCredentials {
    /// The application.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Its tenant.
    #[serde(rename = "tenantID")]
    pub tenant_id: String,
    /// A Secret with `client-secret`.
    pub client_secret_ref: Option<SecretRef>,
    /// The token.
    pub oidc_exchange_token: Option<OidcExchangeToken>,
}

/// Keys of AWS: from a file, for a token, or those of the data plane's own identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsCredentials {
    /// The region that requests are signed for.
    pub region: String,
    /// A file of keys.
    pub credentials_file: Option<AwsCredentialsFile>,
    /// A token that a role is assumed by.
    pub oidc_exchange_token: Option<AwsOidcExchangeToken>,
}

/// A file of AWS's keys.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsCredentialsFile {
    /// A Secret with `credentials`.
    pub secret_ref: SecretRef,
    /// The profile; `default` if left out.
    pub profile: Option<String>,
}

/// A role of AWS that is assumed by a token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsOidcExchangeToken {
    /// How the token is got.
    pub oidc: Oidc,
    /// `client_credentials` if left out.
    pub grant_type: Option<String>,
    /// Whom the token is for, where the provider has to be told.
    pub aud: Option<String>,
    /// The role.
    pub aws_role_arn: String,
}

/// A token of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OidcExchangeToken {
    /// How the token is got.
    pub oidc: Oidc,
    /// `client_credentials` if left out.
    pub grant_type: Option<String>,
    /// Whom the token is for, where the provider has to be told.
    pub aud: Option<String>,
}

/// A client of an identity provider. What concerns users that log in has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Oidc {
    /// The provider.
    pub provider: OidcProvider,
    /// The client.
    #[serde(rename = "clientID")]
    pub client_id: Option<String>,
    /// Or a Secret with `client-id`.
    #[serde(rename = "clientIDRef")]
    pub client_id_ref: Option<SecretRef>,
    /// A Secret with `client-secret`.
    pub client_secret: SecretRef,
    /// Scopes that are asked for.
    pub scopes: Vec<String>,
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OidcProvider {
    /// Its address, below which it says where its token endpoint is.
    pub issuer: String,
    /// The token endpoint, in place of the one that it names.
    pub token_endpoint: Option<String>,
}

/// A project of Google Cloud, and who the gateway is there: a service account, for a token of another identity provider,
/// or the data plane's own identity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GcpCredentials {
    /// The project.
    pub project_name: String,
    /// The region.
    pub region: String,
    /// The file of a service account's key.
    pub credentials_file: Option<GcpCredentialsFile>,
    /// Workload identity federation.
    pub workload_identity_federation_config: Option<GcpWorkloadIdentityFederation>,
}

/// The file of a service account's key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GcpCredentialsFile {
    /// A Secret with `service_account.json`.
    pub secret_ref: SecretRef,
}

/// Workload identity federation: a token of another identity provider is exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GcpWorkloadIdentityFederation {
    /// The number of the pool's project.
    #[serde(rename = "projectID")]
    pub project_id: String,
    /// The pool.
    pub workload_identity_pool_name: String,
    /// The identity provider in it.
    pub workload_identity_provider_name: String,
    /// The token that is exchanged.
    pub oidc_exchange_token: OidcExchangeToken,
    /// A service account that is impersonated.
    pub service_account_impersonation: Option<GcpServiceAccountImpersonation>,
}

/// A service account that is impersonated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GcpServiceAccountImpersonation {
    /// Its name in the project.
    pub service_account_name: String,
}

/// Credentials that requests bring themselves: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CredentialOverride {
    /// In headers.
    pub from_request_headers: Option<OverrideFromRequestHeaders>,
    /// In Envoy's metadata, of which there is none here.
    pub from_dynamic_metadata: Option<BTreeMap<String, Value>>,
}

/// Credentials in headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OverrideFromRequestHeaders {
    /// The header; with `AWSCredentials`, what its three headers begin with. Envoy AI Gateway's of the type if left out.
    pub header: Option<String>,
    /// Whether a request without it is served with the policy's own credential; it is if left out.
    pub fallback_to_configured: Option<bool>,
}

impl Body for BackendSecurityPolicy {}
