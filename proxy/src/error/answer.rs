//! An [`Error`] in the words of the API that the client speaks.
//!
//! OpenAI's libraries read `error.message`, `type`, `param` and `code`; Anthropic's read `error.type` and
//! `error.message` beneath a `type` of `error`; Google's read a status in numbers and one in words; AWS's read a header and
//! `message`. A stream that breaks after its first byte cannot change its status any
//! more, so the same object goes out as a last event. `data: [DONE]` never follows it: that would make a truncated
//! answer look complete to a client that stops reading at the marker.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use penstock_providers::Api;
use penstock_tap::StreamPosition;
use serde::Serialize;

use super::{Error, Row};
use crate::request_id::RequestId;

/// The API whose error shape a client expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI's, and that of every server that copies it.
    #[default]
    OpenAi,
    /// OpenAI's Responses API: the same answers, other events.
    OpenAiResponses,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's generateContent and its kin.
    Google,
    /// AWS Bedrock's. Its streams have frames, and none of those is written here.
    Aws,
}

/// Header in which AWS's libraries find the class of an error.
const AMZN_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// A complete answer to a request that failed.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status. 499 for errors that are logged and not sent.
    pub status: StatusCode,
    /// The body, JSON.
    pub body: Bytes,
    /// The headers, with content type and length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with this answer. No header says so yet: HTTP/1.1 and h2 say it differently.
    pub closes_connection: bool,
}

impl Dialect {
    /// The dialect of a request's path.
    pub(crate) fn of_path(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let is_below =
            |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if is_below("/v1/messages") || is_below("/anthropic") {
            Self::Anthropic
        } else if is_below("/v1/responses") {
            Self::OpenAiResponses
        } else {
            match Api::of_path(path) {
                Some(Api::Gemini) => Self::Google,
                Some(Api::Bedrock) => Self::Aws,
                _ => Self::OpenAi,
            }
        }
    }
}

impl Error {
    /// The whole answer to a request that got no other.
    pub(crate) fn answer(&self, dialect: Dialect, request_id: &RequestId) -> Answer {
        let row = self.row();
        let body = self.body(dialect, request_id);
        let mut headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::CONTENT_LENGTH, HeaderValue::from(body.len())),
            (crate::request_id::HEADER, request_id.header_value().clone()),
        ];
        if let Some(delay) = self.retry_after() {
            headers.push((header::RETRY_AFTER, HeaderValue::from(whole_seconds(delay))));
        }
        if let Self::MethodNotAllowed { allow } = self {
            headers.push((header::ALLOW, HeaderValue::from_static(allow)));
        }
        if let Self::Unauthenticated(refused) = self {
            let challenges = refused.challenges.iter().cloned();
            headers.extend(challenges.map(|challenge| (header::WWW_AUTHENTICATE, challenge)));
        }
        if let Some(reached) = self.reached() {
            headers.extend(reached.headers(dialect));
        }
        if dialect == Dialect::Aws {
            headers.push((AMZN_ERROR_TYPE, HeaderValue::from_static(aws_type(row.status))));
        }
        let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Answer { status, body, headers, closes_connection: row.closes_connection }
    }

    /// The answer's JSON body alone.
    pub(crate) fn body(&self, dialect: Dialect, request_id: &RequestId) -> Bytes {
        let row = self.row();
        let message = self.to_string();
        match dialect {
            Dialect::OpenAi | Dialect::OpenAiResponses => {
                to_json(&OpenAiBody { error: self.open_ai(&row, &message) })
            }
            Dialect::Anthropic => to_json(&anthropic(&row, &message, Some(request_id.as_str()))),
            Dialect::Google => to_json(&google(&row, &message)),
            Dialect::Aws => to_json(&AwsBody { message: &message }),
        }
    }

    /// The last event of an event stream that broke.
    ///
    /// Where the stream stopped within an event, a blank line ends that event first, so that this one stands by itself.
    pub(crate) fn stream_event(&self, dialect: Dialect, position: StreamPosition) -> Bytes {
        let row = self.row();
        let message = self.to_string();
        let (name, data) = match dialect {
            Dialect::OpenAi => (None, to_json(&OpenAiBody { error: self.open_ai(&row, &message) })),
            Dialect::OpenAiResponses => {
                let error = self.open_ai(&row, &message);
                let (code, param) = (error.code, error.param);
                let event = ResponsesEvent {
                    kind: "error",
                    code,
                    message: &message,
                    param,
                    sequence_number: position.events,
                    error,
                };
                (Some("error"), to_json(&event))
            }
            Dialect::Anthropic => (Some("error"), to_json(&anthropic(&row, &message, None))),
            Dialect::Google => (None, to_json(&google(&row, &message))),
            // Of a stream of events that is none of Bedrock's.
            Dialect::Aws => (None, to_json(&AwsBody { message: &message })),
        };

        let mut event = Vec::with_capacity(data.len() + 32);
        if !position.is_between_events {
            event.extend_from_slice(b"\n\n");
        }
        if let Some(name) = name {
            event.extend_from_slice(b"event: ");
            event.extend_from_slice(name.as_bytes());
            event.push(b'\n');
        }
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(&data);
        event.extend_from_slice(b"\n\n");
        event.into()
    }

    fn open_ai<'a>(&self, row: &Row, message: &'a str) -> OpenAiError<'a> {
        OpenAiError { message, kind: open_ai_type(row), param: self.param(), code: row.code }
    }

    /// The member of the request's body that the error is about.
    fn param(&self) -> Option<&'static str> {
        match self {
            Self::MissingModel | Self::UnknownModel { .. } | Self::ModelNotAllowed { .. } => Some("model"),
            Self::Body(error) => error.param(),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: &'static str,
}

/// The Responses API's `error` event has the members at its top level; its libraries also look beneath `error`.
#[derive(Serialize)]
struct ResponsesEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    message: &'a str,
    param: Option<&'static str>,
    sequence_number: u64,
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
}

fn anthropic<'a>(row: &Row, message: &'a str, request_id: Option<&'a str>) -> AnthropicBody<'a> {
    AnthropicBody {
        kind: "error",
        error: AnthropicError { kind: anthropic_type(row.status), message },
        request_id,
    }
}

#[derive(Serialize)]
struct GoogleBody<'a> {
    error: GoogleError<'a>,
}

#[derive(Serialize)]
struct GoogleError<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
}

fn google<'a>(row: &Row, message: &'a str) -> GoogleBody<'a> {
    GoogleBody { error: GoogleError { code: row.status, message, status: google_status(row.status) } }
}

#[derive(Serialize)]
struct AwsBody<'a> {
    message: &'a str,
}

/// OpenAI's `type` of an error.
fn open_ai_type(row: &Row) -> &'static str {
    match row.status {
        // Its libraries do not try again then.
        429 if row.code == "insufficient_quota" => row.code,
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

/// Anthropic's `type` of an error with this status, as its API reference lists them.
fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// Google's word for an error with this status (`google.rpc.Code`).
fn google_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        502 | 503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

/// The class of an error with this status, as Bedrock's API reference lists them.
fn aws_type(status: u16) -> &'static str {
    match status {
        401 | 403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        429 => "ThrottlingException",
        408 | 504 => "ModelTimeoutException",
        502 | 503 => "ServiceUnavailableException",
        500.. => "InternalServerException",
        _ => "ValidationException",
    }
}

/// `Retry-After` counts whole seconds. Rounded up, so that nobody comes back too early, and never zero.
fn whole_seconds(delay: Duration) -> u64 {
    (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).max(1)
}

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings and literals serialise").into()
}
