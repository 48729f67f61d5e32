//! Answers, streams, errors, caching, queueing and metrics.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use penstock_sim::{
    metrics::FakeMetrics,
    options::{KvOptions, Latency, LoraModule, Mode, Options},
};
use serde_json::{Value, json};

use crate::{
    MODEL,
    client::{Client, events, post, request},
    start,
};

/// Long enough that no test sees it pass.
const FOREVER: Duration = Duration::from_secs(3600);

fn chat(text: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 12})
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// A server whose requests run until they are dropped.
fn endless() -> Options {
    Options { latency: Latency { time_to_first_token: FOREVER, ..Latency::default() }, ..Options::default() }
}

#[tokio::test]
async fn a_chat_is_answered_in_openais_shape_and_the_same_everywhere() {
    let (one, other) = (start(Options::default()).await, start(Options::default()).await);
    let answer = Client::http1(one.addr()).await.post("/v1/chat/completions", &chat("hello")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let body = answer.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], MODEL);
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert_eq!(body["usage"]["completion_tokens"], 12);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let again = Client::http2(other.addr()).await.post("/v1/chat/completions", &chat("hello")).await;
    assert_eq!(again.json()["choices"], body["choices"]);
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    let streamed = json!({"stream": true, "stream_options": {"include_usage": true}});
    for path in ["/v1/chat/completions", "/v1/completions"] {
        let body = with(chat("hello"), &json!({"prompt": "hello"}));
        let whole = client.post(path, &body).await.json();
        let stream = client.post(path, &with(body, &streamed)).await;
        assert_eq!(stream.header("content-type"), "text/event-stream; charset=utf-8");
        let events = events(&stream.text());
        assert_eq!(events.last().unwrap(), "[DONE]");
        let events: Vec<Value> =
            events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        let choice = &whole["choices"][0];
        let expected = choice["message"]["content"].as_str().or(choice["text"].as_str()).unwrap();
        let pieces: String = events
            .iter()
            .filter_map(|event| {
                let choice = &event["choices"][0];
                choice["delta"]["content"].as_str().or(choice["text"].as_str())
            })
            .collect();
        assert_eq!(pieces, expected);
        assert_eq!(events.last().unwrap()["usage"]["total_tokens"], whole["usage"]["total_tokens"]);
        let reasons = events.iter().filter(|event| event["choices"][0]["finish_reason"] == "length");
        assert_eq!(reasons.count(), 1);
    }
}

#[tokio::test]
async fn other_dialects_stream_their_own_events() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    let body = with(chat("hello"), &json!({"input": "hello", "stream": true}));
    let messages = client.post("/v1/messages", &body).await.text();
    let kinds = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect()
    };
    let mut expected = vec!["message_start", "content_block_start"];
    expected.extend(["content_block_delta"; 12]);
    expected.extend(["content_block_stop", "message_delta", "message_stop"]);
    assert_eq!(kinds(&messages), expected);
    let responses = client.post("/v1/responses", &body).await.text();
    assert_eq!(kinds(&responses).first().unwrap(), "response.created");
    assert_eq!(kinds(&responses).last().unwrap(), "response.completed");
}

#[tokio::test]
async fn tools_and_their_results_are_items_of_responses() {
    let sim = start(Options { mode: Mode::Echo, ..Options::default() }).await;
    let mut client = Client::http1(sim.addr()).await;
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{\"a\": 1}"});
    let result = json!({"type": "function_call_output", "call_id": "c", "output": "21 degrees"});
    for (last, said) in [(&call, "{\"a\": 1}"), (&result, "21 degrees")] {
        let body = json!({"model": MODEL, "input": [{"role": "user", "content": "Hi"}, last]});
        let answer = client.post("/v1/responses", &body).await.json();
        assert_eq!(answer["output"][0]["content"][0]["text"], said, "{answer}");
    }
}

#[tokio::test]
async fn every_endpoint_answers() {
    let sim = start(Options::default()).await;
    let mut client = Client::http2(sim.addr()).await;
    let body = json!({
        "model": MODEL, "input": "a b", "prompt": "a b", "query": "a b", "documents": ["a", "b c"],
        "text_1": "a", "text_2": ["a", "b"], "tokens": [543_319_393], "max_tokens": 3,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a b"}]}],
    });
    for path in [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/score",
        "/detokenize",
        "/v1/images/generations",
        "/v1/audio/speech",
    ] {
        let answer = client.post(path, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", String::from_utf8_lossy(&answer.body));
    }
    let tokens = client.post("/tokenize", &json!({"prompt": "a b c"})).await.json();
    assert_eq!(tokens["count"], 2);
    let text = client.post("/detokenize", &json!({"tokens": tokens["tokens"]})).await.json();
    assert_eq!(text["prompt"], "a b c");
    for path in ["/v1/models", "/health", "/health/ready", "/version", "/metrics"] {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
    let form = format!(
        "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{MODEL}\r\n\
         --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--b--\r\n"
    );
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    let heard = client.send(request(Method::POST, "/v1/audio/transcriptions", &kind, form)).await.unwrap();
    assert_eq!((heard.status, heard.json()["usage"]["seconds"].as_u64()), (StatusCode::OK, Some(1)));
}

#[tokio::test]
async fn errors_are_vllms() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    let path = "/v1/chat/completions";
    let unknown = client.post(path, &with(chat("x"), &json!({"model": "x"}))).await;
    assert_eq!(
        unknown.json(),
        json!({"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": null, "code": 404}})
    );
    let cases = [
        (Bytes::from_static(b"{bad"), 400),
        (Bytes::from_static(b"{\"messages\": 5}"), 400),
        (Bytes::from(with(chat("x"), &json!({"max_tokens": 0})).to_string()), 400),
        (Bytes::from(with(chat("x"), &json!({"max_tokens": 1024})).to_string()), 400),
        (Bytes::from(chat(&"x".repeat(5000)).to_string()), 400),
    ];
    for (body, code) in cases {
        let answer = client.send(request(Method::POST, path, &[], body.clone())).await.unwrap();
        assert_eq!(answer.status, code, "{body:?}");
        assert_eq!(answer.json()["error"]["code"], code);
        assert_eq!(answer.json()["error"]["type"], "BadRequestError");
    }
    let wrong_method = client.get(path).await;
    assert_eq!((wrong_method.status.as_u16(), wrong_method.header("allow")), (405, "POST"));
    assert_eq!(client.get("/v2/nothing").await.status, 404);
}

#[tokio::test]
async fn a_body_over_the_limit_is_read_and_refused() {
    let sim = start(Options { max_body_bytes: 1000, ..Options::default() }).await;
    let mut client = Client::http1(sim.addr()).await;
    let answer = client.post("/v1/chat/completions", &chat(&"x".repeat(100_000))).await;
    assert_eq!(answer.status, 413);
    assert_eq!(client.post("/v1/chat/completions", &chat("x")).await.status, 200);
    assert_eq!(sim.stats().connections, 1);
}

#[tokio::test]
async fn a_repeated_prefix_is_cached_and_counted() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    let head = "the same long beginning ".repeat(30);
    client.post("/v1/chat/completions", &chat(&format!("{head}one"))).await;
    let second = client.post("/v1/chat/completions", &chat(&format!("{head}two"))).await.json();
    let cached = second["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert_eq!(cached, (10 + head.len() as u64) / 64 * 16);
    let metrics = client.get("/metrics").await.text();
    let series = format!("vllm:prefix_cache_hits_total{{engine=\"0\",model_name=\"{MODEL}\"}} {cached}.0\n");
    assert!(metrics.contains(&series));
}

#[tokio::test]
async fn a_conversation_finds_its_own_answers_cached() {
    let sim = start(Options { mode: Mode::Echo, max_model_len: 8192, ..Options::default() }).await;
    let mut client = Client::http1(sim.addr()).await;
    let question = "a question of some length, ".repeat(20);
    let first = json!({"model": MODEL, "messages": [{"role": "user", "content": question}]});
    let answer = client.post("/v1/chat/completions", &first).await.json();
    let said = answer["choices"][0]["message"]["content"].clone();
    let turns = json!([
        {"role": "user", "content": question}, {"role": "assistant", "content": said}, {"role": "user", "content": "so?"},
    ]);
    let second =
        client.post("/v1/chat/completions", &json!({"model": MODEL, "messages": turns})).await.json();
    let cached = second["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap() as usize;
    assert!(cached * 4 > question.len() * 3 / 2, "{cached} tokens of {} bytes", question.len());
}

#[tokio::test]
async fn what_waits_is_reported_and_one_too_many_is_refused() {
    let sim = start(Options { max_num_seqs: 1, max_waiting: 1, ..endless() }).await;
    let path = "/v1/chat/completions";
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = Client::http1(sim.addr()).await;
        waiting.push(tokio::spawn(async move { client.send(post(path, &chat("x"))).await }));
        sim.until(|stats| stats.in_flight == waiting.len() as u64).await;
    }
    let mut client = Client::http1(sim.addr()).await;
    let gauges = |text: &str| -> (bool, bool) {
        let labels = format!("{{engine=\"0\",model_name=\"{MODEL}\"}}");
        (
            text.contains(&format!("vllm:num_requests_running{labels} 1.0")),
            text.contains(&format!("vllm:num_requests_waiting{labels} 1.0")),
        )
    };
    // A request counts as in flight a moment before the engine has it.
    while gauges(&client.get("/metrics").await.text()) != (true, true) {
        tokio::task::yield_now().await;
    }
    let refused = client.post(path, &chat("x")).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json()["error"]["type"], "RateLimitError");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    sim.until(|stats| stats.in_flight == 0).await;
    assert_eq!(sim.stats().cancelled, 2);
}

#[tokio::test]
async fn a_stream_opens_before_its_first_token_and_ends_with_its_client() {
    let sim = start(endless()).await;
    let mut client = Client::http2(sim.addr()).await;
    let body = with(chat("x"), &json!({"stream": true}));
    let response = client.open(post("/v1/chat/completions", &body)).await.unwrap();
    assert_eq!(response.status(), 200);
    sim.until(|stats| stats.running_streams == 1).await;
    drop(response);
    let stats = sim.until(|stats| stats.in_flight == 0).await;
    assert_eq!((stats.cancelled, stats.completed, stats.open_connections), (1, 0, 1));
    let metrics = client.get("/metrics").await.text();
    assert!(metrics.contains(&format!("num_requests_running{{engine=\"0\",model_name=\"{MODEL}\"}} 0.0")));
    assert!(metrics.contains("finished_reason=\"abort\"} 1.0"));
}

#[tokio::test]
async fn adapters_are_served_loaded_and_reported() {
    let module = LoraModule { name: "food".to_owned(), path: String::new(), base_model_name: String::new() };
    let sim = start(Options { loras: vec![module], max_loras: 2, ..endless() }).await;
    let mut client = Client::http1(sim.addr()).await;
    let loaded = client.post("/v1/load_lora_adapter", &json!({"lora_name": "more", "lora_path": "/x"})).await;
    assert_eq!(loaded.status, 200);
    let models = client.get("/v1/models").await.json();
    let ids: Vec<_> = models["data"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert_eq!(ids, [MODEL, "food", "more"]);
    let mut other = Client::http1(sim.addr()).await;
    let running = tokio::spawn(async move {
        other.send(post("/v1/chat/completions", &with(chat("x"), &json!({"model": "more"})))).await
    });
    let series =
        "vllm:lora_requests_info{max_lora=\"2\",running_lora_adapters=\"more\",waiting_lora_adapters=\"\"}";
    while !client.get("/metrics").await.text().contains(series) {
        tokio::task::yield_now().await;
    }
    running.abort();
    assert_eq!(client.post("/v1/unload_lora_adapter", &json!({"lora_name": "more"})).await.status, 200);
    assert_eq!(client.post("/v1/unload_lora_adapter", &json!({"lora_name": "more"})).await.status, 404);
}

#[tokio::test]
async fn load_is_reported_with_an_answer_when_asked_for() {
    let sim = start(Options::default()).await;
    let fakes =
        FakeMetrics { waiting_requests: Some(3.0), kv_cache_usage: Some(0.5), ..FakeMetrics::default() };
    sim.fake_metrics(Some(fakes));
    let mut client = Client::http1(sim.addr()).await;
    let mut ask = async |format: &str| {
        let headers = [("endpoint-load-metrics-format", format)];
        let body = chat("x").to_string();
        let request = request(Method::POST, "/v1/chat/completions", &headers, body);
        client.send(request).await.unwrap().header("endpoint-load-metrics").to_owned()
    };
    let text = "TEXT named_metrics.kv_cache_usage_perc=0.5, named_metrics.num_requests_waiting=3.0";
    assert_eq!(ask("TEXT").await, text);
    let json = r#"JSON {"named_metrics": {"kv_cache_usage_perc": 0.5, "num_requests_waiting": 3.0}}"#;
    assert_eq!(ask("json").await, json);
    assert_eq!(ask("BIN").await, "");
    let metrics = Client::http1(sim.addr()).await.get("/metrics").await.text();
    assert!(metrics.contains(&format!("num_requests_waiting{{engine=\"0\",model_name=\"{MODEL}\"}} 3.0")));
}

#[tokio::test]
async fn a_prompt_that_the_cache_cannot_hold_is_refused_not_queued() {
    let kv = KvOptions { blocks: 4, ..KvOptions::default() };
    let sim = start(Options { kv, ..Options::default() }).await;
    let mut client = Client::http1(sim.addr()).await;
    let answer = client.post("/v1/chat/completions", &chat(&"x".repeat(400))).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_pod_names_itself() {
    let options = Options {
        pod_name: Some("pod-a".to_owned()),
        pod_namespace: Some("default".to_owned()),
        ..Options::default()
    };
    let sim = start(options).await;
    let answer = Client::http1(sim.addr()).await.post("/v1/chat/completions", &chat("x")).await;
    assert_eq!(answer.header("x-inference-pod"), "pod-a");
    assert_eq!(answer.header("x-inference-namespace"), "default");
    assert_eq!(answer.header("x-inference-port"), sim.addr().port().to_string());
}
