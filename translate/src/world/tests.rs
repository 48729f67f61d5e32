use serde_json::json;

use super::{Key, Kind, World};

#[test]
fn an_object_is_decoded_once_and_its_unread_fields_are_named() {
    let mut world = World::default();
    let object = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "n", "generation": 3},
        "spec": {"rules": [{"sessionPersistence": {}}, {"sessionPersistence": {}}], "useDefaultGateways": "All"},
    });
    let applied = world.apply(object.clone()).unwrap();
    assert_eq!(applied.id.kind, Kind::HttpRoute);
    assert!(applied.is_changed);
    assert!(!world.apply(object).unwrap().is_changed);
    let route = world.http_routes.get(&Key::new("n", "r")).unwrap();
    assert_eq!(route.unread, ["spec.rules[].sessionPersistence", "spec.useDefaultGateways"]);
    assert!(world.remove(&applied.id));
    assert!(world.http_routes.is_empty());
}

#[test]
fn empty_lists_that_go_writes_as_null_are_read() {
    let mut world = World::default();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "s", "namespace": "n", "labels": {"kubernetes.io/service-name": "svc"}},
        "endpoints": null, "ports": null,
    });
    world.apply(slice).unwrap();
    let service = Key::new("n", "svc");
    assert!(world.slices_of(&service).next().unwrap().spec.is_ok());
}
