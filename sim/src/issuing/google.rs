//! Google: tokens for the assertions of service accounts, for identity tokens of others, for impersonated accounts, and
//! those of the metadata server.

use http::{HeaderValue, Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Ask, Invalid, Kind, assertion, form::Form, json as json_response, text};
use crate::{body::SimBody, credentials::Google};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TOKENS: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];
/// The address of the token endpoint, which every assertion may be made for.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// Longest lifetime of an impersonated account's token, in seconds.
const MAX_IMPERSONATED_S: u64 = 3600;

/// `POST /token` with an assertion of a service account.
pub(super) fn token(ask: &Ask<'_>) -> Response<SimBody> {
    if *ask.method != Method::POST {
        return text(
            StatusCode::NOT_FOUND,
            "text/html; charset=UTF-8",
            "<title>Error 404 (Not Found)!!1</title>",
        );
    }
    let form = match ask.is_of_type("application/x-www-form-urlencoded") {
        true => Form::parse(ask.body),
        false => Form::parse(b""),
    };
    match form.get("grant_type") {
        Some(GRANT) => {}
        None => return oauth_error("invalid_request", "Required parameter is missing: grant_type"),
        Some(grant) => return oauth_error("unsupported_grant_type", &format!("Invalid grant_type: {grant}")),
    }
    let Some(text) = form.get("assertion") else {
        return oauth_error("invalid_request", "Required parameter is missing: assertion");
    };
    let here = format!("{}/token", ask.origin());
    let accounts = google(ask).map_or(&[][..], |google| &google.service_accounts);
    let assertion = match assertion::verify(text, accounts, &[TOKEN_URI, &here]) {
        Ok(assertion) => assertion,
        Err(refusal) => return oauth_error("invalid_grant", &refusal.to_string()),
    };
    let Some(scope) = assertion.scope.filter(|scope| is_scope(scope)) else {
        return oauth_error("invalid_scope", "Invalid OAuth scope or ID token audience provided.");
    };
    let token = ask.vault.issue(Kind::Google, &assertion.iss, &scope, u64::MAX);
    let body = json!({"access_token": token.text, "expires_in": token.lifetime_s, "token_type": "Bearer"});
    json_response(StatusCode::OK, &body)
}

/// What is to be exchanged, as a form or as JSON.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Exchange {
    #[serde(alias = "grant_type")]
    grant_type: String,
    audience: String,
    scope: String,
    #[serde(alias = "requested_token_type")]
    requested_token_type: String,
    #[serde(alias = "subject_token")]
    subject_token: String,
    #[serde(alias = "subject_token_type")]
    subject_token_type: String,
}

impl Exchange {
    fn of(ask: &Ask<'_>) -> Option<Self> {
        if ask.is_of_type("application/json") {
            return serde_json::from_slice(ask.body).ok();
        }
        if !ask.is_of_type("application/x-www-form-urlencoded") {
            return None;
        }
        let form = Form::parse(ask.body);
        let field = |name: &str| form.get(name).unwrap_or_default().to_owned();
        Some(Self {
            grant_type: field("grant_type"),
            audience: field("audience"),
            scope: field("scope"),
            requested_token_type: field("requested_token_type"),
            subject_token: field("subject_token"),
            subject_token_type: field("subject_token_type"),
        })
    }
}

/// `POST /v1/token`: a token of Google's for an identity token of another issuer.
pub(super) fn exchange(ask: &Ask<'_>) -> Response<SimBody> {
    if *ask.method != Method::POST {
        return text(
            StatusCode::NOT_FOUND,
            "text/html; charset=UTF-8",
            "<title>Error 404 (Not Found)!!1</title>",
        );
    }
    let Some(asked) = Exchange::of(ask) else {
        return oauth_error("invalid_request", "The request body cannot be read.");
    };
    if asked.grant_type != EXCHANGE {
        let message = format!("Invalid value for \"grant_type\": {}", asked.grant_type);
        return oauth_error("unsupported_grant_type", &message);
    }
    if asked.requested_token_type != ACCESS_TOKEN {
        return oauth_error("invalid_request", "Invalid value for \"requested_token_type\".");
    }
    if !SUBJECT_TOKENS.contains(&asked.subject_token_type.as_str()) {
        return oauth_error("invalid_request", "Invalid value for \"subject_token_type\".");
    }
    if !is_scope(&asked.scope) {
        return oauth_error("invalid_scope", "Invalid value for \"scope\".");
    }
    let is_known = google(ask).is_some_and(|google| google.audiences.contains(&asked.audience));
    if !is_known {
        let message = "The target service indicated by the \"audience\" parameters is invalid. This might either be because \
                       the pool or provider is disabled or deleted or because it doesn't exist.";
        return oauth_error("invalid_target", message);
    }
    let subject = match ask.vault.identity(&asked.subject_token) {
        Ok(subject) => subject,
        Err(Invalid::Expired) => return oauth_error("invalid_grant", "The subject token is expired."),
        Err(Invalid::Unknown) => {
            return oauth_error("invalid_grant", "The subject token could not be verified.");
        }
    };
    let token = ask.vault.issue(Kind::GoogleFederated, &subject, &asked.audience, u64::MAX);
    let body = json!({
        "access_token": token.text, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer",
        "expires_in": token.lifetime_s,
    });
    json_response(StatusCode::OK, &body)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Impersonation {
    #[serde(default)]
    scope: Vec<String>,
    lifetime: Option<String>,
    #[serde(default, rename = "delegates")]
    _delegates: Vec<String>,
}

/// `POST /v1/projects/-/serviceAccounts/{email}:generateAccessToken`.
pub(super) fn impersonate(ask: &Ask<'_>) -> Response<SimBody> {
    let email = ask
        .uri
        .path()
        .strip_prefix("/v1/projects/-/serviceAccounts/")
        .and_then(|rest| rest.strip_suffix(":generateAccessToken"))
        .map(|email| email.replace("%40", "@"));
    let Some(email) = email.filter(|_| *ask.method == Method::POST) else {
        return text(
            StatusCode::NOT_FOUND,
            "text/html; charset=UTF-8",
            "<title>Error 404 (Not Found)!!1</title>",
        );
    };
    let shown = ask.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let is_known =
        shown.is_some_and(|token| ask.vault.verify(&[Kind::GoogleFederated, Kind::Google], token).is_ok());
    if !is_known {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                       valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";
        return api_error(StatusCode::UNAUTHORIZED, message, "UNAUTHENTICATED");
    }
    let accounts = google(ask).map_or(&[][..], |google| &google.service_accounts);
    if !accounts.iter().any(|account| account.client_email == email) {
        let message =
            "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        return api_error(StatusCode::FORBIDDEN, message, "PERMISSION_DENIED");
    }
    let asked: Impersonation = match serde_json::from_slice(ask.body) {
        Ok(asked) => asked,
        Err(error) => {
            let message = format!("Invalid JSON payload received. {error}");
            return api_error(StatusCode::BAD_REQUEST, &message, "INVALID_ARGUMENT");
        }
    };
    if asked.scope.is_empty() || !asked.scope.iter().all(|scope| is_scope(scope)) {
        return api_error(StatusCode::BAD_REQUEST, "Scope field is required.", "INVALID_ARGUMENT");
    }
    let lifetime_s = match asked.lifetime.as_deref() {
        None => Some(MAX_IMPERSONATED_S),
        Some(text) => text.strip_suffix('s').and_then(|text| text.parse().ok()),
    };
    let Some(lifetime_s) = lifetime_s.filter(|lifetime| (1..=MAX_IMPERSONATED_S).contains(lifetime)) else {
        let message = "The access token lifetime cannot exceed 3600s.";
        return api_error(StatusCode::BAD_REQUEST, message, "INVALID_ARGUMENT");
    };
    let token = ask.vault.issue(Kind::Google, &email, &asked.scope.join(" "), lifetime_s);
    json_response(StatusCode::OK, &json!({"accessToken": token.text, "expireTime": token.expiry()}))
}

/// The metadata server of a virtual machine or a pod.
pub(super) fn metadata(ask: &Ask<'_>) -> Response<SimBody> {
    let path = ask.uri.path();
    if ask.header("metadata-flavor") != Some("Google") || ask.headers.contains_key("x-forwarded-for") {
        let message = format!(
            "Your client does not have permission to get URL <code>{path}</code> from this server. Missing \
             Metadata-Flavor:Google header."
        );
        return of_metadata(text(StatusCode::FORBIDDEN, "text/html; charset=UTF-8", message));
    }
    if *ask.method != Method::GET {
        let message = "<title>Error 405 (Method Not Allowed)!!1</title>";
        return of_metadata(text(StatusCode::METHOD_NOT_ALLOWED, "text/html; charset=UTF-8", message));
    }
    let email = google(ask).and_then(|google| google.metadata_account.as_deref()).unwrap_or_default();
    let plain = |body: &str| text(StatusCode::OK, "application/text", body.to_owned());
    let accounts = path.strip_prefix("/computeMetadata/v1/instance/service-accounts/");
    let response = match accounts.and_then(|rest| rest.split_once('/')) {
        Some((account, "token")) if account == "default" || account == email => {
            let token = ask.vault.issue(Kind::Google, email, "", u64::MAX);
            let body =
                json!({"access_token": token.text, "expires_in": token.lifetime_s, "token_type": "Bearer"});
            json_response(StatusCode::OK, &body)
        }
        Some((account, "email")) if account == "default" || account == email => plain(email),
        Some((account, "scopes")) if account == "default" || account == email => {
            plain("https://www.googleapis.com/auth/cloud-platform\n")
        }
        _ => {
            text(StatusCode::NOT_FOUND, "text/html; charset=UTF-8", "<title>Error 404 (Not Found)!!1</title>")
        }
    };
    of_metadata(response)
}

fn of_metadata(mut response: Response<SimBody>) -> Response<SimBody> {
    response.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
    response.headers_mut().insert("server", HeaderValue::from_static("Metadata Server for VM"));
    response
}

fn google<'a>(ask: &Ask<'a>) -> Option<&'a Google> {
    ask.vault.known.google.as_ref()
}

/// Whether all scopes are ones of Google's.
fn is_scope(scopes: &str) -> bool {
    let mut each = scopes.split_whitespace().peekable();
    each.peek().is_some() && each.all(|scope| scope.starts_with("https://www.googleapis.com/auth/"))
}

fn oauth_error(error: &str, description: &str) -> Response<SimBody> {
    json_response(StatusCode::BAD_REQUEST, &json!({"error": error, "error_description": description}))
}

fn api_error(code: StatusCode, message: &str, status: &str) -> Response<SimBody> {
    let error: Value = json!({"error": {"code": code.as_u16(), "message": message, "status": status}});
    json_response(code, &error)
}
