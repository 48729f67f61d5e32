//! Gateways that run the real picker.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use http::HeaderMap;
use penstock_config::{ProfileCheck, Snapshot};
use penstock_picker::{EpcCheck, InFlight, LoadSample, Mark, Outcome, PickRequest, Picker, Pool};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::{EPP_INTERVAL, Policy, PolicyConfig, RoutingRequest, Scraping};
use crate::simulate::{
    request::{BLOCK_TOKENS, TOKEN_BYTES},
    server::Gauges,
};

/// Name of the pool, and of the model.
const POOL: &str = "pool";
const MODEL: &str = "model";
/// Port of every server.
const PORT: u16 = 8000;

/// What the picker goes by.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Type, weight and parameters of each scorer.
    scorers: Vec<(String, f64, Value)>,
    /// Whether it is the reference endpoint picker's way of knowing: scraped at a fixed interval, and nothing added
    /// that was sent since.
    is_reference: bool,
}

/// A gateway with the real picker.
#[derive(Debug)]
pub(super) struct PickerPolicy {
    profile: Profile,
    config: PolicyConfig,
    picker: Arc<Picker>,
    pool: Option<Arc<Pool>>,
    endpoints: FxHashMap<usize, Arc<penstock_picker::Endpoint>>,
    marks: FxHashMap<usize, Mark>,
    in_flight: FxHashMap<usize, InFlight>,
    headers: HeaderMap,
}

impl Profile {
    /// A profile by its name, or one that is written out: `queue-scorer=2,token-load-scorer=1;queueThresholdTokens:9`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let (text, is_reference) = match name {
            "epp-default" => ("queue-scorer=2,kv-cache-utilization-scorer=2,prefix-cache-scorer=3", true),
            "walkthrough" => ("queue-scorer=1,kv-cache-utilization-scorer=1,prefix-cache-scorer=1", true),
            "penstock" => ("expected-ttft-scorer=1", false),
            written => (written, false),
        };
        let scorers = text.split(',').filter(|part| !part.is_empty()).map(|part| {
            let (name, rest) = part.split_once('=')?;
            let mut rest = rest.split(';');
            let weight = rest.next()?.parse().ok()?;
            let parameter = |part: &str| {
                let (name, value) = part.split_once(':')?;
                Some((name.to_owned(), serde_json::from_str(value).ok()?))
            };
            let parameters = rest.map(parameter).collect::<Option<serde_json::Map<_, Value>>>()?;
            Some((name.to_owned(), weight, Value::Object(parameters)))
        });
        let profile = Self { scorers: scorers.collect::<Option<_>>()?, is_reference };
        let is_sound = !profile.scorers.is_empty() && EpcCheck.check(&profile.document(1)).is_empty();
        is_sound.then_some(profile)
    }

    /// As an `EndpointPickerConfig`.
    fn document(&self, blocks: usize) -> Value {
        let mut plugins: Vec<Value> = self
            .scorers
            .iter()
            .map(|(name, _, parameters)| json!({"type": name, "parameters": parameters}))
            .collect();
        // Policies are to be compared by where they send what comes, not by what they turn away.
        plugins.push(json!({
            "type": "utilization-detector",
            "parameters": {"queueDepthThreshold": 1_000_000_000, "kvCacheUtilThreshold": 1.0},
        }));
        if self.is_reference {
            // It takes the number of 16-token blocks for that of its own blocks of 64: four times too many.
            plugins.push(json!({
                "type": "approx-prefix-cache-producer",
                "parameters": {"autoTune": false, "lruCapacityPerServer": blocks * 4},
            }));
        }
        // What only says how prompts are indexed is in no profile.
        let is_ranking = |(name, ..): &&(String, f64, Value)| !name.ends_with("-producer");
        let references = self
            .scorers
            .iter()
            .filter(is_ranking)
            .map(|(name, weight, _)| json!({"pluginRef": name, "weight": weight}));
        json!({
            "apiVersion": "llm-d.ai/v1alpha1",
            "kind": "EndpointPickerConfig",
            "plugins": plugins,
            "schedulingProfiles": [{"name": "default", "plugins": references.collect::<Vec<_>>()}],
        })
    }
}

impl PickerPolicy {
    pub(super) fn new(profile: Profile, config: &PolicyConfig) -> Self {
        Self {
            profile,
            picker: Picker::simulated(config.clock.clone()),
            config: config.clone(),
            pool: None,
            endpoints: FxHashMap::default(),
            marks: FxHashMap::default(),
            in_flight: FxHashMap::default(),
            headers: HeaderMap::new(),
        }
    }

    /// The routing document with these servers.
    fn document(&self, servers: &[usize]) -> Value {
        let endpoints: Vec<Value> =
            servers.iter().map(|server| json!({"address": address(*server).to_string()})).collect();
        let pool = json!({
            "name": POOL,
            "engine": "vllm",
            "endpoints": endpoints,
            "metrics": {"enabled": false},
            "picker": self.profile.document(self.config.blocks),
        });
        json!({
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "RoutingConfig",
            "listeners": [{"name": "http", "address": "127.0.0.1:8080"}],
            "routes": [{"name": POOL, "rules": [{"targets": [{"pool": POOL}]}]}],
            "pools": [pool],
        })
    }
}

impl Policy for PickerPolicy {
    fn pick(&mut self, request: &RoutingRequest<'_>) -> Option<usize> {
        let pick = PickRequest {
            model: MODEL,
            blocks: request.hashes,
            prompt_bytes: u64::from(request.prompt_tokens) * TOKEN_BYTES,
            max_tokens: None,
            priority: 0,
            consumer: "",
            headers: &self.headers,
            exclude: &[],
        };
        let picked = self.pool.as_ref()?.pick(&pick).ok()?;
        let server = server(picked.endpoint.address());
        if self.profile.is_reference {
            // Nothing of what it sends counts until a metrics page shows it.
            picked.in_flight.finish(Outcome::Served);
        } else {
            self.in_flight.insert(request.id, picked.in_flight);
        }
        server
    }

    fn first_token(&mut self, id: usize) {
        if let Some(request) = self.in_flight.get_mut(&id) {
            request.first_byte();
        }
    }

    fn finished(&mut self, id: usize) {
        if let Some(request) = self.in_flight.remove(&id) {
            request.finish(Outcome::Served);
        }
    }

    fn scrape_began(&mut self, server: usize) -> bool {
        let Some(endpoint) = self.endpoints.get(&server) else { return false };
        self.marks.insert(server, endpoint.mark());
        endpoint.in_flight() > 0
    }

    fn scrape_ended(&mut self, server: usize, gauges: Gauges) {
        let Some(endpoint) = self.endpoints.get(&server) else { return };
        let Some(mark) = self.marks.remove(&server) else { return };
        let sample = LoadSample {
            waiting: gauges.waiting,
            running: gauges.running,
            kv_usage: gauges.kv_usage,
            block_size: Some(BLOCK_TOKENS),
            num_gpu_blocks: Some(self.config.blocks as u64),
            ..LoadSample::default()
        };
        endpoint.store_sample(sample, mark);
    }

    fn set_members(&mut self, servers: &[usize]) {
        let text = self.document(servers).to_string();
        let snapshot = Snapshot::compile(&text, &EpcCheck).expect("the document is written above");
        self.picker.apply(&snapshot.pools).expect("its profile was checked");
        self.pool = self.picker.pool(POOL);
        let endpoints = self.pool.iter().flat_map(|pool| pool.endpoints());
        self.endpoints =
            endpoints.filter_map(|endpoint| Some((server(endpoint.address())?, endpoint))).collect();
    }

    fn scraping_mode(&self) -> Scraping {
        if self.profile.is_reference {
            return Scraping::Every(EPP_INTERVAL);
        }
        let default = penstock_config::MetricsSpec::default();
        Scraping::Adaptive(
            default.min_interval * self.config.replicas,
            default.max_interval * self.config.replicas,
        )
    }
}

fn address(server: usize) -> SocketAddr {
    let number = (10 << 24) + 1 + server as u32;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(number)), PORT)
}

fn server(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) => Some((ip.to_bits() - (10 << 24) - 1) as usize),
        IpAddr::V6(_) => None,
    }
}
