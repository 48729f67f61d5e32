//! The validated parts of a snapshot: plain data that cannot be wrong.

mod cors;
mod credential;
mod edit;
mod file;
mod hash;
mod host;
mod limit;
mod listener;
mod path;
mod policy;
mod request;
mod response;
mod rule;
mod upstream;
mod url;

pub use crate::consumer::{ClaimPath, Consumer, KeyDigest, ModelNames, OneOf};
pub use cors::{Cors, Listed, Origin};
pub use credential::{
    AzureIdentity, ClientCredential, ClientHeaders, Credential, CredentialSource, GcpIdentity, IdentityToken,
    OidcClient, OidcProvider, RuleCredential, Shown, TokenSource,
};
pub use edit::{BodyEdits, HeaderEdits};
pub use file::{SecretUse, Secrets, Surroundings};
pub use hash::{HashBy, HashCookie};
pub use host::HostPattern;
pub use host::bare as bare_host;
pub use limit::{
    Comparison, Count, Dimension, LimitMatch, LimitSpec, LimitStore, Missing, NanoDollars, OnStoreFailure,
    PathComparison, PathMatch, Pattern, Period, Price, PriceTier, RedisMode, RedisSpec, RedisTls, TextMatch,
    Window,
};
pub use listener::{
    CertificateFiles, CertificateName, ClientAddressHeader, ClientCertificates, Listener, ListenerTls,
};
pub use path::{PathTest, plain_path};
pub use policy::{
    Access, AccessRule, ApiKeys, Authentication, Authorization, Basic, ClaimMatch, External, ExternalPath,
    ExternalProtocol, Extract, JwtProvider, KeySetSource, Oidc, OpenIdProvider, PolicyIndex, PolicySpec,
    RedirectUrl, SameSite, SessionCookie,
};
pub use request::{Lookup, Matched, ModelEntry, RequestModel, RouteRequest};
pub use response::{Replacement, ResponseOverride};
pub use rule::{Action, Destination, FixedAnswer, Mirror, Rule, Share, Target, Tier, Upstream};
pub use upstream::{
    ApiSpec, BackendEndpoint, BackendHost, BackendSpec, ClientCertificate, EndpointSpec, ModelRewrite,
    Objective, PoolSpec, UpstreamTls,
};
pub use url::{PathRewrite, Redirect, RedirectTarget, RegexReplacement, Rewrite};

/// The header by which rules name a model (Envoy AI Gateway's). It stands for what the body says; one that a client
/// sends decides nothing.
pub const MODEL_HEADER: &str = "x-ai-eg-model";

/// The position of a listener in [`Snapshot::listeners`](crate::Snapshot::listeners).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerIndex(pub usize);

/// The position of a pool in [`Snapshot::pools`](crate::Snapshot::pools).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolIndex(pub usize);

/// The position of a backend in [`Snapshot::backends`](crate::Snapshot::backends).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendIndex(pub usize);
