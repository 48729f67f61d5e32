//! An API server in memory, behind a client as the operator has it: what it was asked to write, what it refuses, and who
//! else writes at the same time are up to a test.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use parking_lot::Mutex;
use penstock_apiserver::Limits;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::timeout::Timeout;

/// A whole answer, or a watch: that begins, and has nothing to tell.
type Answer = Either<Full<Bytes>, StreamBody<stream::Pending<Result<Frame<Bytes>, Infallible>>>>;

/// An API server. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// By path, as `/api/v1/namespaces/default/configmaps/a`.
    objects: BTreeMap<String, Value>,
    resource_version: u64,
    /// Requests that would change something, in their order: method and path.
    writes: Vec<String>,
    refusals: Vec<Refusal>,
    /// Runs once, before a write to its path is looked at.
    interferences: Vec<(String, Interference)>,
    /// Requests for paths with this in them are not answered.
    silent: Option<String>,
    /// A member of statuses that the definitions here do not have.
    pruned: Option<&'static str>,
    /// Paths of which nothing but metadata was asked for.
    metadata_requests: Vec<String>,
}

type Interference = Box<dyn FnOnce(&mut Value) + Send>;

struct Refusal {
    path: String,
    code: u16,
    message: &'static str,
    times: usize,
}

impl ApiServer {
    /// A client of it, as patient as the operator's.
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(Timeout::new(service, Limits::default().answer), "default")
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut state = self.state.lock();
        state.store(path, object);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Deletes an object, as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        self.state.lock().objects.remove(path);
        self.changed.notify_waiters();
    }

    /// An object as it is.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// What it was asked to write so far: method and path.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.state.lock().writes.clone()
    }

    /// Refuses the next `times` writes to paths that have `path` in them.
    pub(crate) fn refuse(&self, path: &str, code: u16, message: &'static str, times: usize) {
        self.state.lock().refusals.push(Refusal { path: path.to_owned(), code, message, times });
    }

    /// Changes an object just before the next write to it, which was made from what it was before.
    pub(crate) fn interfere(&self, path: &str, change: impl FnOnce(&mut Value) + Send + 'static) {
        self.state.lock().interferences.push((path.to_owned(), Box::new(change)));
    }

    /// Answers no requests for paths that have this in them, from now on.
    pub(crate) fn go_silent(&self, path: &str) {
        self.state.lock().silent = Some(path.to_owned());
    }

    /// Answers all requests again.
    pub(crate) fn speak(&self) {
        self.state.lock().silent = None;
    }

    /// The paths of which nothing but metadata was asked for.
    pub(crate) fn metadata_requests(&self) -> Vec<String> {
        self.state.lock().metadata_requests.clone()
    }

    /// Drops a member of statuses, as definitions do that are older than ours.
    pub(crate) fn prune(&self, member: &'static str) {
        self.state.lock().pruned = Some(member);
    }

    /// Waits until `is_so` holds.
    pub(crate) async fn wait_until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            if is_so(self) {
                return;
            }
            changed.await;
        }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_watch = head.uri.query().is_some_and(|query| query.contains("watch=true"));
        let is_silent =
            self.state.lock().silent.as_ref().is_some_and(|silent| path.contains(silent.as_str()));
        if head.method != Method::GET {
            self.state.lock().writes.push(format!("{} {path}", head.method));
            self.changed.notify_waiters();
        }
        if is_silent {
            std::future::pending::<()>().await;
        }
        if is_watch {
            return Response::new(Either::Right(StreamBody::new(stream::pending())));
        }
        let accepts = head.headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let wants_metadata = accepts.is_some_and(|accept| accept.contains("as=PartialObjectMetadata"));
        let (status, mut answer) = self.state.lock().handle(&head.method, &path, body);
        if wants_metadata {
            self.state.lock().metadata_requests.push(path);
            for item in answer["items"].as_array_mut().into_iter().flatten() {
                *item = json!({ "metadata": item["metadata"] });
            }
        }
        self.changed.notify_waiters();
        let mut response = Response::new(Either::Left(Full::from(answer.to_string())));
        *response.status_mut() = status;
        response
    }
}

impl State {
    fn handle(&mut self, method: &Method, path: &str, body: Value) -> (StatusCode, Value) {
        if *method == Method::GET {
            return match self.objects.get(path) {
                Some(object) => (StatusCode::OK, object.clone()),
                None if is_collection(path) => (StatusCode::OK, self.list(path)),
                None => failure(404, "NotFound", "not found"),
            };
        }
        if let Some(refusal) =
            self.refusals.iter_mut().find(|it| it.times > 0 && path.contains(it.path.as_str()))
        {
            refusal.times -= 1;
            return failure(refusal.code, "Refused", refusal.message);
        }
        self.interfere(path);
        match *method {
            Method::DELETE => match self.objects.remove(path) {
                Some(object) => (StatusCode::OK, object),
                None => failure(404, "NotFound", "not found"),
            },
            Method::PATCH => match path.strip_suffix("/status") {
                Some(object) => self.patch_status(object, &body),
                None => (StatusCode::OK, self.store(path, body)),
            },
            Method::PUT => self.replace(path, body),
            _ => self.create(path, body),
        }
    }

    /// Replaces an object under the resource version that it was read in.
    fn replace(&mut self, path: &str, object: Value) -> (StatusCode, Value) {
        match self.objects.get(path) {
            None => failure(404, "NotFound", "not found"),
            Some(old) if old["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] => {
                failure(409, "Conflict", "the object has been modified")
            }
            Some(_) => (StatusCode::OK, self.store(path, object)),
        }
    }

    fn create(&mut self, collection: &str, object: Value) -> (StatusCode, Value) {
        let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
        if self.objects.contains_key(&path) {
            return failure(409, "AlreadyExists", "the object exists already");
        }
        (StatusCode::CREATED, self.store(&path, object))
    }

    fn interfere(&mut self, path: &str) {
        let path = path.trim_end_matches("/status");
        let Some(index) = self.interferences.iter().position(|(of, _)| of == path) else { return };
        let (_, change) = self.interferences.remove(index);
        let mut object = self.objects.get(path).cloned().unwrap_or_default();
        change(&mut object);
        self.store(path, object);
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.resource_version += 1;
        object["metadata"]["resourceVersion"] = self.resource_version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    /// A merge patch of a status under the resource version that it was made from.
    fn patch_status(&mut self, path: &str, patch: &Value) -> (StatusCode, Value) {
        let Some(mut object) = self.objects.get(path).cloned() else {
            return failure(404, "NotFound", "not found");
        };
        if object["metadata"]["resourceVersion"] != patch["metadata"]["resourceVersion"] {
            return failure(409, "Conflict", "the object has been modified");
        }
        object["status"] = patch["status"].clone();
        if let Some(member) = self.pruned {
            prune(&mut object["status"], member);
        }
        (StatusCode::OK, self.store(path, object))
    }

    fn list(&self, path: &str) -> Value {
        let is_in = |of: &&String| of.rsplit_once('/').is_some_and(|(collection, _)| collection == path);
        let items: Vec<Value> =
            self.objects.iter().filter(|(of, _)| is_in(of)).map(|(_, object)| object.clone()).collect();
        json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": "1" }, "items": items })
    }
}

/// Whether a path is that of all objects of a kind.
fn is_collection(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|last| last.ends_with('s') && !path.contains("/namespaces/"))
}

fn prune(value: &mut Value, member: &str) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove(member);
            fields.values_mut().for_each(|value| prune(value, member));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| prune(value, member)),
        _ => {}
    }
}

fn failure(code: u16, reason: &str, message: &str) -> (StatusCode, Value) {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code,
    });
    (status, body)
}
