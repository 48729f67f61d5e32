//! Who wants to be left alone, over all configurations: a reload is no reason to ask again.

use std::sync::Arc;

use parking_lot::Mutex;
use penstock_config::{BackendSpec, Snapshot};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::upstreams::Cooldowns;

/// Those of all pools and backends, by name.
#[derive(Default)]
pub(super) struct KnownCooldowns {
    pools: Mutex<FxHashMap<Arc<str>, Arc<Cooldowns>>>,
    backends: Mutex<FxHashMap<Arc<str>, OfBackend>>,
}

/// A backend's, and what that was built from.
type OfBackend = (Arc<BackendSpec>, Arc<Cooldowns>);

impl KnownCooldowns {
    /// Forgets pools and backends that are no longer there.
    pub(super) fn retain(&self, snapshot: &Snapshot) {
        let pools: FxHashSet<&str> = snapshot.pools.iter().map(|spec| &*spec.name).collect();
        self.pools.lock().retain(|name, _| pools.contains(&**name));
        let backends: FxHashSet<&str> = snapshot.backends.iter().map(|spec| &*spec.name).collect();
        self.backends.lock().retain(|name, _| backends.contains(&**name));
    }

    /// A pool's. Its endpoints are told apart by what they are, so that it may change.
    pub(super) fn of_pool(&self, name: &Arc<str>) -> Arc<Cooldowns> {
        self.pools.lock().entry(name.clone()).or_default().clone()
    }

    /// A backend's. One that has changed may be another provider, or be asked with another key.
    pub(super) fn of_backend(&self, spec: &Arc<BackendSpec>) -> Arc<Cooldowns> {
        let mut backends = self.backends.lock();
        if let Some((known, cooldowns)) = backends.get(&spec.name)
            && known == spec
        {
            return cooldowns.clone();
        }
        let cooldowns = Arc::<Cooldowns>::default();
        backends.insert(spec.name.clone(), (spec.clone(), cooldowns.clone()));
        cooldowns
    }
}
