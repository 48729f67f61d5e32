//! Each folder of `tests/data` is a cluster; `expected.txt` is what its translation says. `UPDATE_GOLDEN=1` writes it
//! anew, for the difference to be read.

use std::fs;
use std::path::Path;

use penstock_config::Snapshot;
use penstock_operator::translate::{render, translate};
use penstock_picker::EpcCheck;
use pretty::assert_same;

use crate::support::{folder, objects, options, told, world};

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

/// The walkthrough's manifests as they are published. Only where they lie beside the project.
#[test]
fn the_walkthrough_as_published_means_the_same() {
    let published = folder("../../shared/seed");
    if !published.is_dir() {
        return;
    }
    let of = |objects| {
        let world = world(objects);
        let translation = translate(&world, &options());
        let gateway = translation.gateways.values().next().expect("a Gateway");
        (render(&gateway.document).unwrap(), gateway.endpoints.clone())
    };
    assert_eq!(of(objects(&published)), of(objects(&folder("../examples/walkthrough"))));
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
    let told = told(&world, &translation, &options);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(expected, told).unwrap();
        return;
    }
    let expected = fs::read_to_string(expected).unwrap_or_default();
    assert_same(&expected, &told, cluster);
}

pub(crate) mod pretty {
    use std::path::Path;

    /// Fails with the first line that differs and its neighbours.
    pub(crate) fn assert_same(expected: &str, told: &str, cluster: &Path) {
        if expected == told {
            return;
        }
        let line = expected.lines().zip(told.lines()).take_while(|(a, b)| a == b).count();
        let near =
            |text: &str| text.lines().skip(line.saturating_sub(3)).take(8).collect::<Vec<_>>().join("\n");
        panic!(
            "{}: line {} differs (UPDATE_GOLDEN=1 writes it anew)\nexpected:\n{}\nis:\n{}",
            cluster.display(),
            line + 1,
            near(expected),
            near(told)
        );
    }
}
