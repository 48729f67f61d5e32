//! Everything that is written for the Gateways of `tests/data-published`, in the order in which it is written.
//! `UPDATE_GOLDEN=1` writes the expectation anew, for the difference to be read.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use penstock_config::{DebugAccess, Snapshot};
use penstock_operator::cluster::Cluster;
use penstock_operator::manifest::{DIGEST, Manifest, OwnedKind};
use penstock_operator::provision::DataPlane;
use penstock_operator::publish::{Context, Pieces, Plan};
use penstock_operator::watch::Owned;
use penstock_picker::EpcCheck;
use penstock_translate::{Adoption, Options, translate, world::World};
use serde_json::Value;

use crate::{documents, path};

/// Data planes that have everything which is optional.
fn everything() -> DataPlane {
    let mut data_plane = DataPlane { image: "penstock:test".to_owned(), ..DataPlane::default() };
    data_plane.network_policy.enabled = true;
    data_plane
}

/// The plans of all Gateways.
fn plans(data_plane: &DataPlane) -> Vec<Plan> {
    let mut world = World::default();
    for object in documents(&fs::read_to_string(path("tests/data-published/cluster.yaml")).unwrap()) {
        let _ = world.apply(object);
    }
    let options =
        Options { adoption: Adoption::EnvoyGateway, profiles: Arc::new(EpcCheck), ..Options::default() };
    let owned = Owned::new(Arc::new(Cluster::default()));
    let context = Context { world: &world, options: &options, data_plane, owned: &owned };
    let translation = translate(&world, &options);
    let gateways = translation.gateways.iter();
    gateways.map(|(key, output)| Pieces::new(context, key, output).unwrap().plan(None)).collect()
}

#[test]
fn what_is_written_is_what_is_expected() {
    let mut written = String::new();
    for plan in plans(&everything()) {
        for (step, manifests) in plan.steps.iter().enumerate() {
            for manifest in manifests {
                writeln!(written, "---\n# step {} of Gateway {}", step + 1, plan.gateway).unwrap();
                written.push_str(&shown(manifest));
            }
        }
    }
    let expected = path("tests/data-published/expected.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(expected, written).unwrap();
        return;
    }
    let expected = fs::read_to_string(&expected).unwrap_or_default();
    let differs = expected.lines().zip(written.lines()).find(|(expected, is)| expected != is);
    assert!(expected == written, "the first line that differs, expected and as it is: {differs:?}");
}

#[test]
fn debug_pages_are_for_the_pod_itself_unless_the_chart_says_otherwise() {
    for debug in [DebugAccess::Local, DebugAccess::Anyone] {
        let mut data_plane = DataPlane::default();
        data_plane.admin.debug = debug;
        for plan in plans(&data_plane) {
            let manifests = plan.steps.iter().flatten();
            let parts = manifests.filter_map(|manifest| manifest.body["data"]["routing.yaml"].as_str());
            let document = Snapshot::compile(&parts.collect::<String>(), &EpcCheck).unwrap();
            assert_eq!(document.admin.debug, debug);
        }
    }
}

/// An object without the hashes, which say nothing to a reader.
fn shown(manifest: &Manifest) -> String {
    let mut body = manifest.body.clone();
    if let Some(Value::Object(annotations)) = body.pointer_mut("/metadata/annotations") {
        annotations
            .retain(|name, _| name != DIGEST && !name.ends_with("/digest") && !name.ends_with("/content"));
    }
    let mut text = serde_saphyr::to_string(&body).unwrap();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[test]
fn all_kinds_of_objects_are_among_them() {
    let plans = plans(&everything());
    let kinds: std::collections::BTreeSet<OwnedKind> =
        plans.iter().flat_map(|plan| plan.keys()).map(|key| key.kind).collect();
    for kind in [
        OwnedKind::ConfigMap,
        OwnedKind::Deployment,
        OwnedKind::HorizontalPodAutoscaler,
        OwnedKind::NetworkPolicy,
        OwnedKind::PodDisruptionBudget,
        OwnedKind::Role,
        OwnedKind::RoleBinding,
        OwnedKind::Service,
        OwnedKind::ServiceAccount,
    ] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}
