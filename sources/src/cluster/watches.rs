//! Watches of single objects by name, so that a Role with `resourceNames` is enough.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use penstock_apiserver::patience;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Events that may wait for the follower. A watch waits when there are more.
const QUEUE: usize = 64;

/// An object that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Object {
    ConfigMap(Arc<str>),
    Secret(Arc<str>),
}

/// What a watch reports.
#[derive(Debug)]
pub(super) enum WatchEvent {
    /// The ConfigMap as it is now; `None` if there is none.
    ConfigMap(Option<Box<ConfigMap>>),
    /// The keys of the Secret as they are now; `None` if there is none.
    Secret(Option<BTreeMap<String, Vec<u8>>>),
    /// The watch does not work. It is tried again, see [`patience`].
    Failing(String),
}

/// All watches of one gateway.
pub(super) struct Watches {
    client: Client,
    namespace: String,
    running: HashMap<Object, AbortOnDropHandle<()>>,
    sender: mpsc::Sender<(Object, WatchEvent)>,
    events: mpsc::Receiver<(Object, WatchEvent)>,
}

impl Watches {
    pub(super) fn new(client: Client, namespace: String) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        Self { client, namespace, running: HashMap::new(), sender, events }
    }

    /// Makes `wanted` the objects that are watched. Those that are already stay undisturbed.
    pub(super) fn set(&mut self, wanted: &HashSet<Object>) {
        self.running.retain(|object, _| wanted.contains(object));
        for object in wanted {
            if !self.running.contains_key(object) {
                let watch = self.watch(object.clone());
                self.running.insert(object.clone(), AbortOnDropHandle::new(tokio::spawn(watch)));
            }
        }
    }

    /// Whether an object is watched.
    pub(super) fn has(&self, object: &Object) -> bool {
        self.running.contains_key(object)
    }

    /// How many objects are watched.
    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// The next event. Those of an object that is not watched any more may still come.
    pub(super) async fn next(&mut self) -> (Object, WatchEvent) {
        match self.events.recv().await {
            Some(event) => event,
            // Cannot come about: `self` holds a sender.
            None => std::future::pending().await,
        }
    }

    fn watch(&self, object: Object) -> impl Future<Output = ()> + Send + 'static {
        let (client, namespace, sender) = (self.client.clone(), self.namespace.clone(), self.sender.clone());
        async move {
            match &object {
                Object::ConfigMap(name) => {
                    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
                    let event = |map: Option<ConfigMap>| WatchEvent::ConfigMap(map.map(Box::new));
                    follow(api, name, &object, event, &sender).await;
                }
                Object::Secret(name) => {
                    let api: Api<Secret> = Api::namespaced(client, &namespace);
                    let keys = |secret: Secret| {
                        let data = secret.data.unwrap_or_default();
                        data.into_iter().map(|(key, value)| (key, value.0)).collect()
                    };
                    let event = |secret: Option<Secret>| WatchEvent::Secret(secret.map(keys));
                    follow(api, name, &object, event, &sender).await;
                }
            }
        }
    }
}

async fn follow<K>(
    api: Api<K>,
    name: &str,
    object: &Object,
    event: impl Fn(Option<K>) -> WatchEvent,
    sender: &mpsc::Sender<(Object, WatchEvent)>,
) where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut states = watcher::watch_object(api, name).backoff(patience()).boxed();
    while let Some(state) = states.next().await {
        let event = match state {
            Ok(state) => event(state),
            Err(error) => WatchEvent::Failing(chain(&error)),
        };
        if sender.send((object.clone(), event)).await.is_err() {
            return;
        }
    }
}

/// An error with what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors repeat their cause.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
