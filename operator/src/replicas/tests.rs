use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// A data plane that answers `/readyz` as it is told, as long as it lives.
struct DataPlane {
    port: u16,
    answer: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl DataPlane {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(String::new()));
        let task = tokio::spawn({
            let answer = Arc::clone(&answer);
            async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut head = [0; 1024];
                    if stream.read(&mut head).await.unwrap_or(0) == 0 {
                        continue;
                    }
                    let body = answer.lock().clone();
                    let response = format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = stream.write_all(response.as_bytes()).await;
                }
            }
        });
        Self { port, answer, task }
    }

    fn says(&self, is_ready: bool, generation: u64) {
        *self.answer.lock() = json!({ "ready": is_ready, "generation": generation }).to_string();
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pod(name: &str, app: &str, ip: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": { GATEWAY_NAME: "gw", "app.kubernetes.io/name": app },
        },
        "status": { "podIP": ip },
    })
}

fn gateway() -> Key {
    Key::new("default", "gw")
}

fn running(programmed: usize) -> Running {
    Running { replicas: 1, programmed, without_credential: BTreeMap::new() }
}

#[tokio::test]
async fn a_data_plane_counts_once_it_serves_what_is_wanted() {
    let data_plane = DataPlane::start().await;
    let (cluster, changed) = (Arc::new(Cluster::default()), Arc::new(Notify::new()));
    cluster.apply(pod("gw-1", APP_NAME, "127.0.0.1"));
    let replicas = Replicas::start_at(data_plane.port, Arc::clone(&cluster), Arc::clone(&changed));

    data_plane.says(true, 6);
    replicas.want(BTreeMap::from([(gateway(), 7)]));
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), running(0), "an older generation");
    data_plane.says(true, 7);
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), running(1));
    data_plane.says(false, 8);
    replicas.want(BTreeMap::from([(gateway(), 8)]));
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), running(0), "not ready");
    data_plane.says(true, 9);
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), running(1), "a later generation will do");
}

#[tokio::test]
async fn credentials_that_a_data_plane_does_not_have_are_told() {
    let data_plane = DataPlane::start().await;
    let (cluster, changed) = (Arc::new(Cluster::default()), Arc::new(Notify::new()));
    cluster.apply(pod("gw-1", APP_NAME, "127.0.0.1"));
    let long = "x".repeat(2 * MAX_ERROR_BYTES);
    let missing = json!([
        { "upstream": "ns.azure", "error": "invalid_client", "since": "2026-01-01T00:00:00Z" },
        { "upstream": "ns.long", "error": long },
    ]);
    *data_plane.answer.lock() =
        json!({ "ready": true, "generation": 1, "without_credential": missing }).to_string();
    let replicas = Replicas::start_at(data_plane.port, cluster, Arc::clone(&changed));
    replicas.want(BTreeMap::from([(gateway(), 1)]));
    changed.notified().await;
    let running = replicas.running(&gateway());
    assert_eq!(running.programmed, 1, "it serves everything else");
    assert_eq!(running.without_credential["ns.azure"], "invalid_client");
    assert!(running.without_credential["ns.long"].len() < MAX_ERROR_BYTES + 8);
}

#[tokio::test]
async fn a_data_plane_that_does_not_answer_is_there_and_serves_nothing() {
    // A port that was free a moment ago.
    let port = DataPlane::start().await.port;
    let (cluster, changed) = (Arc::new(Cluster::default()), Arc::new(Notify::new()));
    cluster.apply(pod("gw-1", APP_NAME, "127.0.0.1"));
    let replicas = Replicas::start_at(port, cluster, Arc::clone(&changed));
    replicas.want(BTreeMap::from([(gateway(), 1)]));
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), running(0));
}

#[tokio::test(start_paused = true)]
async fn a_data_plane_that_says_nothing_is_there_and_serves_nothing() {
    // Accepts by the kernel alone.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (cluster, changed) = (Arc::new(Cluster::default()), Arc::new(Notify::new()));
    cluster.apply(pod("gw-1", APP_NAME, "127.0.0.1"));
    let port = silent.local_addr().unwrap().port();
    let replicas = Replicas::start_at(port, cluster, Arc::clone(&changed));
    replicas.want(BTreeMap::from([(gateway(), 1)]));
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), running(0));
}

#[tokio::test]
async fn an_answer_that_is_none_of_a_data_plane_counts_for_nothing() {
    let data_plane = DataPlane::start().await;
    let (cluster, changed) = (Arc::new(Cluster::default()), Arc::new(Notify::new()));
    cluster.apply(pod("gw-1", APP_NAME, "127.0.0.1"));
    let padding = " ".repeat(MAX_ANSWER_BYTES);
    let ready = json!({ "ready": true, "generation": 7 });
    for answer in [String::new(), "ready".to_owned(), "[]".to_owned(), format!("{ready}{padding}")] {
        *data_plane.answer.lock() = answer.clone();
        let replicas = Replicas::start_at(data_plane.port, Arc::clone(&cluster), Arc::clone(&changed));
        replicas.want(BTreeMap::from([(gateway(), 1)]));
        changed.notified().await;
        let shown = &answer[..answer.len().min(40)];
        assert_eq!(replicas.running(&gateway()), running(0), "{shown}");
    }
}

#[tokio::test]
async fn a_gateway_whose_pod_goes_has_none() {
    let data_plane = DataPlane::start().await;
    data_plane.says(true, 1);
    let (cluster, changed) = (Arc::new(Cluster::default()), Arc::new(Notify::new()));
    cluster.apply(pod("gw-1", APP_NAME, "127.0.0.1"));
    let replicas = Replicas::start_at(data_plane.port, Arc::clone(&cluster), Arc::clone(&changed));
    replicas.want(BTreeMap::from([(gateway(), 1)]));
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), running(1));
    let mut ending = pod("gw-1", APP_NAME, "127.0.0.1");
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    cluster.apply(ending);
    replicas.want(BTreeMap::from([(gateway(), 2)]));
    changed.notified().await;
    assert_eq!(replicas.running(&gateway()), Running::default());
}

#[test]
fn only_pods_of_the_gateway_that_stay_are_polled() {
    let mut world = World::default();
    world.apply(pod("gw-1", APP_NAME, "10.0.0.1")).unwrap();
    world.apply(pod("model", "vllm", "10.0.0.2")).unwrap();
    world.apply(pod("starting", APP_NAME, "")).unwrap();
    let mut ending = pod("gw-0", APP_NAME, "10.0.0.3");
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    world.apply(ending).unwrap();
    let mut other = pod("other", APP_NAME, "10.0.0.4");
    other["metadata"]["labels"][GATEWAY_NAME] = "other".into();
    world.apply(other).unwrap();
    assert_eq!(pods(&world, &gateway()), [IpAddr::from([10, 0, 0, 1])]);
}
