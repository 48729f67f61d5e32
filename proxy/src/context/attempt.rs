//! One attempt at one endpoint.

use std::sync::Arc;

use http::HeaderValue;
use penstock_config::Upstream;
use penstock_picker::Outcome;

use super::TargetAt;
use crate::codec::Decoder;
use crate::metrics::{GaugeGuard, UpstreamMetrics};
use crate::upstreams::Chosen;

/// An attempt whose endpoint is chosen.
pub(crate) struct Attempt {
    /// The target that it is for.
    pub(crate) target: TargetAt,
    /// That target's pool or backend.
    pub(crate) upstream: Upstream,
    /// The endpoint.
    pub(crate) endpoint: Chosen,
    /// What the model is called there, where it differs from what the client asked for.
    pub(crate) model: Option<Arc<str>>,
    /// Translates the response, where the upstream speaks another dialect. Set by `prepare`.
    pub(crate) decoder: Option<Box<dyn Decoder>>,
    /// Members of the request that the upstream's API has no place for, as a header tells the client. Set by `prepare`.
    pub(crate) dropped: Option<HeaderValue>,
    /// Counts the attempt among those at its upstream, once it is sent.
    in_flight: Option<GaugeGuard>,
}

impl Attempt {
    pub(crate) fn new(
        target: TargetAt,
        upstream: Upstream,
        endpoint: Chosen,
        model: Option<Arc<str>>,
    ) -> Self {
        Self { target, upstream, endpoint, model, decoder: None, dropped: None, in_flight: None }
    }

    /// Counts the attempt as sent.
    pub(crate) fn start(&mut self, metrics: &UpstreamMetrics) {
        metrics.attempts.increment();
        self.in_flight = Some(metrics.in_flight.hold(1));
    }

    /// Settles the attempt: the endpoint's account is closed and its health is judged. Later calls do nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        self.in_flight = None;
        self.endpoint.settle(outcome);
    }
}
