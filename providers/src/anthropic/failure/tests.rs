use serde_json::{Value as Json, json};

use super::*;

#[test]
fn failures_are_read_from_each_form() {
    use FailureKind as Kind;
    for (status, body, kind, message, code) in [
        (
            400,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "max_tokens: Field required"}, "request_id": "r"}),
            Kind::InvalidRequest,
            "max_tokens: Field required",
            None,
        ),
        (
            400,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}}),
            Kind::ContextLength,
            "prompt is too long: 9 tokens > 8 maximum",
            None,
        ),
        (
            400,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access"}}),
            Kind::Billing,
            "Your credit balance is too low to access",
            None,
        ),
        (
            529,
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            Kind::Overloaded,
            "Overloaded",
            None,
        ),
        (
            429,
            json!({"type": "error", "error": {"type": "rate_limit_error", "message": "m", "details": {"error_code": "contract_spend_limit_reached"}}}),
            Kind::RateLimit,
            "m",
            Some("contract_spend_limit_reached"),
        ),
        (
            500,
            json!({"type": "error", "error": {"type": "api_error", "message": "m"}}),
            Kind::Server,
            "m",
            None,
        ),
        (
            418,
            json!({"type": "error", "error": {"type": "teapot_error", "message": "m"}}),
            Kind::InvalidRequest,
            "m",
            Some("teapot_error"),
        ),
        (
            400,
            json!({"message": "Input is too long for requested model."}),
            Kind::ContextLength,
            "Input is too long for requested model.",
            None,
        ),
        (429, json!({"message": "Too many requests"}), Kind::RateLimit, "Too many requests", None),
        (
            429,
            json!([{"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}]),
            Kind::RateLimit,
            "Quota exceeded",
            None,
        ),
        (
            403,
            json!({"error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}}),
            Kind::Permission,
            "no",
            None,
        ),
        (401, json!({"error": "unauthorized"}), Kind::Authentication, "unauthorized", None),
        (502, json!({}), Kind::Server, "{}", None),
    ] {
        let failure = read(status, body.to_string().as_bytes());
        let code = code.map(Text::from);
        assert_eq!(
            (failure.status, failure.kind, &failure.message, &failure.code),
            (status, kind, &Text::from(message), &code),
            "{body}"
        );
    }
}

#[test]
fn a_body_that_is_no_json_is_told_within_a_bound() {
    assert_eq!(read(502, b"<html>Bad Gateway</html>").message, "<html>Bad Gateway</html>");
    assert_eq!(read(503, b"").message, "status 503, without a body");
    let long = "ä".repeat(4000);
    assert_eq!(read(500, long.as_bytes()).message.decoded().len(), 1024);
    assert_eq!(read(500, format!("x{long}").as_bytes()).message.decoded().len(), 1023);
    assert!(read(500, &[0xff; 4000]).message.decoded().len() <= 1024);
}

fn body(failure: &Failure<'_>, request_id: &str) -> Json {
    let asked = Asked { request_id: request_id.into(), ..Asked::default() };
    serde_json::from_slice(&write(failure, &asked)).unwrap()
}

#[test]
fn failures_are_written_as_anthropic_has_them() {
    for (status, name) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (408, "timeout_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ] {
        let expected =
            json!({"type": "error", "error": {"type": name, "message": "\"m\n"}, "request_id": "r1"});
        assert_eq!(body(&Failure::new(status, "\"m\n"), "r1"), expected, "{status}");
    }
    assert_eq!(status_of(FailureKind::Overloaded), 529);
}

#[test]
fn claude_code_knows_a_prompt_that_is_too_long_by_its_words() {
    let mut failure = Failure::new(400, "This model's maximum context length is 8 tokens");
    failure.kind = FailureKind::ContextLength;
    let told = &body(&failure, "")["error"];
    assert_eq!(told["message"], "prompt is too long: This model's maximum context length is 8 tokens");
    failure.message = Text::from("prompt is too long: 9");
    assert_eq!(body(&failure, "")["error"]["message"], "prompt is too long: 9");
}
