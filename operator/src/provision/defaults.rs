//! What every Gateway's data plane is like unless it says otherwise: the chart's `dataPlane`.

use std::{collections::BTreeMap, io, path::Path};

use penstock_config::DebugAccess;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What holds for all data planes. Written by the chart; `values.yaml` documents the fields.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DataPlane {
    /// The image.
    pub image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// Secrets with which nodes pull it.
    pub image_pull_secrets: Vec<Value>,
    /// Pods of each Gateway.
    pub replicas: u32,
    /// The container's ResourceRequirements.
    pub resources: Value,
    /// The Service.
    pub service: ServiceDefaults,
    /// How long requests in flight may go on when a Pod ends, in seconds.
    pub drain_seconds: u64,
    /// The PodDisruptionBudget.
    pub pod_disruption_budget: BudgetDefaults,
    /// The HorizontalPodAutoscaler.
    pub autoscaling: AutoscalingDefaults,
    /// The NetworkPolicy.
    pub network_policy: NetworkPolicyDefaults,
    /// The admin listener.
    pub admin: AdminDefaults,
    /// Size limit of the volume for the last good configuration.
    pub cache_size_limit: String,
    /// `--log-level` of `penstock serve`.
    pub log_level: String,
    /// `--log-format` of `penstock serve`.
    pub log_format: String,
    /// More arguments of `penstock serve`.
    pub extra_args: Vec<String>,
    /// More environment variables.
    pub extra_env: Vec<Value>,
    /// More volumes of the Pods.
    pub extra_volumes: Vec<Value>,
    /// Where the container has them.
    pub extra_volume_mounts: Vec<Value>,
    /// Who the Pods are.
    pub service_account: ServiceAccountDefaults,
    /// Annotations of the Pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// Labels of the Pods.
    pub pod_labels: BTreeMap<String, String>,
    /// The nodes they may run on.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that they tolerate.
    pub tolerations: Vec<Value>,
    /// Where they had better run.
    pub affinity: Map<String, Value>,
    /// Their priority.
    pub priority_class_name: String,
}

/// The Service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceDefaults {
    /// `LoadBalancer`, `NodePort` or `ClusterIP`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `Cluster` or `Local`.
    pub external_traffic_policy: String,
    /// The class of load balancer; empty for the cluster's own.
    pub load_balancer_class: String,
}

/// The ServiceAccount.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceAccountDefaults {
    /// Its annotations, by which clouds know whom they let in.
    pub annotations: BTreeMap<String, String>,
}

/// The PodDisruptionBudget.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BudgetDefaults {
    /// Whether there is one.
    pub enabled: bool,
    /// Pods that may be away at a time: a number or a percentage.
    pub max_unavailable: Value,
}

/// The HorizontalPodAutoscaler.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AutoscalingDefaults {
    /// Whether there is one.
    pub enabled: bool,
    /// The fewest Pods.
    pub min_replicas: u32,
    /// The most Pods.
    pub max_replicas: u32,
    /// Percent of the requested CPU.
    #[serde(rename = "targetCPUUtilization")]
    pub target_cpu_utilization: u32,
}

/// The NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkPolicyDefaults {
    /// Whether there is one.
    pub enabled: bool,
    /// Labels of namespaces that may read metrics.
    pub monitoring_namespace_labels: BTreeMap<String, String>,
}

/// The admin listener, as the routing document has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AdminDefaults {
    /// Who is answered on the debug pages: `local` or `anyone`.
    pub debug: DebugAccess,
}

/// Why the defaults cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DefaultsError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what the chart writes.
    #[error("{path}: {reason}")]
    Parse {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

impl DataPlane {
    /// Reads what the chart wrote.
    ///
    /// # Errors
    /// The file cannot be read, or has fields that do not exist.
    pub fn read(path: &Path) -> Result<Self, DefaultsError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| DefaultsError::Read { path: name.clone(), source })?;
        serde_saphyr::from_str(&text)
            .map_err(|error| DefaultsError::Parse { path: name, reason: error.to_string() })
    }
}

impl Default for DataPlane {
    fn default() -> Self {
        Self {
            image: format!("penstock:{}", env!("CARGO_PKG_VERSION")),
            image_pull_policy: "IfNotPresent".to_owned(),
            image_pull_secrets: Vec::new(),
            replicas: 2,
            resources: Value::Object(Map::new()),
            service: ServiceDefaults::default(),
            drain_seconds: 60,
            pod_disruption_budget: BudgetDefaults::default(),
            autoscaling: AutoscalingDefaults::default(),
            network_policy: NetworkPolicyDefaults::default(),
            admin: AdminDefaults::default(),
            cache_size_limit: "64Mi".to_owned(),
            log_level: "info".to_owned(),
            log_format: "json".to_owned(),
            extra_args: Vec::new(),
            extra_env: Vec::new(),
            extra_volumes: Vec::new(),
            extra_volume_mounts: Vec::new(),
            service_account: ServiceAccountDefaults::default(),
            pod_annotations: BTreeMap::new(),
            pod_labels: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: Map::new(),
            priority_class_name: String::new(),
        }
    }
}

impl Default for ServiceDefaults {
    fn default() -> Self {
        Self {
            kind: "LoadBalancer".to_owned(),
            annotations: BTreeMap::new(),
            external_traffic_policy: "Cluster".to_owned(),
            load_balancer_class: String::new(),
        }
    }
}

impl Default for BudgetDefaults {
    fn default() -> Self {
        Self { enabled: true, max_unavailable: 1.into() }
    }
}

impl Default for AutoscalingDefaults {
    fn default() -> Self {
        Self { enabled: false, min_replicas: 2, max_replicas: 10, target_cpu_utilization: 70 }
    }
}
