//! Gateway API: classes, gateways and listeners.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Body, LocalRef, ObjectRef, SecretRef};

/// `GatewayClass`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClass {
    /// Whose gateways of this class are.
    pub controller_name: String,
    /// Settings: an `EnvoyProxy`.
    pub parameters_ref: Option<ObjectRef>,
    /// Words for people.
    pub description: Option<String>,
}

/// `Gateway`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Its class.
    pub gateway_class_name: String,
    /// Where clients connect to.
    pub listeners: Vec<GatewayListener>,
    /// What its Deployment and Service carry.
    pub infrastructure: Option<Infrastructure>,
    /// The addresses that it asks for. Any will do where an entry has no value; those with one are not acted on.
    pub addresses: Vec<GatewayAddress>,
    /// TLS of all its listeners.
    pub tls: Option<GatewayWideTls>,
}

/// TLS of all listeners of a gateway that have it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayWideTls {
    /// Towards clients.
    pub frontend: Option<FrontendTls>,
}

/// What clients have to show of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendTls {
    /// At all ports but those of `per_port`.
    pub default: FrontendSettings,
    /// At single ports.
    pub per_port: Vec<FrontendPort>,
}

/// What clients have to show of themselves at a port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendPort {
    /// The port.
    pub port: u16,
    /// What they have to show.
    pub tls: FrontendSettings,
}

/// What clients have to show of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendSettings {
    /// A certificate; nothing if left out.
    pub validation: Option<FrontendValidation>,
}

/// A certificate that clients have to show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendValidation {
    /// ConfigMaps or Secrets with `ca.crt`.
    pub ca_certificate_refs: Vec<SecretRef>,
    /// `AllowValidOnly` (if left out) or `AllowInsecureFallback`.
    pub mode: Option<String>,
}

/// An address that a gateway asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayAddress {
    /// `IPAddress` or `Hostname`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// `ListenerSet`: listeners that somebody else adds to a gateway. They are not served.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerSet {
    /// The gateway.
    pub parent_ref: ObjectRef,
}

/// What a gateway's Deployment and Service carry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Infrastructure {
    /// Labels of everything that is created.
    pub labels: BTreeMap<String, String>,
    /// Annotations of everything that is created.
    pub annotations: BTreeMap<String, String>,
    /// Settings: an `EnvoyProxy` of the gateway's namespace.
    pub parameters_ref: Option<LocalRef>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayListener {
    /// Its name, unique in the gateway.
    pub name: String,
    /// The hosts it is for; all if left out.
    pub hostname: Option<String>,
    /// The port.
    pub port: u16,
    /// `HTTP` or `HTTPS`; nothing else is served.
    pub protocol: String,
    /// TLS, with `HTTPS`.
    pub tls: Option<GatewayTls>,
    /// Which routes may attach.
    pub allowed_routes: Option<AllowedRoutes>,
}

/// TLS of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayTls {
    /// `Terminate` if left out, the only mode that is served.
    pub mode: Option<String>,
    /// Secrets with `tls.crt` and `tls.key`.
    pub certificate_refs: Vec<SecretRef>,
}

/// Which routes may attach to a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedRoutes {
    /// Of which namespaces.
    pub namespaces: Option<RouteNamespaces>,
    /// Of which kinds; those that the protocol has if empty.
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces whose routes may attach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteNamespaces {
    /// `Same` if left out, `All`, `Selector` or `None`.
    pub from: Option<String>,
    /// By their labels, with `Selector`.
    pub selector: Option<LabelSelector>,
}

/// A kind of route.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteGroupKind {
    /// `gateway.networking.k8s.io` if left out.
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
}

/// Kubernetes' choice of objects by label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that an object must have.
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    pub match_expressions: Vec<LabelRequirement>,
}

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// The values, for `In` and `NotIn`.
    pub values: Vec<String>,
}

impl Body for GatewayClass {}
impl Body for Gateway {}
impl Body for ListenerSet {}

impl LabelSelector {
    /// Whether labels meet all conditions. An unknown operator is met by nothing.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has_labels = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        has_labels && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl LabelRequirement {
    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}
