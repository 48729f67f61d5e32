//! The hosted providers' APIs: paths, members that they refuse, credentials, calls of tools.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Method;
use penstock_sim::{
    Handle,
    credentials::Credentials,
    options::{Mode, Options},
};
use serde_json::{Value, json};

use crate::{
    MODEL,
    client::{Answer, Client, events, request},
    issuing, start,
};

const SIGNED: (&str, &str) = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=AKIA/20260101/r/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature=0",
);
const DATE: (&str, &str) = ("x-amz-date", "20260101T000000Z");
const VERTEX: &str = "/v1/projects/p/locations/global/publishers";

/// A server of these models that says back what it is asked.
async fn serving(models: &[&str]) -> (Handle, Client) {
    let served_model_names = models.iter().map(|name| (*name).to_owned()).collect();
    let sim = start(Options { mode: Mode::Echo, served_model_names, ..Options::default() }).await;
    let client = Client::http1(sim.addr()).await;
    (sim, client)
}

async fn send(client: &mut Client, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    client.send(request(Method::POST, path, headers, body.to_string())).await.unwrap()
}

/// Sends what has to be refused, and returns status and message.
async fn refused(client: &mut Client, path: &str, headers: &[(&str, &str)], body: &Value) -> (u16, String) {
    let answer = send(client, path, headers, body).await;
    let told = answer.json();
    let message = told["error"]["message"].as_str().or(told["message"].as_str()).unwrap_or_default();
    (answer.status.as_u16(), message.to_owned())
}

fn merged(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_tool_is_called_where_the_last_turn_says_so_in_every_api() {
    let (_sim, mut client) = serving(&[MODEL]).await;
    let say = "Please: sim:call look {\"at\": \"Köln\", \"n\": [1]} and so on.";
    let schema = json!({"type": "object"});
    let function = json!({"name": "look", "parameters": schema});
    let chat = json!({
        "model": MODEL, "messages": [{"role": "user", "content": say}],
        "tools": [{"type": "function", "function": function}],
    });
    let wanted = json!({"at": "Köln", "n": [1]});
    let answer = client.post("/v1/chat/completions", &chat).await.json();
    let choice = &answer["choices"][0];
    let arguments = choice["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    assert_eq!(serde_json::from_str::<Value>(arguments).unwrap(), wanted);
    let stream = client.post("/v1/chat/completions", &merged(chat.clone(), &json!({"stream": true}))).await;
    let deltas: String = events(&stream.text())
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|event| {
            let call = &event["choices"][0]["delta"]["tool_calls"][0];
            call["function"]["arguments"].as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&deltas).unwrap(), wanted);

    let messages = json!({
        "model": MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": say}],
        "tools": [{"name": "look", "input_schema": schema}],
    });
    let answer = client.post("/v1/messages", &messages).await.json();
    assert_eq!((&answer["stop_reason"], &answer["content"][0]["input"]), (&json!("tool_use"), &wanted));
    let text = client.post("/v1/messages", &merged(messages, &json!({"stream": true}))).await.text();
    assert!(text.contains("input_json_delta") && text.contains("\"tool_use\""), "{text}");

    let converse = json!({
        "messages": [{"role": "user", "content": [{"text": say}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": schema}}}]},
    });
    let path = format!("/model/{}/converse", MODEL.replace('/', "%2F"));
    let answer = send(&mut client, &path, &[SIGNED, DATE], &converse).await.json();
    let used = &answer["output"]["message"]["content"][0]["toolUse"];
    assert_eq!((&answer["stopReason"], &used["input"]), (&json!("tool_use"), &wanted));

    let (_sim, mut client) = serving(&["gemini"]).await;
    let gemini = json!({
        "contents": [{"role": "user", "parts": [{"text": say}]}], "tools": [{"functionDeclarations": [function]}],
    });
    for verb in ["generateContent", "streamGenerateContent?alt=sse"] {
        let text = client.post(&format!("/v1beta/models/gemini:{verb}"), &gemini).await.text();
        let text = text.trim().trim_start_matches("data: ").to_owned();
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let call = &answer["candidates"][0]["content"]["parts"][0]["functionCall"];
        assert_eq!(call, &json!({"name": "look", "args": wanted}));
    }
    let (_sim, mut client) = serving(&[MODEL]).await;
    let responses = json!({
        "model": MODEL, "input": say, "stream": true,
        "tools": [{"type": "function", "name": "look", "parameters": schema}],
    });
    let text = client.post("/v1/responses", &responses).await.text();
    let last: Value = serde_json::from_str(events(&text).last().unwrap()).unwrap();
    let item = &last["response"]["output"][0];
    assert_eq!((&item["type"], &item["name"]), (&json!("function_call"), &json!("look")));
    // A tool that is not there is not called.
    let answer = client.post("/v1/chat/completions", &merged(chat, &json!({"tools": []}))).await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], say);
}

#[tokio::test]
async fn azure_wants_a_version_and_knows_models_by_deployments() {
    let (_sim, mut client) = serving(&["gpt"]).await;
    let body = json!({"model": "whatever", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let path = "/openai/deployments/gpt/chat/completions";
    let answer = send(&mut client, &format!("{path}?api-version=2024-10-21"), &[], &body).await;
    assert_eq!(answer.status, 200);
    let first: Value = serde_json::from_str(&events(&answer.text())[0]).unwrap();
    assert_eq!((&first["choices"], &first["model"]), (&json!([]), &json!("")), "{first}");
    assert!(first["prompt_filter_results"].is_array());
    assert_eq!(refused(&mut client, path, &[], &body).await.0, 404);
    let other = "/openai/deployments/other/chat/completions?api-version=1";
    assert_eq!(refused(&mut client, other, &[], &body).await.0, 404);
    let body = json!({"model": "gpt", "input": "Hi"});
    for path in ["/openai/v1/responses", "/openai/responses?api-version=1", "/openai/v1/embeddings"] {
        assert_eq!(send(&mut client, path, &[], &body).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn claude_on_the_platforms_has_neither_model_nor_what_they_refuse() {
    let (_sim, mut client) = serving(&["anthropic.claude"]).await;
    let body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]});
    let aws = merged(body.clone(), &json!({"anthropic_version": "bedrock-2023-05-31"}));
    let invoke = "/model/anthropic.claude/invoke";
    let auth = [SIGNED, DATE];
    let answer = send(&mut client, invoke, &auth, &aws).await;
    assert_eq!(answer.json()["content"][0]["text"], "Hello");
    assert!(!answer.header("x-amzn-requestid").is_empty());
    let stream = send(&mut client, "/model/anthropic.claude/invoke-with-response-stream", &auth, &aws).await;
    assert_eq!(stream.header("content-type"), "application/vnd.amazon.eventstream");
    let body_text = String::from_utf8_lossy(&stream.body).into_owned();
    let chunks = body_text.matches("{\"bytes\":\"").count();
    assert_eq!(chunks, 2 + 2 + 3, "start, tokens and end: {body_text}");
    let last = body_text.rsplit_once("{\"bytes\":\"").unwrap().1.split('"').next().unwrap();
    let last: Value = serde_json::from_slice(&BASE64_STANDARD.decode(last).unwrap()).unwrap();
    assert_eq!(last["type"], "message_stop");
    assert!(last["amazon-bedrock-invocationMetrics"]["outputTokenCount"].is_u64(), "{last}");
    for (more, message) in [
        (json!({"model": "m"}), "model: Extra inputs are not permitted"),
        (json!({"stream": true}), "stream: Extra inputs are not permitted"),
        (json!({"anthropic_version": "2023-06-01"}), "anthropic_version: Invalid API version"),
        (json!({"mcp_servers": []}), "mcp_servers: Extra inputs are not permitted"),
        (
            json!({"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "scope": "x"}}]}),
            "cache_control.ephemeral.scope: Extra inputs are not permitted",
        ),
    ] {
        assert_eq!(
            refused(&mut client, invoke, &auth, &merged(aws.clone(), &more)).await,
            (400, message.to_owned())
        );
    }
    assert_eq!(refused(&mut client, invoke, &auth, &body).await.1, "anthropic_version: Field required");

    let gcp = merged(body.clone(), &json!({"anthropic_version": "vertex-2023-10-16"}));
    let claude = format!("{VERTEX}/anthropic/models/anthropic.claude");
    let answer = send(&mut client, &format!("{claude}:rawPredict"), &[], &gcp).await;
    assert_eq!(answer.json()["content"][0]["text"], "Hello");
    let stream = merged(gcp.clone(), &json!({"stream": true}));
    let stream = send(&mut client, &format!("{claude}:streamRawPredict"), &[], &stream).await;
    assert!(stream.text().ends_with("{\"type\":\"message_stop\"}\n\n"), "{}", stream.text());
    let with_model = merged(gcp, &json!({"model": "m"}));
    let told = refused(&mut client, &format!("{claude}:rawPredict"), &[], &with_model).await;
    assert_eq!(told, (400, "model: Extra inputs are not permitted".to_owned()));
}

#[tokio::test]
async fn tokens_are_counted_as_each_api_says_it() {
    let (_sim, mut client) = serving(&["m"]).await;
    let turns = json!([{"role": "user", "content": "abcdefgh"}]);
    let body = json!({"model": "m", "messages": turns});
    let counted =
        client.post("/v1/messages/count_tokens", &body).await.json()["input_tokens"].as_u64().unwrap();
    let used = client.post("/v1/messages", &merged(body.clone(), &json!({"max_tokens": 1}))).await.json();
    assert_eq!(Some(counted), used["usage"]["input_tokens"].as_u64());
    let count = format!("{VERTEX}/anthropic/models/count-tokens:rawPredict");
    assert_eq!(client.post(&count, &body).await.json()["input_tokens"], counted);
    let told =
        refused(&mut client, "/v1/messages/count_tokens", &[], &merged(body, &json!({"max_tokens": 1})))
            .await;
    assert_eq!(told, (400, "max_tokens: Extra inputs are not permitted".to_owned()));

    let converse = json!({"messages": [{"role": "user", "content": [{"text": "abcdefgh"}]}]});
    let invoke = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 1, "messages": turns});
    let invoke = json!({"body": BASE64_STANDARD.encode(invoke.to_string())});
    for input in [json!({"converse": converse}), json!({"invokeModel": invoke})] {
        let body = json!({"input": input});
        let answer = send(&mut client, "/model/m/count-tokens", &[SIGNED, DATE], &body).await.json();
        assert_eq!(answer["inputTokens"], counted, "{answer}");
    }
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "abcdefgh"}]}]});
    for path in ["/v1beta/models/m:countTokens", &format!("{VERTEX}/google/models/m:countTokens")] {
        assert_eq!(client.post(path, &contents).await.json()["totalTokens"], counted);
    }
}

#[tokio::test]
async fn vectors_and_scores_are_asked_for_in_each_providers_form() {
    let models = [
        "amazon.titan-embed-text-v2:0",
        "amazon.titan-embed-text-v1",
        "cohere.embed-v4:0",
        "amazon.nova-2-multimodal-embeddings-v1:0",
        "text-embedding-005",
        "cohere.rerank-v3-5:0",
    ];
    let (_sim, mut client) = serving(&models).await;
    let auth = [SIGNED, DATE];
    let invoke = |model: &str| format!("/model/{}/invoke", model.replace(':', "%3A"));
    let titan = json!({"inputText": "abcd", "dimensions": 256});
    let answer = send(&mut client, &invoke(models[0]), &auth, &titan).await;
    assert_eq!(answer.json()["embedding"].as_array().unwrap().len(), 256);
    assert_eq!(
        (answer.header("x-amzn-bedrock-input-token-count"), &answer.json()["inputTextTokenCount"]),
        ("1", &json!(1))
    );
    assert_eq!(refused(&mut client, &invoke(models[1]), &auth, &titan).await.0, 400);
    let cohere = json!({"texts": ["a", "b"], "input_type": "search_query", "output_dimension": 512});
    let answer = send(&mut client, &invoke(models[2]), &auth, &cohere).await.json();
    assert_eq!(answer["embeddings"][1].as_array().unwrap().len(), 512);
    assert_eq!(refused(&mut client, &invoke(models[2]), &auth, &json!({"texts": ["a"]})).await.0, 400);
    let text = json!({"truncationMode": "NONE", "value": "a"});
    let nova = json!({
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX", "embeddingDimension": 384, "text": text},
    });
    let answer = send(&mut client, &invoke(models[3]), &auth, &nova).await.json();
    assert_eq!(answer["embeddings"][0]["embedding"].as_array().unwrap().len(), 384);

    let content = json!({"content": {"parts": [{"text": "abcd"}]}, "outputDimensionality": 8});
    let path = "/v1beta/models/text-embedding-005";
    let answer = client.post(&format!("{path}:embedContent"), &content).await.json();
    assert_eq!(answer["embedding"]["values"].as_array().unwrap().len(), 8);
    let batch =
        json!({"requests": [merged(content.clone(), &json!({"model": "models/text-embedding-005"}))]});
    let answer = client.post(&format!("{path}:batchEmbedContents"), &batch).await.json();
    assert_eq!(answer["embeddings"][0]["values"].as_array().unwrap().len(), 8);
    let without = json!({"requests": [content]});
    assert_eq!(refused(&mut client, &format!("{path}:batchEmbedContents"), &[], &without).await.0, 400);
    let predict = json!({"instances": [{"content": "abcd"}], "parameters": {"outputDimensionality": 8}});
    let vertex = format!("{VERTEX}/google/models/text-embedding-005:predict");
    let answer = client.post(&vertex, &predict).await.json();
    let embeddings = &answer["predictions"][0]["embeddings"];
    assert_eq!(
        (embeddings["values"].as_array().unwrap().len(), &embeddings["statistics"]["token_count"]),
        (8, &json!(1))
    );

    let source = |text: &str| json!({"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}});
    let ranking = |top: u64| {
        let arn = "arn:aws:bedrock:eu-west-1::foundation-model/cohere.rerank-v3-5:0";
        json!({
            "queries": [{"type": "TEXT", "textQuery": {"text": "red fox"}}],
            "sources": [source("blue"), source("the red fox")],
            "rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL", "bedrockRerankingConfiguration": {
                "modelConfiguration": {"modelArn": arn}, "numberOfResults": top,
            }},
        })
    };
    let answer = send(&mut client, "/rerank", &auth, &ranking(1)).await.json();
    assert_eq!(answer, json!({"results": [{"index": 1, "relevanceScore": 1.0}]}));
    assert_eq!(refused(&mut client, "/rerank", &auth, &ranking(3)).await.0, 400);
    let rank = json!({
        "model": models[5], "query": "red fox", "topN": 1, "ignoreRecordDetailsInResponse": true,
        "records": [{"id": "a", "content": "blue"}, {"id": "b", "content": "the red fox"}],
    });
    let path = "/v1/projects/p/locations/global/rankingConfigs/default_ranking_config:rank";
    assert_eq!(client.post(path, &rank).await.json(), json!({"records": [{"id": "b", "score": 1.0}]}));
}

/// A server that knows credentials of all providers.
async fn checking() -> (Handle, Client) {
    let mut credentials: Credentials = issuing::credentials();
    let keys: Credentials = serde_json::from_value(json!({
        "anthropic": {"api_keys": ["sk-ant"]}, "openai": {"api_keys": ["sk"]}, "cohere": {"api_keys": ["co"]},
    }))
    .unwrap();
    (credentials.anthropic, credentials.openai, credentials.cohere) =
        (keys.anthropic, keys.openai, keys.cohere);
    credentials.google.as_mut().unwrap().api_keys.push("AIza".to_owned());
    credentials.azure.as_mut().unwrap().api_keys.push("azure".to_owned());
    credentials.aws.as_mut().unwrap().api_keys.push("bedrock".to_owned());
    let options = Options {
        served_model_names: vec!["m".to_owned()],
        credentials: Some(credentials),
        ..Options::default()
    };
    let sim = start(options).await;
    let client = Client::http1(sim.addr()).await;
    (sim, client)
}

#[tokio::test]
async fn each_provider_takes_its_keys_and_refuses_others_in_its_words() {
    let (_sim, mut client) = checking().await;
    let turns = json!([{"role": "user", "content": "Hi"}]);
    let chat = json!({"model": "m", "max_tokens": 5, "messages": turns});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]});
    let converse = json!({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]});
    let ranked = json!({"model": "m", "query": "a", "documents": ["a"]});
    let version = ("anthropic-version", "2023-06-01");
    let bearer = "authorization";
    let azure = "/openai/deployments/m/chat/completions?api-version=1";
    let gemini = "/v1beta/models/m:generateContent";
    for (path, body, good) in [
        ("/v1/chat/completions", &chat, vec![(bearer, "Bearer sk")]),
        ("/v1/messages", &chat, vec![("x-api-key", "sk-ant"), version]),
        ("/v2/rerank", &ranked, vec![(bearer, "Bearer co")]),
        (gemini, &contents, vec![("x-goog-api-key", "AIza")]),
        (azure, &chat, vec![("api-key", "azure")]),
        ("/model/m/converse", &converse, vec![(bearer, "Bearer bedrock")]),
    ] {
        let answer = send(&mut client, path, &good, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    for (path, body, bad, status, message) in [
        ("/v1/chat/completions", &chat, vec![(bearer, "Bearer x")], 401, "Incorrect API key provided"),
        ("/v1/chat/completions", &chat, vec![], 401, "You didn't provide an API key."),
        ("/v1/messages", &chat, vec![("x-api-key", "x"), version], 401, "invalid x-api-key"),
        ("/v1/messages", &chat, vec![version], 401, "x-api-key header is required"),
        ("/v1/messages", &chat, vec![("x-api-key", "sk-ant")], 400, "anthropic-version: header is required"),
        (
            "/v1/messages",
            &chat,
            vec![("x-api-key", "sk-ant"), ("anthropic-version", "v1")],
            400,
            "is not a valid version",
        ),
        ("/v2/rerank", &ranked, vec![], 401, "no api key supplied"),
        (gemini, &contents, vec![("x-goog-api-key", "x")], 400, "API key not valid."),
        (gemini, &contents, vec![], 403, "unregistered callers"),
        (azure, &chat, vec![("api-key", "x")], 401, "invalid subscription key"),
        (azure, &chat, vec![(bearer, "Bearer x")], 401, "Access token is missing, invalid"),
        ("/model/m/converse", &converse, vec![(bearer, "Bearer x")], 403, "API Key is valid"),
        ("/model/m/converse", &converse, vec![], 403, "Missing Authentication Token"),
        (
            "/model/m/converse",
            &converse,
            vec![SIGNED, DATE],
            403,
            "security token included in the request is invalid",
        ),
    ] {
        let told = refused(&mut client, path, &bad, body).await;
        assert!(told.0 == status && told.1.contains(message), "{path} {bad:?}: {told:?}");
    }
    let denied = send(&mut client, "/model/m/converse", &[SIGNED, DATE], &converse).await;
    assert_eq!(denied.header("x-amzn-errortype"), "UnrecognizedClientException");
}

#[tokio::test]
async fn tokens_that_were_issued_are_taken_until_they_are_revoked() {
    let (sim, mut client) = checking().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let asked = "grant_type=client_credentials&client_id=client&client_secret=secret&scope=https%3A%2F%2F\
                 cognitiveservices.azure.com%2F.default";
    let azure = client.send(request(Method::POST, "/tenant/oauth2/v2.0/token", &form, asked)).await.unwrap();
    let path = "/computeMetadata/v1/instance/service-accounts/default/token";
    let google = client.send(request(Method::GET, path, &[("metadata-flavor", "Google")], "")).await.unwrap();
    let bearer = |answer: &Answer| format!("Bearer {}", answer.json()["access_token"].as_str().unwrap());
    let (azure, google) = (bearer(&azure), bearer(&google));
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5});
    let contents = json!({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]});
    let of_azure = "/openai/deployments/m/chat/completions?api-version=1";
    let of_google = format!("{VERTEX}/google/models/m:generateContent");
    for (path, body, token, other) in
        [(of_azure, &chat, &azure, &google), (of_google.as_str(), &contents, &google, &azure)]
    {
        let answer = send(&mut client, path, &[("authorization", token)], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(send(&mut client, path, &[("authorization", other)], body).await.status, 401);
    }
    sim.revoke_issued();
    let answer = send(&mut client, &of_google, &[("authorization", &google)], &contents).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]["status"]), (401, &json!("UNAUTHENTICATED")));
    assert_eq!(answer.json()["error"]["details"][0]["reason"], "ACCESS_TOKEN_EXPIRED");
}
