use http::HeaderMap;
use serde_json::{Value as Json, json};

use super::*;
use crate::answer::Usage;
use crate::translation::Broken;

/// Asks an upstream, and gives path, body and what reads the answer.
fn encoded(
    schema: Schema,
    path: &str,
    model: &str,
    body: &Json,
) -> Result<(String, Json, Encoded), NotEncoded> {
    let place = Place { project: "p".into(), region: "us-central1".into(), ..Place::default() };
    let (headers, body) = (HeaderMap::new(), body.to_string());
    let call = Call {
        api: Api::of_path(path),
        path,
        query: None,
        model: Some(model),
        asked_model: Some("asked"),
        headers: &headers,
        body: body.as_bytes(),
        now: 0,
        request_id: "r1",
    };
    let encoded = Provider::new(schema, place, false).encode(&call)?;
    let body = serde_json::from_slice(encoded.body.as_deref().unwrap_or_default()).unwrap_or_default();
    Ok((encoded.target.clone(), body, encoded))
}

/// The client's view of an answer, whose body comes byte by byte.
fn answered(
    mut encoded: Encoded,
    status: u16,
    headers: &HeaderMap,
    body: &Json,
) -> (Result<Json, Broken>, Usage) {
    let translation = encoded.translation.as_mut().unwrap();
    translation.begin(status, headers);
    let (body, mut out) = (body.to_string(), Vec::new());
    for byte in body.bytes() {
        if let Err(broken) = translation.body(&[byte], false, &mut out) {
            return (Err(broken), translation.usage());
        }
    }
    let end = translation.body(b"", true, &mut out);
    (end.map(|()| serde_json::from_slice(&out).unwrap()), translation.usage())
}

#[test]
fn embeddings_are_asked_of_google_and_bedrock() {
    const VERTEX: &str = "/v1/projects/p/locations/us-central1/publishers/google/models";
    let two = json!({"model": "asked", "input": ["a", "b"], "user": "u"});
    let one = json!({"model": "asked", "input": "a", "encoding_format": "base64"});
    let vector = |at: u64, vector: Json| json!({"object": "embedding", "index": at, "embedding": vector});
    let mut counted = HeaderMap::new();
    counted.insert("x-amzn-bedrock-input-token-count", 7.into());
    for (schema, model, asked, target, answer, data, tokens) in [
        (
            Schema::Gemini,
            "gemini-embedding-001",
            &two,
            "/v1beta/models/gemini-embedding-001:batchEmbedContents".to_owned(),
            json!({"embeddings": [{"values": [1, 0.5]}, {"values": [2]}]}),
            json!([vector(0, json!([1, 0.5])), vector(1, json!([2]))]),
            None,
        ),
        (
            Schema::GcpVertexAi,
            "text-embedding-005",
            &one,
            format!("{VERTEX}/text-embedding-005:predict"),
            json!({"predictions": [{"embeddings": {"values": [0.5], "statistics": {"token_count": 3}}}]}),
            json!([vector(0, json!("AAAAPw=="))]),
            Some(3),
        ),
        (
            Schema::AwsBedrock,
            "cohere.embed-v4:0",
            &two,
            "/model/cohere.embed-v4%3A0/invoke".to_owned(),
            json!({"embeddings": [[1], [2]]}),
            json!([vector(0, json!([1])), vector(1, json!([2]))]),
            Some(7),
        ),
        (
            Schema::AwsBedrock,
            "amazon.titan-embed-text-v2:0",
            &one,
            "/model/amazon.titan-embed-text-v2%3A0/invoke".to_owned(),
            json!({"embedding": [0.5], "inputTextTokenCount": 2}),
            json!([vector(0, json!("AAAAPw=="))]),
            Some(2),
        ),
    ] {
        let (path, _, encoded) = encoded(schema, "/v1/embeddings", model, asked).unwrap();
        assert_eq!(path, target);
        let dropped: &[&str] = if asked == &two { &["user"] } else { &[] };
        assert_eq!(encoded.dropped, dropped, "{model}");
        let headers = if schema == Schema::AwsBedrock { counted.clone() } else { HeaderMap::new() };
        let (body, usage) = answered(encoded, 200, &headers, &answer);
        let n = tokens.unwrap_or(0);
        let usage_told = json!({"prompt_tokens": n, "total_tokens": n});
        let wanted = json!({"object": "list", "data": data, "model": "asked", "usage": usage_told});
        assert_eq!((body, usage.input), (Ok(wanted), tokens), "{model}");
    }
}

#[test]
fn ranks_are_asked_of_google_and_bedrock() {
    let asked = json!({"model": "asked", "query": "q", "documents": ["a", "b"], "max_tokens_per_doc": 5});
    for (schema, target, answer) in [
        (
            Schema::GcpVertexAi,
            "/v1/projects/p/locations/us-central1/rankingConfigs/default_ranking_config:rank",
            json!({"records": [{"id": "1", "score": 0.9}, {"id": "0", "score": 0.1}]}),
        ),
        (
            Schema::AwsBedrock,
            "/rerank",
            json!({"results": [{"index": 1, "relevanceScore": 0.9}, {"index": 0, "relevanceScore": 0.1}]}),
        ),
    ] {
        for path in ["/v1/rerank", "/v2/rerank"] {
            let (path, _, encoded) = encoded(schema, path, "ranker", &asked).unwrap();
            assert_eq!((path.as_str(), &*encoded.dropped), (target, &["max_tokens_per_doc".into()][..]));
            let (body, _) = answered(encoded, 200, &HeaderMap::new(), &answer);
            let result = |at: u64, score: f64| json!({"index": at, "relevance_score": score});
            assert_eq!(body.unwrap()["results"], json!([result(1, 0.9), result(0, 0.1)]));
        }
    }
}

#[test]
fn documents_that_are_none_and_failures_are_told() {
    let asked = json!({"model": "m", "input": "a"});
    let ask = || encoded(Schema::Gemini, "/v1/embeddings", "gemini-embedding-001", &asked).unwrap().2;
    let (body, _) = answered(ask(), 200, &HeaderMap::new(), &json!({"embeddings": []}));
    assert!(matches!(body, Err(Broken::Unreadable(_))), "{body:?}");
    let failure = json!({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}});
    let (body, _) = answered(ask(), 429, &HeaderMap::new(), &failure);
    assert_eq!(body.unwrap()["error"]["code"], "rate_limit_exceeded");
}

#[test]
fn an_api_that_an_upstream_has_nothing_like_is_not_served() {
    for (schema, path) in [
        (Schema::OpenAi, "/v1/messages/count_tokens"),
        (Schema::AwsBedrock, "/v1/messages/count_tokens"),
        (Schema::Anthropic, "/v1/embeddings"),
        (Schema::Gemini, "/v1/rerank"),
        (Schema::Cohere, "/v1/chat/completions"),
    ] {
        let refused = encoded(schema, path, "m", &json!({})).unwrap_err();
        let NotEncoded::Unserved { upstream, .. } = refused else { panic!("{refused}") };
        assert_eq!(upstream, schema.name(), "{path}");
    }
}

#[test]
fn a_path_that_names_the_model_is_the_only_place_that_does() {
    let target = |schema, path: &str, asked_model, model| {
        let headers = HeaderMap::new();
        let call = Call {
            api: Api::of_path(path),
            path,
            query: Some("alt=sse"),
            model,
            asked_model,
            headers: &headers,
            body: b"",
            now: 0,
            request_id: "r1",
        };
        Provider::new(schema, Place::default(), false).encode(&call).map(|encoded| encoded.target)
    };
    let bedrock = "/model/anthropic.claude/converse-stream";
    let gemini = "/v1beta/models/gemini-2.5-pro:streamGenerateContent";
    for (schema, path) in [(Schema::AwsBedrock, bedrock), (Schema::Gemini, gemini)] {
        assert_eq!(target(schema, path, None, None).unwrap(), format!("{path}?alt=sse"));
        // Routed by a model of the body, it would be served by the path's.
        let refused = target(schema, path, Some("allowed"), Some("allowed")).unwrap_err().to_string();
        assert!(refused.contains("the path names the model"), "{refused}");
    }
    let renamed = target(Schema::AwsBedrock, bedrock, None, Some("arn:aws:bedrock/x")).unwrap();
    assert_eq!(renamed, "/model/arn%3Aaws%3Abedrock%2Fx/converse-stream?alt=sse");
    let renamed = target(Schema::Gemini, gemini, None, Some("../other")).unwrap();
    assert_eq!(renamed, "/v1beta/models/..%2Fother:streamGenerateContent?alt=sse");
    assert!(target(Schema::Gemini, gemini, None, Some("..")).is_err());
}
