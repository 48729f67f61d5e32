//! No request makes an upstream's encoder panic, whatever its API: what is written is JSON in which no member stands twice
//! unless it did so in the client's, and the target is a path.
//!
//! `cargo +nightly fuzz run providers-request fuzz/corpus/providers-request fuzz/seeds/providers-request`

#![no_main]

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use libfuzzer_sys::fuzz_target;
use penstock_providers::{Api, Call, Encoded, Place, Provider, Schema, json};
use serde::de::IgnoredAny;

/// APIs of clients, by their paths.
const PATHS: [&str; 9] = [
    "/v1/chat/completions",
    "/v1/messages",
    "/v1/responses",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages/count_tokens",
    "/v2/rerank",
    "/v1/images/generations",
    "/v1/models",
];

const SCHEMAS: [Schema; 9] = [
    Schema::OpenAi,
    Schema::Anthropic,
    Schema::AwsBedrock,
    Schema::AwsAnthropic,
    Schema::AzureOpenAi,
    Schema::GcpVertexAi,
    Schema::GcpAnthropic,
    Schema::Gemini,
    Schema::Cohere,
];

fuzz_target!(|body: &[u8]| {
    let document = json::parse(body);
    let request = document.as_ref().ok().and_then(json::Value::as_object);
    let model = request.and_then(|body| body.text("model")).map(|model| model.decoded());
    let is_plain = request.is_some_and(has_no_member_twice);
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-beta", HeaderValue::from_static("context-1m-2025-08-07, files-api-2025-04-14"));
    for path in PATHS {
        let call = Call {
            api: Api::of_path(path),
            path,
            query: None,
            model: model.as_deref(),
            asked_model: Some("asked"),
            headers: &headers,
            body,
            now: 1_760_000_000,
            request_id: "7f1c9a52",
        };
        for schema in SCHEMAS {
            for is_engine in [false, true] {
                if is_engine && schema != Schema::OpenAi {
                    continue;
                }
                match Provider::new(schema, place(), is_engine).encode(&call) {
                    Ok(encoded) => check(encoded, call.body, is_plain),
                    Err(refused) => assert!(!refused.to_string().is_empty()),
                }
            }
        }
    }
});

fn place() -> Place {
    Place { project: "acme".into(), region: "eu-central-1".into(), ..Place::default() }
}

fn check(encoded: Encoded, source: &[u8], is_plain: bool) {
    let target = &encoded.target;
    assert!(target.starts_with('/'), "{target}");
    assert!(target.split('/').all(|segment| !matches!(segment, "." | "..")), "{target}");
    let parsed: PathAndQuery = target.parse().unwrap_or_else(|error| panic!("{target}: {error}"));
    assert_eq!(parsed.as_str(), target);
    let Some(written) = encoded.body else { return };
    let body = &*written.concat(source);
    let text = std::str::from_utf8(body).expect("UTF-8");
    // Not as a value: `serde_json` has none for lone surrogates, which go through as they are.
    serde_json::from_str::<IgnoredAny>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    match json::parse(body) {
        Ok(json::Value::Object(written)) => assert!(!is_plain || has_no_member_twice(&written), "{text}"),
        Ok(_) => panic!("no object: {text}"),
        // One that is nested as deeply as the client's may be is nested deeper in another API's.
        Err(json::ParseError::Depth(_)) => {}
        Err(error) => panic!("{error}: {text}"),
    }
}

fn has_no_member_twice(object: &json::Object<'_>) -> bool {
    let names: BTreeSet<_> = object.members.iter().map(|(name, _)| name).collect();
    names.len() == object.members.len()
}
