//! The loop: changes in, translation, plans and statuses out.
//!
//! Every replica translates, so that the one that takes over knows everything already; only the leader writes. A change
//! of Pods alone takes the short way: the endpoints of the pools that it concerns, and nothing else.

mod leading;
mod render;

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use kube::Client;
use penstock_translate::{Options, world::Kind};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, error};

use crate::{
    admin::Health,
    cluster::Cluster,
    provision::DataPlane,
    watch::{Owned, Referred},
};

use leading::Leading;
use render::Rendering;

/// How often everything is translated again without a change. It finds nothing new, unless an event was missed.
const RESYNC: Duration = Duration::from_secs(600);

/// What the loop works with.
#[derive(Clone)]
pub struct Parts {
    /// The API server.
    pub client: Client,
    /// What the watches bring.
    pub cluster: Arc<Cluster>,
    /// What was written.
    pub owned: Arc<Owned>,
    /// Secrets and ConfigMaps.
    pub referred: Arc<Referred>,
    /// Metrics and readiness.
    pub health: Arc<Health>,
    /// How objects are translated.
    pub options: Options,
    /// What holds for all data planes.
    pub data_plane: Arc<DataPlane>,
    /// A GatewayClass that is to be there.
    pub gateway_class: Option<String>,
    /// The name of this replica.
    pub identity: String,
    /// How long changes must be quiet.
    pub quiet: Duration,
    /// How long they may put a translation off.
    pub max: Duration,
}

/// Runs until `stop` is true.
pub async fn run(parts: Parts, mut leading: watch::Receiver<bool>, mut stop: watch::Receiver<bool>) {
    let status_due = Arc::new(Notify::new());
    let mut rendering = Rendering::default();
    let mut leader: Option<Leading> = None;
    let mut resync = Instant::now() + RESYNC;
    loop {
        let mut is_changed = true;
        tokio::select! {
            () = is_true(&mut stop) => return,
            changed = leading.changed() => if changed.is_err() { return },
            () = parts.cluster.changed() => settle(&parts).await,
            () = status_due.notified() => is_changed = false,
            () = sleep_until(resync) => parts.cluster.disturb(),
        }
        if !parts.health.is_synced.load(Relaxed) {
            continue;
        }
        let is_leader = *leading.borrow_and_update();
        parts.health.metrics.is_leader.set(i64::from(is_leader));
        let is_new_leader = is_leader && leader.is_none();
        if !is_leader {
            // Ends whatever is being written.
            leader = None;
        }
        if is_changed || is_new_leader {
            let (world, changes) = parts.cluster.take();
            if is_new_leader {
                leader = Some(Leading::start(&parts, Arc::clone(&status_due)));
            }
            if changes.everything {
                resync = Instant::now() + RESYNC;
            }
            let scope = render::Scope { world, changes, is_leader, is_new_leader };
            rendering = match render::render(&parts, rendering, scope).await {
                Ok(rendering) => rendering,
                Err(panic) => {
                    // A translation is a pure function of what it read: the next change may well mend it.
                    error!(%panic, "a translation ended unexpectedly");
                    Rendering::default()
                }
            };
            count(&parts);
        }
        if let Some(leader) = &mut leader {
            leader.publish(&parts, &mut rendering).await;
        }
    }
}

/// Waits for a yes, or for the end of whoever could say it.
async fn is_true(says: &mut watch::Receiver<bool>) {
    // The guard that this returns must not live across another await.
    let _ = says.wait_for(|is| *is).await;
}

/// Waits until changes are quiet, but not for too long.
async fn settle(parts: &Parts) {
    let due = Instant::now() + parts.max;
    loop {
        let quiet = sleep(parts.quiet);
        tokio::select! {
            () = quiet => return,
            () = sleep_until(due) => return,
            () = parts.cluster.changed() => debug!("more changes"),
        }
    }
}

fn count(parts: &Parts) {
    for kind in Kind::ALL {
        let count = i64::try_from(parts.cluster.count(*kind)).unwrap_or(i64::MAX);
        parts.health.metrics.objects.with_label_values(&[&kind.plural()]).set(count);
    }
}

#[cfg(test)]
mod tests;
