use std::{collections::HashSet, time::Duration};

use http::{HeaderValue, header};
use penstock_tap::StreamPosition;
use serde_json::{Value, json};

use super::*;
use crate::request_id::RequestId;

const SECOND: Duration = Duration::from_secs(1);
const BOUNDARY: StreamPosition = StreamPosition { events: 3, is_between_events: true };

fn all() -> Vec<Error> {
    vec![
        Error::AmbiguousFraming("two lengths"),
        Error::BadTarget("a fragment"),
        Error::BadHost("missing"),
        Error::Misdirected { server_name: "a.test".into(), host: "b.test".into() },
        Error::BadHeader("a line break"),
        Error::underscore("a_b"),
        Error::HeadersTooLarge { limit_bytes: 1 },
        Error::TooManyHeaders { limit: 1 },
        Error::HeaderTimeout,
        Error::BodyTooLarge { limit_bytes: 1 },
        Error::BodyIdle,
        Error::BodyTimeout,
        Error::BrokenBody(None),
        Error::ClientCredential("send one".into()),
        unauthenticated(None),
        Error::Forbidden { policy: "p".into(), rule: None },
        Error::UnknownClient,
        Error::RuleBodyTooLarge { limit_bytes: 1 },
        Error::model_not_allowed(Some("a")),
        Error::KeysUnavailable { policy: "p".into() },
        Error::LoginFailed { policy: "p".into(), why: "x" },
        Error::LoginUnavailable { policy: "p".into() },
        Error::SessionTooLarge { policy: "p".into() },
        Error::CheckDenied { policy: "p".into() },
        Error::CheckBodyTooLarge { policy: "p".into(), limit_bytes: 1 },
        Error::CheckFailed { policy: "p".into(), status: 500, cause: "x".into() },
        Error::RateLimited(reached(Some(SECOND))),
        Error::BudgetExhausted(reached(None)),
        Error::NeverFits(reached(None)),
        Error::NothingToCountBy(reached(None)),
        Error::StreamCut(reached(None)),
        Error::LimitsUnavailable { policy: "p".into() },
        Error::MissingModel,
        Error::unknown_model("a", ["b"]),
        Error::no_route("GET", "/"),
        Error::no_model("GET", "/"),
        Error::MethodNotAllowed { allow: "GET, HEAD" },
        Error::Loop { limit: 8 },
        Error::WebSocket,
        Error::ExpectationFailed,
        Error::ClientGone,
        Error::WriteTimeout,
        Error::DecodeTimeout,
        Error::BodyMemoryExhausted,
        Error::BodyGivenUp,
        Error::FrameFlood,
        Error::DecodeBusy,
        Error::TooManyConcurrentRequests { limit: 1 },
        Error::Draining,
        Error::RequestTimeout,
        Error::internal("x"),
        Error::NoCredential,
        Error::CircuitOpen { bound: CircuitBound::Requests },
        Error::InvalidTarget { status: 500 },
        Error::UnsupportedPolicy { status: 500 },
        Error::Saturated { retry_after: SECOND },
        Error::Shed { retry_after: SECOND },
        Error::QueueFull { retry_after: SECOND },
        Error::QueueTimeout { retry_after: SECOND },
        Error::Cooling { retry_after: SECOND },
        Error::NoEndpoints,
        Error::UpstreamConnect(None),
        Error::UpstreamConnectTimeout,
        Error::UpstreamTls(None),
        Error::UpstreamReset(None),
        Error::UpstreamTimeout,
        Error::InvalidResponse(None),
        Error::StreamBroken(None),
        Error::StreamIdle,
    ]
}

fn unauthenticated(invalid: Option<&'static str>) -> Error {
    let challenges = [HeaderValue::from_static("Bearer"), HeaderValue::from_static("Basic")];
    Error::Unauthenticated(Box::new(Unauthenticated {
        policy: "p".into(),
        invalid,
        challenges: challenges.into(),
    }))
}

fn reached(retry_after: Option<Duration>) -> Box<LimitReached> {
    let figures = Figures { told: Told::Requests, amount: 3, remaining: 0, reset: SECOND };
    let (policy, limit) = ("p".into(), "l".into());
    Box::new(LimitReached { policy, limit, retry_after, missing: None, figures: Some(figures) })
}

fn snake_case_of_variant(error: &Error) -> String {
    let debug = format!("{error:?}");
    let name = debug.split(|c: char| !c.is_alphanumeric()).next().unwrap();
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn the_reason_is_the_variant_in_snake_case() {
    for error in all() {
        assert_eq!(error.row().reason, snake_case_of_variant(&error));
    }
    assert_eq!(all().iter().map(|e| e.row().reason).collect::<HashSet<_>>().len(), all().len());
}

#[test]
fn the_status_tells_who_is_to_blame() {
    for error in all() {
        let row = error.row();
        match row.origin {
            Origin::Client => assert!((400..500).contains(&row.status), "{error:?}"),
            Origin::Gateway => assert!(row.status >= 500, "{error:?}"),
            Origin::Upstream => assert!(row.status >= 500 || row.status == 429, "{error:?}"),
        }
        assert!(!(row.is_retryable && row.closes_connection), "{error:?}");
    }
}

#[test]
fn a_limit_that_can_be_configured_is_named_in_its_message() {
    for error in all() {
        let Some(limit) = error.row().limit else { continue };
        assert!(error.to_string().contains(limit.name()), "{error}: {}", limit.name());
    }
}

#[test]
fn whoever_is_told_to_wait_is_told_how_long() {
    for error in all() {
        let row = error.row();
        // A budget that is used up is not there again soon, and a stream that is cut has its status already.
        let is_over = row.code == "insufficient_quota" || row.reason == "stream_cut";
        let is_shortage = matches!(
            row.code,
            "overloaded"
                | "shutting_down"
                | "keys_unavailable"
                | "login_unavailable"
                | "limits_unavailable"
                | "circuit_open"
        );
        let waits = row.status == 429 && !is_over || is_shortage;
        assert_eq!(error.retry_after().is_some(), waits, "{error:?}");
    }
}

fn parsed(error: &Error, dialect: Dialect) -> Value {
    serde_json::from_slice(&error.body(dialect, &RequestId::generate())).unwrap()
}

#[test]
fn an_answer_in_the_shape_of_open_ai() {
    let body = parsed(&Error::unknown_model("gpt-5", ["a", "b"]), Dialect::OpenAi);
    let message = "the model `gpt-5` does not exist; the models served here are: a, b";
    assert_eq!(
        body,
        json!({"error": {"message": message, "type": "invalid_request_error", "param": "model", "code": "model_not_found"}})
    );
}

#[test]
fn an_answer_in_the_shape_of_anthropic() {
    let id = RequestId::generate();
    let body: Value = serde_json::from_slice(&Error::NoEndpoints.body(Dialect::Anthropic, &id)).unwrap();
    let error = json!({"type": "overloaded_error", "message": "no endpoint is available for this request"});
    assert_eq!(body, json!({"type": "error", "error": error, "request_id": id.as_str()}));
}

#[test]
fn answers_in_the_shapes_of_google_and_aws() {
    let error = Error::unknown_model("gemini", ["a"]);
    let told = json!({"code": 404, "message": error.to_string(), "status": "NOT_FOUND"});
    assert_eq!(parsed(&error, Dialect::Google), json!({"error": told}));
    let event = error.stream_event(Dialect::Google, BOUNDARY);
    assert_eq!(event, format!("data: {}\n\n", json!({"error": told})));

    let answer = error.answer(Dialect::Aws, &RequestId::generate());
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), json!({"message": error.to_string()}));
    let kinds = answer.headers.iter().filter(|(name, _)| name == "x-amzn-errortype");
    assert_eq!(kinds.map(|(_, kind)| kind).collect::<Vec<_>>(), ["ResourceNotFoundException"]);
}

#[test]
fn who_may_not_pass_is_told_in_the_words_of_each_api() {
    let forbidden = Error::Forbidden { policy: "tenants".into(), rule: Some("no-embeddings".into()) };
    for (error, status, anthropic, google, aws) in [
        (unauthenticated(None), 401, "authentication_error", "UNAUTHENTICATED", "AccessDeniedException"),
        (forbidden, 403, "permission_error", "PERMISSION_DENIED", "AccessDeniedException"),
        (
            Error::model_not_allowed(None),
            403,
            "permission_error",
            "PERMISSION_DENIED",
            "AccessDeniedException",
        ),
    ] {
        assert_eq!(parsed(&error, Dialect::OpenAi)["error"]["type"], "invalid_request_error");
        assert_eq!(parsed(&error, Dialect::Anthropic)["error"]["type"], anthropic);
        assert_eq!(parsed(&error, Dialect::Google)["error"]["status"], google);
        let answer = error.answer(Dialect::Aws, &RequestId::generate());
        assert_eq!(answer.status, status);
        assert!(answer.headers.iter().any(|(name, value)| name == "x-amzn-errortype" && value == aws));
    }
}

#[test]
fn a_refusal_names_the_policy_and_its_rule_and_nothing_of_what_they_say() {
    for (error, message) in [
        (unauthenticated(None), "the request does not show who asks: send a credential"),
        (
            unauthenticated(Some("the token has expired")),
            "the credential is not valid: the token has expired",
        ),
        (
            Error::Forbidden { policy: "tenants".into(), rule: Some("no-embeddings".into()) },
            "the rule `no-embeddings` of the policy `tenants` does not allow this request",
        ),
        (
            Error::Forbidden { policy: "tenants".into(), rule: None },
            "the default of the policy `tenants` does not allow this request",
        ),
        (Error::model_not_allowed(Some("m")), "the model `m` is none of those that you may ask for"),
    ] {
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn each_way_of_saying_who_asks_has_a_challenge() {
    let answer = unauthenticated(None).answer(Dialect::OpenAi, &RequestId::generate());
    let challenges = answer.headers.iter().filter(|(name, _)| name == header::WWW_AUTHENTICATE);
    assert_eq!(challenges.map(|(_, value)| value).collect::<Vec<_>>(), ["Bearer", "Basic"]);
}

#[test]
fn an_answer_carries_its_headers() {
    let id = RequestId::generate();
    let answer = Error::Saturated { retry_after: Duration::from_millis(1200) }.answer(Dialect::OpenAi, &id);
    let header =
        |name| answer.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.to_str().unwrap().to_owned());
    assert_eq!(answer.status, 429);
    assert_eq!(header(header::RETRY_AFTER).unwrap(), "2");
    assert_eq!(header(header::CONTENT_LENGTH).unwrap(), answer.body.len().to_string());
    assert_eq!(header(crate::request_id::HEADER).unwrap(), id.as_str());

    let answer = Error::MethodNotAllowed { allow: "GET, HEAD" }.answer(Dialect::OpenAi, &id);
    assert!(answer.headers.iter().any(|(n, v)| n == header::ALLOW && v == "GET, HEAD"));
}

#[test]
fn hostile_text_is_escaped_and_bounded() {
    let hostile = format!("\"}}\r\n\u{0}\u{1F600}</script>{}", "é".repeat(10_000));
    for error in [
        Error::unknown_model(&hostile, std::iter::repeat_n(hostile.as_str(), 1000)),
        Error::no_route(&hostile, &hostile),
    ] {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            let body = error.body(dialect, &RequestId::generate());
            assert!(body.len() < 8 * MAX_QUOTED_BYTES * MAX_LISTED_MODELS, "{}", body.len());
            assert!(body.iter().all(|b| *b >= b' '));
            let parsed: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(parsed["error"]["message"], error.to_string());
        }
    }
    assert!(Error::unknown_model("x", std::iter::repeat_n("m", 25)).to_string().ends_with("and 5 more"));
    assert!(Error::unknown_model("x", []).to_string().ends_with("no model is served here"));
}

#[test]
fn a_query_is_not_repeated() {
    assert_eq!(Error::no_route("GET", "/v1/x?key=secret").to_string(), "no route serves GET /v1/x");
}

#[test]
fn a_broken_stream_ends_with_an_error_event_and_never_with_done() {
    let error = Error::StreamBroken(Some("10.0.0.1:8000: reset".into()));
    let cut = StreamPosition { events: 3, is_between_events: false };
    for dialect in [Dialect::OpenAi, Dialect::OpenAiResponses, Dialect::Anthropic] {
        let event = String::from_utf8(error.stream_event(dialect, BOUNDARY).to_vec()).unwrap();
        assert!(
            event.ends_with("}\n\n") && !event.contains("DONE") && !event.contains("10.0.0.1"),
            "{event}"
        );
        let data = event.trim_end().rsplit_once("data: ").unwrap().1;
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["error"]["message"], error.to_string());
        assert_eq!(event.starts_with("event: error\ndata: "), dialect != Dialect::OpenAi);
        if dialect == Dialect::OpenAiResponses {
            assert_eq!((&data["type"], &data["sequence_number"]), (&json!("error"), &json!(3)));
        }

        let after_a_cut = error.stream_event(dialect, cut);
        assert_eq!(after_a_cut, format!("\n\n{event}"));
    }
}

#[test]
fn the_dialect_follows_the_path() {
    for (path, dialect) in [
        ("/v1/messages", Dialect::Anthropic),
        ("/v1/messages/count_tokens?beta=true", Dialect::Anthropic),
        ("/anthropic/v1/messages", Dialect::Anthropic),
        ("/v1/responses", Dialect::OpenAiResponses),
        ("/v1/messages_of_mine", Dialect::OpenAi),
        ("/v1/chat/completions", Dialect::OpenAi),
        ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", Dialect::Google),
        ("/model/anthropic.claude-3/converse", Dialect::Aws),
        ("/", Dialect::OpenAi),
    ] {
        assert_eq!(Dialect::of_path(path), dialect, "{path}");
    }
}
