//! Failures: the bodies that upstreams answer with instead of an answer, and those that clients are sent.

use crate::answer::{Failure, FailureKind};
use crate::json::{Object, Text, Value, Writer, parse};
use crate::translation::Asked;

/// The most that is kept of a body that is no JSON, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Reads the body of a failure that came with `status`: OpenAI's form and those of its compatible servers.
pub(crate) fn read(status: u16, body: &[u8]) -> Failure<'static> {
    match parse(body) {
        Ok(value) => of_value(status, &value).into_owned(),
        Err(_) => Failure::new(status, text_of(status, body)),
    }
}

/// The failure that a JSON document tells of, which came with `status`: 200 for one within a stream.
pub(crate) fn of_value<'a>(status: u16, value: &Value<'a>) -> Failure<'a> {
    match value {
        Value::Object(object) => of_object(status, object),
        // Google's compatible API puts it into an array.
        Value::Array(array) => match array.items.first() {
            Some(Value::Object(object)) => of_object(status, object),
            _ => Failure::new(failed(status), start_of(array.raw)),
        },
        Value::String(text) if !text.is_empty() => {
            Failure { message: text.clone(), ..Failure::new(failed(status), "") }
        }
        _ => Failure::new(failed(status), unexplained(status)),
    }
}

fn of_object<'a>(status: u16, object: &Object<'a>) -> Failure<'a> {
    let (error, said) = match object.get("error") {
        Some(Value::Object(error)) => (error, None),
        // Ollama and TGI: only words, beside which there may be a type.
        Some(Value::String(message)) => (object, Some(message)),
        // vLLM's and Mistral's older form: flat.
        _ => (object, None),
    };
    let told = told_status(status, error);
    let mut failure = Failure::new(told.unwrap_or(500), "");
    failure.message = match said.or_else(|| message(error)) {
        Some(message) => message.clone(),
        None => Text::from(start_of(error.raw)),
    };
    failure.code = error.text("code").filter(|code| !code.is_empty()).cloned();
    failure.param = error.text("param").filter(|param| !param.is_empty()).cloned();
    let inner = error.object("innererror").and_then(|inner| inner.text("code"));
    let names =
        [error.text("code"), inner, error.text("type"), error.text("error_type"), error.text("status")];
    classify(&mut failure, told.is_some(), &names);
    failure
}

fn message<'e, 'a>(error: &'e Object<'a>) -> Option<&'e Text<'a>> {
    let detail = match error.get("detail") {
        Some(Value::String(detail)) => Some(detail),
        Some(Value::Array(array)) => {
            array.items.first().and_then(Value::as_object).and_then(|first| first.text("msg"))
        }
        _ => None,
    };
    error.text("message").or(error.text("msg")).or(detail).filter(|message| !message.is_empty())
}

/// The status, if there is one: an error within a stream comes after 200, and gives it as its code or not at all.
fn told_status(status: u16, error: &Object<'_>) -> Option<u16> {
    if status >= 300 {
        return Some(status);
    }
    let code = error.u64("code").or_else(|| error.word("code").and_then(|code| code.parse().ok()));
    let code = code.and_then(|code| u16::try_from(code).ok());
    code.filter(|code| (400..600).contains(code))
}

/// The status of a failure that names none.
fn failed(status: u16) -> u16 {
    if status >= 300 { status } else { 500 }
}

/// Tells the kind by the names that the upstream gave, from the most exact to the least.
fn classify(failure: &mut Failure<'_>, has_status: bool, names: &[Option<&Text<'_>>]) {
    let kinds = names.iter().flatten().filter_map(|name| kind_of(&name.decoded()));
    // OpenAI calls nearly everything an invalid request: the status says more.
    let mut kinds = kinds.filter(|(kind, _)| !has_status || *kind != FailureKind::InvalidRequest);
    if let Some((kind, status)) = kinds.next() {
        failure.kind = kind;
        if !has_status {
            failure.status = status;
        }
    }
    let is_refused = matches!(failure.kind, FailureKind::InvalidRequest | FailureKind::TooLarge);
    if is_refused && is_too_long(&failure.message.decoded()) {
        failure.kind = FailureKind::ContextLength;
    }
}

/// The kind that a name stands for, and the status that usually goes with it.
fn kind_of(name: &str) -> Option<(FailureKind, u16)> {
    Some(match name {
        "context_length_exceeded" | "exceed_context_size_error" | "model_max_prompt_tokens_exceeded" => {
            (FailureKind::ContextLength, 400)
        }
        "content_filter"
        | "content_policy_violation"
        | "ResponsibleAIPolicyViolation"
        | "moderation_blocked" => (FailureKind::ContentPolicy, 400),
        "invalid_api_key" | "authentication_error" | "UNAUTHENTICATED" => (FailureKind::Authentication, 401),
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active" => {
            (FailureKind::Billing, 429)
        }
        "permission_error" | "PERMISSION_DENIED" => (FailureKind::Permission, 403),
        "model_not_found" | "not_found_error" | "DeploymentNotFound" | "NotFoundError" | "NOT_FOUND" => {
            (FailureKind::NotFound, 404)
        }
        "rate_limit_exceeded" | "rate_limit_error" | "too_many_requests" | "RESOURCE_EXHAUSTED" => {
            (FailureKind::RateLimit, 429)
        }
        "overloaded_error" | "server_is_overloaded" | "slow_down" | "engine_overloaded" | "UNAVAILABLE" => {
            (FailureKind::Overloaded, 503)
        }
        "timeout" | "timeout_error" | "DEADLINE_EXCEEDED" => (FailureKind::Timeout, 504),
        "invalid_request_error" | "BadRequestError" | "INVALID_ARGUMENT" => {
            (FailureKind::InvalidRequest, 400)
        }
        _ => return None,
    })
}

/// Whether an engine says that the prompt does not fit: most have no code for it.
fn is_too_long(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "maximum context length",
        "maximum model length",
        "context length exceeded",
        "exceeds the available context size",
        "longer than the model's context length",
        "exceeds the model's context window",
        "input length exceeds",
    ]
    .iter()
    .any(|said| message.contains(said))
}

fn text_of(status: u16, body: &[u8]) -> String {
    let kept = body.get(..MAX_TEXT_BYTES).unwrap_or(body);
    let text = String::from_utf8_lossy(kept);
    // A character that the cut went through is none of the upstream's faults.
    let text = if kept.len() < body.len() { text.trim_end_matches('\u{fffd}') } else { &text };
    if text.trim().is_empty() { unexplained(status) } else { text.trim().to_owned() }
}

fn start_of(text: &str) -> String {
    text.chars().take(MAX_TEXT_BYTES).collect()
}

fn unexplained(status: u16) -> String {
    format!("the upstream answered {status} and did not say why")
}

/// Writes the body of a failure as clients of OpenAI's API know it.
pub(crate) fn write(failure: &Failure<'_>, _asked: &Asked) -> Vec<u8> {
    let mut out = Writer::default();
    write_to(failure, &mut out);
    out.finish()
}

/// Writes the object that tells of a failure, in bodies and in streams.
pub(super) fn write_to(failure: &Failure<'_>, out: &mut Writer) {
    let (kind, code) = names(failure.kind);
    out.object(|out| {
        out.object_at("error", |out| {
            out.text_at("message", &failure.message);
            out.str_at("type", kind);
            match &failure.param {
                Some(param) => out.text_at("param", param),
                None => out.raw_at("param", "null"),
            }
            match (code, &failure.code) {
                (Some(code), _) => out.str_at("code", code),
                (None, Some(code)) => out.text_at("code", code),
                (None, None) => out.raw_at("code", "null"),
            }
        });
    });
}

/// What OpenAI calls a kind of failure: its type, and its code where clients look for one.
fn names(kind: FailureKind) -> (&'static str, Option<&'static str>) {
    match kind {
        FailureKind::InvalidRequest => ("invalid_request_error", None),
        FailureKind::ContextLength => ("invalid_request_error", Some("context_length_exceeded")),
        FailureKind::ContentPolicy => ("invalid_request_error", Some("content_filter")),
        FailureKind::Authentication => ("authentication_error", Some("invalid_api_key")),
        FailureKind::Billing => ("insufficient_quota", Some("insufficient_quota")),
        FailureKind::Permission => ("permission_error", None),
        FailureKind::NotFound => ("not_found_error", Some("model_not_found")),
        FailureKind::TooLarge => ("invalid_request_error", Some("request_too_large")),
        FailureKind::RateLimit => ("rate_limit_error", Some("rate_limit_exceeded")),
        FailureKind::Server => ("server_error", None),
        FailureKind::Overloaded => ("server_error", Some("overloaded")),
        FailureKind::Timeout => ("server_error", Some("timeout")),
    }
}

#[cfg(test)]
mod tests;
