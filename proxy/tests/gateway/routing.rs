//! Where requests go, and what the upstream sees of them.

use serde_json::json;

use crate::harness::{Gateway, MODEL, Protocol, chat, pool, post_json, sim};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_names_the_model_that_decides() {
    let (llama, mistral) = (sim(MODEL).await, sim("mistral:latest").await);
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [
            {"models": [MODEL], "targets": [{"pool": "llama"}]},
            {"models": ["mistral:latest"], "targets": [{"pool": "mistral"}]},
        ]}],
        "pools": [pool("llama", &[llama.addr()]), pool("mistral", &[mistral.addr()])],
    }))
    .await;
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
    assert_eq!(log[1]["pool"], "mistral");
    gateway.stop().await;
}
