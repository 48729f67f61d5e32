//! Writes statuses, apart from everything else: a slow API server delays what people read, not what data planes get.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    discovery::ApiResource,
};
use penstock_translate::{StatusUpdate, merge, world::ObjectId};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

use crate::{admin::Health, cluster::Cluster, manifest::FIELD_MANAGER};

/// Writes at a time.
const MAX_WRITES: usize = 8;

/// The first wait of an object whose status could not be written; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often everything is compared again, in case that somebody else changed a status: nothing else tells.
const COMPARE_AGAIN: Duration = Duration::from_secs(60);

/// What a status shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// By translation.
    pub update: StatusUpdate,
    /// `status.addresses` of a Gateway.
    pub addresses: Option<Vec<Value>>,
}

/// Writes statuses as long as it lives.
#[derive(Debug)]
pub struct StatusWriter {
    desired: watch::Sender<Arc<Vec<Desired>>>,
    task: JoinHandle<()>,
}

/// A status of which the API server dropped something: definitions older than ours lack fields (`controllerName` of
/// InferencePool v1.0). Writing it again would never end.
#[derive(Debug, Clone)]
struct Settled {
    wanted: Value,
    answer: Value,
}

impl Settled {
    /// Whether `wanted` came to `status` before.
    fn is_it(&self, wanted: &Value, status: &Value) -> bool {
        self.answer == *status && self.wanted == *wanted
    }
}

struct Shared {
    client: Client,
    cluster: Arc<Cluster>,
    health: Arc<Health>,
}

impl StatusWriter {
    /// Starts with nothing to write.
    pub fn start(client: Client, cluster: Arc<Cluster>, health: Arc<Health>) -> Self {
        let (desired, receiver) = watch::channel(Arc::default());
        let shared = Shared { client, cluster, health };
        Self { desired, task: tokio::spawn(shared.run(receiver)) }
    }

    /// Says what all statuses shall be from now on.
    pub fn set(&self, desired: Vec<Desired>) {
        self.desired.send_replace(Arc::new(desired));
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn run(self, mut desired: watch::Receiver<Arc<Vec<Desired>>>) {
        let mut failing: BTreeMap<ObjectId, (Instant, Duration)> = BTreeMap::new();
        let mut settled: BTreeMap<ObjectId, Settled> = BTreeMap::new();
        loop {
            let all = Arc::clone(&desired.borrow_and_update());
            let world = self.cluster.world();
            let now = Instant::now();
            let due = all.iter().filter(|desired| {
                let is_waiting = failing.get(&desired.update.object).is_some_and(|(due, _)| *due > now);
                // An object that is gone has no status.
                let Some((_, status)) = world.meta(&desired.update.object) else { return false };
                let wanted = merged(status, desired);
                let settled = settled.get(&desired.update.object);
                !is_waiting && wanted != *status && settled.is_none_or(|it| !it.is_it(&wanted, status))
            });
            let due: Vec<Desired> = due.cloned().collect();
            drop(world);
            let results = futures::stream::iter(due.into_iter().map(|desired| self.write_one(desired)));
            let results: Vec<_> = results.buffer_unordered(MAX_WRITES).collect().await;
            for (object, result) in results {
                match result {
                    Ok(written) => {
                        failing.remove(&object);
                        match written {
                            Some(written) => settled.insert(object, written),
                            None => settled.remove(&object),
                        };
                    }
                    Err(error) => {
                        let wait = failing
                            .get(&object)
                            .map_or(FIRST_WAIT, |(_, wait)| (*wait * 2).min(LONGEST_WAIT));
                        warn!(%object, %error, ?wait, "a status could not be written and is tried again");
                        failing.insert(object, (Instant::now() + wait, wait));
                    }
                }
            }
            settled.retain(|object, _| all.iter().any(|desired| desired.update.object == *object));
            failing.retain(|object, _| all.iter().any(|desired| desired.update.object == *object));
            let again = failing.values().map(|(due, _)| *due).min();
            let again = again.unwrap_or_else(|| Instant::now() + COMPARE_AGAIN);
            tokio::select! {
                changed = desired.changed() => if changed.is_err() { return },
                () = sleep_until(again) => {}
            }
        }
    }

    async fn write_one(&self, desired: Desired) -> (ObjectId, Result<Option<Settled>, kube::Error>) {
        let result = self.write(&desired).await;
        (desired.update.object, result)
    }

    /// Writes a status. What the API server made of it, if it did not take it as it was.
    async fn write(&self, desired: &Desired) -> Result<Option<Settled>, kube::Error> {
        let StatusUpdate { object: ObjectId { kind, key }, api_version, .. } = &desired.update;
        let resource = ApiResource {
            group: kind.group().to_owned(),
            version: api_version.rsplit('/').next().unwrap_or_default().to_owned(),
            api_version: api_version.clone(),
            kind: kind.name().to_owned(),
            plural: kind.plural().to_owned(),
        };
        let api: Api<DynamicObject> = if kind.is_namespaced() {
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        };
        // As it is now, not as the watch saw it last: other controllers' entries must not be undone.
        let Some(object) = api.get_opt(&key.name).await? else { return Ok(None) };
        let status = object.data.get("status").cloned().unwrap_or_default();
        let merged = merged(&status, desired);
        if merged == status {
            return Ok(None);
        }
        let patch = json!({
            "metadata": { "resourceVersion": object.metadata.resource_version },
            "status": merged,
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let written = api.patch_status(&key.name, &params, &Patch::Merge(&patch)).await;
        let outcome = if written.is_ok() { "applied" } else { "failed" };
        self.health.metrics.writes.with_label_values(&[&format!("{}/status", kind.name()), outcome]).inc();
        let answer = match written {
            Ok(object) => object.data.get("status").cloned().unwrap_or_default(),
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        debug!(object = %desired.update.object, "status written");
        Ok((answer != merged).then_some(Settled { wanted: merged, answer }))
    }
}

/// What an object's status shall be, given what it is.
fn merged(status: &Value, desired: &Desired) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut merged = merge(status, &desired.update, &now);
    if let Some(addresses) = &desired.addresses {
        merged["addresses"] = addresses.clone().into();
    }
    merged
}

#[cfg(test)]
mod tests;
