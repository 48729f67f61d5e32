//! Reads failures of Google's APIs: `{"error": {code, message, status, details[]}}`, at times within a list.

use std::time::Duration;

use crate::answer::{Failure, FailureKind};
use crate::json::{Object, Text, Value, parse};

/// What is kept of a body that is no failure of Google's, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// The longest time to wait that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The failure that a response of `status` tells of in its `body`.
pub(crate) fn read(status: u16, body: &[u8]) -> Failure<'static> {
    let document = parse(body).ok();
    match document.as_ref().and_then(error_of) {
        Some(error) => of_error(error, status).into_owned(),
        None => {
            let text = String::from_utf8_lossy(body.get(..MAX_TEXT_BYTES).unwrap_or(body));
            let text = text.trim();
            let is_silent = text.is_empty();
            let message = if is_silent { format!("the upstream answered {status}") } else { text.to_owned() };
            Failure::new(status, message)
        }
    }
}

/// How long the upstream wants to be left alone, as a failure's `body` says it (`google.rpc.RetryInfo`): Google has no
/// header for it. A day at the most.
pub fn retry_after(body: &[u8]) -> Option<Duration> {
    let document = parse(body).ok()?;
    let info = details(error_of(&document)?).find(|detail| is_type(detail, "google.rpc.RetryInfo"))?;
    let delay = info.text("retryDelay")?.decoded();
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|delay| delay.min(MAX_RETRY_AFTER))
}

/// The failure that an event of a stream tells of, if it does.
pub(super) fn of_stream<'a>(response: &Object<'a>) -> Option<Failure<'a>> {
    let error = response.object("error")?;
    let status = error.u64("code").and_then(|code| u16::try_from(code).ok());
    Some(of_error(error, status.filter(|status| (400..600).contains(status)).unwrap_or(502)))
}

fn error_of<'v, 'a>(document: &'v Value<'a>) -> Option<&'v Object<'a>> {
    match document {
        Value::Array(list) => list.items.first()?.as_object()?.object("error"),
        value => value.as_object()?.object("error"),
    }
}

fn of_error<'a>(error: &Object<'a>, status: u16) -> Failure<'a> {
    let code = error.text("status").cloned();
    let message =
        error.text("message").cloned().unwrap_or_else(|| Text::from("the upstream does not say why"));
    let words = message.decoded();
    let name = code.as_ref().map(Text::decoded).unwrap_or_default();
    let is_about_the_key = details(error).any(|detail| detail.word("reason") == Some("API_KEY_INVALID"));
    let kind = match name.as_ref() {
        "INVALID_ARGUMENT" if is_about_the_key => FailureKind::Authentication,
        "INVALID_ARGUMENT" if is_about_length(&words) => FailureKind::ContextLength,
        "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE" => FailureKind::InvalidRequest,
        "UNAUTHENTICATED" => FailureKind::Authentication,
        "PERMISSION_DENIED" => FailureKind::Permission,
        "NOT_FOUND" => FailureKind::NotFound,
        "RESOURCE_EXHAUSTED" => FailureKind::RateLimit,
        "DEADLINE_EXCEEDED" => FailureKind::Timeout,
        "UNAVAILABLE" => FailureKind::Overloaded,
        "INTERNAL" | "UNKNOWN" | "DATA_LOSS" | "ABORTED" => FailureKind::Server,
        _ if status == 400 && is_about_length(&words) => FailureKind::ContextLength,
        _ => FailureKind::of_status(status),
    };
    Failure { status, kind, message, code, param: None }
}

/// Whether the message says that the prompt is longer than the model's window: "The input token count (1200000) exceeds
/// the maximum number of tokens allowed (1048576)."
fn is_about_length(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("token")
        && (message.contains("exceeds the maximum") || message.contains("exceed the maximum"))
}

fn details<'v, 'a>(error: &'v Object<'a>) -> impl Iterator<Item = &'v Object<'a>> {
    error.items("details").iter().filter_map(Value::as_object)
}

fn is_type(detail: &Object<'_>, name: &str) -> bool {
    detail.text("@type").is_some_and(|kind| kind.decoded().rsplit('/').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Gemini answers when a quota is used up.
    const QUOTA: &str = r#"{"error": {"code": 429, "message": "You exceeded your current quota", "status":
        "RESOURCE_EXHAUSTED", "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.074s"}]}}"#;

    #[test]
    fn a_failure_is_of_the_kind_that_google_says() {
        let long = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).";
        for (status, name, message, kind) in [
            (
                400,
                "INVALID_ARGUMENT",
                "* GenerateContentRequest.contents: contents is not specified",
                FailureKind::InvalidRequest,
            ),
            (400, "INVALID_ARGUMENT", long, FailureKind::ContextLength),
            (400, "FAILED_PRECONDITION", "User location is not supported", FailureKind::InvalidRequest),
            (401, "UNAUTHENTICATED", "no credentials", FailureKind::Authentication),
            (403, "PERMISSION_DENIED", "no", FailureKind::Permission),
            (404, "NOT_FOUND", "models/x is not found", FailureKind::NotFound),
            (429, "RESOURCE_EXHAUSTED", "quota", FailureKind::RateLimit),
            (500, "INTERNAL", "oh", FailureKind::Server),
            (503, "UNAVAILABLE", "The model is overloaded.", FailureKind::Overloaded),
            (504, "DEADLINE_EXCEEDED", "late", FailureKind::Timeout),
            (418, "NEW", "teapot", FailureKind::InvalidRequest),
        ] {
            let body = format!(r#"{{"error":{{"code":{status},"message":"{message}","status":"{name}"}}}}"#);
            for body in [body.clone(), format!("[{body}]")] {
                let failure = read(status, body.as_bytes());
                assert_eq!((failure.status, failure.kind), (status, kind), "{body}");
                assert_eq!(failure.message, message);
                assert_eq!(failure.code.unwrap(), name);
            }
        }
    }

    #[test]
    fn a_wrong_key_is_no_fault_of_the_requests() {
        let body =
            br#"{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[
            {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;
        assert_eq!(read(400, body).kind, FailureKind::Authentication);
    }

    #[test]
    fn what_is_no_failure_of_googles_is_kept_as_text() {
        assert_eq!(read(502, b"<html>Bad Gateway</html>\n").message, "<html>Bad Gateway</html>");
        assert_eq!(read(503, b"").message, "the upstream answered 503");
        assert_eq!(read(500, br#"{"error":"x"}"#).message, r#"{"error":"x"}"#);
        let long = "ä".repeat(5000);
        assert!(read(500, long.as_bytes()).message.decoded().len() <= MAX_TEXT_BYTES + 2);
    }

    #[test]
    fn retry_info_says_how_long_to_wait() {
        assert_eq!(retry_after(QUOTA.as_bytes()), Some(Duration::from_millis(34_074)));
        for (delay, seconds) in
            [("0s", Some(0)), ("7s", Some(7)), ("1e30s", None), ("-1s", None), ("x", None)]
        {
            let body = QUOTA.replace("34.074s", delay);
            assert_eq!(retry_after(body.as_bytes()), seconds.map(Duration::from_secs), "{delay}");
        }
        assert_eq!(retry_after(QUOTA.replace("34.074s", "99999999s").as_bytes()), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after(b"{}"), None);
    }
}
