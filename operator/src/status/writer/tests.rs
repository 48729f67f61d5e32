use penstock_translate::{
    Condition, DEFAULT_CONTROLLER, Entries, ParentStatus, Status,
    world::{Key, Kind},
};

use super::*;
use crate::fixtures::ApiServer;

/// A writer, the API server that it writes to, and what the watches saw there.
struct Scene {
    server: ApiServer,
    cluster: Arc<Cluster>,
    writer: StatusWriter,
}

impl Scene {
    /// With these routes, on the server and seen by the watch.
    fn new(routes: &[&str]) -> Self {
        let server = ApiServer::default();
        let cluster = Arc::new(Cluster::default());
        for name in routes {
            server.put(&path(name), route(name));
        }
        let scene = Self {
            writer: StatusWriter::start(server.client(), Arc::clone(&cluster), Arc::default()),
            server,
            cluster,
        };
        scene.watch(routes);
        scene
    }

    /// Has the watch see routes as they are now.
    fn watch(&self, routes: &[&str]) {
        for name in routes {
            self.cluster.apply(self.server.get(&path(name)).unwrap());
        }
    }

    /// How often a route's status was written.
    fn writes_of(&self, name: &str) -> usize {
        let end = format!("/{name}/status");
        self.server.writes().iter().filter(|write| write.ends_with(&end)).count()
    }

    /// Waits until a route's status says this of ours.
    async fn until(&self, name: &str, message: &str) {
        self.server.wait_until(|server| ours(&server.get(&path(name)).unwrap()) == [message]).await;
    }
}

fn path(name: &str) -> String {
    format!("/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes/{name}")
}

fn route(name: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": { "name": name, "namespace": "default", "generation": 3 },
        "spec": { "parentRefs": [{ "name": "gw" }] },
    })
}

/// What a route's status shall say of its only parent.
fn desired(name: &str, message: &str) -> Desired {
    let entry = ParentStatus {
        parent_ref: json!({ "name": "gw" }),
        controller_name: DEFAULT_CONTROLLER.to_owned(),
        conditions: vec![Condition::yes("Accepted", "Accepted", message)],
    };
    let controllers = vec![DEFAULT_CONTROLLER.to_owned()];
    let update = StatusUpdate {
        object: ObjectId { kind: Kind::HttpRoute, key: Key::new("default", name) },
        api_version: "gateway.networking.k8s.io/v1".to_owned(),
        generation: 3,
        // Entries that lost their controller's name are ours, as InferencePools have it.
        status: Status::Parents(Entries {
            controllers,
            entries: vec![entry],
            nameless: vec![json!({ "name": "gw" })],
        }),
    };
    Desired { update, addresses: None }
}

/// An entry of another controller.
fn theirs() -> Value {
    json!({ "parentRef": { "name": "other" }, "controllerName": "example.com/controller", "conditions": [] })
}

/// The messages of our entries in a route's status.
fn ours(route: &Value) -> Vec<&str> {
    let entries = route["status"]["parents"].as_array().into_iter().flatten();
    let ours = entries.filter(|entry| entry["controllerName"] != "example.com/controller");
    ours.filter_map(|entry| entry["conditions"][0]["message"].as_str()).collect()
}

/// Longer than anything that the writer waits for.
async fn a_long_while() {
    tokio::time::sleep(COMPARE_AGAIN.max(LONGEST_WAIT) * 10).await;
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_when_it_differs_and_not_otherwise() {
    let scene = Scene::new(&["a"]);
    scene.writer.set(vec![desired("a", "attached")]);
    scene.until("a", "attached").await;
    scene.watch(&["a"]);
    scene.writer.set(vec![desired("a", "attached")]);
    a_long_while().await;
    assert_eq!(scene.server.writes().len(), 1, "an idle writer writes nothing");
    scene.writer.set(vec![desired("a", "refused")]);
    scene.until("a", "refused").await;
    assert_eq!(scene.server.writes().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_another_controller_writes_at_the_same_time_is_not_lost() {
    let scene = Scene::new(&["a"]);
    scene.server.interfere(&path("a"), |route| route["status"] = json!({ "parents": [theirs()] }));
    scene.writer.set(vec![desired("a", "attached")]);
    scene.until("a", "attached").await;
    let route = scene.server.get(&path("a")).unwrap();
    assert_eq!(route["status"]["parents"].as_array().unwrap().len(), 2, "{route}");
    assert_eq!(route["status"]["parents"][0], theirs());
    assert_eq!(scene.server.writes().len(), 2, "the first was made from what is no longer so");
}

#[tokio::test(start_paused = true)]
async fn a_refused_status_is_tried_again_ever_later_and_holds_up_no_other() {
    for code in [403, 422, 500] {
        let scene = Scene::new(&["a", "b"]);
        scene.server.refuse("httproutes/a", code, "not today", 3);
        let began = Instant::now();
        scene.writer.set(vec![desired("a", "attached"), desired("b", "attached")]);
        scene.until("b", "attached").await;
        assert!(began.elapsed() < FIRST_WAIT, "{code}");
        scene.watch(&["b"]);
        scene.until("a", "attached").await;
        assert_eq!(scene.writes_of("a"), 4, "{code}");
        assert!(began.elapsed() >= FIRST_WAIT * 7, "{code}: a second, two, and four");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_somebody_else_always_writes_first_is_not_fought_over() {
    let scene = Scene::new(&["a"]);
    scene.server.refuse("httproutes/a", 409, "the object has been modified", usize::MAX);
    scene.writer.set(vec![desired("a", "attached")]);
    tokio::time::sleep(LONGEST_WAIT * 10).await;
    let writes = scene.writes_of("a");
    assert!((12..20).contains(&writes), "{writes}: six in the first minute, then one in each");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_the_former_leader_wrote_is_not_written_again() {
    let scene = Scene::new(&["a"]);
    scene.writer.set(vec![desired("a", "attached")]);
    scene.until("a", "attached").await;
    // The next leader's watch has not seen that yet.
    let cluster = Arc::new(Cluster::default());
    cluster.apply(route("a"));
    let next = StatusWriter::start(scene.server.client(), cluster, Arc::default());
    next.set(vec![desired("a", "attached")]);
    a_long_while().await;
    assert_eq!(scene.writes_of("a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_for_one_status_is_asked_again_and_holds_up_no_other() {
    let scene = Scene::new(&["a", "b"]);
    scene.server.go_silent("httproutes/a/status");
    let began = Instant::now();
    scene.writer.set(vec![desired("a", "attached"), desired("b", "attached")]);
    scene.until("b", "attached").await;
    assert!(began.elapsed() < FIRST_WAIT);
    scene.watch(&["b"]);
    scene.server.wait_until(|server| server.writes().len() > 2).await;
    scene.server.speak();
    scene.until("a", "attached").await;
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_drops_a_field_does_not_make_it_write_for_ever() {
    let scene = Scene::new(&["a"]);
    scene.server.prune("controllerName");
    scene.writer.set(vec![desired("a", "attached")]);
    scene.until("a", "attached").await;
    for _ in 0..5 {
        scene.watch(&["a"]);
        scene.writer.set(vec![desired("a", "attached")]);
        a_long_while().await;
    }
    assert_eq!(scene.server.writes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_no_failure() {
    let scene = Scene::new(&["a", "b"]);
    scene.cluster.apply(route("gone"));
    scene.writer.set(vec![desired("gone", "attached"), desired("b", "attached")]);
    scene.until("b", "attached").await;
    scene.watch(&["b"]);
    a_long_while().await;
    assert_eq!(scene.server.writes().len(), 1, "{:?}", scene.server.writes());
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_dropped_amid_a_write_writes_nothing_more() {
    let scene = Scene::new(&["a"]);
    scene.server.go_silent("httproutes/a/status");
    scene.writer.set(vec![desired("a", "attached")]);
    scene.server.wait_until(|server| !server.writes().is_empty()).await;
    // As when leadership is lost.
    drop(scene.writer);
    scene.server.speak();
    a_long_while().await;
    assert_eq!(scene.server.writes().len(), 1);
    assert_eq!(ours(&scene.server.get(&path("a")).unwrap()), [""; 0]);
}
