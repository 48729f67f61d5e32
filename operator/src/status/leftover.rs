//! Entries of ours in statuses that have nothing to do with us any more: they go.

use std::collections::BTreeSet;

use penstock_translate::{
    Entries, Options, Status, StatusUpdate,
    world::{Meta, ObjectId, World},
};
use serde_json::Value;

/// Updates that remove our entries from objects that no update of a translation is about: a route that lost its parent,
/// a pool that no route names any more.
pub fn leftovers(world: &World, options: &Options, updates: &[StatusUpdate]) -> Vec<StatusUpdate> {
    let updated: BTreeSet<&ObjectId> = updates.iter().map(|update| &update.object).collect();
    let mut found = Vec::new();
    let none = Entries { controllers: options.controllers(), ..Entries::default() };
    let mut look = |id: ObjectId, meta: &Meta, status: &Value| {
        if updated.contains(&id) {
            return;
        }
        for (list, make) in
            [("parents", Status::Parents(none.clone())), ("ancestors", Status::Ancestors(none.clone()))]
        {
            let entries = status.get(list).and_then(Value::as_array).into_iter().flatten();
            if entries.into_iter().any(|entry| is_ours(entry, options)) {
                found.push(StatusUpdate {
                    object: id.clone(),
                    api_version: meta.api_version.clone(),
                    generation: meta.generation,
                    status: make,
                });
            }
        }
    };
    macro_rules! look_at {
        ($($table:ident),* $(,)?) => {$(
            for object in world.$table.iter().map(|(_, object)| object) {
                look(object.id(), &object.meta, &object.status);
            }
        )*};
    }
    look_at!(http_routes, pools, backend_tls_policies, ai_routes);
    look_at!(access_policies, client_policies, traffic_policies, extension_policies, patch_policies);
    look_at!(x_traffic_policies, grpc_routes, tls_routes, tcp_routes, udp_routes);
    found
}

fn is_ours(entry: &Value, options: &Options) -> bool {
    entry.get("controllerName").and_then(Value::as_str).is_some_and(|name| options.owns(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use penstock_translate::{DEFAULT_CONTROLLER, ENVOY_GATEWAY_CONTROLLER, merge};

    fn entry(gateway: &str, controller: &str) -> Value {
        json!({ "parentRef": { "name": gateway }, "controllerName": controller, "conditions": [] })
    }

    fn route(entries: &[Value]) -> Value {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": { "name": "route", "namespace": "default", "generation": 3 },
            "spec": {},
            "status": { "parents": entries },
        })
    }

    #[test]
    fn entries_that_nobody_updates_go_and_others_stay() {
        let options = Options::default();
        let mut world = World::default();
        let theirs = entry("gw", ENVOY_GATEWAY_CONTROLLER);
        world.apply(route(&[theirs.clone(), entry("gw", DEFAULT_CONTROLLER)])).unwrap();
        let updates = leftovers(&world, &options, &[]);
        assert_eq!(updates.len(), 1);
        assert_eq!(updates[0].generation, 3);
        assert_eq!(
            leftovers(&world, &options, &updates),
            [],
            "the translation has something to say about it"
        );
        let (_, status) = world.meta(&updates[0].object).unwrap();
        let merged = merge(status, &updates[0], "2026-01-01T00:00:00Z");
        assert_eq!(merged, json!({ "parents": [theirs] }));
    }
}
