//! Kubernetes' own kinds, as far as they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Body, Part};

/// `Pod`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// Its address; `None` until it has one.
    pub ip: Option<IpAddr>,
    /// Whether its condition `Ready` holds.
    pub is_ready: bool,
}

/// `Service`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which Pods serve it.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name; empty if the Service has only one.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// What is spoken there.
    pub app_protocol: Option<String>,
}

/// `EndpointSlice`: some of the addresses behind a Service, which the label `kubernetes.io/service-name` names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// The addresses.
    pub endpoints: Vec<SliceEndpoint>,
    /// The ports that all of them have.
    pub ports: Vec<SlicePort>,
}

/// An address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceEndpoint {
    /// Its addresses, of which the first counts.
    pub addresses: Vec<String>,
    /// Its state.
    pub conditions: SliceConditions,
}

/// The state of an address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceConditions {
    /// Whether it takes requests. Left out, it does.
    pub ready: Option<bool>,
}

/// A port of addresses behind a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlicePort {
    /// The name of the Service's port.
    pub name: Option<String>,
    /// The number on the Pods.
    pub port: Option<u16>,
}

/// `Deployment`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    /// How many Pods; 1 if left out.
    pub replicas: Option<u32>,
    /// What its Pods look like.
    pub template: PodTemplate,
}

/// What Pods look like.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Their metadata.
    pub metadata: TemplateMeta,
    /// Their insides.
    pub spec: TemplateSpec,
}

/// Metadata of Pods to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateMeta {
    /// Their labels.
    pub labels: BTreeMap<String, String>,
}

/// Insides of Pods to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TemplateSpec {
    /// Their containers.
    pub containers: Vec<Container>,
    /// Their volumes.
    pub volumes: Vec<Volume>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its command.
    pub command: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is mounted where.
    pub volume_mounts: Vec<VolumeMount>,
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// The volume.
    pub name: String,
    /// Where.
    pub mount_path: String,
    /// Which part of it; all if empty.
    pub sub_path: String,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Made of a ConfigMap.
    pub config_map: Option<ConfigMapVolume>,
}

/// A volume made of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapVolume {
    /// The ConfigMap.
    pub name: String,
    /// Which keys become which files; all under their own names if empty.
    pub items: Vec<KeyToPath>,
}

/// A key that becomes a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyToPath {
    /// The key.
    pub key: String,
    /// The file.
    pub path: String,
}

/// `ConfigMap`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Its texts.
    pub data: BTreeMap<String, String>,
}

/// `Secret`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secret {
    /// Its values.
    pub data: BTreeMap<String, SecretValue>,
}

/// A value that no log and no debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(Arc<[u8]>);

/// `Namespace`, of which only the labels are read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Namespace {}

impl SecretValue {
    /// The value itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value itself, for whoever keeps it.
    pub(crate) fn shared(&self) -> Arc<[u8]> {
        Arc::clone(&self.0)
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Body for Pod {
    const PART: Part = Part::Whole;
}

impl Body for Service {}

impl Body for EndpointSlice {
    const PART: Part = Part::Whole;
}

impl Body for Deployment {}

impl Body for ConfigMap {
    const PART: Part = Part::Whole;
}

impl Body for Secret {
    const PART: Part = Part::Whole;
}

impl Body for Namespace {}

/// Reads a Pod's address and readiness.
impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pod = RawPod::deserialize(deserializer)?;
        let is_ready = pod.status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True");
        Ok(Self { ip: pod.status.pod_ip.parse().ok(), is_ready })
    }
}

/// Reads both forms of a Secret's values, `stringData` over `data` as the API server has it.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawSecret::deserialize(deserializer)?;
        let value = |bytes: Vec<u8>| SecretValue(bytes.into());
        let text = |value: &Value| STANDARD.decode(value.as_str()?).ok();
        let mut data: BTreeMap<String, SecretValue> =
            raw.data.iter().filter_map(|(key, encoded)| Some((key.clone(), value(text(encoded)?)))).collect();
        data.extend(raw.string_data.into_iter().map(|(key, text)| (key, value(text.into_bytes()))));
        Ok(Self { data })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPod {
    status: RawPodStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPodStatus {
    #[serde(rename = "podIP")]
    pod_ip: String,
    conditions: Vec<RawPodCondition>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawPodCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawSecret {
    data: BTreeMap<String, Value>,
    string_data: BTreeMap<String, String>,
}
