//! Secrets and ConfigMaps: only those that other objects refer to are read, and only they are kept.
//!
//! What is watched is their metadata. A cluster may have gigabytes in them, and it is not the operator's business.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use parking_lot::Mutex;
use penstock_apiserver::patience;
use penstock_translate::world::{Key, Kind, ObjectId};
use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tracing::{debug, warn};

use super::{Unlisted, full_name, installed, kind::json};
use crate::{cluster::Cluster, manifest::MANAGED_BY};

/// The kinds that are read by name.
const KINDS: [Kind; 2] = [Kind::Secret, Kind::ConfigMap];

/// Reads at a time.
const MAX_READS: usize = 8;

/// How long a read that failed waits.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Which Secrets and ConfigMaps are wanted, and which of them have to be read.
#[derive(Debug)]
pub struct Referred {
    cluster: Arc<Cluster>,
    state: Mutex<State>,
    due: Notify,
}

#[derive(Debug, Default)]
struct State {
    wanted: BTreeSet<ObjectId>,
    due: BTreeSet<ObjectId>,
    /// Wanted, and not read once: it is not known whether they are there.
    unread: BTreeSet<ObjectId>,
}

impl Referred {
    /// Wants nothing yet.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster, state: Mutex::default(), due: Notify::new() }
    }

    /// Says which objects are wanted from now on. Those that are new are read; the others are forgotten.
    pub fn want(&self, wanted: &BTreeSet<ObjectId>) {
        let mut state = self.state.lock();
        if state.wanted == *wanted {
            return;
        }
        let new: Vec<ObjectId> = wanted.difference(&state.wanted).cloned().collect();
        let old: Vec<ObjectId> = state.wanted.difference(wanted).cloned().collect();
        state.wanted.clone_from(wanted);
        state.due.retain(|id| wanted.contains(id));
        state.unread.retain(|id| wanted.contains(id));
        state.unread.extend(new.iter().cloned());
        state.due.extend(new);
        drop(state);
        self.due.notify_one();
        for id in old {
            self.cluster.remove(id);
        }
    }

    /// Whether all that is wanted was read once. Until then a translation takes what was not read for missing.
    pub fn is_complete(&self) -> bool {
        self.state.lock().unread.is_empty()
    }

    /// Notes that the API server has answered for an object.
    fn answered(&self, id: &ObjectId) {
        let mut state = self.state.lock();
        let is_last = state.unread.remove(id) && state.unread.is_empty();
        drop(state);
        if is_last {
            self.cluster.disturb();
        }
    }

    /// Notes that an object changed.
    fn touch(&self, id: ObjectId) {
        let mut state = self.state.lock();
        if state.wanted.contains(&id) {
            state.due.insert(id);
            self.due.notify_one();
        }
    }

    /// Notes that everything of a kind may have changed.
    fn touch_all(&self, kind: Kind) {
        let mut state = self.state.lock();
        let all: Vec<ObjectId> = state.wanted.iter().filter(|id| id.kind == kind).cloned().collect();
        state.due.extend(all);
        self.due.notify_one();
    }

    fn take_due(&self) -> BTreeSet<ObjectId> {
        std::mem::take(&mut self.state.lock().due)
    }
}

/// Starts the watches and the reader.
pub(super) fn start(
    tasks: &mut JoinSet<()>,
    client: &Client,
    referred: &Arc<Referred>,
    unlisted: &Arc<Unlisted>,
) {
    for kind in KINDS {
        unlisted.add(full_name(kind));
        tasks.spawn(watch(client.clone(), kind, Arc::clone(referred), Arc::clone(unlisted)));
    }
    tasks.spawn(read(client.clone(), Arc::clone(referred)));
}

async fn watch(client: Client, kind: Kind, referred: Arc<Referred>, unlisted: Arc<Unlisted>) {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(client, &installed::resource(kind, "v1"));
    // Not what is published by this operator, nor Helm's archives.
    let mut config = Config::default().labels(&format!("{}!={}", MANAGED_BY.0, MANAGED_BY.1));
    if kind == Kind::Secret {
        config = config.fields("type!=helm.sh/release.v1");
    }
    let stream = watcher(api, config).backoff(patience());
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Apply(object) | Event::Delete(object)) => {
                let namespace = object.metadata.namespace.unwrap_or_default();
                referred.touch(ObjectId {
                    kind,
                    key: Key::new(namespace, object.metadata.name.unwrap_or_default()),
                });
            }
            Ok(Event::InitDone) => {
                referred.touch_all(kind);
                unlisted.remove(&full_name(kind));
            }
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => warn!(kind = kind.name(), %error, "a watch broke and goes on"),
        }
    }
}

/// Reads what is due, until the task is dropped.
async fn read(client: Client, referred: Arc<Referred>) {
    loop {
        referred.due.notified().await;
        let due = referred.take_due();
        let failed = futures::stream::iter(due)
            .map(|id| {
                let client = client.clone();
                let referred = Arc::clone(&referred);
                async move {
                    match read_one(client, &referred, &id).await {
                        Ok(()) => {
                            referred.answered(&id);
                            None
                        }
                        Err(error) => {
                            if matches!(error, kube::Error::Api(_)) {
                                // Refused: nobody shall wait for it.
                                referred.answered(&id);
                            }
                            warn!(object = %id, %error, "an object that is referred to could not be read");
                            Some(id)
                        }
                    }
                }
            })
            .buffer_unordered(MAX_READS)
            .filter_map(std::future::ready)
            .collect::<Vec<ObjectId>>()
            .await;
        if !failed.is_empty() {
            sleep(READ_AGAIN).await;
            failed.into_iter().for_each(|id| referred.touch(id));
        }
    }
}

async fn read_one(client: Client, referred: &Referred, id: &ObjectId) -> Result<(), kube::Error> {
    let resource = installed::resource(id.kind, "v1");
    let api: Api<DynamicObject> = Api::namespaced_with(client, &id.key.namespace, &resource);
    let object = api.get_opt(&id.key.name).await?;
    debug!(object = %id, is_there = object.is_some(), "read");
    // Nobody may want it any more.
    let state = referred.state.lock();
    match object {
        Some(object) if state.wanted.contains(id) => {
            referred.cluster.apply(json(&resource, object));
        }
        _ => referred.cluster.remove(id.clone()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> ObjectId {
        ObjectId { kind: Kind::Secret, key: Key::new("default", name) }
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let referred = Referred::new(Arc::default());
        referred.touch(secret("somebody-elses"));
        assert_eq!(referred.take_due(), BTreeSet::new());
        referred.want(&BTreeSet::from([secret("tls"), secret("key")]));
        assert_eq!(referred.take_due(), BTreeSet::from([secret("tls"), secret("key")]));
        assert!(!referred.is_complete(), "it is not known yet whether they are there");
        referred.answered(&secret("tls"));
        referred.answered(&secret("key"));
        assert!(referred.is_complete());
        referred.touch(secret("tls"));
        assert_eq!(referred.take_due(), BTreeSet::from([secret("tls")]));
        referred.want(&BTreeSet::from([secret("key"), secret("new")]));
        referred.touch(secret("tls"));
        assert_eq!(referred.take_due(), BTreeSet::from([secret("new")]), "what was known stays as it is");
        referred.touch_all(Kind::Secret);
        assert_eq!(referred.take_due(), BTreeSet::from([secret("key"), secret("new")]));
    }
}
