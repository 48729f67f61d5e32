//! Credentials of requests, checked as the provider does whose path it is: where the document of credentials has a section
//! for it, and nowhere else.

mod sigv4;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use crate::{
    api::{Endpoint, Provider},
    body::SimBody,
    issuing::{Invalid, Kind, Vault},
};

/// Why a request is refused, as the provider says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Denied {
    status: StatusCode,
    /// AWS's name of it, in a header of its own.
    error_type: Option<&'static str>,
    body: Value,
}

impl Denied {
    fn new(status: StatusCode, body: Value) -> Self {
        Self { status, error_type: None, body }
    }

    fn of_aws(error_type: &'static str, message: impl Into<String>) -> Self {
        let body = json!({"message": message.into()});
        Self { status: StatusCode::FORBIDDEN, error_type: Some(error_type), body }
    }

    pub(crate) fn response(&self) -> Response<SimBody> {
        let mut response = Response::new(SimBody::whole(self.body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(name) = self.error_type {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(name));
        }
        response
    }
}

/// Checks what a request shows.
pub(crate) fn check(vault: &Vault, endpoint: Endpoint, parts: &Parts, body: &[u8]) -> Result<(), Denied> {
    let known = &vault.known;
    match endpoint.provider(parts.uri.path(), body) {
        Provider::Aws => match &known.aws {
            Some(aws) => sigv4::check(vault, aws, parts, body),
            None => Ok(()),
        },
        Provider::Vertex => match &known.google {
            Some(_) => google_token(vault, &parts.headers),
            None => Ok(()),
        },
        Provider::Gemini => match &known.google {
            Some(google) => gemini(vault, &google.api_keys, &parts.headers),
            None => Ok(()),
        },
        Provider::Azure => match &known.azure {
            Some(azure) => of_azure(vault, &azure.api_keys, &parts.headers),
            None => Ok(()),
        },
        Provider::Anthropic => match &known.anthropic {
            Some(keys) => anthropic(&keys.api_keys, &parts.headers),
            None => Ok(()),
        },
        Provider::Cohere => match &known.cohere {
            Some(keys) => cohere(&keys.api_keys, &parts.headers),
            None => Ok(()),
        },
        Provider::OpenAi => match &known.openai {
            Some(keys) => openai(&keys.api_keys, &parts.headers),
            None => Ok(()),
        },
    }
}

fn google_token(vault: &Vault, headers: &HeaderMap) -> Result<(), Denied> {
    let expected = "Expected OAuth 2 access token, login cookie or other valid authentication credential. See \
                    https://developers.google.com/identity/sign-in/web/devconsole-project.";
    let of = |what: &str, reason: &str| {
        let details = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}]);
        let error = json!({
            "code": 401, "message": format!("{what} {expected}"), "status": "UNAUTHENTICATED", "details": details,
        });
        Denied::new(StatusCode::UNAUTHORIZED, json!({"error": error}))
    };
    let Some(token) = bearer(headers) else {
        return Err(of("Request is missing required authentication credential.", "CREDENTIALS_MISSING"));
    };
    match vault.verify(&[Kind::Google, Kind::GoogleFederated], token) {
        Ok(_) => Ok(()),
        Err(Invalid::Expired) => {
            Err(of("Request had invalid authentication credentials.", "ACCESS_TOKEN_EXPIRED"))
        }
        Err(Invalid::Unknown) => {
            Err(of("Request had invalid authentication credentials.", "ACCESS_TOKEN_TYPE_UNSUPPORTED"))
        }
    }
}

/// A key of the Gemini API, or a token as for Vertex.
fn gemini(vault: &Vault, keys: &[String], headers: &HeaderMap) -> Result<(), Denied> {
    match (text(headers, "x-goog-api-key"), bearer(headers)) {
        (Some(key), _) if keys.iter().any(|known| known == key) => Ok(()),
        (Some(_), _) => {
            let error = json!({
                "code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT",
                "details": [{
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
                    "domain": "googleapis.com",
                }],
            });
            Err(Denied::new(StatusCode::BAD_REQUEST, json!({"error": error})))
        }
        (None, Some(_)) => google_token(vault, headers),
        (None, None) => {
            let message = "Method doesn't allow unregistered callers (callers without established identity). Please use \
                           API Key or other form of API consumer identity to call this API.";
            let error = json!({"code": 403, "message": message, "status": "PERMISSION_DENIED"});
            Err(Denied::new(StatusCode::FORBIDDEN, json!({"error": error})))
        }
    }
}

fn of_azure(vault: &Vault, keys: &[String], headers: &HeaderMap) -> Result<(), Denied> {
    const RESOURCE: &str = "https://cognitiveservices.azure.com";
    let of = |message: &str| {
        Denied::new(StatusCode::UNAUTHORIZED, json!({"error": {"code": "401", "message": message}}))
    };
    match (text(headers, "api-key"), bearer(headers)) {
        (Some(key), _) if keys.iter().any(|known| known == key) => Ok(()),
        (None, Some(token)) => match vault.verify(&[Kind::Azure], token) {
            Ok(claims) if claims.aud == RESOURCE => Ok(()),
            _ => Err(of("Unauthorized. Access token is missing, invalid, audience is incorrect \
                         (https://cognitiveservices.azure.com), or have expired.")),
        },
        _ => Err(of(
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key \
                     for an active subscription and use a correct regional API endpoint for your resource.",
        )),
    }
}

fn anthropic(keys: &[String], headers: &HeaderMap) -> Result<(), Denied> {
    let of = |status, kind: &str, message: &str| {
        let body = json!({
            "type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim",
        });
        Err(Denied::new(status, body))
    };
    let unauthorized = |message| of(StatusCode::UNAUTHORIZED, "authentication_error", message);
    match (text(headers, "x-api-key"), bearer(headers)) {
        (Some(key), _) if keys.iter().any(|known| known == key) => {}
        (Some(_), _) => return unauthorized("invalid x-api-key"),
        (None, Some(_)) => return unauthorized("Invalid bearer token"),
        (None, None) => return unauthorized("x-api-key header is required"),
    }
    match text(headers, "anthropic-version") {
        // Newer SDKs send newer ones.
        Some(version) if is_date(version) => Ok(()),
        Some(version) => {
            let message = format!("anthropic-version: \"{version}\" is not a valid version");
            of(StatusCode::BAD_REQUEST, "invalid_request_error", &message)
        }
        None => of(StatusCode::BAD_REQUEST, "invalid_request_error", "anthropic-version: header is required"),
    }
}

fn cohere(keys: &[String], headers: &HeaderMap) -> Result<(), Denied> {
    match bearer(headers) {
        Some(key) if keys.iter().any(|known| known == key) => Ok(()),
        Some(_) => Err(Denied::new(StatusCode::UNAUTHORIZED, json!({"message": "invalid api token"}))),
        None => Err(Denied::new(StatusCode::UNAUTHORIZED, json!({"message": "no api key supplied"}))),
    }
}

fn openai(keys: &[String], headers: &HeaderMap) -> Result<(), Denied> {
    let of = |message: String, code: Value| {
        let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": code});
        Denied::new(StatusCode::UNAUTHORIZED, json!({"error": error}))
    };
    match bearer(headers) {
        Some(key) if keys.iter().any(|known| known == key) => Ok(()),
        Some(_) => {
            let message = "Incorrect API key provided: *****. You can find your API key at \
                           https://platform.openai.com/account/api-keys.";
            Err(of(message.to_owned(), json!("invalid_api_key")))
        }
        None => {
            let message = "You didn't provide an API key. You need to provide your API key in an Authorization header \
                           using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
            Err(of(message.to_owned(), Value::Null))
        }
    }
}

fn is_date(version: &str) -> bool {
    let parts: Vec<&str> = version.split('-').collect();
    let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
    parts.iter().all(is_number) && parts.iter().map(|part| part.len()).eq([4, 2, 2])
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, "authorization")?.strip_prefix("Bearer ")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
