//! The endpoints of one pool or backend: the part of a translation that is made again for each Pod that comes or goes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use penstock_config::raw::{RawBackendEndpoint, RawEndpoint};
use penstock_config::{Address, Engine};

use crate::api::InferencePool;
use crate::options::Options;
use crate::output::{EndpointSource, HostSource};
use crate::world::{Key, World};

/// Labels of Pods that say which software they run, the first that is there counting.
const ENGINE_LABELS: &[&str] = &["llm-d.ai/engine-type", "inference.networking.k8s.io/engine-type"];

/// The endpoints of a pool or backend, in a stable order.
#[derive(Debug, Clone, PartialEq)]
pub enum Endpoints {
    /// Of a pool.
    Pool(Vec<RawEndpoint>),
    /// Of a backend.
    Backend(Vec<RawBackendEndpoint>),
}

impl Endpoints {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Pool(endpoints) => endpoints.len(),
            Self::Backend(endpoints) => endpoints.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The endpoints that a source has now. Looks only at the Pods of one namespace, or at the slices of the Services in
/// question.
pub fn endpoints(world: &World, source: &EndpointSource, options: &Options) -> Endpoints {
    match source {
        EndpointSource::Pool(key) => {
            let pool = world.pools.get(key).and_then(|pool| pool.spec.as_ref().ok());
            Endpoints::Pool(pool.map_or_else(Vec::new, |pool| of_pool(world, &key.namespace, pool)))
        }
        EndpointSource::Hosts(hosts) => {
            let mut found = BTreeSet::new();
            let all = hosts.iter().flat_map(|host| of_host(world, host, options));
            let endpoints = all.filter(|(host, port)| found.insert((host.clone(), *port)));
            Endpoints::Backend(
                endpoints.map(|(host, port)| RawBackendEndpoint { host, port, weight: 1 }).collect(),
            )
        }
    }
}

/// Each port of each Pod that is ready and not on its way out.
fn of_pool(world: &World, namespace: &str, pool: &InferencePool) -> Vec<RawEndpoint> {
    let wanted = &pool.selector.match_labels;
    // An empty selector would take in every Pod of the namespace; the schema does not let one through.
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut endpoints = Vec::new();
    let mut addresses = BTreeSet::new();
    for (key, pod) in world.pods.in_namespace(namespace) {
        let Ok(body) = &pod.spec else { continue };
        let labels = &pod.meta.labels;
        let is_member = wanted.iter().all(|(name, value)| labels.get(name) == Some(value));
        let (true, true, false, Some(ip)) = (is_member, body.is_ready, pod.meta.is_deleting, body.ip) else {
            continue;
        };
        for port in &pool.target_ports {
            let address = SocketAddr::new(ip, port.number);
            if port.number > 0 && addresses.insert(address) {
                endpoints.push(RawEndpoint {
                    address: Address(address),
                    name: Some(key.to_string()),
                    engine: engine(labels),
                    metrics_port: None,
                    labels: labels.clone(),
                });
            }
        }
    }
    endpoints
}

fn of_host(world: &World, source: &HostSource, options: &Options) -> Vec<(String, u16)> {
    match source {
        HostSource::Host { host, port } => vec![(host.clone(), *port)],
        HostSource::Service { service, port } => {
            of_service(world, service, *port).unwrap_or_else(|| match options.use_dns_without_slices {
                true => vec![(dns_name(service, options), *port)],
                false => Vec::new(),
            })
        }
    }
}

/// The ready addresses behind a Service's port; `None` if it has no slices.
fn of_service(world: &World, service: &Key, port: u16) -> Option<Vec<(String, u16)>> {
    let ports = world.services.get(service).and_then(|it| it.spec.as_ref().ok()).map(|it| &it.ports);
    let name = ports.and_then(|ports| ports.iter().find(|it| it.port == port)).map(|it| it.name.as_str());
    let mut has_slices = false;
    let mut addresses = BTreeSet::new();
    for slice in world.slices_of(service) {
        has_slices = true;
        let Ok(slice) = &slice.spec else { continue };
        let is_wanted = |port_name: &Option<String>| name == Some(port_name.as_deref().unwrap_or_default());
        let ports: Vec<u16> =
            slice.ports.iter().filter(|port| is_wanted(&port.name)).filter_map(|port| port.port).collect();
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready.unwrap_or(true));
        for address in ready.filter_map(|endpoint| endpoint.addresses.first()?.parse::<IpAddr>().ok()) {
            addresses.extend(ports.iter().filter(|port| **port > 0).map(|port| (address, *port)));
        }
    }
    has_slices.then(|| addresses.into_iter().map(|(address, port)| (address.to_string(), port)).collect())
}

/// A Service's DNS name.
fn dns_name(service: &Key, options: &Options) -> String {
    format!("{}.{}.svc.{}", service.name, service.namespace, options.cluster_domain)
}

/// The software that a Pod says it runs; `None` is the pool's.
fn engine(labels: &BTreeMap<String, String>) -> Option<Engine> {
    match ENGINE_LABELS.iter().find_map(|name| labels.get(*name))?.as_str() {
        "vllm" => Some(Engine::Vllm),
        "sglang" => Some(Engine::Sglang),
        "trtllm-serve" => Some(Engine::TrtllmServe),
        "triton" => Some(Engine::Triton),
        "triton-tensorrt-llm" => Some(Engine::TritonTensorrtLlm),
        _ => None,
    }
}
