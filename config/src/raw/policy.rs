//! Who may ask for what: consumers, and policies that listeners and rules name.

mod external;
mod oidc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RawCors, RawLimit, RawMethod, RawPathMatch};
use crate::cidr::Cidr;
use crate::decimal::Decimal;
use crate::knob::Span;

pub use external::{RawContextExtension, RawExternal, RawExternalBody, RawExternalGrpc, RawExternalHttp};
pub use oidc::{RawOidc, RawSameSite};

/// Somebody who asks, as keys, users or tokens tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawConsumer {
    /// Its name, unique among consumers; the access log shows it, and authorization names it. What a file of keys, a file
    /// of users or the claim `consumerClaim` of a token calls so is this consumer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Digests of its keys, as `penstock keys new` prints them: `sha256:` and 64 hexadecimal digits. The keys themselves
    /// are not stored anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "digests")]
    pub keys: Vec<String>,
    /// What else is known of it, such as `team: search`; authorization can ask for it.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub tags: std::collections::BTreeMap<String, String>,
    /// The models that it may ask for, by the names that clients use: exact, or a prefix followed by `*`. Left out: all.
    /// Requests that name no model are refused to a consumer that has a list, other than for the gateway's own list of models
    /// (`GET /v1/models`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub models: Option<Vec<String>>,
    /// Amounts of its own, by names of limits that count `per: [consumer]`, in the place of the limits' own.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub limits: std::collections::BTreeMap<String, Decimal>,
    /// How urgent its requests are to pools, as an objective's `priority`; one that a request names wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// What is asked of requests before they are served. Listeners and rules name policies (`policies`); all that are named
/// have to let a request pass, those of its listener first. Pools and backends name policies that have limits only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawPolicy {
    /// Its name, unique among policies.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A server is asked whether a request may be served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<RawExternal>,
    /// Clients have to say who they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<RawAuthentication>,
    /// Who may do what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<RawAuthorization>,
    /// How much. Those of all policies that a request passes hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub limits: Vec<RawLimit>,
    /// Which web pages may ask. Of several policies that say so, the last one that is named holds, and a rule's before its
    /// listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<RawCors>,
}

/// How clients say who they are. One of the ways that are given suffices; a request without any of them is answered with
/// 401, or led to where people log in. What a credential was read from is removed from the request, unless `forward` says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawAuthentication {
    /// Requests that show nothing pass as nobody's. One that shows what is not valid is refused all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// By a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<RawApiKeys>,
    /// By a name and a password (RFC 7617).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<RawBasic>,
    /// By a token of an identity provider (RFC 7519).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<RawJwt>,
    /// By logging in at an OpenID provider, with a browser.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<RawOidc>,
}

/// Keys of consumers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawApiKeys {
    /// Where clients show a key: the first of these that a request has. Left out: the places where SDKs of OpenAI,
    /// Anthropic, Azure and Google do (`authorization` with `Bearer `, `x-api-key`, `api-key`, `x-goog-api-key`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub extract_from: Vec<RawExtract>,
    /// The path of a file, or `secret:KEY`, with a line for each key: the name of its consumer, white space, and the key's
    /// digest as in `consumers[].keys`. Names that `consumers` does not have are consumers without tags. Empty lines and
    /// lines that begin with `#` mean nothing. Read again when it changes. Left out: the keys of `consumers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub file: Option<String>,
    /// The header in which upstreams are told the consumer's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub consumer_header: Option<String>,
    /// Upstreams see the key as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}

/// Where a credential is looked for. Exactly one of `header`, `query` and `cookie`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawExtract {
    /// In this header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub header: Option<String>,
    /// With `header`: what stands before it, such as `Bearer `. A header without it has none. ASCII letters are compared
    /// without regard to case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub prefix: Option<String>,
    /// In this parameter of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub query: Option<String>,
    /// In this cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub cookie: Option<String>,
}

/// Names and passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawBasic {
    /// The path of a file, or `secret:KEY`, as `htpasswd -s` writes it: `NAME:{SHA}` and the password's SHA-1 in Base64, a
    /// line each. Read again when it changes.
    #[schemars(length(min = 1, max = 4096))]
    pub file: String,
    /// The header in which upstreams are told the user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub user_header: Option<String>,
    /// Upstreams see name and password as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}

/// Tokens of identity providers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawJwt {
    /// Who issues tokens. At least one; any of them may have issued a request's.
    #[schemars(length(min = 1, max = 16))]
    pub providers: Vec<RawJwtProvider>,
}

/// An identity provider. Signatures may be RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA; a key that
/// names its algorithm verifies no other. `exp` and `nbf` are held to, with a minute of tolerance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawJwtProvider {
    /// Its name, unique among the providers of the policy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// What a token has to have as `iss`. Left out: anything, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,
    /// A token has to have one of these among its `aud`. Left out: it may have any, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub audiences: Vec<String>,
    /// The address of its key set (RFC 7517), `https://` or `http://`. Fetched in the background. Either this or `keysFile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub keys_url: Option<String>,
    /// The path of a file, or `secret:KEY`, with its key set. Read again when it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub keys_file: Option<String>,
    /// With `keysUrl`: how long a key set is used before it is fetched again. One that cannot be fetched again stays in
    /// use.
    #[serde(default = "cache_duration", skip_serializing_if = "is_cache_duration")]
    #[schemars(extend("default" = "5m", "x-minimum" = "1s", "x-maximum" = "168h"))]
    pub cache_duration: Span,
    /// Where clients show a token: the first of these that a request has. Left out: `authorization` with `Bearer `, and the
    /// parameter `access_token` of the query.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub extract_from: Vec<RawExtract>,
    /// Headers in which upstreams are told claims. Clients cannot send them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub claim_headers: Vec<RawClaimHeader>,
    /// The claim that names the consumer, with dots between names of objects within each other.
    #[serde(default = "subject", skip_serializing_if = "is_subject")]
    #[schemars(length(min = 1, max = 256), extend("default" = SUBJECT))]
    pub consumer_claim: String,
    /// Upstreams see the token as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
}

/// A claim that becomes a header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawClaimHeader {
    /// The header.
    #[schemars(length(min = 1, max = 256))]
    pub header: String,
    /// The claim, with dots between names of objects within each other: a text, a number or a truth value. Without it, the
    /// header is not there.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
}

/// Who may do what: the first rule that a request meets decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawAuthorization {
    /// What becomes of requests that meet no rule.
    #[serde(default)]
    pub default_action: RawAccess,
    /// The rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub rules: Vec<RawAccessRule>,
}

/// Whether a request is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawAccess {
    /// It is.
    Allow,
    /// It is answered with 403.
    #[default]
    Deny,
}

/// A rule of authorization. A request meets it if it meets all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawAccessRule {
    /// Its name, which clients are told that it refuses; its position if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// What becomes of requests that meet it.
    pub action: RawAccess,
    /// One of these methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub methods: Vec<RawMethod>,
    /// One of these models, by the names that clients use: exact, or a prefix followed by `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub models: Vec<String>,
    /// From an address in one of these ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub addresses: Vec<Cidr>,
    /// By one of these consumers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub consumers: Vec<String>,
    /// By a consumer that has each of these tags, with one of the values.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub tags: std::collections::BTreeMap<String, Vec<String>>,
    /// With a token that has all of these claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub claims: Vec<RawClaimMatch>,
    /// With a token that has all of these scopes, in its `scope` or `scp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub scopes: Vec<String>,
    /// With a token of this provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub provider: Option<String>,
    /// With all of these headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub headers: Vec<RawHeaderValues>,
    /// For one of these paths, as clients ask for them. A rule that refuses looks through other ways to write a path
    /// (percent-encoding, several slashes, another case), and one that serves asks for the plain one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub paths: Vec<RawPathMatch>,
    /// A condition in CEL over the request. Where it cannot be told, a rule that refuses is met, and one that serves is
    /// not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cel: Option<String>,
}

/// A claim that a token has to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawClaimMatch {
    /// Its name, with dots between names of objects within each other.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// What it is.
    #[serde(default, rename = "type", skip_serializing_if = "RawClaimType::is_default")]
    pub value_type: RawClaimType,
    /// One of these.
    #[schemars(length(min = 1, max = 128))]
    pub values: Vec<String>,
}

/// What a claim is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawClaimType {
    /// A text.
    #[default]
    String,
    /// A list of texts, one of which has to be among the values.
    StringArray,
}

/// A header that a request has to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHeaderValues {
    /// Its name. `x-ai-eg-model` stands for the model that the request's body names, as in `models`, never for a header
    /// that the client sent.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// With one of these values, exactly.
    #[schemars(length(min = 1, max = 128))]
    pub values: Vec<String>,
}

impl RawClaimType {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl RawJwtProvider {
    /// How long a key set is used if the document does not say it.
    pub const CACHE_DURATION: Span = Span::secs(300);
}

/// A format of its own, so that no message shows what stands in a digest's place.
fn digests(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": { "type": "string", "format": "digest", "pattern": "^sha256:[0-9A-Fa-f]{64}$" },
    })
}

fn cache_duration() -> Span {
    RawJwtProvider::CACHE_DURATION
}

fn is_cache_duration(duration: &Span) -> bool {
    *duration == RawJwtProvider::CACHE_DURATION
}

const SUBJECT: &str = "sub";

fn subject() -> String {
    SUBJECT.to_owned()
}

fn is_subject(claim: &str) -> bool {
    claim == SUBJECT
}
