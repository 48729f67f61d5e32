use penstock_translate::world::Key;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::ApiServer;

#[tokio::test]
async fn readiness_waits_for_every_kind() {
    let unlisted = Arc::new(Unlisted::default());
    unlisted.add("pods.".to_owned());
    unlisted.add("gateways.gateway.networking.k8s.io".to_owned());
    let waiting = tokio::spawn({
        let unlisted = Arc::clone(&unlisted);
        async move { unlisted.none().await }
    });
    unlisted.remove("pods.");
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    unlisted.remove("gateways.gateway.networking.k8s.io");
    waiting.await.unwrap();
}

/// Says what the API server serves: resources by group and version.
fn serve(server: &ApiServer, served: &[(&str, &str, &[&str])]) {
    let mut versions: std::collections::BTreeMap<&str, Vec<Value>> = Default::default();
    for (group, version, _) in served {
        let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
        versions.entry(group).or_default().push(version);
    }
    let groups: Vec<Value> = versions
        .into_iter()
        .map(|(group, versions)| json!({ "name": group, "versions": versions }))
        .collect();
    server.put("/apis", json!({ "kind": "APIGroupList", "groups": groups }));
    let list = |api_version: &str, plurals: &[&str]| {
        let resource = |plural: &&str| json!({ "name": plural, "singularName": "", "namespaced": true, "kind": "Any", "verbs": ["list"] });
        let resources: Vec<Value> = plurals.iter().map(resource).collect();
        json!({ "kind": "APIResourceList", "groupVersion": api_version, "resources": resources })
    };
    server.put("/api/v1", list("v1", &[]));
    for (group, version, plurals) in served {
        server.put(&format!("/apis/{group}/{version}"), list(&format!("{group}/{version}"), plurals));
    }
}

/// Starts all watches.
fn start(server: &ApiServer) -> (Arc<Cluster>, Arc<Health>, tokio::task::JoinHandle<()>) {
    let (cluster, health) = (Arc::new(Cluster::default()), Arc::new(Health::default()));
    let running = tokio::spawn(run(
        server.client(),
        Arc::clone(&cluster),
        Arc::new(Owned::new(Arc::clone(&cluster))),
        Arc::new(Referred::new(Arc::clone(&cluster))),
        Arc::clone(&health),
    ));
    (cluster, health, running)
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        sleep(Duration::from_millis(100)).await;
    }
}

const ENVOY: &str = "/apis/gateway.envoyproxy.io/v1alpha1";

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name, "namespace": "ns",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Owner", "name": "o", "uid": "1" }],
        },
        "spec": spec,
    })
}

#[tokio::test(start_paused = true)]
async fn policies_of_a_kind_that_is_installed_later_are_watched() {
    let server = ApiServer::default();
    serve(&server, &[]);
    let (cluster, health, running) = start(&server);
    until(|| health.is_synced.load(Relaxed)).await;
    assert_eq!(cluster.count(Kind::SecurityPolicy), 0, "a kind that is not there is no error");

    let policy = json!({ "targetRefs": [{ "kind": "Gateway", "name": "gw" }], "oidc": { "provider": { "backendRefs": [{ "name": "b" }] } } });
    server.put(
        &format!("{ENVOY}/securitypolicies"),
        json!({ "items": [object("SecurityPolicy", "p", &policy)] }),
    );
    serve(&server, &[("gateway.envoyproxy.io", "v1alpha1", &["securitypolicies"])]);
    until(|| cluster.count(Kind::SecurityPolicy) == 1).await;
    let world = cluster.world();
    let kept = world.access_policies.get(&Key::new("ns", "p")).unwrap();
    assert_eq!(kept.closing, ["spec.oidc.provider.backendRefs"]);
    assert_eq!(kept.meta.owner_kinds, ["Owner"]);
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn kinds_that_nobody_knows_are_named() {
    let server = ApiServer::default();
    let served: &[(&str, &str, &[&str])] = &[
        ("gateway.envoyproxy.io", "v1alpha1", &["backends", "backends/status"]),
        ("gateway.envoyproxy.io", "v1beta1", &["wafpolicies", "wafpolicies/status"]),
        ("example.com", "v1", &["others"]),
    ];
    serve(&server, served);
    let (cluster, _, running) = start(&server);
    until(|| !cluster.unknown_kinds().is_empty()).await;
    assert_eq!(cluster.unknown_kinds(), BTreeSet::from(["wafpolicies.gateway.envoyproxy.io".to_owned()]));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn metadata_are_all_that_is_asked_for_where_they_tell_all() {
    let server = ApiServer::default();
    const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
    let spec = json!({ "listeners": [] });
    let mut set = object("XListenerSet", "o", &spec);
    set["apiVersion"] = json!(format!("{EXPERIMENTAL}/v1alpha1"));
    let sets = format!("/apis/{EXPERIMENTAL}/v1alpha1/xlistenersets");
    server.put(&sets, json!({ "items": [set] }));
    let policy = object("ClientTrafficPolicy", "o", &spec);
    server.put(&format!("{ENVOY}/clienttrafficpolicies"), json!({ "items": [policy] }));
    let served: &[(&str, &str, &[&str])] = &[
        ("gateway.envoyproxy.io", "v1alpha1", &["clienttrafficpolicies"]),
        (EXPERIMENTAL, "v1alpha1", &["xlistenersets"]),
    ];
    serve(&server, served);
    let (cluster, _, running) = start(&server);
    until(|| cluster.count(Kind::XListenerSet) == 1 && cluster.count(Kind::ClientTrafficPolicy) == 1).await;
    let asked = server.metadata_requests();
    assert!(asked.contains(&sets), "{asked:?}");
    assert!(
        !asked.contains(&format!("{ENVOY}/clienttrafficpolicies")),
        "its targets are in its spec: {asked:?}"
    );
    running.abort();
}
