//! An OpenID Connect issuer with one client, for the client credentials grant (RFC 6749, 4.4).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderValue, Method, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{Ask, Kind, form::Form, json as json_response};
use crate::body::SimBody;

/// `/.well-known/openid-configuration`.
pub(super) fn discovery(ask: &Ask<'_>) -> Response<SimBody> {
    if *ask.method != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "GET it.");
    }
    let origin = ask.origin();
    let body = json!({
        "issuer": origin,
        "token_endpoint": format!("{origin}/oidc/token"),
        "authorization_endpoint": format!("{origin}/oidc/authorize"),
        "jwks_uri": format!("{origin}/oidc/keys"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["HS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    });
    json_response(StatusCode::OK, &body)
}

/// `POST /oidc/token`.
pub(super) fn token(ask: &Ask<'_>) -> Response<SimBody> {
    if *ask.method != Method::POST {
        return error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "POST a form.");
    }
    if !ask.is_of_type("application/x-www-form-urlencoded") {
        return error(StatusCode::BAD_REQUEST, "invalid_request", "The body has to be a form.");
    }
    let form = Form::parse(ask.body);
    let basic = ask.header("authorization").and_then(basic_credentials);
    let posted = form.get("client_id").map(str::to_owned).zip(form.get("client_secret").map(str::to_owned));
    let known = ask.vault.known.oidc.as_ref().map(|oidc| (&oidc.client_id, &oidc.client_secret));
    let shown = basic.or(posted);
    if shown.is_none() || shown.as_ref().map(|(id, secret)| (id, secret)) != known {
        let mut response = error(StatusCode::UNAUTHORIZED, "invalid_client", "Client authentication failed.");
        let challenge = HeaderValue::from_static("Basic realm=\"oidc\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        return response;
    }
    match form.get("grant_type") {
        Some("client_credentials") => {}
        None => return error(StatusCode::BAD_REQUEST, "invalid_request", "grant_type is missing."),
        Some(_) => {
            return error(StatusCode::BAD_REQUEST, "unsupported_grant_type", "Only client_credentials.");
        }
    }
    let client = shown.map(|(id, _)| id).unwrap_or_default();
    let audience = form.get("audience").or_else(|| form.get("resource")).unwrap_or(&client);
    let token = ask.vault.issue(Kind::Oidc, &client, audience, u64::MAX);
    let mut body =
        json!({"access_token": token.text, "token_type": "Bearer", "expires_in": token.lifetime_s});
    if let Some(scope) = form.get("scope") {
        body["scope"] = json!(scope);
    }
    json_response(StatusCode::OK, &body)
}

/// Client and secret of `Basic`; both are percent-encoded inside of it (RFC 6749, 2.3.1).
fn basic_credentials(header: &str) -> Option<(String, String)> {
    let bytes = BASE64_STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((decoded(id), decoded(secret)))
}

fn error(status: StatusCode, error: &str, description: &str) -> Response<SimBody> {
    json_response(status, &json!({"error": error, "error_description": description}))
}
