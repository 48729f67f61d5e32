use serde_json::{Value as Json, json};

use super::*;

#[test]
fn failures_are_read_in_every_form() {
    use FailureKind as Kind;
    for (status, body, kind, message) in [
        (
            401,
            r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
            Kind::Authentication,
            "m",
        ),
        (
            400,
            r#"{"error":{"message":"m","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            Kind::ContextLength,
            "m",
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            Kind::Billing,
            "m",
        ),
        (
            429,
            r#"{"error":{"message":"m","type":"tokens","code":"rate_limit_exceeded"}}"#,
            Kind::RateLimit,
            "m",
        ),
        (404, r#"{"error":{"message":"m","code":"DeploymentNotFound"}}"#, Kind::NotFound, "m"),
        (403, r#"{"error":{"message":"m","type":"permission_error"}}"#, Kind::Permission, "m"),
        (503, r#"{"error":{"message":"m","type":"server_error"}}"#, Kind::Overloaded, "m"),
        (500, r#"{"error":{"message":"m","type":"server_error","code":null}}"#, Kind::Server, "m"),
        // OpenAI's type of it says less than its status.
        (404, r#"{"error":{"message":"m","type":"invalid_request_error","code":null}}"#, Kind::NotFound, "m"),
        (500, r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, Kind::Server, "m"),
        // Azure's filter.
        (
            400,
            r#"{"error":{"message":"m","type":null,"code":"content_filter","status":400}}"#,
            Kind::ContentPolicy,
            "m",
        ),
        (
            400,
            r#"{"error":{"message":"m","code":"x","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
            Kind::ContentPolicy,
            "m",
        ),
        (401, r#"{"statusCode":401,"message":"denied"}"#, Kind::Authentication, "denied"),
        // vLLM, new and old.
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}}"#,
            Kind::ContextLength,
            "This model's maximum context length is 4096 tokens.",
        ),
        (
            404,
            r#"{"object":"error","message":"no such model","type":"NotFoundError","param":null,"code":404}"#,
            Kind::NotFound,
            "no such model",
        ),
        // Google's compatible API.
        (
            429,
            r#"[{"error":{"code":429,"message":"slower","status":"RESOURCE_EXHAUSTED"}}]"#,
            Kind::RateLimit,
            "slower",
        ),
        // FastAPI, Ollama, TGI.
        (
            422,
            r#"{"detail":[{"loc":["body"],"msg":"Field required","type":"missing"}]}"#,
            Kind::InvalidRequest,
            "Field required",
        ),
        (404, r#"{"detail":"Not Found"}"#, Kind::NotFound, "Not Found"),
        (404, r#"{"error":"model not found"}"#, Kind::NotFound, "model not found"),
        (429, r#"{"error":"busy","error_type":"overloaded"}"#, Kind::RateLimit, "busy"),
        (400, r#"{"odd":1}"#, Kind::InvalidRequest, r#"{"odd":1}"#),
        (502, "<html>Bad gateway</html>\n", Kind::Server, "<html>Bad gateway</html>"),
        (504, "", Kind::Timeout, "the upstream answered 504 and did not say why"),
        (500, "null", Kind::Server, "the upstream answered 500 and did not say why"),
    ] {
        let failure = read(status, body.as_bytes());
        assert_eq!(
            (failure.status, failure.kind, failure.message.decoded().as_ref()),
            (status, kind, message),
            "{body}"
        );
    }
}

#[test]
fn a_body_that_is_no_json_is_cut() {
    let failure = read(500, "ß".repeat(1000).as_bytes());
    assert_eq!(failure.message, Text::from("ß".repeat(512)));
    let failure = read(500, format!("x{}", "ß".repeat(1000)).as_bytes());
    assert_eq!(failure.message, Text::from(format!("x{}", "ß".repeat(511))));
}

#[test]
fn an_error_in_a_stream_has_the_status_that_it_names() {
    for (body, status) in [
        (r#"{"error":{"message":"m","type":"BadRequestError","code":400}}"#, 400),
        (r#"{"error":{"message":"m","code":"502"}}"#, 502),
        (r#"{"error":{"message":"m","type":"overloaded_error"}}"#, 503),
        (r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#, 429),
        (r#"{"error":{"message":"m","code":7}}"#, 500),
        (r#"{"error":{"message":"m"}}"#, 500),
    ] {
        assert_eq!(of_value(200, &parse(body.as_bytes()).unwrap()).status, status, "{body}");
    }
}

#[test]
fn failures_are_written_as_openai_writes_them() {
    use FailureKind as Kind;
    for (kind, name, code) in [
        (Kind::InvalidRequest, "invalid_request_error", json!("unsupported_parameter")),
        (Kind::ContextLength, "invalid_request_error", json!("context_length_exceeded")),
        (Kind::ContentPolicy, "invalid_request_error", json!("content_filter")),
        (Kind::Authentication, "authentication_error", json!("invalid_api_key")),
        (Kind::Billing, "insufficient_quota", json!("insufficient_quota")),
        (Kind::Permission, "permission_error", json!("unsupported_parameter")),
        (Kind::NotFound, "not_found_error", json!("model_not_found")),
        (Kind::TooLarge, "invalid_request_error", json!("request_too_large")),
        (Kind::RateLimit, "rate_limit_error", json!("rate_limit_exceeded")),
        (Kind::Server, "server_error", json!("unsupported_parameter")),
        (Kind::Overloaded, "server_error", json!("overloaded")),
        (Kind::Timeout, "server_error", json!("timeout")),
    ] {
        let code_of = Some("unsupported_parameter".into());
        let failure =
            Failure { kind, code: code_of, param: Some("n".into()), ..Failure::new(400, "a \"b\"") };
        let written: Json = serde_json::from_slice(&write(&failure, &Asked::default())).unwrap();
        assert_eq!(
            written,
            json!({"error": {"message": "a \"b\"", "type": name, "param": "n", "code": code}})
        );
    }
}
