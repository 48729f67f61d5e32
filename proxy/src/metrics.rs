//! What `/metrics` shows: one struct a subsystem, names that begin with `penstock_`, labels from the configuration only.
//!
//! The request path adds to atomics and does nothing else: the routing snapshot holds handles (`RouteMetrics`,
//! `UpstreamMetrics`) whose series were looked up when it was built. Turned down: `prometheus`' own label vectors,
//! which hash every label of every series of every request, and its histograms, which take four atomic operations and
//! a compare-and-swap loop for one observation; ours take two additions. The crate keeps the registry and the text.
//!
//! Label values are bounded twice. Clients choose none of them: a model that the configuration does not name is
//! `other`. And beyond [`DEFAULT_MAX_NAMES`] names of a kind, the rest share `other` too.

mod checks;
mod clock;
mod credentials;
mod family;
mod gateway;
mod gen_ai;
mod histogram;
mod keys;
mod leases;
mod limits;
mod logins;
mod outcome;
mod register;
mod requests;
mod upstreams;
mod value;

use std::sync::Arc;

use prometheus::{Registry, TextEncoder, core::Collector};
use rustc_hash::FxHashSet;

pub use self::{
    gateway::{AccessLogMetrics, GatewayMetrics, MirrorMetrics},
    upstreams::UpstreamKind,
};

pub(crate) use self::{
    checks::{CheckMetrics, CheckOutcome},
    clock::StreamClock,
    credentials::CredentialKept,
    gateway::{CertificateInForce, ListenerMetrics},
    gen_ai::{Conventions, GenAiCall, of_backend, of_pool},
    keys::{KeysInUse, KeysState},
    leases::LeaseMetrics,
    limits::{LimitFamilies, LimitMetrics},
    logins::{LoginMetrics, LoginOutcome},
    outcome::{PickOutcome, ScrapeOutcome},
    requests::{RouteMetrics, Settlement},
    upstreams::{UpstreamMetrics, UpstreamName},
    value::GaugeGuard,
};

use self::{
    checks::CheckFamilies, family::Names, logins::LoginFamilies, requests::RequestFamilies,
    upstreams::UpstreamFamilies,
};

/// How many routes, upstreams and models get series of their own, each. A route costs about 30 lines of output.
pub const DEFAULT_MAX_NAMES: usize = 2048;

/// The value of a label whose real value has no series of its own.
pub const OTHER: &str = "other";

/// All metrics of one gateway. Independent of any other in the same process, so that tests do not meet.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    routes: Names,
    upstreams: Names,
    models: Names,
    policies: Names,
    checks: CheckFamilies,
    logins: LoginFamilies,
    requests: RequestFamilies,
    upstream: UpstreamFamilies,
    /// What is counted of limits of policies.
    pub(crate) limits: LimitFamilies,
    /// How the store of shared limits is.
    pub(crate) leases: Arc<LeaseMetrics>,
    /// What belongs to the gateway as a whole.
    pub gateway: GatewayMetrics,
    unrouted: RouteMetrics,
}

/// The names that a configuration still has, for [`Metrics::retain`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Configured<'a> {
    /// Route names.
    pub(crate) routes: &'a FxHashSet<&'a str>,
    /// Names of pools and backends.
    pub(crate) upstreams: &'a FxHashSet<&'a str>,
    /// Model names.
    pub(crate) models: &'a FxHashSet<&'a str>,
    /// Names of policies.
    pub(crate) policies: &'a FxHashSet<&'a str>,
    /// Names of policies that have limits.
    pub(crate) limited: &'a FxHashSet<&'a str>,
    /// What models are called at upstreams where they have other names there.
    pub(crate) targets: &'a FxHashSet<&'a str>,
    /// What is recorded by names of others.
    pub(crate) conventions: Conventions,
}

impl Metrics {
    /// Metrics in which up to `max_names` routes, upstreams and models have series of their own.
    pub fn new(max_names: usize) -> Self {
        let registry = Registry::new();
        let requests = RequestFamilies::register(&registry);
        let unrouted = requests.route("");
        Self {
            routes: Names::new(max_names),
            upstreams: Names::new(max_names),
            models: Names::new(max_names),
            policies: Names::new(max_names),
            checks: CheckFamilies::register(&registry),
            logins: LoginFamilies::register(&registry),
            upstream: UpstreamFamilies::register(&registry),
            limits: LimitFamilies::register(&registry),
            leases: Arc::new(LeaseMetrics::register(&registry)),
            gateway: GatewayMetrics::register(&registry),
            requests,
            unrouted,
            registry,
        }
    }

    /// The handle for a route, to be kept with it.
    pub(crate) fn route(&self, name: &str) -> RouteMetrics {
        self.requests.route(&self.routes.bounded(name))
    }

    /// The handle for a pool or a backend, to be kept with it. `models` are those that the configuration sends to it;
    /// any other model is counted as [`OTHER`].
    pub(crate) fn upstream<'a>(
        &self,
        upstream: UpstreamName<'_>,
        models: impl IntoIterator<Item = &'a str>,
    ) -> UpstreamMetrics {
        let models = models.into_iter().map(|model| (model, self.models.bounded(model)));
        let name = self.upstreams.bounded(upstream.name);
        self.upstream.upstream(UpstreamName { name: &name, ..upstream }, models)
    }

    /// The handle for a policy that asks a server, to be kept with it.
    pub(crate) fn checks(&self, policy: &str) -> CheckMetrics {
        self.checks.of(&self.policies.bounded(policy))
    }

    /// The handle for a policy that logs people in, to be kept with it.
    pub(crate) fn logins(&self, policy: &str) -> LoginMetrics {
        self.logins.of(&self.policies.bounded(policy))
    }

    /// Records a request that is over. Call it exactly once a request.
    ///
    /// A limit that ended the request is counted here; [`GatewayMetrics::limit_hit`] is for the others.
    pub(crate) fn settle(&self, settlement: Settlement<'_>) {
        if let Some(limit) = settlement.error.and_then(|row| row.limit) {
            self.gateway.limit_hit(limit);
        }
        settlement.record(&self.unrouted);
    }

    /// Drops the series of names that are no longer configured, after a reload. Requests in flight may still add to
    /// their handles; those additions are lost with the series.
    pub(crate) fn retain(&self, configured: Configured<'_>) {
        self.routes.retain(configured.routes);
        self.upstreams.retain(configured.upstreams);
        self.models.retain(configured.models);
        self.policies.retain(configured.policies);
        let is_kept = |label: &str, value: &str| match label {
            "route" => value.is_empty() || value == OTHER || configured.routes.contains(value),
            "upstream" | "to" | "pool" => value == OTHER || configured.upstreams.contains(value),
            "policy" => value == OTHER || configured.policies.contains(value),
            "model" | "gen_ai_original_model" => value == OTHER || configured.models.contains(value),
            "gen_ai_request_model" | "gen_ai_response_model" => {
                value == OTHER || configured.models.contains(value) || configured.targets.contains(value)
            }
            _ => true,
        };
        self.requests.retain(&is_kept);
        self.upstream.retain(configured.conventions, &is_kept);
        self.checks.retain(&is_kept);
        self.logins.retain(&is_kept);
        self.limits.retain(configured.limited);
    }

    /// Adds metrics that another subsystem keeps.
    ///
    /// # Errors
    /// A metric of that name exists already.
    pub fn register(&self, collector: Box<dyn Collector>) -> prometheus::Result<()> {
        self.registry.register(collector)
    }

    /// The page in Prometheus' text format, version 0.0.4.
    pub fn encode(&self) -> String {
        let mut page = String::new();
        let families = self.registry.gather();
        if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut page) {
            tracing::error!(%error, "a metric could not be encoded");
        }
        page
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_NAMES)
    }
}

#[cfg(test)]
mod tests;
