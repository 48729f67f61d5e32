//! What a translation says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use penstock_config::raw::Document;
use serde_json::Value;

use crate::api::{EnvoyHpa, SecretValue};
use crate::status::StatusUpdate;
use crate::world::{Key, Kind, ObjectId, World};

/// What a cluster's objects mean.
#[derive(Debug, Clone, Default)]
pub struct Translation {
    /// The Gateways that are ours and accepted.
    pub gateways: BTreeMap<Key, GatewayOutput>,
    /// All Gateways that are ours, those that cannot be served now included: what runs for them is kept. What runs for
    /// others can go.
    pub owned: BTreeSet<Key>,
    /// What the statuses of objects shall say. Each object once, by kind and name.
    pub statuses: Vec<StatusUpdate>,
    /// What people should know. The same from one translation to the next as long as nothing changes, so whoever sends
    /// them compares with those sent before.
    pub events: Vec<Event>,
    /// The Secrets and ConfigMaps that were asked for, whether they were there or not: nothing else of these kinds need
    /// be in the [`World`](crate::world::World).
    pub wanted: BTreeSet<ObjectId>,
}

/// What one Gateway's data plane serves and needs.
#[derive(Debug, Clone)]
pub struct GatewayOutput {
    /// The controller name of its class, for statuses that others share.
    pub controller_name: String,
    /// The routing document, which [`Snapshot::compile`](penstock_config::Snapshot::compile) accepts. `endpointsFrom` of
    /// what is in `endpoints` is its own name, and `secretsFrom` is `secrets` where `secrets` below is not empty: whoever
    /// publishes it puts in the real ones, and a generation and the number of replicas.
    pub document: Document,
    /// Where the endpoints of the document's pools and backends come from, by their names in the document. Those that
    /// are not here have all their endpoints in the document.
    pub endpoints: BTreeMap<String, EndpointSource>,
    /// What the document names as `secret:KEY`, by `KEY`.
    pub secrets: BTreeMap<String, DataSource>,
    /// The BackendSecurityPolicies whose credentials the document's pools and backends are shown, by the names that these
    /// have there.
    pub policies: BTreeMap<String, Key>,
    /// How the data plane runs.
    pub provisioning: Provisioning,
}

/// Where the endpoints of a pool or backend come from. [`endpoints`](crate::endpoints()) looks them up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointSource {
    /// The Pods of an InferencePool.
    Pool(Key),
    /// Hosts and Services, for a backend.
    Hosts(Vec<HostSource>),
}

/// A part of a backend's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostSource {
    /// A fixed host.
    Host {
        /// An IP address or a DNS name.
        host: String,
        /// The port.
        port: u16,
    },
    /// The ready endpoints of a Service.
    Service {
        /// The Service.
        service: Key,
        /// The Service's port.
        port: u16,
    },
}

/// Where a value for the data plane comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSource {
    /// A Secret or a ConfigMap has it.
    Object {
        /// Which.
        object: ObjectId,
        /// The key in it.
        key: String,
    },
    /// It was made.
    Made(Made),
}

/// A value that was made of what objects have. It may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    text: SecretValue,
    of: String,
}

/// How a Gateway's data plane runs: what EnvoyProxy and the Gateway say, with nothing filled in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provisioning {
    /// Why the settings that the Gateway or its class refers to are not known, if so. A data plane that runs is left as
    /// it is then, and a new one waits.
    pub unresolved: Option<String>,
    /// The ports that clients connect to.
    pub ports: Vec<PortMapping>,
    /// How many Pods.
    pub replicas: Option<u32>,
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    pub service_type: Option<String>,
    /// Annotations of the Service.
    pub service_annotations: BTreeMap<String, String>,
    /// Labels of the Service.
    pub service_labels: BTreeMap<String, String>,
    /// `Local` or `Cluster`.
    pub external_traffic_policy: Option<String>,
    /// The class of load balancer.
    pub load_balancer_class: Option<String>,
    /// The address to ask a load balancer for.
    pub load_balancer_ip: Option<String>,
    /// Who may reach a load balancer.
    pub load_balancer_source_ranges: Vec<String>,
    /// Annotations of the Pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// Labels of the Pods.
    pub pod_labels: BTreeMap<String, String>,
    /// What goes into the Pods' spec as it is: `nodeSelector`, `tolerations`, `affinity`, `topologySpreadConstraints`,
    /// `imagePullSecrets`, `priorityClassName`.
    pub pod_spec: serde_json::Map<String, Value>,
    /// The container's ResourceRequirements.
    pub resources: Option<Value>,
    /// The autoscaler.
    pub autoscaler: Option<EnvoyHpa>,
    /// `minAvailable` of the PodDisruptionBudget.
    pub min_available: Option<Value>,
    /// `maxUnavailable` of the PodDisruptionBudget.
    pub max_unavailable: Option<Value>,
    /// The longest wait for requests in flight when a Pod stops, as EnvoyProxy has it (`30s`).
    pub drain_timeout: Option<String>,
    /// Labels of everything that is created (`spec.infrastructure.labels`).
    pub labels: BTreeMap<String, String>,
    /// Annotations of everything that is created (`spec.infrastructure.annotations`).
    pub annotations: BTreeMap<String, String>,
}

/// A port that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMapping {
    /// Its name in the Service and the document: `http-80`.
    pub name: String,
    /// The listener's port.
    pub port: u16,
    /// The port in the container, which a process without privileges can have.
    pub container_port: u16,
    /// The port on the nodes, where EnvoyProxy names one.
    pub node_port: Option<u16>,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// What it is about.
    pub object: ObjectId,
    /// How bad it is.
    pub severity: Severity,
    /// In one word, such as `EndpointPickerConfigFound`.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Normal,
    /// Something is wrong.
    Warning,
}

impl DataSource {
    /// The value, where it is there.
    pub fn value(&self, world: &World) -> Option<Arc<[u8]>> {
        match self {
            Self::Made(made) => Some(made.text.shared()),
            Self::Object { object, key } if object.kind == Kind::Secret => {
                let secret = world.secrets.get(&object.key)?.spec.as_ref().ok()?;
                secret.data.get(key).map(SecretValue::shared)
            }
            Self::Object { object, key } => {
                let map = world.config_maps.get(&object.key)?.spec.as_ref().ok()?;
                map.data.get(key).map(|text| text.as_bytes().into())
            }
        }
    }
}

/// Where it comes from, in words.
impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { object, key } => write!(f, "{key} of {object}"),
            Self::Made(made) => f.write_str(&made.of),
        }
    }
}

impl Made {
    /// A text, and in words what it is made of.
    pub(crate) fn new(text: String, of: String) -> Self {
        Self { text: text.into(), of }
    }

    /// How long it is.
    pub(crate) fn bytes(&self) -> usize {
        self.text.expose().len()
    }
}

impl PortMapping {
    /// The port in the container for a listener's port: itself, or 10,000 more where only root could have it.
    pub fn container_port(port: u16) -> u16 {
        const FIRST_UNPRIVILEGED: u16 = 1024;
        if port < FIRST_UNPRIVILEGED { port + 10_000 } else { port }
    }
}
