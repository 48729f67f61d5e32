//! Errors of the API: one table, in vLLM's words.

use http::{HeaderValue, Method, Response, StatusCode, header};

use serde_json::json;

use super::endpoint::ErrorDialect;
use crate::{body::SimBody, options::FailureType};

/// An error, as it goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    param: Option<&'static str>,
    message: String,
    allow: Option<Method>,
}

const BAD_REQUEST: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "BadRequestError");
const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "NotFoundError");

impl ApiError {
    fn new((status, kind): (StatusCode, &'static str), message: impl Into<String>) -> Self {
        Self { status, kind, param: None, message: message.into(), allow: None }
    }

    pub(crate) fn unknown_model(name: &str) -> Self {
        Self::new(NOT_FOUND, format!("The model `{name}` does not exist."))
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new((StatusCode::NOT_FOUND, "Not Found"), "Not Found")
    }

    pub(crate) fn method_not_allowed(allowed: &Method) -> Self {
        let error = Self::new((StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"), "Method Not Allowed");
        Self { allow: Some(allowed.clone()), ..error }
    }

    pub(crate) fn bad_body(error: &serde_json::Error) -> Self {
        let what = if error.is_data() { "Invalid request" } else { "JSON decode error" };
        Self::new(BAD_REQUEST, format!("{what}: {error}"))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(BAD_REQUEST, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new((StatusCode::FORBIDDEN, "PermissionError"), message)
    }

    /// What Azure says of paths and deployments that it has not.
    pub(super) fn azure_not_found(message: impl Into<String>) -> Self {
        Self::new((StatusCode::NOT_FOUND, "404"), message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, message)
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        let kind = (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge");
        Self::new(kind, format!("The request body is larger than {limit} bytes."))
    }

    pub(crate) fn queue_full() -> Self {
        let kind = (StatusCode::TOO_MANY_REQUESTS, "RateLimitError");
        Self::new(kind, "Failed to enqueue request, waiting requests queue is full")
    }

    pub(crate) fn prompt_too_long(context: usize, prompt: usize) -> Self {
        let error = Self::new(
            BAD_REQUEST,
            format!(
                "This model's maximum context length is {context} tokens. However, your request has {prompt} input \
                 tokens. Please reduce the length of the input messages."
            ),
        );
        Self { param: Some("input_tokens"), ..error }
    }

    pub(crate) fn too_long(context: usize, prompt: usize, output: usize) -> Self {
        let message = format!(
            "This model's maximum context length is {context} tokens. However, you requested {} tokens ({prompt} in \
             the messages, {output} in the completion). Please reduce the length of the messages or completion",
            prompt.saturating_add(output),
        );
        Self::new(BAD_REQUEST, message)
    }

    pub(crate) fn max_tokens_too_small(max: i64) -> Self {
        let error = Self::new(BAD_REQUEST, format!("max_tokens must be at least 1, got {max}."));
        Self { param: Some("max_tokens"), ..error }
    }

    /// A failure that was asked for, in the words of the provider APIs.
    pub(crate) fn injected(kind: FailureType, model: &str) -> Self {
        let with = |param, error: Self| Self { param: Some(param), ..error };
        match kind {
            FailureType::RateLimit => Self::new(
                (StatusCode::TOO_MANY_REQUESTS, "RateLimitError"),
                format!("Rate limit reached for {model} in organization org-sim on requests per min (RPM)."),
            ),
            FailureType::InvalidApiKey => {
                Self::new((StatusCode::UNAUTHORIZED, "AuthenticationError"), "Incorrect API key provided.")
            }
            FailureType::ContextLength => {
                with("messages", Self::bad_request("The context length is exceeded."))
            }
            FailureType::ServerError => Self::new(
                (StatusCode::SERVICE_UNAVAILABLE, "InternalServerError"),
                "The server is overloaded or not ready yet.",
            ),
            FailureType::InvalidRequest => {
                with("model", Self::bad_request("Invalid request: missing required parameter 'model'."))
            }
            FailureType::ModelNotFound => {
                with("model", Self::not_found(format!("The model '{model}-nonexistent' does not exist")))
            }
        }
    }

    /// What it is called by Anthropic, AWS and Google.
    fn names(&self) -> (&'static str, &'static str, &'static str) {
        match self.status.as_u16() {
            403 => ("permission_error", "AccessDeniedException", "PERMISSION_DENIED"),
            404 => ("not_found_error", "ResourceNotFoundException", "NOT_FOUND"),
            429 => ("rate_limit_error", "ThrottlingException", "RESOURCE_EXHAUSTED"),
            503 => ("overloaded_error", "ServiceUnavailableException", "UNAVAILABLE"),
            400..500 => ("invalid_request_error", "ValidationException", "INVALID_ARGUMENT"),
            _ => ("api_error", "InternalServerException", "INTERNAL"),
        }
    }

    /// The answer in vLLM's form.
    pub(crate) fn response(&self) -> Response<SimBody> {
        self.response_as(ErrorDialect::OpenAi)
    }

    /// The answer in the form of an API.
    pub(crate) fn response_as(&self, dialect: ErrorDialect) -> Response<SimBody> {
        let (code, message) = (self.status.as_u16(), &self.message);
        let body = match dialect {
            ErrorDialect::OpenAi => json!({"error": {
                "message": message, "type": self.kind, "param": self.param, "code": code,
            }}),
            ErrorDialect::Anthropic => {
                json!({"type": "error", "error": {"type": self.names().0, "message": message}})
            }
            ErrorDialect::Aws | ErrorDialect::Cohere => json!({"message": message}),
            ErrorDialect::Google => {
                json!({"error": {"code": code, "message": message, "status": self.names().2}})
            }
        };
        let mut response = super::json_bytes(self.status, body.to_string().into_bytes());
        if dialect == ErrorDialect::Aws {
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(self.names().1));
        }
        if let Some(allow) =
            self.allow.as_ref().and_then(|method| HeaderValue::from_str(method.as_str()).ok())
        {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}
