//! Upstreams whose API the document names: clients of other APIs are served by translation, with the gateway's credentials,
//! and a provider that fails is followed by another.

use std::sync::Arc;

use parking_lot::Mutex;
use penstock_sim::record::RecordedRequest;
use serde_json::{Value, json};

use crate::harness::{
    Gateway, MODEL, Protocol, RawServer, Reply, backend, chat, pool, post, post_json, sim, with,
};

/// A gateway whose only rule tries these backends in this order.
async fn in_order(backends: Vec<Value>, rule: Value) -> Gateway {
    let target = |(at, backend): (usize, &Value)| json!({"backend": backend["name"], "priority": at});
    let targets: Vec<Value> = backends.iter().enumerate().map(target).collect();
    Gateway::start(json!({
        "routes": [{"name": "r", "rules": [with(json!({"targets": targets}), rule)]}],
        "backends": backends,
    }))
    .await
}

/// An upstream that answers each request with this, and checks it before.
async fn answering(
    head: &'static str,
    body: impl Into<Vec<u8>>,
    check: impl Fn(&str, &Value) + Send + Sync + 'static,
) -> RawServer {
    let (body, check): (Vec<u8>, _) = (body.into(), Arc::new(check));
    RawServer::start(move |mut connection| {
        let (body, check) = (body.clone(), check.clone());
        async move {
            while let Some((asked, sent)) = connection.request().await {
                check(&asked, &serde_json::from_slice(&sent).unwrap_or_default());
                connection.send(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len())).await;
                connection.send(&body).await;
            }
        }
    })
    .await
}

fn messages(stream: bool) -> Value {
    json!({
        "model": MODEL, "max_tokens": 20, "stream": stream,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=abcde;"},
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [{"role": "user", "content": "Hello, how are you today?"}],
    })
}

fn last(server: &penstock_sim::Handle) -> RecordedRequest {
    server.requests().pop().unwrap()
}

/// The data of a stream's events, parsed where it is JSON.
fn events(reply: &Reply) -> Vec<Value> {
    let text = reply.text();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_responses_are_served_by_a_pool_that_only_has_chat() {
    let server = sim(MODEL).await;
    let to = with(pool("p", &[server.addr()]), json!({"api": {"schema": "OpenAI"}}));
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [to],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    // Claude Code's own path, and the one below which Envoy AI Gateway has Anthropic's API.
    for path in ["/v1/messages", "/anthropic/v1/messages"] {
        let reply = client.send(post_json(path, &messages(false))).await;
        let answer = reply.json();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!((&answer["type"], &answer["role"]), (&json!("message"), &json!("assistant")), "{answer}");
        assert!(answer["usage"]["input_tokens"].as_u64().unwrap() > 0, "{answer}");
        assert_eq!(answer["content"][0]["type"], "text", "{answer}");
        assert_eq!(last(&server).path, "/v1/chat/completions");
        assert_eq!(reply.header("x-penstock-dropped"), "cache_control");
    }
    let streamed = client.send(post_json("/v1/messages", &messages(true))).await;
    assert_eq!(streamed.header("content-type"), "text/event-stream");
    let kinds: Vec<_> = events(&streamed).iter().map(|event| event["type"].clone()).collect();
    assert_eq!(
        (&kinds[0], kinds.last()),
        (&json!("message_start"), Some(&json!("message_stop"))),
        "{kinds:?}"
    );
    let responses = json!({"model": MODEL, "input": "Hello", "stream": true, "max_output_tokens": 5});
    let streamed = client.send(post_json("/v1/responses", &responses)).await;
    let last_event = events(&streamed).pop().unwrap();
    let is_ended =
        ["response.completed", "response.incomplete"].map(Value::from).contains(&last_event["type"]);
    assert!(is_ended, "{last_event}");
    // What the tap reads of the translated answers.
    let log = gateway.log(4).await;
    assert!(log.iter().all(|line| line["tokens"]["output"].as_u64() > Some(0)), "{log:?}");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chat_is_served_by_anthropics_api_with_the_gateways_key() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "sk-ant-1").unwrap();
    let to = with(
        backend("claude", &[server.addr()]),
        json!({"api": {"schema": "Anthropic"}, "credential": {"file": key}}),
    );
    let gateway = in_order(vec![to], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let body = with(chat(MODEL, false), json!({"max_tokens": 5, "logit_bias": {"1": 2}, "seed": 1}));
    let headers = [("content-type", "application/json"), ("authorization", "Bearer of-the-client")];
    let reply = client.send(post("/v1/chat/completions", &headers, body.to_string())).await;
    let answer = reply.json();
    assert_eq!(reply.status, 200, "{answer}");
    assert_eq!(answer["object"], "chat.completion", "{answer}");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant", "{answer}");
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(reply.header("x-penstock-dropped"), "seed, logit_bias");
    let seen = last(&server);
    assert_eq!(seen.path, "/v1/messages");
    assert_eq!((seen.header("x-api-key"), seen.header("authorization")), (Some("sk-ant-1"), None));
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));

    let streamed = client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
    let events = events(&streamed);
    assert_eq!(events.last(), Some(&json!("[DONE]")), "{events:?}");
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant", "{events:?}");
    // The same API passes as it is, and what the client shows in another header does not: its SDK takes either.
    let reply = client.send(post("/v1/messages", &headers, messages(false).to_string())).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-penstock-dropped")), (200, ""));
    let seen = last(&server);
    assert_eq!(seen.body_bytes, messages(false).to_string().len() as u64);
    assert_eq!((seen.header("x-api-key"), seen.header("authorization")), (Some("sk-ant-1"), None));
    let dropped: Vec<_> = gateway.log(3).await.iter().map(|line| line["dropped"].clone()).collect();
    assert_eq!(dropped, [json!("seed, logit_bias"), Value::Null, Value::Null]);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_may_refuse_what_cannot_be_translated_whole() {
    let server = sim(MODEL).await;
    let to = with(backend("claude", &[server.addr()]), json!({"api": {"schema": "Anthropic"}}));
    let gateway = in_order(vec![to], json!({"untranslatable": "Refuse"})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply =
        client.send(post_json("/v1/chat/completions", &with(chat(MODEL, false), json!({"seed": 1})))).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "unsupported_request"));
    assert!(reply.text().contains("seed"), "{}", reply.text());
    assert!(server.requests().is_empty());
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_the_upstream_has_nothing_like_is_not_found() {
    let server = sim(MODEL).await;
    let to = |schema: &str| with(backend("b", &[server.addr()]), json!({"api": {"schema": schema}}));
    let gateway = in_order(vec![to("Anthropic")], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/embeddings", &json!({"model": MODEL, "input": "a"}))).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (404, "unsupported_api"));
    assert!(reply.text().contains("no embeddings"), "{}", reply.text());
    drop(client);
    gateway.stop().await;

    // Claude Code counts tokens itself where it is told so in its own API's words.
    let gateway = in_order(vec![to("OpenAI")], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/messages/count_tokens", &messages(false))).await;
    let answer = reply.json();
    assert_eq!((reply.status.as_u16(), &answer["type"]), (404, &json!("error")), "{answer}");
    assert_eq!(answer["error"]["type"], "not_found_error", "{answer}");
    assert!(server.requests().is_empty());
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_come_in_the_clients_form_and_with_what_it_waits_by() {
    let busy = answering(
        "429 Too Many Requests\r\nretry-after: 7\r\ncontent-type: application/json",
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#,
        |_, _| {},
    )
    .await;
    let to = with(backend("claude", &[busy.addr()]), json!({"api": {"schema": "Anthropic"}}));
    let gateway = in_order(vec![to], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "7"));
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.json()["error"]["message"], "slow down");
    assert_eq!(reply.json()["error"]["code"], "rate_limit_exceeded");
    drop(client);
    gateway.stop().await;
    busy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_after_its_200_is_followed_by_another_of_another_api() {
    let overloaded = answering(
        "200 OK\r\ncontent-type: text/event-stream",
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\
         \"usage\":{\"input_tokens\":1}}}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\
         \"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
        |_, _| {},
    )
    .await;
    let server = sim(MODEL).await;
    let claude = with(backend("claude", &[overloaded.addr()]), json!({"api": {"schema": "Anthropic"}}));
    let own = with(backend("own", &[server.addr()]), json!({"api": {"schema": "OpenAI"}}));
    let gateway = in_order(vec![claude.clone(), own], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
    assert_eq!(events(&reply).last(), Some(&json!("[DONE]")), "{}", reply.text());
    let line = gateway.log(1).await.pop().unwrap();
    assert_eq!((&line["attempts"], &line["backend"]), (&json!(2), &json!("own")), "{line}");
    drop(client);
    gateway.stop().await;

    // With nobody else to ask it is told as the provider told it.
    let gateway = in_order(vec![claude], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
    assert!(reply.status == 503 || reply.status == 529, "{}", reply.status);
    assert!(reply.text().contains("Overloaded"), "{}", reply.text());
    drop(client);
    gateway.stop().await;
    overloaded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bedrock_is_asked_by_its_own_path_with_a_signature() {
    let answer = json!({
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
        "stopReason": "end_turn", "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
    });
    let server =
        answering(
            "200 OK\r\ncontent-type: application/json\r\nx-amzn-requestid: r-1",
            answer.to_string(),
            |head, body| {
                assert!(head.starts_with("post /model/eu.anthropic.claude%3a1/converse "), "{head}");
                assert!(head.contains("authorization: aws4-hmac-sha256 credential=akia1/"), "{head}");
                assert!(head.contains(
                    "/eu-central-1/bedrock/aws4_request, signedheaders=host;x-amz-date, signature="
                ));
                assert!(!head.contains("of-the-client"), "{head}");
                assert_eq!(body["messages"][0]["content"][0]["text"], "Hello", "{body}");
                assert_eq!(body.get("model"), None);
            },
        )
        .await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials");
    std::fs::write(&file, "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = s\n").unwrap();
    let to = with(
        backend("bedrock", &[server.addr()]),
        json!({
            "api": {"schema": "AWSBedrock"},
            "credential": {"file": file, "aws": {"region": "eu-central-1"}},
        }),
    );
    let gateway = in_order(vec![to], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let headers = [("content-type", "application/json"), ("authorization", "Bearer of-the-client")];
    let ask = json!({"model": "eu.anthropic.claude:1", "messages": [{"role": "user", "content": "Hello"}]});
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses"] {
        let mut ask = ask.clone();
        if path == "/v1/messages" {
            ask["max_tokens"] = json!(5);
        } else if path == "/v1/responses" {
            ask["input"] = ask["messages"].take();
            ask.as_object_mut().unwrap().remove("messages");
        }
        let reply = client.send(post(path, &headers, ask.to_string())).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert!(reply.text().contains("Hello."), "{path}: {}", reply.text());
    }
    let log = gateway.log(3).await;
    assert!(log.iter().all(|line| line["tokens"]["input"] == 7 && line["tokens"]["output"] == 2), "{log:?}");
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_are_served_by_bedrock_with_the_tokens_that_a_header_has() {
    let answer = json!({"embeddings": [[0.5], [2]], "response_type": "embeddings_floats"});
    let head = "200 OK\r\ncontent-type: application/json\r\nx-amzn-bedrock-input-token-count: 7";
    let server = answering(head, answer.to_string(), |head, body| {
        assert!(head.starts_with("post /model/cohere.embed-v4%3a0/invoke "), "{head}");
        assert_eq!(body["texts"], json!(["a", "b"]), "{body}");
    })
    .await;
    let to = with(backend("bedrock", &[server.addr()]), json!({"api": {"schema": "AWSBedrock"}}));
    let gateway = in_order(vec![to], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    // As OpenAI's own library asks.
    let ask = json!({"model": "cohere.embed-v4:0", "input": ["a", "b"], "encoding_format": "base64"});
    let reply = client.send(post_json("/v1/embeddings", &ask)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let told = reply.json();
    assert_eq!(
        (&told["data"][0]["embedding"], &told["usage"]["prompt_tokens"]),
        (&json!("AAAAPw=="), &json!(7))
    );
    let several = json!({"model": "amazon.titan-embed-text-v2:0", "input": ["a", "b"]});
    let reply = client.send(post_json("/v1/embeddings", &several)).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "unsupported_request"));
    assert!(reply.text().contains("input: this model embeds at most 1 at once"), "{}", reply.text());
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_body_or_without_its_end_is_no_answer() {
    let event = |kind: &str, mut data: Value| {
        data["type"] = json!(kind);
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let start = [
        event("message_start", json!({"message": {"id": "m", "model": "c", "usage": {"input_tokens": 1}}})),
        event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
        event("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": "Hel"}})),
    ]
    .concat();
    let chunk = format!("{:x}\r\n{start}\r\n", start.len());
    let stream = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    for (answer, status, said) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n".to_owned(),
            502,
            "error",
        ),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".to_owned(), 403, "error"),
        (format!("{stream}{chunk}0\r\n\r\n"), 200, "broke off"),
    ] {
        let is_stream = status == 200;
        let server = RawServer::start(move |mut connection| {
            let answer = answer.clone();
            async move {
                while connection.request().await.is_some() {
                    connection.send(&answer).await;
                }
            }
        })
        .await;
        let to = with(backend("claude", &[server.addr()]), json!({"api": {"schema": "Anthropic"}}));
        let gateway = in_order(vec![to], json!({"retry": {"attempts": 1}})).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, is_stream))).await;
        let text = reply.text();
        assert_eq!(reply.status, status, "{text}");
        assert!(text.contains(said) && !text.contains("[DONE]"), "{status}: {text}");
        drop(client);
        gateway.stop().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_that_serves_messages_gets_them_as_they_are_but_for_the_billing_header() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let sent = seen.clone();
    let server = RawServer::start(move |mut connection| {
        let sent = sent.clone();
        async move {
            while let Some((head, body)) = connection.request().await {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                sent.lock().push(format!("{path} {}", String::from_utf8(body).unwrap()));
                connection
                    .send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
                    .await;
            }
        }
    })
    .await;
    let header = |text: &str| {
        format!(
            r#"{{"model":"mine", "system" : [{{"type":"text","text":"x-anthropic-billing-header:{text}"}},{{"type":"text","text":"Be brief."}}],"messages":[]}}"#
        )
    };
    // An engine is asked in Anthropic's API whether the document says so or says nothing.
    for (api, rule) in [
        (json!({"api": {"serves": ["Messages"]}}), json!({})),
        (json!({}), json!({"targets": [{"pool": "p", "modelOverride": "theirs"}]})),
    ] {
        let to = with(pool("p", &[server.addr()]), api);
        let rule = with(json!({"targets": [{"pool": "p"}]}), rule);
        let model = rule["targets"][0]["modelOverride"].as_str().unwrap_or("mine").to_owned();
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": [rule]}], "pools": [to],
        }))
        .await;
        let mut client = gateway.client(Protocol::H1).await;
        for text in [" cc_version=2; cch=3f9a1;", " cc_version=2; \\\"cch\\\"=00;"] {
            let reply = client
                .send(post("/v1/messages", &[("content-type", "application/json")], header(text)))
                .await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let wanted = header("").replace("mine", &model);
            assert_eq!(seen.lock().pop().unwrap(), format!("/v1/messages {wanted}"));
        }
        drop(client);
        gateway.stop().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_counted_by_an_engine_and_responses_answered_by_one_that_only_has_chat() {
    let counting = answering("200 OK\r\ncontent-type: application/json", r#"{"count":7}"#, |head, body| {
        assert!(head.starts_with("post /tokenize "), "{head}");
        assert_eq!(body["messages"][0]["content"], "Be brief.", "{body}");
    })
    .await;
    let to = with(pool("p", &[counting.addr()]), json!({"api": {}}));
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}], "pools": [to],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/messages/count_tokens", &messages(false))).await;
    assert_eq!((reply.status.as_u16(), reply.json()), (200, json!({"input_tokens": 7})));
    drop(client);
    gateway.stop().await;
    counting.stop().await;

    let server = sim(MODEL).await;
    let to = with(pool("p", &[server.addr()]), json!({"api": {"serves": []}}));
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}], "pools": [to],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let ask = json!({"model": MODEL, "input": "Hello", "max_output_tokens": 5});
    let answer = client.send(post_json("/v1/responses", &ask)).await.json();
    assert_eq!(
        (&answer["object"], last(&server).path.as_str()),
        (&json!("response"), "/v1/chat/completions"),
        "{answer}"
    );
    drop(client);
    gateway.stop().await;
}
