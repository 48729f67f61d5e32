//! The store of counters that gateways share, in the gateway: begun with the first document that names one, changed by
//! reloads, told at the end.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use penstock_config::Snapshot;
use penstock_leases::{Leases, Observe};

use crate::meter::Meter;
use crate::metrics::Metrics;

/// How long the end of the gateway waits for the store to be told what is given back.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(1);

/// The store, once there was one.
pub(crate) struct SharedLimits {
    meter: Arc<Meter>,
    observe: Arc<dyn Observe>,
    leases: OnceLock<Leases>,
}

impl SharedLimits {
    /// Counters of `meter` that nobody shares.
    pub(crate) fn new(meter: &Arc<Meter>, metrics: &Metrics) -> Self {
        Self {
            meter: Arc::clone(meter),
            observe: Arc::clone(&metrics.leases) as Arc<dyn Observe>,
            leases: OnceLock::new(),
        }
    }

    /// Takes the store of this document. Needs the runtime.
    pub(crate) fn apply(&self, snapshot: &Snapshot) {
        let store = snapshot.limit_store.as_ref();
        if store.is_some() || self.leases.get().is_some() {
            self.leases.get_or_init(|| self.start()).use_store(store);
        }
    }

    /// Gives back what is not used.
    pub(crate) async fn drain(&self) {
        if let Some(leases) = self.leases.get() {
            leases.drain(GIVE_BACK_WITHIN).await;
        }
    }

    fn start(&self) -> Leases {
        let meter = Arc::clone(&self.meter);
        Leases::start(
            Arc::clone(self.meter.counters()),
            Arc::new(move || meter.now()),
            Arc::clone(&self.observe),
        )
    }
}
