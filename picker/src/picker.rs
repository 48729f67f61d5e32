//! All pools of a gateway, and the state that survives a change of configuration.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use penstock_config::{EndpointSpec, Fault, PoolSpec};

use crate::{
    clock::{Clock, ManualClock},
    endpoint::Endpoint,
    pool::Pool,
    profile::Profile,
    scrape::{Budget, Shows},
};

/// All pools, by name. Cheap to share; lives as long as the process.
#[derive(Debug, Default)]
pub struct Picker {
    pools: ArcSwap<HashMap<Arc<str>, Arc<Pool>>>,
    /// The clock of every pool where a simulation turns it; otherwise each has its own, which runs.
    clock: Option<ManualClock>,
    scrape_budget: Arc<Budget>,
    /// One change at a time.
    applying: Mutex<()>,
}

/// What [`Picker::apply`] changed.
#[derive(Debug, Default)]
pub struct Applied {
    /// Endpoints that left their pool: connections to their addresses are to be closed, since another pod may come
    /// up at the same address.
    pub removed: Vec<Arc<Endpoint>>,
}

/// A set of pools that cannot be applied; nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A pool's picker document is faulty. Cannot happen for a snapshot compiled with [`crate::EpcCheck`].
    #[error("pool {pool}: {fault}")]
    Profile {
        /// The pool's name.
        pool: Arc<str>,
        /// The first fault in its document.
        fault: Fault,
    },
}

impl Picker {
    /// A picker without pools.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A picker without pools whose time is what `clock` says. Nothing of a pool with a queue or with scraping works
    /// by such a clock: both wait by tokio's.
    pub fn simulated(clock: ManualClock) -> Arc<Self> {
        Arc::new(Self { clock: Some(clock), ..Self::default() })
    }

    /// Makes `pools` the pools there are. An endpoint whose pool, address and name stay keeps its state.
    ///
    /// Must be called within a tokio runtime: scraping of new endpoints starts at once.
    ///
    /// # Errors
    /// [`ApplyError`] if a pool's picker document is faulty; nothing is changed then.
    pub fn apply(self: &Arc<Self>, pools: &[Arc<PoolSpec>]) -> Result<Applied, ApplyError> {
        self.apply_with(pools, |_| None)
    }

    /// As [`Self::apply`], with what is shown to the metrics pages of a pool's endpoints.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_with(
        self: &Arc<Self>,
        pools: &[Arc<PoolSpec>],
        shown: impl Fn(&PoolSpec) -> Option<Arc<dyn Shows>>,
    ) -> Result<Applied, ApplyError> {
        let profiles = pools.iter().map(|spec| profile(spec)).collect::<Result<Vec<_>, _>>()?;

        let _applying = self.applying.lock();
        let old = self.pools.load_full();
        let mut new = HashMap::with_capacity(pools.len());
        let mut applied = Applied::default();
        for (spec, profile) in pools.iter().zip(profiles) {
            let pool = old.get(&spec.name).cloned().unwrap_or_else(|| self.make(&spec.name));
            applied.removed.extend(pool.update(spec, profile, shown(spec)));
            new.insert(Arc::clone(&spec.name), pool);
        }
        for (_, pool) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            applied.removed.extend(pool.close());
        }
        self.pools.store(Arc::new(new));
        Ok(applied)
    }

    /// Makes `endpoints` the endpoints of a pool, and leaves everything else as it is. Without such a pool, nothing
    /// happens.
    ///
    /// Must be called within a tokio runtime: scraping of new endpoints starts at once.
    pub fn set_endpoints(&self, pool: &str, endpoints: &[EndpointSpec]) -> Applied {
        let _applying = self.applying.lock();
        let pool = self.pool(pool);
        Applied { removed: pool.map(|pool| pool.set_endpoints(endpoints)).unwrap_or_default() }
    }

    /// The pool of that name.
    pub fn pool(&self, name: &str) -> Option<Arc<Pool>> {
        self.pools.load().get(name).cloned()
    }

    /// All pools, in no particular order.
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        self.pools.load().values().cloned().collect()
    }

    fn make(&self, name: &Arc<str>) -> Arc<Pool> {
        let clock = self.clock.clone().map_or_else(Clock::running, Clock::Manual);
        Arc::new(Pool::new(Arc::clone(name), clock, Arc::clone(&self.scrape_budget)))
    }
}

fn profile(spec: &PoolSpec) -> Result<Profile, ApplyError> {
    let Some(document) = &spec.picker else { return Ok(Profile::default()) };
    Profile::build(document).map_err(|faults| ApplyError::Profile {
        pool: Arc::clone(&spec.name),
        fault: faults.into_iter().next().unwrap_or_else(|| Fault::new("", "faulty")),
    })
}
