//! Envoy Gateway: SecurityPolicy.

use std::ops::Deref;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Body, ExternalAuthBackendRef, LocalRef, PolicyTargets, SecretRef};

/// `SecurityPolicy`: who may ask.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SecurityPolicy {
    /// What it is for.
    #[serde(flatten)]
    pub targets: PolicyTargets,
    /// What of it is acted on.
    #[serde(flatten)]
    pub settings: AccessSettings,
}

impl Body for SecurityPolicy {
    fn ignored(spec: &Value) -> Vec<String> {
        let mut ignored = Vec::new();
        let note = |path: serde_ignored::Path<'_>| ignored.push(path.to_string());
        // Whether it can be read is not asked here.
        let _ = serde_ignored::deserialize::<_, _, AccessSettings>(spec, note);
        ignored
    }
}

impl Deref for SecurityPolicy {
    type Target = PolicyTargets;

    fn deref(&self) -> &PolicyTargets {
        &self.targets
    }
}

/// How clients say who they are, each way for itself, and who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessSettings {
    /// By a key.
    pub api_key_auth: Option<KeyAccess>,
    /// By a name and a password.
    pub basic_auth: Option<UserAccess>,
    /// By a token.
    pub jwt: Option<TokenAccess>,
    /// By logging in at an OpenID provider.
    pub oidc: Option<LoginAccess>,
    /// A server is asked whether a request may be served.
    pub ext_auth: Option<ExternalAccess>,
    /// Who may do what.
    pub authorization: Option<AccessRules>,
    /// Which web pages may ask.
    pub cors: Option<CorsAccess>,
}

/// People log in at an OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginAccess {
    /// The provider.
    pub provider: LoginProvider,
    /// The client.
    #[serde(rename = "clientID")]
    pub client_id: Option<String>,
    /// Or a Secret with `client-id`.
    #[serde(rename = "clientIDRef")]
    pub client_id_ref: Option<SecretRef>,
    /// A Secret with `client-secret`.
    pub client_secret: Option<SecretRef>,
    /// The cookies in which upstreams are shown tokens.
    pub cookie_names: Option<LoginCookieNames>,
    /// What is said of cookies.
    pub cookie_config: Option<LoginCookieConfig>,
    /// The domain whose hosts have a session in common.
    pub cookie_domain: Option<String>,
    /// Scopes that are asked for beside `openid`.
    pub scopes: Vec<String>,
    /// What access tokens shall be for.
    pub resources: Vec<String>,
    /// Where the provider leads people back to.
    #[serde(rename = "redirectURL")]
    pub redirect_url: Option<String>,
    /// Requests that are not led to the provider.
    pub deny_redirect: Option<LoginDenyRedirect>,
    /// The path that ends a session.
    pub logout_path: Option<String>,
    /// Whether upstreams are shown the access token.
    pub forward_access_token: Option<bool>,
    /// The header in which upstreams are shown the ID token.
    #[serde(rename = "forwardIDToken")]
    pub forward_id_token: Option<LoginTokenHeader>,
    /// How long a session lasts where the provider does not say it.
    #[serde(rename = "defaultTokenTTL")]
    pub default_token_ttl: Option<String>,
    /// Whether sessions are renewed; they are if left out.
    pub refresh_token: Option<bool>,
    /// How long a session can be renewed.
    #[serde(rename = "defaultRefreshTokenTTL")]
    pub default_refresh_token_ttl: Option<String>,
    /// How long people may take to log in.
    #[serde(rename = "csrfTokenTTL")]
    pub csrf_token_ttl: Option<String>,
    /// Whether a token that `jwt` looks for stands in for a session.
    pub pass_through_auth_header: Option<bool>,
}

/// An OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginProvider {
    /// Its address, below which it says where its endpoints and keys are.
    pub issuer: String,
    /// Where people log in, in place of what it says.
    pub authorization_endpoint: Option<String>,
    /// Where tokens are got, in place of what it says.
    pub token_endpoint: Option<String>,
    /// Where people log out, in place of what it says.
    pub end_session_endpoint: Option<String>,
}

/// The cookies in which upstreams are shown tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginCookieNames {
    /// The access token.
    pub access_token: Option<String>,
    /// The ID token.
    pub id_token: Option<String>,
}

/// What is said of cookies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginCookieConfig {
    /// `Lax`, `Strict` or `None`.
    pub same_site: Option<String>,
}

/// Requests that are not led to a provider: those with one of these headers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginDenyRedirect {
    /// The headers.
    pub headers: Vec<LoginDenyHeader>,
}

/// What is asked of a header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginDenyHeader {
    /// Its name.
    pub name: String,
    /// `Exact` (if left out), `Prefix`, `Suffix` or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What its value is compared with.
    pub value: String,
}

/// The header in which upstreams are shown a token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginTokenHeader {
    /// Its name.
    pub header: String,
}

/// Which web pages may ask, and see answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsAccess {
    /// Their origins.
    pub allow_origins: Vec<String>,
    /// Methods that they may use.
    pub allow_methods: Vec<String>,
    /// Headers that they may send.
    pub allow_headers: Vec<String>,
    /// Headers of answers that they may read.
    pub expose_headers: Vec<String>,
    /// How long browsers may keep this in mind.
    pub max_age: Option<String>,
    /// Whether requests may have what browsers hold for the gateway.
    pub allow_credentials: Option<bool>,
}

/// Keys of clients.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyAccess {
    /// Secrets, whose keys are clients and whose values are theirs. Of several for one client the first counts.
    pub credential_refs: Vec<SecretRef>,
    /// Where clients show a key: the first of these that a request has.
    pub extract_from: Vec<KeyPlaces>,
    /// The header in which upstreams are told the client.
    #[serde(rename = "forwardClientIDHeader")]
    pub forward_client_id_header: Option<String>,
    /// Whether upstreams do not see the key.
    pub sanitize: Option<bool>,
}

/// Where a key is looked for: one of these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyPlaces {
    /// Headers. `Bearer ` before the key does not count.
    pub headers: Vec<String>,
    /// Parameters of the query.
    pub params: Vec<String>,
    /// Cookies.
    pub cookies: Vec<String>,
}

/// Names and passwords.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct UserAccess {
    /// A Secret with `.htpasswd`.
    pub users: Option<SecretRef>,
    /// The header in which upstreams are told the name.
    pub forward_username_header: Option<String>,
}

/// Tokens of identity providers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenAccess {
    /// Whether a request may have no token.
    pub optional: Option<bool>,
    /// Who issues tokens: any of them may have issued a request's.
    pub providers: Vec<TokenProvider>,
}

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenProvider {
    /// Its name.
    pub name: String,
    /// What tokens have as `iss`; anything if left out.
    pub issuer: Option<String>,
    /// One of which tokens have in `aud`; anything if left out.
    pub audiences: Vec<String>,
    /// Where its keys are fetched.
    #[serde(rename = "remoteJWKS")]
    pub remote_jwks: Option<RemoteKeys>,
    /// Its keys.
    #[serde(rename = "localJWKS")]
    pub local_jwks: Option<LocalKeys>,
    /// Headers in which upstreams are told claims.
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// Whether these headers change the route.
    pub recompute_route: Option<bool>,
    /// Where clients show a token; `authorization` with `Bearer `, or the parameter `access_token`, if left out.
    pub extract_from: Option<TokenPlaces>,
}

/// Keys that are fetched.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RemoteKeys {
    /// From here.
    pub uri: String,
    /// Again after this; five minutes if left out.
    pub cache_duration: Option<String>,
}

/// Keys that are at hand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalKeys {
    /// `Inline` or `ValueRef`; the former if left out.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// With `Inline`: the key set.
    pub inline: Option<String>,
    /// With `ValueRef`: a ConfigMap with `jwks`, or with the key set as its first value.
    pub value_ref: Option<LocalRef>,
}

/// A claim that becomes a header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimToHeader {
    /// The header.
    pub header: String,
    /// The claim, with dots between names of objects within each other.
    pub claim: String,
}

/// Where a token is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenPlaces {
    /// Headers.
    pub headers: Vec<TokenHeader>,
    /// Cookies.
    pub cookies: Vec<String>,
    /// Parameters of the query.
    pub params: Vec<String>,
}

/// A header with a token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenHeader {
    /// Its name.
    pub name: String,
    /// What stands before the token.
    pub value_prefix: Option<String>,
}

/// Who may do what: the first rule that a request meets decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessRules {
    /// `Allow` or `Deny`, for requests that meet no rule; the latter if left out.
    pub default_action: Option<String>,
    /// The rules.
    pub rules: Vec<AccessRule>,
}

/// A rule: a request meets it that meets all that is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessRule {
    /// Its name.
    pub name: Option<String>,
    /// `Allow` or `Deny`.
    pub action: String,
    /// What is asked for.
    pub operation: Option<AccessOperation>,
    /// Who asks.
    pub principal: Option<AccessPrincipal>,
    /// An expression over the request that comes to `true`.
    pub cel: Option<String>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessOperation {
    /// By one of these methods.
    pub methods: Vec<String>,
    /// At this path.
    pub path: Option<AccessPath>,
}

/// A condition on the path.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessPath {
    /// `PathPrefix` if left out, `Exact` or `RegularExpression`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `/` if left out.
    pub value: Option<String>,
    /// Whether it is met by all other paths, which is not served.
    pub invert: Option<bool>,
}

/// Who asks: all that is said must hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessPrincipal {
    /// From an address in one of these ranges.
    #[serde(rename = "clientCIDRs")]
    pub client_cidrs: Vec<String>,
    /// With a token.
    pub jwt: Option<TokenMatch>,
    /// With all of these headers.
    pub headers: Vec<AccessHeader>,
}

/// A token that a request has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenMatch {
    /// Of this provider.
    pub provider: String,
    /// With all of these claims.
    pub claims: Vec<TokenClaim>,
    /// With all of these scopes.
    pub scopes: Vec<String>,
}

/// A claim of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenClaim {
    /// Its name, with dots between names of objects within each other.
    pub name: String,
    /// `String` or `StringArray`; the former if left out.
    pub value_type: Option<String>,
    /// One of these.
    pub values: Vec<String>,
}

/// A header that a request has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessHeader {
    /// Its name.
    pub name: String,
    /// With one of these values.
    pub values: Vec<String>,
}

/// A server that decides: one of `grpc` and `http`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalAccess {
    /// By gRPC.
    pub grpc: Option<ExternalGrpc>,
    /// By HTTP.
    pub http: Option<ExternalHttp>,
    /// Headers that it is shown; by gRPC all if left out.
    pub headers_to_ext_auth: Vec<String>,
    /// Bodies that it is shown.
    pub body_to_ext_auth: Option<ExternalBody>,
    /// How long it may take; ten seconds if left out.
    pub timeout: Option<String>,
    /// Whether requests pass where it does not answer.
    pub fail_open: Option<bool>,
    /// The status where it does not answer; 403 if left out.
    pub status_on_error: Option<u16>,
    /// Whether what it changes of headers changes the route.
    pub recompute_route: Option<bool>,
    /// What else it is told by gRPC.
    pub context_extensions: Vec<ContextExtension>,
}

/// A server that is asked by gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalGrpc {
    /// Where it is. The older spelling of a list of one.
    pub backend_ref: Option<ExternalAuthBackendRef>,
    /// Where it is.
    pub backend_refs: Vec<ExternalBackendRef>,
}

/// A server that is asked by HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalHttp {
    /// Where it is. The older spelling of a list of one.
    pub backend_ref: Option<ExternalAuthBackendRef>,
    /// Where it is.
    pub backend_refs: Vec<ExternalBackendRef>,
    /// What stands before the request's path.
    pub path: Option<String>,
    /// The path in place of that and of the request's.
    pub path_override: Option<String>,
    /// Headers of its answer that upstreams get.
    pub headers_to_backend: Vec<String>,
}

/// A port of a Service, or a Backend.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalBackendRef {
    /// The group; the core's if left out.
    pub group: Option<String>,
    /// `Service` if left out.
    pub kind: Option<String>,
    /// The policy's if left out.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// Of a Service: the port.
    pub port: Option<u16>,
    /// 1 if left out, as the API server has it. Servers are asked alike, so that it is the same for all of them.
    pub weight: Option<u32>,
}

/// Bodies that a server is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExternalBody {
    /// Longer ones are answered with 413.
    pub max_request_bytes: Option<u64>,
}

/// What a server is told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContextExtension {
    /// Its name.
    pub name: String,
    /// `Value` or `ValueRef`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What it is told.
    pub value: Option<String>,
}

impl From<&ExternalAuthBackendRef> for ExternalBackendRef {
    fn from(one: &ExternalAuthBackendRef) -> Self {
        let ExternalAuthBackendRef { group, kind, namespace, name, port } = one.clone();
        Self { group, kind, namespace, name, port, weight: None }
    }
}
