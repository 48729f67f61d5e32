//! Each folder of `tests/data` is a cluster; `expected.txt` is what its translation says. `UPDATE_GOLDEN=1` writes it
//! anew, for the difference to be read.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use penstock_config::Snapshot;
use penstock_picker::EpcCheck;
use penstock_translate::{render, translate};
use serde_json::{Value, json};

use crate::support::{folder, objects, options, report, world};

/// Names the folder with the published manifests of the walkthrough.
const PUBLISHED: &str = "PENSTOCK_WALKTHROUGH";

#[test]
fn each_cluster_means_what_is_expected() {
    let mut folders: Vec<_> =
        fs::read_dir(folder("tests/data")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 6, "{folders:?}");
    for folder in folders {
        check(&folder, &folder.join("expected.txt"));
    }
}

#[test]
fn the_walkthrough_means_what_is_expected() {
    check(&folder("../examples/walkthrough"), &folder("tests/data-walkthrough.txt"));
}

/// The walkthrough's manifests as they are published, which differ in form and order from ours.
#[test]
fn the_walkthrough_as_published_means_the_same() {
    let Some(published) = std::env::var_os(PUBLISHED) else {
        let reason = format!("{PUBLISHED} does not name the folder with the published manifests");
        // Not by a macro, whose output a passing test keeps to itself.
        writeln!(
            io::stderr(),
            "skipped: {reason}; the form that an API server returns is tested all the same"
        )
        .unwrap();
        return;
    };
    assert_same_document(objects(Path::new(&published)));
}

/// As an API server returns them: members that nobody wrote are null or have their defaults, and the order is another.
#[test]
fn the_walkthrough_as_an_api_server_returns_it_means_the_same() {
    let mut returned = objects(&folder("../examples/walkthrough"));
    returned.reverse();
    for object in &mut returned {
        fill_in(object);
    }
    assert_same_document(returned);
}

fn assert_same_document(form: Vec<Value>) {
    let document = |objects| {
        let translation = translate(&world(objects), &options());
        let gateway = translation.gateways.values().next().expect("a Gateway");
        (render(&gateway.document).unwrap(), gateway.endpoints.clone())
    };
    assert_eq!(document(form), document(objects(&folder("../examples/walkthrough"))));
}

fn fill_in(object: &mut Value) {
    object["metadata"]["managedFields"] = json!([{ "manager": "kubectl" }]);
    object["status"] = json!({ "conditions": null });
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    match kind.as_str() {
        "Gateway" => {
            for listener in object["spec"]["listeners"].as_array_mut().into_iter().flatten() {
                listener["hostname"] = Value::Null;
                listener["allowedRoutes"] = json!({ "namespaces": { "from": "Same" }, "kinds": null });
            }
        }
        "AIGatewayRoute" => {
            let rules = object["spec"]["rules"].as_array_mut().into_iter().flatten();
            for reference in rules.flat_map(|rule| rule["backendRefs"].as_array_mut().into_iter().flatten()) {
                reference["weight"] = json!(1);
                reference["priority"] = json!(0);
            }
        }
        "Backend" => object["spec"]["type"] = "Endpoints".into(),
        _ => {}
    }
}

fn check(cluster: &Path, expected: &Path) {
    let objects = objects(cluster);
    let world = world(objects);
    let options = options();
    let translation = translate(&world, &options);
    for (key, gateway) in &translation.gateways {
        let text = render(&gateway.document).unwrap();
        if let Err(faults) = Snapshot::compile(&text, &EpcCheck) {
            panic!("{}: {key}:\n{faults}", cluster.display());
        }
    }
    let report = report(&world, &translation, &options);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(expected, report).unwrap();
        return;
    }
    let expected = fs::read_to_string(expected).unwrap_or_default();
    assert_same(&expected, &report, cluster);
}

/// Fails with the first line that differs and its neighbours.
fn assert_same(expected: &str, actual: &str, cluster: &Path) {
    if expected == actual {
        return;
    }
    let line = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let near = |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n");
    panic!(
        "{}: line {} differs (UPDATE_GOLDEN=1 writes it anew)\nexpected:\n{}\nis:\n{}",
        cluster.display(),
        line + 1,
        near(expected),
        near(actual)
    );
}
