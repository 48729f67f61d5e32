//! Where a request may go, and the attempt that is running.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use penstock_config::{Rule, Target, Tier};
use penstock_picker::{Endpoint, EndpointId, InFlight, Outcome};

use crate::balance::{BackendAddress, Chosen};
use crate::metrics::{GaugeGuard, UpstreamMetrics};

/// What `route` decided: a rule, and what is left of its targets.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The rule's position in the snapshot.
    pub rule: usize,
    /// Length of the path prefix that matched, for rewrites.
    pub prefix_length: Option<usize>,
    /// Targets that have nothing left to try, as (tier, position).
    exhausted: Vec<(usize, usize)>,
    /// The target of the last attempt: the next one stays there while it has other endpoints.
    current: Option<(usize, usize)>,
    /// Endpoints of pools that failed this request.
    pub failed_endpoints: Vec<EndpointId>,
    /// Endpoints of backends that failed this request.
    pub failed_addresses: Vec<SocketAddr>,
}

/// One attempt at one endpoint.
pub struct Attempt {
    /// The target's tier and position in the rule.
    pub target: (usize, usize),
    /// Where the request is sent.
    pub endpoint: AttemptEndpoint,
    /// Whether the attempt was settled; the endpoint hears of the outcome once.
    outcome: Option<Outcome>,
    /// Blocks of the prompt that the endpoint is believed to hold.
    pub matched_blocks: usize,
    /// What the model is called there, where it differs from what the client asked for.
    pub model: Option<Arc<str>>,
    /// Counts the attempt among those at its upstream.
    in_flight: Option<GaugeGuard>,
}

/// The endpoint of an attempt, and the account kept of it there.
pub enum AttemptEndpoint {
    /// Chosen by the picker.
    Pool {
        /// The endpoint.
        endpoint: Arc<Endpoint>,
        /// Settled when the attempt ends.
        in_flight: Option<InFlight>,
        /// Response header that keeps a session at this endpoint.
        session: Option<(HeaderName, HeaderValue)>,
    },
    /// Chosen by a backend's load balancer.
    Backend {
        /// Settled when the attempt ends.
        chosen: Option<Chosen>,
        /// Where it is.
        address: SocketAddr,
        /// What it is called.
        name: BackendAddress,
    },
}

impl Plan {
    /// A plan with all targets of `rule` open.
    pub fn new(rule: usize, prefix_length: Option<usize>) -> Self {
        Self {
            rule,
            prefix_length,
            exhausted: Vec::new(),
            current: None,
            failed_endpoints: Vec::new(),
            failed_addresses: Vec::new(),
        }
    }

    /// The next target to try: the one of the last attempt while it is not exhausted, then the others of its
    /// tier by weight (`random` decides), then the next tier. `None` when nothing is left.
    pub fn next_target(&mut self, tiers: &[Tier], random: u64) -> Option<(usize, usize)> {
        if let Some(current) = self.current
            && !self.exhausted.contains(&current)
        {
            return Some(current);
        }
        self.current = tiers.iter().enumerate().find_map(|(index, tier)| {
            let position =
                |target: &Target| tier.targets.iter().position(|other| std::ptr::eq(other, target));
            let is_exhausted =
                |target: &Target| position(target).is_some_and(|at| self.exhausted.contains(&(index, at)));
            let chosen = tier.choose(random, is_exhausted)?;
            Some((index, position(chosen)?))
        });
        self.current
    }

    /// Whether any target but `target` is left that is no fixed answer, so that a request need not wait for this one.
    pub fn has_other(&self, tiers: &[Tier], target: (usize, usize)) -> bool {
        tiers.iter().enumerate().any(|(tier, of)| {
            of.targets.iter().enumerate().any(|(at, other)| {
                let at = (tier, at);
                at != target && other.upstream().is_some() && !self.exhausted.contains(&at)
            })
        })
    }

    /// Gives up on a target.
    pub fn exhaust(&mut self, target: (usize, usize)) {
        if !self.exhausted.contains(&target) {
            self.exhausted.push(target);
        }
    }
}

impl Attempt {
    /// An attempt that has not been settled.
    pub fn new(target: (usize, usize), endpoint: AttemptEndpoint, matched_blocks: usize) -> Self {
        Self { target, endpoint, outcome: None, matched_blocks, model: None, in_flight: None }
    }

    /// The same attempt, where the model is called `model`.
    #[must_use]
    pub fn with_model(self, model: Option<Arc<str>>) -> Self {
        Self { model, ..self }
    }

    /// The endpoint's address.
    pub fn address(&self) -> SocketAddr {
        match &self.endpoint {
            AttemptEndpoint::Pool { endpoint, .. } => endpoint.address(),
            AttemptEndpoint::Backend { address, .. } => *address,
        }
    }

    /// The rule's target that this attempt is for.
    pub fn target_of<'a>(&self, rule: &'a Rule) -> Option<&'a Target> {
        let penstock_config::Action::Forward(tiers) = &rule.action else { return None };
        tiers.get(self.target.0)?.targets.get(self.target.1)
    }

    /// Counts the attempt as sent.
    pub fn start(&mut self, metrics: &UpstreamMetrics) {
        metrics.attempts.increment();
        self.in_flight = Some(metrics.in_flight.hold(1));
    }

    /// Notes that the first byte of the response arrived.
    pub fn first_byte(&mut self) {
        if let AttemptEndpoint::Pool { in_flight: Some(in_flight), .. } = &mut self.endpoint {
            in_flight.first_byte();
        }
    }

    /// Settles the attempt: the endpoint's accounts are closed and its health is judged. Later calls do nothing.
    pub fn settle(&mut self, outcome: Outcome) {
        if self.outcome.is_some() {
            return;
        }
        self.outcome = Some(outcome);
        self.in_flight = None;
        match &mut self.endpoint {
            AttemptEndpoint::Pool { in_flight, .. } => {
                if let Some(in_flight) = in_flight.take() {
                    in_flight.finish(outcome);
                }
            }
            AttemptEndpoint::Backend { chosen, .. } => {
                if let Some(chosen) = chosen.take() {
                    chosen.finish(outcome);
                }
            }
        }
    }

    /// Whether [`Self::settle`] was called.
    pub fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }

    /// Keeps this endpoint from being tried again for this request.
    pub fn exclude_from(&self, plan: &mut Plan) {
        match &self.endpoint {
            AttemptEndpoint::Pool { endpoint, .. } => plan.failed_endpoints.push(endpoint.id()),
            AttemptEndpoint::Backend { address, .. } => plan.failed_addresses.push(*address),
        }
    }
}
