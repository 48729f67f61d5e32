//! Which credentials simulated providers take, and what their token services hand out: the document of `--credentials`.
//!
//! A section that is there turns its services and its checks on. Two servers with the same document take each other's
//! tokens: all that is issued is signed with a key that is made of the document's `secret`, so no server has to ask
//! another one.

use std::path::{Path, PathBuf};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::signature::RsaKeyPair;
use serde::Deserialize;

/// How long tokens are valid where the document does not say, in seconds: as long as the providers' own.
const LIFETIME_S: u64 = 3600;

/// What is known to the providers and to the token services of one server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credentials {
    /// What tokens are signed with. Servers with equal secrets take each other's tokens. Default empty.
    pub secret: String,
    /// How long tokens are valid, in seconds; at least 1. Default 3600.
    pub lifetime_s: u64,
    /// Tokens of workloads (a projected service account token, for instance) that STS, Google and Azure take for others,
    /// beside those that the OIDC issuer here has issued. Default none.
    pub identity_tokens: Vec<String>,
    /// AWS: STS, the metadata services, and the signatures of Bedrock.
    pub aws: Option<Aws>,
    /// Google: its token endpoints, the metadata server, Vertex and the Gemini API.
    pub google: Option<Google>,
    /// Microsoft's token endpoint, and Azure's models.
    pub azure: Option<Azure>,
    /// An OpenID Connect issuer.
    pub oidc: Option<Oidc>,
    /// Anthropic's API.
    pub anthropic: Option<ApiKeys>,
    /// OpenAI's API, or an engine with `--api-key`.
    pub openai: Option<ApiKeys>,
    /// Cohere's API.
    pub cohere: Option<ApiKeys>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            secret: String::new(),
            lifetime_s: LIFETIME_S,
            identity_tokens: Vec::new(),
            aws: None,
            google: None,
            azure: None,
            oidc: None,
            anthropic: None,
            openai: None,
            cohere: None,
        }
    }
}

/// Keys of an API that knows nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeys {
    /// Any of them will do.
    pub api_keys: Vec<String>,
}

/// What AWS knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aws {
    /// Keys of users, which sign without a session token.
    pub access_keys: Vec<AccessKey>,
    /// Bedrock's API keys, shown as bearer tokens.
    pub api_keys: Vec<String>,
    /// ARNs of the roles that an identity token can assume at STS.
    pub roles: Vec<String>,
    /// What `Authorization` has to be at `/v1/credentials` (EKS Pod Identity) and `/v2/credentials/…` (ECS). Empty: any
    /// or none. None: there is no such service.
    pub container_authorization: Option<String>,
    /// The role that the instance metadata service gives credentials of. None: there is no such service.
    pub instance_role: Option<String>,
}

/// An access key of a user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// Its public half, such as `AKIAIOSFODNN7EXAMPLE`.
    pub access_key_id: String,
    /// Its secret half.
    pub secret_access_key: String,
}

/// What Google knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Google {
    /// Accounts in the form of their key files. One without a key can only be impersonated.
    pub service_accounts: Vec<ServiceAccount>,
    /// Workload identity providers that take identity tokens:
    /// `//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/v`.
    pub audiences: Vec<String>,
    /// The account of the metadata server. None: there is no such service.
    pub metadata_account: Option<String>,
    /// Keys of the Gemini API.
    pub api_keys: Vec<String>,
}

/// A service account, as its key file has it; what else the file has is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServiceAccount {
    /// Its name.
    pub client_email: String,
    /// Its RSA key, PKCS#8 in PEM; assertions are verified with the public half.
    pub private_key: Option<String>,
}

impl ServiceAccount {
    /// The account's key, if it has one that can be used.
    pub(crate) fn key(&self) -> Option<RsaKeyPair> {
        let pem: String =
            self.private_key.as_deref()?.lines().filter(|line| !line.starts_with("-----")).collect();
        RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(pem.trim()).ok()?).ok()
    }
}

/// What Microsoft knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Azure {
    /// The tenant of the token endpoint's path.
    pub tenant: String,
    /// The application.
    pub client_id: String,
    /// Its secret. Without one it can only show an identity token.
    pub client_secret: Option<String>,
    /// Keys of the resource, shown in `api-key`.
    pub api_keys: Vec<String>,
}

/// What the OpenID Connect issuer knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

impl Credentials {
    /// Reads a document.
    ///
    /// # Errors
    /// It cannot be read, is not such a document, or has a key that is none.
    pub fn read(path: &Path) -> Result<Self, CredentialsError> {
        let of = |fault| CredentialsError { path: path.to_owned(), fault };
        let text = std::fs::read(path).map_err(|error| of(Fault::Read(error)))?;
        Self::parse(&text).map_err(of)
    }

    fn parse(text: &[u8]) -> Result<Self, Fault> {
        let known: Self = serde_json::from_slice(text)?;
        if known.lifetime_s == 0 {
            return Err(Fault::Lifetime);
        }
        for account in known.google.iter().flat_map(|google| &google.service_accounts) {
            if account.private_key.is_some() && account.key().is_none() {
                return Err(Fault::Key(account.client_email.clone()));
            }
        }
        Ok(known)
    }
}

/// A document of credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct CredentialsError {
    path: PathBuf,
    #[source]
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("cannot be read")]
    Read(#[source] std::io::Error),
    #[error("{0}")]
    Document(#[from] serde_json::Error),
    #[error("lifetime_s must be at least 1")]
    Lifetime,
    #[error("private_key of {0} is no RSA key in PKCS#8")]
    Key(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Credentials::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn faults_of_a_document_are_named() {
        assert_eq!(fault(r#"{"lifetime_s": 0}"#), "lifetime_s must be at least 1");
        assert!(fault(r#"{"amazon": {}}"#).contains("unknown field `amazon`"));
        let account = r#"{"google": {"service_accounts": [{"client_email": "a@b", "private_key": "x"}]}}"#;
        assert_eq!(fault(account), "private_key of a@b is no RSA key in PKCS#8");
    }

    #[test]
    fn what_is_left_out_is_off() {
        let known = Credentials::parse(br#"{"openai": {"api_keys": ["k"]}}"#).unwrap();
        assert_eq!(known.lifetime_s, 3600);
        assert_eq!(known.openai.unwrap().api_keys, ["k"]);
        assert!(known.aws.is_none() && known.google.is_none());
    }
}
