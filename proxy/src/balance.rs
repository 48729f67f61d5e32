//! Plain backends: which address of a service or a hosted API a request goes to.
//!
//! The choosing, the weights and the thresholds of health checks are pingora-load-balancing's. What is
//! added here is what it leaves to its users: names that are resolved again and again, endpoints that
//! this request has tried already, endpoints that keep failing, and state that survives a change of
//! configuration. Its background service is not used, since it wants pingora's server around it and
//! cannot be rebuilt on a reload; two small tasks for each backend do the same.

use std::{
    cell::Cell,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use penstock_config::{BackendSpec, Balancing};
use pingora_core::connectors::http::Connector;
use rustc_hash::{FxHashMap, FxHashSet};
use thiserror::Error;
use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use crate::credential::Credential;
use crate::error::CircuitBound;
use crate::tls::UpstreamContext;

mod chosen;
mod circuit;
mod ejection;
mod endpoint;
mod health;
mod members;
mod report;
mod select;
mod weight;

pub(crate) use chosen::Chosen;
pub(crate) use circuit::Circuit;
pub(crate) use endpoint::BackendAddress;
pub(crate) use report::BackendReport;

use endpoint::{Admission, Endpoint};
use health::{Asked, Registry};
use members::{Members, Resolve, SystemResolver};
use select::Selection;

/// Why no endpoint of a backend was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum BalanceError {
    /// None of the backend's names has been resolved yet.
    #[error("no address of the backend is known: its DNS names have not been resolved")]
    Unresolved,
    /// This request has tried them all.
    #[error("every endpoint of the backend has failed this request")]
    AllExcluded,
    /// Those that are left are unhealthy or ejected.
    #[error("every endpoint of the backend is unhealthy or ejected")]
    NoneAvailable,
    /// As much is under way there as may be.
    #[error("as much is under way at the backend as its circuitBreaker lets be ({})", _0.name())]
    CircuitOpen(CircuitBound),
}

/// What an endpoint is wanted for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted<'a> {
    /// Those that are not to be tried.
    pub(crate) exclude: &'a [SocketAddr],
    /// Whether the request follows an attempt that failed.
    pub(crate) is_retry: bool,
    /// What it has in common with those that go to the same endpoint; empty if that is not known, or nobody asks.
    pub(crate) key: &'a [u8],
}

/// All backends, by name.
pub struct Balancers {
    by_name: ArcSwap<FxHashMap<Arc<str>, Arc<Balancer>>>,
    connector: Arc<Connector>,
    resolver: Arc<dyn Resolve>,
}

impl Balancers {
    /// Without backends.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_resolver(Arc::new(SystemResolver))
    }

    fn with_resolver(resolver: Arc<dyn Resolve>) -> Arc<Self> {
        let connector = Arc::new(Connector::new(None));
        Arc::new(Self { by_name: ArcSwap::default(), connector, resolver })
    }

    /// Makes `backends` the backends there are, and returns them in this order; `loaded` gives the loaded
    /// sides of [`BackendSpec::tls`] and [`BackendSpec::credential`]. What is known of a backend that keeps its name stays known:
    /// addresses, failures, requests in flight, and health if it is still checked the same way.
    ///
    /// Has to be called within a tokio runtime, which runs the health checks and the resolving. Calls
    /// must not overlap.
    pub(crate) fn apply(
        &self,
        backends: &[Arc<BackendSpec>],
        loaded: impl Fn(&BackendSpec) -> (Option<Arc<UpstreamContext>>, Option<Arc<Credential>>),
    ) -> Vec<Arc<Balancer>> {
        let old = self.by_name.load();
        let applied = backends.iter().map(|spec| {
            let (tls, credential) = loaded(spec);
            let Some(balancer) = old.get(&spec.name) else {
                let running = self.build(spec.clone(), tls, credential, None);
                return Arc::new(Balancer { running: ArcSwap::from_pointee(running) });
            };
            let running = balancer.running.load_full();
            if !running.shared.is_built_from(spec, tls.as_ref()) {
                let next = self.build(spec.clone(), tls, credential, Some(&running.shared));
                balancer.running.store(Arc::new(next));
            }
            balancer.clone()
        });
        let applied: Vec<Arc<Balancer>> = applied.collect();
        let by_name = applied.iter().map(|balancer| (balancer.name(), balancer.clone()));
        self.by_name.store(Arc::new(by_name.collect()));
        applied
    }

    /// Takes over another set of endpoints of one backend, and leaves everything else as it is. Without such a
    /// backend, nothing happens. Where and how it may be called is as for [`Self::apply`].
    pub fn set_endpoints(&self, spec: &Arc<BackendSpec>) {
        let Some(balancer) = self.get(&spec.name) else { return };
        let running = balancer.running.load_full();
        if running.shared.spec != *spec {
            let Shared { tls, credential, .. } = &*running.shared;
            let next = self.build(spec.clone(), tls.clone(), credential.clone(), Some(&running.shared));
            balancer.running.store(Arc::new(next));
        }
    }

    /// The backend called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Balancer>> {
        self.by_name.load().get(name).cloned()
    }

    /// The addresses of all backends.
    pub(crate) fn addresses(&self) -> FxHashSet<SocketAddr> {
        let balancers = self.by_name.load();
        balancers.values().flat_map(|balancer| balancer.addresses()).collect()
    }

    /// What is known of every backend, by name.
    #[must_use]
    pub fn report(&self) -> Vec<BackendReport> {
        let mut reports: Vec<_> = self.by_name.load().values().map(|balancer| balancer.report()).collect();
        reports.sort_by(|a, b| a.name.cmp(&b.name));
        reports
    }

    /// Waits until the names of all backends were looked up once, with whatever result, or `limit` is
    /// over. For the start: what comes later is no reason to wait.
    pub async fn settled(&self, limit: Duration) {
        let balancers: Vec<_> = self.by_name.load().values().cloned().collect();
        let all = futures::future::join_all(balancers.iter().map(|balancer| balancer.looked_up()));
        let _ = tokio::time::timeout(limit, all).await;
    }

    fn build(
        &self,
        spec: Arc<BackendSpec>,
        tls: Option<Arc<UpstreamContext>>,
        credential: Option<Arc<Credential>>,
        before: Option<&Shared>,
    ) -> Running {
        let members = Members::new(&spec, before.map(|before| &*before.members));
        let known = before.filter(|before| before.is_checked_as(&spec, tls.as_ref()));
        let known = known.and_then(|before| before.health.as_ref());
        let health = spec.health_check.as_ref().map(|check| match known {
            Some(known) => known.handed_over(members.clone()),
            None => {
                let asked = Asked { tls: tls.clone(), credential: credential.clone() };
                Registry::new(&spec, check.clone(), asked, self.connector.clone(), members.clone())
            }
        });
        let balancing = (spec.balancing, spec.hash_by.is_some());
        let selection = Selection::new(balancing, members.clone(), health.clone());
        let circuit = Circuit::of(&spec, before.and_then(|before| before.circuit.as_ref()));
        let shared = Arc::new(Shared {
            spec,
            tls,
            credential,
            members,
            circuit,
            health,
            selection,
            ejections: AtomicU64::new(0),
        });
        Running::start(shared, self.resolver.clone())
    }
}

impl std::fmt::Debug for Balancers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.by_name.load().keys()).finish()
    }
}

/// One backend: chooses among its endpoints. Stays the same object while the backend keeps its name.
#[derive(Debug)]
pub struct Balancer {
    running: ArcSwap<Running>,
}

/// One state of a backend, replaced as a whole when its specification changes.
#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    looked_up: watch::Receiver<bool>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Running {
    fn start(shared: Arc<Shared>, resolver: Arc<dyn Resolve>) -> Self {
        shared.selection.update();
        let has_names = shared.members.has_names();
        let (report_looked_up, looked_up) = watch::channel(!has_names);
        let mut tasks = Vec::new();
        if has_names {
            let resolving = members::keep_resolving(shared.clone(), resolver, report_looked_up);
            tasks.push(AbortOnDropHandle::new(tokio::spawn(resolving)));
        }
        if let Some(check) = &shared.spec.health_check {
            let checking = health::keep_checking(shared.clone(), check.interval);
            tasks.push(AbortOnDropHandle::new(tokio::spawn(checking)));
        }
        Self { shared, looked_up, _tasks: tasks }
    }
}

impl Balancer {
    /// Chooses an endpoint that is not in `exclude`, is healthy and is not ejected; an ejected one gets
    /// one request on trial when its time is over.
    ///
    /// # Errors
    /// See [`BalanceError`].
    pub(crate) fn pick(&self, wanted: Wanted<'_>) -> Result<Chosen, BalanceError> {
        let running = self.running.load();
        let shared = &running.shared;
        let slot = shared.circuit.as_ref().map(|circuit| circuit.enter(wanted.is_retry));
        let slot = slot.transpose().map_err(BalanceError::CircuitOpen)?;
        let per_endpoint = shared.circuit.as_ref().and_then(|circuit| circuit.per_endpoint());
        let members = shared.members.table();
        let now = Instant::now();
        let panics = shared.panics(&members, now);
        let (admission, is_full) = (Cell::new(Admission::Regular), Cell::new(false));
        let accept = |address: SocketAddr, is_healthy: bool| {
            if !(is_healthy || panics) || wanted.exclude.contains(&address) {
                return false;
            }
            let Some(endpoint) = members.get(&address) else { return false };
            if !circuit::take(&endpoint.in_flight, per_endpoint) {
                is_full.set(true);
                return false;
            }
            let admitted = endpoint.ejection.admit(now).or(panics.then_some(Admission::Regular));
            match admitted {
                Some(admitted) => admission.set(admitted),
                None => drop(endpoint.in_flight.fetch_sub(1, Relaxed)),
            }
            admitted.is_some()
        };
        let preferred = match shared.spec.balancing {
            Balancing::LeastRequest => shared.less_busy(&members, wanted.exclude),
            Balancing::RoundRobin | Balancing::Random => None,
        };
        let chosen = preferred.filter(|address| accept(*address, true));
        let anywhere;
        let key = match &shared.spec.hash_by {
            Some(_) if wanted.key.is_empty() => {
                anywhere = crate::random::next_u64().to_be_bytes();
                &anywhere[..]
            }
            _ => wanted.key,
        };
        let chosen = chosen.or_else(|| shared.selection.select(key, &accept));
        let Some(endpoint) = chosen.and_then(|address| members.get(&address)) else {
            return Err(match is_full.get() {
                true => BalanceError::CircuitOpen(CircuitBound::EndpointConnections),
                false => none_of(&members, wanted.exclude),
            });
        };
        endpoint.requests.fetch_add(1, Relaxed);
        Ok(Chosen::new(endpoint.clone(), admission.get(), shared.clone(), slot))
    }

    /// Whether [`Self::pick`] would find an endpoint. Changes nothing.
    ///
    /// # Errors
    /// See [`BalanceError`].
    pub(crate) fn would_pick(&self, wanted: Wanted<'_>) -> Result<(), BalanceError> {
        let running = self.running.load();
        let members = running.shared.members.table();
        let circuit = running.shared.circuit.as_ref();
        circuit
            .map_or(Ok(()), |circuit| circuit.would_enter(wanted.is_retry))
            .map_err(BalanceError::CircuitOpen)?;
        let per_endpoint = circuit.and_then(|circuit| circuit.per_endpoint());
        let is_full =
            |endpoint: &Endpoint| per_endpoint.is_some_and(|most| endpoint.in_flight.load(Relaxed) >= most);
        let now = Instant::now();
        let panics = running.shared.panics(&members, now);
        let is_open = |address: &SocketAddr, is_healthy: bool| {
            let is_out = |until: Instant| until > now;
            (is_healthy || panics)
                && !wanted.exclude.contains(address)
                && members
                    .get(address)
                    .is_some_and(|of| !of.ejection.out_until(now).is_some_and(is_out) || panics)
        };
        let all = running.shared.selection.members();
        let mut open = all.iter().filter(|(address, _, healthy)| is_open(address, *healthy)).peekable();
        if open.peek().is_none() {
            return Err(none_of(&members, wanted.exclude));
        }
        match open.all(|(address, ..)| members.get(address).is_none_or(|endpoint| is_full(endpoint))) {
            true => Err(BalanceError::CircuitOpen(CircuitBound::EndpointConnections)),
            false => Ok(()),
        }
    }

    /// As [`Self::pick`], but waits up to `limit` for the first look-up of the backend's names.
    ///
    /// # Errors
    /// See [`BalanceError`].
    pub(crate) async fn pick_when_resolved(
        &self,
        wanted: Wanted<'_>,
        limit: Duration,
    ) -> Result<Chosen, BalanceError> {
        match self.pick(wanted) {
            Err(BalanceError::Unresolved) if !*self.running.load().looked_up.borrow() => {
                let _ = tokio::time::timeout(limit, self.looked_up()).await;
                self.pick(wanted)
            }
            picked => picked,
        }
    }

    /// How often an endpoint was taken out after failures, since the backend was last changed.
    #[must_use]
    pub fn ejections(&self) -> u64 {
        self.running.load().shared.ejections.load(Relaxed)
    }

    /// Whether an address is in use now that is none of these, which may be so no longer.
    pub(crate) fn has_other(&self, than: impl Fn(SocketAddr) -> bool) -> bool {
        self.running.load().shared.members.table().keys().any(|address| !than(*address))
    }

    /// The addresses that are in use now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.running.load().shared.members.table().keys().copied().collect()
    }

    /// What the backend was built from.
    #[must_use]
    pub fn spec(&self) -> Arc<BackendSpec> {
        self.running.load().shared.spec.clone()
    }

    /// TLS towards the backend; `None` is plain.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<UpstreamContext>> {
        self.running.load().shared.tls.clone()
    }

    /// What is known of the backend, for people.
    #[must_use]
    pub fn report(&self) -> BackendReport {
        report::of(&self.running.load().shared)
    }

    fn name(&self) -> Arc<str> {
        self.running.load().shared.spec.name.clone()
    }

    async fn looked_up(&self) {
        let mut looked_up = self.running.load().looked_up.clone();
        let _ = looked_up.wait_for(|&is| is).await;
    }
}

/// Why none of these was chosen.
fn none_of(members: &members::Table, exclude: &[SocketAddr]) -> BalanceError {
    if members.is_empty() {
        BalanceError::Unresolved
    } else if members.keys().all(|address| exclude.contains(address)) {
        BalanceError::AllExcluded
    } else {
        BalanceError::NoneAvailable
    }
}

/// What a backend's requests and its tasks share.
#[derive(Debug)]
struct Shared {
    spec: Arc<BackendSpec>,
    tls: Option<Arc<UpstreamContext>>,
    credential: Option<Arc<Credential>>,
    members: Arc<Members>,
    /// What is under way there, where there are bounds.
    circuit: Option<Arc<Circuit>>,
    health: Option<Registry>,
    selection: Selection,
    ejections: AtomicU64,
}

impl Shared {
    fn is_built_from(&self, spec: &BackendSpec, tls: Option<&Arc<UpstreamContext>>) -> bool {
        *self.spec == *spec && self.has_tls(tls)
    }

    fn is_checked_as(&self, spec: &BackendSpec, tls: Option<&Arc<UpstreamContext>>) -> bool {
        self.spec.health_check == spec.health_check
            && self.spec.protocol == spec.protocol
            && self.spec.credential == spec.credential
            && self.has_tls(tls)
    }

    /// Of two members that are well and drawn at random, the one with fewer requests.
    fn less_busy(&self, members: &members::Table, exclude: &[SocketAddr]) -> Option<SocketAddr> {
        let now = Instant::now();
        let is_in = |endpoint: &Arc<Endpoint>| {
            // One whose time is over is to be tried.
            !endpoint.ejection.is_out() || endpoint.ejection.out_until(now).is_none_or(|end| end <= now)
        };
        let is_open = |address: SocketAddr, is_healthy: bool| {
            is_healthy && !exclude.contains(&address) && members.get(&address).is_some_and(is_in)
        };
        let draw = || self.selection.select(b"", &is_open);
        let busy = |address: &SocketAddr| members.get(address).map(|it| it.in_flight.load(Relaxed));
        [draw()?, draw()?].into_iter().min_by_key(busy)
    }

    /// Whether too few endpoints are well for that to matter.
    fn panics(&self, members: &members::Table, now: Instant) -> bool {
        let percent = self.spec.panic_percent as usize;
        if percent == 0 {
            return false;
        }
        let all = self.selection.members();
        let is_well = |address: &SocketAddr, is_healthy: bool| {
            let is_out = |endpoint: &Arc<Endpoint>| endpoint.ejection.out_until(now).is_some();
            is_healthy && members.get(address).is_some_and(|endpoint| !is_out(endpoint))
        };
        let well = all.iter().filter(|(address, _, is_healthy)| is_well(address, *is_healthy)).count();
        well * 100 < all.len() * percent
    }

    fn has_tls(&self, tls: Option<&Arc<UpstreamContext>>) -> bool {
        match (&self.tls, tls) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
