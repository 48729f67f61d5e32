//! What the watches have brought in, and what of it has not been translated yet.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use penstock_translate::world::{Key, Kind, ObjectId, World};
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};
use tracing::warn;

/// Changed objects that are listed one by one. Beyond that, everything is translated anyway.
const MAX_CHANGED_OBJECTS: usize = 4096;

/// The cluster as the watches see it. One lock, held for single insertions and for cloning the tables' handles.
#[derive(Debug, Default)]
pub struct Cluster {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    world: World,
    gateway_api_version: Option<String>,
    unknown_kinds: BTreeSet<String>,
    changes: Changes,
}

/// What has changed since the last translation.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The objects.
    pub objects: BTreeSet<ObjectId>,
    /// Something changed that is no object of the world, or too much to list.
    pub everything: bool,
    /// When the first of it arrived.
    pub since: Option<Instant>,
}

impl Changes {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.everything
    }

    /// Whether endpoints are all that can come out differently.
    pub fn is_endpoints_only(&self) -> bool {
        !self.everything && self.objects.iter().all(|id| matches!(id.kind, Kind::Pod | Kind::EndpointSlice))
    }

    fn add(&mut self, id: ObjectId) {
        self.since.get_or_insert_with(Instant::now);
        if self.objects.len() < MAX_CHANGED_OBJECTS {
            self.objects.insert(id);
        } else {
            self.everything = true;
        }
    }
}

impl Cluster {
    /// Takes in an object as it is now.
    pub fn apply(&self, object: Value) -> Option<Key> {
        let mut state = self.state.lock();
        match state.world.apply(object) {
            Ok(applied) => {
                let key = applied.id.key.clone();
                if applied.is_changed {
                    state.changes.add(applied.id);
                    self.changed.notify_one();
                }
                Some(key)
            }
            Err(error) => {
                warn!(%error, "an object of a watched kind cannot be taken in");
                None
            }
        }
    }

    /// Forgets an object.
    pub fn remove(&self, id: ObjectId) {
        let mut state = self.state.lock();
        if state.world.remove(&id) {
            state.changes.add(id);
            self.changed.notify_one();
        }
    }

    /// Forgets the objects of a kind that a new listing did not have.
    pub fn retain(&self, kind: Kind, keep: impl FnMut(&Key) -> bool) {
        let mut state = self.state.lock();
        if state.world.retain(kind, keep) {
            drop(state);
            self.disturb();
        }
    }

    /// Notes which version of the Gateway API is installed.
    pub fn set_gateway_api_version(&self, version: Option<String>) {
        let mut state = self.state.lock();
        if state.gateway_api_version != version {
            state.gateway_api_version = version;
            drop(state);
            self.disturb();
        }
    }

    /// Which version of the Gateway API is installed, as its definitions say.
    pub fn gateway_api_version(&self) -> Option<String> {
        self.state.lock().gateway_api_version.clone()
    }

    /// Notes which kinds of the projects that are read nobody here knows.
    pub fn set_unknown_kinds(&self, unknown: BTreeSet<String>) {
        let mut state = self.state.lock();
        if state.unknown_kinds != unknown {
            if !unknown.is_empty() {
                warn!(?unknown, "the cluster has kinds that this version does not know");
            }
            state.unknown_kinds = unknown;
            drop(state);
            self.disturb();
        }
    }

    /// Kinds of the projects that are read that nobody here knows, as `plural.group`.
    pub fn unknown_kinds(&self) -> BTreeSet<String> {
        self.state.lock().unknown_kinds.clone()
    }

    /// Has everything translated again.
    pub fn disturb(&self) {
        let mut state = self.state.lock();
        state.changes.everything = true;
        state.changes.since.get_or_insert_with(Instant::now);
        self.changed.notify_one();
    }

    /// Waits for a change. One that came before the call counts.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The state of things, and what is new in it since the last call.
    pub fn take(&self) -> (World, Changes) {
        let mut state = self.state.lock();
        (state.world.clone(), std::mem::take(&mut state.changes))
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        let mut count = 0;
        self.state.lock().world.retain(kind, |_| {
            count += 1;
            true
        });
        count
    }

    /// The state of things, without taking note of it.
    pub fn world(&self) -> World {
        self.state.lock().world.clone()
    }
}
