//! Logging people in at an OpenID provider.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RawClaimHeader, is_subject, subject};
use crate::knob::Span;
use crate::raw::RawTextMatch;

/// People log in with a browser at an OpenID provider, whose confidential client the gateway is: the authorization code flow
/// (OpenID Connect Core 1.0, 3.1) with PKCE (RFC 7636). Who is logged in has a session in an encrypted cookie. A request
/// without one, and without what the other ways ask for, is led to the provider; one that no browser follows (other methods
/// than `GET` and `HEAD`, what scripts fetch, and `denyRedirect`) is answered with 401. Keys of the provider are those of its
/// discovery (`ISSUER/.well-known/openid-configuration`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawOidc {
    /// What rules of authorization call the provider.
    #[serde(default = "name", skip_serializing_if = "is_name")]
    #[schemars(length(min = 1, max = 253), extend("default" = NAME))]
    pub name: String,
    /// The issuer, `https://` or `http://`. Its discovery is fetched in the background, and names its endpoints and keys.
    #[schemars(length(min = 8, max = 2048))]
    pub issuer: String,
    /// Where people log in. Left out: as discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub authorization_endpoint: Option<String>,
    /// Where tokens are got. Left out: as discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub token_endpoint: Option<String>,
    /// Where people log out at the provider. Left out: as discovered; if that names none, people log out at the gateway only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048))]
    pub end_session_endpoint: Option<String>,
    /// What the provider calls the gateway.
    #[schemars(length(min = 1, max = 1024))]
    pub client_id: String,
    /// The path of a file with the client's secret, or `secret:KEY`. Read again when it changes, which ends all sessions: their
    /// keys are derived from it, so that all gateways have the same. It has to be long and random.
    #[schemars(length(min = 1, max = 4096))]
    pub client_secret: String,
    /// Where the provider leads people back to, as it knows it: an address with a path of the gateway's own, or that path
    /// alone, which is at the host that people came to.
    #[serde(default = "redirect_url", skip_serializing_if = "is_redirect_url")]
    #[schemars(length(min = 1, max = 2048), extend("default" = REDIRECT_URL))]
    pub redirect_url: String,
    /// The path that ends a session, here and at the provider.
    #[serde(default = "logout_path", skip_serializing_if = "is_logout_path")]
    #[schemars(length(min = 1, max = 1024), extend("default" = LOGOUT_PATH))]
    pub logout_path: String,
    /// Scopes that are asked for beside `openid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub scopes: Vec<String>,
    /// What access tokens shall be for (RFC 8707), an address each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub resources: Vec<String>,
    /// The session's cookie. Left out: `penstock-session-` and a digest of issuer and client, with the prefix `__Host-` where
    /// the cookie is for one host by `https`. Policies with the same client that name the same one share sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub cookie_name: Option<String>,
    /// The domain whose hosts have the session in common. Left out: the host that people came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub cookie_domain: Option<String>,
    /// When browsers show the session's cookie.
    #[serde(default, skip_serializing_if = "is_lax")]
    pub same_site: RawSameSite,
    /// Requests with one of these headers are answered with 401 and not led to the provider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub deny_redirect: Vec<RawTextMatch>,
    /// A session that has run out is renewed where the provider gave a token for that (`refresh_token`).
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    #[schemars(extend("default" = true))]
    pub refresh: bool,
    /// How long a session lasts before it is renewed, where the provider does not say it (`expires_in`). Left out: as long as
    /// the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "8760h"))]
    pub token_ttl: Option<Span>,
    /// How long after it was renewed last a session can be renewed.
    #[serde(default = "refresh_token_ttl", skip_serializing_if = "is_refresh_token_ttl")]
    #[schemars(extend("default" = "168h", "x-minimum" = "1s", "x-maximum" = "8760h"))]
    pub refresh_token_ttl: Span,
    /// How long people may take to log in.
    #[serde(default = "login_ttl", skip_serializing_if = "is_login_ttl")]
    #[schemars(extend("default" = "10m", "x-minimum" = "1s", "x-maximum" = "24h"))]
    pub login_ttl: Span,
    /// Upstreams are shown the access token, as `authorization: Bearer TOKEN`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward_access_token: bool,
    /// The header in which upstreams are shown the ID token; in `authorization` with `Bearer `. Clients cannot send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub id_token_header: Option<String>,
    /// The cookie in which the policies that follow, and upstreams, are shown the ID token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub id_token_cookie: Option<String>,
    /// The cookie in which the policies that follow, and upstreams, are shown the access token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub access_token_cookie: Option<String>,
    /// Headers in which upstreams are told claims of the ID token. Clients cannot send them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub claim_headers: Vec<RawClaimHeader>,
    /// The claim of the ID token that names the consumer, with dots between names of objects within each other.
    #[serde(default = "subject", skip_serializing_if = "is_subject")]
    #[schemars(length(min = 1, max = 256), extend("default" = super::SUBJECT))]
    pub consumer_claim: String,
}

/// When browsers show a cookie (`SameSite`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawSameSite {
    /// With requests of the same site, and where a link of another leads.
    #[default]
    Lax,
    /// With requests of the same site.
    Strict,
    /// Always, so pages of others can ask with it. Browsers want `https`.
    None,
}

impl RawOidc {
    /// How long after it was renewed last a session can be renewed if the document does not say it.
    pub const REFRESH_TOKEN_TTL: Span = Span::secs(7 * 24 * 60 * 60);

    /// How long people may take to log in if the document does not say it.
    pub const LOGIN_TTL: Span = Span::secs(10 * 60);
}

/// Of no client, with every default.
impl Default for RawOidc {
    fn default() -> Self {
        Self {
            name: name(),
            issuer: String::new(),
            authorization_endpoint: None,
            token_endpoint: None,
            end_session_endpoint: None,
            client_id: String::new(),
            client_secret: String::new(),
            redirect_url: redirect_url(),
            logout_path: logout_path(),
            scopes: Vec::new(),
            resources: Vec::new(),
            cookie_name: None,
            cookie_domain: None,
            same_site: RawSameSite::Lax,
            deny_redirect: Vec::new(),
            refresh: true,
            token_ttl: None,
            refresh_token_ttl: Self::REFRESH_TOKEN_TTL,
            login_ttl: Self::LOGIN_TTL,
            forward_access_token: false,
            id_token_header: None,
            id_token_cookie: None,
            access_token_cookie: None,
            claim_headers: Vec::new(),
            consumer_claim: subject(),
        }
    }
}

/// What rules call the provider.
const NAME: &str = "oidc";

/// Envoy Gateway's.
const REDIRECT_URL: &str = "/oauth2/callback";

/// Envoy Gateway's.
const LOGOUT_PATH: &str = "/logout";

fn name() -> String {
    NAME.to_owned()
}

fn is_name(text: &str) -> bool {
    text == NAME
}

fn redirect_url() -> String {
    REDIRECT_URL.to_owned()
}

fn is_redirect_url(text: &str) -> bool {
    text == REDIRECT_URL
}

fn logout_path() -> String {
    LOGOUT_PATH.to_owned()
}

fn is_logout_path(text: &str) -> bool {
    text == LOGOUT_PATH
}

fn is_lax(same_site: &RawSameSite) -> bool {
    *same_site == RawSameSite::Lax
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_yes(value: &bool) -> bool {
    *value
}

fn refresh_token_ttl() -> Span {
    RawOidc::REFRESH_TOKEN_TTL
}

fn is_refresh_token_ttl(ttl: &Span) -> bool {
    *ttl == RawOidc::REFRESH_TOKEN_TTL
}

fn login_ttl() -> Span {
    RawOidc::LOGIN_TTL
}

fn is_login_ttl(ttl: &Span) -> bool {
    *ttl == RawOidc::LOGIN_TTL
}
