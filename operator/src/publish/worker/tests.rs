use kube::api::ObjectMeta;
use serde_json::json;

use super::*;
use crate::{
    fixtures::ApiServer,
    manifest::{Names, OwnedKind, Owner},
};

/// Workers, the API server that they write to, and what is noted of it.
struct Scene {
    server: ApiServer,
    owned: Arc<Owned>,
    workers: Workers,
    progressed: Arc<Notify>,
}

impl Scene {
    fn new() -> Self {
        let (server, progressed) = (ApiServer::default(), Arc::new(Notify::new()));
        let owned = Arc::new(Owned::new(Arc::default()));
        let workers =
            Workers::new(server.client(), Arc::clone(&owned), Arc::default(), Arc::clone(&progressed));
        Self { server, owned, workers, progressed }
    }

    fn progress(&self) -> Option<Progress> {
        self.workers.progress().remove(&gateway())
    }

    /// Waits for a Gateway's progress to be as wanted, and returns it.
    async fn until(&self, is_it: impl Fn(&Progress) -> bool) -> Progress {
        loop {
            match self.progress() {
                Some(progress) if is_it(&progress) => return progress,
                _ => self.progressed.notified().await,
            }
        }
    }

    async fn until_published(&self, generation: u64) {
        self.until(|progress| *progress == Progress::Published { generation }).await;
    }

    /// How often an object was written, as of now.
    fn writes_of(&self, name: &str) -> usize {
        let end = format!("/{name}");
        self.server
            .writes()
            .iter()
            .filter(|write| write.starts_with("PATCH") && write.ends_with(&end))
            .count()
    }
}

fn gateway() -> Key {
    Key::new("default", "gw")
}

fn manifest(kind: OwnedKind, name: &str, text: &str) -> Arc<Manifest> {
    let owner = Owner {
        names: Names::of(&gateway()),
        gateway: gateway(),
        uid: "7f3c".to_owned(),
        api_version: "gateway.networking.k8s.io/v1".to_owned(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    Arc::new(Manifest::new(&owner, kind, name, &[], &[], json!({ "data": { "text": text } })))
}

fn config_map(name: &str, text: &str) -> Arc<Manifest> {
    manifest(OwnedKind::ConfigMap, name, text)
}

fn plan(generation: u64, steps: &[&[Arc<Manifest>]]) -> Arc<Plan> {
    Arc::new(Plan {
        gateway: gateway(),
        names: Names::of(&gateway()),
        steps: steps.iter().map(|step| step.to_vec()).collect(),
        generation,
        has_workload: true,
        since: None,
    })
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/default/configmaps/{name}")
}

#[tokio::test(start_paused = true)]
async fn everything_is_written_and_each_step_after_the_one_before() {
    let mut scene = Scene::new();
    let role = manifest(OwnedKind::Role, "role", "");
    let deployment = manifest(OwnedKind::Deployment, "deployment", "");
    let endpoints = [config_map("a", "1"), config_map("b", "1")];
    scene.workers.publish(plan(1, &[&[role], &endpoints, &[config_map("routing", "1")], &[deployment]]));
    scene.until_published(1).await;
    let writes = scene.server.writes();
    let at = |name: &str| writes.iter().position(|write| write.ends_with(name)).unwrap();
    assert_eq!(writes.len(), 5, "{writes:?}");
    assert!(at("/role") < at("/a").min(at("/b")), "{writes:?}");
    assert!(at("/a").max(at("/b")) < at("/routing") && at("/routing") < at("/deployment"), "{writes:?}");
    assert_eq!(scene.server.get(&path("a")).unwrap()["data"]["text"], "1");
}

#[tokio::test(start_paused = true)]
async fn only_what_differs_is_written_again() {
    let mut scene = Scene::new();
    scene.workers.publish(plan(1, &[&[config_map("a", "1"), config_map("b", "1")]]));
    scene.until_published(1).await;
    scene.workers.publish(plan(2, &[&[config_map("a", "1"), config_map("b", "2")]]));
    scene.until_published(2).await;
    assert_eq!((scene.writes_of("a"), scene.writes_of("b")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_up_what_comes_later_and_is_tried_again() {
    // Forbidden, somebody else wrote at the same time, not valid, and the server's own fault.
    for code in [403, 409, 422, 500] {
        let mut scene = Scene::new();
        scene.server.refuse("configmaps/b", code, "not today", 2);
        let began = Instant::now();
        scene.workers.publish(plan(1, &[&[config_map("b", "1")], &[config_map("routing", "1")]]));
        let failed = scene.until(|progress| matches!(progress, Progress::Failed { .. })).await;
        let Progress::Failed { message } = failed else { unreachable!("it was waited for") };
        assert!(message.contains("ConfigMap b") && message.contains("not today"), "{code}: {message}");
        assert_eq!(scene.writes_of("routing"), 0, "{code}: nothing may name what is not there");
        scene.until_published(1).await;
        assert_eq!((scene.writes_of("b"), scene.writes_of("routing")), (3, 1), "{code}");
        assert!(began.elapsed() >= FIRST_WAIT * 3, "{code}: the second wait is twice the first");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_tried_ever_less_often() {
    let mut scene = Scene::new();
    scene.server.refuse("configmaps/b", 422, "not valid", usize::MAX);
    scene.workers.publish(plan(1, &[&[config_map("b", "1")]]));
    tokio::time::sleep(LONGEST_WAIT * 20).await;
    let writes = scene.writes_of("b");
    assert!((20..30).contains(&writes), "{writes}: seven in the first half minute, then one in each");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_holds_up_one_gateway_alone_and_is_asked_again() {
    let mut scene = Scene::new();
    scene.server.go_silent("configmaps/b");
    scene.workers.publish(plan(1, &[&[config_map("b", "1")]]));
    let other = Key::new("default", "other");
    let plan_of_other = Plan { gateway: other.clone(), ..Plan::clone(&plan(1, &[&[config_map("c", "1")]])) };
    scene.workers.publish(Arc::new(plan_of_other));
    scene.server.wait_until(|server| server.get(&path("c")).is_some()).await;
    assert_eq!(scene.progress(), None, "it is still waited for");
    scene.until(|progress| matches!(progress, Progress::Failed { .. })).await;
    assert_eq!(scene.workers.progress()[&other], Progress::Published { generation: 1 });
    scene.server.speak();
    scene.until_published(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_plan_takes_the_place_of_one_that_fails() {
    let mut scene = Scene::new();
    scene.server.refuse("configmaps/b", 500, "broken", usize::MAX);
    scene.workers.publish(plan(1, &[&[config_map("b", "1")]]));
    scene.until(|progress| matches!(progress, Progress::Failed { .. })).await;
    scene.workers.publish(plan(2, &[&[config_map("c", "2")]]));
    scene.until_published(2).await;
    assert_eq!(scene.server.get(&path("b")), None);
    assert!(scene.server.get(&path("c")).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_goes_when_data_planes_have_had_time_to_see_that() {
    let mut scene = Scene::new();
    scene.workers.publish(plan(1, &[&[config_map("a", "1"), config_map("b", "1")]]));
    scene.until_published(1).await;
    scene.workers.publish(plan(2, &[&[config_map("a", "2")]]));
    scene.until_published(2).await;
    let published = Instant::now();
    assert!(scene.server.get(&path("b")).is_some(), "a data plane may still read it");
    scene.server.wait_until(|server| server.get(&path("b")).is_none()).await;
    assert!(published.elapsed() >= SWEEP_AFTER);
    assert!(scene.server.get(&path("a")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_ended_amid_a_write_writes_nothing_more() {
    let mut scene = Scene::new();
    scene.server.go_silent("configmaps/b");
    let b = config_map("b", "1");
    scene.workers.publish(plan(1, &[&[Arc::clone(&b)], &[config_map("c", "1")]]));
    scene.server.wait_until(|server| server.writes().iter().any(|write| write.ends_with("/b"))).await;
    let Scene { server, owned, workers, .. } = scene;
    // As when leadership is lost.
    drop(workers);
    server.speak();
    tokio::time::sleep(LONGEST_WAIT * 2).await;
    assert_eq!(server.writes().len(), 1, "{:?}", server.writes());
    assert!(owned.is_due(&b.key, &b.digest), "it is not known that the write came through");
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_deletes_is_there_again_with_the_next_plan() {
    let mut scene = Scene::new();
    let both = [config_map("a", "1"), config_map("b", "1")];
    scene.workers.publish(plan(1, &[&both]));
    scene.until_published(1).await;
    scene.server.remove(&path("b"));
    // As the watch does.
    scene.owned.forget(&both[1].key);
    scene.workers.publish(plan(1, &[&both]));
    scene.server.wait_until(|server| server.get(&path("b")).is_some()).await;
    assert_eq!((scene.writes_of("a"), scene.writes_of("b")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_no_longer_ours_is_left_alone() {
    let mut scene = Scene::new();
    scene.server.refuse("configmaps/b", 500, "broken", usize::MAX);
    scene.workers.publish(plan(1, &[&[config_map("b", "1")]]));
    scene.until(|progress| matches!(progress, Progress::Failed { .. })).await;
    scene.workers.retain(&BTreeSet::new());
    let writes = scene.server.writes().len();
    tokio::time::sleep(LONGEST_WAIT * 2).await;
    assert_eq!((scene.server.writes().len(), scene.progress()), (writes, None));
}

#[tokio::test(start_paused = true)]
async fn what_a_former_gateway_left_is_removed_and_what_is_gone_is_no_failure() {
    let scene = Scene::new();
    let [there, gone] = [config_map("a", "1"), config_map("b", "1")];
    scene.server.put(&path("a"), there.body.clone());
    for manifest in [&there, &gone] {
        let metadata: ObjectMeta = serde_json::from_value(manifest.body["metadata"].clone()).unwrap();
        scene.owned.finish(&manifest.key, Some(&metadata));
    }
    scene.workers.remove(BTreeSet::from([there.key.clone(), gone.key.clone()]));
    scene.server.wait_until(|server| server.get(&path("a")).is_none() && server.writes().len() == 2).await;
    while scene.owned.is_there(&there.key) || scene.owned.is_there(&gone.key) {
        tokio::task::yield_now().await;
    }
}
