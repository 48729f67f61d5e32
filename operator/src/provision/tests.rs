use std::{collections::BTreeMap, path::Path};

use penstock_translate::{PortMapping, api::EnvoyHpa, world::Key};
use serde_json::{Value, json};

use super::*;
use crate::manifest::{Names, OwnedKind};

fn owner() -> Owner {
    let gateway = Key::new("default", "llm");
    Owner {
        names: Names::of(&gateway),
        gateway,
        uid: "7f3c".to_owned(),
        api_version: "gateway.networking.k8s.io/v1".to_owned(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

fn provisioning() -> Provisioning {
    let port = |port, node_port| PortMapping {
        name: format!("http-{port}"),
        port,
        container_port: PortMapping::container_port(port),
        node_port,
    };
    Provisioning { ports: vec![port(80, Some(30080)), port(8080, None)], ..Provisioning::default() }
}

fn all(owner: &Owner, data_plane: &DataPlane, provisioning: &Provisioning) -> Vec<Manifest> {
    let settings = Settings { owner, data_plane, provisioning };
    let mut all = settings.access();
    all.push(role(owner, &[owner.names.routing(0), owner.names.endpoints("default.llama", 0)]));
    all.extend(settings.workload());
    all
}

fn find(manifests: &[Manifest], kind: OwnedKind) -> Option<&Value> {
    manifests.iter().find(|manifest| manifest.key.kind == kind).map(|manifest| &manifest.body)
}

#[test]
fn the_charts_values_are_what_the_operator_reads() {
    let values = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/penstock/values.yaml");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(values).unwrap()).unwrap();
    let mut values = values["dataPlane"].clone();
    // As the chart's template does it.
    values["image"] = "penstock:0.1.0".into();
    values["imagePullPolicy"] = "IfNotPresent".into();
    let read: DataPlane = serde_json::from_value(values).unwrap();
    // Resources are a matter of clusters, not of the program.
    let expected = DataPlane { resources: read.resources.clone(), ..DataPlane::default() };
    assert_eq!(read, expected);
}

#[test]
fn pods_are_what_restricted_namespaces_admit() {
    let manifests = all(&owner(), &DataPlane::default(), &provisioning());
    let pod = &find(&manifests, OwnedKind::Deployment).unwrap()["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"]["drop"], json!(["ALL"]));
    let ports = pod["containers"][0]["ports"].as_array().unwrap();
    assert!(ports.iter().all(|port| port["containerPort"].as_u64().unwrap() >= 1024));
}

#[test]
fn a_pod_is_not_killed_before_its_drain_is_over() {
    let mut provisioning = provisioning();
    provisioning.drain_timeout = Some("5m".to_owned());
    let manifests = all(&owner(), &DataPlane::default(), &provisioning);
    let pod = &find(&manifests, OwnedKind::Deployment).unwrap()["spec"]["template"]["spec"];
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > 305);
}

#[test]
fn a_gateways_own_settings_come_first() {
    let mut provisioning = provisioning();
    provisioning.service_type = Some("NodePort".to_owned());
    provisioning.replicas = Some(1);
    provisioning.resources = Some(json!({ "limits": { "memory": "2Gi" } }));
    provisioning.pod_annotations = BTreeMap::from([("a".to_owned(), "theirs".to_owned())]);
    provisioning.pod_labels = BTreeMap::from([("app.kubernetes.io/name".to_owned(), "stolen".to_owned())]);
    provisioning.pod_spec.insert("nodeSelector".to_owned(), json!({ "gpu": "no" }));
    let data_plane = DataPlane {
        pod_annotations: BTreeMap::from([
            ("a".to_owned(), "ours".to_owned()),
            ("b".to_owned(), "ours".to_owned()),
        ]),
        ..DataPlane::default()
    };
    let manifests = all(&owner(), &data_plane, &provisioning);
    let service = find(&manifests, OwnedKind::Service).unwrap();
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(service["spec"]["ports"][0]["nodePort"], 30080);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 10080);
    let deployment = find(&manifests, OwnedKind::Deployment).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 1);
    let template = &deployment["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"], json!({ "a": "theirs", "b": "ours" }));
    assert_eq!(
        template["metadata"]["labels"]["app.kubernetes.io/name"], "penstock",
        "the Service finds it by that"
    );
    assert_eq!(template["spec"]["nodeSelector"], json!({ "gpu": "no" }));
    assert_eq!(template["spec"]["containers"][0]["resources"], json!({ "limits": { "memory": "2Gi" } }));
    assert_eq!(find(&manifests, OwnedKind::PodDisruptionBudget), None, "a single pod could never be moved");
}

#[test]
fn data_planes_are_who_the_chart_says_unless_their_gateway_says_otherwise() {
    const ROLE: &str = "eks.amazonaws.com/role-arn";
    let annotations = [(ROLE, "of-all"), ("example.com/team", "llm")];
    let mut data_plane = DataPlane::default();
    data_plane.service_account.annotations =
        annotations.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    data_plane.extra_volumes = vec![json!({ "name": "identity", "projected": { "sources": [] } })];
    data_plane.extra_volume_mounts = vec![json!({ "name": "identity", "mountPath": "/identity" })];

    let account = |owner: &Owner| {
        let manifests = all(owner, &data_plane, &provisioning());
        find(&manifests, OwnedKind::ServiceAccount).unwrap()["metadata"]["annotations"].clone()
    };
    let mut owner = owner();
    assert_eq!(account(&owner)[ROLE], "of-all");
    owner.annotations.insert(ROLE.to_owned(), "of-this-one".to_owned());
    assert_eq!(account(&owner)[ROLE], "of-this-one");
    assert_eq!(account(&owner)["example.com/team"], "llm");

    let manifests = all(&owner, &data_plane, &provisioning());
    let pod = &find(&manifests, OwnedKind::Deployment).unwrap()["spec"]["template"]["spec"];
    let names = |list: &Value| {
        let names = list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&pod["volumes"]), ["cache", "identity"]);
    assert_eq!(names(&pod["containers"][0]["volumeMounts"]), ["cache", "identity"]);
}

#[test]
fn an_autoscaler_has_the_last_word_on_replicas() {
    let mut provisioning = provisioning();
    provisioning.autoscaler =
        Some(EnvoyHpa { min_replicas: Some(3), max_replicas: 9, ..EnvoyHpa::default() });
    let manifests = all(&owner(), &DataPlane::default(), &provisioning);
    assert_eq!(find(&manifests, OwnedKind::Deployment).unwrap()["spec"].get("replicas"), None);
    let autoscaler = &find(&manifests, OwnedKind::HorizontalPodAutoscaler).unwrap()["spec"];
    assert_eq!((&autoscaler["minReplicas"], &autoscaler["maxReplicas"]), (&json!(3), &json!(9)));
    assert_eq!(autoscaler["metrics"][0]["resource"]["name"], "cpu");
}

#[test]
fn what_is_not_known_is_not_run() {
    let mut provisioning = provisioning();
    provisioning.unresolved =
        Some("EnvoyProxy envoy-gateway-system/nodeport-config does not exist".to_owned());
    let manifests = all(&owner(), &DataPlane::default(), &provisioning);
    assert_eq!(find(&manifests, OwnedKind::Deployment), None);
    assert!(find(&manifests, OwnedKind::Role).is_some());
}

#[test]
fn a_data_plane_may_read_its_own_objects_only() {
    let manifests = all(&owner(), &DataPlane::default(), &provisioning());
    for rule in find(&manifests, OwnedKind::Role).unwrap()["rules"].as_array().unwrap() {
        assert!(!rule["resourceNames"].as_array().unwrap().is_empty(), "without names, all of them");
        assert_eq!(rule["verbs"], json!(["get", "list", "watch"]));
    }
}
