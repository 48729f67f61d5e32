//! The Deployment.

use std::collections::BTreeMap;

use penstock_translate::ADMIN_PORT;
use serde_json::{Value, json};

use super::{APP_NAME, Settings, network::envoy_labels, selector};
use crate::manifest::{MANAGED_BY, Manifest, OwnedKind};

/// Where the volume for the last good configuration is mounted.
const CACHE_DIR: &str = "/var/cache/penstock";

/// How long a Pod that is to end goes on accepting, so that load balancers and kube-proxy learn of it first, in seconds.
const ENDPOINT_LAG_SECONDS: u64 = 5;

/// What a Pod has on top of the drain before it is killed, in seconds.
const SPARE_SECONDS: u64 = 10;

/// The user that distroless images call nonroot.
const NONROOT: u32 = 65532;

/// The Deployment.
pub(super) fn deployment(settings: &Settings<'_>) -> Manifest {
    let Settings { owner, data_plane, provisioning } = settings;
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in data_plane.pod_labels.iter().chain(&owner.labels).chain(&provisioning.pod_labels) {
        labels.insert(name, value);
    }
    labels.extend(envoy_labels(owner));
    labels.extend([MANAGED_BY]);
    labels.extend(selector(owner));
    let mut annotations: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in
        data_plane.pod_annotations.iter().chain(&owner.annotations).chain(&provisioning.pod_annotations)
    {
        annotations.insert(name, value);
    }
    let match_labels: BTreeMap<&str, &str> = selector(owner).into_iter().collect();
    let mut spec = json!({
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 0 } },
        "selector": { "matchLabels": match_labels },
        "template": {
            "metadata": { "labels": labels, "annotations": annotations },
            "spec": pod(settings, &match_labels),
        },
    });
    // Else every write would undo what the autoscaler did.
    if settings.autoscaler_bounds().is_none() {
        spec["replicas"] = settings.replicas().into();
    }
    let mut object_labels = vec![("app.kubernetes.io/name", APP_NAME)];
    object_labels.extend(envoy_labels(owner));
    let body = Value::Object([("spec".to_owned(), spec)].into_iter().collect());
    Manifest::new(owner, OwnedKind::Deployment, &owner.names.base, &object_labels, &[], body)
}

fn pod(settings: &Settings<'_>, match_labels: &BTreeMap<&str, &str>) -> Value {
    let Settings { owner, data_plane, provisioning } = settings;
    let grace = settings.drain().as_secs() + ENDPOINT_LAG_SECONDS + SPARE_SECONDS;
    let spread = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": match_labels },
        })
    };
    let mut volumes =
        vec![json!({ "name": "cache", "emptyDir": { "sizeLimit": data_plane.cache_size_limit } })];
    volumes.extend(data_plane.extra_volumes.iter().cloned());
    let mut pod = json!({
        "serviceAccountName": owner.names.base,
        "terminationGracePeriodSeconds": grace,
        // The environment of a Pod has no use for every Service of its namespace.
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": NONROOT,
            "runAsGroup": NONROOT,
            "fsGroup": NONROOT,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": [spread("kubernetes.io/hostname"), spread("topology.kubernetes.io/zone")],
        "containers": [container(settings)],
        "volumes": volumes,
    });
    let mut set = |name: &str, is_given: bool, value: Value| {
        if is_given {
            pod[name] = value;
        }
    };
    set("nodeSelector", !data_plane.node_selector.is_empty(), json!(data_plane.node_selector));
    set("tolerations", !data_plane.tolerations.is_empty(), json!(data_plane.tolerations));
    set("affinity", !data_plane.affinity.is_empty(), json!(data_plane.affinity));
    set("imagePullSecrets", !data_plane.image_pull_secrets.is_empty(), json!(data_plane.image_pull_secrets));
    set(
        "priorityClassName",
        !data_plane.priority_class_name.is_empty(),
        json!(data_plane.priority_class_name),
    );
    for (name, value) in &provisioning.pod_spec {
        set(name, true, value.clone());
    }
    pod
}

fn container(settings: &Settings<'_>) -> Value {
    let Settings { owner, data_plane, provisioning } = settings;
    let mut args = vec![
        "serve".to_owned(),
        format!("--kubernetes={}", owner.names.base),
        format!("--cache-dir={CACHE_DIR}"),
        format!("--log-level={}", data_plane.log_level),
        format!("--log-format={}", data_plane.log_format),
    ];
    args.extend(data_plane.extra_args.iter().cloned());
    let mut ports: Vec<Value> = Vec::new();
    for port in &provisioning.ports {
        // Listeners may share a port, which a Pod names once.
        if ports.iter().all(|known| known["containerPort"] != port.container_port) {
            ports.push(json!({ "containerPort": port.container_port, "protocol": "TCP" }));
        }
    }
    ports.push(json!({ "name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP" }));
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": { "path": path, "port": "admin" },
            "periodSeconds": period,
            "timeoutSeconds": 2,
            "failureThreshold": failures,
        })
    };
    let mut env = vec![
        json!({ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }),
        json!({ "name": "POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } } }),
    ];
    env.extend(data_plane.extra_env.iter().cloned());
    let mut mounts = vec![json!({ "name": "cache", "mountPath": CACHE_DIR })];
    mounts.extend(data_plane.extra_volume_mounts.iter().cloned());
    json!({
        "name": "penstock",
        "image": data_plane.image,
        "imagePullPolicy": data_plane.image_pull_policy,
        "args": args,
        "env": env,
        "ports": ports,
        // The admin listener comes with the first configuration.
        "startupProbe": probe("/healthz", 1, 120),
        "livenessProbe": probe("/healthz", 10, 3),
        "readinessProbe": probe("/readyz", 2, 1),
        "lifecycle": { "preStop": { "sleep": { "seconds": ENDPOINT_LAG_SECONDS } } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "resources": provisioning.resources.clone().unwrap_or_else(|| data_plane.resources.clone()),
        "volumeMounts": mounts,
    })
}
