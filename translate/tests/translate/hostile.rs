//! Objects of monstrous size, which no file could hold: each affects itself alone.

use penstock_config::Snapshot;
use penstock_picker::EpcCheck;
use penstock_translate::{Status, StatusUpdate, Translation, merge, translate};
use serde_json::{Value, json};

use crate::support::{options, world};

const MEGABYTE: usize = 1 << 20;

fn base() -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "penstock"},
            "spec": {"controllerName": "penstock.dev/gateway-controller"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "gw", "namespace": "n"},
            "spec": {"gatewayClassName": "penstock", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]},
        }),
        route(
            "good",
            &json!([{"matches": [{"path": {"value": "/good"}}], "backendRefs": [{"name": "s", "port": 80}]}]),
        ),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"},
            "spec": {"ports": [{"port": 80}]},
        }),
    ]
}

fn route(name: &str, rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": rules},
    })
}

/// Translates the base and more, and checks that the good route is served and all statuses can be written.
fn translated(more: Vec<Value>) -> Translation {
    let mut objects = base();
    objects.extend(more);
    let translation = translate(&world(objects), &options());
    let gateway = translation.gateways.values().next().expect("the Gateway is served");
    let text = serde_json::to_string(&gateway.document).unwrap();
    Snapshot::compile(&text, &EpcCheck).expect("a sound document");
    assert!(gateway.document.routes.iter().any(|route| route.name == "n.good"));
    for update in &translation.statuses {
        let status = merge(&Value::Null, update, "2026-01-01T00:00:00Z").to_string();
        assert!(
            status.len() < 200_000,
            "{} has a status of {} bytes",
            update.object.kind.name(),
            status.len()
        );
    }
    translation
}

fn accepted<'a>(translation: &'a Translation, name: &str) -> &'a StatusUpdate {
    translation.statuses.iter().find(|update| update.object.key.name == name).expect("a status")
}

fn is_refused(update: &StatusUpdate) -> bool {
    match &update.status {
        Status::Parents(entries) => entries.entries.iter().all(|entry| !entry.conditions[0].is_true()),
        _ => false,
    }
}

#[test]
fn a_name_of_a_megabyte() {
    let long = "x".repeat(MEGABYTE);
    let rules =
        json!([{"matches": [{"path": {"value": "/long"}}], "backendRefs": [{"name": long, "port": 80}]}]);
    let translation = translated(vec![route(&long, &rules)]);
    assert!(matches!(accepted(&translation, &long).status, Status::Parents(_)));
}

#[test]
fn headers_hosts_patterns_and_models_of_a_megabyte() {
    let long = "x".repeat(MEGABYTE);
    let backend = json!([{"name": "s", "port": 80}]);
    let rules = json!([
        {"matches": [{"headers": [{"name": "h", "value": long}]}], "backendRefs": backend},
        {"matches": [{"headers": [{"name": long, "value": "v"}]}], "backendRefs": backend},
        {"matches": [{"headers": [{"name": "x-ai-eg-model", "value": long}]}], "backendRefs": backend},
        {"matches": [{"path": {"type": "RegularExpression", "value": long}}], "backendRefs": backend},
        {"matches": [{"path": {"value": "/a"}}], "filters": [{
            "type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "h", "value": long}]},
        }], "backendRefs": backend},
    ]);
    let mut hosts = route("hosts", &json!([{"backendRefs": backend}]));
    hosts["spec"]["hostnames"] = json!([long]);
    let translation = translated(vec![route("long", &rules), hosts]);
    assert!(is_refused(accepted(&translation, "long")));
    assert!(is_refused(accepted(&translation, "hosts")));
}

#[test]
fn more_rules_than_a_document_has_room_for() {
    let value = "v".repeat(4000);
    let rule = |index: usize| {
        json!({
            "matches": [{"path": {"value": format!("/{index}")}, "headers": [{"name": "h", "value": value}]}],
            "backendRefs": [{"name": "s", "port": 80}],
        })
    };
    let routes: Vec<Value> = (0..5)
        .map(|route_index| {
            let rules = (0..800).map(|index| rule(route_index * 1000 + index)).collect();
            route(&format!("large-{route_index}"), &Value::Array(rules))
        })
        .collect();
    let translation = translated(routes);
    assert!(!is_refused(accepted(&translation, "large-0")));
    assert!(is_refused(accepted(&translation, "large-4")));
}

#[test]
fn fields_that_nobody_reads_by_the_thousand() {
    let mut object = route("strange", &json!([{"backendRefs": [{"name": "s", "port": 80}]}]));
    for index in 0..5000 {
        object["spec"][format!("field-{index}-{}", "x".repeat(200))] = json!(index);
    }
    translated(vec![object]);
}
