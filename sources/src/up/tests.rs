use std::collections::HashMap;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::StatusCode;
use penstock_config::{NoProfileCheck, Snapshot};

use super::*;

/// Model servers by their addresses. Where there is none, nothing listens.
#[derive(Default)]
struct Servers {
    answers: HashMap<SocketAddr, (u16, String)>,
}

impl Servers {
    /// A server that answers every request alike. Returns its URL.
    fn add(&mut self, address: &str, status: u16, body: impl Into<String>) -> String {
        self.answers.insert(address.parse().unwrap(), (status, body.into()));
        format!("http://{address}")
    }

    /// A server of `models`; `child<parent` is an adapter.
    fn serve(&mut self, address: &str, models: &[&str]) -> String {
        let entries: Vec<_> = models
            .iter()
            .map(|model| match model.split_once('<') {
                Some((id, parent)) => serde_json::json!({ "id": id, "parent": parent, "owned_by": "vllm" }),
                None => serde_json::json!({ "id": model, "parent": null, "owned_by": "vllm" }),
            })
            .collect();
        self.add(address, 200, serde_json::json!({ "object": "list", "data": entries }).to_string())
    }

    async fn discover(&self, urls: &[&str], models: &[&str]) -> Result<Discovery, UpError> {
        let named = |text: &&str| {
            let (model, url) = text.split_once('=').unwrap();
            (model.to_owned(), url.parse().unwrap())
        };
        let options = UpOptions {
            urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
            models: models.iter().map(named).collect(),
            listen: "127.0.0.1:0".parse().unwrap(),
            admin_listen: "127.0.0.1:0".parse().unwrap(),
            timeout: Duration::from_secs(30),
        };
        discover(&options, self).await
    }
}

impl Probe for Servers {
    fn get<'a>(&'a self, request: ProbeRequest<'a>) -> BoxFuture<'a, Result<ProbeAnswer, ProbeError>> {
        assert_eq!(request.path, "/v1/models");
        let answer = match self.answers.get(&request.address) {
            None => Err(ProbeError("Connection refused".to_owned())),
            Some((_, body)) if body.len() > request.limit_bytes => Err(ProbeError("larger than".to_owned())),
            Some((status, body)) => Ok(ProbeAnswer {
                status: StatusCode::from_u16(*status).unwrap(),
                body: body.clone().into_bytes(),
            }),
        };
        std::future::ready(answer).boxed()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The endpoints of each pool, and the models that are served.
fn compiled(found: &Discovery) -> (HashMap<String, Vec<SocketAddr>>, Vec<String>) {
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
    let mut servers = Servers::default();
    let llama = ["meta-llama/Llama-3.1-8B-Instruct", "lora-x<meta-llama/Llama-3.1-8B-Instruct"];
    let a = servers.serve("10.0.0.1:8000", &llama);
    let b = servers.serve("10.0.0.2:8000", &llama);
    let c = servers.serve("10.0.0.3:8000", &["mistral:latest"]);
    let found = servers.discover(&[&a, &b, &c], &[]).await.unwrap();
    assert!(found.warnings.is_empty());
    let (pools, mut models) = compiled(&found);
    let expected = [
        ("meta-llama-llama-3.1-8b-instruct", vec![address("10.0.0.1:8000"), address("10.0.0.2:8000")]),
        ("mistral-latest", vec![address("10.0.0.3:8000")]),
    ];
    assert_eq!(pools, expected.map(|(name, endpoints)| (name.to_owned(), endpoints)).into());
    models.sort();
    assert_eq!(models, ["lora-x", "meta-llama/Llama-3.1-8B-Instruct", "mistral:latest"]);
}

#[tokio::test]
async fn an_adapter_that_only_some_servers_have_is_a_pool_of_its_own() {
    let mut servers = Servers::default();
    let a = servers.serve("10.0.0.1:8000", &["base", "lora<base"]);
    let b = servers.serve("10.0.0.2:8000", &["base"]);
    let found = servers.discover(&[&a, &b], &[]).await.unwrap();
    let (pools, _) = compiled(&found);
    assert_eq!(pools["base"], [address("10.0.0.1:8000"), address("10.0.0.2:8000")]);
    assert_eq!(pools["lora"], [address("10.0.0.1:8000")]);
}

#[tokio::test]
async fn models_whose_names_differ_in_other_letters_are_told_apart() {
    let mut servers = Servers::default();
    let url = servers.serve("10.0.0.1:8000", &["a/b", "a:b", "A b", "//"]);
    let found = servers.discover(&[&url], &[]).await.unwrap();
    let (pools, models) = compiled(&found);
    assert_eq!((pools.len(), models.len()), (4, 4), "{pools:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_reported_and_left_out() {
    let mut servers = Servers::default();
    let bad = [
        (servers.add("10.0.0.1:8000", 500, ""), "answered 500"),
        (servers.add("10.0.0.2:8000", 401, ""), "credentials"),
        (servers.add("10.0.0.3:8000", 200, "<html>"), "something other than OpenAI's list"),
        (servers.add("10.0.0.4:8000", 200, r#"{"data":[]}"#), "lists no model"),
        (servers.add("10.0.0.5:8000", 200, "x".repeat(5 << 20)), "larger than"),
        ("http://10.0.0.6:8000".to_owned(), "Connection refused"),
    ];
    let good = servers.serve("10.0.0.7:8000", &["m"]);
    let urls: Vec<&str> = bad.iter().map(|(url, _)| url.as_str()).chain([good.as_str()]).collect();
    let found = servers.discover(&urls, &[]).await.unwrap();
    assert_eq!(compiled(&found).0, HashMap::from([("m".to_owned(), vec![address("10.0.0.7:8000")])]));
    assert_eq!(found.warnings.len(), bad.len());
    for ((url, words), warning) in bad.iter().zip(&found.warnings) {
        assert!(warning.starts_with(url) && warning.contains(words), "{warning}");
    }
}

#[tokio::test]
async fn without_any_server_there_is_an_error_that_names_each() {
    let urls = ["http://10.0.0.1:8000", "http://does.not.exist.invalid"];
    let error = Servers::default().discover(&urls, &[]).await.unwrap_err();
    let UpError::NoServer(reasons) = &error else { panic!("{error:?}") };
    assert!(reasons[0].contains(urls[0]) && reasons[1].contains("cannot resolve the name"), "{reasons:?}");
}

#[tokio::test]
async fn a_server_whose_model_is_given_is_not_asked() {
    let models = ["m=http://127.0.0.1:9", "m=https://127.0.0.2", "m=https://localhost:9443"];
    let found = Servers::default().discover(&[], &models).await.unwrap();
    let (pools, served) = compiled(&found);
    assert_eq!(served, ["m"]);
    assert_eq!(pools["m"], [address("127.0.0.1:9")]);
    assert_eq!(pools["m-2"], [address("127.0.0.2:443")], "TLS takes a pool of its own");
    assert!(pools["m-3"].iter().all(|address| address.port() == 9443), "a name of its own another");
    assert!(found.document.contains("sni: localhost"), "{}", found.document);
}
