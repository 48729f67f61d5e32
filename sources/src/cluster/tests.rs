//! Following a cluster whose API server misbehaves: an HTTP server in the test's own process that speaks list and watch,
//! and breaks off, lies and vanishes as it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use parking_lot::Mutex;
use penstock_apiserver::Limits;
use penstock_config::{Fault, NoProfileCheck, Snapshot};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::applier::Applier;

const DEADLINE: Duration = Duration::from_secs(60);

/// What a watch is sent: a line, or (`None`) the end of the connection.
type Line = Option<String>;

/// Lines that a watch may hold back; no test comes near.
const WAITING_LINES: usize = 1024;

#[derive(Default)]
struct Objects {
    /// By kind and name.
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    /// Every event so far: its version, of what, and the line.
    events: Vec<(u64, (String, String), String)>,
    watches: Vec<((String, String), mpsc::Sender<Line>)>,
    /// Answered to every request instead, while it is set.
    broken: Option<StatusCode>,
    requests: Vec<String>,
}

/// An API server that knows ConfigMaps and Secrets by name.
struct Api {
    address: SocketAddr,
    objects: Arc<Mutex<Objects>>,
    _task: AbortOnDropHandle<()>,
}

impl Api {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let objects: Arc<Mutex<Objects>> = Arc::default();
        let shared = objects.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let shared = shared.clone();
                let service = service_fn(move |request| {
                    let answer = answer(&shared, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, objects, _task: AbortOnDropHandle::new(task) }
    }

    fn client(&self) -> kube::Client {
        let url = format!("http://{}", self.address).parse().unwrap();
        Limits::default().client(kube::Config::new(url)).unwrap()
    }

    /// Puts an object there, or replaces it.
    fn put(&self, kind: &str, name: &str, mut object: Value) {
        let mut objects = self.objects.lock();
        objects.version += 1;
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("ns");
        object["metadata"]["resourceVersion"] = json!(objects.version.to_string());
        let key = (kind.to_owned(), name.to_owned());
        let event = if objects.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        objects.objects.insert(key.clone(), object.clone());
        objects.tell(&key, &json!({ "type": event, "object": object }).to_string());
    }

    fn put_map(&self, name: &str, key: &str, text: &str) {
        self.put("configmaps", name, json!({ "data": { key: text } }));
    }

    fn put_secret(&self, name: &str, key: &str, value: &str) {
        let secret = Secret {
            data: Some([(key.to_owned(), k8s_openapi::ByteString(value.as_bytes().to_vec()))].into()),
            ..Secret::default()
        };
        self.put("secrets", name, serde_json::to_value(secret).unwrap());
    }

    fn delete(&self, kind: &str, name: &str) {
        let mut objects = self.objects.lock();
        let key = (kind.to_owned(), name.to_owned());
        let object = objects.objects.remove(&key).unwrap();
        objects.version += 1;
        objects.tell(&key, &json!({ "type": "DELETED", "object": object }).to_string());
    }

    /// Sends every open watch a line as it is, and ends it.
    fn break_watches(&self, line: &str) {
        for (_, watch) in self.objects.lock().watches.drain(..) {
            let _ = watch.try_send(Some(line.to_owned()));
            let _ = watch.try_send(None);
        }
    }

    fn set_broken(&self, status: Option<StatusCode>) {
        self.objects.lock().broken = status;
    }
}

impl Objects {
    fn tell(&mut self, of: &(String, String), line: &str) {
        self.events.push((self.version, of.clone(), format!("{line}\n")));
        self.watches.retain(|(key, watch)| key != of || watch.try_send(Some(format!("{line}\n"))).is_ok());
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

fn answer(objects: &Mutex<Objects>, request: &Request<Incoming>) -> Response<Body> {
    let mut objects = objects.lock();
    let target = request.uri().to_string();
    objects.requests.push(target.clone());
    if let Some(status) = objects.broken {
        return plain(status, &json!({ "kind": "Status", "code": status.as_u16(), "message": "broken" }));
    }
    let kind = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let query = request.uri().query().unwrap_or_default();
    let name = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"))
        .unwrap_or_else(|| panic!("not by name: {target}"));
    let key = (kind.clone(), name.to_owned());
    if query.contains("watch=true") {
        let (sender, mut lines) = mpsc::channel::<Line>(WAITING_LINES);
        // What happened between the list and the watch.
        let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")?.parse().ok());
        for (version, of, line) in &objects.events {
            if *of == key && Some(*version) > since {
                let _ = sender.try_send(Some(line.clone()));
            }
        }
        objects.watches.push((key, sender));
        let stream = futures::stream::poll_fn(move |context| {
            lines.poll_recv(context).map(|line| match line.flatten() {
                Some(line) => Some(Ok(Frame::data(Bytes::from(line)))),
                None => Some(Err(std::io::Error::other("cut off"))),
            })
        });
        return Response::new(BodyExt::boxed(StreamBody::new(stream)));
    }
    let items: Vec<&Value> = objects.objects.get(&key).into_iter().collect();
    let kind = if kind == "secrets" { "SecretList" } else { "ConfigMapList" };
    let version = objects.version.to_string();
    let list = json!({ "kind": kind, "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items });
    plain(StatusCode::OK, &list)
}

fn plain(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// What the follower did.
#[derive(Debug, Default, Clone)]
struct Done {
    applied: Vec<(u64, Option<String>)>,
    lists: BTreeMap<String, Option<String>>,
    refused: usize,
    file_reloads: usize,
}

#[derive(Default)]
struct Recorder {
    done: watch::Sender<Done>,
}

impl Recorder {
    async fn until(&self, what: &str, is_done: impl FnMut(&Done) -> bool) -> Done {
        let mut done = self.done.subscribe();
        let waited = tokio::time::timeout(DEADLINE, done.wait_for(is_done)).await;
        match waited {
            Ok(done) => done.unwrap().clone(),
            Err(_) => panic!("{what}: {:?}", self.done.borrow()),
        }
    }

    async fn generation(&self, generation: u64) -> Done {
        self.until("applied", |done| done.applied.last().is_some_and(|(last, _)| *last == generation)).await
    }
}

impl Applier for Recorder {
    fn apply(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>> {
        let key = snapshot.secret_uses.first().map(|used| std::fs::read_to_string(&used.path));
        if let Some(Err(error)) = key {
            return Err(vec![Fault::new("credential", error.to_string())]);
        }
        let key = key.and_then(Result::ok);
        self.done.send_modify(|done| done.applied.push((snapshot.generation.unwrap_or(0), key)));
        Ok(())
    }

    fn set_list(&self, reference: &str, text: Option<&str>) {
        self.done.send_modify(|done| {
            done.lists.insert(reference.to_owned(), text.map(str::to_owned));
        });
    }

    fn refused(&self) {
        self.done.send_modify(|done| done.refused += 1);
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        Vec::new()
    }

    fn reload_files(&self) {
        self.done.send_modify(|done| done.file_reloads += 1);
    }
}

#[derive(Default)]
struct Counts {
    failing: AtomicUsize,
    errors: AtomicU64,
}

impl WatchMetrics for Counts {
    fn set_watched(&self, _objects: usize, failing: usize) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    fn add_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
}

/// A gateway that follows.
struct Following {
    recorder: Arc<Recorder>,
    status: Arc<StatusCell>,
    metrics: Arc<Counts>,
    _stop: tokio_util::sync::DropGuard,
}

fn follow(client: kube::Client, cache: Option<&Path>) -> Following {
    let (recorder, status, metrics) =
        (Arc::new(Recorder::default()), Arc::new(StatusCell::default()), Arc::new(Counts::default()));
    let source = ClusterSource { base: "gw".to_owned(), namespace: "ns".to_owned() };
    let follower =
        Follower::new(source, client, Arc::new(NoProfileCheck), cache, status.clone(), metrics.clone())
            .unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(follower.follow(recorder.clone(), stop.clone()));
    Following { recorder, status, metrics, _stop: stop.drop_guard() }
}

fn document(generation: u64, rest: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nmetadata: {{generation: {generation}}}\n\
         listeners: [{{name: http, address: '127.0.0.1:0'}}]\n{rest}"
    )
}

const WITH_SECRET: &str = "secretsFrom: gw-secrets\npools: [{name: p, credential: {file: 'secret:key'}}]\n";
const WITH_LIST: &str = "pools: [{name: p, endpointsFrom: [gw-ep-p-0]}]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_applied_and_what_changes_is_taken_over() {
    let api = Api::start().await;
    let following = follow(api.client(), None);
    let recorder = &following.recorder;
    api.put_map("gw-routing", "routing.yaml", &document(1, WITH_LIST));
    let done = recorder.generation(1).await;
    assert_eq!(done.lists.get("gw-ep-p-0"), Some(&None), "the list was looked for first");
    api.put_map("gw-ep-p-0", "endpoints.yaml", "one");
    recorder.until("a list", |done| done.lists.get("gw-ep-p-0") == Some(&Some("one".to_owned()))).await;
    api.delete("configmaps", "gw-ep-p-0");
    recorder.until("a list", |done| done.lists.get("gw-ep-p-0") == Some(&None)).await;
    api.put_map("gw-routing", "routing.yaml", &document(2, ""));
    recorder.generation(2).await;
    // The status follows once the document is in force.
    tokio::time::timeout(DEADLINE, async {
        while following.status.get().document_generation != Some(2) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the status tells the generation in force");
    let is_by_name =
        |request: &String| request.contains("/namespaces/ns/") && request.contains("fieldSelector=");
    assert!(api.objects.lock().requests.iter().all(is_by_name));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_or_deleted_document_leaves_the_running_one() {
    let api = Api::start().await;
    api.put_map("gw-routing", "routing.yaml", &document(1, ""));
    let following = follow(api.client(), None);
    following.recorder.generation(1).await;
    api.put_map("gw-routing", "routing.yaml", "kind: nonsense");
    following.recorder.until("refused", |done| done.refused == 1).await;
    assert!(following.status.get().last_failure.is_some());
    api.delete("configmaps", "gw-routing");
    api.put_map("gw-routing", "routing.yaml", &document(3, ""));
    let done = following.recorder.generation(3).await;
    assert_eq!(done.applied.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_waits_for_its_secret_and_is_tried_again_when_that_changes() {
    let api = Api::start().await;
    api.put_map("gw-routing", "routing.yaml", &document(1, WITH_SECRET));
    api.put_secret("gw-secrets", "other", "x");
    let following = follow(api.client(), None);
    following.recorder.until("refused", |done| done.refused == 1).await;
    api.put_secret("gw-secrets", "key", "sk-1");
    let done = following.recorder.generation(1).await;
    assert_eq!(done.applied, [(1, Some("sk-1".to_owned()))]);
    let before = done.file_reloads;
    api.put_secret("gw-secrets", "key", "sk-2");
    following.recorder.until("reloaded", |done| done.file_reloads > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_survive_what_an_api_server_does_to_them() {
    let api = Api::start().await;
    api.put_map("gw-routing", "routing.yaml", &document(1, ""));
    let following = follow(api.client(), None);
    following.recorder.generation(1).await;
    let gone = json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410, "reason": "Expired", "message": "too old" } });
    let bookmark = json!({ "type": "BOOKMARK", "object": { "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "resourceVersion": "1" } } });
    for (generation, line) in [
        (2, format!("{gone}\n")),
        (3, "{\"type\":\"MODIFIED\",\"object\":{\"kind".to_owned()),
        (4, "garbage\n".to_owned()),
        (5, format!("{bookmark}\n")),
        (6, String::new()),
    ] {
        api.break_watches(&line);
        api.put_map("gw-routing", "routing.yaml", &document(generation, ""));
        following.recorder.generation(generation).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_goes_away_changes_nothing_and_is_found_again() {
    let api = Api::start().await;
    api.put_map("gw-routing", "routing.yaml", &document(1, ""));
    let following = follow(api.client(), None);
    following.recorder.generation(1).await;
    api.set_broken(Some(StatusCode::INTERNAL_SERVER_ERROR));
    api.break_watches("");
    tokio::time::timeout(DEADLINE, async {
        while following.metrics.failing.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the failure is counted");
    assert!(following.metrics.errors.load(Ordering::Relaxed) > 0);
    api.put_map("gw-routing", "routing.yaml", &document(2, ""));
    api.set_broken(None);
    let done = following.recorder.generation(2).await;
    assert_eq!((done.applied.len(), done.refused), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_an_api_server_takes_the_last_good_state() {
    let cache = tempfile::tempdir().unwrap();
    let rest = "secretsFrom: gw-secrets\npools: [{name: p, endpointsFrom: [gw-ep-p-0], credential: {file: 'secret:key'}}]\n";
    {
        let api = Api::start().await;
        api.put_map("gw-routing", "routing.yaml", &document(7, rest));
        api.put_map("gw-ep-p-0", "endpoints.yaml", "one");
        api.put_secret("gw-secrets", "key", "sk-1");
        let following = follow(api.client(), Some(cache.path()));
        following.recorder.generation(7).await;
        let kept = cache.path().join("routing.yaml");
        tokio::time::timeout(DEADLINE, async {
            while !kept.exists() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the document is kept");
    }
    let api = Api::start().await;
    api.set_broken(Some(StatusCode::SERVICE_UNAVAILABLE));
    let following = follow(api.client(), Some(cache.path()));
    let done = following.recorder.generation(7).await;
    assert_eq!(done.applied, [(7, Some("sk-1".to_owned()))]);
    assert_eq!(done.lists.get("gw-ep-p-0"), Some(&Some("one".to_owned())));
    // Once the API server is back, it is believed.
    api.put_map("gw-routing", "routing.yaml", &document(8, ""));
    api.set_broken(None);
    following.recorder.generation(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_in_parts_is_applied_when_all_are_of_one_state() {
    let api = Api::start().await;
    let part = |text: &str, whole: &str| {
        let map = ConfigMap {
            data: Some([("routing.yaml".to_owned(), text.to_owned())].into()),
            ..ConfigMap::default()
        };
        let mut map = serde_json::to_value(map).unwrap();
        map["metadata"]["annotations"] =
            json!({ "penstock.dev/parts": "2", "penstock.dev/digest": penstock_config::digest(whole) });
        map
    };
    let (one, two) = (document(1, ""), document(2, ""));
    let cut = one.len() / 2;
    api.put("configmaps", "gw-routing", part(&one[..cut], &one));
    let following = follow(api.client(), None);
    api.put("configmaps", "gw-routing-1", part(&one[cut..], &one));
    following.recorder.generation(1).await;
    api.put("configmaps", "gw-routing-1", part(&two[cut..], &two));
    api.put("configmaps", "gw-routing", part(&two[..cut], &two));
    let done = following.recorder.generation(2).await;
    assert_eq!((done.applied.len(), done.refused), (2, 0), "nothing in between was taken for a document");
}
