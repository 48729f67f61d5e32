//! Watches: every kind that is installed, from the API server into the [`Cluster`].
//!
//! Kinds come and go with their CustomResourceDefinitions, which are watched too (their metadata only; some are larger
//! than everything else together). A kind that is missing is not an error: the operator is of use with any subset.

mod installed;
mod kind;
mod owned;
mod referred;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    discovery::ApiResource,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use parking_lot::Mutex;
use penstock_apiserver::patience;
use penstock_translate::world::Kind;
use tokio::{sync::Notify, task::JoinHandle, time::sleep};
use tracing::{info, warn};

use crate::{admin::Health, cluster::Cluster};

pub use owned::{Observed, Owned};
pub use referred::Referred;

/// The annotation of the Gateway API's definitions that tells their version.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// How long CRDs must be quiet before the API server is asked again what it serves: they are installed by the dozen.
const CRD_QUIET: Duration = Duration::from_millis(300);

/// How often it is asked anyway, in case that it served a kind later than its CRD said.
const CRD_AGAIN: Duration = Duration::from_secs(60);

/// Stands for the question which kinds there are.
const DISCOVERY: &str = "discovery";

/// All watches, as long as it lives.
pub struct Watches {
    client: Client,
    cluster: Arc<Cluster>,
    health: Arc<Health>,
    /// Kinds and owned kinds that have yet to be listed for the first time.
    unlisted: Arc<Unlisted>,
    running: HashMap<Kind, (ApiResource, JoinHandle<()>)>,
}

/// What has to be listed before anything may be written.
#[derive(Debug, Default)]
pub struct Unlisted {
    names: Mutex<BTreeSet<String>>,
    changed: Notify,
}

impl Unlisted {
    fn add(&self, name: String) {
        self.names.lock().insert(name);
    }

    fn remove(&self, name: &str) {
        self.names.lock().remove(name);
        self.changed.notify_waiters();
    }

    /// Waits until all was listed.
    pub async fn none(&self) {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // From here on a removal is not missed.
            changed.as_mut().enable();
            if self.names.lock().is_empty() {
                return;
            }
            changed.await;
        }
    }

    /// Those that are missing.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().iter().cloned().collect()
    }
}

/// Watches CRDs and the kinds that they bring, until the task is dropped.
pub async fn run(
    client: Client,
    cluster: Arc<Cluster>,
    owned: Arc<Owned>,
    referred: Arc<Referred>,
    health: Arc<Health>,
) {
    let unlisted = Arc::new(Unlisted::default());
    // Held until the kinds are known, so that nobody is ready before.
    unlisted.add(DISCOVERY.to_owned());
    let crds_changed = Arc::new(Notify::new());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(watch_crds(client.clone(), Arc::clone(&cluster), Arc::clone(&crds_changed)));
    owned::start(&mut tasks, &client, &owned, &unlisted);
    referred::start(&mut tasks, &client, &referred, &unlisted);
    tasks.spawn({
        let (unlisted, health, cluster) = (Arc::clone(&unlisted), Arc::clone(&health), Arc::clone(&cluster));
        async move {
            unlisted.none().await;
            info!("every kind was listed");
            health.is_synced.store(true, Relaxed);
            cluster.disturb();
        }
    });
    let mut watches = Watches { client, cluster, health, unlisted, running: HashMap::new() };
    loop {
        let again = watches.follow().await;
        tokio::select! {
            () = crds_changed.notified() => sleep(CRD_QUIET).await,
            () = sleep(again) => {}
        }
    }
}

impl Watches {
    /// Starts watches of kinds that are there, and ends those of kinds that are gone. Returns when to look again.
    async fn follow(&mut self) -> Duration {
        let installed = match installed::find(&self.client).await {
            Ok(found) => {
                self.cluster.set_unknown_kinds(found.unknown);
                found.kinds
            }
            Err(error) => {
                warn!(%error, "the API server does not say what it serves");
                return Duration::from_secs(1);
            }
        };
        for (kind, resource) in &installed {
            match self.running.get(kind) {
                Some((running, _)) if running == resource => continue,
                Some((_, task)) => task.abort(),
                None => {}
            }
            info!(kind = kind.name(), version = resource.api_version, "watching");
            self.unlisted.add(full_name(*kind));
            let watch = kind::watch(
                self.client.clone(),
                *kind,
                resource.clone(),
                Arc::clone(&self.cluster),
                Arc::clone(&self.unlisted),
                Arc::clone(&self.health),
            );
            self.running.insert(*kind, (resource.clone(), tokio::spawn(watch)));
        }
        let mut is_complete = true;
        for &kind in Kind::ALL.iter().filter(|kind| !installed.contains_key(*kind) && kind.is_configuration())
        {
            // An API server that has just started serves kinds one after the other: what it does not serve yet is not
            // gone, and routes must not lose their pools over that.
            if self.is_defined(kind).await {
                is_complete = false;
                continue;
            }
            if let Some((_, task)) = self.running.remove(&kind) {
                info!(kind = kind.name(), "no longer installed");
                task.abort();
                self.unlisted.remove(&full_name(kind));
                self.cluster.retain(kind, |_| false);
            }
        }
        if !is_complete {
            return Duration::from_secs(1);
        }
        self.unlisted.remove(DISCOVERY);
        CRD_AGAIN
    }

    /// Whether there is a definition of a kind in a version that is understood, or it is not known that there is none.
    async fn is_defined(&self, kind: Kind) -> bool {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        match api.get_opt(&full_name(kind)).await {
            Ok(Some(crd)) => crd
                .spec
                .versions
                .iter()
                .any(|version| version.served && kind.versions().contains(&version.name.as_str())),
            Ok(None) => false,
            // Not allowed to ask: then what is served has to do.
            Err(kube::Error::Api(status)) if status.code == 403 => false,
            Err(_) => true,
        }
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

/// Tells when a CRD of a group that is read changes.
async fn watch_crds(client: Client, cluster: Arc<Cluster>, changed: Arc<Notify>) {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client);
    let stream = watcher(api, Config::default()).backoff(patience());
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = futures::StreamExt::next(&mut stream).await {
        if let Ok(Event::Apply(crd) | Event::InitApply(crd)) = &event
            && crd.metadata.name.as_deref() == Some(&full_name(Kind::GatewayClass))
        {
            let version = crd.metadata.annotations.as_ref().and_then(|all| all.get(BUNDLE_VERSION));
            cluster.set_gateway_api_version(version.cloned());
        }
        let name = match &event {
            Ok(Event::Apply(crd) | Event::Delete(crd) | Event::InitApply(crd)) => {
                crd.metadata.name.as_deref()
            }
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => {
                warn!(%error, "the watch of CustomResourceDefinitions broke");
                None
            }
        };
        if name.is_some_and(|name| Kind::ALL.iter().any(|kind| name == full_name(*kind))) {
            changed.notify_one();
        }
    }
}

/// What a kind's CRD is called.
fn full_name(kind: Kind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}

#[cfg(test)]
mod tests;
