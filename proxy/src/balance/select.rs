//! pingora's load balancer, whichever way it chooses.

use std::{net::SocketAddr, sync::Arc};

use futures::FutureExt as _;
use penstock_config::Balancing;
use pingora_load_balancing::{
    Backend, Backends, LoadBalancer,
    selection::{BackendIter, BackendSelection, Consistent, Random, RoundRobin},
};

use super::{
    health::Registry,
    members::{Discovery, Members},
};

/// Points of a ring that each member has on average (pingora-ketama's).
const POINTS: usize = 160;

/// Chooses among the members of a backend.
pub(super) struct Selection {
    balancer: Box<dyn Choose>,
}

impl Selection {
    /// Over `members`, whose health `health` knows; without it, all are healthy. `is_by_hash` has keys decide in place of
    /// `balancing`.
    pub(super) fn new(
        (balancing, is_by_hash): (Balancing, bool),
        members: Arc<Members>,
        health: Option<Registry>,
    ) -> Self {
        let discovery = Box::new(Discovery(members));
        let backends = match health {
            Some(health) => Backends::new_with_health_registry(discovery, health.inner),
            None => Backends::new(discovery),
        };
        let balancer: Box<dyn Choose> = match balancing {
            _ if is_by_hash => Box::new(LoadBalancer::<Consistent>::from_backends(backends)),
            Balancing::RoundRobin => Box::new(LoadBalancer::<RoundRobin>::from_backends(backends)),
            Balancing::Random | Balancing::LeastRequest => {
                Box::new(LoadBalancer::<Random>::from_backends(backends))
            }
        };
        Self { balancer }
    }

    /// Takes in the present members. Must not overlap with itself.
    pub(super) fn update(&self) {
        self.balancer.discover();
    }

    /// The first address in turn that `accept` takes, given whether it is healthy. Once it has taken
    /// one, it is not asked again. The key decides where the turn begins, if keys do.
    pub(super) fn select(&self, key: &[u8], accept: &dyn Fn(SocketAddr, bool) -> bool) -> Option<SocketAddr> {
        self.balancer.choose(key, accept)
    }

    /// Checks the health of all members once, all at the same time.
    pub(super) async fn check_health(&self) {
        self.balancer.members().run_health_check(true).await;
    }

    /// Each address with its weight and its health, in order.
    pub(super) fn members(&self) -> Vec<(SocketAddr, usize, bool)> {
        let backends = self.balancer.members();
        let all = backends.get_backend();
        all.iter()
            .filter_map(|backend| Some((*backend.addr.as_inet()?, backend.weight, backends.ready(backend))))
            .collect()
    }
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.members()).finish()
    }
}

/// [`LoadBalancer`], whatever its algorithm.
trait Choose: Send + Sync {
    fn discover(&self);
    fn choose(&self, key: &[u8], accept: &dyn Fn(SocketAddr, bool) -> bool) -> Option<SocketAddr>;
    fn members(&self) -> &Backends;
}

impl<S> Choose for LoadBalancer<S>
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    fn discover(&self) {
        // Our discovery neither waits nor fails.
        let _ = self.update().now_or_never();
    }

    fn choose(&self, key: &[u8], accept: &dyn Fn(SocketAddr, bool) -> bool) -> Option<SocketAddr> {
        let accept = |backend: &Backend, is_healthy: bool| {
            backend.addr.as_inet().is_some_and(|address| accept(*address, is_healthy))
        };
        let backends = self.backends();
        let all = backends.get_backend();
        // A ring has many points of each: all of them are gone through.
        let steps = if key.is_empty() { all.len() + 1 } else { all.len() * POINTS };
        let chosen = self.select_with(key, steps, accept);
        // After its first choice pingora goes on by the counter that all requests share, so it can miss
        // one when others choose at the same time.
        let chosen =
            chosen.or_else(|| all.iter().find(|backend| accept(backend, backends.ready(backend))).cloned());
        chosen?.addr.as_inet().copied()
    }

    fn members(&self) -> &Backends {
        self.backends()
    }
}
