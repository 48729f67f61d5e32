//! Envoy Gateway: Backend and EnvoyProxy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Body, LocalRef, SecretRef};

/// `Backend`: addresses outside or inside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Backend {
    /// `Endpoints` if left out; `DynamicResolver` is not served.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The addresses.
    pub endpoints: Vec<BackendEndpoint>,
    /// What is spoken there, such as `gateway.envoyproxy.io/h2c`.
    pub app_protocols: Vec<String>,
    /// TLS towards it.
    pub tls: Option<BackendTls>,
}

/// One address: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendEndpoint {
    /// By name.
    pub fqdn: Option<BackendHost>,
    /// By IP address.
    pub ip: Option<BackendAddress>,
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendHost {
    /// The host.
    pub hostname: String,
    /// The port.
    #[schemars(range(min = 0, max = 65_535))]
    pub port: u16,
}

/// An IP address and a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendAddress {
    /// The address.
    pub address: String,
    /// The port.
    #[schemars(range(min = 0, max = 65_535))]
    pub port: u16,
}

/// TLS towards a `Backend`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTls {
    /// ConfigMaps or Secrets with `ca.crt`.
    pub ca_certificate_refs: Vec<LocalRef>,
    /// `System`: the authorities that the data plane's image has.
    #[serde(rename = "wellKnownCACertificates")]
    pub well_known_ca_certificates: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: Option<bool>,
    /// The name that is asked for and verified.
    pub sni: Option<String>,
    /// A Secret with the gateway's own certificate.
    pub client_certificate_ref: Option<SecretRef>,
}

/// `EnvoyProxy`: how a gateway's data plane runs. What concerns Envoy itself is not acted on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyProxy {
    /// Where it runs.
    pub provider: Option<EnvoyProvider>,
    /// How it stops.
    pub shutdown: Option<EnvoyShutdown>,
}

/// Where a data plane runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyProvider {
    /// `Kubernetes`, the only one that is served.
    #[serde(rename = "type")]
    pub kind: String,
    /// In a cluster.
    pub kubernetes: Option<EnvoyKubernetes>,
}

/// What is created in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyKubernetes {
    /// The Deployment.
    pub envoy_deployment: Option<EnvoyDeployment>,
    /// The Service.
    pub envoy_service: Option<EnvoyService>,
    /// The HorizontalPodAutoscaler.
    pub envoy_hpa: Option<EnvoyHpa>,
    /// The PodDisruptionBudget.
    #[serde(rename = "envoyPDB")]
    pub envoy_pdb: Option<EnvoyPdb>,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyDeployment {
    /// How many Pods.
    pub replicas: Option<u32>,
    /// The Pods.
    pub pod: Option<EnvoyPod>,
    /// The container.
    pub container: Option<EnvoyContainer>,
}

/// Pods.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyPod {
    /// Their annotations.
    pub annotations: BTreeMap<String, String>,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
    /// The nodes they may run on.
    pub node_selector: BTreeMap<String, String>,
    /// The taints they bear.
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub tolerations: Vec<Value>,
    /// Where they would rather run.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub affinity: Option<Value>,
    /// How they spread over nodes.
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub topology_spread_constraints: Vec<Value>,
    /// Secrets for pulling images.
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub image_pull_secrets: Vec<Value>,
    /// Their priority.
    pub priority_class_name: Option<String>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyContainer {
    /// What it needs: Kubernetes' ResourceRequirements.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub resources: Option<Value>,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyService {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `Local` or `Cluster`.
    pub external_traffic_policy: Option<String>,
    /// The class of load balancer.
    pub load_balancer_class: Option<String>,
    /// The address to ask a load balancer for.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Option<String>,
    /// Who may reach a load balancer.
    pub load_balancer_source_ranges: Vec<String>,
    /// Changes to the Service, of which node ports are read.
    pub patch: Option<EnvoyPatch>,
}

/// Changes to an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyPatch {
    /// `StrategicMerge` if left out, or `JSONMerge`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The change, of which `spec.ports[].nodePort` is read.
    pub value: Option<Value>,
}

/// A HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyHpa {
    /// The fewest Pods.
    pub min_replicas: Option<u32>,
    /// The most Pods.
    pub max_replicas: u32,
    /// What it follows: Kubernetes' MetricSpecs.
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub metrics: Vec<Value>,
    /// How fast it follows: Kubernetes' HorizontalPodAutoscalerBehavior.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub behavior: Option<Value>,
}

/// A PodDisruptionBudget.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyPdb {
    /// A number or a percentage.
    pub min_available: Option<Value>,
    /// A number or a percentage.
    pub max_unavailable: Option<Value>,
}

/// How a data plane stops.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyShutdown {
    /// The longest wait for requests in flight.
    pub drain_timeout: Option<String>,
}

impl BackendEndpoint {
    /// Its port.
    pub fn port(&self) -> Option<u16> {
        let by_name = self.fqdn.as_ref().map(|host| host.port);
        by_name.or_else(|| self.ip.as_ref().map(|address| address.port))
    }
}

impl Body for Backend {}
impl Body for EnvoyProxy {}
