//! Every example compiles.

use penstock_config::{NoProfileCheck, Snapshot};

#[test]
fn every_example_is_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).expect("readable");
            if let Err(faults) = Snapshot::compile(&text, &NoProfileCheck) {
                panic!("{}:\n{faults}", path.display());
            }
            count += 1;
        }
    }
    assert!(count >= 3, "found {count} examples");
}
