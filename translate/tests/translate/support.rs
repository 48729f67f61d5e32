//! Worlds from manifests, and translations as people read them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_picker::EpcCheck;
use penstock_translate::world::{Kind, World};
use penstock_translate::{
    Adoption, Condition, Endpoints, Options, Status, Translation, endpoints, merge, render, render_endpoints,
    translate,
};
use serde_json::Value;

/// A folder of this crate.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The objects of all manifests of a folder, in the order of the files' names.
pub(crate) fn objects(folder: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder is there").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let manifests = files.iter().filter(|file| {
        let name = file.file_name().unwrap().to_string_lossy();
        name.ends_with(".yaml") && !name.starts_with("expected")
    });
    manifests.flat_map(|file| documents(&fs::read_to_string(file).unwrap())).collect()
}

/// The documents of a YAML stream.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let values: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    values.into_iter().filter(Value::is_object).collect()
}

/// A world of objects. Those of kinds that are not read are left out.
pub(crate) fn world(objects: impl IntoIterator<Item = Value>) -> World {
    let mut world = World::default();
    for object in objects {
        let _ = world.apply(object);
    }
    world
}

/// Options as in a cluster in which Envoy Gateway's classes are taken over.
pub(crate) fn options() -> Options {
    Options { adoption: Adoption::EnvoyGateway, profiles: Arc::new(EpcCheck), ..Options::default() }
}

/// A Gateway `gw` with a plain listener in the namespace `n`, and its class.
const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: ns}
spec: {gatewayClassName: penstock, listeners: [{name: http, protocol: HTTP, port: 8080}]}
---
";

/// A translation of manifests beside a Gateway `gw` in the namespace `n`.
pub(crate) fn translated(manifests: &str) -> Translation {
    translate(&world(documents(&format!("{GATEWAY}{manifests}"))), &options())
}

/// The routing document of the only Gateway, in YAML.
pub(crate) fn document(translation: &Translation) -> String {
    let gateway = translation.gateways.values().next().expect("a Gateway that is served");
    render(&gateway.document).unwrap()
}

/// All conditions in an object's status.
pub(crate) fn conditions<'t>(translation: &'t Translation, kind: Kind, name: &str) -> Vec<&'t Condition> {
    let is_it = |id: &penstock_translate::world::ObjectId| id.kind == kind && id.key.name == name;
    let updates = translation.statuses.iter().filter(|update| is_it(&update.object));
    let all = updates.flat_map(|update| match &update.status {
        Status::Conditions(all) | Status::Class { conditions: all, .. } => all.iter().collect::<Vec<_>>(),
        Status::Gateway { conditions, listeners } => {
            conditions.iter().chain(listeners.iter().flat_map(|listener| &listener.conditions)).collect()
        }
        Status::Parents(entries) | Status::Ancestors(entries) => {
            entries.entries.iter().flat_map(|entry| &entry.conditions).collect()
        }
    });
    all.collect()
}

/// The first condition of a type in an object's status: whether it holds, its reason and its message.
pub(crate) fn condition<'t>(
    translation: &'t Translation,
    (kind, name): (Kind, &str),
    condition: &str,
) -> (bool, &'static str, &'t str) {
    let all = conditions(translation, kind, name);
    let found = all.iter().find(|it| it.kind == condition);
    let found = found.unwrap_or_else(|| panic!("{} {name} has no {condition}: {all:?}", kind.name()));
    (found.is_true(), found.reason, &found.message)
}

/// Everything that a translation says, with the endpoints that there are.
pub(crate) fn report(world: &World, translation: &Translation, options: &Options) -> String {
    let mut text = String::new();
    for (key, gateway) in &translation.gateways {
        writeln!(
            text,
            "# Gateway {key} of {}\n{}",
            gateway.controller_name,
            render(&gateway.document).unwrap()
        )
        .unwrap();
        for (name, source) in &gateway.endpoints {
            let found: Endpoints = endpoints(world, source, options);
            writeln!(text, "---\n{}", render_endpoints(&found, name, None).unwrap()).unwrap();
        }
        for (name, source) in &gateway.secrets {
            writeln!(text, "# secret {name}: {source}").unwrap();
        }
        writeln!(text, "# {:#?}", gateway.provisioning).unwrap();
    }
    for update in &translation.statuses {
        let status = merge(&Value::Null, update, "2026-01-01T00:00:00Z");
        writeln!(text, "---\n# status of {}\n{}", update.object, brief(status)).unwrap();
    }
    for event in &translation.events {
        writeln!(
            text,
            "# {:?} event on {}: {}: {}",
            event.severity, event.object, event.reason, event.message
        )
        .unwrap();
    }
    for object in &translation.wanted {
        writeln!(text, "# wants {object}").unwrap();
    }
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A status without what is the same everywhere.
fn brief(mut status: Value) -> String {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.shift_remove("lastTransitionTime");
                fields.shift_remove("observedGeneration");
                fields.shift_remove("supportedFeatures");
                fields.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _ => {}
        }
    }
    walk(&mut status);
    serde_saphyr::to_string(&status).unwrap()
}
