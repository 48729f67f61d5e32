//! What is read of each kind of object.
//!
//! The types have just the fields that are acted on; whatever else an object has is named in its status. The types of the
//! `gateway-api` and `k8s-openapi` crates were turned down for this, since they know every field and so cannot tell which
//! ones nobody reads. Optional everywhere: the API server has checked objects against their schemas, and what it let
//! through (or what a file on disk leaves out) must not make the rest of an object unreadable.

mod access;
mod aigateway;
mod body;
mod client;
mod core;
mod envoy;
mod filter;
mod gateway;
mod hash;
mod health;
mod inference;
mod overrides;
mod policy;
mod rate_limit;
mod reference;
mod route;
mod security;
mod traffic;
mod unsupported;

pub use access::{
    AccessHeader, AccessOperation, AccessPath, AccessPrincipal, AccessRule, AccessRules, AccessSettings,
    ClaimToHeader, ContextExtension, CorsAccess, ExternalAccess, ExternalBackendRef, ExternalBody,
    ExternalGrpc, ExternalHttp, KeyAccess, KeyPlaces, LocalKeys, LoginAccess, LoginDenyHeader, RemoteKeys,
    SecurityPolicy, TokenAccess, TokenClaim, TokenHeader, TokenMatch, TokenPlaces, TokenProvider, UserAccess,
};
pub use aigateway::{
    AiBackendRef, AiBodyField, AiBodyMutation, AiGatewayRoute, AiHeaderMutation, AiRequestCost, AiRule,
    AiRuleMatch, AiServiceBackend, GatewayConfig, VersionedSchema,
};
pub use body::{Body, Part};
pub use client::{
    ClientConnection, ClientConnectionLimit, ClientDetection, ClientForwardedCert, ClientForwardedFor,
    ClientHeader, ClientHeaderModifier, ClientHeaders, ClientHealthCheck, ClientHttp2, ClientHttpTimeout,
    ClientNames, ClientPath, ClientProxyProtocol, ClientRevocations, ClientSettings, ClientTimeout,
    ClientTls, ClientTrafficPolicy, ClientValidation, StringMatch,
};
pub use core::{
    ConfigMap, ConfigMapVolume, Container, Deployment, EndpointSlice, KeyToPath, Namespace, Pod, PodTemplate,
    Secret, SecretValue, Service, ServicePort, SliceConditions, SliceEndpoint, SlicePort, TemplateMeta,
    TemplateSpec, Volume, VolumeMount,
};
pub use envoy::{
    Backend, BackendAddress, BackendEndpoint, BackendHost, BackendTls, EnvoyContainer, EnvoyDeployment,
    EnvoyHpa, EnvoyKubernetes, EnvoyPatch, EnvoyPdb, EnvoyPod, EnvoyProvider, EnvoyProxy, EnvoyService,
    EnvoyShutdown,
};
pub use filter::{
    FilterBody, FilterBodyRef, FilterCredential, FilterCredentialInjection, FilterHeader, FilterHeaders,
    FilterHostname, FilterPath, FilterRegex, FilterResponse, FilterUrlRewrite, HttpRouteFilter,
};
pub use gateway::{
    AllowedRoutes, FrontendPort, FrontendSettings, FrontendTls, FrontendValidation, Gateway, GatewayAddress,
    GatewayClass, GatewayListener, GatewayTls, GatewayWideTls, Infrastructure, LabelRequirement,
    LabelSelector, ListenerSet, RouteGroupKind, RouteNamespaces,
};
pub use hash::{TrafficHash, TrafficHashCookie, TrafficHashName};
pub use health::{
    TrafficActiveCheck, TrafficExpectedResponse, TrafficHealthCheck, TrafficHttpCheck, TrafficPassiveCheck,
};
pub use inference::{
    EndpointPickerRef, InferenceModelRewrite, InferenceObjective, InferencePool, LegacyInferenceModelRewrite,
    LegacyInferenceObjective, PoolPort, PoolRef, PoolSelector, RewriteMatch, RewriteModelMatch, RewriteRule,
    RewriteTarget,
};
pub use overrides::{
    TrafficOverride, TrafficOverrideMatch, TrafficOverrideRedirect, TrafficOverrideResponse, TrafficStatus,
    TrafficStatusRange,
};
pub use policy::{BackendTlsPolicy, BackendTlsValidation, SubjectAltName};
pub use rate_limit::{
    ModelQuota, QuotaDefinition, QuotaPolicy, QuotaRule, QuotaValue, RateLimit, RateLimitCost,
    RateLimitCostOf, RateLimitMatch, RateLimitMetadata, RateLimitPlain, RateLimitRule, RateLimitRules,
    RateLimitSelector, RateLimitValue, ServiceQuota,
};
pub use reference::{
    ExternalAuthBackendRef, LocalRef, ObjectRef, ParentRef, ReferenceGrant, ReferenceGrantFrom,
    ReferenceGrantTo, SecretRef, TargetRef,
};
pub use route::{
    CorsFilter, ExternalAuthBody, ExternalAuthFilter, ExternalAuthGrpc, ExternalAuthHttp, Fraction,
    HeaderModifier, HttpBackendRef, HttpFilter, HttpHeader, HttpMatch, HttpPathMatch, HttpPathModifier,
    HttpRedirect, HttpRetry, HttpRoute, HttpRule, HttpTimeouts, HttpUrlRewrite, HttpValueMatch, MirrorRef,
    RequestMirror,
};
pub use security::{
    ApiKey, AwsCredentials, AwsCredentialsFile, AwsOidcExchangeToken, AzureCredentials,
    BackendSecurityPolicy, CredentialOverride, GcpCredentials, GcpCredentialsFile,
    GcpServiceAccountImpersonation, GcpWorkloadIdentityFederation, Oidc, OidcExchangeToken, OidcProvider,
    OverrideFromRequestHeaders,
};
pub use traffic::{
    BackendTrafficPolicy, TrafficBackOff, TrafficBalancer, TrafficCircuitBreaker, TrafficHttp2,
    TrafficHttpTimeout, TrafficPerEndpoint, TrafficPerRetry, TrafficRetry, TrafficRetryOn, TrafficSettings,
    TrafficTcpTimeout, TrafficTimeout,
};
pub use unsupported::{
    EnvoyExtensionPolicy, EnvoyPatchPolicy, GrpcRoute, InferencePoolImport, LegacyInferenceModel,
    LegacyInferencePool, McpRoute, MetadataOnly, PolicyTargets, TargetNamespaces, TargetSelector, TcpRoute,
    TlsRoute, UdpRoute, UnsupportedRoute, XBackendTrafficPolicy, XListenerSet, XMesh,
};
