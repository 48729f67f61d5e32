//! One worker for each Gateway: writes what differs, retries by itself, and sweeps up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use parking_lot::Mutex;
use penstock_translate::world::Key;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use tracing::{debug, info, warn};

use super::Plan;
use crate::{
    admin::Health,
    manifest::{FIELD_MANAGER, Manifest, OwnedKey},
    watch::Owned,
};

/// Writes at a time for one Gateway.
const MAX_WRITES: usize = 8;

/// The first wait after a failure; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long what is no longer wanted stays after the document that does not name it any more was written: data planes
/// must have seen that first.
const SWEEP_AFTER: Duration = Duration::from_secs(10);

/// How the publication of a Gateway goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Everything is written.
    Published {
        /// The generation of the document.
        generation: u64,
    },
    /// The last attempt failed; there will be another.
    Failed {
        /// What and why.
        message: String,
    },
}

/// The workers, as long as it lives.
pub struct Workers {
    shared: Arc<Shared>,
    running: BTreeMap<Key, Worker>,
}

#[derive(Debug)]
struct Worker {
    plan: watch::Sender<Arc<Plan>>,
    task: JoinHandle<()>,
}

struct Shared {
    client: Client,
    owned: Arc<Owned>,
    health: Arc<Health>,
    progress: Mutex<BTreeMap<Key, Progress>>,
    /// Told when the progress of a Gateway changes.
    progressed: Arc<Notify>,
}

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {source}")]
struct WriteError {
    kind: &'static str,
    name: String,
    source: kube::Error,
}

impl Workers {
    /// No workers yet. `progressed` is told of every change in [`Workers::progress`].
    pub fn new(client: Client, owned: Arc<Owned>, health: Arc<Health>, progressed: Arc<Notify>) -> Self {
        let shared = Shared { client, owned, health, progress: Mutex::default(), progressed };
        Self { shared: Arc::new(shared), running: BTreeMap::new() }
    }

    /// Has a plan carried out. One that was not finished gives way to it.
    pub fn publish(&mut self, plan: Arc<Plan>) {
        if let Some(worker) = self.running.get(&plan.gateway) {
            worker.plan.send_replace(plan);
            return;
        }
        let gateway = plan.gateway.clone();
        let (sender, receiver) = watch::channel(plan);
        let task = tokio::spawn(work(Arc::clone(&self.shared), receiver));
        self.running.insert(gateway, Worker { plan: sender, task });
    }

    /// Ends the workers of all Gateways but these.
    pub fn retain(&mut self, keep: &BTreeSet<Key>) {
        self.running.retain(|gateway, worker| {
            let is_kept = keep.contains(gateway);
            if !is_kept {
                worker.task.abort();
                self.shared.progress.lock().remove(gateway);
            }
            is_kept
        });
    }

    /// How it goes with each Gateway.
    pub fn progress(&self) -> BTreeMap<Key, Progress> {
        self.shared.progress.lock().clone()
    }

    /// Removes objects of a Gateway that is not ours any more. What fails is tried again with the next call.
    pub fn remove(&self, objects: BTreeSet<OwnedKey>) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            if let Err(error) = shared.delete_all(objects).await {
                warn!(error = error.to_string(), "what a former Gateway left could not be removed");
            }
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in self.running.values() {
            worker.task.abort();
        }
    }
}

async fn work(shared: Arc<Shared>, mut plans: watch::Receiver<Arc<Plan>>) {
    let mut wait = FIRST_WAIT;
    // Counted from when there was something to sweep: plans may follow each other without a pause.
    let mut sweep_due: Option<Instant> = None;
    loop {
        let plan = Arc::clone(&plans.borrow_and_update());
        match shared.carry_out(&plan).await {
            Ok(is_swept) => {
                wait = FIRST_WAIT;
                shared.note(&plan.gateway, Progress::Published { generation: plan.generation });
                sweep_due = (!is_swept).then(|| sweep_due.unwrap_or_else(|| Instant::now() + SWEEP_AFTER));
            }
            Err(error) => {
                warn!(gateway = %plan.gateway, error = error.to_string(), ?wait, "publishing failed and is tried again");
                shared.note(&plan.gateway, Progress::Failed { message: error.to_string() });
                let due = Instant::now() + wait;
                wait = (wait * 2).min(LONGEST_WAIT);
                // A newer plan does not hurry a server that refuses: it waits its turn too.
                sleep_until(due).await;
                continue;
            }
        }
        let due = async {
            match sweep_due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => {
                sweep_due = None;
                shared.sweep(&plan).await;
            }
            changed = plans.changed() => if changed.is_err() { return },
        }
    }
}

impl Shared {
    /// Writes what differs. True if nothing is left that is not wanted.
    async fn carry_out(&self, plan: &Plan) -> Result<bool, WriteError> {
        let mut written = 0;
        for step in &plan.steps {
            let is_due = |manifest: &&Arc<Manifest>| self.owned.is_due(&manifest.key, &manifest.digest);
            let due: Vec<Arc<Manifest>> = step.iter().filter(is_due).cloned().collect();
            written += due.len();
            let writes = futures::stream::iter(due.into_iter().map(|manifest| self.write(manifest)));
            writes.buffer_unordered(MAX_WRITES).try_collect::<()>().await?;
        }
        if written > 0 {
            if let Some(since) = plan.since {
                self.health.metrics.propagation.observe(since.elapsed().as_secs_f64());
            }
            debug!(gateway = %plan.gateway, generation = plan.generation, written, "published");
        }
        Ok(self.unwanted(plan).is_empty())
    }

    async fn write(&self, manifest: Arc<Manifest>) -> Result<(), WriteError> {
        let OwnedKey { kind, namespace, name } = &manifest.key;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind.resource());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let mut writing = Writing::begin(&self.owned, &manifest.key);
        let written = api.patch_metadata(name, &params, &Patch::Apply(&manifest.body)).await;
        let outcome = if written.is_ok() { "applied" } else { "failed" };
        self.health.metrics.writes.with_label_values(&[kind.name(), outcome]).inc();
        let written =
            written.map_err(|source| WriteError { kind: kind.name(), name: name.clone(), source })?;
        writing.written = Some(written.metadata);
        Ok(())
    }

    /// What is there of this Gateway and not part of the plan.
    fn unwanted(&self, plan: &Plan) -> BTreeSet<OwnedKey> {
        let wanted = plan.keys();
        let there = self.owned.of_gateway(&plan.gateway.namespace, &plan.names.label);
        there.into_iter().filter(|key| !wanted.contains(key) && !plan.leaves(key)).collect()
    }

    async fn sweep(&self, plan: &Plan) {
        let unwanted = self.unwanted(plan);
        if let Err(error) = self.delete_all(unwanted).await {
            warn!(gateway = %plan.gateway, error = error.to_string(), "what is no longer wanted could not be removed");
        }
    }

    async fn delete_all(&self, keys: BTreeSet<OwnedKey>) -> Result<(), WriteError> {
        futures::stream::iter(keys.into_iter().map(|key| self.delete(key)))
            .buffer_unordered(MAX_WRITES)
            .try_collect::<()>()
            .await
    }

    async fn delete(&self, key: OwnedKey) -> Result<(), WriteError> {
        let OwnedKey { kind, namespace, name } = &key;
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind.resource());
        match api.delete(name, &DeleteParams::background()).await {
            Ok(_) => {
                info!(kind = kind.name(), namespace, name, "removed");
                self.health.metrics.writes.with_label_values(&[kind.name(), "deleted"]).inc();
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => {
                self.health.metrics.writes.with_label_values(&[kind.name(), "failed"]).inc();
                return Err(WriteError { kind: kind.name(), name: name.clone(), source });
            }
        }
        self.owned.forget(&key);
        Ok(())
    }

    fn note(&self, gateway: &Key, progress: Progress) {
        let mut all = self.progress.lock();
        if all.get(gateway) == Some(&progress) {
            return;
        }
        all.insert(gateway.clone(), progress);
        drop(all);
        self.progressed.notify_one();
    }
}

/// A write under way; noted as failed when it is dropped without a result.
struct Writing<'a> {
    owned: &'a Owned,
    key: &'a OwnedKey,
    written: Option<kube::api::ObjectMeta>,
}

impl<'a> Writing<'a> {
    fn begin(owned: &'a Owned, key: &'a OwnedKey) -> Self {
        owned.begin(key);
        Self { owned, key, written: None }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.owned.finish(self.key, self.written.as_ref());
    }
}

#[cfg(test)]
mod tests;
