use serde_json::json;

use super::{Condition, Entries, ParentStatus, Status, StatusUpdate, merge};
use crate::world::{Key, Kind, ObjectId};

fn update(status: Status) -> StatusUpdate {
    let object = ObjectId { kind: Kind::HttpRoute, key: Key::new("n", "r") };
    StatusUpdate { object, api_version: "gateway.networking.k8s.io/v1".into(), generation: 2, status }
}

#[test]
fn times_of_transition_are_kept_and_a_second_merge_changes_nothing() {
    let accepted = update(Status::Conditions(vec![Condition::yes("Accepted", "Accepted", "fine")]));
    let first = merge(&json!({"other": 1}), &accepted, "2026-01-01T00:00:00Z");
    assert_eq!(first["other"], 1);
    assert_eq!(merge(&first, &accepted, "2026-02-01T00:00:00Z"), first);
    let refused = update(Status::Conditions(vec![Condition::no("Accepted", "Invalid", "not fine")]));
    let second = merge(&first, &refused, "2026-03-01T00:00:00Z");
    assert_eq!(second["conditions"][0]["lastTransitionTime"], "2026-03-01T00:00:00Z");
    assert_eq!(second["conditions"].as_array().unwrap().len(), 1);
}

#[test]
fn entries_of_other_controllers_stay_and_ours_go_with_their_parents() {
    let parent = |name: &str, controller: &str| json!({"parentRef": {"name": name}, "controllerName": controller, "conditions": []});
    let old = json!({"parents": [parent("a", "theirs"), parent("b", "ours"), parent("c", "ours")]});
    let entry = ParentStatus {
        parent_ref: json!({"name": "c"}),
        controller_name: "ours".into(),
        conditions: vec![Condition::yes("Accepted", "Accepted", "")],
    };
    let entries = Entries { controllers: vec!["ours".into()], entries: vec![entry], nameless: vec![] };
    let merged = merge(&old, &update(Status::Parents(entries)), "2026-01-01T00:00:00Z");
    let names: Vec<_> =
        merged["parents"].as_array().unwrap().iter().map(|it| it["parentRef"]["name"].clone()).collect();
    assert_eq!(names, ["a", "c"]);
}
