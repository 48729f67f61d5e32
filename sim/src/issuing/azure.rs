//! Microsoft's token endpoint, for applications: `POST /{tenant}/oauth2/v2.0/token`.

use http::{Method, Response, StatusCode};
use serde_json::json;

use super::{Ask, Invalid, Kind, form::Form, json as json_response, now_s, text, vault::timestamp};
use crate::{body::SimBody, credentials::Azure};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why Microsoft refuses: the OAuth error, its own number, and the text after it.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    number: u32,
    message: String,
}

impl Refusal {
    fn of(status: StatusCode, error: &'static str, number: u32, message: impl Into<String>) -> Self {
        Self { status, error, number, message: message.into() }
    }

    fn missing(name: &str) -> Self {
        let message = format!("The request body must contain the following parameter: '{name}'.");
        Self::of(StatusCode::BAD_REQUEST, "invalid_request", 900_144, message)
    }

    fn response(&self) -> Response<SimBody> {
        let number = self.number;
        let time = timestamp(now_s()).replace('T', " ");
        let id = "00000000-0000-0000-0000-000000000000";
        let description =
            format!("AADSTS{number}: {} Trace ID: {id} Correlation ID: {id} Timestamp: {time}", self.message);
        let body = json!({
            "error": self.error,
            "error_description": description,
            "error_codes": [number],
            "timestamp": time,
            "trace_id": id,
            "correlation_id": id,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        json_response(self.status, &body)
    }
}

pub(super) fn token(ask: &Ask<'_>) -> Response<SimBody> {
    if *ask.method != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/html; charset=utf-8", "Method Not Allowed");
    }
    let Some(azure) = &ask.vault.known.azure else {
        return text(StatusCode::NOT_FOUND, "text/html; charset=utf-8", "Not Found");
    };
    match resource(ask, azure) {
        Ok(resource) => {
            let token = ask.vault.issue(Kind::Azure, &azure.client_id, &resource, u64::MAX);
            let body = json!({
                "token_type": "Bearer", "expires_in": token.lifetime_s, "ext_expires_in": token.lifetime_s,
                "access_token": token.text,
            });
            json_response(StatusCode::OK, &body)
        }
        Err(refusal) => refusal.response(),
    }
}

/// The resource that a token is due for.
fn resource(ask: &Ask<'_>, azure: &Azure) -> Result<String, Refusal> {
    let bad = |error, number, message: String| Refusal::of(StatusCode::BAD_REQUEST, error, number, message);
    let tenant = ask.uri.path().trim_start_matches('/').split('/').next().unwrap_or_default();
    if tenant != azure.tenant {
        let message = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the \
             correct cloud."
        );
        return Err(bad("invalid_request", 90_002, message));
    }
    let form = match ask.is_of_type("application/x-www-form-urlencoded") {
        true => Form::parse(ask.body),
        false => Form::parse(b""),
    };
    match form.get("grant_type") {
        None => return Err(Refusal::missing("grant_type")),
        Some("client_credentials") => {}
        Some(grant) => {
            let message = format!("The app requested an unsupported grant type '{grant}'.");
            return Err(bad("unsupported_grant_type", 70_003, message));
        }
    }
    let client = form.get("client_id").ok_or_else(|| Refusal::missing("client_id"))?;
    if client != azure.client_id {
        let message = format!(
            "Application with identifier '{client}' was not found in the directory '{tenant}'. This can happen if the \
             application has not been installed by the administrator of the tenant."
        );
        return Err(bad("unauthorized_client", 700_016, message));
    }
    let scope = form.get("scope").ok_or_else(|| Refusal::missing("scope"))?;
    check_client(ask, azure, &form)?;
    match scope.strip_suffix("/.default") {
        Some(resource) if !resource.is_empty() && !scope.contains(' ') => Ok(resource.to_owned()),
        _ => {
            let message = format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with \
                 /.default suffixed to the resource identifier (application ID URI)."
            );
            Err(bad("invalid_scope", 1_002_012, message))
        }
    }
}

fn check_client(ask: &Ask<'_>, azure: &Azure, form: &Form) -> Result<(), Refusal> {
    let denied = |number, message| Refusal::of(StatusCode::UNAUTHORIZED, "invalid_client", number, message);
    if let Some(assertion) = form.get("client_assertion") {
        if form.get("client_assertion_type") != Some(ASSERTION) {
            return Err(Refusal::missing("client_assertion_type"));
        }
        return match ask.vault.identity(assertion) {
            Ok(_) => Ok(()),
            Err(Invalid::Expired) => {
                Err(denied(700_024, "Client assertion is not within its valid time range."))
            }
            Err(Invalid::Unknown) => {
                let message = "No matching federated identity record found for presented assertion.";
                Err(denied(700_211, message))
            }
        };
    }
    match form.get("client_secret") {
        None => {
            let message = "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant \
                           type.";
            Err(denied(7_000_216, message))
        }
        secret if secret == azure.client_secret.as_deref() => Ok(()),
        Some(_) => {
            let message = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                           value, not the client secret ID, for a secret added to the app.";
            Err(denied(7_000_215, message))
        }
    }
}
