//! Worlds from manifests, and translations as people read them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_operator::translate::{
    Adoption, Endpoints, Options, Translation, endpoints, merge, render, render_endpoints,
};
use penstock_operator::world::World;
use penstock_picker::EpcCheck;
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

/// Everything that a translation says, with the endpoints that there are.
pub(crate) fn told(world: &World, translation: &Translation, options: &Options) -> String {
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
            writeln!(text, "# secret {name}: {} of {}", source.key, source.object).unwrap();
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
