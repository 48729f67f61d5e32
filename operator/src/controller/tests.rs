use penstock_translate::DEFAULT_CONTROLLER;
use serde_json::{Value, json};

use super::*;
use crate::{
    fixtures::ApiServer,
    lease::{self, LeaseOptions},
    manifest::{OwnedKey, OwnedKind},
};

/// A controller, the API server that it writes to, and the watches' view, which the test keeps.
struct Scene {
    server: ApiServer,
    parts: Parts,
    leading: watch::Sender<bool>,
    _stop: watch::Sender<bool>,
}

impl Scene {
    /// Of a replica that leads or does not.
    fn new(is_leader: bool, gateway_class: Option<&str>) -> Self {
        let (server, cluster) = (ApiServer::default(), Arc::new(Cluster::default()));
        let health = Arc::new(Health::default());
        health.is_synced.store(true, Relaxed);
        let parts = Parts {
            client: server.client(),
            owned: Arc::new(Owned::new(Arc::clone(&cluster))),
            referred: Arc::new(Referred::new(Arc::clone(&cluster))),
            cluster,
            health,
            options: Options::default(),
            data_plane: Arc::new(DataPlane { image: "penstock:test".to_owned(), ..DataPlane::default() }),
            gateway_class: gateway_class.map(str::to_owned),
            identity: "penstock-operator-0".to_owned(),
            quiet: Duration::from_millis(30),
            max: Duration::from_millis(200),
        };
        let (leading, is_leading) = watch::channel(is_leader);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(run(parts.clone(), is_leading, stopped));
        Self { server, parts, leading, _stop: stop }
    }

    /// Puts an object on the server, and has the watches see it.
    fn apply(&self, plural: &str, object: Value) {
        let path = path(&object, plural);
        self.server.put(&path, object);
        self.parts.cluster.apply(self.server.get(&path).unwrap());
    }

    /// A Gateway of our class, and the class.
    fn apply_gateway(&self) {
        self.apply("gatewayclasses", class("penstock", DEFAULT_CONTROLLER));
        self.apply("gateways", gateway("penstock"));
    }

    async fn until_written(&self, path: &str) {
        self.server.wait_until(|server| server.get(path).is_some()).await;
    }

    /// Waits until the Deployment is being written, which does not end while the server is silent about it.
    async fn until_writing(&self) {
        let is_writing = |server: &ApiServer| server.writes().iter().any(|write| write.ends_with(DEPLOYMENT));
        self.server.wait_until(is_writing).await;
    }

    /// Waits until the controller has seen that it does not lead any more, and changes the Gateway then: nothing may be
    /// written for that.
    async fn change_without_the_lead(&self) {
        while self.parts.health.metrics.is_leader.get() == 1 {
            sleep(Duration::from_millis(10)).await;
        }
        self.server.speak();
        let writes = self.server.writes();
        let mut changed = gateway("penstock");
        changed["spec"]["listeners"][0]["port"] = 8080.into();
        self.apply("gateways", changed);
        sleep(RESYNC * 2).await;
        assert_eq!(self.server.writes(), writes, "neither objects nor the Lease");
    }

    /// Waits until a translation has been made.
    async fn until_translated(&self) {
        while self.parts.health.metrics.translations.with_label_values(&["all"]).get() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn path(object: &Value, plural: &str) -> String {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap();
    let namespace = metadata["namespace"].as_str().map_or(String::new(), |it| format!("/namespaces/{it}"));
    format!("/apis/{}{namespace}/{plural}/{name}", object["apiVersion"].as_str().unwrap())
}

fn class(name: &str, controller: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": { "name": name },
        "spec": { "controllerName": controller },
    })
}

fn gateway(class: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": { "name": "gw", "namespace": "default", "uid": "7f3c", "generation": 1 },
        "spec": {
            "gatewayClassName": class,
            "listeners": [{ "name": "http", "protocol": "HTTP", "port": 80 }],
        },
    })
}

const GATEWAY: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/gw";
const ROUTING: &str = "/api/v1/namespaces/default/configmaps/penstock-gw-routing";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/penstock-operator";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/penstock-gw";

/// The status of a Gateway's condition.
fn condition(gateway: &Value, kind: &str) -> Option<(String, String)> {
    let mut conditions = gateway["status"]["conditions"].as_array().into_iter().flatten();
    let condition = conditions.find(|condition| condition["type"] == kind)?;
    Some((condition["status"].as_str()?.to_owned(), condition["reason"].as_str()?.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_gateway_is_published_and_its_status_says_what_is_missing() {
    let scene = Scene::new(true, None);
    scene.apply_gateway();
    scene.until_written(DEPLOYMENT).await;
    assert!(scene.server.get(ROUTING).is_some(), "the document is there before the Pods that read it");
    let text = scene.server.get(ROUTING).unwrap()["data"]["routing.yaml"].as_str().unwrap().to_owned();
    assert!(text.contains("generation: 1"), "{text}");
    let says = |gateway: &Value, kind: &str, status: &str, reason: &str| {
        condition(gateway, kind) == Some((status.to_owned(), reason.to_owned()))
    };
    let is_told = |server: &ApiServer| {
        let gateway = server.get(GATEWAY).unwrap();
        says(&gateway, "Accepted", "True", "Accepted") && says(&gateway, "Programmed", "False", "NoResources")
    };
    scene.server.wait_until(is_told).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_lead_writes_nothing_until_it_does() {
    let scene = Scene::new(false, Some("other"));
    scene.apply_gateway();
    scene.until_translated().await;
    sleep(RESYNC * 2).await;
    assert_eq!(scene.server.writes(), [""; 0]);
    scene.leading.send_replace(true);
    scene.until_written(DEPLOYMENT).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_loses_the_lease_amid_a_write_stops_and_goes_on_when_it_has_it_again() {
    let scene = Scene::new(true, None);
    scene.server.go_silent("/deployments/");
    scene.apply_gateway();
    scene.until_writing().await;
    scene.leading.send_replace(false);
    scene.change_without_the_lead().await;
    scene.leading.send_replace(true);
    scene.until_written(DEPLOYMENT).await;
    let text = scene.server.get(ROUTING).unwrap()["data"]["routing.yaml"].to_string();
    assert!(text.contains("0.0.0.0:8080"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_another_replica_takes_amid_a_write_ends_the_write() {
    let scene = Scene::new(false, None);
    let options = LeaseOptions::new("default", "penstock-operator", "penstock-operator-0");
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(lease::run(scene.server.client(), options, || true, scene.leading.clone(), stopped));
    scene.server.go_silent("/deployments/");
    scene.apply_gateway();
    scene.until_writing().await;
    let mut taken = scene.server.get(LEASE).unwrap();
    taken["spec"]["holderIdentity"] = "penstock-operator-1".into();
    // Longer than the test looks on.
    taken["spec"]["leaseDurationSeconds"] = 86_400.into();
    scene.server.put(LEASE, taken);
    scene.change_without_the_lead().await;
    assert_eq!(scene.server.get(DEPLOYMENT), None);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_deletes_is_there_again() {
    let scene = Scene::new(true, None);
    scene.apply_gateway();
    scene.until_written(DEPLOYMENT).await;
    scene.server.remove(ROUTING);
    // As the watch of our own objects does.
    let [name, namespace] = ["penstock-gw-routing", "default"].map(str::to_owned);
    scene.parts.owned.forget(&OwnedKey { kind: OwnedKind::ConfigMap, namespace, name });
    scene.parts.cluster.disturb();
    scene.until_written(ROUTING).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_in_the_gateways_status_until_it_is_over() {
    let scene = Scene::new(true, None);
    scene.server.refuse("/deployments/", 403, "exceeded quota", 5);
    scene.apply_gateway();
    let message = |server: &ApiServer| {
        let gateway = server.get(GATEWAY).unwrap();
        let conditions = gateway["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let programmed = conditions.into_iter().find(|condition| condition["type"] == "Programmed");
        programmed.map(|condition| condition["message"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    // The watch brings in what was written.
    let watch = |server: &ApiServer| drop(scene.parts.cluster.apply(server.get(GATEWAY).unwrap()));
    scene.server.wait_until(|server| message(server).contains("exceeded quota")).await;
    watch(&scene.server);
    scene.until_written(DEPLOYMENT).await;
    scene.server.wait_until(|server| message(server).contains("no replica")).await;
}

#[tokio::test(start_paused = true)]
async fn the_class_that_the_chart_promises_is_created() {
    let scene = Scene::new(true, Some("penstock"));
    // Its definition is not installed yet.
    scene.server.refuse("/gatewayclasses/", 404, "no such kind", 1);
    scene.apply("gatewayclasses", class("other", "example.com/controller"));
    let created = "/apis/gateway.networking.k8s.io/v1/gatewayclasses/penstock";
    scene.server.wait_until(|server| server.writes().iter().any(|write| write.ends_with(created))).await;
    assert_eq!(scene.server.get(created), None);
    sleep(RESYNC * 2).await;
    let class = scene.server.get(created).expect("it was tried again");
    assert_eq!(class["spec"]["controllerName"], DEFAULT_CONTROLLER);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_for_a_gateway_goes_when_it_is_given_to_another_controller() {
    let scene = Scene::new(true, None);
    scene.apply_gateway();
    scene.until_written(DEPLOYMENT).await;
    scene.apply("gatewayclasses", class("other", "example.com/controller"));
    scene.apply("gateways", gateway("other"));
    scene.server.wait_until(|server| server.get(DEPLOYMENT).is_none() && server.get(ROUTING).is_none()).await;
}
