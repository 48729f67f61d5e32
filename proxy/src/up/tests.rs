use std::collections::HashMap;

use penstock_config::{NoProfileCheck, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// A server that answers every request alike.
struct Server {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn answering(status: u16, body: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body = body.into();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                assert!(head.starts_with(b"GET /v1/models HTTP/1.1\r\n"));
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, _task: AbortOnDropHandle::new(task) }
    }

    /// Serving `models`; `child<parent` is an adapter.
    async fn serving(models: &[&str]) -> Self {
        let entries: Vec<_> = models
            .iter()
            .map(|model| match model.split_once('<') {
                Some((id, parent)) => serde_json::json!({ "id": id, "parent": parent, "owned_by": "vllm" }),
                None => serde_json::json!({ "id": model, "parent": null, "owned_by": "vllm" }),
            })
            .collect();
        Self::answering(200, serde_json::json!({ "object": "list", "data": entries }).to_string()).await
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn options(urls: &[String], models: &[String]) -> UpOptions {
    UpOptions {
        urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_listen: "127.0.0.1:0".parse().unwrap(),
        models: models.iter().map(|model| named_url(model).unwrap()).collect(),
        timeout: 30,
        print: false,
        log: LogOptions { log_level: None, log_format: crate::cli::logging::LogFormat::Text },
    }
}

/// The endpoints of each pool, and the models that are served.
fn compiled(found: &Found) -> (HashMap<String, Vec<SocketAddr>>, Vec<String>) {
    let snapshot = Snapshot::compile(&found.document, &NoProfileCheck)
        .unwrap_or_else(|faults| panic!("{faults}\n{}", found.document));
    let pools = snapshot.pools.iter().map(|pool| {
        let endpoints = pool.endpoints.iter().map(|endpoint| endpoint.address).collect();
        (pool.name.to_string(), endpoints)
    });
    let models = snapshot.models(penstock_config::ListenerIndex(0), "any.test");
    (pools.collect(), models.iter().map(|model| model.id.to_string()).collect())
}

#[tokio::test]
async fn every_model_has_a_pool_of_the_servers_that_have_it() {
    let a = Server::serving(&["meta-llama/Llama-3.1-8B-Instruct", "lora-x<meta-llama/Llama-3.1-8B-Instruct"])
        .await;
    let b = Server::serving(&["meta-llama/Llama-3.1-8B-Instruct", "lora-x<meta-llama/Llama-3.1-8B-Instruct"])
        .await;
    let c = Server::serving(&["mistral:latest"]).await;
    let found = discover_all(&options(&[a.url(), b.url(), c.url()], &[])).await.unwrap();
    assert!(found.warnings.is_empty());
    let (pools, mut models) = compiled(&found);
    let expected = [
        ("meta-llama-llama-3.1-8b-instruct", vec![a.address, b.address]),
        ("mistral-latest", vec![c.address]),
    ];
    assert_eq!(pools, expected.map(|(name, endpoints)| (name.to_owned(), endpoints)).into());
    models.sort();
    assert_eq!(models, ["lora-x", "meta-llama/Llama-3.1-8B-Instruct", "mistral:latest"]);
}

#[tokio::test]
async fn an_adapter_that_only_some_servers_have_is_a_pool_of_its_own() {
    let a = Server::serving(&["base", "lora<base"]).await;
    let b = Server::serving(&["base"]).await;
    let found = discover_all(&options(&[a.url(), b.url()], &[])).await.unwrap();
    let (pools, _) = compiled(&found);
    assert_eq!(pools["base"], [a.address, b.address]);
    assert_eq!(pools["lora"], [a.address]);
}

#[tokio::test]
async fn models_whose_names_differ_in_other_letters_are_told_apart() {
    let server = Server::serving(&["a/b", "a:b", "A b", "//"]).await;
    let found = discover_all(&options(&[server.url()], &[])).await.unwrap();
    let (pools, models) = compiled(&found);
    assert_eq!((pools.len(), models.len()), (4, 4), "{pools:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_reported_and_left_out() {
    let good = Server::serving(&["m"]).await;
    let bad = [
        (Server::answering(500, "").await, "answered 500"),
        (Server::answering(401, "").await, "credentials"),
        (Server::answering(200, "<html>").await, "something other than OpenAI's list"),
        (Server::answering(200, r#"{"data":[]}"#).await, "lists no model"),
        (Server::answering(200, "x".repeat(5 << 20)).await, "larger than"),
    ];
    let urls: Vec<_> = bad.iter().map(|(server, _)| server.url()).chain([good.url()]).collect();
    let found = discover_all(&options(&urls, &[])).await.unwrap();
    assert_eq!(compiled(&found).0, HashMap::from([("m".to_owned(), vec![good.address])]));
    for ((server, words), warning) in bad.iter().zip(&found.warnings) {
        assert!(warning.starts_with(&server.url()) && warning.contains(words), "{warning}");
    }
}

#[tokio::test]
async fn without_any_server_there_is_an_error_that_names_each() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let urls = [closed.clone(), "http://does.not.exist.invalid".to_owned()];
    let error = discover_all(&options(&urls, &[])).await.unwrap_err();
    assert_eq!(error.exit_code(), EXIT_UNAVAILABLE);
    let text = error.to_string();
    assert!(text.contains(&closed) && text.contains("cannot resolve the name"), "{text}");
}

#[tokio::test]
async fn a_model_that_was_told_is_not_asked_for() {
    let models = ["http://127.0.0.1:9", "https://127.0.0.2", "https://localhost:9443"];
    let models = models.map(|url| format!("told={url}"));
    let found = discover_all(&options(&[], &models)).await.unwrap();
    let (pools, served) = compiled(&found);
    assert_eq!(served, ["told"]);
    assert_eq!(pools["told"], ["127.0.0.1:9".parse().unwrap()]);
    assert_eq!(pools["told-2"], ["127.0.0.2:443".parse().unwrap()], "TLS takes a pool of its own");
    assert!(pools["told-3"].iter().all(|address| address.port() == 9443), "a name of its own another");
    assert!(found.document.contains("sni: localhost"), "{}", found.document);
}

#[test]
fn a_told_model_may_have_an_equals_sign_in_its_name() {
    let (model, url) = named_url("a=b=http://10.0.0.1:1").unwrap();
    assert_eq!((&*model, url.port), ("a=b", 1));
    assert_eq!(named_url("http://10.0.0.1"), Err(UrlError::NoModel));
    assert_eq!(named_url("=http://10.0.0.1"), Err(UrlError::NoModel));
}
