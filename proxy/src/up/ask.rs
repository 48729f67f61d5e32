//! Asking model servers what they serve (`GET /v1/models`, OpenAI's API).

use std::net::SocketAddr;
use std::time::Duration;

use penstock_config::{Engine, UpstreamTls};
use pingora_core::connectors::http::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use serde::Deserialize;

use super::ServerUrl;
use crate::probe;
use crate::tls::UpstreamContext;

/// The most bytes of an answer that are read: some ten thousand adapters.
const ANSWER_LIMIT_BYTES: usize = 4 << 20;

/// The most addresses of one name that are used.
const ADDRESSES_PER_NAME: usize = 256;

/// What servers are asked with.
pub(super) struct Question {
    pub(super) connector: Connector,
    pub(super) timeout: Duration,
}

/// A server and the models that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) url: ServerUrl,
    pub(super) address: SocketAddr,
    pub(super) engine: Engine,
    pub(super) models: Vec<Model>,
}

/// A model that a server says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) id: String,
    /// The base model, if this one is an adapter.
    pub(super) parent: Option<String>,
}

/// What asking one URL came to.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) servers: Vec<Answered>,
    /// One line for each address that cannot be used.
    pub(super) failures: Vec<String>,
}

impl Question {
    /// Asks every address of `url`.
    pub(super) async fn ask(&self, url: &ServerUrl) -> Asked {
        let addresses = match self.resolve(url).await {
            Ok(addresses) => addresses,
            Err(failure) => return Asked { failures: vec![failure], ..Asked::default() },
        };
        let several = addresses.len() > 1;
        let asked = addresses.into_iter().map(|address| async move {
            self.ask_address(url, address).await.map_err(|reason| match several {
                true => format!("{url} ({address}): {reason}"),
                false => format!("{url}: {reason}"),
            })
        });
        let mut result = Asked::default();
        for asked in futures::future::join_all(asked).await {
            match asked {
                Ok(server) => result.servers.push(server),
                Err(failure) => result.failures.push(failure),
            }
        }
        result
    }

    /// Believes that `model` is served at `url`.
    pub(super) async fn take_as_told(&self, model: &str, url: &ServerUrl) -> Result<Vec<Answered>, String> {
        let models = || vec![Model { id: model.to_owned(), parent: None }];
        let addresses = self.resolve(url).await?.into_iter();
        let told = addresses.map(|address| Answered {
            url: url.clone(),
            address,
            engine: Engine::default(),
            models: models(),
        });
        Ok(told.collect())
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

    async fn ask_address(&self, url: &ServerUrl, address: SocketAddr) -> Result<Answered, String> {
        let mut peer = HttpPeer::new(address, false, String::new());
        if url.is_tls {
            let spec = UpstreamTls { sni: None, ca: None, client_certificate: None, is_verified: true };
            // Names no file, so nothing can fail.
            if let Ok(context) = UpstreamContext::load(spec) {
                context.configure(&mut peer, &url.host);
            }
        }
        let (authority, timeout) = (url.authority(), self.timeout);
        let asked = probe::get(&self.connector, &peer, &authority, "/v1/models", ANSWER_LIMIT_BYTES, timeout);
        let answer = asked.await.map_err(|error| error.to_string())?;
        match answer.status {
            http::StatusCode::OK => {}
            status @ (http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN) => {
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
        Ok(Answered { url: url.clone(), address, engine, models })
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
