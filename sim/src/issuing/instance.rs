//! The instance metadata service of EC2, version 2: a token first, by `PUT`, and nothing without it.

use http::{HeaderValue, Method, Response, StatusCode};

use super::{Ask, Kind, aws, text};
use crate::body::SimBody;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// Longest time that a token may be asked for, in seconds.
const MAX_TTL_S: u64 = 21_600;
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

pub(super) fn answer(ask: &Ask<'_>) -> Response<SimBody> {
    let path = ask.uri.path();
    if path == "/latest/api/token" {
        return token(ask);
    }
    if *ask.method != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED);
    }
    if ask.header(TOKEN).is_none_or(|token| ask.vault.verify(&[Kind::InstanceMetadata], token).is_err()) {
        return page(StatusCode::UNAUTHORIZED);
    }
    let role = ask.vault.known.aws.as_ref().and_then(|aws| aws.instance_role.as_deref()).unwrap_or_default();
    match path.strip_prefix(ROLES) {
        Some("") => text(StatusCode::OK, "text/plain", role.to_owned()),
        Some(asked) if asked == role => {
            text(StatusCode::OK, "text/plain", aws::instance_credentials(ask, role))
        }
        // Without its slash it is the same list.
        None if path == ROLES.trim_end_matches('/') => text(StatusCode::OK, "text/plain", role.to_owned()),
        _ => page(StatusCode::NOT_FOUND),
    }
}

fn token(ask: &Ask<'_>) -> Response<SimBody> {
    if *ask.method != Method::PUT {
        return page(StatusCode::METHOD_NOT_ALLOWED);
    }
    // A request that came through a proxy may be one that somebody made it send.
    if ask.headers.contains_key("x-forwarded-for") {
        return page(StatusCode::FORBIDDEN);
    }
    let Some(ttl_s) =
        ask.header(TTL).and_then(|ttl| ttl.parse().ok()).filter(|ttl| (1..=MAX_TTL_S).contains(ttl))
    else {
        return page(StatusCode::BAD_REQUEST);
    };
    let token = ask.vault.issue(Kind::InstanceMetadata, "instance", "", ttl_s);
    let mut response = text(StatusCode::OK, "text/plain", token.text);
    response.headers_mut().insert(TTL, HeaderValue::from(token.lifetime_s));
    response
}

/// The page of an error, as the service has it.
fn page(status: StatusCode) -> Response<SimBody> {
    let title = format!("{} - {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" \
         lang=\"en\">\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    );
    text(status, "text/html", body)
}
