//! Whatever objects there are, a translation comes to an end, and what it says can be served.

use std::sync::OnceLock;

use penstock_config::Snapshot;
use penstock_picker::EpcCheck;
use penstock_translate::{endpoints, merge, translate};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{folder, objects, options, world};

/// All objects of all corpora.
fn corpus() -> &'static Vec<Value> {
    static CORPUS: OnceLock<Vec<Value>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let mut all = objects(&folder("../examples/walkthrough"));
        for entry in std::fs::read_dir(folder("tests/data")).unwrap() {
            all.extend(objects(&entry.unwrap().path()));
        }
        all
    })
}

/// Something that does not belong where it is put.
fn stray() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(json!(0)),
        Just(json!(65_536)),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("(")),
        Just(json!("*.example.com")),
        Just(json!("Host")),
        Just(json!("x".repeat(300))),
        Just(json!("/a//b")),
        Just(json!("\u{0}")),
        Just(json!([])),
        Just(json!({})),
        Just(Value::Array(vec![json!({}); 3])),
        Just(json!({"name": "x", "kind": "Gateway"})),
    ]
}

/// Changes the leaf or branch that `path` leads to, one index for each level.
fn mutate(value: &mut Value, path: &[usize], stray: Value, how: u8) {
    let Some((step, rest)) = path.split_first() else {
        *value = stray;
        return;
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let key = fields.keys().nth(step % fields.len()).cloned().unwrap();
            if matches!(key.as_str(), "apiVersion" | "kind") && rest.is_empty() {
                return;
            }
            match how {
                1 if rest.is_empty() => drop(fields.shift_remove(&key)),
                2 if rest.is_empty() => drop(fields.insert(format!("{key}x"), stray)),
                _ => mutate(&mut fields[&key], rest, stray, how),
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let index = step % items.len();
            match how {
                1 if rest.is_empty() => drop(items.remove(index)),
                2 if rest.is_empty() => items.push(items[index].clone()),
                _ => mutate(&mut items[index], rest, stray, how),
            }
        }
        other => *other = stray,
    }
}

type Change = (usize, Vec<usize>, Value, u8);

fn change() -> impl Strategy<Value = Change> {
    (any::<prop::sample::Index>(), prop::collection::vec(0..40_usize, 1..9), stray(), 0..3_u8)
        .prop_map(|(object, path, stray, how)| (object.index(corpus().len()), path, stray, how))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn broken_objects_break_nothing_else(changes in prop::collection::vec(change(), 1..12)) {
        let mut objects = corpus().clone();
        for (object, path, stray, how) in changes {
            mutate(&mut objects[object], &path, stray, how);
        }
        let world = world(objects);
        let options = options();
        let translation = translate(&world, &options);
        for (key, gateway) in &translation.gateways {
            let text = serde_json::to_string(&gateway.document).unwrap();
            if let Err(faults) = Snapshot::compile(&text, &EpcCheck) {
                prop_assert!(false, "{}: {}", key, faults);
            }
            for source in gateway.endpoints.values() {
                endpoints(&world, source, &options);
            }
        }
        for update in &translation.statuses {
            let status = merge(&Value::Object(Map::new()), update, "2026-01-01T00:00:00Z");
            prop_assert_eq!(merge(&status, update, "2026-02-01T00:00:00Z"), status);
        }
    }
}
