//! Consumers that may ask for some models only.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{KEY, digest};
use crate::harness::{Body, Gateway, MODEL, Protocol, Reply, backend, body, chat, post, request, sim};

/// A key of a consumer that may ask for everything.
const ALL_KEY: &str = "sk-all-77";

/// A document with three models, of which `search` may ask for one, and for any that begins with `llama-`.
fn with_lists(server: SocketAddr) -> Value {
    let rule = |model: &str| json!({"models": [model], "targets": [{"backend": "b"}]});
    json!({
        "consumers": [
            {"name": "search", "keys": [digest(KEY)], "models": [MODEL, "llama-*"]},
            {"name": "all", "keys": [digest(ALL_KEY)]},
        ],
        "policies": [{"name": "p", "authentication": {"apiKey": {}}}],
        "listeners": [{"name": "http", "address": "127.0.0.1:0", "policies": ["p"]}],
        "routes": [{"name": "r", "rules": [
            {"matches": [{"path": {"value": "/model"}}, {"path": {"value": "/openai"}}, {"path": {"value": "/v1/files"}}],
             "targets": [{"backend": "b"}]},
            rule(MODEL), rule("gpt-4o"), rule("llama-3"),
        ]}],
        "backends": [backend("b", &[server])],
    })
}

fn by(key: &str, method: http::Method, path: &str, text: &str) -> http::Request<Body> {
    request(method, path, &[("x-api-key", key), ("content-type", "application/json")], body(text.to_owned()))
}

fn get(key: &str, path: &str) -> http::Request<Body> {
    by(key, http::Method::GET, path, "")
}

fn ask(key: &str, model: &str) -> http::Request<Body> {
    by(key, http::Method::POST, "/v1/chat/completions", &chat(model, false).to_string())
}

fn ids(reply: &Reply) -> Vec<String> {
    let list = reply.json();
    let models = list["data"].as_array().unwrap().iter();
    models.map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_asks_for_the_models_on_its_list_and_for_no_other() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(with_lists(server.addr())).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        assert_eq!(client.send(ask(KEY, MODEL)).await.status, 200);
        let reply = client.send(ask(KEY, "gpt-4o")).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "model_not_allowed"));
        let error = &reply.json()["error"];
        assert_eq!(error["param"], "model");
        assert_eq!(error["message"], "the model `gpt-4o` is none of those that you may ask for");
        // What names no model is refused, whatever it is.
        for asked in [
            by(KEY, http::Method::POST, "/v1/files", "{}"),
            get(KEY, "/v1/files"),
            by(KEY, http::Method::DELETE, "/v1/files/x", ""),
        ] {
            let reply = client.send(asked).await;
            assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "model_not_allowed"));
        }
        for asked in [ask(ALL_KEY, "gpt-4o"), get(ALL_KEY, "/v1/files")] {
            assert_ne!(client.send(asked).await.status, 403);
        }
    }
    assert_eq!(server.stats().requests, 6);
    gateway.log(14).await;
    assert_eq!(gateway.metric("penstock_requests_total", &["reason=\"model_not_allowed\""]), 8.0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_models_shows_a_consumer_its_own_and_so_does_every_refusal() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(with_lists(server.addr())).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ids(&client.send(get(KEY, "/v1/models")).await), [MODEL, "llama-3"]);
    assert_eq!(ids(&client.send(get(ALL_KEY, "/v1/models")).await), [MODEL, "gpt-4o", "llama-3"]);
    assert_eq!(client.send(get(KEY, "/v1/models/llama-3")).await.json()["id"], "llama-3");
    assert_eq!(client.send(get(ALL_KEY, "/v1/models/gpt-4o")).await.status, 200);
    let hidden = client.send(get(KEY, "/v1/models/gpt-4o")).await;
    assert_eq!((hidden.status.as_u16(), hidden.code().as_str()), (404, "model_not_found"));
    assert!(!hidden.text().contains("gpt-4o, "), "{}", hidden.text());
    // One that exists and one that does not are the same to whom neither is for.
    let (there, not_there) = (client.send(ask(KEY, "gpt-4o")).await, client.send(ask(KEY, "gpt-5o")).await);
    assert_eq!(there.text().replace("4o", "5o"), not_there.text());
    // One that would be for it and does not exist: 404, and what there is for it.
    let reply = client.send(ask(KEY, "llama-4")).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (404, "model_not_found"));
    assert!(reply.text().contains("llama-3") && !reply.text().contains("gpt-4o"), "{}", reply.text());
    assert!(client.send(ask(ALL_KEY, "gpt-5")).await.text().contains("gpt-4o"));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_by_model_shows_in_the_list() {
    let server = sim(MODEL).await;
    let mut document = with_lists(server.addr());
    document["policies"].as_array_mut().unwrap().push(json!({
        "name": "models",
        "authorization": {"rules": [{"action": "Allow", "models": ["gpt-*"], "consumers": ["all"]}]},
    }));
    document["listeners"][0]["policies"] = json!(["p", "models"]);
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ids(&client.send(get(ALL_KEY, "/v1/models")).await), ["gpt-4o"]);
    let reply = client.send(ask(ALL_KEY, MODEL)).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "permission_denied"));
    assert_ne!(client.send(ask(ALL_KEY, "gpt-4o")).await.status, 403);
    assert_eq!(client.send(get(KEY, "/v1/models")).await.status, 403, "no rule serves it any model");
    drop(client);
    gateway.stop().await;
}

/// APIs that have the model in the path go by that, whatever the body says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_in_the_path_has_to_be_on_the_list_and_so_has_one_in_the_body() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(with_lists(server.addr())).await;
    let named = |model: &str| json!({"model": model, "messages": []}).to_string();
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (path, text, passes) in [
            ("/model/llama-3/converse", "{}".to_owned(), true),
            ("/model/llama-3/converse", named("llama-3"), true),
            ("/model/gpt-4o/converse", "{}".to_owned(), false),
            ("/model/gpt-4o/converse", named("llama-3"), false),
            ("/model/llama-3/converse", named("gpt-4o"), false),
            ("/model/gpt%2d4o/invoke", named("llama-3"), false),
            ("/model/llama-3/model/gpt-4o/converse", named("llama-3"), false),
            ("/openai/deployments/gpt-4o/chat/completions", named("llama-3"), false),
            ("/openai/deployments/llama-3/chat/completions", named("llama-3"), true),
            // Servers differ in what they take for a slash, and for the end of a segment.
            ("/openai/deployments%5Cgpt-4o/chat/completions", named("llama-3"), false),
            ("/openai/deployments;x/gpt-4o/chat/completions", named("llama-3"), false),
            ("/openai%5Cdeployments%5Cllama-3/chat/completions", named("llama-3"), true),
            ("/model/models/gpt-4o:generateContent", named("llama-3"), false),
            ("/model/models/llama-3:streamGenerateContent", "{}".to_owned(), true),
        ] {
            let before = server.stats().requests;
            let reply = client.send(by(KEY, http::Method::POST, path, &text)).await;
            assert_eq!(
                server.stats().requests - before,
                u64::from(passes),
                "{path} {text}: {}",
                reply.text()
            );
            assert_eq!(
                reply.text().contains("none of those that you may ask for"),
                !passes,
                "{}",
                reply.text()
            );
        }
    }
    gateway.stop().await;
}

/// Some upstreams pass over a member that they do not know, and what a file or a batch asks for is inside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_in_the_body_opens_no_path_whose_requests_may_be_about_others() {
    let server = sim(MODEL).await;
    let mut document = with_lists(server.addr());
    document["routes"][0]["rules"][0]["matches"] = json!([{"path": {"value": "/"}}]);
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    let named = json!({"model": MODEL, "modelId": "gpt-4o", "input_file_id": "f"}).to_string();
    for path in [
        "/v1/files",
        "/v1/batches",
        "/v1/messages/batches",
        "/async-invoke",
        "/v1beta/tunedModels/gpt-4o:generateContent",
        "/openai/deployments//gpt-4o/chat/completions",
        "/openai/Deployments/gpt-4o/chat/completions",
    ] {
        let reply = client.send(by(KEY, http::Method::POST, path, &named)).await;
        assert_eq!(reply.status, 403, "{path}: {}", reply.text());
    }
    assert_eq!(server.stats().requests, 0);
    assert_ne!(client.send(by(ALL_KEY, http::Method::POST, "/v1/batches", &named)).await.status, 403);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_that_counts_is_the_one_that_upstreams_see() {
    let server = sim(MODEL).await;
    let rewrite =
        json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/openai/deployments"}});
    let mut document = with_lists(server.addr());
    document["routes"][0]["rules"][0] = json!({
        "matches": [{"path": {"value": "/azure"}}], "urlRewrite": rewrite, "targets": [{"backend": "b"}],
    });
    document["routes"][0]["rules"][1] = json!({
        "matches": [{"path": {"value": "/b"}}], "targets": [{"backend": "b"}, {"backend": "b", "priority": 1, "urlRewrite": rewrite}],
    });
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    let named = json!({"model": "llama-3", "messages": []}).to_string();
    for (path, passes) in [
        ("/azure/gpt-4o/chat/completions", false),
        ("/azure/llama-3/chat/completions", true),
        ("/b/gpt-4o/chat/completions", false),
        ("/b/llama-3/chat/completions", true),
    ] {
        let before = server.stats().requests;
        let reply = client.send(by(KEY, http::Method::POST, path, &named)).await;
        assert_eq!(server.stats().requests > before, passes, "{path}: {}", reply.text());
        assert_eq!(reply.status == 403, !passes, "{path}: {}", reply.text());
    }
    drop(client);
    gateway.stop().await;
}

/// One tenant's policy says nothing of another's requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rules_policies_keep_their_headers_for_themselves_on_their_own_rule_only() {
    let server = sim(MODEL).await;
    let mut document = with_lists(server.addr());
    document["listeners"][0]["policies"] = json!([]);
    document["policies"] = json!([{
        "name": "p", "authentication": {"optional": true, "apiKey": {"consumerHeader": "x-consumer"}},
    }]);
    document["routes"] = json!([{"name": "r", "rules": [
        {"matches": [{"path": {"value": "/mine"}}], "policies": ["p"], "targets": [{"backend": "b"}]},
        {"targets": [{"backend": "b"}]},
    ]}]);
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    for (path, key, seen) in [
        ("/mine/v1/chat/completions", None, None),
        ("/mine/v1/chat/completions", Some(ALL_KEY), Some("all")),
        ("/v1/chat/completions", None, Some("forged")),
    ] {
        let mut headers = vec![("x-consumer", "forged")];
        headers.extend(key.map(|key| ("x-api-key", key)));
        client.send(post(path, &headers, chat(MODEL, false).to_string())).await;
        assert_eq!(server.requests().pop().unwrap().header("x-consumer"), seen, "{path} {key:?}");
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_identifies_holds_its_consumers_to_their_lists_too() {
    let server = sim(MODEL).await;
    let mut document = with_lists(server.addr());
    document["listeners"][0]["policies"] = json!([]);
    document["routes"] = json!([{"name": "r", "rules": [
        {"matches": [{"path": {"value": "/moved"}}], "policies": ["p"], "redirect": {"hostname": "new.test"}},
        {"policies": ["p"], "targets": [{"backend": "b"}]},
    ]}]);
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(KEY, MODEL)).await.status, 200);
    assert_eq!(client.send(ask(KEY, "gpt-4o")).await.status, 403);
    let moved = |model| by(KEY, http::Method::POST, "/moved", &chat(model, false).to_string());
    assert_eq!(client.send(moved(MODEL)).await.status, 302);
    assert_eq!(client.send(moved("gpt-4o")).await.status, 403);
    let anonymous = post("/v1/chat/completions", &[], chat(MODEL, false).to_string());
    assert_eq!(client.send(anonymous).await.status, 401);
    drop(client);
    gateway.stop().await;
}
