//! The second personality: Envoy AI Gateway's test upstream, which does what request headers tell it.
//!
//! Request headers state what the request must look like, and what to answer. An expectation that fails is
//! answered with 400 and `x-testupstream-error: true`, so that a test behind a gateway sees it. The order of the
//! checks, the names and the texts of errors are the original's, found by running it.

mod expect;

use std::{io::Write, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, request::Parts};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{
    body::SimBody,
    eventstream,
    text::{draw, lossy},
};

/// Pause after each event of a stream, as in the original.
const EVENT_PAUSE: Duration = Duration::from_millis(200);

/// Why a request is answered with 400.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// Something is not as a header said it would be.
    #[error("{0}")]
    Unexpected(String),
    /// A header is not the base64 that it should be.
    #[error("failed to decode the {what}: {}", go_error(.source))]
    Base64 {
        what: &'static str,
        #[source]
        source: base64::DecodeError,
    },
    /// A list of headers is not `key:value,key:value`.
    #[error("invalid header key-value pair: {0}")]
    Pair(String),
    /// The status to answer is none.
    #[error("failed to parse the response status: strconv.Atoi: parsing {0:?}: invalid syntax")]
    Status(String),
    /// Nothing is known to answer on this path.
    #[error("failed to get the fake response for path {0}: unknown path: {0}")]
    Path(String),
    /// A size of fake response that is none.
    #[error("failed to get the fake response for path {path}: unknown large fake response key: {key}")]
    FakeSize { path: String, key: String },
}

/// Go's words for broken base64, which tests compare.
fn go_error(error: &base64::DecodeError) -> String {
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(length) => length.saturating_sub(1),
        base64::DecodeError::InvalidPadding => 0,
    };
    format!("illegal base64 data at input byte {at}")
}

/// Answers any request but those for `/health`.
pub(crate) fn answer(id: &str, parts: &Parts, body: &Bytes) -> Response<SimBody> {
    let mut headers = HeaderMap::new();
    let result = expect::check(id, parts, body).and_then(|()| {
        let response_headers = expect::pairs(&parts.headers, "x-response-headers", "response headers")?;
        for (name, value) in response_headers {
            let pair = HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(value.trim()).ok());
            let (name, value) = pair.ok_or(Refusal::Pair(format!("{name}:{value}")))?;
            headers.append(name, value);
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert("testupstream-id", id);
        }
        respond(parts, body, &mut headers)
    });
    match result {
        Ok((status, body)) => {
            let mut response = Response::new(body);
            *response.status_mut() = status;
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            *response.headers_mut() = headers;
            response
        }
        Err(refusal) => refuse(&refusal, headers),
    }
}

fn refuse(refusal: &Refusal, mut headers: HeaderMap) -> Response<SimBody> {
    let mut response = Response::new(SimBody::whole(format!("{refusal}\n")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-testupstream-error", HeaderValue::from_static("true"));
    headers.remove(header::CONTENT_ENCODING);
    *response.headers_mut() = headers;
    response
}

fn respond(parts: &Parts, body: &Bytes, headers: &mut HeaderMap) -> Result<(StatusCode, SimBody), Refusal> {
    let status = match parts.headers.get("x-response-status") {
        None => StatusCode::OK,
        Some(status) => lossy(status.as_bytes())
            .parse()
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .ok_or_else(|| Refusal::Status(lossy(status.as_bytes()).into_owned()))?,
    };
    if let Some(model) = model(body).and_then(|model| HeaderValue::try_from(model).ok()) {
        headers.insert("x-model", model);
    }
    let kind = parts.headers.get("x-response-type").map_or(&b""[..], HeaderValue::as_bytes);
    let set_type = |headers: &mut HeaderMap, kind| {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    };
    let text = || expect::decoded(&parts.headers, "x-response-body", "response body");
    let body = match kind {
        b"sse" => {
            set_type(headers, "text/event-stream");
            paced(sse_events(&text()?.unwrap_or_default()), None)
        }
        b"sse-gzip" => {
            set_type(headers, "text/event-stream");
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            gzipped_events(&sse_events(&text()?.unwrap_or_default()))
        }
        b"aws-event-stream" => {
            set_type(headers, "application/vnd.amazon.eventstream");
            let frames = eventstream::frames(&text()?.unwrap_or_default());
            paced(frames, Some(eventstream::end()))
        }
        kind => {
            let text = match text()? {
                Some(text) => text.into(),
                None => fake(parts)?,
            };
            if kind == b"gzip" {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                SimBody::whole(gzip(&text))
            } else {
                SimBody::whole(text)
            }
        }
    };
    Ok((status, body))
}

/// Each event, and a pause after it; then `end`, if there is one.
fn paced(events: Vec<Bytes>, end: Option<Bytes>) -> SimBody {
    if events.is_empty() {
        return SimBody::whole(end.unwrap_or_default());
    }
    let state = (events.into_iter(), end, false);
    SimBody::stream(stream::unfold(state, |(mut events, mut end, has_begun)| async move {
        if has_begun {
            tokio::time::sleep(EVENT_PAUSE).await;
        }
        let event = events.next().or_else(|| end.take())?;
        Some((event, (events, end, true)))
    }))
}

/// The events of a body: as they stand where blank lines part them, else a `data` event a line.
fn sse_events(body: &[u8]) -> Vec<Bytes> {
    let text = lossy(body);
    let (parts, prefix): (Vec<&str>, _) = if text.contains("\n\n") {
        (text.split("\n\n").collect(), "")
    } else {
        (text.split('\n').collect(), "data: ")
    };
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|part| format!("{prefix}{part}\n\n").into())
        .collect()
}

/// One gzip stream over all events, flushed after each so that each can be read as it comes.
fn gzipped_events(events: &[Bytes]) -> SimBody {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut pieces = Vec::with_capacity(events.len());
    for event in events {
        // Writing to a vector cannot fail.
        let _ = encoder.write_all(event);
        let _ = encoder.flush();
        pieces.push(Bytes::from(std::mem::take(encoder.get_mut())));
    }
    let end = encoder.finish().unwrap_or_default();
    paced(pieces, Some(end.into()))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector cannot fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// What is answered where no body was given.
fn fake(parts: &Parts) -> Result<Bytes, Refusal> {
    let path = parts.uri.path();
    let size = parts.headers.get("x-fake-response").map(|size| lossy(size.as_bytes()).into_owned());
    match path {
        "/v1/chat/completions" => match size {
            None => Ok(short_chat()),
            Some(key) => {
                let lines = match key.as_str() {
                    "small" => 100,
                    "medium" => 10_000,
                    "large" => 100_000,
                    _ => return Err(Refusal::FakeSize { path: path.to_owned(), key }),
                };
                Ok(long_chat(lines))
            }
        },
        "/v1/embeddings" => Ok(Bytes::from_static(
            br#"{"object":"list","data":[{"object":"embedding","embedding":[0.1,0.2,0.3,0.4,0.5],"index":0}],"model":"some-cool-self-hosted-model","usage":{"prompt_tokens":3,"total_tokens":3}}"#,
        )),
        _ => Err(Refusal::Path(path.to_owned())),
    }
}

fn short_chat() -> Bytes {
    const LINES: [&str; 4] = [
        "Nothing to see here, carry on.",
        "The kettle is on, do come in.",
        "All quiet on this side of the fence.",
        "Somebody left the lights on again.",
    ];
    let line = LINES[draw(super::metrics::now().to_bits(), 0) as usize % LINES.len()];
    format!(
        r#"{{"choices": [{{"index": 0,"message": {{"role": "assistant","content": "{line}"}},"finish_reason": "stop"}}],"usage": {{"prompt_tokens": 1,"completion_tokens": 100,"total_tokens": 300}}}}"#
    )
    .into()
}

/// About 50 bytes a line.
fn long_chat(lines: usize) -> Bytes {
    let content = "One of many lines of which this long answer is made. ".repeat(lines);
    serde_json::json!({
        "id": "chatcmpl-fake", "object": "chat.completion", "created": 1, "model": "fake",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": content, "refusal": null, "annotations": []},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {"prompt_tokens": 13, "completion_tokens": 12, "total_tokens": 25},
    })
    .to_string()
    .into()
}

/// The first top-level `model` of the first JSON object in a body, as text. What follows it may be broken.
fn model(body: &[u8]) -> Option<String> {
    let start = memchr::memchr(b'{', body)?;
    let mut deserializer = serde_json::Deserializer::from_slice(&body[start..]);
    let mut found = None;
    // An error after the model was found takes nothing away.
    let _ = deserializer.deserialize_map(FindModel(&mut found));
    found
}

struct FindModel<'a>(&'a mut Option<String>);

impl<'de> Visitor<'de> for FindModel<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "model" && self.0.is_none() {
                let value = map.next_value::<serde_json::Value>()?;
                *self.0 = Some(match value {
                    serde_json::Value::String(text) => text,
                    serde_json::Value::Null => String::new(),
                    other => other.to_string(),
                });
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_in_what_is_barely_json() {
        for (body, expected) in [
            (r#"{"model":"m1"}"#, Some("m1")),
            (r#"{"model":5}"#, Some("5")),
            (r#"{"model":true}"#, Some("true")),
            (r#"{"model":null}"#, Some("")),
            (r#"{"model":"a\u0041"}"#, Some("aA")),
            (r#"{"x":{"model":"b"}}"#, None),
            (r#"{"model":"a","model":"b"}"#, Some("a")),
            (r#"xx{"model":"q""#, Some("q")),
            (r#"["model"]"#, None),
            (r#"{"model":"a"#, None),
            ("plain", None),
        ] {
            assert_eq!(model(body.as_bytes()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn events_are_parted_by_blank_lines_or_by_lines() {
        let events = |body: &str| {
            sse_events(body.as_bytes()).iter().map(|event| lossy(event).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(events("a\nb\n"), ["data: a\n\n", "data: b\n\n"]);
        assert_eq!(events("a\n\nb\n"), ["a\n\n", "b\n\n\n"]);
        assert_eq!(events("a\nb\n\n"), ["a\nb\n\n"]);
        assert!(events("").is_empty());
    }
}
