//! The contract of Penstock: the routing document as people and the operator write it, and the validated, compiled
//! [`Snapshot`] that the proxy runs on. Nothing here does I/O.

mod cidr;
mod compile;
mod consumer;
mod decimal;
mod digest;
mod endpoints;
mod expression;
mod fault;
mod knob;
mod lower;
mod parse;
mod pattern;
pub mod prices;
pub mod raw;
mod reference;
mod report;
mod schema;
mod settings;
mod snapshot;
mod spec;
mod table;
mod usage;

pub use cidr::{Cidr, CidrError};
pub use decimal::{Decimal, DecimalError};
pub use digest::digest;
pub use endpoints::{Endpoints, check_endpoints};
pub use expression::{Expression, ExpressionIdentity, ExpressionRequest, MAX_EXPRESSION_BYTES};
pub use fault::{Fault, Faults, NoProfileCheck, ProfileCheck};
pub use knob::{Address, Knob, QuantityError, Size, Span, Timeout};
pub use lower::{check_model_name, known_api};
pub use parse::MAX_DOCUMENT_BYTES;
pub use raw::MAX_MODEL_DETAIL_BYTES;
pub use reference::reference_markdown;
pub use schema::{endpoints_schema, schema};
pub use settings::{
    AccessLog, AdminSpec, ApiSchema, Balancing, CertificateNameKind, CertificateNameMatch, CipherSuite,
    CircuitBreaker, ClientProof, ClientProtocol, ConnectionSpec, DebugAccess, EjectionSpec, Encoding, Engine,
    EscapedSlashes, FailureRuns, GenAiConvention, HeadersWithUnderscores, HealthCheckKind, HealthCheckMethod,
    HealthCheckSpec, HealthyStatuses, Limits, MetricsSpec, PeekSpec, Provider, ProxyProtocol, QueueSpec,
    RequestIds, RetryPolicy, SaturationAction, SaturationSpec, ServedApi, ShutdownSpec, StatusSet, Statuses,
    StreamUsage, TargetHeaders, Telemetry, Timeouts, TlsVersion, Untranslatable, UpstreamProtocol,
};
pub use snapshot::Snapshot;
pub use spec::{
    Access, AccessRule, Action, ApiKeys, ApiSpec, Authentication, Authorization, AzureIdentity,
    BackendEndpoint, BackendHost, BackendIndex, BackendSpec, Basic, BodyEdits, CertificateFiles,
    CertificateName, ClaimMatch, ClaimPath, ClientAddressHeader, ClientCertificate, ClientCertificates,
    ClientCredential, ClientHeaders, Comparison, Consumer, Cors, Count, Credential, CredentialSource,
    Destination, Dimension, EndpointSpec, External, ExternalPath, ExternalProtocol, Extract, FixedAnswer,
    GcpIdentity, HashBy, HashCookie, HeaderEdits, HostPattern, IdentityToken, JwtProvider, KeyDigest,
    KeySetSource, LimitMatch, LimitSpec, LimitStore, Listed, Listener, ListenerIndex, ListenerTls, Lookup,
    MODEL_HEADER, Matched, Mirror, Missing, ModelEntry, ModelNames, ModelRewrite, NanoDollars, Objective,
    Oidc, OidcClient, OidcProvider, OnStoreFailure, OneOf, OpenIdProvider, Origin, PathComparison, PathMatch,
    PathRewrite, PathTest, Pattern, Period, PolicyIndex, PolicySpec, PoolIndex, PoolSpec, Price, PriceTier,
    Redirect, RedirectTarget, RedirectUrl, RedisMode, RedisSpec, RedisTls, RegexReplacement, Replacement,
    RequestModel, ResponseOverride, Rewrite, RouteRequest, Rule, RuleCredential, SameSite, SecretUse,
    Secrets, SessionCookie, Share, Shown, Surroundings, Target, TextMatch, Tier, TokenSource, Upstream,
    UpstreamTls, Window, bare_host, plain_path,
};
pub use usage::{USAGE_VARIABLES, check_expression};
