//! What requests took: asked for where clients do not ask, kept from clients that did not, and counted whatever the API.
//! And members of bodies that a target changes.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Gateway, Protocol, RawServer, backend, eventually, post, post_json, with};

/// An upstream that answers each request with this, and what it was sent.
async fn recording(answer: impl Into<Vec<u8>>) -> (RawServer, Arc<Mutex<Vec<String>>>) {
    let (answer, seen): (Vec<u8>, Arc<Mutex<Vec<String>>>) = (answer.into(), Arc::default());
    let sent = seen.clone();
    let server = RawServer::start(move |mut connection| {
        let (answer, sent) = (answer.clone(), sent.clone());
        async move {
            while let Some((_, body)) = connection.request().await {
                sent.lock().push(String::from_utf8(body).unwrap());
                connection.send(&answer).await;
            }
        }
    })
    .await;
    (server, seen)
}

fn whole(kind: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// An event stream in chunks of so many bytes.
fn stream(events: &str, chunk: usize) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut answer = head.as_bytes().to_vec();
    for piece in events.as_bytes().chunks(chunk) {
        answer.extend(format!("{:x}\r\n", piece.len()).as_bytes());
        answer.extend(piece);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

async fn gateway(upstream: Value, rule: Value, target: Value) -> Gateway {
    let target = with(json!({"backend": upstream["name"]}), target);
    Gateway::start(json!({
        "routes": [{"name": "r", "rules": [with(json!({"targets": [target]}), rule)]}],
        "backends": [upstream],
    }))
    .await
}

const DELTA: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
const USAGE: &str = "data: {\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":2,\
    \"prompt_tokens_details\":{\"cached_tokens\":20},\"completion_tokens_details\":{\"reasoning_tokens\":1}}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_usage_is_counted_and_only_clients_that_asked_get_it() {
    let events = [DELTA, DELTA, USAGE, DONE].concat();
    let without = [DELTA, DELTA, DONE].concat();
    for (answer, api) in [
        (stream(&events, 10_000), json!({})),
        (stream(&events, 7), json!({"api": {"schema": "OpenAI"}})),
        // A length that is not the client's any more.
        (whole("text/event-stream", &events), json!({})),
    ] {
        let (server, sent) = recording(answer).await;
        let upstream = with(backend("b", &[server.addr()]), api);
        let gateway = gateway(upstream, json!({"usage": "Required"}), json!({})).await;
        let mut client = gateway.client(Protocol::H1).await;
        let chat = |more: Value| {
            with(json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": true}), more)
        };
        let asks = json!({"include_usage": true});
        for (path, body, asked, wanted) in [
            ("/v1/chat/completions", chat(json!({})), asks.clone(), &without),
            ("/v1/chat/completions", chat(json!({"stream_options": asks})), asks.clone(), &events),
            (
                "/v1/completions",
                chat(json!({"stream_options": {"include_usage": false, "continuous_usage_stats": true}})),
                json!({"include_usage": true, "continuous_usage_stats": true}),
                &without,
            ),
        ] {
            let reply = client.send(post_json(path, &body)).await;
            assert_eq!(reply.text(), *wanted, "{body}");
            let sent: Value = serde_json::from_str(&sent.lock().pop().unwrap()).unwrap();
            assert_eq!(sent["stream_options"], asked, "{sent}");
            assert_eq!(sent["messages"], body["messages"]);
        }
        // What does not stream, and other APIs, are left as they are.
        for (path, body) in
            [("/v1/chat/completions", json!({"model": "m"})), ("/v1/responses", chat(json!({})))]
        {
            assert_eq!(client.send(post_json(path, &body)).await.text(), events);
            assert_eq!(sent.lock().pop().unwrap(), body.to_string());
        }
        let log = gateway.log(5).await;
        for line in &log {
            let tokens = json!({"input": 30, "output": 2, "cached_input": 20, "reasoning": 1, "total": 32});
            assert_eq!((&line["tokens"], &line["usage_source"]), (&tokens, &json!("reported")), "{line}");
        }
        assert_eq!(log[0]["response_bytes"], without.len(), "{}", log[0]);
        drop(client);
        gateway.stop().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_within_an_event_that_is_held_ends_in_an_event_of_its_own() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let piece = [DELTA, &USAGE[..40]].concat();
    let answer = format!("{head}{:x}\r\n{piece}\r\n", piece.len());
    let server = RawServer::start(move |mut connection| {
        let answer = answer.clone();
        async move {
            connection.request().await.unwrap();
            connection.send(&answer).await;
        }
    })
    .await;
    let gateway = gateway(backend("b", &[server.addr()]), json!({"usage": "Required"}), json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let body = json!({"model": "m", "messages": [], "stream": true});
    let text = client.send(post_json("/v1/chat/completions", &body)).await.text();
    let rest = text.strip_prefix(DELTA).unwrap_or_else(|| panic!("{text}"));
    assert!(rest.starts_with("data: {\"error\":"), "{rest}");
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_changes_members_of_bodies_that_it_is_sent() {
    let (server, sent) = recording(whole("application/json", "{}")).await;
    let edits = json!({
        "modelOverride": "theirs",
        "body": {"set": [{"name": "tier", "value": "flex"}, {"name": "n", "value": 1.5}], "remove": ["user"]},
    });
    let upstream = with(backend("b", &[server.addr()]), json!({"api": {"schema": "OpenAI"}}));
    let gateway = gateway(upstream, json!({}), edits).await;
    let mut client = gateway.client(Protocol::H1).await;
    let ask = r#"{"user":"u", "model":"mine","tier" : "auto","messages":[{"user":"stays","x":1.0}]}"#;
    let json = [("content-type", "application/json")];
    client.send(post("/v1/chat/completions", &json, ask)).await;
    let wanted = r#"{"model":"theirs","tier" : "flex","messages":[{"user":"stays","x":1.0}],"n":1.5}"#;
    assert_eq!(sent.lock().pop().unwrap(), wanted);
    // After translation, on what the upstream's API has.
    let ask = json!({"model": "mine", "max_tokens": 5, "metadata": {"user_id": "u"},
        "messages": [{"role": "user", "content": "Hi"}]});
    client.send(post_json("/v1/messages", &ask)).await;
    let translated: Value = serde_json::from_str(&sent.lock().pop().unwrap()).unwrap();
    assert_eq!((&translated["tier"], &translated["n"]), (&json!("flex"), &json!(1.5)), "{translated}");
    assert_eq!((translated.get("user"), &translated["model"]), (None, &json!("theirs")), "{translated}");
    // What has no members has none to change; what could be read in two ways is not sent.
    let form = [("content-type", "multipart/form-data; boundary=b")];
    let body = "--b\r\ncontent-disposition: form-data; name=\"user\"\r\n\r\nu\r\n--b--\r\n";
    client.send(post("/v1/audio/transcriptions", &form, body)).await;
    assert_eq!(sent.lock().pop().unwrap(), body);
    for (body, said) in
        [(r#"{"user":1,"user":2}"#, "`user` is there twice"), (r#"{"a":1,}"#, "a stray comma")]
    {
        let reply = client.send(post("/v1/chat/completions", &json, body)).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "invalid_body"), "{}", reply.text());
        assert!(reply.text().contains(&said.replace('`', "\\\"")), "{}", reply.text());
    }
    assert!(sent.lock().is_empty());
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_body_is_decoded_where_its_members_change() {
    use std::io::Write as _;
    let (server, sent) = recording(whole("application/json", "{}")).await;
    let edits = json!({"body": {"set": [{"name": "n", "value": 1}]}});
    // A backend takes compressed bodies as they come otherwise.
    let gateway = gateway(backend("b", &[server.addr()]), json!({}), edits).await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(br#"{"model":"m"}"#).unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let reply = client.send(post("/v1/chat/completions", &headers, zipped.finish().unwrap())).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(sent.lock().pop().unwrap(), r#"{"model":"m","n":1}"#);
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

/// Cached and reasoning tokens of each API, whole and streamed, as their documents have them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_and_reasoning_tokens_of_each_api_are_counted() {
    let claude_usage = json!({"input_tokens": 7, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3,
        "output_tokens": 2});
    let claude = json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "a"}], "usage": claude_usage});
    let event = |mut data: Value, kind: &str| {
        data["type"] = json!(kind);
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let claude_stream = [
        event(
            json!({"message": {"id": "m", "model": "c", "usage": {"input_tokens": 7, "output_tokens": 1,
            "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3}}}),
            "message_start",
        ),
        event(json!({"index": 0, "content_block": {"type": "text", "text": ""}}), "content_block_start"),
        event(json!({"index": 0, "delta": {"type": "text_delta", "text": "a"}}), "content_block_delta"),
        event(json!({"index": 0}), "content_block_stop"),
        event(json!({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}), "message_delta"),
        event(json!({}), "message_stop"),
    ]
    .concat();
    let converse = json!({"output": {"message": {"role": "assistant", "content": [{"text": "a"}]}},
        "stopReason": "end_turn", "usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 32,
        "cacheReadInputTokens": 20, "cacheWriteInputTokens": 3}});
    let gemini = json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "a"}]},
        "finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 30, "candidatesTokenCount": 1,
        "thoughtsTokenCount": 1, "cachedContentTokenCount": 20, "totalTokenCount": 32}});
    let openai = json!({"id": "1", "object": "chat.completion", "model": "m", "choices": [{"index": 0,
        "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}], "usage": {"prompt_tokens": 30,
        "completion_tokens": 2, "total_tokens": 32, "prompt_tokens_details": {"cached_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 1}}});
    let openai_stream = [
        DELTA,
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        USAGE,
        DONE,
    ]
    .concat();
    let cached = json!({"input": 30, "output": 2, "cached_input": 20, "cache_creation": 3, "total": 32});
    let reasoned = json!({"input": 30, "output": 2, "cached_input": 20, "reasoning": 1, "total": 32});
    let chat = "/v1/chat/completions";
    let json_type = "application/json";
    for (schema, path, is_stream, answer, wanted) in [
        ("Anthropic", chat, false, whole(json_type, claude.to_string()), &cached),
        ("Anthropic", chat, true, stream(&claude_stream, 50), &cached),
        ("Anthropic", "/v1/messages", false, whole(json_type, claude.to_string()), &cached),
        ("Anthropic", "/v1/messages", true, stream(&claude_stream, 50), &cached),
        ("AWSBedrock", chat, false, whole(json_type, converse.to_string()), &cached),
        ("AWSBedrock", "/v1/messages", false, whole(json_type, converse.to_string()), &cached),
        ("AWSBedrock", "/model/m/converse", false, whole(json_type, converse.to_string()), &cached),
        ("Gemini", chat, false, whole(json_type, gemini.to_string()), &reasoned),
        ("Gemini", chat, true, stream(&format!("data: {gemini}\n\n"), 50), &reasoned),
        ("Gemini", "/v1/messages", true, stream(&format!("data: {gemini}\n\n"), 50), &reasoned),
        (
            "Gemini",
            "/v1beta/models/m:generateContent",
            false,
            whole(json_type, gemini.to_string()),
            &reasoned,
        ),
        (
            "Gemini",
            "/v1beta/models/m:streamGenerateContent",
            true,
            stream(&format!("data: {gemini}\n\n"), 50),
            &reasoned,
        ),
        ("OpenAI", "/v1/messages", false, whole(json_type, openai.to_string()), &reasoned),
        ("OpenAI", "/v1/messages", true, stream(&openai_stream, 50), &reasoned),
    ] {
        let (server, _) = recording(answer).await;
        let upstream = with(backend("b", &[server.addr()]), json!({"api": {"schema": schema}}));
        let gateway = gateway(upstream, json!({}), json!({})).await;
        let mut client = gateway.client(Protocol::H1).await;
        let mut ask = json!({"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]});
        if !path.starts_with("/v1beta") && !path.starts_with("/model") {
            ask["model"] = json!("m");
            ask["stream"] = json!(is_stream);
        }
        let reply = client.send(post_json(path, &ask)).await;
        assert_eq!(reply.status, 200, "{schema} {path}: {}", reply.text());
        let line = gateway.log(1).await.pop().unwrap();
        let told = (&line["tokens"], &line["usage_source"], &line["stream"]);
        assert_eq!(told, (wanted, &json!("reported"), &json!(is_stream)), "{schema} {path}: {line}");
        drop(client);
        gateway.stop().await;
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_answer_that_is_translated_is_counted_with_the_bodies_in_flight() {
    let answer = |bytes: usize| {
        let text = "a".repeat(bytes);
        json!({"id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 1, "output_tokens": 1}})
        .to_string()
    };
    for (bytes, status) in [(100_000, 200), (3_000_000, 503)] {
        let (server, _) = recording(whole("application/json", answer(bytes))).await;
        let upstream = with(backend("b", &[server.addr()]), json!({"api": {"schema": "Anthropic"}}));
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
            "backends": [upstream],
            "limits": {"bodiesInFlightBytes": "1MiB"},
        }))
        .await;
        let mut client = gateway.client(Protocol::H1).await;
        let ask = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
        let reply = client.send(post_json("/v1/chat/completions", &ask)).await;
        assert_eq!(reply.status, status, "{bytes}");
        // Requests are counted when they are over, which the client does not wait for.
        gateway.log(1).await;
        if status == 200 {
            let text = reply.json()["choices"][0]["message"]["content"].as_str().unwrap().len();
            assert_eq!(text, bytes);
        } else {
            assert_eq!(gateway.metric("penstock_limit_hits_total", &["limits.bodiesInFlightBytes"]), 1.0);
        }
        eventually("the memory to be given back", || {
            (gateway.metric("penstock_bodies_in_flight_bytes", &[]) == 0.0).then_some(())
        })
        .await;
        drop(client);
        gateway.stop().await;
        server.stop().await;
    }
}

/// An HTTP/2 upstream without TLS that answers each request with this stream and trailers.
async fn with_trailers(events: &'static str) -> std::net::SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let head = http::Response::builder().header("content-type", "text/event-stream");
                    let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    body.send_data(events.into(), false).unwrap();
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("x-checksum", "1".parse().unwrap());
                    body.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_in_trailers_is_complete_where_its_api_says_so() {
    const FINISHED: &str = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\
        \"stop\"}]}\n\ndata: [DONE]\n\n";
    for (events, api, path, rule, last) in [
        (FINISHED, json!({"api": {}}), "/v1/messages", json!({}), "message_stop"),
        (DELTA, json!({"api": {}}), "/v1/messages", json!({}), "broke off"),
        // What is held of the last event comes before the trailers.
        ("data: [DONE]\n", json!({}), "/v1/chat/completions", json!({"usage": "Required"}), "[DONE]"),
    ] {
        let address = with_trailers(events).await;
        let upstream = with(backend("b", &[address]), with(api, json!({"protocol": "h2c"})));
        let gateway = gateway(upstream, rule, json!({})).await;
        let mut client = gateway.client(Protocol::H1).await;
        let ask = json!({"model": "m", "max_tokens": 5, "stream": true,
            "messages": [{"role": "user", "content": "Hi"}]});
        let text = client.send(post_json(path, &ask)).await.text();
        assert!(text.contains(last), "{last}: {text}");
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_key_does_not_reach_google_beside_the_gateways() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let paths = seen.clone();
    let server = RawServer::start(move |mut connection| {
        let paths = paths.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                paths.lock().push(head.split(' ').nth(1).unwrap_or_default().to_owned());
                connection.send(whole("application/json", "{}")).await;
            }
        }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "of-the-gateway").unwrap();
    let path = "/v1beta/models/m:generatecontent";
    for (credential, stays) in [(json!({"credential": {"file": key}}), false), (json!({}), true)] {
        let upstream = with(backend("b", &[server.addr()]), json!({"api": {"schema": "Gemini"}}));
        let gateway = gateway(with(upstream, credential), json!({}), json!({})).await;
        let mut client = gateway.client(Protocol::H1).await;
        for (query, wanted) in [
            ("?key=mine&alt=sse", "?alt=sse"),
            ("?alt=sse&%6Bey=mine&monkey=1", "?alt=sse&monkey=1"),
            ("?key=mine", ""),
        ] {
            let asked = format!("/v1beta/models/m:generateContent{query}");
            client.send(post_json(&asked, &json!({"contents": []}))).await;
            let sent = seen.lock().pop().unwrap();
            let wanted = if stays { query } else { wanted };
            assert_eq!(sent.to_lowercase(), format!("{path}{wanted}").to_lowercase());
        }
        drop(client);
        gateway.stop().await;
    }
    server.stop().await;
}

/// Names that dashboards of others have, whatever the API by which a client asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_recorded_by_the_names_of_other_tools() {
    let (server, _) = recording(stream(&format!("{DELTA}{DELTA}{USAGE}{DONE}"), 64)).await;
    let upstream = with(backend("b", &[server.addr()]), json!({"api": {"schema": "OpenAI"}}));
    let gateway = Gateway::start(json!({
        "telemetry": {"genAiMetrics": ["OpenTelemetry", "EnvoyAIGateway"]},
        "routes": [{"name": "r", "rules": [
            {"models": ["m"], "targets": [{"backend": "b", "modelOverride": "m-8b"}]},
        ]}],
        "backends": [upstream],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "a"}]});
    assert_eq!(client.send(post_json("/v1/chat/completions", &body)).await.status, 200);
    let of_model = [
        "gen_ai_operation_name=\"chat\"",
        "gen_ai_provider_name=\"openai\"",
        "gen_ai_request_model=\"m-8b\"",
    ];
    for name in [
        "gen_ai_client_operation_duration_seconds_count",
        "gen_ai_client_operation_time_to_first_chunk_seconds_count",
        "gen_ai_client_operation_time_per_output_chunk_seconds_count",
        "gen_ai_server_request_duration_seconds_count",
        "gen_ai_server_time_to_first_token_seconds_count",
        "gen_ai_server_time_per_output_token_seconds_count",
    ] {
        eventually(name, || (gateway.metric(name, &of_model) == 1.0).then_some(())).await;
    }
    for (kind, tokens) in [("input", 30.0), ("output", 2.0), ("cached_input", 20.0), ("reasoning", 1.0)] {
        let kind = format!("gen_ai_token_type=\"{kind}\"");
        let labels = [of_model[2], "gen_ai_original_model=\"m\"", &kind];
        assert!(
            (gateway.metric("gen_ai_client_token_usage_sum", &labels) - tokens).abs() < f64::EPSILON,
            "{kind}"
        );
    }
    gateway.stop().await;
}
