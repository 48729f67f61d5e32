//! How many Pods there are, and how many may be away.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Settings, selector};
use crate::manifest::{Manifest, OwnedKind};

/// The PodDisruptionBudget; none for a single Pod, which would then never leave its node.
pub(super) fn pod_disruption_budget(settings: &Settings<'_>) -> Option<Manifest> {
    let Settings { owner, data_plane, provisioning } = settings;
    let mut spec = Map::new();
    if let Some(min) = &provisioning.min_available {
        spec.insert("minAvailable".to_owned(), min.clone());
    } else if let Some(max) = &provisioning.max_unavailable {
        spec.insert("maxUnavailable".to_owned(), max.clone());
    } else if data_plane.pod_disruption_budget.enabled && settings.expected_replicas() > 1 {
        spec.insert("maxUnavailable".to_owned(), data_plane.pod_disruption_budget.max_unavailable.clone());
    } else {
        return None;
    }
    spec.insert(
        "selector".to_owned(),
        json!({ "matchLabels": selector(owner).into_iter().collect::<BTreeMap<_, _>>() }),
    );
    let body = json!({ "spec": spec });
    Some(Manifest::new(owner, OwnedKind::PodDisruptionBudget, &owner.names.base, &[], &[], body))
}

/// The HorizontalPodAutoscaler, where one is asked for.
pub(super) fn autoscaler(settings: &Settings<'_>) -> Option<Manifest> {
    let Settings { owner, data_plane, provisioning } = settings;
    let (min, max) = settings.autoscaler_bounds()?;
    let own = provisioning.autoscaler.as_ref();
    let metrics = own.map(|hpa| hpa.metrics.clone()).filter(|metrics| !metrics.is_empty());
    let cpu = || {
        let target = json!({
            "type": "Utilization",
            "averageUtilization": data_plane.autoscaling.target_cpu_utilization,
        });
        vec![json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } })]
    };
    let mut spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": owner.names.base },
        "minReplicas": min,
        "maxReplicas": max.max(min),
        "metrics": metrics.unwrap_or_else(cpu),
    });
    if let Some(behavior) = own.and_then(|hpa| hpa.behavior.clone()) {
        spec["behavior"] = behavior;
    }
    let body = Value::Object(Map::from_iter([("spec".to_owned(), spec)]));
    Some(Manifest::new(owner, OwnedKind::HorizontalPodAutoscaler, &owner.names.base, &[], &[], body))
}
