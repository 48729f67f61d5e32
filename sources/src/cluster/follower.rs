//! What is in force, what comes next, and what it still waits for.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use penstock_config::{Fault, ProfileCheck, Snapshot, Surroundings};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::routing::{self, Assembly, Parts};
use super::state::State;
use super::watches::{Object, WatchEvent, Watches};
use crate::applier::Applier;
use crate::status::StatusCell;

/// Where a list of endpoints stands in its ConfigMap.
const LIST_KEY: &str = "endpoints.yaml";

/// How long a document waits for the lists and the Secret that it names, before it is put in force without those that
/// cannot be read. A gateway that did not wait would answer 503 until they come.
const COMPLETION: Duration = Duration::from_secs(5);

/// How long the API server may take before the state in the cache directory is used.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts how following a cluster goes.
pub trait WatchMetrics: Send + Sync {
    /// How many objects are watched now, and of how many the watch does not work.
    fn set_watched(&self, objects: usize, failing: usize);

    /// A watch failed.
    fn add_error(&self);
}

/// Where the objects are.
#[derive(Debug, Clone)]
pub struct ClusterSource {
    /// The name that the objects' names start with.
    pub base: String,
    /// Their namespace.
    pub namespace: String,
}

/// Follows the objects and puts what they say in force.
pub struct Follower {
    source: ClusterSource,
    profiles: Arc<dyn ProfileCheck + Send + Sync>,
    status: Arc<StatusCell>,
    metrics: Arc<dyn WatchMetrics>,
    state: State,
    watches: Watches,
    parts: Parts,
    /// The lists that were read: their text, or `None` for those that are not there.
    lists: HashMap<Arc<str>, Option<String>>,
    /// Secrets that were read, or are not there.
    secrets: HashSet<Arc<str>>,
    /// Watches that do not work now.
    failing: HashSet<Object>,
    /// The text that was compiled last, successfully or not.
    compiled: Option<Arc<str>>,
    current: Option<Arc<Snapshot>>,
    next: Option<Next>,
    started: Instant,
    is_cache_tried: bool,
}

/// A sound document that is not in force yet.
struct Next {
    snapshot: Arc<Snapshot>,
    text: Arc<str>,
    /// When it goes in force whatever is missing.
    deadline: Instant,
    /// Whether it was refused: only a change of the Secret makes it worth another try.
    is_refused: bool,
}

impl Follower {
    /// Prepares to follow `source` through `client`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The cache directory, or a temporary one, cannot be made.
    pub fn new(
        source: ClusterSource,
        client: kube::Client,
        profiles: Arc<dyn ProfileCheck + Send + Sync>,
        cache: Option<&Path>,
        status: Arc<StatusCell>,
        metrics: Arc<dyn WatchMetrics>,
    ) -> io::Result<Self> {
        let watches = Watches::new(client, source.namespace.clone());
        Ok(Self {
            source,
            profiles,
            status,
            metrics,
            state: State::open(cache)?,
            watches,
            parts: Parts::default(),
            lists: HashMap::new(),
            secrets: HashSet::new(),
            failing: HashSet::new(),
            compiled: None,
            current: None,
            next: None,
            started: Instant::now(),
            is_cache_tried: false,
        })
    }

    /// Keeps `applier` up to date until `stop` is cancelled.
    pub async fn follow(mut self, applier: Arc<dyn Applier>, stop: CancellationToken) {
        self.status
            .waits(format!("ConfigMap {} has not been read yet", routing::name_of(&self.source.base, 0)));
        self.watch_what_is_named();
        stop.run_until_cancelled_owned(async {
            loop {
                self.step(&*applier).await;
            }
        })
        .await;
    }

    /// Waits for something to happen and acts on it.
    async fn step(&mut self, applier: &dyn Applier) {
        let wake = self.wake_at();
        tokio::select! {
            (object, event) = self.watches.next() => self.on_event(object, event, applier),
            () = tokio::time::sleep_until(wake), if self.waits_for_time() => {}
        }
        if self.current.is_none() && self.next.is_none() && self.is_out_of_patience() {
            self.start_from_cache(applier);
        }
        self.apply_next(applier);
        self.metrics.set_watched(self.watches.count(), self.failing.len());
    }

    fn on_event(&mut self, object: Object, event: WatchEvent, applier: &dyn Applier) {
        if !self.watches.has(&object) {
            return;
        }
        if let WatchEvent::Failing(error) = &event {
            self.metrics.add_error();
            tracing::warn!(?object, %error, "watch failed; it is tried again");
            if self.current.is_none() {
                self.status.waits(format!("{object:?} cannot be read: {error}"));
            }
            self.failing.insert(object);
            return;
        }
        self.failing.remove(&object);
        match (&object, event) {
            (Object::ConfigMap(name), WatchEvent::ConfigMap(map)) => {
                let part = (0..self.parts.count())
                    .find(|index| **name == *routing::name_of(&self.source.base, *index));
                match part {
                    Some(index) => {
                        self.parts.set(index, map.as_deref());
                        self.compile(applier);
                    }
                    None => {
                        let text = map.and_then(|map| map.data).and_then(|mut data| data.remove(LIST_KEY));
                        self.on_list(name.clone(), text, applier);
                    }
                }
            }
            (Object::Secret(name), WatchEvent::Secret(keys)) => {
                let is_there = keys.is_some();
                if let Err(error) = self.state.put_secret(name, &keys.unwrap_or_default()) {
                    tracing::error!(secret = %name, %error, "the Secret's keys cannot be written");
                }
                if !is_there {
                    tracing::warn!(secret = %name, "the Secret does not exist");
                }
                self.secrets.insert(name.clone());
                applier.reload_files();
                if let Some(next) = &mut self.next {
                    next.is_refused = false;
                }
            }
            _ => {}
        }
    }

    fn on_list(&mut self, name: Arc<str>, text: Option<String>, applier: &dyn Applier) {
        applier.set_list(&name, text.as_deref());
        if let Err(error) = self.state.keep_list(&name, text.as_deref()) {
            tracing::warn!(list = %name, %error, "the list cannot be kept for the next start");
        }
        self.lists.insert(name, text);
    }

    /// Compiles the routing document if its parts make a new one.
    fn compile(&mut self, applier: &dyn Applier) {
        // The first part says how many there are.
        self.watch_what_is_named();
        let text = match self.parts.assemble(&self.source.base) {
            Assembly::Whole(text) => text,
            Assembly::Incomplete(why) => {
                tracing::debug!(%why, "no whole routing document");
                self.status.waits(why);
                return;
            }
        };
        if self.compiled.as_ref() == Some(&text) {
            return;
        }
        self.compiled = Some(text.clone());
        match self.snapshot(&text) {
            Ok(snapshot) => {
                let deadline = Instant::now() + COMPLETION;
                self.next = Some(Next { snapshot, text, deadline, is_refused: false });
                self.watch_what_is_named();
            }
            Err(faults) => {
                self.next = None;
                self.refuse(faults, applier);
            }
        }
    }

    fn snapshot(&self, text: &str) -> Result<Arc<Snapshot>, Vec<Fault>> {
        let surroundings = Surroundings { secrets: Some(self.state.secrets()), ..Surroundings::default() };
        let compiled = Snapshot::compile_in(text, &*self.profiles, &surroundings);
        compiled.map(Arc::new).map_err(|faults| faults.iter().cloned().collect())
    }

    /// Puts the next document in force once all that it names was read, or has been waited for.
    fn apply_next(&mut self, applier: &dyn Applier) {
        let Some(next) = self.next.as_ref().filter(|next| !next.is_refused) else { return };
        if let Some(missing) = self.missing(&next.snapshot)
            && Instant::now() < next.deadline
        {
            self.status.waits(format!("{missing:?} has not been read yet"));
            return;
        }
        let (snapshot, text) = (next.snapshot.clone(), next.text.clone());
        match applier.apply(&snapshot) {
            Ok(()) => {
                let generation = snapshot.generation;
                tracing::info!(base = self.source.base, generation, "routing document applied");
                self.status.succeeded(&snapshot);
                if let Err(error) = self.state.keep_routing(&text) {
                    tracing::warn!(%error, "the routing document cannot be kept for the next start");
                }
                self.current = Some(snapshot);
                self.next = None;
                self.forget_others(applier);
            }
            Err(faults) => {
                if let Some(next) = &mut self.next {
                    next.is_refused = true;
                }
                self.refuse(faults, applier);
            }
        }
    }

    fn refuse(&self, faults: Vec<Fault>, applier: &dyn Applier) {
        for fault in &faults {
            tracing::error!(base = self.source.base, %fault, "routing document refused; the running one stays");
        }
        self.status.failed(faults);
        applier.refused();
    }

    /// Something that a document names and that was not read yet.
    fn missing(&self, snapshot: &Snapshot) -> Option<Object> {
        let secret = snapshot.secrets.as_ref().map(|secrets| secrets.name.clone());
        let secret = secret.filter(|name| !self.secrets.contains(name)).map(Object::Secret);
        let list =
            || snapshot.endpoint_lists().find(|name| !self.lists.contains_key(name)).map(Object::ConfigMap);
        secret.or_else(list)
    }

    fn watch_what_is_named(&mut self) {
        let base = &self.source.base;
        let parts =
            (0..self.parts.count()).map(|index| Object::ConfigMap(routing::name_of(base, index).into()));
        let mut wanted: HashSet<Object> = parts.collect();
        let snapshots = self.current.iter().chain(self.next.iter().map(|next| &next.snapshot));
        for snapshot in snapshots {
            wanted.extend(snapshot.endpoint_lists().map(Object::ConfigMap));
            wanted.extend(snapshot.secrets.iter().map(|secrets| Object::Secret(secrets.name.clone())));
        }
        self.failing.retain(|object| wanted.contains(object));
        self.watches.set(&wanted);
    }

    /// Stops watching what the document before named, and forgets it.
    fn forget_others(&mut self, applier: &dyn Applier) {
        self.watch_what_is_named();
        let gone = |name: &Arc<str>| !self.watches.has(&Object::ConfigMap(name.clone()));
        let gone: Vec<Arc<str>> = self.lists.keys().filter(|name| gone(name)).cloned().collect();
        for name in gone {
            self.lists.remove(&name);
            applier.set_list(&name, None);
            let _ = self.state.keep_list(&name, None);
        }
        self.secrets.retain(|name| self.watches.has(&Object::Secret(name.clone())));
    }

    /// Whether the API server had its chance.
    fn is_out_of_patience(&self) -> bool {
        !self.is_cache_tried && (!self.failing.is_empty() || self.started.elapsed() >= PATIENCE)
    }

    /// Puts the last good state in force, until the API server says otherwise.
    fn start_from_cache(&mut self, applier: &dyn Applier) {
        self.is_cache_tried = true;
        let Some(text) = self.state.routing() else { return };
        let applied = self.snapshot(&text).and_then(|snapshot| {
            for name in snapshot.endpoint_lists() {
                applier.set_list(&name, self.state.list(&name).as_deref());
            }
            applier.apply(&snapshot).map(|()| snapshot)
        });
        match applied {
            Ok(snapshot) => {
                tracing::warn!(
                    "the API server cannot be reached; serving the last good state from the cache directory"
                );
                self.status.succeeded(&snapshot);
                self.current = Some(snapshot);
                self.watch_what_is_named();
            }
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(%fault, "the state in the cache directory cannot be used");
                }
                self.status.failed(faults);
            }
        }
    }

    fn waits_for_time(&self) -> bool {
        let has_deadline = self.next.as_ref().is_some_and(|next| !next.is_refused);
        has_deadline || self.current.is_none() && !self.is_cache_tried
    }

    fn wake_at(&self) -> Instant {
        match self.next.as_ref().filter(|next| !next.is_refused) {
            Some(next) => next.deadline,
            None => self.started + PATIENCE,
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Follower").field("source", &self.source).finish_non_exhaustive()
    }
}
