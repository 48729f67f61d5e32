//! Failures: read from Anthropic and from the platforms that serve Claude, and written for clients of Anthropic's API.

use std::borrow::Cow;

use crate::answer::{Failure, FailureKind};
use crate::json::{self, Object, Text, Value, Writer};
use crate::translation::Asked;

/// The most that is told of a body that is not JSON, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Reads the failure that `status` and `body` tell of: Anthropic's form, and those of Bedrock (`message`) and of Vertex
/// (`error.status`).
pub(crate) fn read(status: u16, body: &[u8]) -> Failure<'static> {
    let told = match json::parse(body) {
        // Vertex wraps failures in an array at times.
        Ok(Value::Array(array)) => array.items.first().and_then(Value::as_object).map(|it| of(status, it)),
        Ok(Value::Object(object)) => Some(of(status, &object)),
        _ => None,
    };
    if let Some(failure) = &told
        && !failure.message.is_blank()
    {
        return failure.clone();
    }
    let text = shortened(body);
    let message = if text.is_empty() { format!("status {status}, without a body") } else { text };
    match told {
        Some(failure) => Failure { message: Text::from(message), ..failure },
        None => Failure::new(status, message),
    }
}

/// Reads the failure that a stream's event tells of, which has no status.
pub(crate) fn read_event(event: &Object<'_>) -> Failure<'static> {
    let kind = event.object("error").and_then(|error| error.word("type")).and_then(kind_of);
    of(kind.map_or(500, status_of), event)
}

fn of(status: u16, body: &Object<'_>) -> Failure<'static> {
    let error = body.object("error").unwrap_or(body);
    let message = error.text("message").or(error.text("Message")).or(body.text("error"));
    let message = message.cloned().unwrap_or(Text::Escaped("")).into_owned();
    let name = error.text("type").filter(|kind| **kind != "error").or(error.text("status"));
    let kind = name.map(Text::decoded).as_deref().and_then(kind_of);
    let kind = match kind.unwrap_or_else(|| FailureKind::of_status(status)) {
        FailureKind::InvalidRequest => of_message(&message.decoded()),
        kind => kind,
    };
    let detail = error.object("details").and_then(|details| details.text("error_code"));
    let code = detail.or(name.filter(|name| kind_of(&name.decoded()).is_none()));
    Failure { status, kind, message, code: code.cloned().map(Text::into_owned), param: None }
}

/// Tells apart what Anthropic calls an invalid request.
fn of_message(message: &str) -> FailureKind {
    let has = |words: &str| message.contains(words);
    if has("prompt is too long") || has("exceed context limit") || has("Input is too long") {
        FailureKind::ContextLength
    } else if has("credit balance is too low") {
        FailureKind::Billing
    } else if has("content filtering policy") {
        FailureKind::ContentPolicy
    } else {
        FailureKind::InvalidRequest
    }
}

fn kind_of(name: &str) -> Option<FailureKind> {
    Some(match name {
        "invalid_request_error" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" => FailureKind::InvalidRequest,
        "authentication_error" | "UNAUTHENTICATED" => FailureKind::Authentication,
        "billing_error" => FailureKind::Billing,
        "permission_error" | "PERMISSION_DENIED" => FailureKind::Permission,
        "not_found_error" | "NOT_FOUND" => FailureKind::NotFound,
        "request_too_large" => FailureKind::TooLarge,
        "rate_limit_error" | "RESOURCE_EXHAUSTED" => FailureKind::RateLimit,
        "api_error" | "INTERNAL" => FailureKind::Server,
        "overloaded_error" | "UNAVAILABLE" => FailureKind::Overloaded,
        "timeout_error" | "DEADLINE_EXCEEDED" => FailureKind::Timeout,
        _ => return None,
    })
}

/// The status with which Anthropic tells of a failure of this kind. Clients tell 529, the provider's overload, from 503.
pub(crate) fn status_of(kind: FailureKind) -> u16 {
    match kind {
        FailureKind::InvalidRequest | FailureKind::ContextLength | FailureKind::ContentPolicy => 400,
        FailureKind::Authentication => 401,
        FailureKind::Billing => 402,
        FailureKind::Permission => 403,
        FailureKind::NotFound => 404,
        FailureKind::TooLarge => 413,
        FailureKind::RateLimit => 429,
        FailureKind::Server => 500,
        FailureKind::Timeout => 504,
        FailureKind::Overloaded => 529,
    }
}

/// Writes a failure as a body.
pub(crate) fn write(failure: &Failure<'_>, asked: &Asked) -> Vec<u8> {
    let mut out = Writer::default();
    write_to(&mut out, failure, asked);
    out.finish()
}

/// Writes it as a body, or as an event of a stream: they are the same.
pub(super) fn write_to(out: &mut Writer, failure: &Failure<'_>, asked: &Asked) {
    out.object(|out| {
        out.str_at("type", "error");
        out.object_at("error", |out| {
            out.str_at("type", name_of(failure.kind));
            out.text_at("message", &told(failure));
        });
        if !asked.request_id.is_empty() {
            out.str_at("request_id", &asked.request_id);
        }
    });
}

/// What Claude Code understands as a request that is too long: it goes by these words.
fn told<'f>(failure: &'f Failure<'_>) -> Cow<'f, Text<'f>> {
    let message = &failure.message;
    if failure.kind == FailureKind::ContextLength && !message.decoded().contains("prompt is too long") {
        return Cow::Owned(Text::from(format!("prompt is too long: {}", message.decoded())));
    }
    Cow::Borrowed(message)
}

fn name_of(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::InvalidRequest | FailureKind::ContextLength | FailureKind::ContentPolicy => {
            "invalid_request_error"
        }
        FailureKind::Authentication => "authentication_error",
        FailureKind::Billing => "billing_error",
        FailureKind::Permission => "permission_error",
        FailureKind::NotFound => "not_found_error",
        FailureKind::TooLarge => "request_too_large",
        FailureKind::RateLimit => "rate_limit_error",
        FailureKind::Server => "api_error",
        FailureKind::Overloaded => "overloaded_error",
        FailureKind::Timeout => "timeout_error",
    }
}

/// The start of a body that is not JSON.
fn shortened(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..MAX_TEXT_BYTES).unwrap_or(body));
    let mut text = text.trim().trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned();
    // What is not UTF-8 has grown.
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text
}

#[cfg(test)]
mod tests;
