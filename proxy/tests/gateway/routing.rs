//! Where requests go, and what the upstream sees of them.

use std::collections::HashMap;

use bytes::Bytes;
use http::Method;
use penstock_sim::record::{RecordedRequest, body_hash};
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, Reply, backend, body, chat, get, pool, post, post_json, request, sim,
    sims,
};

/// A gateway with two models behind two pools.
async fn two_models(llama: &penstock_sim::Handle, mistral: &penstock_sim::Handle) -> Gateway {
    Gateway::start(json!({
        "routes": [{"name": "r", "modelsOwnedBy": "us", "rules": [
            {"models": [MODEL], "targets": [{"pool": "llama"}]},
            {"models": ["mistral:latest"], "targets": [{"pool": "mistral"}]},
        ]}],
        "pools": [pool("llama", &[llama.addr()]), pool("mistral", &[mistral.addr()])],
    }))
    .await
}

/// A gateway with one rule, and backends `a`, `b`, … of these servers.
async fn with_rule(rule: Value, servers: &[&penstock_sim::Handle]) -> Gateway {
    let backends: Vec<Value> =
        servers.iter().zip(["a", "b", "c"]).map(|(server, name)| backend(name, &[server.addr()])).collect();
    Gateway::start(json!({"routes": [{"name": "r", "rules": [rule]}], "backends": backends})).await
}

/// What the simulator's sink says that it got.
fn seen(reply: &Reply) -> RecordedRequest {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_names_the_model_that_decides() {
    let (llama, mistral) = (sim(MODEL).await, sim("mistral:latest").await);
    let gateway = two_models(&llama, &mistral).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for model in [MODEL, "mistral:latest", MODEL] {
            let reply = client.send(post_json("/v1/chat/completions", &chat(model, false))).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.json()["model"], model);
        }
    }
    assert_eq!((llama.stats().requests, mistral.stats().requests), (4, 2));
    let log = gateway.log(6).await;
    assert_eq!(
        log.iter().filter(|line| line["pool"] == "mistral" && line["model"] == "mistral:latest").count(),
        2
    );
    gateway.stop().await;
}

/// Whoever could name the model in a header could pay for one model and use another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_model_header_never_decides() {
    let (llama, mistral) = (sim(MODEL).await, sim("mistral:latest").await);
    let gateway = two_models(&llama, &mistral).await;
    let own = [
        ("x-ai-eg-model", "mistral:latest"),
        ("x-gateway-model-name", "mistral:latest"),
        ("x-gateway-destination-endpoint", "10.0.0.1:80"),
        ("x-gateway-destination-endpoint-subset", "10.0.0.1:80"),
        ("x-penstock-anything", "at all"),
    ];
    let mut client = gateway.client(Protocol::H1).await;
    let asked = chat(MODEL, false).to_string();
    let reply = client.send(post("/v1/chat/completions", &own, asked)).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["model"]), (200, &json!(MODEL)));
    for (name, _) in own {
        assert_eq!(llama.requests()[0].header(name), None, "{name} was passed on");
    }
    // Nor does it where the body names no model at all.
    let reply = client.send(post("/v1/chat/completions", &own, "{}")).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (400, "missing_model"));
    assert_eq!(mistral.stats().requests, 0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_model_is_404_with_the_models_that_exist() {
    let (llama, mistral) = (sim(MODEL).await, sim("mistral:latest").await);
    let gateway = two_models(&llama, &mistral).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for _ in 0..2 {
            let reply = client.send(post_json("/v1/chat/completions", &chat("gpt-5", false))).await;
            assert_eq!((reply.status.as_u16(), &*reply.code()), (404, "model_not_found"));
            let error = reply.json()["error"].clone();
            assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &json!("model")));
            let message = error["message"].as_str().unwrap();
            assert!(message.contains(MODEL) && message.contains("mistral:latest"), "{message}");
        }
        assert!(client.is_open(), "the connection was closed over a 404");
    }
    assert_eq!(llama.stats().requests + mistral.stats().requests, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_of_a_listener_are_listed() {
    let (llama, mistral) = (sim(MODEL).await, sim("mistral:latest").await);
    let gateway = two_models(&llama, &mistral).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let list = client.send(get("/v1/models")).await;
        assert_eq!((list.status.as_u16(), list.header("content-type")), (200, "application/json"));
        let list = list.json();
        assert_eq!(list["object"], "list");
        let ids: Vec<&str> =
            list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [MODEL, "mistral:latest"]);
        assert_eq!(list["data"][0]["owned_by"], "us");
        for path in ["/v1/models/mistral:latest", "/v1/models/mistral%3Alatest"] {
            assert_eq!(client.send(get(path)).await.json()["id"], "mistral:latest");
        }
        let one = client.send(get(&format!("/v1/models/{MODEL}"))).await.json();
        assert_eq!((&one["id"], &one["object"]), (&json!(MODEL), &json!("model")));
        let none = client.send(get("/v1/models/nothing")).await;
        assert_eq!((none.status.as_u16(), &*none.code()), (404, "model_not_found"));
    }
    assert_eq!(llama.stats().requests + mistral.stats().requests, 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_of_the_apis_passes() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    let speech = json!({"model": MODEL, "input": "Hello.", "voice": "alloy"});
    let image = json!({"model": MODEL, "prompt": "A lighthouse.", "n": 1});
    let (pipe, form_type) = form(&[("model", MODEL), ("file", "RIFF....WAVE")]);
    let requests: [(&str, Value); 11] = [
        ("/v1/chat/completions", chat(MODEL, false)),
        ("/v1/completions", json!({"model": MODEL, "prompt": "Why?"})),
        ("/v1/embeddings", json!({"model": MODEL, "input": "Why?"})),
        ("/v1/responses", json!({"model": MODEL, "input": "Why?"})),
        ("/v1/messages", chat(MODEL, false)),
        ("/v1/rerank", json!({"model": MODEL, "query": "Why?", "documents": ["Because.", "No."]})),
        ("/v1/score", json!({"model": MODEL, "text_1": "Why?", "text_2": "Because."})),
        ("/tokenize", json!({"model": MODEL, "prompt": "Why?"})),
        ("/v1/audio/speech", speech),
        ("/v1/images/generations", image),
        ("/pooling", json!({"model": MODEL, "input": "Why?"})),
    ];
    let mut direct = Client::connect(server.addr(), Protocol::H1).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (path, asked) in &requests {
            // Whatever the server thinks of the request, the gateway passes on.
            let (through, straight) =
                (client.send(post_json(path, asked)).await, direct.send(post_json(path, asked)).await);
            assert_eq!(through.status, straight.status, "{path}: {}", through.text());
            let requests = server.requests();
            let [by_gateway, by_hand] = &requests[requests.len() - 2..] else {
                unreachable!("two were sent")
            };
            assert_eq!(
                (&by_gateway.path, &by_gateway.body_xxh64),
                (&by_hand.path, &by_hand.body_xxh64),
                "{path}"
            );
        }
        let headers = [("content-type", &*form_type)];
        let reply = client.send(post("/v1/audio/transcriptions", &headers, pipe.clone())).await;
        let requests = server.requests();
        let last = requests.last().unwrap();
        assert_eq!(last.path, "/v1/audio/transcriptions", "{}", reply.text());
        assert_eq!(last.body_xxh64, body_hash(pipe.as_bytes()));
    }
    gateway.stop().await;
}

/// A `multipart/form-data` body and its content type.
fn form(fields: &[(&str, &str)]) -> (String, String) {
    let mut text = String::new();
    for (name, value) in fields {
        text += &format!("--cut\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    (text + "--cut--\r\n", "multipart/form-data; boundary=cut".to_owned())
}

/// A body that is no JSON goes where no model is needed, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_json_passes_where_no_model_is_needed() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [
            {"matches": [{"path": {"value": "/sim/sink/pool"}}], "targets": [{"pool": "p"}]},
            {"matches": [{"path": {"value": "/sim/sink/backend"}}], "targets": [{"backend": "b"}]},
            {"models": [MODEL], "targets": [{"pool": "p"}]},
        ]}],
        "pools": [pool("p", &[server.addr()])],
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    for bytes in [&b"plain text"[..], b"\x00\xff\xfe binary", b"[1, 2, 3]", b"<xml/>"] {
        for path in ["/sim/sink/pool", "/sim/sink/backend"] {
            let seen = seen(&client.send(post(path, &[("content-type", "text/plain")], bytes)).await);
            assert_eq!(seen.body_xxh64, body_hash(bytes), "{path} {bytes:?}");
        }
    }
    for path in ["/sim/sink/pool", "/sim/sink/backend"] {
        let seen = seen(&client.send(get(&format!("{path}/x?a=b&c"))).await);
        assert_eq!((&*seen.method, &*seen.path), ("GET", &*format!("{path}/x?a=b&c")));
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
            let reply = client.send(request(method.clone(), path, &[], body(Bytes::new()))).await;
            assert_eq!(reply.json()["method"], method.as_str());
        }
    }
    let reply = client.send(post("/v1/chat/completions", &[], "plain text")).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (400, "missing_model"));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_share_a_thousand_requests() {
    let [a, b, c] = sims().await;
    let rule = json!({"targets": [
        {"backend": "a", "weight": 70}, {"backend": "b", "weight": 30}, {"backend": "c", "weight": 0},
    ]});
    let gateway = with_rule(rule, &[&a, &b, &c]).await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..1000 {
        assert_eq!(client.send(get("/sim/sink")).await.status, 200);
    }
    // Six standard deviations (14.5) either way: once in a billion runs.
    let share = a.stats().completed;
    assert!((613..=787).contains(&share), "{share} of 1,000");
    assert_eq!((share + b.stats().completed, c.stats().requests), (1000, 0));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_earlier_tier_gets_everything_while_it_can_serve() {
    let [a, b] = sims().await;
    let rule = json!({"targets": [{"backend": "a", "priority": 1}, {"backend": "b"}]});
    let gateway = with_rule(rule, &[&a, &b]).await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..20 {
        assert_eq!(client.send(get("/sim/sink")).await.status, 200);
    }
    assert_eq!((a.stats().requests, b.stats().completed), (0, 20));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_rewrites_paths_and_hosts() {
    let [a] = sims().await;
    let rewrite = |path: Value| json!({"targets": [{"backend": "a"}], "urlRewrite": path});
    let at = |prefix: &str, rule: Value| {
        crate::harness::with(rule, json!({"matches": [{"path": {"type": "PathPrefix", "value": prefix}}]}))
    };
    let rules = json!([
        at(
            "/old",
            rewrite(json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/sim/sink/new"}}))
        ),
        at("/any", rewrite(json!({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/sim/sink/one"}}))),
        at("/sim/sink/host", rewrite(json!({"hostname": "model.internal"}))),
        at("/sim/sink/same", json!({"targets": [{"backend": "a"}]})),
    ]);
    for protocol in ["http1", "h2c"] {
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": rules}],
            "backends": [crate::harness::with(backend("a", &[a.addr()]), json!({"protocol": protocol}))],
        }))
        .await;
        for client in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(client).await;
            for (path, expected, host) in [
                ("/old/x/y?q=1", "/sim/sink/new/x/y?q=1", "gateway.test"),
                ("/old", "/sim/sink/new", "gateway.test"),
                ("/any/thing?q=1", "/sim/sink/one?q=1", "gateway.test"),
                ("/sim/sink/host/x", "/sim/sink/host/x", "model.internal"),
                ("/sim/sink/same/%7Ex//y", "/sim/sink/same/%7Ex//y", "gateway.test"),
            ] {
                let seen = seen(&client.send(get(path)).await);
                assert_eq!(seen.path, expected, "{path}");
                if protocol == "http1" {
                    assert_eq!(seen.header("host"), Some(host), "{path}");
                }
            }
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_redirects() {
    const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
    let rules = STATUSES.map(|status| {
        json!({"matches": [{"path": {"value": format!("/{status}")}}], "redirect": {
            "scheme": "https", "hostname": "new.test", "statusCode": status,
            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"},
        }})
    });
    let gateway = Gateway::start(json!({"routes": [{"name": "r", "rules": rules}]})).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for status in STATUSES {
            for _ in 0..2 {
                let reply = client.send(get(&format!("/{status}/x?q=1"))).await;
                assert_eq!(
                    (reply.status.as_u16(), reply.header("location")),
                    (status, "https://new.test/new/x?q=1")
                );
            }
            let reply = client.send(post(&format!("/{status}"), &[], "some text")).await;
            assert_eq!((reply.status.as_u16(), reply.header("location")), (status, "https://new.test/new"));
        }
        assert_eq!(client.send(get("/nowhere")).await.status, 404);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_edited_for_the_rule_then_for_the_target_and_on_the_way_back() {
    let [a] = sims().await;
    let rule = json!({
        "requestHeaders": {
            "set": [{"name": "x-set", "value": "rule"}, {"name": "x-both", "value": "rule"}],
            "add": [{"name": "x-add", "value": "rule"}],
            "remove": ["x-remove"],
        },
        "responseHeaders": {
            "set": [{"name": "x-answer", "value": "set"}],
            "add": [{"name": "x-sim-body-bytes", "value": "added"}],
            "remove": ["x-sim-body-xxh64"],
        },
        "targets": [{"backend": "a", "requestHeaders": {
            "set": [{"name": "x-both", "value": "target"}],
            "add": [{"name": "x-add", "value": "target"}],
        }}],
    });
    let gateway = with_rule(rule, &[&a]).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let own = [("x-set", "client"), ("x-add", "client"), ("x-remove", "client"), ("x-kept", "client")];
        let reply = client.send(post("/sim/sink", &own, "x")).await;
        let seen = seen(&reply);
        let all = |name: &str| -> Vec<&str> {
            seen.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(all("x-set"), ["rule"]);
        assert_eq!(all("x-both"), ["target"]);
        assert_eq!(all("x-add"), ["client", "rule", "target"]);
        assert_eq!(all("x-remove"), [""; 0]);
        assert_eq!(all("x-kept"), ["client"]);
        assert_eq!(reply.header("x-answer"), "set");
        assert_eq!(reply.headers.get_all("x-sim-body-bytes").iter().count(), 2);
        assert!(reply.headers.get("x-sim-body-xxh64").is_none());
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_passed_both_ways_or_made() {
    let [a] = sims().await;
    let gateway = with_rule(json!({"targets": [{"backend": "a"}]}), &[&a]).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post("/sim/sink", &[("x-request-id", "mine-1")], "")).await;
    assert_eq!(
        (seen(&reply).header("x-request-id"), reply.header("x-request-id")),
        (Some("mine-1"), "mine-1")
    );
    let mut made = HashMap::new();
    for _ in 0..10 {
        let reply = client.send(get("/sim/sink")).await;
        let id = reply.header("x-request-id").to_owned();
        assert_eq!(seen(&reply).header("x-request-id"), Some(&*id));
        made.insert(id, ());
    }
    assert_eq!(made.len(), 10, "ids repeat");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_learns_who_asked() {
    let [a] = sims().await;
    let gateway = with_rule(json!({"targets": [{"backend": "a"}]}), &[&a]).await;
    let mut client = gateway.client(Protocol::H1).await;
    let seen_first = seen(&client.send(get("/sim/sink")).await);
    assert_eq!(seen_first.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen_first.header("x-forwarded-proto"), Some("http"));
    let chain = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "gopher")];
    let seen = seen(&client.send(post("/sim/sink", &chain, "")).await);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"), "nobody trusts this client");
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_model_is_all_that_changes_upstream() {
    let [a] = sims().await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": ["nick"], "targets": [{"pool": "p", "modelOverride": MODEL}]}]}],
        "pools": [pool("p", &[a.addr()])],
    }))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for asked in [
            r#"{"model":"nick","messages":[{"role":"user","content":"model: \"nick\""}]}"#,
            "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"\u{e9}\"} ],\n\t\"\\u006dodel\" : \"n\\u0069ck\" , \"x\":1e400}",
        ] {
            let reply = client.send(post("/v1/chat/completions", &[], asked)).await;
            assert_eq!(
                (reply.status.as_u16(), &reply.json()["model"]),
                (200, &json!(MODEL)),
                "{}",
                reply.text()
            );
            let expected = asked.replacen("\"nick\"", &format!("\"{MODEL}\""), 1);
            let expected = expected.replacen("\"n\\u0069ck\"", &format!("\"{MODEL}\""), 1);
            assert_eq!(a.requests().last().unwrap().body_xxh64, body_hash(expected.as_bytes()), "{asked}");
        }
        let (asked, form_type) = form(&[("file", "RIFF"), ("model", "nick")]);
        let headers = [("content-type", &*form_type)];
        client.send(post("/v1/audio/transcriptions", &headers, asked.clone())).await;
        let expected = asked.replace("nick", MODEL);
        assert_eq!(a.requests().last().unwrap().body_xxh64, body_hash(expected.as_bytes()));
    }
    for line in gateway.log(6).await {
        assert_eq!((&line["model"], &line["target_model"]), (&json!("nick"), &json!(MODEL)));
    }
    gateway.stop().await;
}

/// A rule that goes by models alone matches every path, and still serves only what names a model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_model_get_an_answer_that_fits() {
    let (llama, mistral) = (sim(MODEL).await, sim("mistral:latest").await);
    let gateway = two_models(&llama, &mistral).await;
    let (get, options, delete) = (Method::GET, Method::OPTIONS, Method::DELETE);
    let (posted, models) = ("POST, OPTIONS", "GET, HEAD, OPTIONS");
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (method, path, status, code, allow) in [
            (&get, "/", 404, "unknown_url", ""),
            (&get, "/health", 404, "unknown_url", ""),
            (&get, "/v1/responses/resp_1", 404, "unknown_url", ""),
            (&delete, "/v1/responses/resp_1", 404, "unknown_url", ""),
            (&get, "/v1/chat/completions", 405, "method_not_supported", posted),
            (&get, "/v1/responses?limit=1", 405, "method_not_supported", posted),
            (&get, "/tokenize", 405, "method_not_supported", posted),
            (&delete, "/v1/models/mistral:latest", 405, "method_not_supported", models),
            (&Method::POST, "/v1/models", 405, "method_not_supported", models),
            (&Method::POST, "/tokenize", 400, "missing_model", ""),
            (&options, "/nowhere", 404, "unknown_url", ""),
            (&options, "/v1/chat/completions", 204, "", posted),
            (&options, "/team/v1/messages", 204, "", posted),
            (&options, "/v1/models/x", 204, "", models),
        ] {
            let reply = client.send(request(method.clone(), path, &[], body(Bytes::new()))).await;
            assert_eq!((reply.status.as_u16(), reply.header("allow")), (status, allow), "{method} {path}");
            if status == 204 {
                assert!(reply.body.is_empty() && reply.header("content-length").is_empty(), "{path}");
                continue;
            }
            assert_eq!(reply.code(), code, "{method} {path}");
            if code == "unknown_url" {
                let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
                assert!(
                    message.contains(&format!("{method} {path}: here requests are routed by the `model`")),
                    "{message}"
                );
            }
        }
        // A body that names no model is what is wrong with this one.
        let reply = client.send(post_json("/tokenize", &json!({"prompt": "Why?"}))).await;
        assert_eq!((reply.status.as_u16(), &*reply.code()), (400, "missing_model"));
        assert!(client.is_open(), "the connection was closed over a wrong path");
    }
    assert_eq!(llama.stats().requests + mistral.stats().requests, 0);
    gateway.stop().await;
}

/// Gateway API: what no rule matches is 404, also where a rule matches another method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_for_another_method_is_no_rule() {
    let [a] = sims().await;
    let at = json!([{"path": {"value": "/sim/sink"}, "method": "POST"}]);
    let gateway = with_rule(json!({"matches": at, "targets": [{"backend": "a"}]}), &[&a]).await;
    let mut client = gateway.client(Protocol::H1).await;
    for method in [Method::GET, Method::OPTIONS, Method::DELETE] {
        let reply = client.send(request(method, "/sim/sink", &[], body(Bytes::new()))).await;
        assert_eq!((reply.status.as_u16(), &*reply.code()), (404, "unknown_url"));
    }
    assert_eq!(client.send(post("/sim/sink", &[], "x")).await.status, 200);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_has_the_headers_of_get_and_its_errors_claim_no_body() {
    let (llama, mistral) = (sim(MODEL).await, sim("mistral:latest").await);
    let gateway = two_models(&llama, &mistral).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for path in ["/v1/models", "/v1/models/mistral:latest"] {
            let whole = client.send(get(path)).await;
            let head = client.send(request(Method::HEAD, path, &[], body(Bytes::new()))).await;
            assert_eq!((head.status.as_u16(), &head.body[..]), (200, &b""[..]));
            for name in ["content-type", "content-length"] {
                assert!(!whole.header(name).is_empty());
                assert_eq!(head.header(name), whole.header(name), "{path}");
            }
        }
        for path in ["/v1/models/nothing", "/nowhere", "/v1/chat/completions"] {
            let head = client.send(request(Method::HEAD, path, &[], body(Bytes::new()))).await;
            assert!(head.status.is_client_error(), "{path}: {}", head.status);
            assert_eq!((head.header("content-type"), head.header("content-length")), ("", ""), "{path}");
        }
        assert!(client.is_open(), "the connection was closed over HEAD");
    }
    let log = gateway.log(14).await;
    assert!(log.iter().all(|line| line["method"] == "GET" || line["response_bytes"] == 0), "{log:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_is_answered_without_a_body() {
    let [a] = sims().await;
    let gateway = with_rule(json!({"models": ["m"], "targets": [{"backend": "a"}]}), &[&a]).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for path in ["/nowhere", "/health"] {
            let reply = client.send(request(Method::HEAD, path, &[], body(Bytes::new()))).await;
            assert!(reply.status.is_client_error(), "{}", reply.status);
            assert_eq!(reply.body, "");
        }
        // What follows on the connection is not taken for a body.
        assert_eq!(client.send(get("/v1/models")).await.json()["data"][0]["id"], "m");
    }
    gateway.stop().await;
}
