//! Failures as Bedrock tells of them: by status, header and body, or by a message of a stream.

use crate::answer::{Failure, FailureKind};
use crate::json::{Text, Value, parse};

/// How much is kept of a failure that is no JSON, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// How models say that a request is longer than their window; there is no code for it.
const TOO_LONG: [&str; 6] = [
    "too long",
    "maximum context",
    "context length",
    "context window",
    "context limit",
    "too many input tokens",
];

/// Reads a failed response: its status, its header `x-amzn-errortype`, and what is here of its body.
pub(crate) fn read(status: u16, errortype: Option<&str>, body: &[u8]) -> Failure<'static> {
    let document = parse(body).ok();
    let member = |name| document.as_ref().and_then(Value::as_object).and_then(|object| object.text(name));
    let message = match member("message").or_else(|| member("Message")) {
        Some(message) => message.decoded().into_owned(),
        None if body.is_empty() => format!("the upstream answered with status {status}"),
        None => lossy(body),
    };
    let inside = member("__type").map(Text::decoded);
    failure(errortype.or(inside.as_deref()).unwrap_or_default(), status, message)
}

/// Reads an exception within a stream: its name, and the payload that goes with it.
pub(super) fn exception(name: &str, payload: &[u8]) -> Failure<'static> {
    read(502, Some(name), payload)
}

/// The failure that is called `name`, or that came with `status` if nobody knows that name.
pub(super) fn failure(name: &str, status: u16, message: String) -> Failure<'static> {
    // com.amazon.coral.validate#ValidationException:http://internal.amazon.com/…
    let name = name.rsplit_once('#').map_or(name, |(_, name)| name);
    let name = name.split_once(':').map_or(name, |(name, _)| name).trim();
    let (status, kind) = named(name).unwrap_or((status, FailureKind::of_status(status)));
    let is_too_long = kind == FailureKind::InvalidRequest && {
        let message = message.to_ascii_lowercase();
        TOO_LONG.iter().any(|words| message.contains(words))
    };
    Failure {
        status,
        kind: if is_too_long { FailureKind::ContextLength } else { kind },
        message: message.into(),
        code: (!name.is_empty()).then(|| name.to_owned().into()),
        param: None,
    }
}

/// Status and kind of the failures that the API has names for: headers write them with a capital, streams without.
fn named(name: &str) -> Option<(u16, FailureKind)> {
    let name = name.strip_suffix("Exception").unwrap_or(name).to_ascii_lowercase();
    Some(match name.as_str() {
        "validation" => (400, FailureKind::InvalidRequest),
        "accessdenied" => (403, FailureKind::Permission),
        "expiredtoken"
        | "incompletesignature"
        | "invalidclienttokenid"
        | "invalidsignature"
        | "missingauthenticationtoken"
        | "signaturedoesnotmatch"
        | "unrecognizedclient" => (403, FailureKind::Authentication),
        "resourcenotfound" => (404, FailureKind::NotFound),
        "modeltimeout" => (408, FailureKind::Timeout),
        // Sent with 400, though waiting is what helps.
        "servicequotaexceeded" => (429, FailureKind::RateLimit),
        "throttling" | "modelnotready" => (429, FailureKind::RateLimit),
        "internalserver" => (500, FailureKind::Server),
        // Sent with 424, which says to HTTP clients that their own request is at fault.
        "modelerror" | "modelstreamerror" => (502, FailureKind::Server),
        "serviceunavailable" => (503, FailureKind::Overloaded),
        _ => return None,
    })
}

fn lossy(body: &[u8]) -> String {
    let start = body.get(..MAX_TEXT_BYTES).unwrap_or(body);
    String::from_utf8_lossy(start).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_by_header_then_body_then_status() {
        use FailureKind::*;
        for (status, errortype, body, expected) in [
            (400, Some("ValidationException"), r#"{"message":"bad"}"#, (400, InvalidRequest, "bad")),
            (
                400,
                Some("ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/"),
                r#"{"message":"Input is too long for requested model."}"#,
                (400, ContextLength, "Input is too long for requested model."),
            ),
            (
                400,
                None,
                r#"{"__type":"com.amazon.coral.service#ServiceQuotaExceededException","Message":"q\u00e9"}"#,
                (429, RateLimit, "qé"),
            ),
            (
                403,
                Some("AccessDeniedException"),
                r#"{"Message":"no access"}"#,
                (403, Permission, "no access"),
            ),
            (
                403,
                Some("ExpiredTokenException"),
                r#"{"message":"expired"}"#,
                (403, Authentication, "expired"),
            ),
            (404, Some("ResourceNotFoundException"), r#"{"message":"?"}"#, (404, NotFound, "?")),
            (408, Some("ModelTimeoutException"), r#"{"message":"slow"}"#, (408, Timeout, "slow")),
            (424, Some("ModelErrorException"), r#"{"message":"oops"}"#, (502, Server, "oops")),
            (429, Some("ThrottlingException"), r#"{"message":"wait"}"#, (429, RateLimit, "wait")),
            (429, Some("ModelNotReadyException"), r#"{"message":"wait"}"#, (429, RateLimit, "wait")),
            (500, Some("InternalServerException"), r#"{"message":"x"}"#, (500, Server, "x")),
            (503, Some("ServiceUnavailableException"), r#"{"message":"x"}"#, (503, Overloaded, "x")),
            (503, None, "<html>busy</html>", (503, Overloaded, "<html>busy</html>")),
            (413, None, "", (413, TooLarge, "the upstream answered with status 413")),
            (418, Some("TeapotException"), r#"{"message":"x"}"#, (418, InvalidRequest, "x")),
        ] {
            let failure = read(status, errortype, body.as_bytes());
            assert_eq!(
                (failure.status, failure.kind, &*failure.message.decoded()),
                expected,
                "{errortype:?}"
            );
        }
    }

    #[test]
    fn a_name_is_told_without_what_surrounds_it_and_a_long_text_is_cut() {
        let failure = read(400, Some("a.b#ValidationException:http://x/"), b"{}");
        assert_eq!(failure.code.unwrap(), "ValidationException");
        assert_eq!(failure.message, "{}");
        let failure = read(500, None, &b"\xff".repeat(5000));
        assert_eq!(failure.code, None);
        assert_eq!(failure.message.decoded().chars().count(), 1024);
    }
}
