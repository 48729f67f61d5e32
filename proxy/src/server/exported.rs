//! Counts that pools and backends keep themselves, on their way into the metrics.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_picker::Pool;

use crate::metrics::{ScrapeOutcome, UpstreamMetrics};
use crate::runtime::Runtime;
use crate::upstreams::Chooser;

/// What has been exported so far. Counters only take additions, so the difference is what they are given.
#[derive(Debug, Default)]
pub(crate) struct Exported {
    pools: HashMap<Arc<str>, PoolCounts>,
    backends: HashMap<Arc<str>, u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct PoolCounts {
    read: u64,
    failed: u64,
    ejections: u64,
}

impl Exported {
    /// Adds what has been counted since the last call. Pools and backends that are gone are forgotten.
    pub(crate) fn update(&mut self, runtime: &Runtime) {
        let before = std::mem::take(self);
        for upstream in runtime.upstreams() {
            match &upstream.chooser {
                Chooser::Pool { pool, .. } => self.pool(&before, pool, &upstream.metrics),
                Chooser::Balancer(balancer) => {
                    let old = before.backends.get(&upstream.name).copied().unwrap_or_default();
                    let now = balancer.ejections();
                    upstream.metrics.ejections.add(increase(old, now));
                    self.backends.insert(upstream.name.clone(), now);
                }
            }
        }
    }

    fn pool(&mut self, before: &Self, pool: &Pool, metrics: &UpstreamMetrics) {
        let scrapes = pool.scrape_counters();
        let now = PoolCounts {
            read: scrapes.successes(),
            failed: scrapes.errors().map(|(_, count)| count).sum(),
            ejections: pool.ejections(),
        };
        let old = before.pools.get(pool.name()).copied().unwrap_or_default();
        metrics.scraped(ScrapeOutcome::Read, increase(old.read, now.read));
        metrics.scraped(ScrapeOutcome::Failed, increase(old.failed, now.failed));
        metrics.ejections.add(increase(old.ejections, now.ejections));
        self.pools.insert(pool.name().clone(), now);
    }
}

/// A count that fell has started anew.
fn increase(old: u64, now: u64) -> u64 {
    if now < old { now } else { now - old }
}
