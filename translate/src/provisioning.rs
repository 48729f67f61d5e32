//! How a data plane runs: what EnvoyProxy and the Gateway say about it.

use serde_json::{Map, Value};

use crate::api::{EnvoyDeployment, EnvoyPatch, EnvoyPod, EnvoyProxy, EnvoyService};
use crate::gateway::Gateway;
use crate::output::Provisioning;

/// How a Gateway's data plane runs.
pub(crate) fn provisioning(gateway: &Gateway<'_>) -> Provisioning {
    let mut provisioning = Provisioning { ports: gateway.ports(), ..Provisioning::default() };
    match &gateway.parameters {
        Ok(Some(parameters)) => {
            if let Ok(proxy) = &parameters.spec {
                read(proxy, &mut provisioning);
            }
        }
        Ok(None) => {}
        Err(message) => provisioning.unresolved = Some(message.clone()),
    }
    let spec = gateway.object.spec.as_ref().ok();
    if let Some(infrastructure) = spec.and_then(|spec| spec.infrastructure.as_ref()) {
        provisioning.labels.clone_from(&infrastructure.labels);
        provisioning.annotations.clone_from(&infrastructure.annotations);
    }
    provisioning
}

fn read(proxy: &EnvoyProxy, provisioning: &mut Provisioning) {
    provisioning.drain_timeout = proxy.shutdown.as_ref().and_then(|it| it.drain_timeout.clone());
    let Some(kubernetes) = proxy.provider.as_ref().and_then(|it| it.kubernetes.as_ref()) else { return };
    if let Some(deployment) = &kubernetes.envoy_deployment {
        read_deployment(deployment, provisioning);
    }
    if let Some(service) = &kubernetes.envoy_service {
        read_service(service, provisioning);
    }
    provisioning.autoscaler.clone_from(&kubernetes.envoy_hpa);
    if let Some(budget) = &kubernetes.envoy_pdb {
        provisioning.min_available.clone_from(&budget.min_available);
        provisioning.max_unavailable.clone_from(&budget.max_unavailable);
    }
}

fn read_deployment(deployment: &EnvoyDeployment, provisioning: &mut Provisioning) {
    provisioning.replicas = deployment.replicas;
    provisioning.resources = deployment.container.as_ref().and_then(|it| it.resources.clone());
    if let Some(pod) = &deployment.pod {
        provisioning.pod_annotations.clone_from(&pod.annotations);
        provisioning.pod_labels.clone_from(&pod.labels);
        provisioning.pod_spec = pod_spec(pod);
    }
}

fn pod_spec(pod: &EnvoyPod) -> Map<String, Value> {
    let mut spec = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            spec.insert(name.to_owned(), value);
        }
    };
    let list = |items: &[Value]| (!items.is_empty()).then(|| Value::from(items.to_vec()));
    let selector: Map<String, Value> =
        pod.node_selector.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    put("nodeSelector", (!selector.is_empty()).then_some(Value::Object(selector)));
    put("tolerations", list(&pod.tolerations));
    put("affinity", pod.affinity.clone());
    put("topologySpreadConstraints", list(&pod.topology_spread_constraints));
    put("imagePullSecrets", list(&pod.image_pull_secrets));
    put("priorityClassName", pod.priority_class_name.as_deref().map(Value::from));
    spec
}

fn read_service(service: &EnvoyService, provisioning: &mut Provisioning) {
    provisioning.service_type.clone_from(&service.kind);
    provisioning.service_annotations.clone_from(&service.annotations);
    provisioning.service_labels.clone_from(&service.labels);
    provisioning.external_traffic_policy.clone_from(&service.external_traffic_policy);
    provisioning.load_balancer_class.clone_from(&service.load_balancer_class);
    provisioning.load_balancer_ip.clone_from(&service.load_balancer_ip);
    provisioning.load_balancer_source_ranges.clone_from(&service.load_balancer_source_ranges);
    for port in &mut provisioning.ports {
        port.node_port = service.patch.as_ref().and_then(|patch| node_port(patch, port.port));
    }
}

/// The node port that a patch of the Service gives to a port. Envoy Gateway has no field of its own for it.
fn node_port(patch: &EnvoyPatch, port: u16) -> Option<u16> {
    let ports = patch.value.as_ref()?.pointer("/spec/ports")?.as_array()?;
    let of_port = ports.iter().find(|it| it.get("port").and_then(Value::as_u64) == Some(port.into()))?;
    of_port.get("nodePort")?.as_u64()?.try_into().ok()
}
