use serde_json::json;

use super::{Found, find};
use crate::world::Kind;

fn found(kind: Kind, spec: &serde_json::Value) -> (Vec<String>, Vec<String>) {
    let Found { named, closing } = find(kind, spec, &[]);
    (named, closing)
}

#[test]
fn what_restricts_closes_and_the_rest_is_named() {
    let both = json!({
        "targetRefs": [{}], "cors": {}, "jwt": {"providers": [{"remoteJWKS": {"backendSettings": {}}}]}, "oidc": null, "csrf": {},
    });
    assert_eq!(
        found(Kind::SecurityPolicy, &both),
        (vec!["spec.jwt.providers[].remoteJWKS.backendSettings".to_owned()], vec!["spec.csrf".to_owned()])
    );
    let names = json!({"otherNames": [{}]});
    let tls =
        json!({"tls": {"clientValidation": {"subjectAltNames": names}, "minVersion": "1.3"}, "http1": {}});
    let (named, closing) = found(Kind::ClientTrafficPolicy, &tls);
    assert_eq!(named, ["spec.http1"]);
    assert_eq!(closing, ["spec.tls.clientValidation.subjectAltNames.otherNames"]);
    for (names, expected) in [(json!(["a"]), 1), (json!([]), 0)] {
        let tls = json!({"tls": {"clientValidation": {"subjectAltNames": {"otherNames": names}}}});
        assert_eq!(found(Kind::ClientTrafficPolicy, &tls).1.len(), expected);
    }
    assert_eq!(found(Kind::SecurityPolicy, &json!({"mergeType": "JSONMerge"})), (vec![], vec![]));
    assert_eq!(found(Kind::EnvoyExtensionPolicy, &json!({"lua": []})), (vec![], vec![]));
}

#[test]
fn what_nobody_reads_in_what_is_acted_on_closes_unless_it_is_declared_or_nothing() {
    let spec = json!({"jwt": {
        "failOpen": false, "later": {},
        "providers": [{"remoteJWKS": {"backendRefs": [{}], "backendSettings": {}}}, {"new": 1}, {"new": 2}],
    }});
    let ignored = [
        "jwt.?.failOpen",
        "jwt.?.later",
        "jwt.?.providers.0.remoteJWKS.?.backendRefs",
        "jwt.?.providers.0.remoteJWKS.?.backendSettings",
        "jwt.?.providers.1.new",
        "jwt.?.providers.2.new",
        "targetRefs",
    ];
    let Found { named, closing } = find(Kind::SecurityPolicy, &spec, &ignored.map(str::to_owned));
    assert_eq!(named, ["spec.jwt.providers[].remoteJWKS.backendSettings"]);
    assert_eq!(
        closing,
        ["spec.jwt.providers[].remoteJWKS.backendRefs", "spec.jwt.later", "spec.jwt.providers[].new"]
    );
}

#[test]
fn what_may_fail_open_is_named_only() {
    let mixed = json!({"extProc": [{"failOpen": true}, {"failOpen": false}], "wasm": [{"failOpen": true}]});
    let (named, closing) = found(Kind::EnvoyExtensionPolicy, &mixed);
    assert_eq!(named, ["spec.extProc[] with failOpen", "spec.wasm[] with failOpen"]);
    assert_eq!(closing, ["spec.extProc"]);
}

#[test]
fn fields_of_later_definitions_close_where_the_kind_restricts() {
    let later = json!({"csrf": {}});
    assert_eq!(found(Kind::SecurityPolicy, &later).1, ["spec.csrf"]);
    assert_eq!(found(Kind::BackendTrafficPolicy, &later), (vec!["spec.csrf".to_owned()], vec![]));
    let many: serde_json::Map<_, _> = (0..100).map(|n| (format!("{n:0200}"), json!({}))).collect();
    let (_, closing) = found(Kind::SecurityPolicy, &many.into());
    assert_eq!(closing.len(), 8);
    assert!(closing.iter().all(|path| path.len() < 100), "{closing:?}");
}
