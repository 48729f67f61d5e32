//! What upstreams are shown to be let in. This crate opens no file and fetches nothing.

use std::fmt;
use std::path::{Path, PathBuf};

use http::HeaderName;

/// What is added to requests for an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credential {
    /// How it is shown.
    pub shown: Shown,
    /// Where the gateway has it from.
    pub source: CredentialSource,
    /// Where clients may bring their own.
    pub client: Option<ClientCredential>,
}

/// What is added to the requests of a rule, whoever serves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCredential {
    /// A key in a header.
    pub credential: Credential,
    /// Whether it takes the place of what a request has in that header.
    pub overwrites: bool,
}

/// How a secret is shown to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Shown {
    /// In a header.
    Header {
        /// Its name; what the client sent in it is dropped.
        name: HeaderName,
        /// What stands before the secret, such as `Bearer `.
        prefix: Box<str>,
    },
    /// By a signature of AWS's, version 4.
    Aws {
        /// The region.
        region: Box<str>,
    },
}

/// Where a credential comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialSource {
    /// From clients alone.
    Client,
    /// A file with a key.
    Key(PathBuf),
    /// A file of AWS's credentials.
    AwsFile {
        /// The file.
        file: PathBuf,
        /// The profile in it.
        profile: Box<str>,
    },
    /// Somewhere from which it has to be fetched, and again before it expires.
    Fetched(TokenSource),
}

/// From where what expires is fetched. Equal ones give the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenSource {
    /// Keys of AWS, lent for a token of an identity provider.
    AwsWebIdentity {
        /// Whose token service is asked.
        region: Box<str>,
        /// The role that is assumed.
        role_arn: Box<str>,
        /// What AWS's records call the session.
        session_name: Box<str>,
        /// The token.
        token: IdentityToken,
        /// The address of the token service, where it is given.
        endpoint: Option<Box<str>>,
    },
    /// Keys of AWS, from wherever its tools would find them.
    AwsEnvironment {
        /// Whose token service is asked, where one is.
        region: Box<str>,
    },
    /// A token of Microsoft Entra ID.
    Azure {
        /// The tenant. There unless `by` is the environment.
        tenant_id: Option<Box<str>>,
        /// The application or managed identity. There unless `by` is the environment.
        client_id: Option<Box<str>>,
        /// How the application shows who it is.
        by: AzureIdentity,
        /// What the token is for.
        scope: Box<str>,
        /// The address of Entra ID, where it is given.
        endpoint: Option<Box<str>>,
    },
    /// A token of Google Cloud.
    Gcp {
        /// How the gateway shows who it is.
        by: GcpIdentity,
        /// What the token is for.
        scope: Box<str>,
        /// Of `File` the token endpoint, of `Environment` the metadata server, where it is given.
        endpoint: Option<Box<str>>,
    },
}

/// How an application shows Microsoft Entra ID who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AzureIdentity {
    /// By a secret in a file.
    Secret(PathBuf),
    /// By a token that Entra ID trusts.
    Token(IdentityToken),
    /// By what the environment has, or as a managed identity.
    Environment,
}

/// How the gateway shows Google who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GcpIdentity {
    /// By a file of Google's.
    File {
        /// The file.
        path: PathBuf,
        /// Whether it is one of this machine's, and may name other files and addresses to read. One from a Secret may not:
        /// whoever writes that is not let read what the gateway can.
        is_local: bool,
    },
    /// By a token of another identity provider, which is exchanged.
    WorkloadIdentity {
        /// The provider, as Google names it.
        audience: Box<str>,
        /// The token.
        token: IdentityToken,
        /// The service account that is impersonated.
        service_account: Option<Box<str>>,
        /// The address of the exchange.
        sts_endpoint: Box<str>,
        /// The address of the service that impersonates, without a slash at its end.
        iam_endpoint: Box<str>,
    },
    /// By what the environment has, or by the metadata server.
    Environment,
}

/// A token of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IdentityToken {
    /// In a file.
    File(PathBuf),
    /// From a login as a client.
    Oidc(OidcClient),
}

/// A client of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OidcClient {
    /// Where the provider is.
    pub provider: OidcProvider,
    /// The client.
    pub client_id: Box<str>,
    /// A file with its secret.
    pub client_secret: PathBuf,
    /// Scopes that are asked for.
    pub scopes: Vec<Box<str>>,
    /// Whom the token is for, where the provider has to be told.
    pub audience: Option<Box<str>>,
    /// The kind of grant.
    pub grant_type: Box<str>,
}

/// Where an identity provider is. Addresses have no slash at their ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OidcProvider {
    /// The issuer, which says where tokens are.
    Issuer(Box<str>),
    /// The token endpoint.
    TokenEndpoint(Box<str>),
}

/// Where clients bring a credential of their own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCredential {
    /// The headers.
    pub headers: ClientHeaders,
    /// Whether the gateway's own stands in for one that is not there. Otherwise such a request is refused.
    pub falls_back: bool,
}

/// Headers in which clients bring a credential for an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClientHeaders {
    /// A key or a token.
    Key(HeaderName),
    /// Keys of AWS.
    Aws {
        /// The id of the key.
        access_key_id: HeaderName,
        /// The secret.
        secret_access_key: HeaderName,
        /// The token of a session; not every key has one.
        session_token: HeaderName,
    },
}

impl Credential {
    /// A key that is read from a file.
    #[must_use]
    pub fn key(shown: Shown, file: PathBuf) -> Self {
        Self { shown, source: CredentialSource::Key(file), client: None }
    }

    /// The files that the document names for it.
    pub fn files(&self) -> Vec<&Path> {
        match &self.source {
            CredentialSource::Client => Vec::new(),
            CredentialSource::Key(file) | CredentialSource::AwsFile { file, .. } => vec![file],
            CredentialSource::Fetched(source) => source.files(),
        }
    }
}

impl TokenSource {
    /// The files that the document names for it.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::AwsWebIdentity { token, .. }
            | Self::Azure { by: AzureIdentity::Token(token), .. }
            | Self::Gcp { by: GcpIdentity::WorkloadIdentity { token, .. }, .. } => vec![token.file()],
            Self::Azure { by: AzureIdentity::Secret(file), .. }
            | Self::Gcp { by: GcpIdentity::File { path: file, .. }, .. } => vec![file],
            Self::AwsEnvironment { .. }
            | Self::Azure { by: AzureIdentity::Environment, .. }
            | Self::Gcp { by: GcpIdentity::Environment, .. } => Vec::new(),
        }
    }
}

/// What people call it; nothing of it is secret.
impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwsWebIdentity { role_arn, .. } => write!(f, "AWS, role {role_arn}"),
            Self::AwsEnvironment { .. } => f.write_str("AWS, by the environment"),
            Self::Azure { client_id: Some(client), .. } => write!(f, "Azure, application {client}"),
            Self::Azure { client_id: None, .. } => f.write_str("Azure, by the environment"),
            Self::Gcp { by, .. } => match by {
                GcpIdentity::File { path, .. } => write!(f, "Google Cloud, {}", path.display()),
                GcpIdentity::WorkloadIdentity { service_account: Some(account), .. } => {
                    write!(f, "Google Cloud, service account {account}")
                }
                GcpIdentity::WorkloadIdentity { audience, .. } => {
                    write!(f, "Google Cloud, workload identity of {audience}")
                }
                GcpIdentity::Environment => f.write_str("Google Cloud, by the environment"),
            },
        }
    }
}

impl IdentityToken {
    fn file(&self) -> &Path {
        match self {
            Self::File(file) => file,
            Self::Oidc(client) => &client.client_secret,
        }
    }
}

impl ClientHeaders {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let names = match self {
            Self::Key(name) => [Some(name), None, None],
            Self::Aws { access_key_id, secret_access_key, session_token } => {
                [Some(access_key_id), Some(secret_access_key), Some(session_token)]
            }
        };
        names.into_iter().flatten()
    }
}
