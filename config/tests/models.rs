//! What a document says of models, and what is legal in it and probably not meant.

use penstock_config::{ListenerIndex, NoProfileCheck, Snapshot, check_model_name};
use serde_json::json;

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n\
                    listeners: [{name: http, address: '127.0.0.1:8080'}]\n";

#[track_caller]
fn sound(body: &str) -> Snapshot {
    Snapshot::compile(&format!("{HEAD}{body}"), &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn what_is_known_of_a_model_wins_over_its_route() {
    let snapshot = sound(
        "pools: [{name: p, endpoints: [{address: '127.0.0.1:1'}]}]\n\
         routes: [{name: r, modelsOwnedBy: us, rules: [{models: [base, lora], targets: [{pool: p}]}]}]\n\
         models:\n\
         - {name: lora, ownedBy: vllm, createdAt: '1970-01-01T00:01:00Z', maxModelLen: 8192, root: /l, parent: base}\n\
         - {name: other}\n",
    );
    let models: Vec<_> = snapshot.models(ListenerIndex(0), "h").iter().map(|model| model.to_json()).collect();
    assert_eq!(
        models,
        [
            json!({ "id": "base", "object": "model", "created": 0, "owned_by": "us" }),
            json!({
                "id": "lora", "object": "model", "created": 60, "owned_by": "vllm",
                "root": "/l", "parent": "base", "max_model_len": 8192,
            }),
        ]
    );
    let warnings: Vec<String> = snapshot.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("models[1].name: no rule names the model \"other\""), "{warnings:?}");
}

#[test]
fn a_pool_that_nothing_can_come_to_is_a_warning() {
    let snapshot = sound(
        "pools:\n- {name: empty}\n- {name: listed, endpointsFrom: [list.yaml]}\n\
         - {name: full, endpoints: [{address: '127.0.0.1:1'}]}\n",
    );
    let places: Vec<&str> = snapshot.warnings().iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(places, ["pools[0].endpoints"]);
}

#[test]
fn a_model_is_described_once_and_soundly() {
    for (models, expected) in [
        ("[{name: m, createdAt: yesterday}]", "models[0].createdAt"),
        ("[{name: m}, {name: m}]", "models[1].name"),
        ("[{name: m, maxModelLen: 0}]", "models[0].maxModelLen"),
    ] {
        let body = format!(
            "pools: [{{name: p}}]\nroutes: [{{name: r, rules: [{{models: [m], targets: [{{pool: p}}]}}]}}]\nmodels: {models}\n"
        );
        let faults = Snapshot::compile(&format!("{HEAD}{body}"), &NoProfileCheck).expect_err("it is faulty");
        let places: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(places, [expected], "{faults}");
    }
}

#[test]
fn a_name_that_no_document_can_have_is_told_beforehand() {
    for name in ["m", "meta-llama/Llama-3.1-8B-Instruct", "ä b", &"x".repeat(256)] {
        assert_eq!(check_model_name(name), Ok(()));
    }
    for name in ["", "a\nb", &"x".repeat(257)] {
        assert!(check_model_name(name).is_err(), "{name:?}");
    }
}
