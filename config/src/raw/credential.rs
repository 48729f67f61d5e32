//! What the gateway shows upstreams to be let in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the gateway shows an upstream to be let in: a key from a file, or what it fetches for one of the clouds (`aws`,
/// `azure`, `gcp`) and again before that expires. Whatever the client sent in that header does not get there; nor, where
/// it is one in which clients show keys, in the others (`authorization`, `x-api-key`, `api-key`, `x-goog-api-key`,
/// `x-amz-security-token`). Health checks show it as well where it stands in a header, and readings of a metrics page
/// that is at the endpoint's own port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawCredential {
    /// The header that carries a key. Left out: `x-api-key` for the schema `Anthropic`, `api-key` for `AzureOpenAI`,
    /// `x-goog-api-key` for `Gemini`, otherwise `authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,
    /// What stands before the key in the header. Left out: `Bearer ` in `authorization`, nothing in others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub prefix: Option<String>,
    /// Requests are signed for AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<RawAwsSigning>,
    /// Requests carry a token of Microsoft Entra ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<RawAzureCredential>,
    /// Requests carry a token of Google Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp: Option<RawGcpCredential>,
    /// The path of a file, or `secret:KEY`, that is read again when it changes. By itself: the key, white space at its
    /// ends left out. With `aws`: a file of AWS's credentials (`~/.aws/credentials`). With `azure`: the client secret.
    /// With `gcp`: Google's JSON (`service_account`, `authorized_user` or `external_account`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,
    /// Clients may bring a credential of their own for this upstream.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub client: Option<RawCredentialOverride>,
}

/// A secret that all requests of a rule are sent with, in a header, whoever serves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRuleCredential {
    /// The path of a file, or `secret:KEY`, that is read again when it changes: the header's value, white space at its ends
    /// left out.
    #[schemars(length(min = 1, max = 4096))]
    pub file: String,
    /// The header. Left out: `authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,
    /// Whether it takes the place of what a request has in that header already. Otherwise that stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overwrite: bool,
}

/// Signs requests for AWS (Signature Version 4). Left alone, without a file, the keys are looked for as AWS's tools do:
/// environment variables (`AWS_ACCESS_KEY_ID`…), a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`, as IRSA
/// sets them), the container's credentials (ECS, EKS Pod Identity), the instance's (IMDSv2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawAwsSigning {
    /// The region that is signed for.
    #[schemars(length(min = 1, max = 64))]
    pub region: String,
    /// The profile in the credential's file. Left out: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub profile: Option<String>,
    /// Keys are lent by AWS's token service for a token of an identity provider (`AssumeRoleWithWebIdentity`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_identity: Option<RawAwsWebIdentity>,
}

/// A role that is assumed by a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawAwsWebIdentity {
    /// The role, as `arn:aws:iam::123456789012:role/name`.
    #[schemars(length(min = 20, max = 2048))]
    pub role_arn: String,
    /// What the session is called in AWS's records. Left out: `penstock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 64))]
    pub session_name: Option<String>,
    /// The token.
    pub token: RawToken,
    /// The address of the token service. Left out: `AWS_ENDPOINT_URL_STS`, or `https://sts.REGION.amazonaws.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub endpoint: Option<String>,
}

/// A token of Microsoft Entra ID. With neither `file` nor `token`, it comes by the environment (`AZURE_TENANT_ID`,
/// `AZURE_CLIENT_ID` and `AZURE_CLIENT_SECRET` or `AZURE_FEDERATED_TOKEN_FILE`), or from the managed identity's endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawAzureCredential {
    /// The tenant. Needed with `file` and `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub tenant_id: Option<String>,
    /// The application, or a user-assigned managed identity. Needed with `file` and `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub client_id: Option<String>,
    /// A token of another identity provider that the application trusts (a federated credential).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<RawToken>,
    /// What the token is for. Left out: `https://cognitiveservices.azure.com/.default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub scope: Option<String>,
    /// The address of Entra ID. Left out: `AZURE_AUTHORITY_HOST`, or `https://login.microsoftonline.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub endpoint: Option<String>,
}

/// A token of Google Cloud. With neither `file` nor `workloadIdentity`, it comes by the file that
/// `GOOGLE_APPLICATION_CREDENTIALS` names, or from the metadata server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawGcpCredential {
    /// Workload identity federation: a token of another identity provider is exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<RawGcpWorkloadIdentity>,
    /// What the token is for. Left out: `https://www.googleapis.com/auth/cloud-platform`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub scope: Option<String>,
    /// Where tokens come from: for `file` the token endpoint, in place of the one that it names; otherwise the metadata
    /// server. Left out, that is at `GCE_METADATA_HOST`, or `http://metadata.google.internal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub endpoint: Option<String>,
}

/// Google Cloud's workload identity federation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawGcpWorkloadIdentity {
    /// The provider, as
    /// `//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`.
    #[schemars(length(min = 1, max = 1024))]
    pub audience: String,
    /// The token that is exchanged.
    pub token: RawToken,
    /// The e-mail address of a service account that is impersonated with the federated token. Left out, that token itself
    /// is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub service_account: Option<String>,
    /// The address of the token exchange. Left out: `https://sts.googleapis.com/v1/token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub sts_endpoint: Option<String>,
    /// The address of the service that impersonates. Left out: `https://iamcredentials.googleapis.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub iam_endpoint: Option<String>,
}

/// A token of an identity provider: one of `file` and `oidc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawToken {
    /// The path of a file with the token, or `secret:KEY`: a projected service account token. It is read anew each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,
    /// The gateway logs in at the identity provider as a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<RawOidcClient>,
}

/// A client of an OpenID Connect or OAuth 2.0 provider. One of `issuer` and `tokenEndpoint` says where that is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawOidcClient {
    /// The issuer, whose `/.well-known/openid-configuration` names the token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub issuer: Option<String>,
    /// The token endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub token_endpoint: Option<String>,
    /// The client.
    #[schemars(length(min = 1, max = 1024))]
    pub client_id: String,
    /// The path of a file with the client's secret, or `secret:KEY`.
    #[schemars(length(min = 1, max = 4096))]
    pub client_secret: String,
    /// Scopes that are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub scopes: Vec<String>,
    /// Whom the token is for, where the provider has to be told (`audience`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub audience: Option<String>,
    /// The kind of grant. Left out: `client_credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub grant_type: Option<String>,
}

/// Clients may bring a credential of their own in headers (Envoy AI Gateway's `credentialOverride`). The headers are taken
/// out of every request of a rule that has such an upstream, wherever it goes. Keys of AWS come in three headers, of which
/// two are needed; a part of them is refused with 401.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawCredentialOverride {
    /// The header with the key or token. Left out: `x-aigw-api-key`; `x-aigw-anthropic-api-key` for the schema
    /// `Anthropic`, `x-aigw-azure-api-key` for `AzureOpenAI`; with `azure` `x-aigw-azure-access-token`, with `gcp`
    /// `x-aigw-gcp-access-token`. Not with `aws`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,
    /// With `aws`, the header with the key's id. Left out: `x-aigw-aws-access-key-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub access_key_id_header: Option<String>,
    /// With `aws`, the header with the secret key. Left out: `x-aigw-aws-secret-access-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub secret_access_key_header: Option<String>,
    /// With `aws`, the header with the session's token. Left out: `x-aigw-aws-session-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub session_token_header: Option<String>,
    /// Whether a request without these headers is served with the gateway's own credential. Otherwise it gets 401, and the
    /// gateway needs none.
    #[serde(default)]
    pub fallback_to_configured: bool,
}
