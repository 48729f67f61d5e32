//! Asking model servers what they serve (`GET /v1/models`, OpenAI's API).

use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use penstock_config::Engine;
use serde::Deserialize;

use super::probe::{Probe, ProbeRequest};
use super::url::ServerUrl;

/// Where OpenAI's API lists models.
const MODELS_PATH: &str = "/v1/models";

/// The most bytes of an answer that are read: some ten thousand adapters.
const ANSWER_LIMIT_BYTES: usize = 4 << 20;

/// The most addresses of one name that are used.
const ADDRESSES_PER_NAME: usize = 256;

/// What servers are asked with.
pub(super) struct Prober<'a> {
    pub(super) probe: &'a dyn Probe,
    pub(super) timeout: Duration,
}

/// One address of a model server, and the models that are served there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelServer {
    pub(super) url: ServerUrl,
    pub(super) address: SocketAddr,
    pub(super) engine: Engine,
    pub(super) models: Vec<Model>,
}

/// A model that a server lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) id: String,
    /// The base model, if this one is an adapter.
    pub(super) parent: Option<String>,
}

/// What asking all addresses of one URL came to.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) servers: Vec<ModelServer>,
    /// One line for each address that cannot be used.
    pub(super) failures: Vec<String>,
}

impl Prober<'_> {
    /// Asks every address of `url`.
    pub(super) async fn ask(&self, url: &ServerUrl) -> Answers {
        let addresses = match self.resolve(url).await {
            Ok(addresses) => addresses,
            Err(failure) => return Answers { failures: vec![failure], ..Answers::default() },
        };
        let several = addresses.len() > 1;
        let answers = addresses.into_iter().map(|address| async move {
            self.ask_address(url, address).await.map_err(|reason| match several {
                true => format!("{url} ({address}): {reason}"),
                false => format!("{url}: {reason}"),
            })
        });
        let mut all = Answers::default();
        for answer in futures::future::join_all(answers).await {
            match answer {
                Ok(server) => all.servers.push(server),
                Err(failure) => all.failures.push(failure),
            }
        }
        all
    }

    /// Takes it for granted that `model` is served at `url`.
    pub(super) async fn assume(&self, model: &str, url: &ServerUrl) -> Result<Vec<ModelServer>, String> {
        let server = |address| ModelServer {
            url: url.clone(),
            address,
            engine: Engine::default(),
            models: vec![Model { id: model.to_owned(), parent: None }],
        };
        Ok(self.resolve(url).await?.into_iter().map(server).collect())
    }

    async fn resolve(&self, url: &ServerUrl) -> Result<Vec<SocketAddr>, String> {
        let lookup = tokio::net::lookup_host((&*url.host, url.port));
        let found = match tokio::time::timeout(self.timeout, lookup).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(format!("{url}: cannot resolve the name: {error}")),
            Err(_) => return Err(format!("{url}: the name was not resolved within {:?}", self.timeout)),
        };
        let mut addresses: Vec<SocketAddr> = found.collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_PER_NAME);
        if addresses.is_empty() {
            return Err(format!("{url}: the name has no addresses"));
        }
        Ok(addresses)
    }

    async fn ask_address(&self, url: &ServerUrl, address: SocketAddr) -> Result<ModelServer, String> {
        let request = ProbeRequest {
            url,
            address,
            path: MODELS_PATH,
            limit_bytes: ANSWER_LIMIT_BYTES,
            timeout: self.timeout,
        };
        let answer = self.probe.get(request).await.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(format!(
                    "/v1/models answered {status}: it wants credentials, which takes a configuration file with \
                     requestHeaders"
                ));
            }
            status => return Err(format!("/v1/models answered {status}")),
        }
        let listing: Listing = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("/v1/models answered something other than OpenAI's list: {error}"))?;
        let engine = listing.engine();
        let models = listing.data.into_iter().filter(|entry| !entry.id.is_empty());
        let models: Vec<Model> = models.map(|entry| Model { id: entry.id, parent: entry.parent }).collect();
        if models.is_empty() {
            return Err("/v1/models lists no model".to_owned());
        }
        Ok(ModelServer { url: url.clone(), address, engine, models })
    }
}

/// OpenAI's list of models, with vLLM's `parent`. Whatever else is in it is of no use here.
#[derive(Deserialize)]
struct Listing {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    owned_by: Option<String>,
}

impl Listing {
    /// The software that answers, as it calls itself. Decides no more than the names of its metrics.
    fn engine(&self) -> Engine {
        match self.data.first().and_then(|entry| entry.owned_by.as_deref()) {
            Some("sglang") => Engine::Sglang,
            Some("tensorrt_llm") => Engine::TrtllmServe,
            _ => Engine::Vllm,
        }
    }
}
