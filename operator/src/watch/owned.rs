//! What the operator itself has written: whether it is still there and still as it was written.
//!
//! Only metadata is kept. An object is written when its digest (an annotation) is not the wanted one, when it is gone, or
//! when somebody else wrote to it; not otherwise, so that an idle operator writes nothing.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::{DynamicObject, ObjectMeta},
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use parking_lot::Mutex;
use penstock_apiserver::patience;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Unlisted;
use crate::{
    cluster::Cluster,
    manifest::{DIGEST, Drift, GATEWAY_NAME, MANAGED_BY, OwnedKey, OwnedKind},
};

/// One state of an object that the operator writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The digest that was written to it.
    pub digest: String,
    /// The Gateway that it belongs to, by its label.
    pub gateway: String,
    /// Its annotations that begin with `penstock.dev/`.
    pub annotations: HashMap<String, String>,
    /// Its resource version; 0 if that is no number.
    resource_version: u64,
    generation: i64,
}

/// All objects that the operator wrote and that are still there.
#[derive(Debug)]
pub struct Owned {
    cluster: Arc<Cluster>,
    objects: Mutex<HashMap<OwnedKey, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    seen: Option<Observed>,
    /// As the API server answered our last write.
    written: Option<Observed>,
    /// A write is under way: what is seen meanwhile is probably its result.
    is_writing: bool,
}

impl Owned {
    /// Knows nothing yet.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, objects: Mutex::default() }
    }

    /// Whether the object has to be written for it to have this digest.
    pub fn is_due(&self, key: &OwnedKey, digest: &str) -> bool {
        self.objects.lock().get(key).is_none_or(|entry| entry.is_due(key.kind, digest))
    }

    /// Whether the object was there when last heard of.
    pub fn is_there(&self, key: &OwnedKey) -> bool {
        self.objects.lock().get(key).is_some_and(|entry| entry.seen.is_some() || entry.written.is_some())
    }

    /// The newest state that is known of an object.
    pub fn get(&self, key: &OwnedKey) -> Option<Observed> {
        let objects = self.objects.lock();
        let entry = objects.get(key)?;
        entry
            .written
            .clone()
            .filter(|written| {
                entry.seen.as_ref().is_none_or(|seen| seen.resource_version <= written.resource_version)
            })
            .or_else(|| entry.seen.clone())
    }

    /// The objects of one Gateway.
    pub fn of_gateway(&self, namespace: &str, gateway: &str) -> BTreeSet<OwnedKey> {
        let objects = self.objects.lock();
        let belongs = |(key, entry): &(&OwnedKey, &Entry)| {
            let newest = entry.written.as_ref().or(entry.seen.as_ref());
            key.namespace == namespace && newest.is_some_and(|newest| newest.gateway == gateway)
        };
        objects.iter().filter(belongs).map(|(key, _)| key.clone()).collect()
    }

    /// The Gateways that have objects, by namespace and name.
    pub fn gateways(&self) -> BTreeSet<(String, String)> {
        let objects = self.objects.lock();
        let of = |(key, entry): (&OwnedKey, &Entry)| {
            let newest = entry.written.as_ref().or(entry.seen.as_ref())?;
            (!newest.gateway.is_empty()).then(|| (key.namespace.clone(), newest.gateway.clone()))
        };
        objects.iter().filter_map(of).collect()
    }

    /// Notes that a write begins.
    pub fn begin(&self, key: &OwnedKey) {
        self.objects.lock().entry(key.clone()).or_default().is_writing = true;
    }

    /// Notes what a write came to: the metadata that the API server answered with, or nothing if it failed.
    pub fn finish(&self, key: &OwnedKey, metadata: Option<&ObjectMeta>) {
        let mut objects = self.objects.lock();
        let entry = objects.entry(key.clone()).or_default();
        entry.is_writing = false;
        if let Some(metadata) = metadata {
            entry.written = Some(Observed::read(metadata));
        } else if entry.seen.is_none() && entry.written.is_none() {
            objects.remove(key);
        }
    }

    /// Notes that an object was deleted.
    pub fn forget(&self, key: &OwnedKey) {
        self.objects.lock().remove(key);
    }

    fn see(&self, key: &OwnedKey, metadata: &ObjectMeta) {
        let seen = Observed::read(metadata);
        let mut objects = self.objects.lock();
        let entry = objects.entry(key.clone()).or_default();
        entry.seen = Some(seen);
        let is_foreign = !entry.is_writing
            && entry.written.as_ref().is_some_and(|written| entry.is_due(key.kind, &written.digest));
        drop(objects);
        if is_foreign {
            info!(
                kind = key.kind.name(),
                namespace = key.namespace,
                name = key.name,
                "changed by somebody else"
            );
            self.cluster.disturb();
        }
    }

    fn lose(&self, key: &OwnedKey) {
        if self.objects.lock().remove(key).is_some() {
            // A Gateway that still wants it gets it back.
            self.cluster.disturb();
        }
    }

    fn retain(&self, kind: OwnedKind, listed: &HashSet<OwnedKey>) {
        let mut objects = self.objects.lock();
        let before = objects.len();
        objects.retain(|key, entry| key.kind != kind || entry.is_writing || listed.contains(key));
        if objects.len() < before {
            drop(objects);
            self.cluster.disturb();
        }
    }
}

impl Entry {
    fn is_due(&self, kind: OwnedKind, digest: &str) -> bool {
        match (&self.written, &self.seen) {
            (None, None) => true,
            (None, Some(seen)) => seen.digest != digest,
            (Some(written), None) => written.digest != digest,
            (Some(written), Some(seen)) => {
                written.digest != digest
                    || match kind.drift() {
                        Drift::Version => seen.resource_version > written.resource_version,
                        Drift::Generation => seen.generation > written.generation,
                        Drift::Hidden => false,
                    }
            }
        }
    }
}

impl Observed {
    fn read(metadata: &ObjectMeta) -> Self {
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(name).cloned();
        let ours =
            metadata.annotations.iter().flatten().filter(|(name, _)| name.starts_with("penstock.dev/"));
        Self {
            digest: annotation(DIGEST).unwrap_or_default(),
            gateway: metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(GATEWAY_NAME))
                .cloned()
                .unwrap_or_default(),
            annotations: ours.map(|(name, value)| (name.clone(), value.clone())).collect(),
            resource_version: metadata.resource_version.as_ref().and_then(|rv| rv.parse().ok()).unwrap_or(0),
            generation: metadata.generation.unwrap_or(0),
        }
    }
}

/// Starts the watches of what is owned.
pub(super) fn start(tasks: &mut JoinSet<()>, client: &Client, owned: &Arc<Owned>, unlisted: &Arc<Unlisted>) {
    for &kind in OwnedKind::ALL {
        unlisted.add(format!("our {}", kind.name()));
        tasks.spawn(watch(client.clone(), kind, Arc::clone(owned), Arc::clone(unlisted)));
    }
}

async fn watch(client: Client, kind: OwnedKind, owned: Arc<Owned>, unlisted: Arc<Unlisted>) {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &kind.resource());
    let config = Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    let stream = watcher(api, config).backoff(patience());
    let mut stream = std::pin::pin!(stream);
    let mut listed = HashSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                let key = key(kind, &object.metadata);
                owned.see(&key, &object.metadata);
                listed.insert(key);
            }
            Ok(Event::InitDone) => {
                owned.retain(kind, &std::mem::take(&mut listed));
                unlisted.remove(&format!("our {}", kind.name()));
            }
            Ok(Event::Apply(object)) => owned.see(&key(kind, &object.metadata), &object.metadata),
            Ok(Event::Delete(object)) => owned.lose(&key(kind, &object.metadata)),
            Err(error) => warn!(kind = kind.name(), %error, "the watch of our own objects broke and goes on"),
        }
    }
}

fn key(kind: OwnedKind, metadata: &ObjectMeta) -> OwnedKey {
    OwnedKey {
        kind,
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: OwnedKind) -> OwnedKey {
        OwnedKey { kind, namespace: "default".to_owned(), name: "penstock-gw-routing".to_owned() }
    }

    fn metadata(digest: &str, resource_version: u64, generation: i64) -> ObjectMeta {
        ObjectMeta {
            annotations: Some([(DIGEST.to_owned(), digest.to_owned())].into()),
            labels: Some([(GATEWAY_NAME.to_owned(), "gw".to_owned())].into()),
            resource_version: Some(resource_version.to_string()),
            generation: Some(generation),
            ..ObjectMeta::default()
        }
    }

    #[tokio::test]
    async fn what_is_as_it_was_written_is_not_written_again() {
        let owned = Owned::new(Arc::default());
        let key = named(OwnedKind::ConfigMap);
        assert!(owned.is_due(&key, "a"), "never seen");
        owned.see(&key, &metadata("a", 5, 0));
        assert!(!owned.is_due(&key, "a"), "a former leader wrote it");
        owned.begin(&key);
        owned.see(&key, &metadata("b", 6, 0));
        owned.finish(&key, Some(&metadata("b", 6, 0)));
        assert!(!owned.is_due(&key, "b"));
        assert!(owned.is_due(&key, "c"));
    }

    #[tokio::test]
    async fn a_strangers_hand_is_noticed() {
        let owned = Owned::new(Arc::default());
        let (map, deployment) = (named(OwnedKind::ConfigMap), named(OwnedKind::Deployment));
        for key in [&map, &deployment] {
            owned.finish(key, Some(&metadata("a", 6, 1)));
            owned.see(key, &metadata("a", 7, 1));
        }
        assert!(owned.is_due(&map, "a"), "its data was edited");
        assert!(!owned.is_due(&deployment, "a"), "only its status changed");
        owned.see(&deployment, &metadata("a", 8, 2));
        assert!(owned.is_due(&deployment, "a"));
        owned.finish(&deployment, Some(&metadata("a", 9, 3)));
        owned.see(&deployment, &metadata("a", 8, 2));
        assert!(!owned.is_due(&deployment, "a"), "the watch lags behind the write");
    }

    #[tokio::test]
    async fn what_was_deleted_is_written_again() {
        let owned = Owned::new(Arc::default());
        let key = named(OwnedKind::Service);
        owned.finish(&key, Some(&metadata("a", 6, 0)));
        assert!(!owned.is_due(&key, "a"));
        assert_eq!(owned.of_gateway("default", "gw"), BTreeSet::from([key.clone()]));
        owned.lose(&key);
        assert!(owned.is_due(&key, "a"));
        assert_eq!(owned.gateways(), BTreeSet::new());
    }
}
