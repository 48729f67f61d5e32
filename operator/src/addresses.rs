//! The addresses at which a Gateway is reached: those of its Service, or of the nodes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{
    Api, Client,
    api::ListParams,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use parking_lot::Mutex;
use penstock_apiserver::patience;
use penstock_translate::world::Key;
use serde_json::{Value, json};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use tracing::warn;

use crate::manifest::{MANAGED_BY, Names};

/// The most addresses that a Gateway's status has room for.
const MAX_ADDRESSES: usize = 16;

/// How long what is known of nodes holds. They are asked for only where a Service is of type NodePort.
const NODES_HOLD: Duration = Duration::from_secs(60);

/// Follows the Services of our Gateways, as long as it lives.
pub struct Addresses {
    client: Client,
    services: Arc<Mutex<BTreeMap<Key, Service>>>,
    nodes: Option<(Instant, Vec<String>)>,
    task: JoinHandle<()>,
}

impl Addresses {
    /// Starts to follow. `changed` is told of each change.
    pub fn start(client: Client, changed: Arc<Notify>) -> Self {
        let services = Arc::default();
        let task = tokio::spawn(follow(client.clone(), Arc::clone(&services), changed));
        Self { client, services, nodes: None, task }
    }

    /// `status.addresses` of a Gateway.
    pub async fn of(&mut self, gateway: &Key) -> Vec<Value> {
        let names = Names::of(gateway);
        let service = self.services.lock().get(&Key::new(names.namespace, names.base)).cloned();
        let Some(service) = service else { return Vec::new() };
        let is_node_port = service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("NodePort");
        let nodes = if is_node_port { self.nodes().await } else { Vec::new() };
        addresses(&service, &nodes)
    }

    async fn nodes(&mut self) -> Vec<String> {
        if let Some((since, nodes)) = &self.nodes
            && since.elapsed() < NODES_HOLD
        {
            return nodes.clone();
        }
        let api: Api<Node> = Api::all(self.client.clone());
        // As the API server remembers them: not worth a quorum read.
        let listed = api.list(&ListParams::default().match_any().limit(500)).await;
        let nodes = match listed {
            Ok(nodes) => nodes.items.iter().filter_map(node_address).take(MAX_ADDRESSES).collect(),
            Err(error) => {
                warn!(%error, "the nodes' addresses are not known");
                self.nodes.take().map(|(_, nodes)| nodes).unwrap_or_default()
            }
        };
        self.nodes = Some((Instant::now(), nodes));
        self.nodes.as_ref().map(|(_, nodes)| nodes.clone()).unwrap_or_default()
    }
}

impl Drop for Addresses {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(client: Client, services: Arc<Mutex<BTreeMap<Key, Service>>>, changed: Arc<Notify>) {
    let api: Api<Service> = Api::all(client);
    let config = Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let stream = watcher(api, config).backoff(patience());
    let mut stream = std::pin::pin!(stream);
    let mut listed = BTreeMap::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(service)) => drop(listed.insert(key(&service), stripped(service))),
            Ok(Event::InitDone) => *services.lock() = std::mem::take(&mut listed),
            Ok(Event::Apply(service)) => drop(services.lock().insert(key(&service), stripped(service))),
            Ok(Event::Delete(service)) => drop(services.lock().remove(&key(&service))),
            Err(error) => {
                warn!(%error, "the watch of Gateways' Services broke and goes on");
                continue;
            }
        }
        changed.notify_one();
    }
}

fn stripped(mut service: Service) -> Service {
    service.metadata = kube::api::ObjectMeta::default();
    service
}

fn key(service: &Service) -> Key {
    let metadata = &service.metadata;
    Key::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// The addresses of a Service: its load balancer's, else the nodes' for NodePort, else its own.
fn addresses(service: &Service, nodes: &[String]) -> Vec<Value> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let ingress =
        service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    let balanced: Vec<Value> = ingress
        .filter_map(|ingress| match (&ingress.ip, &ingress.hostname) {
            (Some(ip), _) => Some(address("IPAddress", ip)),
            (None, Some(host)) => Some(address("Hostname", host)),
            (None, None) => None,
        })
        .collect();
    let own = || {
        let ips = spec.cluster_ips.iter().flatten().filter(|ip| *ip != "None");
        ips.map(|ip| address("IPAddress", ip)).collect()
    };
    let mut found: Vec<Value> = match spec.type_.as_deref() {
        _ if !balanced.is_empty() => balanced,
        Some("NodePort") if !nodes.is_empty() => {
            nodes.iter().map(|node| address("IPAddress", node)).collect()
        }
        _ => own(),
    };
    found.truncate(MAX_ADDRESSES);
    found
}

fn address(kind: &str, value: &str) -> Value {
    json!({ "type": kind, "value": value })
}

/// A node's address for those outside, else the one within.
fn node_address(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let of = |kind: &str| addresses.iter().find(|address| address.type_ == kind);
    of("ExternalIP").or_else(|| of("InternalIP")).map(|address| address.address.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(kind: &str, ingress: &Value) -> Service {
        serde_json::from_value(json!({
            "spec": { "type": kind, "clusterIPs": ["10.96.0.7"] },
            "status": { "loadBalancer": { "ingress": ingress } },
        }))
        .unwrap()
    }

    #[test]
    fn a_gateway_is_where_its_service_is() {
        let nodes = ["192.0.2.1".to_owned()];
        let balanced =
            service("LoadBalancer", &json!([{ "ip": "198.51.100.1" }, { "hostname": "lb.example.com" }]));
        let expected = [address("IPAddress", "198.51.100.1"), address("Hostname", "lb.example.com")];
        assert_eq!(addresses(&balanced, &nodes), expected);
        let waiting = service("LoadBalancer", &json!([]));
        assert_eq!(addresses(&waiting, &nodes), [address("IPAddress", "10.96.0.7")]);
        assert_eq!(addresses(&service("NodePort", &json!([])), &nodes), [address("IPAddress", "192.0.2.1")]);
        assert_eq!(addresses(&service("NodePort", &json!([])), &[]), [address("IPAddress", "10.96.0.7")]);
    }
}
