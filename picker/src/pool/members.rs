//! Brings a pool in line with its specification. What stays keeps its state; what goes takes its state with it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use penstock_config::{EndpointSpec, PoolSpec};
use tokio::task::AbortHandle;

use super::{Pool, State};
use crate::{
    clock::Clock,
    endpoint::{Attributes, EjectionPolicy, Endpoint, Shared},
    prefix::{NO_SLOT, PrefixIndex},
    profile::Profile,
    scrape::{self, Budget, ScrapeSpec, Shows},
    session::SessionIds,
};

/// A sample says nothing any more after this many of the longest pauses between scrapes. Between two of them it is
/// old but the best there is; the requests sent since are added to it either way.
const EXPIRY_INTERVALS: u32 = 3;

/// The endpoints of a pool and what keeps them up to date.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_address: HashMap<SocketAddr, Member>,
    scrape: Option<Arc<ScrapeSpec>>,
    free_slots: Vec<u16>,
    next_slot: u16,
}

#[derive(Debug)]
struct Member {
    endpoint: Arc<Endpoint>,
    /// `None` while the pool is not scraped.
    scraping: Option<AbortHandle>,
}

impl Pool {
    /// A pool of that name with nothing in it, which goes by `clock` and shares a budget for scraping.
    pub(crate) fn new(name: Arc<str>, clock: Clock, scrape_budget: Arc<Budget>) -> Self {
        Self {
            name,
            shared: Arc::new(Shared::new(clock)),
            state: ArcSwap::from_pointee(State::default()),
            index: PrefixIndex::new(),
            members: Mutex::default(),
            cold_picks: AtomicU64::new(0),
            typical_prefill: AtomicU64::new(0),
            sessions: SessionIds::default(),
            scrape_budget,
        }
    }

    /// Takes the specification over, with the profile built from its document and what metrics pages are shown. Returns the
    /// endpoints that left.
    pub(crate) fn update(
        &self,
        spec: &PoolSpec,
        profile: Profile,
        shown: Option<Arc<dyn Shows>>,
    ) -> Vec<Arc<Endpoint>> {
        self.shared.ejection.store(Arc::new(EjectionPolicy::of(&spec.ejection)));
        self.shared.set_expiry(spec.metrics.max_interval * EXPIRY_INTERVALS + spec.metrics.timeout);

        let mut members = self.members.lock();
        let scrape = ScrapeSpec::of(spec, shown).map(Arc::new);
        let is_scrape_changed = members.scrape != scrape;
        members.scrape = scrape;

        let mut removed = self.remove_missing(&mut members, &spec.endpoints);
        let mut endpoints = Vec::with_capacity(spec.endpoints.len());
        for endpoint in &spec.endpoints {
            endpoints.push(self.keep_or_add(&mut members, endpoint, is_scrape_changed));
        }
        self.shared.quota.endpoints.store(endpoints.len(), Relaxed);
        let state = State {
            profile: Arc::new(profile),
            saturation: spec.saturation.clone(),
            objectives: spec.objectives.iter().map(|one| (Arc::clone(&one.name), one.priority)).collect(),
            ..State::default()
        };
        self.state.store(Arc::new(state.with_endpoints(endpoints, members.next_slot)));
        drop(members);

        for endpoint in &mut removed {
            endpoint.leave();
        }
        self.shared.queue.wake_first();
        removed
    }

    /// Takes over another set of endpoints and nothing else. Returns those that left.
    pub(crate) fn set_endpoints(&self, wanted: &[EndpointSpec]) -> Vec<Arc<Endpoint>> {
        let mut members = self.members.lock();
        let mut removed = self.remove_missing(&mut members, wanted);
        let endpoints: Vec<_> =
            wanted.iter().map(|endpoint| self.keep_or_add(&mut members, endpoint, false)).collect();
        self.shared.quota.endpoints.store(endpoints.len(), Relaxed);
        let state = State::clone(&self.state.load());
        self.state.store(Arc::new(state.with_endpoints(endpoints, members.next_slot)));
        drop(members);
        for endpoint in &mut removed {
            endpoint.leave();
        }
        self.shared.queue.wake_first();
        removed
    }

    /// Ends the pool. Returns its endpoints.
    pub(crate) fn close(&self) -> Vec<Arc<Endpoint>> {
        let mut members = self.members.lock();
        let removed = self.remove_missing(&mut members, &[]);
        let state = State { objectives: HashMap::new(), ..State::clone(&self.state.load()) };
        self.state.store(Arc::new(state.with_endpoints(Vec::new(), 0)));
        drop(members);
        for endpoint in &removed {
            endpoint.leave();
        }
        self.shared.queue.wake_first();
        removed
    }

    fn remove_missing(&self, members: &mut Members, wanted: &[EndpointSpec]) -> Vec<Arc<Endpoint>> {
        // A new name at an old address is a new pod: nothing that is known of the old one holds for it.
        let wanted: HashMap<SocketAddr, &Arc<str>> =
            wanted.iter().map(|endpoint| (endpoint.address, &endpoint.name)).collect();
        let mut removed = Vec::new();
        members.by_address.retain(|address, member| {
            let stays = wanted.get(address).is_some_and(|name| *name == member.endpoint.name());
            if !stays {
                removed.push(Arc::clone(&member.endpoint));
                member.stop_scraping();
            }
            stays
        });
        for endpoint in removed.iter().filter(|endpoint| endpoint.slot() != NO_SLOT) {
            self.index.forget(endpoint.slot());
            members.free_slots.push(endpoint.slot());
        }
        removed
    }

    fn keep_or_add(
        &self,
        members: &mut Members,
        spec: &EndpointSpec,
        is_scrape_changed: bool,
    ) -> Arc<Endpoint> {
        let attributes = Attributes {
            metrics_address: spec.metrics_address,
            engine: spec.engine,
            labels: spec.labels.clone(),
        };
        let scrape = members.scrape.clone();
        if let Some(member) = members.by_address.get_mut(&spec.address) {
            if member.endpoint.update(attributes) || is_scrape_changed {
                member.stop_scraping();
                member.start_scraping(scrape, &self.scrape_budget);
            }
            return Arc::clone(&member.endpoint);
        }

        let slot = members.take_slot();
        let endpoint =
            Endpoint::new(spec.address, Arc::clone(&spec.name), attributes, slot, Arc::clone(&self.shared));
        let mut member = Member { endpoint: Arc::clone(&endpoint), scraping: None };
        member.start_scraping(scrape, &self.scrape_budget);
        members.by_address.insert(spec.address, member);
        endpoint
    }
}

impl Members {
    fn take_slot(&mut self) -> u16 {
        self.free_slots.pop().unwrap_or_else(|| {
            let slot = self.next_slot;
            // Endpoints beyond the index's last slot share `NO_SLOT` and go without it.
            self.next_slot = slot.saturating_add(1);
            slot
        })
    }
}

impl Member {
    fn start_scraping(&mut self, spec: Option<Arc<ScrapeSpec>>, budget: &Arc<Budget>) {
        self.scraping = spec.map(|spec| scrape::spawn(Arc::clone(&self.endpoint), spec, Arc::clone(budget)));
    }

    fn stop_scraping(&mut self) {
        if let Some(scraping) = self.scraping.take() {
            scraping.abort();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop_scraping();
    }
}
