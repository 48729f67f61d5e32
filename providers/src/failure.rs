//! Failures of upstreams whose answers are passed on as they are: what has to be known of them to ask another one.

use crate::answer::{Failure, FailureKind};
use crate::json::{Value, parse};
use crate::{anthropic, bedrock, gemini, openai};

/// The failure that a stream's event tells of, if it does: one of Anthropic's or of OpenAI's and those like it. `event` is
/// what is here of the stream, of which the first data counts.
pub fn of_event(event: &[u8]) -> Option<Failure<'static>> {
    let data = event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"))?;
    let value = parse(data.trim_ascii()).ok()?;
    let object = value.as_object()?;
    match object.get("error")? {
        Value::Null => None,
        _ if object.word("type") == Some("error") => Some(anthropic::failure::read_event(object)),
        _ => Some(openai::failure::of_value(200, &value).into_owned()),
    }
}

/// Whether a failed response says that the request is longer than its model's window, by its status, its header `x-amzn-errortype` and its body: each API has other words
/// for it, and an upstream may be a proxy of several.
pub fn is_too_long(status: u16, error_type: Option<&str>, body: &[u8]) -> bool {
    let kinds = [
        openai::failure::read(status, body).kind,
        anthropic::failure::read(status, body).kind,
        bedrock::failure::read(status, error_type, body).kind,
        gemini::failure::read(status, body).kind,
    ];
    kinds.contains(&FailureKind::ContextLength)
}

#[cfg(test)]
mod tests {
    use super::{is_too_long, of_event};

    #[test]
    fn an_event_that_tells_of_a_failure_is_one() {
        for (event, status) in [
            (
                "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
                Some(529),
            ),
            (
                "data: {\"error\":{\"message\":\"Slow down\",\"type\":\"rate_limit_error\",\"code\":429}}\n\n",
                Some(429),
            ),
            ("data: {\"error\":null,\"choices\":[]}\n\n", None),
            ("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n", None),
            (": ping\n\n", None),
        ] {
            assert_eq!(of_event(event.as_bytes()).map(|failure| failure.status), status, "{event}");
        }
    }

    #[test]
    fn every_providers_words_are_known_and_other_failures_are_not() {
        for (status, body, is_so) in [
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                true,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#,
                true,
            ),
            (400, r#"{"message":"Input is too long for requested model."}"#, true),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","param":null,"code":400}}"#,
                true,
            ),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","code":400}"#,
                true,
            ),
            (
                400,
                r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."}}"#,
                true,
            ),
            (
                400,
                r#"{"error":{"message":"max_tokens must be positive","type":"invalid_request_error","param":"max_tokens"}}"#,
                false,
            ),
            (400, r#"{"error":{"message":"The response was filtered","code":"content_filter"}}"#, false),
            (400, "{}", false),
            (400, "", false),
            (413, "<html>413 Request Entity Too Large</html>", false),
        ] {
            let error_type = body.starts_with(r#"{"message"#).then_some("ValidationException");
            assert_eq!(is_too_long(status, error_type, body.as_bytes()), is_so, "{body}");
        }
    }
}
