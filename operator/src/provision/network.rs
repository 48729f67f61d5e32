//! How clients reach a data plane.

use std::collections::BTreeMap;

use penstock_translate::ADMIN_PORT;
use serde_json::{Map, Value, json};

use super::{Settings, selector};
use crate::manifest::{MANAGED_BY, Manifest, OwnedKind, Owner};

/// The Service.
pub(super) fn service(settings: &Settings<'_>) -> Manifest {
    let Settings { owner, data_plane, provisioning } = settings;
    let kind = provisioning.service_type.as_deref().unwrap_or(&data_plane.service.kind);
    let is_external = matches!(kind, "LoadBalancer" | "NodePort");
    let ports: Vec<Value> = provisioning
        .ports
        .iter()
        .map(|port| {
            let mut entry = json!({
                "name": port.name,
                "protocol": "TCP",
                "port": port.port,
                "targetPort": port.container_port,
            });
            if let (Some(node_port), true) = (port.node_port, is_external) {
                entry["nodePort"] = node_port.into();
            }
            entry
        })
        .collect();
    let mut spec = Map::new();
    spec.insert("type".to_owned(), kind.into());
    spec.insert("selector".to_owned(), selector(owner).into_iter().collect::<BTreeMap<_, _>>().into_value());
    spec.insert("ports".to_owned(), ports.into());
    if is_external {
        let policy = provisioning.external_traffic_policy.as_deref();
        let policy = policy.unwrap_or(&data_plane.service.external_traffic_policy);
        spec.insert("externalTrafficPolicy".to_owned(), policy.into());
    }
    if kind == "LoadBalancer" {
        let class =
            provisioning.load_balancer_class.as_deref().unwrap_or(&data_plane.service.load_balancer_class);
        if !class.is_empty() {
            spec.insert("loadBalancerClass".to_owned(), class.into());
        }
        if let Some(ip) = &provisioning.load_balancer_ip {
            spec.insert("loadBalancerIP".to_owned(), ip.as_str().into());
        }
        if !provisioning.load_balancer_source_ranges.is_empty() {
            let ranges = provisioning.load_balancer_source_ranges.clone();
            spec.insert("loadBalancerSourceRanges".to_owned(), ranges.into());
        }
    }
    let mut labels: Vec<(&str, &str)> =
        provisioning.service_labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    labels.push(("app.kubernetes.io/name", super::APP_NAME));
    labels.extend(envoy_labels(owner));
    let mut annotations = data_plane.service.annotations.clone();
    annotations.extend(provisioning.service_annotations.clone());
    let annotations: Vec<(&str, &str)> =
        annotations.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let body = json!({ "spec": spec });
    Manifest::new(owner, OwnedKind::Service, &owner.names.base, &labels, &annotations, body)
}

/// The labels by which Envoy Gateway's users find the Service and the Pods of a Gateway.
pub(super) fn envoy_labels(owner: &Owner) -> [(&'static str, &str); 2] {
    [
        ("gateway.envoyproxy.io/owning-gateway-name", &owner.names.label),
        ("gateway.envoyproxy.io/owning-gateway-namespace", &owner.gateway.namespace),
    ]
}

/// The NetworkPolicy, where it is asked for: listeners from everywhere, the admin port for the operator and monitoring.
pub(super) fn policy(settings: &Settings<'_>) -> Option<Manifest> {
    let Settings { owner, data_plane, provisioning } = settings;
    let policy = &data_plane.network_policy;
    if !policy.enabled {
        return None;
    }
    let listeners: Vec<Value> = provisioning
        .ports
        .iter()
        .map(|port| json!({ "protocol": "TCP", "port": port.container_port }))
        .collect();
    let mut readers = vec![json!({
        "namespaceSelector": {},
        "podSelector": { "matchLabels": { "app.kubernetes.io/name": MANAGED_BY.1 } },
    })];
    if !policy.monitoring_namespace_labels.is_empty() {
        readers.push(json!({ "namespaceSelector": { "matchLabels": policy.monitoring_namespace_labels } }));
    }
    let body = json!({
        "spec": {
            "podSelector": { "matchLabels": selector(owner).into_iter().collect::<BTreeMap<_, _>>() },
            "policyTypes": ["Ingress"],
            "ingress": [
                { "ports": listeners },
                { "from": readers, "ports": [{ "protocol": "TCP", "port": ADMIN_PORT }] },
            ],
        },
    });
    Some(Manifest::new(owner, OwnedKind::NetworkPolicy, &owner.names.base, &[], &[], body))
}

/// A map of texts as JSON.
trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for BTreeMap<&str, &str> {
    fn into_value(self) -> Value {
        Value::Object(self.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}
