//! Token services: AWS STS and metadata services, Google's and Microsoft's token endpoints, an OpenID Connect issuer.
//!
//! Each is as strict as the real one (method, headers, fields, grant, signature), and refuses in its words. All share one
//! port and are told apart by their paths.

mod assertion;
mod aws;
mod azure;
mod form;
mod google;
mod instance;
mod oidc;
mod vault;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header, request::Parts};
use serde_json::Value;

pub use self::vault::Issued;
pub(crate) use self::vault::{Invalid, Kind, Vault, now_s};
use crate::body::SimBody;

/// A token service, as its path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `POST /`: AWS STS.
    Sts,
    /// `/v1/credentials` and `/v2/credentials/…`: EKS Pod Identity and ECS.
    Container,
    /// `/latest/…`: the instance metadata service of EC2.
    Instance,
    /// `/token`: Google's OAuth 2.0 endpoint.
    GoogleToken,
    /// `/v1/token`: Google's STS.
    GoogleExchange,
    /// `/v1/projects/-/serviceAccounts/…:generateAccessToken`: Google's IAM.
    GoogleImpersonation,
    /// `/computeMetadata/…`: Google's metadata server.
    GoogleMetadata,
    /// `/{tenant}/oauth2/v2.0/token`: Microsoft's.
    Azure,
    /// `/.well-known/openid-configuration`.
    OidcDiscovery,
    /// `/oidc/token`.
    OidcToken,
}

impl Service {
    /// The service of a path, if the document of credentials turns it on.
    pub(crate) fn of(path: &str, vault: &Vault) -> Option<Self> {
        let known = &vault.known;
        let service = match path {
            "/" => Self::Sts,
            "/token" => Self::GoogleToken,
            "/v1/token" => Self::GoogleExchange,
            "/.well-known/openid-configuration" => Self::OidcDiscovery,
            "/oidc/token" => Self::OidcToken,
            _ if path == "/v1/credentials" || path.starts_with("/v2/credentials/") => Self::Container,
            _ if path.starts_with("/latest/") => Self::Instance,
            _ if path.starts_with("/computeMetadata/") => Self::GoogleMetadata,
            _ if path.starts_with("/v1/projects/-/serviceAccounts/") => Self::GoogleImpersonation,
            _ if path.ends_with("/oauth2/v2.0/token") => Self::Azure,
            _ => return None,
        };
        let is_on = match service {
            Self::Sts => known.aws.is_some(),
            Self::Container => known.aws.as_ref().is_some_and(|aws| aws.container_authorization.is_some()),
            Self::Instance => known.aws.as_ref().is_some_and(|aws| aws.instance_role.is_some()),
            Self::GoogleToken | Self::GoogleExchange | Self::GoogleImpersonation => known.google.is_some(),
            Self::GoogleMetadata => {
                known.google.as_ref().is_some_and(|google| google.metadata_account.is_some())
            }
            Self::Azure => known.azure.is_some(),
            Self::OidcDiscovery | Self::OidcToken => known.oidc.is_some(),
        };
        is_on.then_some(service)
    }
}

/// A request for a token.
struct Ask<'a> {
    vault: &'a Vault,
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl Ask<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the body is said to be of this type, parameters aside.
    fn is_of_type(&self, kind: &str) -> bool {
        let given = self.header("content-type").unwrap_or_default();
        given.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
    }

    /// The address by which the client calls this server.
    fn origin(&self) -> String {
        let host = self.uri.authority().map(http::uri::Authority::as_str).or_else(|| self.header("host"));
        format!("{}://{}", self.uri.scheme_str().unwrap_or("http"), host.unwrap_or_default())
    }
}

/// Answers a request to a token service.
pub(crate) fn answer(vault: &Vault, service: Service, parts: &Parts, body: &Bytes) -> Response<SimBody> {
    let ask = Ask { vault, method: &parts.method, uri: &parts.uri, headers: &parts.headers, body };
    match service {
        Service::Sts => aws::sts(&ask),
        Service::Container => aws::container(&ask),
        Service::Instance => instance::answer(&ask),
        Service::GoogleToken => google::token(&ask),
        Service::GoogleExchange => google::exchange(&ask),
        Service::GoogleImpersonation => google::impersonate(&ask),
        Service::GoogleMetadata => google::metadata(&ask),
        Service::Azure => azure::token(&ask),
        Service::OidcDiscovery => oidc::discovery(&ask),
        Service::OidcToken => oidc::token(&ask),
    }
}

/// An answer as JSON, which nobody may keep.
fn json(status: StatusCode, value: &Value) -> Response<SimBody> {
    let mut response = text(status, "application/json; charset=utf-8", value.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<SimBody> {
    let mut response = Response::new(SimBody::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
