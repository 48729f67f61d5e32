//! What limits of policies are counted by, whatever configuration is in force: counters, what requests took, and what tokens
//! cost; and what a request holds.

pub(crate) mod prices;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use penstock_config::{PolicySpec, Snapshot};
use penstock_policies::limits::{Counters, Estimator, Holds, Limiter, Now, Usage, Wants};
use tokio::time::Instant;

use self::prices::PriceBook;

/// What outlives configurations: counters, what requests took, and what tokens cost.
pub(crate) struct Meter {
    /// All counters.
    pub(crate) counters: Arc<Counters>,
    /// What requests take.
    pub(crate) estimator: Estimator,
    prices: PriceBook,
    started: Instant,
}

/// The limits of one policy.
pub(crate) struct Quota {
    /// The policy's name.
    pub(crate) policy: Arc<str>,
    /// Its limits.
    pub(crate) limiter: Limiter,
    /// Whether some of them only count.
    pub(crate) has_shadows: bool,
}

/// What a request holds of the limits of its listener and its rule.
#[derive(Default)]
pub(crate) struct Tab {
    /// What it holds.
    pub(crate) holds: Holds,
    /// What it was expected to take.
    pub(crate) estimate: Usage,
}

impl Meter {
    /// One that has counted nothing.
    pub(crate) fn new() -> Self {
        Self {
            // A document says for how many there is room.
            counters: Counters::new(0),
            estimator: Estimator::new(),
            prices: PriceBook::default(),
            started: Instant::now(),
        }
    }

    /// All counters.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What tokens cost.
    pub(crate) fn prices(&self) -> &PriceBook {
        &self.prices
    }

    /// The limits of each policy of a document, in its order. Counters of limits that stay as they are go on.
    pub(crate) fn quotas(&self, snapshot: &Snapshot) -> Vec<Option<Arc<Quota>>> {
        self.counters.set_max(snapshot.limits.limit_counters as usize);
        if let Some(store) = &snapshot.limit_store {
            self.counters.set_on_failure(store.on_failure);
        }
        let (replicas, has_store) = (snapshot.replicas.max(1), snapshot.limit_store.is_some());
        let quota = |policy: &Arc<PolicySpec>| {
            let limiter = Limiter::new(policy, &self.counters, replicas, has_store)?;
            let has_shadows = policy.limits.iter().any(|limit| limit.is_shadow);
            Some(Arc::new(Quota { policy: policy.name.clone(), limiter, has_shadows }))
        };
        snapshot.policies.iter().map(quota).collect()
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Now {
        Now { wall: SystemTime::now(), mono: self.started.elapsed() }
    }

    /// What time it is for a request, without asking a clock again: that on the wall is as old as the request, and what has
    /// passed since.
    pub(crate) fn at(&self, (started, started_at): (Instant, SystemTime), now: Instant) -> Now {
        let passed: Duration = now.saturating_duration_since(started);
        Now { wall: started_at + passed, mono: now.saturating_duration_since(self.started) }
    }
}

impl Quota {
    /// What has to be known of a request.
    pub(crate) fn wants(&self) -> Wants {
        self.limiter.wants()
    }
}
