//! A snapshot with everything it takes to serve requests by it, and the one that is in force.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use penstock_config::{
    Action, BackendIndex, Limits, ListenerIndex, ModelEntry, PoolIndex, Rule, Snapshot, Upstream,
};
use penstock_peek::Options;
use penstock_picker::Pool;

use crate::balance::Balancer;
use crate::budget::RetryBudget;
use crate::credential::Credential;
use crate::metrics::{Metrics, RouteMetrics, UpstreamKind, UpstreamMetrics};
use crate::peers::Peers;

/// One configuration, ready to serve. Never changes; a reload makes another.
pub struct Runtime {
    snapshot: Arc<Snapshot>,
    pools: Vec<Arc<Pool>>,
    balancers: Vec<Arc<Balancer>>,
    pool_peers: Vec<Peers>,
    backend_peers: Vec<Peers>,
    pool_credentials: Vec<Option<Arc<Credential>>>,
    backend_credentials: Vec<Option<Arc<Credential>>>,
    budgets: Vec<RetryBudget>,
    wants_prompt: Vec<bool>,
    peek_options: Options,
    metrics: Arc<Metrics>,
    route_metrics: Vec<RouteMetrics>,
    pool_metrics: Vec<UpstreamMetrics>,
    backend_metrics: Vec<UpstreamMetrics>,
}

/// The configuration in force: loaded once by each request.
pub type Live = ArcSwap<Runtime>;

/// The parts of a [`Runtime`] that outlive it or had to be built from files.
pub struct Parts {
    /// The pools of the snapshot, in its order.
    pub pools: Vec<Arc<Pool>>,
    /// The balancers of the snapshot's backends, in its order.
    pub balancers: Vec<Arc<Balancer>>,
    /// How pools' endpoints are connected to, in the order of the pools.
    pub pool_peers: Vec<Peers>,
    /// How backends' endpoints are connected to, in the order of the backends.
    pub backend_peers: Vec<Peers>,
    /// What is shown to pools' endpoints, in the order of the pools.
    pub pool_credentials: Vec<Option<Arc<Credential>>>,
    /// What is shown to backends, in the order of the backends.
    pub backend_credentials: Vec<Option<Arc<Credential>>>,
    /// Seed of the prefix hashes: chosen once a process, so that nobody can construct colliding prompts.
    pub hash_seed: u64,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
}

impl Runtime {
    /// Puts a snapshot and its parts together.
    pub fn new(snapshot: Arc<Snapshot>, parts: Parts) -> Self {
        let limits = &snapshot.limits;
        let peek_options = Options {
            block_bytes: snapshot.peek.prefix_block_bytes,
            max_blocks: snapshot.peek.prefix_max_blocks as usize,
            seed: match snapshot.peek.hash_seed {
                0 => parts.hash_seed,
                shared => u64::from(shared),
            },
            max_model_bytes: limits.model_bytes,
            max_depth: snapshot.peek.max_depth as usize,
            max_decoded_bytes: limits.decoded_body_bytes as u64,
        };
        let rules = snapshot.rules();
        let budgets = rules
            .iter()
            .map(|rule| RetryBudget::new(rule.retry.budget_percent, rule.retry.min_retries_per_second))
            .collect();
        let wants_prompt = rules.iter().map(wants_prompt).collect();
        let metrics = &parts.metrics;
        let route_metrics = rules.iter().map(|rule| metrics.route(&rule.route)).collect();
        let models = models_by_upstream(&snapshot);
        let upstream_metrics = |kind, name: &str, upstream| {
            let models = models.get(&upstream).into_iter().flatten().copied();
            metrics.upstream(kind, name, models)
        };
        let pools = snapshot.pools.iter().enumerate();
        let pool_metrics = pools
            .map(|(at, pool)| upstream_metrics(UpstreamKind::Pool, &pool.name, Upstream::Pool(PoolIndex(at))))
            .collect();
        let backends = snapshot.backends.iter().enumerate();
        let backend_metrics = backends
            .map(|(at, of)| {
                upstream_metrics(UpstreamKind::Backend, &of.name, Upstream::Backend(BackendIndex(at)))
            })
            .collect();
        Self {
            snapshot,
            pools: parts.pools,
            balancers: parts.balancers,
            pool_peers: parts.pool_peers,
            backend_peers: parts.backend_peers,
            pool_credentials: parts.pool_credentials,
            backend_credentials: parts.backend_credentials,
            budgets,
            wants_prompt,
            peek_options,
            route_metrics,
            pool_metrics,
            backend_metrics,
            metrics: parts.metrics.clone(),
        }
    }

    /// The configuration.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.snapshot.limits
    }

    /// What a peek may spend.
    pub fn peek_options(&self) -> &Options {
        &self.peek_options
    }

    /// The process's metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The metrics of a rule's route.
    pub fn route_metrics(&self, rule: usize) -> &RouteMetrics {
        &self.route_metrics[rule]
    }

    /// The metrics of a pool or backend.
    pub fn upstream_metrics(&self, upstream: Upstream) -> &UpstreamMetrics {
        match upstream {
            Upstream::Pool(index) => &self.pool_metrics[index.0],
            Upstream::Backend(index) => &self.backend_metrics[index.0],
        }
    }

    /// A pool's endpoints.
    pub fn pool(&self, index: PoolIndex) -> &Arc<Pool> {
        &self.pools[index.0]
    }

    /// A backend's endpoints.
    pub fn balancer(&self, index: BackendIndex) -> &Arc<Balancer> {
        &self.balancers[index.0]
    }

    /// All pools, in the snapshot's order.
    pub fn pools(&self) -> &[Arc<Pool>] {
        &self.pools
    }

    /// All backends, in the snapshot's order.
    pub fn balancers(&self) -> &[Arc<Balancer>] {
        &self.balancers
    }

    /// How a pool's endpoints are connected to.
    pub fn pool_peers(&self, index: PoolIndex) -> &Peers {
        &self.pool_peers[index.0]
    }

    /// How a backend's endpoints are connected to.
    pub fn backend_peers(&self, index: BackendIndex) -> &Peers {
        &self.backend_peers[index.0]
    }

    /// What a pool or backend is shown to be let in.
    pub fn credential(&self, upstream: Upstream) -> Option<&Arc<Credential>> {
        match upstream {
            Upstream::Pool(index) => self.pool_credentials[index.0].as_ref(),
            Upstream::Backend(index) => self.backend_credentials[index.0].as_ref(),
        }
    }

    /// The retry budget of a rule.
    pub fn retry_budget(&self, rule: usize) -> &RetryBudget {
        &self.budgets[rule]
    }

    /// Whether a rule may forward to a pool, whose picker looks at the prompt, or renames the model, or copies requests.
    pub fn rule_wants_prompt(&self, rule: usize) -> bool {
        self.wants_prompt[rule]
    }

    /// The position of the listener with this name.
    pub fn listener_index(&self, name: &str) -> Option<usize> {
        self.snapshot.listeners.iter().position(|listener| *listener.name == *name)
    }

    /// The models that `host` can ask for at a listener.
    pub fn models(&self, listener: usize, host: &str) -> Vec<&ModelEntry> {
        self.snapshot.models(ListenerIndex(listener), host)
    }
}

fn wants_prompt(rule: &Rule) -> bool {
    if !rule.mirrors.is_empty() {
        return true;
    }
    let Action::Forward(tiers) = &rule.action else { return false };
    tiers
        .iter()
        .flat_map(|tier| &tier.targets)
        .any(|target| matches!(target.upstream(), Some(Upstream::Pool(_))) || target.model_override.is_some())
}

/// The models that rules send to each upstream: metrics have series for these and lump the others together.
fn models_by_upstream(snapshot: &Snapshot) -> HashMap<Upstream, Vec<&str>> {
    let mut models: HashMap<Upstream, Vec<&str>> = HashMap::new();
    for rule in snapshot.rules() {
        let Action::Forward(tiers) = &rule.action else { continue };
        for target in tiers.iter().flat_map(|tier| &tier.targets) {
            let Some(upstream) = target.upstream() else { continue };
            let known = models.entry(upstream).or_default();
            known.extend(rule.models.iter().map(|model| &**model));
        }
    }
    models
}
