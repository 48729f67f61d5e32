//! Logging people in at an OpenID provider.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::uri::{Authority, Scheme};

use crate::consumer::ClaimPath;
use crate::spec::TextMatch;

/// People log in at an OpenID provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oidc {
    /// What rules call the provider.
    pub name: Arc<str>,
    /// The provider.
    pub provider: OpenIdProvider,
    /// What the provider calls the gateway.
    pub client_id: Box<str>,
    /// A file with the client's secret.
    pub client_secret: PathBuf,
    /// Where the provider leads people back to.
    pub redirect: RedirectUrl,
    /// The path that ends a session.
    pub logout_path: Box<str>,
    /// What is asked for, with a space between each two; `openid` is among it.
    pub scope: Box<str>,
    /// What access tokens shall be for.
    pub resources: Box<[Box<str>]>,
    /// The session's cookie.
    pub cookie: SessionCookie,
    /// Requests that one of these is met by are not led to the provider.
    pub deny_redirect: Box<[TextMatch<HeaderName>]>,
    /// Whether sessions are renewed.
    pub refreshes: bool,
    /// How long a session lasts where the provider does not say it; `None` is as long as the ID token.
    pub token_ttl: Option<Duration>,
    /// How long after it was renewed last a session can be renewed.
    pub refresh_token_ttl: Duration,
    /// How long people may take to log in.
    pub login_ttl: Duration,
    /// Whether upstreams are shown the access token.
    pub forwards_access_token: bool,
    /// Where upstreams are shown the ID token.
    pub id_token_header: Option<HeaderName>,
    /// The cookie in which policies that follow and upstreams are shown the ID token.
    pub id_token_cookie: Option<Box<str>>,
    /// The cookie in which policies that follow and upstreams are shown the access token.
    pub access_token_cookie: Option<Box<str>>,
    /// Claims that upstreams are told.
    pub claim_headers: Box<[(HeaderName, ClaimPath)]>,
    /// The claim that names the consumer.
    pub consumer_claim: ClaimPath,
}

/// An OpenID provider. What is `None` is as it is discovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIdProvider {
    /// Its issuer, without a slash at its end.
    pub issuer: Arc<str>,
    /// Where people log in.
    pub authorization_endpoint: Option<Box<str>>,
    /// Where tokens are got.
    pub token_endpoint: Option<Box<str>>,
    /// Where people log out.
    pub end_session_endpoint: Option<Box<str>>,
}

/// Where a provider leads people back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedirectUrl {
    /// Where that is; `None` is the host that people came to, by the scheme that they came by.
    pub origin: Option<(Scheme, Authority)>,
    /// Its path.
    pub path: Box<str>,
}

/// The cookie of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCookie {
    /// Its name; `None` is one that is made of issuer and client.
    pub name: Option<Box<str>>,
    /// The domain whose hosts have it in common.
    pub domain: Option<Box<str>>,
    /// When browsers show it.
    pub same_site: SameSite,
}

/// When browsers show a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// With requests of the same site, and where a link of another leads.
    Lax,
    /// With requests of the same site.
    Strict,
    /// Always.
    None,
}
