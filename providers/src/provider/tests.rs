use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use serde_json::{Value as Json, json};

use super::*;
use crate::answer::Usage;
use crate::translation::Broken;

/// A model that a pool's engine serves.
const ENGINE: &str = "qwen";

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
        model: Some(model),
        asked_model: Some("asked"),
        request_id: "r1",
        ..Call::new(path, &headers, body.as_bytes())
    };
    let is_engine = model == ENGINE;
    let mut encoded = Provider::new(schema, place, is_engine).encode(&call)?;
    let written = encoded.body.take().unwrap_or_default().concat(call.body);
    let body = serde_json::from_slice(&written).unwrap_or_default();
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
        (Schema::AzureOpenAi, "/v1/messages/count_tokens"),
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
        let call = Call { query: Some("alt=sse"), model, asked_model, ..Call::new(path, &headers, b"") };
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

#[test]
fn tokens_are_counted_where_the_upstream_can() {
    const VERTEX: &str = "/v1/projects/p/locations/us-central1/publishers";
    let ask = json!({"model": "asked", "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}]});
    let claude = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    for (schema, model, target, answer) in [
        (
            Schema::AwsAnthropic,
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens".to_owned(),
            json!({"inputTokens": 7}),
        ),
        (
            Schema::AwsBedrock,
            claude,
            "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens".to_owned(),
            json!({"inputTokens": 7}),
        ),
        (
            Schema::GcpAnthropic,
            "claude-sonnet-4-5-20250929",
            format!("{VERTEX}/anthropic/models/count-tokens:rawPredict"),
            json!({"input_tokens": 7}),
        ),
        (
            Schema::GcpVertexAi,
            "gemini-2.5-pro",
            format!("{VERTEX}/google/models/gemini-2.5-pro:countTokens"),
            json!({"totalTokens": 7, "totalBillableCharacters": 9}),
        ),
        (
            Schema::Gemini,
            "gemini-2.5-pro",
            "/v1beta/models/gemini-2.5-pro:countTokens".to_owned(),
            json!({"totalTokens": 7}),
        ),
        (
            Schema::OpenAi,
            ENGINE,
            "/tokenize".to_owned(),
            json!({"count": 7, "max_model_len": 9, "tokens": [1]}),
        ),
    ] {
        let (path, body, encoded) = encoded(schema, "/v1/messages/count_tokens", model, &ask).unwrap();
        assert_eq!((path, &*encoded.dropped), (target, &[][..]), "{schema:?}");
        counts_the_prompt_alone(schema, &body);
        let (counted, usage) = answered(encoded, 200, &HeaderMap::new(), &answer);
        assert_eq!((counted, usage), (Ok(json!({"input_tokens": 7})), Usage::default()), "{schema:?}");
    }
}

/// Whether the body is what counts at this upstream and nothing else, which would be refused.
fn counts_the_prompt_alone(schema: Schema, body: &Json) {
    let names = |body: &Json| {
        let mut names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        names.sort_unstable();
        names
    };
    match schema {
        Schema::AwsAnthropic => {
            let inner = body["input"]["invokeModel"]["body"].as_str().unwrap();
            let inner: Json = serde_json::from_slice(&BASE64_STANDARD.decode(inner).unwrap()).unwrap();
            assert_eq!((&inner["max_tokens"], &inner["system"]), (&json!(1), &json!("Be brief.")), "{inner}");
            assert_eq!(
                (inner.get("model"), &inner["anthropic_version"]),
                (None, &json!("bedrock-2023-05-31"))
            );
        }
        Schema::AwsBedrock => {
            let inner = &body["input"]["converse"];
            assert_eq!(names(inner), ["messages", "system", "toolConfig"], "{body}");
            assert_eq!(inner["messages"][0]["content"][0]["text"], "Hi");
        }
        Schema::GcpAnthropic => {
            assert_eq!(body["model"], "claude-sonnet-4-5@20250929", "{body}");
            assert_eq!(
                (&body["anthropic_version"], &body["system"]),
                (&json!("vertex-2023-10-16"), &json!("Be brief."))
            );
        }
        Schema::GcpVertexAi => assert_eq!(names(body), ["contents", "systemInstruction", "tools"], "{body}"),
        Schema::Gemini => {
            let inner = &body["generateContentRequest"];
            assert_eq!(names(inner), ["contents", "model", "systemInstruction", "tools"], "{body}");
            assert_eq!(inner["model"], "models/gemini-2.5-pro");
        }
        _ => {
            assert_eq!(names(body), ["add_generation_prompt", "messages", "model", "tools"], "{body}");
            assert_eq!(
                (&body["model"], &body["messages"][1]["content"]),
                (&json!(ENGINE), &json!("Hi")),
                "{body}"
            );
        }
    }
}

#[test]
fn failures_to_count_are_told_in_the_clients_form() {
    let ask = json!({"model": "asked", "messages": [{"role": "user", "content": "Hi"}]});
    for (schema, model, failure) in [
        (Schema::AwsBedrock, "amazon.nova-pro-v1:0", json!({"message": "no such thing"})),
        (Schema::Gemini, "gemini-2.5-pro", json!({"error": {"code": 404, "message": "no such thing"}})),
        (Schema::OpenAi, ENGINE, json!({"detail": "no such thing"})),
    ] {
        let (_, _, encoded) = encoded(schema, "/v1/messages/count_tokens", model, &ask).unwrap();
        let (told, _) = answered(encoded, 404, &HeaderMap::new(), &failure);
        let told = told.unwrap();
        assert_eq!(
            (&told["type"], &told["error"]["type"]),
            (&json!("error"), &json!("not_found_error")),
            "{told}"
        );
        assert!(told["error"]["message"].as_str().unwrap().contains("no such thing"), "{told}");
    }
    let (_, _, encoded) =
        encoded(Schema::Gemini, "/v1/messages/count_tokens", "gemini-2.5-pro", &ask).unwrap();
    let (told, _) = answered(encoded, 200, &HeaderMap::new(), &json!({"totalTokens": "many"}));
    assert!(matches!(told, Err(Broken::Unreadable(_))), "{told:?}");
}

#[test]
fn what_an_upstream_of_openais_api_serves_itself_is_left_to_it() {
    let headers = HeaderMap::new();
    let body = br#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"input":"Hi","max_tokens":5}"#;
    let target = |served, path| {
        let call = Call { model: Some("m"), asked_model: Some("m"), ..Call::new(path, &headers, body) };
        let provider = Provider::new(Schema::OpenAi, Place::default(), true).serving(served);
        let encoded = provider.encode(&call).unwrap();
        (encoded.target, encoded.translation.is_some())
    };
    let chat = ("/v1/chat/completions".to_owned(), true);
    let as_it_is = |path: &str| (path.to_owned(), false);
    let (messages, responses, count) = ("/v1/messages", "/v1/responses", "/v1/messages/count_tokens");
    let all = Served { messages: true, responses: true };
    for path in [messages, responses, count] {
        assert_eq!(target(all, path), as_it_is(path));
    }
    let none = Served { messages: false, responses: false };
    assert_eq!((target(none, messages), target(none, responses)), (chat.clone(), chat.clone()));
    assert_eq!(
        (target(Served::default(), messages), target(Served::default(), responses)),
        (chat, as_it_is(responses))
    );
}

#[test]
fn log_probabilities_that_gemini_gives_are_the_chats() {
    let ask = |is_stream: bool| {
        json!({"model": "asked", "messages": [{"role": "user", "content": "Hi"}], "stream": is_stream,
            "logprobs": true, "top_logprobs": 1})
    };
    let answer = json!({"candidates": [{"content": {"parts": [{"text": "hé"}]}, "finishReason": "STOP",
        "logprobsResult": {"chosenCandidates": [{"token": "h", "logProbability": -0.5}, {"token": "é", "logProbability": -1}],
            "topCandidates": [{"candidates": [{"token": "H", "logProbability": -0.25}]}]}}]});
    let wanted = json!({"content": [
        {"token": "h", "logprob": -0.5, "bytes": [104], "top_logprobs": [{"token": "H", "logprob": -0.25, "bytes": [72]}]},
        {"token": "é", "logprob": -1, "bytes": [195, 169], "top_logprobs": []},
    ], "refusal": null});
    let path = "/v1/chat/completions";
    let (_, body, whole) = encoded(Schema::Gemini, path, "gemini-2.5-pro", &ask(false)).unwrap();
    assert_eq!((&body["generationConfig"]["responseLogprobs"], &*whole.dropped), (&json!(true), &[][..]));
    let (told, _) = answered(whole, 200, &HeaderMap::new(), &answer);
    assert_eq!(told.unwrap()["choices"][0]["logprobs"], wanted);

    let (_, _, streamed) = encoded(Schema::Gemini, path, "gemini-2.5-pro", &ask(true)).unwrap();
    let mut translation = streamed.translation.unwrap();
    let mut out = Vec::new();
    translation.begin(200, &HeaderMap::new());
    translation.body(format!("data: {answer}\n\n").as_bytes(), true, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    let chunks =
        out.lines().filter_map(|line| serde_json::from_str::<Json>(line.strip_prefix("data: ")?).ok());
    let told: Vec<Json> = chunks.map(|chunk| chunk["choices"][0]["logprobs"].clone()).collect();
    assert_eq!(told.into_iter().filter(|told| !told.is_null()).collect::<Vec<_>>(), [wanted]);
}

#[test]
fn a_long_name_of_the_upstreams_is_not_repeated_in_every_chunk() {
    let ask = json!({"model": "asked", "messages": [{"role": "user", "content": "Hi"}]});
    for (bytes, id) in [(512, "x".repeat(512)), (513, "chatcmpl-r1".to_owned())] {
        let (_, _, encoded) =
            encoded(Schema::Anthropic, "/v1/chat/completions", "claude-sonnet-4-5", &ask).unwrap();
        let long = "x".repeat(bytes);
        let answer = json!({"id": long, "type": "message", "role": "assistant", "model": long, "content": [],
            "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}});
        let told = answered(encoded, 200, &HeaderMap::new(), &answer).0.unwrap();
        let model = if bytes > 512 { "asked" } else { id.as_str() };
        assert_eq!((told["id"].as_str(), told["model"].as_str()), (Some(id.as_str()), Some(model)));
    }
}

#[test]
fn a_refusal_names_the_part_that_it_is_about() {
    let image = json!({"type": "image_url", "image_url": {"url": "https://example.com/a"}});
    let image_of_claude = json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a"}});
    let image_of_responses = json!({"type": "input_image", "image_url": "https://example.com/a"});
    let hi = json!({"role": "user", "content": "Hi"});
    let said = json!({"role": "assistant", "content": "Hello"});
    let last =
        |part: &Json, text: &str| json!({"role": "user", "content": [{"type": text, "text": "a"}, part]});
    for (path, list, ask) in [
        ("/v1/chat/completions", "messages", json!({"messages": [hi, said, last(&image, "text")]})),
        (
            "/v1/messages",
            "messages",
            json!({"max_tokens": 5, "messages": [hi, said, last(&image_of_claude, "text")]}),
        ),
        ("/v1/responses", "input", json!({"input": [hi, said, last(&image_of_responses, "input_text")]})),
    ] {
        for (schema, model) in
            [(Schema::AwsBedrock, "amazon.nova-pro-v1:0"), (Schema::Gemini, "gemini-2.5-pro")]
        {
            let refused = encoded(schema, path, model, &ask).unwrap_err();
            let NotEncoded::Refused(refused) = refused else { panic!("{refused}") };
            assert_eq!(refused.param, format!("{list}[2].content[1]"), "{path} at {schema:?}");
        }
    }
}
